//! The tile of the kernels with 256-bit registers.

/// Rows of a part.
pub(crate) const ROWS: usize = 4;
/// 32-bit words of a register.
pub(crate) const WORDS: usize = 8;

/// Defines `tile` for a feature set: four rows by 16 columns of a tile in eight registers over the whole inner dimension. A group
/// of the fold consists of four such parts. What each adds to the XOR of every chunk is kept until the group is complete.
macro_rules! tile_in_256_bits {
	($features:literal, $main:ident, $wide:ident) => {
		#[target_feature(enable = $features)]
		pub fn tile(layout: StripLayout, left: &[Step], right: &[Step], state: &mut FoldState, tile: &mut I32Block) {
			use labora_pouw::params::{FOLD_HALF_ROTATION, FOLD_LANES, FOLD_ROWS};
			use $crate::kernel::{
				tile256::{ROWS, WORDS},
				MAX_FOLDS,
			};

			let (main, wide) = (0..layout.main, layout.main..layout.sums());
			let chunk = if layout.fold == 0 { layout.main } else { layout.fold };
			let mut folds = [[0u32; FOLD_LANES]; MAX_FOLDS];
			for (group, (lanes, rows)) in state.0.iter_mut().zip(tile.chunks_exact_mut(FOLD_ROWS * BLOCK)).enumerate() {
				let count = layout.main.div_ceil(chunk);
				folds[..count].fill([0; FOLD_LANES]);
				for part in 0..4 {
					let (row, half) = (part / 2 * ROWS, part % 2);
					let mut acc = [[_mm256_setzero_si256(); 2]; ROWS];
					let chunks = left[main.clone()].chunks(chunk).zip(right[main.clone()].chunks(chunk));
					for ((left, right), fold) in chunks.zip(&mut folds) {
						accumulate!($main, left, right, group * FOLD_ROWS + row, half, acc);
						for (word, fold) in fold.chunks_exact_mut(WORDS).enumerate() {
							let mut x = _mm256_xor_si256(
								_mm256_xor_si256(acc[0][word], acc[1][word]),
								_mm256_xor_si256(acc[2][word], acc[3][word]),
							);
							if half == 1 {
								const LEFT: i32 = FOLD_HALF_ROTATION as i32;
								let high = _mm256_slli_epi32::<LEFT>(x);
								x = _mm256_or_si256(high, _mm256_srli_epi32::<{ 32 - LEFT }>(x));
							}
							// SAFETY: `fold` is 8 u32.
							let before = unsafe { _mm256_loadu_si256(fold.as_ptr().cast()) };
							// SAFETY: as above.
							unsafe { _mm256_storeu_si256(fold.as_mut_ptr().cast(), _mm256_xor_si256(before, x)) };
						}
					}
					accumulate!($wide, left[wide.clone()], right[wide.clone()], group * FOLD_ROWS + row, half, acc);
					for (acc, out) in acc.iter().zip(rows[row * BLOCK..].chunks_exact_mut(BLOCK)) {
						for word in 0..2 {
							let at = half * FOLD_LANES + word * WORDS;
							let sums = &right[layout.sums()].0[at..at + WORDS];
							// SAFETY: `sums` is 8 u32.
							let sums = unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) };
							let out = &mut out[at..at + WORDS];
							// SAFETY: `out` is 8 i32.
							unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_sub_epi32(acc[word], sums)) };
						}
					}
				}
				if layout.fold > 0 {
					$crate::kernel::mix(lanes, &folds[..count]);
				}
			}
		}
	};
}

/// Adds the products of some steps to a part of a tile.
macro_rules! accumulate {
	($dot:ident, $left:expr, $right:expr, $row:expr, $half:expr, $acc:ident) => {
		let mut sum = $acc;
		for (left, right) in $left.iter().zip($right.iter()) {
			let right = &right.0[$half * 16..$half * 16 + 16];
			// SAFETY: `right` is 16 u32.
			let b0 = unsafe { _mm256_loadu_si256(right.as_ptr().cast()) };
			// SAFETY: as above.
			let b1 = unsafe { _mm256_loadu_si256(right.as_ptr().add(8).cast()) };
			let left = &left.0[$row..$row + 4];
			for (sum, a) in sum.iter_mut().zip(left) {
				let a = _mm256_set1_epi32(*a as i32);
				sum[0] = $dot(sum[0], a, b0);
				sum[1] = $dot(sum[1], a, b1);
			}
		}
		$acc = sum;
	};
}
