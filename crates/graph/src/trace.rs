use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use labora_tensor::{ChunkSet, Commitment, ElementType, Opening, OpeningError, Shape, BLOCK, CHUNK_BYTES};
use scale_info::TypeInfo;

use crate::{arithmetic::mix32, Program};

/// Commitments in one chunk of a trace.
pub const COMMITMENTS_PER_CHUNK: u32 = 32;

/// An op of a unit: `step * ops per step + op`. As a position in a trace also an entry of its tail
/// ([`Program::tail_entry`]).
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

/// Sums over all rows of a unit's steps so far, from the program's first metrics op: an entry of the trace's tail.
#[derive(
	Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct RunningMetrics {
	/// Cross-entropy in 1/256 bit.
	pub loss: u64,
	/// Rows whose largest logit is the label's.
	pub correct: u64,
}

impl RunningMetrics {
	/// The entry of the trace: loss and correct rows, little endian, and 16 zero bytes.
	pub fn to_entry(self) -> Commitment {
		let mut entry = [0; 32];
		let numbers = self.loss.to_le_bytes().into_iter().chain(self.correct.to_le_bytes());
		for (byte, number) in entry.iter_mut().zip(numbers) {
			*byte = number;
		}
		Commitment(entry)
	}

	/// The sums in an entry of a trace. `None` if its last 16 bytes are not zero.
	pub fn from_entry(entry: &Commitment) -> Option<Self> {
		let (loss, rest) = entry.0.split_first_chunk()?;
		let (correct, zeros) = rest.split_first_chunk()?;
		let sums = Self { loss: u64::from_le_bytes(*loss), correct: u64::from_le_bytes(*correct) };
		zeros.iter().all(|byte| *byte == 0).then_some(sums)
	}

	/// Adds the rows of one step: the sums of columns 0 (loss) and 1 (correct) of a metrics op's output, `shape.rows x 2` of
	/// `i32` in block order. Whatever the bytes are: padding is not read, negative elements count as zero, missing
	/// rows add nothing and sums saturate.
	pub fn add_tensor(self, shape: Shape, bytes: &[u8]) -> Self {
		let strip = (shape.block_cols() as usize).saturating_mul(ElementType::I32.block_bytes()).max(1);
		// Both columns lie in the first block of a strip.
		let blocks = bytes.chunks(strip).map(|strip| strip.get(..ElementType::I32.block_bytes()).unwrap_or(strip));
		let rows = blocks.flat_map(|block| block.chunks(BLOCK * 4)).take(shape.rows as usize);
		let element = |row: &[u8], col: usize| {
			let bytes = row.chunks_exact(4).nth(col).and_then(|bytes| bytes.try_into().ok());
			bytes.map(i32::from_le_bytes).and_then(|x| u64::try_from(x).ok()).unwrap_or(0)
		};
		rows.fold(self, |sums, row| Self {
			loss: sums.loss.saturating_add(element(row, 0)),
			correct: sums.correct.saturating_add(element(row, 1)),
		})
	}
}

/// The trace of a unit: the commitments of all op outputs of all steps, in order, then its tail, one entry per step if the
/// program has a metrics op ([`RunningMetrics::to_entry`], after that step). Its root is the BLAKE3 hash of the list,
/// padded with zeros to whole chunks: the list opens like a tensor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trace(pub Vec<Commitment>);

/// The chunk that holds an entry of a trace of `entries` entries.
pub fn trace_chunk(entries: u32, index: OpIndex) -> Option<ChunkSet> {
	if index.0 >= entries {
		return None;
	}
	ChunkSet::chunk(u64::from(entries.div_ceil(COMMITMENTS_PER_CHUNK)), u64::from(index.0 / COMMITMENTS_PER_CHUNK))
}

impl Trace {
	/// The list's bytes, padded to whole chunks: what the root commits to.
	pub fn bytes(&self) -> Vec<u8> {
		let mut bytes: Vec<u8> = self.0.iter().flat_map(|commitment| commitment.0).collect();
		bytes.resize(bytes.len().next_multiple_of(CHUNK_BYTES), 0);
		bytes
	}

	/// The root.
	pub fn root(&self) -> Commitment {
		Commitment::of(&self.bytes())
	}

	/// The opening of the chunk that holds an entry.
	pub fn open(&self, index: OpIndex) -> Option<Opening> {
		Opening::of(&self.bytes(), &trace_chunk(u32::try_from(self.0.len()).ok()?, index)?)
	}

