//! The kernel for AVX-512 with VNNI: 8 rows by 32 columns of a tile in 16 registers over the whole inner dimension, which is
//! one group of the fold.

use core::arch::{asm, x86_64::*};
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

super::plain_for!("avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni");

/// Steps of 32 inner indices: chunks and strips are multiples of it, and one round of the loops below.
const ROUND: usize = BLOCK / 4;

/// Bytes that a group fetches ahead in a round: its share of them.
const FETCHED: usize = ROUND * core::mem::size_of::<Step>() / FOLD_GROUPS;

/// The accumulators of a group: two registers a row.
pub(super) type Accumulators = [[__m512i; 2]; FOLD_ROWS];

/// One row of a step: `$at` is the byte of the round where the step begins.
macro_rules! row {
	($dot:literal, $at:literal, $row:literal, $low:literal, $high:literal) => {
		concat!(
			"vpbroadcastd zmm18, dword ptr [{left} + ",
			$at,
			" + 4 * ",
			$row,
			"]\n",
			$dot,
			" zmm",
			$low,
			", zmm18, zmm16\n",
			$dot,
			" zmm",
			$high,
			", zmm18, zmm17\n",
		)
	};
}

/// One step: 16 products for two loads and eight broadcasts.
macro_rules! step {
	($dot:literal, $at:literal) => {
		concat!(
			"vmovdqa64 zmm16, zmmword ptr [{right} + ",
			$at,
			"]\n",
			"vmovdqa64 zmm17, zmmword ptr [{right} + ",
			$at,
			" + 64]\n",
			row!($dot, $at, 0, 0, 1),
			row!($dot, $at, 1, 2, 3),
			row!($dot, $at, 2, 4, 5),
			row!($dot, $at, 3, 6, 7),
			row!($dot, $at, 4, 8, 9),
			row!($dot, $at, 5, 10, 11),
			row!($dot, $at, 6, 12, 13),
			row!($dot, $at, 7, 14, 15),
		)
	};
}

/// A loop over `{rounds}` rounds of steps, which fetches `FETCHED` bytes `{ahead}` of what it reads in each.
macro_rules! rounds {
	($dot:literal) => {
		concat!(
			"2:\n",
			step!($dot, 0),
			"prefetcht1 byte ptr [{right} + {ahead}]\n",
			step!($dot, 128),
			step!($dot, 256),
			"prefetcht1 byte ptr [{right} + {ahead} + 64]\n",
			step!($dot, 384),
			step!($dot, 512),
			"prefetcht1 byte ptr [{right} + {ahead} + 128]\n",
			step!($dot, 640),
			step!($dot, 768),
			"prefetcht1 byte ptr [{right} + {ahead} + 192]\n",
			step!($dot, 896),
			"add {left}, 1024\n",
			"add {right}, 1024\n",
			"dec {rounds}\n",
			"jnz 2b\n",
		)
	};
}

/// `asm!` with the accumulators in registers 0 to 15.
macro_rules! with_accumulators {
	($acc:ident, $($rest:tt)*) => {
		asm!(
			$($rest)*
			inout("zmm0") $acc[0][0], inout("zmm1") $acc[0][1], inout("zmm2") $acc[1][0], inout("zmm3") $acc[1][1],
			inout("zmm4") $acc[2][0], inout("zmm5") $acc[2][1], inout("zmm6") $acc[3][0], inout("zmm7") $acc[3][1],
			inout("zmm8") $acc[4][0], inout("zmm9") $acc[4][1], inout("zmm10") $acc[5][0], inout("zmm11") $acc[5][1],
			inout("zmm12") $acc[6][0], inout("zmm13") $acc[6][1], inout("zmm14") $acc[7][0], inout("zmm15") $acc[7][1],
			out("zmm16") _, out("zmm17") _, out("zmm18") _,
			options(nostack, readonly),
		)
	};
}

