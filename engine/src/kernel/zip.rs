//! Packing for NEON: blocks are turned by interleaving registers; the rest is the portable way, which the compiler vectorises.

use core::arch::aarch64::*;
use labora_tensor::BLOCK;

use super::Bytes;
use crate::pack::{Packer, Paths, Plain, Step, Work};

/// Packs `PER` inner indices into a step. Used by kernels that have NEON only.
pub(crate) struct Zip<const PER: usize>;

impl<const PER: usize> Packer for Zip<PER> {
	#[inline(always)]
	fn turn(bytes: &Bytes, out: &mut Bytes) {
		// SAFETY: this type is named by the packers of kernels that have NEON, and by nothing else.
		unsafe { turn(bytes, out) }
	}

	#[inline(always)]
	fn block<const R: usize, const LEFT: bool>(
		rows: &Bytes,
		work: &mut Work<R>,
		paths: Option<Paths<'_, R>>,
		out: &mut [Step],
	) {
		Plain::<PER>::block::<R, LEFT>(rows, work, paths, out);
	}

	#[inline(always)]
	fn add_sums(steps: &[Step], sums: &mut [i32; BLOCK]) {
		Plain::<PER>::add_sums(steps, sums);
	}

	#[inline(always)]
	fn pairs(even: &[i16; BLOCK], odd: &[i16; BLOCK], out: &mut Step) {
		Plain::<PER>::pairs(even, odd, out);
	}
}

/// Turns a block, a quarter at a time. Four rounds of interleaving register `i` with register `i + 8` move the four bits of the
/// row number into the lane and those of the column out of it.
#[inline]
#[target_feature(enable = "neon")]
fn turn(bytes: &Bytes, out: &mut Bytes) {
	const HALF: usize = BLOCK / 2;
	for (down, right) in [(0, 0), (0, HALF), (HALF, 0), (HALF, HALF)] {
		let mut x = [vdupq_n_u8(0); HALF];
		for (x, row) in x.iter_mut().zip(bytes[down * BLOCK..].chunks_exact(BLOCK)) {
			let row = &row[right..right + HALF];
			// SAFETY: `row` is 16 bytes.
			*x = unsafe { vld1q_u8(row.as_ptr()) };
		}
		for _ in 0..4 {
			let y = x;
			for i in 0..HALF / 2 {
				x[2 * i] = vzip1q_u8(y[i], y[i + HALF / 2]);
				x[2 * i + 1] = vzip2q_u8(y[i], y[i + HALF / 2]);
			}
		}
		for (x, row) in x.iter().zip(out[right * BLOCK..].chunks_exact_mut(BLOCK)) {
			let row = &mut row[down..down + HALF];
			// SAFETY: `row` is 16 bytes.
			unsafe { vst1q_u8(row.as_mut_ptr(), *x) };
		}
	}
}
