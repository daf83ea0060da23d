//! The noise of one product, generated once and shared by all its strips.

use labora_graph::Product;
use labora_pouw::{
	noise::{cycles, dense, Side},
	params::noise_rank,
	Seed,
};
use labora_tensor::{BLOCK, CHUNK_BYTES};

use crate::{
	kernel::Bytes,
	pack::{Packer, Rows},
};

/// The factors of both noises of a product.
pub(crate) struct Noise {
	/// The rank `r`.
	pub rank: usize,
	left: Factors,
	right: Factors,
}

struct Factors {
	/// Lines of `r` entries: rows of `EL` or columns of `FR`.
	dense: Vec<i8>,
	/// The permutations, one of `r` entries after the other.
	cycles: Vec<u8>,
}

impl Noise {
	/// The noise of a product.
	pub fn new(seed: &Seed, product: &Product) -> Self {
		let rank = noise_rank(product.k);
		let factors = |side, lines| Factors {
			dense: dense(seed, side, rank, 0, lines),
			cycles: cycles(seed, side, rank, product.k),
		};
		Self { rank: rank as usize, left: factors(Side::Left, product.m), right: factors(Side::Right, product.n) }
	}

	fn factors(&self, side: Side) -> &Factors {
		match side {
			Side::Left => &self.left,
			Side::Right => &self.right,
		}
	}

	/// The permutations of a side.
	pub fn cycles(&self, side: Side) -> &[u8] {
		&self.factors(side).cycles
	}

	/// The dense factor of a strip, turned: row `s` holds entry `s` of its 32 lines.
	#[inline(always)]
	pub fn turned<P: Packer, const R: usize>(&self, side: Side, strip: usize, out: &mut Rows<i8, R>) {
		let lines = &self.factors(side).dense[strip * BLOCK * R..(strip + 1) * BLOCK * R];
		let (mut bytes, mut turned): (Bytes, Bytes) = ([0; CHUNK_BYTES], [0; CHUNK_BYTES]);
		for (part, out) in out.chunks_exact_mut(BLOCK).enumerate() {
			for (bytes, line) in bytes.chunks_exact_mut(BLOCK).zip(lines.chunks_exact(R.max(1))) {
				for (byte, x) in bytes.iter_mut().zip(&line[part * BLOCK..]) {
					*byte = *x as u8;
				}
			}
			P::turn(&bytes, &mut turned);
			for (out, row) in out.iter_mut().zip(turned.chunks_exact(BLOCK)) {
				for (x, byte) in out.iter_mut().zip(row) {
					*x = *byte as i8;
				}
			}
		}
	}
}
