//! Limits of what a task may ask for and the chain may keep. One place; the pallets and clients refer to it.

use sp_core::ConstU32;

/// Most parameters of a model.
pub type MaxParameters = ConstU32<{ labora_graph::MAX_PARAMETERS }>;
/// Most units of a round.
pub const MAX_UNITS: u16 = 64;
/// Most units of a round, as a type.
pub type MaxUnits = ConstU32<{ MAX_UNITS as u32 }>;
/// Most rounds of a task.
pub const MAX_ROUNDS: u32 = 4_096;
/// Most steps of a training unit.
pub const MAX_STEPS: u32 = 4_096;
/// Most steps of an inference unit: each step's output is opened in the result.
pub const MAX_INFERENCE_STEPS: u32 = 32;
/// Most classes (bytes of output) of an inference unit.
pub const MAX_OUTPUT: u32 = 8_192;
/// Most classes of an inference unit, as a type.
pub type MaxOutput = ConstU32<MAX_OUTPUT>;
/// Most rounds at which the learning rates drop.
pub type MaxRateDrops = ConstU32<8>;
/// Most blocks that one assignment may seal: a unit is meant for several block intervals, not for re-mining.
pub const MAX_SEALS: u32 = 64;
/// Most blocks that one assignment may seal, as a type.
pub type MaxSeals = ConstU32<MAX_SEALS>;
/// Most openings of outputs in a result: of each step's classes, and of the last running metrics.
pub type MaxOutputOpenings = ConstU32<33>;
/// Most slots of a worker.
pub const MAX_SLOTS: u16 = 256;
/// Most parts that one answer opens: a block of each of a round's results, and the merged one.
pub type MaxOpened = ConstU32<{ MAX_UNITS as u32 + 1 }>;
/// Most chunks of a trace that one claim asks for.
pub const MAX_TRACE_CHUNKS: u32 = 64;
/// Most demands that are open on one result.
pub const MAX_DEMANDS: u32 = 32;
/// Most results of one task whose windows run.
pub const MAX_STANDING: u32 = 512;
