use alloc::vec::Vec;
use blake3::hazmat::{merge_subtrees_non_root, merge_subtrees_root, HasherExt, Mode};
use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;

use crate::{nodes::NodeSet, BlockIndex, Commitment, ElementType, Shape, CHUNK_BYTES};

/// A chaining value of the BLAKE3 tree.
pub(crate) type ChainingValue = [u8; 32];

/// Which chunks of a tensor: `count` runs of `run` chunks, `stride` chunks from start to start, in a tensor
/// of `total` chunks. Strips and blocks of a tensor, or all of it, are the only way to make one, so it always fits its tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkSet {
	total: u64,
	first: u64,
	run: u64,
	stride: u64,
	count: u64,
}

/// Why an opening is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpeningError {
	/// The opened bytes are too many or too few.
	DataLength,
	/// The sibling hashes are too many or too few.
	SiblingCount,
	/// The bytes and siblings do not hash to the commitment.
	Mismatch,
	/// What follows the last element is not zero.
	Padding,
}

/// Bytes of some chunks of a tensor (or chaining values of some nodes of its tree), in order, and the chaining values of
/// the largest subtrees without any of them, in order (a pre-order walk of the tree meets them so).
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Opening {
	/// The opened chunks, or the opened nodes' chaining values.
	pub data: Vec<u8>,
	/// The chaining values beside them.
	pub siblings: Vec<ChainingValue>,
}

/// What is opened of a tensor's tree.
pub(crate) trait Opened {
	/// Chunks of the tensor.
	fn total(&self) -> u64;

	/// Bytes of the opening's data.
	fn data_bytes(&self) -> u64;

	/// How much of the subtree of `len` chunks from `start` is opened.
	fn overlap(&self, start: u64, len: u64) -> Overlap;

	/// The data of a wholly opened subtree, added to what was opened before it.
	fn put(subtree: &[u8], start: u64, data: &mut Vec<u8>);

	/// The chaining value of a wholly opened subtree (not the root), taken off the data. `None` if that is too short.
	fn take(data: &mut &[u8], start: u64, len: u64) -> Option<ChainingValue>;
}

/// How much of a subtree is opened.
pub(crate) enum Overlap {
	None,
	Part,
	Whole,
}

impl ChunkSet {
	/// Every chunk of a tensor: its opening is the tensor itself, without siblings. `None` for a shape without elements.
	pub fn all(shape: Shape, element: ElementType) -> Option<Self> {
		let total = shape.chunks(element);
		(total > 0).then_some(Self { total, first: 0, run: total, stride: total, count: 1 })
	}

	/// The blocks of the block row `row`, all columns.
	pub fn row_strip(shape: Shape, element: ElementType, row: u32) -> Option<Self> {
		if row >= shape.block_rows() || shape.block_cols() == 0 {
			return None;
		}
		let per_block = element.chunks_per_block();
		let run = u64::from(shape.block_cols()).checked_mul(per_block)?;
		Some(Self { total: shape.chunks(element), first: u64::from(row).checked_mul(run)?, run, stride: run, count: 1 })
	}

	/// The blocks of the block column `col`, in the block rows `from..from + rows`.
	pub fn column_strip(shape: Shape, element: ElementType, col: u32, from: u32, rows: u32) -> Option<Self> {
		if col >= shape.block_cols() || rows == 0 || from.checked_add(rows)? > shape.block_rows() {
			return None;
		}
		let per_block = element.chunks_per_block();
		let stride = u64::from(shape.block_cols()).checked_mul(per_block)?;
		let first = u64::from(from).checked_mul(stride)?.checked_add(u64::from(col).checked_mul(per_block)?)?;
		Some(Self { total: shape.chunks(element), first, run: per_block, stride, count: u64::from(rows) })
	}

	/// One block.
	pub fn block(shape: Shape, element: ElementType, block: BlockIndex) -> Option<Self> {
		Self::column_strip(shape, element, block.col, block.row, 1)
	}

	/// One chunk of a list of `total` chunks.
	pub fn chunk(total: u64, index: u64) -> Option<Self> {
		(index < total).then_some(Self { total, first: index, run: 1, stride: 1, count: 1 })
	}

	/// `count` consecutive chunks of a list of `total` chunks.
	pub fn run(total: u64, first: u64, count: u64) -> Option<Self> {
		let fits = count > 0 && first.checked_add(count)? <= total;
		fits.then_some(Self { total, first, run: count, stride: count, count: 1 })
	}

