use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{BLOCK, CHUNK_BYTES};

/// Type of a tensor's elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum ElementType {
	/// Operands, activations, quantized parameters, labels: one byte.
	I8,
	/// Master parameters and metrics: four bytes, little endian.
	I32,
}

impl ElementType {
	/// BLAKE3 chunks of one block.
	pub const fn chunks_per_block(self) -> u64 {
		match self {
			Self::I8 => 1,
			Self::I32 => 4,
		}
	}

	/// Bytes of one block.
	pub const fn block_bytes(self) -> usize {
		self.chunks_per_block() as usize * CHUNK_BYTES
	}
}

/// Rows and columns of a matrix, before padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Shape {
	/// Rows, at least 1.
	pub rows: u32,
	/// Columns, at least 1.
	pub cols: u32,
}

/// Why a shape is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShapeError {
	/// A dimension is zero.
	Empty,
	/// A dimension is above [`Shape::MAX_ROWS`] or [`Shape::MAX_COLS`].
	TooLarge,
}

/// Position of a block: its row and column, counted in blocks.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct BlockIndex {
	/// Block row.
	pub row: u32,
	/// Block column.
	pub col: u32,
}

impl Shape {
	/// Most rows of a tensor (a dataset's examples).
	pub const MAX_ROWS: u32 = 1 << 24;
	/// Most columns of a tensor.
	pub const MAX_COLS: u32 = 1 << 16;

	/// A shape within the limits.
	pub const fn new(rows: u32, cols: u32) -> Result<Self, ShapeError> {
		if rows == 0 || cols == 0 {
			return Err(ShapeError::Empty);
		}
		if rows > Self::MAX_ROWS || cols > Self::MAX_COLS {
			return Err(ShapeError::TooLarge);
		}
		Ok(Self { rows, cols })
	}

	/// Rows, counted in blocks.
	pub const fn block_rows(&self) -> u32 {
		self.rows.div_ceil(BLOCK as u32)
	}

	/// Columns, counted in blocks.
	pub const fn block_cols(&self) -> u32 {
		self.cols.div_ceil(BLOCK as u32)
	}

	/// Rows with padding.
	pub const fn padded_rows(&self) -> u32 {
		self.block_rows().saturating_mul(BLOCK as u32)
	}

	/// Columns with padding.
	pub const fn padded_cols(&self) -> u32 {
		self.block_cols().saturating_mul(BLOCK as u32)
	}

	/// Blocks in all. At most `2^19 * 2^11`, whatever the shape.
	pub const fn blocks(&self) -> u64 {
		(self.block_rows() as u64).saturating_mul(self.block_cols() as u64)
	}

	/// Chunks of the stored tensor. At most `2^56`, whatever the shape.
	pub const fn chunks(&self, element: ElementType) -> u64 {
		self.blocks().saturating_mul(element.chunks_per_block())
	}

	/// Bytes of the stored tensor.
	pub const fn bytes(&self, element: ElementType) -> u64 {
		self.blocks().saturating_mul(element.block_bytes() as u64)
	}

	/// Whether the block lies in the tensor.
	pub const fn contains(&self, block: BlockIndex) -> bool {
		block.row < self.block_rows() && block.col < self.block_cols()
	}

	/// The shape of the transposed matrix.
	pub const fn transposed(&self) -> Self {
		Self { rows: self.cols, cols: self.rows }
	}
}
