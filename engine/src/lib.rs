//! Runs units of work fast on the CPU, bit-identical to the consensus definition.
//!
//! An [`Engine`] takes a [`UnitPlan`] (a checked program, the dataset, the parameters and the batch of every step) and gives
//! the unit's trace, its last parameters and its metrics. While it computes eligible products it draws tickets for whatever
//! block a [`Miner`] names: the product is then computed on noised operands, its partial sums are hashed, and
//! the noise is peeled off again, exactly. So the output is the same, mined or not, on every [`Kernel`] and any number of threads.
//! [`Engine::replay`] computes a few steps of a unit again, for the tensors of one.
//!
//! What defines the bits is elsewhere: `labora_graph::Program::eval_block` for outputs, `labora_pouw` for tickets. The tests hold
//! every kernel to both.
//!
//! Modules in the order of the computation: `plan` (input and output), `unit` (steps and ops), `product` (one product), `noise`
//! and `pack` (operands as kernels read them), `kernel` (what depends on the instruction set), `rowwise` (ops on logits).
//! Beside them `commit`, `idle`, `merge` and `calibration`. What it is not: it fetches and keeps no tensors, and knows no chain.

mod calibration;
mod commit;
mod engine;
mod idle;
mod kernel;
mod merge;
mod noise;
mod operand;
mod pack;
mod plan;
mod product;
mod rowwise;
mod unit;

#[cfg(test)]
mod tests;

pub use calibration::Calibration;
pub use engine::Engine;
pub use kernel::Kernel;
pub use plan::{EngineError, Miner, MiningTarget, NoMiner, PlanError, StepTensors, UnitOutput, UnitPlan};