	/// Bytes of all chunks of the set.
	pub fn bytes(&self) -> u64 {
		self.run.saturating_mul(self.count).saturating_mul(CHUNK_BYTES as u64)
	}

	/// Chunks of the whole tensor.
	pub fn total(&self) -> u64 {
		self.total
	}

	/// The first chunk of the set at `chunk` or after it.
	fn next(&self, chunk: u64) -> Option<u64> {
		let Some(past) = chunk.checked_sub(self.first) else { return Some(self.first) };
		let (index, offset) = (past.checked_div(self.stride)?, past.checked_rem(self.stride)?);
		let (index, offset) = if offset < self.run { (index, offset) } else { (index.checked_add(1)?, 0) };
		(index < self.count)
			.then(|| self.first.saturating_add(self.stride.saturating_mul(index)).saturating_add(offset))
	}
}

impl Opened for ChunkSet {
	fn total(&self) -> u64 {
		self.total
	}

	fn data_bytes(&self) -> u64 {
		self.bytes()
	}

	fn overlap(&self, start: u64, len: u64) -> Overlap {
		let end = start.saturating_add(len);
		match self.next(start) {
			Some(next) if next < end => {
				let run_left = match (start.checked_sub(self.first), self.stride) {
					(Some(past), stride) if stride > 0 && next == start => self.run.saturating_sub(past % stride),
					_ => 0,
				};
				if run_left >= len {
					Overlap::Whole
				} else {
					Overlap::Part
				}
			}
			_ => Overlap::None,
		}
	}

	fn put(subtree: &[u8], _: u64, data: &mut Vec<u8>) {
		data.extend_from_slice(subtree);
	}

	fn take(data: &mut &[u8], start: u64, len: u64) -> Option<ChainingValue> {
		// BLAKE3 has no chunk that begins beyond 2^64 bytes, and stops at the attempt to hash one.
		start.checked_mul(CHUNK_BYTES as u64)?;
		let bytes = usize::try_from(len).ok()?.checked_mul(CHUNK_BYTES)?;
		let (subtree, rest) = data.split_at_checked(bytes)?;
		*data = rest;
		Some(subtree_value(subtree, start))
	}
}

/// Chunks of the left subtree of a tree of `chunks` (at least 2) chunks: the largest power of two below.
fn left_len(chunks: u64) -> u64 {
	let half = chunks.div_ceil(2);
	half.checked_next_power_of_two().unwrap_or(half)
}

impl Opening {
	/// Opens chunks of a tensor's bytes. `None` if the set does not belong to a tensor of that size.
	pub fn of(bytes: &[u8], chunks: &ChunkSet) -> Option<Self> {
		Self::of_set(bytes, chunks)
	}

	/// Verifies that the opened bytes are those chunks of the tensor with that commitment, and gives them.
	///
	/// Time is bounded by the size of the set: `O(chunks * log2(total))` compressions.
	pub fn verify(&self, commitment: &Commitment, chunks: &ChunkSet) -> Result<&[u8], OpeningError> {
		self.verify_set(commitment, chunks)
	}

	/// Opens nodes of the tree of a tensor's bytes: the data is their chaining values, 32 bytes each. `None` if the set
	/// does not belong to a tensor of that size.
	pub fn of_nodes(bytes: &[u8], nodes: &NodeSet) -> Option<Self> {
		Self::of_set(bytes, nodes)
	}

	/// Verifies that the opened chaining values are those of the nodes of the tree with that commitment, and gives them
	/// in order, 32 bytes each.
	///
	/// That shows what the commitment says of the nodes, not that anyone has the bytes below them.
	/// Time is bounded by the size of the set: `O(nodes + log2(total))` compressions.
	pub fn verify_nodes(&self, commitment: &Commitment, nodes: &NodeSet) -> Result<&[u8], OpeningError> {
		self.verify_set(commitment, nodes)
	}

	fn of_set<S: Opened>(bytes: &[u8], set: &S) -> Option<Self> {
		if bytes.len() as u64 != set.total().checked_mul(CHUNK_BYTES as u64)? {
			return None;
		}
		let mut opening = Self { data: Vec::with_capacity(set.data_bytes() as usize), siblings: Vec::new() };
		opening.collect(bytes, set, 0, set.total())?;
		Some(opening)
	}

