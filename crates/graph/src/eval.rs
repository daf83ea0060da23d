use alloc::{boxed::Box, vec, vec::Vec};
use labora_tensor::{operand, BlockIndex, I32Block, I8Block, BLOCK, BLOCK_ELEMENTS, CHUNK_BYTES};

use crate::{
	arithmetic::{activate, argmax, metrics, quantize, rounding_bits, scale, sgd, softmax_gradient},
	product::add_products,
	Op, OpIndex, Program, StepContext,
};

/// One block of an op's output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OutputBlock {
	/// Of an `i8` tensor.
	I8(Box<I8Block>),
	/// Of an `i32` tensor.
	I32(Box<I32Block>),
}

impl OutputBlock {
	/// The block's bytes as they are stored.
	pub fn to_bytes(&self) -> Vec<u8> {
		match self {
			Self::I8(block) => block.iter().map(|x| *x as u8).collect(),
			Self::I32(block) => block.iter().flat_map(|x| x.to_le_bytes()).collect(),
		}
	}
}

/// Why a block could not be computed: only ever the caller's mistake, as no bytes can make an op fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvalError {
	/// No such op.
	NoSuchOp,
	/// The block is outside the output.
	NoSuchBlock,
	/// The number or the lengths of the inputs are not those of [`Program::needs`].
	BadInput,
}

/// A strip of the left operand: 32 rows of `k` operands, row-major.
pub fn left_strip(bytes: &[u8], transposed: bool) -> Vec<i8> {
	let k = bytes.len() / BLOCK;
	let mut strip = vec![0; bytes.len()];
	for (index, block) in bytes.chunks_exact(CHUNK_BYTES).enumerate() {
		for (row, elements) in block.chunks_exact(BLOCK).enumerate() {
			for (col, element) in elements.iter().enumerate() {
				let (i, l) = if transposed { (col, row) } else { (row, col) };
				strip[i * k + index * BLOCK + l] = operand(*element as i8);
			}
		}
	}
	strip
}

/// A strip of the right operand: `k` rows of 32 operands, row-major.
pub fn right_strip(bytes: &[u8], transposed: bool) -> Vec<i8> {
	let mut strip = vec![0; bytes.len()];
	for (block, out) in bytes.chunks_exact(CHUNK_BYTES).zip(strip.chunks_exact_mut(CHUNK_BYTES)) {
		for (row, elements) in block.chunks_exact(BLOCK).enumerate() {
			for (col, element) in elements.iter().enumerate() {
				let (l, j) = if transposed { (col, row) } else { (row, col) };
				out[l * BLOCK + j] = operand(*element as i8);
			}
		}
	}
	strip
}

/// The plain 32x32 tile of a product.
fn tile(left: &[i8], right: &[i8]) -> Box<I32Block> {
	let mut acc = Box::new([0i32; BLOCK_ELEMENTS]);
	add_products(&mut acc, left, right, 0..left.len() / BLOCK, 0);
	acc
}

fn i32_block(bytes: &[u8]) -> Box<I32Block> {
	let mut block = Box::new([0; BLOCK_ELEMENTS]);
	for (out, bytes) in block.iter_mut().zip(bytes.chunks_exact(4)) {
		*out = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
	}
	block
}

/// Row `row` of a strip of blocks: its first `cols` elements (at most 64).
fn strip_row(strip: &[u8], row: usize, cols: usize) -> Vec<i8> {
	let blocks = strip.chunks_exact(CHUNK_BYTES);
	let elements = blocks.flat_map(|block| &block[row * BLOCK..(row + 1) * BLOCK]);
	elements.take(cols).map(|x| *x as i8).collect()
}

