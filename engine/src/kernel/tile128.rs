//! The tile of the kernels for NEON: a group's eight rows by eight columns in 16 of the 32 registers over the whole inner dimension.

use core::arch::aarch64::*;
use labora_pouw::params::{FOLD_HALF_ROTATION, FOLD_LANES, FOLD_ROWS};
use labora_tensor::BLOCK;

use crate::pack::Step;

/// Columns of a part of a group: two registers of 32-bit words.
pub(crate) const COLS: usize = 8;
/// Parts of a group.
pub(crate) const PARTS: usize = BLOCK / COLS;
/// 32-bit words of a register.
const WORDS: usize = 4;

/// The accumulators of a part.
pub(crate) type Accumulators = [[int32x4_t; 2]; FOLD_ROWS];

/// Where a part lies.
#[derive(Clone, Copy)]
pub(crate) struct Part {
	pub group: usize,
	pub part: usize,
}

impl Part {
	/// The words of the group's rows in a left step.
	#[inline(always)]
	pub fn left(self, step: &Step) -> &[u32; FOLD_ROWS] {
		&step.0.as_chunks().0[self.group]
	}

	/// The words of the part's columns in a right step.
	#[inline(always)]
	pub fn right(self, step: &Step) -> &[u32; COLS] {
		&step.0.as_chunks().0[self.part]
	}
}

/// Adds the products of a step: a function that takes a row's accumulators, four rows' words with the row's number among them, and
/// the columns' words, for all rows.
macro_rules! add_rows {
	($dot:ident, $acc:ident, $a:ident, $b:ident) => {
		$acc = [
			$dot::<0>($acc[0], $a[0], $b),
			$dot::<1>($acc[1], $a[0], $b),
			$dot::<2>($acc[2], $a[0], $b),
			$dot::<3>($acc[3], $a[0], $b),
			$dot::<0>($acc[4], $a[1], $b),
			$dot::<1>($acc[5], $a[1], $b),
			$dot::<2>($acc[6], $a[1], $b),
			$dot::<3>($acc[7], $a[1], $b),
		];
	};
}

/// Defines the dot product of four bytes of one row and each column. `asm!`, as the intrinsics are not stable.
macro_rules! dot_of_bytes {
	($features:literal, $instruction:literal) => {
		#[inline]
		#[target_feature(enable = $features)]
		fn dot<const ROW: i32>(mut sum: [int32x4_t; 2], a: int8x16_t, b: [int8x16_t; 2]) -> [int32x4_t; 2] {
			for (sum, b) in sum.iter_mut().zip(b) {
				// SAFETY: works on registers alone.
				unsafe {
					asm!(
						concat!($instruction, " {sum:v}.4s, {b:v}.16b, {a:v}.4b[{row}]"),
						sum = inout(vreg) *sum,
						b = in(vreg) b,
						a = in(vreg) a,
						row = const ROW,
						options(pure, nomem, nostack, preserves_flags),
					);
				}
			}
			sum
		}
	};
}

/// 16 bytes of each half of some words.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load_bytes(words: &[u32; 8]) -> [int8x16_t; 2] {
	let words: *const i8 = words.as_ptr().cast();
	// SAFETY: 8 words are 32 bytes.
	unsafe { [vld1q_s8(words), vld1q_s8(words.add(16))] }
}

/// The products of two 16-bit integers of one row and each column: the even ones, then the odd ones.
#[inline]
#[target_feature(enable = "neon")]
fn dot_of_words<const ROW: i32>(sum: [int32x4_t; 2], a: int16x4x2_t, b: int16x8x2_t) -> [int32x4_t; 2] {
	let low = vmlal_lane_s16::<ROW>(sum[0], vget_low_s16(b.0), a.0);
	let high = vmlal_high_lane_s16::<ROW>(sum[1], b.0, a.0);
	[vmlal_lane_s16::<ROW>(low, vget_low_s16(b.1), a.1), vmlal_high_lane_s16::<ROW>(high, b.1, a.1)]
}