	/// Opens what is to be opened of the subtree of `len` chunks from `start`.
	fn collect<S: Opened>(&mut self, bytes: &[u8], set: &S, start: u64, len: u64) -> Option<()> {
		let subtree = || bytes.get(start as usize * CHUNK_BYTES..start.checked_add(len)? as usize * CHUNK_BYTES);
		match set.overlap(start, len) {
			Overlap::None => self.siblings.push(subtree_value(subtree()?, start)),
			Overlap::Part if len > 1 => {
				let left = left_len(len);
				self.collect(bytes, set, start, left)?;
				self.collect(bytes, set, start.checked_add(left)?, len.checked_sub(left)?)?;
			}
			_ => S::put(subtree()?, start, &mut self.data),
		}
		Some(())
	}

	fn verify_set<S: Opened>(&self, commitment: &Commitment, set: &S) -> Result<&[u8], OpeningError> {
		if self.data.len() as u64 != set.data_bytes() {
			return Err(OpeningError::DataLength);
		}
		let mut walk = Walk { data: &self.data, siblings: self.siblings.iter(), set };
		let root = if set.total() == 1 {
			Commitment::of(&self.data)
		} else {
			let left = left_len(set.total());
			let left_value = walk.subtree(0, left)?;
			let right_value = walk.subtree(left, set.total().saturating_sub(left))?;
			Commitment(*merge_subtrees_root(&left_value, &right_value, Mode::Hash).as_bytes())
		};
		if walk.siblings.next().is_some() {
			return Err(OpeningError::SiblingCount);
		}
		if root != *commitment {
			return Err(OpeningError::Mismatch);
		}
		Ok(&self.data)
	}
}

/// The chaining value of a whole subtree that is not the root.
pub(crate) fn subtree_value(bytes: &[u8], start: u64) -> ChainingValue {
	let mut hasher = blake3::Hasher::new();
	hasher.set_input_offset(start.saturating_mul(CHUNK_BYTES as u64));
	hasher.update(bytes);
	hasher.finalize_non_root()
}

struct Walk<'a, S> {
	data: &'a [u8],
	siblings: core::slice::Iter<'a, ChainingValue>,
	set: &'a S,
}