	/// An entry according to an opening of the trace of that root, which has `entries` entries
	/// ([`Program::trace_entries`]): the commitment of an op's output, or running metrics. A trace with something else than zeros
	/// after its last entry does not open there.
	pub fn verify(
		root: &Commitment,
		entries: u32,
		index: OpIndex,
		opening: &Opening,
	) -> Result<Commitment, OpeningError> {
		let chunk = trace_chunk(entries, index).ok_or(OpeningError::DataLength)?;
		let data = opening.verify(root, &chunk)?;
		let entry = (index.0 % COMMITMENTS_PER_CHUNK) as usize;
		let at = entry * 32;
		let left = (entries - index.0) as usize;
		let padding = data.get((entry + left).saturating_mul(32)..).unwrap_or_default();
		if padding.iter().any(|byte| *byte != 0) {
			return Err(OpeningError::Padding);
		}
		let bytes = data.get(at..at.saturating_add(32)).and_then(|bytes| bytes.try_into().ok());
		bytes.map(Commitment).ok_or(OpeningError::DataLength)
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_tensor::{I32Tensor, Tensor};
	use proptest::prelude::*;

	#[test]
	fn entries_hold_the_sums() {
		let sums = RunningMetrics { loss: 0x0102, correct: u64::MAX };
		let entry = sums.to_entry();
		assert_eq!(entry.0[..9], [2, 1, 0, 0, 0, 0, 0, 0, 255]);
		assert_eq!(RunningMetrics::from_entry(&entry), Some(sums));
		assert_eq!(RunningMetrics::default().to_entry(), Commitment::default());
		for at in 16..32 {
			let mut entry = entry;
			entry.0[at] = 1;
			assert_eq!(RunningMetrics::from_entry(&entry), None);
		}
	}

	proptest! {
		#[test]
		fn the_two_columns_are_summed(rows in 1u32..100, cols in 2u32..70, seed: u32) {
			let element = |at: u32| (at ^ seed).wrapping_mul(0x9E37_79B1) as i32 >> 3;
			let elements: Vec<_> = (0..rows * cols).map(element).collect();
			let shape = Shape { rows, cols };
			let mut tensor = I32Tensor::pack(shape, &elements).unwrap();
			let column = |col: u32| (0..rows).map(|row| element(row * cols + col).max(0) as u64).sum::<u64>();
			let expected = RunningMetrics { loss: 7 + column(0), correct: column(1) };
			let before = RunningMetrics { loss: 7, correct: 0 };
			prop_assert_eq!(before.add_tensor(shape, tensor.bytes()), expected);

			// Padding rows are not counted, whatever they hold.
			let block = BLOCK * 32 * 4;
			let strip = shape.block_cols() as usize * block;
			for row in rows as usize % 32..if rows.is_multiple_of(32) { 0 } else { 32 } {
				let start = tensor.bytes().len() - strip + row * 128;
				tensor.bytes_mut()[start..start + 128].fill(1);
			}
			prop_assert_eq!(before.add_tensor(shape, tensor.bytes()), expected);
		}

		#[test]
		fn any_bytes_can_be_added(rows: u32, cols: u32, bytes: Vec<u8>, loss: u64, correct: u64) {
			let before = RunningMetrics { loss, correct };
			let after = before.add_tensor(Shape { rows, cols }, &bytes);
			prop_assert!(after.loss >= loss && after.correct >= correct);
		}
	}

	#[test]
	fn sums_saturate_and_negative_elements_are_zero() {
		let shape = Shape { rows: 32, cols: 2 };
		let near = RunningMetrics { loss: u64::MAX - 5, correct: 3 };
		let rows: Vec<_> = (0..32).flat_map(|_| [i32::MAX, i32::MIN]).collect();
		let tensor = I32Tensor::pack(shape, &rows).unwrap();
		assert_eq!(near.add_tensor(shape, tensor.bytes()), RunningMetrics { loss: u64::MAX, correct: 3 });
		// A tensor that ends early or has more rows than its shape.
		assert_eq!(near.add_tensor(shape, &[]), near);
		assert_eq!(near.add_tensor(shape, &[0xff; 7]), near);
		let one = RunningMetrics::default().add_tensor(Shape { rows: 1, cols: 2 }, tensor.bytes());
		assert_eq!(one, RunningMetrics { loss: i32::MAX as u64, correct: 0 });
		assert_eq!(near.add_tensor(shape, Tensor::zeros(shape, ElementType::I32).bytes()), near);
	}

	#[test]
	fn traces_open_at_every_entry() {
		for entries in [1u8, 31, 32, 33, 64, 65, 200] {
			let trace = Trace((0..entries).map(|i| Commitment([i + 1; 32])).collect());
			for index in 0..entries {
				let opening = trace.open(OpIndex(index.into())).unwrap();
				let verify = |index: u8| Trace::verify(&trace.root(), entries.into(), OpIndex(index.into()), &opening);
				assert_eq!(verify(index), Ok(trace.0[usize::from(index)]));
				assert_eq!(verify(entries), Err(OpeningError::DataLength));
			}
			assert_eq!(trace.open(OpIndex(entries.into())), None);
		}
	}

	#[test]
	fn what_follows_the_last_entry_is_zero() {
		for entries in [1u32, 31, 33, 63] {
			// The same list with one entry more than it should have.
			let long = Trace((0..=entries).map(|i| Commitment([i as u8 + 1; 32])).collect());
			let open = |index| long.open(OpIndex(index)).unwrap();
			let verify = |index| Trace::verify(&long.root(), entries, OpIndex(index), &open(index));
			assert_eq!(verify(entries - 1), Err(OpeningError::Padding));
			if entries > 32 {
				assert_eq!(verify(0), Ok(long.0[0]), "another chunk");
			}
		}
	}
}