impl Program {
	/// Computes one block of the output of an op, from the inputs that [`Program::needs`] names, as bytes of their
	/// regions in order. This is the consensus definition of the op.
	pub fn eval_block(
		&self,
		index: OpIndex,
		block: BlockIndex,
		inputs: &[&[u8]],
		context: &StepContext,
	) -> Result<OutputBlock, EvalError> {
		let (_, op_number) = index.split(self);
		let (op, info) = self.op(op_number).ok_or(EvalError::NoSuchOp)?;
		let needs = self.needs(op_number, block).ok_or(EvalError::NoSuchBlock)?;
		let fits = needs.len() == inputs.len()
			&& needs.iter().zip(inputs).all(|(need, bytes)| {
				let set = self
					.value(need.value)
					.and_then(|(shape, element)| need.region.chunks(shape, element, 0, shape.block_rows()));
				set.is_some_and(|set| set.bytes() == bytes.len() as u64)
			});
		if !fits {
			return Err(EvalError::BadInput);
		}
		let product =
			|transpose_a, transpose_b| tile(&left_strip(inputs[0], transpose_a), &right_strip(inputs[1], transpose_b));
		let mut out = Box::new([0i8; BLOCK_ELEMENTS]);
		match *op {
			Op::Quantize { shift, .. } => {
				for (out, parameter) in out.iter_mut().zip(i32_block(inputs[0]).iter()) {
					*out = quantize(*parameter, shift);
				}
			}
			Op::MatMul { transpose_a, transpose_b, shift, rounding, activation, .. } => {
				let key = context.rounding.of_op(index);
				let acc = product(transpose_a, transpose_b);
				for (at, (out, acc)) in out.iter_mut().zip(acc.iter()).enumerate() {
					let row = block.row * BLOCK as u32 + (at / BLOCK) as u32;
					let col = block.col * BLOCK as u32 + (at % BLOCK) as u32;
					*out = activate(scale(*acc, shift, rounding, rounding_bits(key, row, col)), activation);
				}
			}
			Op::SgdUpdate { transpose_a, transpose_b, rate, .. } => {
				let rate = rate.saturating_sub_unsigned(context.rate_drops).max(-16);
				let mut acc = product(transpose_a, transpose_b);
				for (acc, parameter) in acc.iter_mut().zip(i32_block(inputs[2]).iter()) {
					*acc = sgd(*parameter, *acc, rate);
				}
				return Ok(OutputBlock::I32(acc));
			}
			Op::ReluMask { .. } => {
				for (out, (gradient, activation)) in out.iter_mut().zip(inputs[0].iter().zip(inputs[1])) {
					*out = if (*activation as i8) > 0 { operand(*gradient as i8) } else { 0 };
				}
			}
			Op::SoftmaxGradient { .. } => {
				let classes = info.shape.cols as usize;
				let mut gradient = vec![0; classes];
				for (row, out) in out.chunks_exact_mut(BLOCK).enumerate() {
					let label = inputs[1][row * BLOCK] as i8;
					softmax_gradient(&strip_row(inputs[0], row, classes), label, &mut gradient);
					let from = block.col as usize * BLOCK;
					for (out, gradient) in out.iter_mut().zip(gradient.iter().skip(from)) {
						*out = *gradient;
					}
				}
			}
			Op::Metrics { logits } => {
				let classes = self.value(logits).map_or(0, |(shape, _)| shape.cols as usize);
				let mut out = Box::new([0; BLOCK_ELEMENTS]);
				for (row, out) in out.chunks_exact_mut(BLOCK).enumerate() {
					let label = inputs[1][row * BLOCK] as i8;
					(out[0], out[1]) = metrics(&strip_row(inputs[0], row, classes), label);
				}
				return Ok(OutputBlock::I32(out));
			}
			Op::Argmax { logits } => {
				let classes = self.value(logits).map_or(0, |(shape, _)| shape.cols as usize);
				for (row, out) in out.chunks_exact_mut(BLOCK).enumerate() {
					out[0] = argmax(&strip_row(inputs[0], row, classes)) as i8;
				}
			}
		}
		Ok(OutputBlock::I8(out))
	}
}
