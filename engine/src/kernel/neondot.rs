//! The kernel for NEON with `sdot` (Armv8.2 with the dot product): signed bytes, and the bias put back at every fold.

use core::arch::{aarch64::*, asm};
use labora_pouw::ticket::FoldState;
use labora_tensor::{I32Block, BLOCK};

use super::{
	elementwise::{self, Scaling, Update},
	tile128::{load_bytes, Accumulators, Part},
	zip::Zip,
};
use crate::pack::{pack_strip, PackJob, Step, StripLayout};

pub fn supported() -> bool {
	super::neon::supported() && std::arch::is_aarch64_feature_detected!("dotprod")
}

#[target_feature(enable = "neon,dotprod")]
pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	pack_strip::<Zip<4>>(job, layout, strip);
}

super::plain_for!("neon,dotprod");

dot_of_bytes!("neon,dotprod", "sdot");

/// Adds the products of a chunk: `U * B' = A' * B' + 128 * colsum(B')`, the sums being those of one more row, of ones.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_bytes(left: &[Step], right: &[Step], part: Part, mut acc: Accumulators) -> Accumulators {
	let (bias, ones) = (vdupq_n_s8(i8::MIN), vdupq_n_s8(1));
	let mut sums = [vdupq_n_s32(0); 2];
	for (left, right) in left.iter().zip(right) {
		let a = load_bytes(part.left(left)).map(|a| veorq_s8(a, bias));
		let b = load_bytes(part.right(right));
		add_rows!(dot, acc, a, b);
		sums = dot::<0>(sums, ones, b);
	}
	acc.map(|row| [0, 1].map(|half| vaddq_s32(row[half], vshlq_n_s32::<7>(sums[half]))))
}

tile_in_128_bits!("neon,dotprod", add_bytes);
