//! The elementwise loops, in plain Rust that the compiler vectorises for the instruction set it is inlined into.

use labora_graph::{
	arithmetic::{activate, rounding_bits, sgd},
	Activation, Rounding, MAX_K,
};
use labora_tensor::{operand, I32Block, BLOCK, OPERAND_MAX};

/// How a tile becomes operands.
#[derive(Clone, Copy)]
pub(crate) struct Scaling {
	pub shift: u8,
	pub rounding: Rounding,
	pub activation: Activation,
	/// Key of the op's rounding bits.
	pub key: u32,
	/// Element row and column of the tile's first element.
	pub row: u32,
	pub col: u32,
}

/// How a gradient changes a master parameter.
#[derive(Clone, Copy)]
pub(crate) struct Update {
	/// The rate after its drops, at least -16.
	pub rate: i8,
	/// Inner dimension of the gradient's product: bounds the gradient.
	pub k: u32,
}

/// `x` plus a rounding term, shifted: as `arithmetic::scale` does, but the saturation is a minimum.
#[inline(always)]
fn shifted(x: i32, up: i32, shift: u8) -> i32 {
	(x.min(i32::MAX - up) + up) >> shift
}

#[inline(always)]
pub(crate) fn scale_tile(scaling: &Scaling, tile: &I32Block, out: &mut [u8]) {
	let Scaling { shift, rounding, activation, key, row, col } = *scaling;
	let nearest = (1 << shift) >> 1;
	let mask = (1u32 << shift) - 1;
	let rows = out.chunks_exact_mut(BLOCK).zip(tile.chunks_exact(BLOCK)).zip(row..);
	match rounding {
		Rounding::Nearest => {
			for (out, acc) in out.iter_mut().zip(tile) {
				*out = activate(shifted(*acc, nearest, shift), activation) as u8;
			}
		}
		Rounding::Stochastic => {
			for ((out, acc), row) in rows {
				for ((out, acc), col) in out.iter_mut().zip(acc).zip(col..) {
					let up = (rounding_bits(key, row, col) & mask) as i32;
					*out = activate(shifted(*acc, up, shift), activation) as u8;
				}
			}
		}
	}
}

/// Little-endian integers of a slice of bytes.
#[inline(always)]
fn integers(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
	bytes.chunks_exact(4).map(|bytes| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[inline(always)]
pub(crate) fn update_tile(update: Update, gradient: &I32Block, master: &[u8], out: &mut [u8]) {
	let Update { rate, k } = update;
	let largest = i64::from(k.min(MAX_K)) * i64::from(OPERAND_MAX) * i64::from(OPERAND_MAX);
	let outs = out.chunks_exact_mut(4).zip(integers(master).zip(gradient));
	if rate < 0 {
		// The gradient is below 2^26 and the rounding term at most 2^15: 32 bits hold their sum.
		let shift = rate.unsigned_abs();
		for (out, (parameter, gradient)) in outs {
			let change = (gradient + (1 << (shift - 1))) >> shift;
			out.copy_from_slice(&parameter.saturating_sub(change).to_le_bytes());
		}
	} else if largest << rate <= i64::from(i32::MAX) {
		for (out, (parameter, gradient)) in outs {
			out.copy_from_slice(&parameter.saturating_sub(gradient << rate).to_le_bytes());
		}
	} else {
		for (out, (parameter, gradient)) in outs {
			out.copy_from_slice(&sgd(parameter, *gradient, rate).to_le_bytes());
		}
	}
}

#[inline(always)]
pub(crate) fn quantize_all(shift: u8, master: &[u8], out: &mut [u8]) {
	let nearest = (1 << shift) >> 1;
	for (out, parameter) in out.iter_mut().zip(integers(master)) {
		*out = activate(shifted(parameter, nearest, shift), Activation::Identity) as u8;
	}
}

#[inline(always)]
pub(crate) fn relu_mask_all(gradient: &[u8], activation: &[u8], out: &mut [u8]) {
	for (out, (gradient, activation)) in out.iter_mut().zip(gradient.iter().zip(activation)) {
		let gradient = operand(*gradient as i8);
		*out = if *activation as i8 > 0 { gradient as u8 } else { 0 };
	}
}