/// Adds the products of some steps to the accumulators of a group. The right steps so many bytes `ahead` are fetched into the
/// second-level cache by the groups together (0: nothing new). `asm!`, as the compiler splits `vpdpwssd` in two, and moves
/// the accumulators of the folded loop through memory.
macro_rules! accumulator {
	($(#[$doc:meta])* $name:ident, $dot:literal) => {
		$(#[$doc])*
		#[inline]
		#[target_feature(enable = "avx512f,avx512vnni")]
		pub(super) fn $name(left: &[Step], right: &[Step], group: usize, ahead: usize, acc: &mut Accumulators) {
			let rounds = left.len().min(right.len()) / ROUND;
			assert!(group < FOLD_GROUPS);
			if rounds == 0 {
				return;
			}
			// SAFETY: reads as many rounds of whole steps as both slices have; the groups of a left step lie behind one another.
			unsafe {
				with_accumulators!(acc,
					rounds!($dot),
					left = inout(reg) left.as_ptr().cast::<u32>().add(group * FOLD_ROWS) => _,
					right = inout(reg) right.as_ptr() => _,
					rounds = inout(reg) rounds => _,
					ahead = in(reg) ahead + group * FETCHED,
				);
			}
		}
	};
}

accumulator!(
	/// Products of bytes.
	add_bytes, "vpdpbusd"
);
accumulator!(
	/// Products of 16-bit integers.
	add_words, "vpdpwssd"
);

/// As [`add_bytes`], with a fold (as `FoldState::fold`, for one group) after every `chunk` steps.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_folded(
	left: &[Step],
	right: &[Step],
	group: usize,
	ahead: usize,
	chunk: usize,
	lanes: &mut __m512i,
	acc: &mut Accumulators,
) {
	let per_chunk = chunk / ROUND;
	let chunks = (left.len().min(right.len()) / ROUND).checked_div(per_chunk).unwrap_or(0);
	assert!(group < FOLD_GROUPS);
	if chunks == 0 {
		return;
	}
	// SAFETY: reads as many chunks of whole steps as both slices have; the groups of a left step lie behind one another.
	unsafe {
		with_accumulators!(acc,
			"3:",
			"mov {rounds}, {per_chunk}",
			rounds!("vpdpbusd"),
			"vmovdqa64 zmm19, zmm0",
			"vmovdqa64 zmm20, zmm1",
			"vpternlogd zmm19, zmm2, zmm4, {xor3}",
			"vpternlogd zmm20, zmm3, zmm5, {xor3}",
			"vpternlogd zmm19, zmm6, zmm8, {xor3}",
			"vpternlogd zmm20, zmm7, zmm9, {xor3}",
			"vpternlogd zmm19, zmm10, zmm12, {xor3}",
			"vpternlogd zmm20, zmm11, zmm13, {xor3}",
			"vpxord zmm19, zmm19, zmm14",
			"vpxord zmm20, zmm20, zmm15",
			"vprold zmm20, zmm20, {half}",
			"vprold zmm21, zmm21, {state}",
			"vpternlogd zmm21, zmm19, zmm20, {xor3}",
			"vpmulld zmm21, zmm21, zmm22",
			"dec {chunks}",
			"jnz 3b",
			left = inout(reg) left.as_ptr().cast::<u32>().add(group * FOLD_ROWS) => _,
			right = inout(reg) right.as_ptr() => _,
			rounds = out(reg) _,
			ahead = in(reg) ahead + group * FETCHED,
			per_chunk = in(reg) per_chunk,
			chunks = inout(reg) chunks => _,
			// The truth table of a XOR of three.
			xor3 = const 0x96,
			half = const FOLD_HALF_ROTATION,
			state = const FOLD_STATE_ROTATION,
			out("zmm19") _, out("zmm20") _, inout("zmm21") *lanes,
			in("zmm22") _mm512_set1_epi32(FOLD_MULTIPLIER as i32),
		);
	}
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub fn tile(layout: StripLayout, left: &[Step], right: &[Step], state: &mut FoldState, tile: &mut I32Block) {
	assert!(left.len() >= layout.steps() && right.len() >= layout.steps());
	let sums = [load(&right[layout.sums()], 0), load(&right[layout.sums()], 1)];
	let (main_left, main_right) = (&left[..layout.main], &right[..layout.main]);
	let wide = layout.main..layout.sums();
	// Packed right strips lie one behind another, and the next is needed after the panel's last row. Fetching reads nothing, so that
	// there may be none.
	let ahead = layout.steps() * core::mem::size_of::<Step>();
	let groups = state.0.iter_mut().zip(tile.chunks_exact_mut(FOLD_ROWS * BLOCK));
	for (group, (lanes, rows)) in groups.enumerate() {
		let mut acc: Accumulators = [[_mm512_setzero_si512(); 2]; FOLD_ROWS];
		if layout.fold == 0 {
			add_bytes(main_left, main_right, group, ahead, &mut acc);
		} else {
			// A new state is zeros. To load it would wait for its parts to be written.
			let mut mixed = _mm512_setzero_si512();
			let whole = layout.main - layout.main % layout.fold;
			add_folded(&main_left[..whole], &main_right[..whole], group, ahead, layout.fold, &mut mixed, &mut acc);
			// The last chunk may be shorter.
			let last = layout.main - whole;
			add_folded(&main_left[whole..], &main_right[whole..], group, ahead, last, &mut mixed, &mut acc);
			// SAFETY: `lanes` is 16 u32.
			unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), mixed) };
			add_words(&left[wide.clone()], &right[wide.clone()], group, ahead, &mut acc);
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
pub(super) fn load(step: &Step, half: usize) -> __m512i {
	assert!(half < 2);
	// SAFETY: a step is 128 bytes and aligned to 64.
	unsafe { _mm512_load_si512(step.0.as_ptr().add(half * 16).cast()) }
}
