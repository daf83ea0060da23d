//! Operands of a product: part of a stored tensor, read as it is or transposed.

use labora_pouw::noise::Side;
use labora_tensor::CHUNK_BYTES;

use crate::kernel::Bytes;

/// An operand.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
	/// The value's blocks as they are stored; nothing is a matrix of zeros.
	pub bytes: &'a [u8],
	/// Block columns of the stored matrix.
	pub block_cols: usize,
	/// Whether it is read transposed.
	pub transposed: bool,
}

impl Operand<'_> {
	/// A matrix of zeros.
	pub const ZEROS: Operand<'static> = Operand { bytes: &[], block_cols: 0, transposed: false };

	/// Whether a row of a stored block lies along the inner dimension, so that rows are lines.
	#[inline(always)]
	pub fn rows_are_lines(&self, side: Side) -> bool {
		(side == Side::Left) != self.transposed
	}

	/// The stored block that holds inner indices `32 * index..` of a strip.
	#[inline(always)]
	pub fn block(&self, side: Side, strip: usize, index: usize) -> Option<&Bytes> {
		let (row, col) = if self.rows_are_lines(side) { (strip, index) } else { (index, strip) };
		let start = (row * self.block_cols + col) * CHUNK_BYTES;
		self.bytes.get(start..start + CHUNK_BYTES)?.try_into().ok()
	}
}
