//! The kernel for every CPU: plain Rust on 16-bit pairs.

use labora_pouw::{params::FOLD_ROWS, ticket::FoldState};
use labora_tensor::{I32Block, BLOCK};
use sp_core::U256;

use super::{
	elementwise::{self, Scaling, Update},
	ticket::{self, Folded, Hasher, LANES},
};
use crate::pack::{pack_strip, PackJob, Plain, Step, StripLayout};

pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	pack_strip::<Plain<2>>(job, layout, strip);
}

/// The two 16-bit integers of a word.
#[inline(always)]
const fn pair(word: u32) -> (i32, i32) {
	(word as i16 as i32, (word as i32) >> 16)
}

/// Adds the products of some steps to `FOLD_ROWS` rows of a tile, from row `row` on.
#[inline(always)]
fn accumulate(left: &[Step], right: &[Step], row: usize, rows: &mut [i32]) {
	for (left, right) in left.iter().zip(right) {
		for (a, out) in left.0[row..].iter().zip(rows.chunks_exact_mut(BLOCK)) {
			let (a0, a1) = pair(*a);
			for (out, b) in out.iter_mut().zip(&right.0) {
				let (b0, b1) = pair(*b);
				*out += a0 * b0 + a1 * b1;
			}
		}
	}
}

pub fn tile(layout: StripLayout, left: &[Step], right: &[Step], state: &mut FoldState, tile: &mut I32Block) {
	tile.fill(0);
	let chunk = if layout.fold == 0 { layout.main } else { layout.fold };
	let (main, wide) = (0..layout.main, layout.main..layout.sums());
	for (left, right) in left[main.clone()].chunks(chunk).zip(right[main].chunks(chunk)) {
		for (group, rows) in tile.chunks_exact_mut(FOLD_ROWS * BLOCK).enumerate() {
			accumulate(left, right, group * FOLD_ROWS, rows);
		}
		if layout.fold > 0 {
			state.fold(tile);
		}
	}
	for (group, rows) in tile.chunks_exact_mut(FOLD_ROWS * BLOCK).enumerate() {
		accumulate(&left[wide.clone()], &right[wide.clone()], group * FOLD_ROWS, rows);
	}
	for row in tile.chunks_exact_mut(BLOCK) {
		for (out, sum) in row.iter_mut().zip(&right[layout.sums()].0) {
			*out = out.wrapping_sub(*sum as i32);
		}
	}
}

pub fn tickets(hasher: &Hasher, tiles: &[Folded], out: &mut [U256; LANES]) {
	ticket::tickets(hasher, tiles, out);
}

pub fn scale(scaling: &Scaling, tile: &I32Block, out: &mut [u8]) {
	elementwise::scale_tile(scaling, tile, out);
}

pub fn update(update: Update, gradient: &I32Block, master: &[u8], out: &mut [u8]) {
	elementwise::update_tile(update, gradient, master, out);
}

pub fn quantize(shift: u8, master: &[u8], out: &mut [u8]) {
	elementwise::quantize_all(shift, master, out);
}

pub fn relu_mask(gradient: &[u8], activation: &[u8], out: &mut [u8]) {
	elementwise::relu_mask_all(gradient, activation, out);
}
