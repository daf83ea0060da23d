//! The kernel for AVX-512 with VNNI: 8 rows by 32 columns of a tile in 16 registers over the whole inner dimension, which is
//! one group of the fold.

use core::arch::x86_64::*;
use labora_pouw::{
	params::{FOLD_GROUPS, FOLD_HALF_ROTATION, FOLD_MULTIPLIER, FOLD_ROWS, FOLD_STATE_ROTATION},
	ticket::FoldState,
};
use labora_tensor::{I32Block, BLOCK};

use super::{
	elementwise::{self, Scaling, Update},
	shuffle::Shuffle,
};
use crate::pack::{pack_strip, PackJob, Step, StripLayout};

pub fn supported() -> bool {
	super::avx2::supported()
		&& is_x86_feature_detected!("avx512f")
		&& is_x86_feature_detected!("avx512bw")
		&& is_x86_feature_detected!("avx512vl")
		&& is_x86_feature_detected!("avx512dq")
		&& is_x86_feature_detected!("avx512vnni")
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	pack_strip::<Shuffle<4>>(job, layout, strip);
}

super::elementwise_for!("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni");

/// Adds the products of some steps to the accumulators of a group: 16 products for two loads and eight broadcasts.
macro_rules! accumulate {
	($dot:ident, $left:expr, $right:expr, $group:expr, $acc:expr) => {
		// 32 inner indices at a time: a chunk of the lowest rank is one piece of straight code.
		for (left, right) in $left.chunks_exact(UNROLLED).zip($right.chunks_exact(UNROLLED)) {
			for i in 0..UNROLLED {
				let b = [load(&right[i], 0), load(&right[i], 1)];
				for row in 0..FOLD_ROWS {
					let a = _mm512_set1_epi32(left[i].0[$group * FOLD_ROWS + row] as i32);
					$acc[row][0] = $dot($acc[row][0], a, b[0]);
					$acc[row][1] = $dot($acc[row][1], a, b[1]);
				}
			}
		}
	};
}

/// Steps of 32 inner indices; chunks and strips are multiples of it.
const UNROLLED: usize = BLOCK / 4;

/// The accumulators of a group: two registers a row.
type Accumulators = [[__m512i; 2]; FOLD_ROWS];

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub fn tile(layout: StripLayout, left: &[Step], right: &[Step], state: &mut FoldState, tile: &mut I32Block) {
	assert!(left.len() >= layout.steps() && right.len() >= layout.steps());
	let sums = [load(&right[layout.sums()], 0), load(&right[layout.sums()], 1)];
	let groups = state.0.iter_mut().zip(tile.chunks_exact_mut(FOLD_ROWS * BLOCK));
	for (group, (lanes, rows)) in groups.enumerate() {
		debug_assert!(group < FOLD_GROUPS);
		let mut acc: Accumulators = [[_mm512_setzero_si512(); 2]; FOLD_ROWS];
		if layout.fold == 0 {
			accumulate!(_mm512_dpbusd_epi32, left[..layout.main], right[..layout.main], group, acc);
		} else {
			// SAFETY: `lanes` is 16 u32.
			let mut mixed = unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) };
			let chunks = left[..layout.main].chunks(layout.fold).zip(right[..layout.main].chunks(layout.fold));
			for (left, right) in chunks {
				accumulate!(_mm512_dpbusd_epi32, left, right, group, acc);
				mixed = fold(mixed, &acc);
			}
			// SAFETY: `lanes` is 16 u32.
			unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), mixed) };
			let wide = layout.main..layout.sums();
			accumulate!(_mm512_dpwssd_epi32, left[wide.clone()], right[wide.clone()], group, acc);
		}
		for (acc, row) in acc.iter().zip(rows.chunks_exact_mut(BLOCK)) {
			for (half, out) in row.chunks_exact_mut(BLOCK / 2).enumerate() {
				let sum = _mm512_sub_epi32(acc[half], sums[half]);
				// SAFETY: `out` is 16 i32.
				unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
			}
		}
	}
}

/// 16 words of a step.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(step: &Step, half: usize) -> __m512i {
	assert!(half < 2);
	// SAFETY: a step is 128 bytes and aligned to 64.
	unsafe { _mm512_load_si512(step.0.as_ptr().add(half * 16).cast()) }
}

/// One fold: as `FoldState::fold`, for one group.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(lanes: __m512i, acc: &Accumulators) -> __m512i {
	/// The truth table of a XOR of three.
	const XOR3: i32 = 0x96;
	const HALF: i32 = FOLD_HALF_ROTATION as i32;
	const STATE: i32 = FOLD_STATE_ROTATION as i32;
	let half = |h: usize| {
		let x = _mm512_ternarylogic_epi32::<XOR3>(acc[0][h], acc[1][h], acc[2][h]);
		let y = _mm512_ternarylogic_epi32::<XOR3>(acc[3][h], acc[4][h], acc[5][h]);
		let z = _mm512_xor_si512(acc[6][h], acc[7][h]);
		_mm512_ternarylogic_epi32::<XOR3>(x, y, z)
	};
	let mixed =
		_mm512_ternarylogic_epi32::<XOR3>(_mm512_rol_epi32::<STATE>(lanes), half(0), _mm512_rol_epi32::<HALF>(half(1)));
	_mm512_mullo_epi32(mixed, _mm512_set1_epi32(FOLD_MULTIPLIER as i32))
}
