use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use labora_tensor::{ChunkSet, Commitment, Opening, OpeningError, CHUNK_BYTES};
use scale_info::TypeInfo;

use crate::{arithmetic::mix32, Program};

/// Commitments in one chunk of a trace.
pub const COMMITMENTS_PER_CHUNK: u32 = 32;

/// An op of a unit: `step * ops per step + op`.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct OpIndex(pub u32);

impl OpIndex {
	/// The op `op` of step `step`.
	pub fn new(program: &Program, step: u32, op: u8) -> Option<Self> {
		step.checked_mul(program.ops())?.checked_add(u32::from(op)).map(Self)
	}

	/// Step, and op in the step.
	pub fn split(self, program: &Program) -> (u32, u8) {
		let ops = program.ops().max(1);
		(self.0 / ops, (self.0 % ops) as u8)
	}
}

/// The source of a unit's rounding bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoundingKey(pub u32);

impl RoundingKey {
	/// The key of a unit: a function of the task's seed, the round and the unit, and of nothing a miner chooses.
	pub fn of_unit(seed: &[u8; 32], round: u32, unit: u32) -> Self {
		let mut hasher = blake3::Hasher::new();
		hasher.update(b"labora/rounding/1");
		hasher.update(seed);
		hasher.update(&round.to_le_bytes());
		hasher.update(&unit.to_le_bytes());
		let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
		Self(u32::from_le_bytes([a, b, c, d]))
	}

	/// The key of one op of the unit.
	pub const fn of_op(self, op: OpIndex) -> u32 {
		mix32(self.0 ^ mix32(op.0))
	}
}

/// What an op's output depends on beside its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepContext {
	/// Key of the unit's rounding bits.
	pub rounding: RoundingKey,
	/// How often the task's learning rates were halved before this round.
	pub rate_drops: u8,
}

/// The commitments of all op outputs of a unit, in order. Its root is the BLAKE3 hash of the list, padded with zeros to
/// whole chunks: the list opens like a tensor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace(pub Vec<Commitment>);

/// The chunk that holds an op's commitment in the trace of a unit of `ops` ops.
pub fn trace_chunk(ops: u32, op: OpIndex) -> Option<ChunkSet> {
	if op.0 >= ops {
		return None;
	}
	ChunkSet::chunk(u64::from(ops.div_ceil(COMMITMENTS_PER_CHUNK)), u64::from(op.0 / COMMITMENTS_PER_CHUNK))
}

impl Trace {
	fn bytes(&self) -> Vec<u8> {
		let mut bytes: Vec<u8> = self.0.iter().flat_map(|commitment| commitment.0).collect();
		bytes.resize(bytes.len().next_multiple_of(CHUNK_BYTES), 0);
		bytes
	}

	/// The root.
	pub fn root(&self) -> Commitment {
		Commitment::of(&self.bytes())
	}

	/// The opening of the chunk that holds an op's commitment.
	pub fn open(&self, op: OpIndex) -> Option<Opening> {
		Opening::of(&self.bytes(), &trace_chunk(u32::try_from(self.0.len()).ok()?, op)?)
	}

	/// The commitment of an op's output according to an opening of the trace.
	pub fn verify(root: &Commitment, ops: u32, op: OpIndex, opening: &Opening) -> Result<Commitment, OpeningError> {
		let chunk = trace_chunk(ops, op).ok_or(OpeningError::DataLength)?;
		let data = opening.verify(root, &chunk)?;
		let at = (op.0 % COMMITMENTS_PER_CHUNK) as usize * 32;
		let bytes = data.get(at..at.saturating_add(32)).and_then(|bytes| bytes.try_into().ok());
		bytes.map(Commitment).ok_or(OpeningError::DataLength)
	}
}