/// Adds the products of steps of 16-bit integers.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn add_words(left: &[Step], right: &[Step], part: Part, mut acc: Accumulators) -> Accumulators {
	for (left, right) in left.iter().zip(right) {
		let a: *const i16 = part.left(left).as_ptr().cast();
		// SAFETY: 8 words are 16 i16.
		let a = unsafe { [vld2_s16(a), vld2_s16(a.add(8))] };
		// SAFETY: as above.
		let b = unsafe { vld2q_s16(part.right(right).as_ptr().cast()) };
		add_rows!(dot_of_words, acc, a, b);
	}
	acc
}

/// Adds to the XOR of a group what a part of it contributes.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn fold_part(part: usize, acc: &Accumulators, fold: &mut [u32; FOLD_LANES]) {
	const LEFT: i32 = FOLD_HALF_ROTATION as i32;
	let words = fold.chunks_exact_mut(WORDS).skip(part * 2 % (FOLD_LANES / WORDS));
	for (half, fold) in words.take(2).enumerate() {
		let rows = acc.map(|row| vreinterpretq_u32_s32(row[half]));
		let x = rows.into_iter().fold(vdupq_n_u32(0), |x, row| veorq_u32(x, row));
		let x = if part < PARTS / 2 {
			x
		} else {
			// SAFETY: `fold` is 4 u32.
			let low = unsafe { vld1q_u32(fold.as_ptr()) };
			veorq_u32(low, vorrq_u32(vshlq_n_u32::<LEFT>(x), vshrq_n_u32::<{ 32 - LEFT }>(x)))
		};
		// SAFETY: `fold` is 4 u32.
		unsafe { vst1q_u32(fold.as_mut_ptr(), x) };
	}
}

/// Writes a part's accumulators less the columns' sums into the group's rows of a tile.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn store_part(part: usize, acc: &Accumulators, sums: &Step, rows: &mut [i32]) {
	for (acc, row) in acc.iter().zip(rows.chunks_exact_mut(BLOCK)) {
		let words = row.chunks_exact_mut(WORDS).zip(sums.0.chunks_exact(WORDS)).skip(part * 2);
		for (acc, (out, sums)) in acc.iter().zip(words) {
			// SAFETY: `sums` is 4 u32.
			let sums = unsafe { vld1q_s32(sums.as_ptr().cast()) };
			// SAFETY: `out` is 4 i32.
			unsafe { vst1q_s32(out.as_mut_ptr(), vsubq_s32(*acc, sums)) };
		}
	}
}

/// Defines `tile` for a feature set, with a function that adds the products of a chunk's main steps. What each part adds to the XOR
/// of every chunk is kept until the group is complete.
macro_rules! tile_in_128_bits {
	($features:literal, $add_main:ident) => {
		#[target_feature(enable = $features)]
		pub fn tile(layout: StripLayout, left: &[Step], right: &[Step], state: &mut FoldState, tile: &mut I32Block) {
			use labora_pouw::params::{FOLD_LANES, FOLD_ROWS};
			use $crate::kernel::{mix, tile128::*, MAX_FOLDS};

			let (main, wide) = (0..layout.main, layout.main..layout.sums());
			let chunk = if layout.fold == 0 { layout.main } else { layout.fold };
			let count = layout.main.div_ceil(chunk);
			let mut folds = [[0u32; FOLD_LANES]; MAX_FOLDS];
			let groups = state.0.iter_mut().zip(tile.chunks_exact_mut(FOLD_ROWS * BLOCK));
			for (group, (lanes, rows)) in groups.enumerate() {
				for part in 0..PARTS {
					let at = Part { group, part };
					let mut acc: Accumulators = [[vdupq_n_s32(0); 2]; FOLD_ROWS];
					let chunks = left[main.clone()].chunks(chunk).zip(right[main.clone()].chunks(chunk));
					for ((left, right), fold) in chunks.zip(&mut folds) {
						acc = $add_main(left, right, at, acc);
						fold_part(part, &acc, fold);
					}
					acc = add_words(&left[wide.clone()], &right[wide.clone()], at, acc);
					store_part(part, &acc, &right[layout.sums()], rows);
				}
				if layout.fold > 0 {
					mix(lanes, &folds[..count]);
				}
			}
		}
	};
}
