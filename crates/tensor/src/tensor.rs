use alloc::{vec, vec::Vec};

use crate::{BlockIndex, ChunkSet, Commitment, ElementType, Opening, Shape, BLOCK, BLOCK_ELEMENTS};

/// A tensor in memory: its shape and its bytes in block order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tensor {
	shape: Shape,
	element: ElementType,
	bytes: Vec<u8>,
}

/// Why bytes are not a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TensorError {
	/// The number of bytes is not that of the shape.
	Length,
}

impl Tensor {
	/// A tensor of zeros.
	pub fn zeros(shape: Shape, element: ElementType) -> Self {
		Self { shape, element, bytes: vec![0; shape.bytes(element) as usize] }
	}

	/// A tensor from its bytes in block order.
	pub fn from_bytes(shape: Shape, element: ElementType, bytes: Vec<u8>) -> Result<Self, TensorError> {
		if bytes.len() as u64 != shape.bytes(element) {
			return Err(TensorError::Length);
		}
		Ok(Self { shape, element, bytes })
	}

	/// Shape before padding.
	pub fn shape(&self) -> Shape {
		self.shape
	}

	/// Type of the elements.
	pub fn element(&self) -> ElementType {
		self.element
	}

	/// The bytes in block order.
	pub fn bytes(&self) -> &[u8] {
		&self.bytes
	}

	/// The bytes in block order.
	pub fn bytes_mut(&mut self) -> &mut [u8] {
		&mut self.bytes
	}

	/// The bytes in block order, without the shape.
	pub fn into_bytes(self) -> Vec<u8> {
		self.bytes
	}

	/// The commitment: BLAKE3 of the bytes.
	pub fn commitment(&self) -> Commitment {
		Commitment::of(&self.bytes)
	}

	/// The opening of a set of chunks.
	pub fn open(&self, chunks: &ChunkSet) -> Option<Opening> {
		Opening::of(&self.bytes, chunks)
	}

	/// Index of an element among the elements in block order.
	fn index(shape: Shape, row: u32, col: u32) -> usize {
		let (row, col) = (row as usize, col as usize);
		let block = (row / BLOCK) * shape.block_cols() as usize + col / BLOCK;
		block * BLOCK_ELEMENTS + (row % BLOCK) * BLOCK + col % BLOCK
	}

	/// The bytes of one block, if it lies in the tensor.
	pub fn block(&self, block: BlockIndex) -> Option<&[u8]> {
		if !self.shape.contains(block) {
			return None;
		}
		let size = self.element.block_bytes();
		let start = (block.row as usize * self.shape.block_cols() as usize + block.col as usize) * size;
		self.bytes.get(start..start + size)
	}
}

/// A view of a tensor's elements as `i8`.
pub struct I8Tensor;
/// A view of a tensor's elements as `i32`.
pub struct I32Tensor;

impl I8Tensor {
	/// Packs a row-major matrix of `shape.rows * shape.cols` elements.
	pub fn pack(shape: Shape, rows: &[i8]) -> Result<Tensor, TensorError> {
		if rows.len() as u64 != u64::from(shape.rows) * u64::from(shape.cols) {
			return Err(TensorError::Length);
		}
		let mut tensor = Tensor::zeros(shape, ElementType::I8);
		for (row, elements) in rows.chunks_exact(shape.cols as usize).enumerate() {
			for (col, element) in elements.iter().enumerate() {
				let at = Tensor::index(shape, row as u32, col as u32);
				if let Some(byte) = tensor.bytes.get_mut(at) {
					*byte = *element as u8;
				}
			}
		}
		Ok(tensor)
	}

	/// The element at a position, zero outside.
	pub fn get(tensor: &Tensor, row: u32, col: u32) -> i8 {
		tensor.bytes.get(Tensor::index(tensor.shape, row, col)).map_or(0, |byte| *byte as i8)
	}
}

impl I32Tensor {
	/// Packs a row-major matrix of `shape.rows * shape.cols` elements.
	pub fn pack(shape: Shape, rows: &[i32]) -> Result<Tensor, TensorError> {
		if rows.len() as u64 != u64::from(shape.rows) * u64::from(shape.cols) {
			return Err(TensorError::Length);
		}
		let mut tensor = Tensor::zeros(shape, ElementType::I32);
		for (row, elements) in rows.chunks_exact(shape.cols as usize).enumerate() {
			for (col, element) in elements.iter().enumerate() {
				let at = Tensor::index(shape, row as u32, col as u32) * 4;
				if let Some(bytes) = tensor.bytes.get_mut(at..at + 4) {
					bytes.copy_from_slice(&element.to_le_bytes());
				}
			}
		}
		Ok(tensor)
	}

	/// The element at a position, zero outside.
	pub fn get(tensor: &Tensor, row: u32, col: u32) -> i32 {
		let at = Tensor::index(tensor.shape, row, col) * 4;
		match tensor.bytes.get(at..at + 4) {
			Some(&[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]),
			_ => 0,
		}
	}
}