impl<S: Opened> Walk<'_, S> {
	/// Chaining value of the subtree of `len` chunks from `start` (depth at most 64, as `len` halves).
	fn subtree(&mut self, start: u64, len: u64) -> Result<ChainingValue, OpeningError> {
		match self.set.overlap(start, len) {
			Overlap::None => self.siblings.next().copied().ok_or(OpeningError::SiblingCount),
			Overlap::Part if len > 1 => {
				let left = left_len(len);
				let left_value = self.subtree(start, left)?;
				let right_value = self.subtree(start.saturating_add(left), len.saturating_sub(left))?;
				Ok(merge_subtrees_non_root(&left_value, &right_value, Mode::Hash))
			}
			_ => S::take(&mut self.data, start, len).ok_or(OpeningError::DataLength),
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use alloc::vec;
	use proptest::prelude::*;

	fn bytes(len: usize, seed: u64) -> Vec<u8> {
		let mut bytes = vec![0; len];
		blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
		bytes
	}

	fn any_set() -> impl Strategy<Value = (Shape, ElementType, ChunkSet)> {
		(1u32..9, 1u32..9, any::<bool>(), 0u32..5, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
			|(rows, cols, wide, kind, a, b, c)| {
				let shape = Shape::new(rows * 32 - 5, cols * 32 - 31).unwrap();
				let element = if wide { ElementType::I32 } else { ElementType::I8 };
				let (row, col) = (a % rows, b % cols);
				let set = match kind {
					0 => ChunkSet::row_strip(shape, element, row),
					1 => ChunkSet::column_strip(shape, element, col, 0, rows),
					2 => ChunkSet::column_strip(shape, element, col, row, 1 + c % (rows - row)),
					3 => ChunkSet::block(shape, element, BlockIndex { row, col }),
					_ => ChunkSet::all(shape, element),
				};
				(shape, element, set.unwrap())
			},
		)
	}

	proptest! {
		#[test]
		fn an_opening_verifies_and_any_changed_bit_does_not((shape, element, set) in any_set(), seed: u64, at: usize, bit in 0u8..8) {
			let tensor = bytes(shape.bytes(element) as usize, seed);
			let commitment = Commitment::of(&tensor);
			let opening = Opening::of(&tensor, &set).unwrap();
			prop_assert_eq!(opening.verify(&commitment, &set).unwrap().len() as u64, set.bytes());

			let mut forged = opening.clone();
			let at = at % (forged.data.len() + 32 * forged.siblings.len());
			match at.checked_sub(forged.data.len()) {
				None => forged.data[at] ^= 1 << bit,
				Some(at) => forged.siblings[at / 32][at % 32] ^= 1 << bit,
			}
			prop_assert_eq!(forged.verify(&commitment, &set), Err(OpeningError::Mismatch));
		}

		#[test]
		fn lengths_are_exact((shape, element, set) in any_set()) {
			let tensor = bytes(shape.bytes(element) as usize, 0);
			let commitment = Commitment::of(&tensor);
			let opening = Opening::of(&tensor, &set).unwrap();
			let with = |change: &dyn Fn(&mut Opening)| {
				let mut forged = opening.clone();
				change(&mut forged);
				forged.verify(&commitment, &set).map(<[u8]>::len)
			};
			prop_assert_eq!(with(&|o| { o.data.pop(); }), Err(OpeningError::DataLength));
			prop_assert_eq!(with(&|o| o.data.push(0)), Err(OpeningError::DataLength));
			prop_assert_eq!(with(&|o| o.siblings.push([0; 32])), Err(OpeningError::SiblingCount));
			if !opening.siblings.is_empty() {
				prop_assert_eq!(with(&|o| { o.siblings.pop(); }), Err(OpeningError::SiblingCount));
			}
		}
	}

	#[test]
	fn a_strip_of_another_place_or_tensor_does_not_verify() {
		let shape = Shape::new(128, 96).unwrap();
		let (one, other) = (bytes(12 * 1024, 1), bytes(12 * 1024, 2));
		let set = ChunkSet::row_strip(shape, ElementType::I8, 1).unwrap();
		let elsewhere = ChunkSet::row_strip(shape, ElementType::I8, 2).unwrap();
		let opening = Opening::of(&one, &set).unwrap();
		assert_eq!(opening.verify(&Commitment::of(&other), &set), Err(OpeningError::Mismatch));
		assert!(opening.verify(&Commitment::of(&one), &elsewhere).is_err());
	}

	#[test]
	fn all_of_a_tensor_opens_to_its_bytes() {
		for (rows, cols, element) in [(1, 1, ElementType::I8), (32, 32, ElementType::I32), (150, 70, ElementType::I8)] {
			let shape = Shape::new(rows, cols).unwrap();
			let tensor = bytes(shape.bytes(element) as usize, 3);
			let set = ChunkSet::all(shape, element).unwrap();
			assert_eq!((set.total(), set.bytes()), (shape.chunks(element), shape.bytes(element)));
			let opening = Opening::of(&tensor, &set).unwrap();
			assert_eq!((&opening.data, opening.siblings.len()), (&tensor, 0));
			assert_eq!(opening.verify(&Commitment::of(&tensor), &set), Ok(&tensor[..]));
		}
		assert_eq!(ChunkSet::all(Shape { rows: 0, cols: 5 }, ElementType::I8), None);
	}

	#[test]
	fn chunks_beyond_the_longest_input_are_refused() {
		let opening = Opening { data: vec![7; CHUNK_BYTES], siblings: vec![[7; 32]; 64] };
		for index in [(1 << 54) - 1, 1 << 54, u64::MAX - 1] {
			let set = ChunkSet::chunk(u64::MAX, index).unwrap();
			assert!(opening.verify(&Commitment::default(), &set).is_err());
		}
	}

	#[test]
	fn sets_outside_the_tensor_are_not_made() {
		let shape = Shape::new(64, 64).unwrap();
		assert_eq!(ChunkSet::row_strip(shape, ElementType::I8, 2), None);
		assert_eq!(ChunkSet::column_strip(shape, ElementType::I8, 2, 0, 1), None);
		assert_eq!(ChunkSet::column_strip(shape, ElementType::I8, 0, 1, 2), None);
		assert_eq!(ChunkSet::column_strip(shape, ElementType::I8, 0, u32::MAX, 2), None);
		assert_eq!(ChunkSet::column_strip(shape, ElementType::I8, 0, 0, 0), None);
		// Of a shape without elements there is nothing: a set of no chunks would verify with any commitment's two children.
		for empty in [Shape { rows: 64, cols: 0 }, Shape { rows: 0, cols: 64 }] {
			assert_eq!(ChunkSet::row_strip(empty, ElementType::I8, 0), None);
			assert_eq!(ChunkSet::column_strip(empty, ElementType::I8, 0, 0, 1), None);
			assert_eq!(ChunkSet::all(empty, ElementType::I8), None);
		}
	}
}
