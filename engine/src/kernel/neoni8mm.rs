//! The kernel for NEON with `sudot` (Armv8.6 with the matrix extensions for bytes): unsigned by signed bytes.

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
	super::neon::supported() && std::arch::is_aarch64_feature_detected!("i8mm")
}

#[target_feature(enable = "neon,i8mm")]
pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	pack_strip::<Zip<4>>(job, layout, strip);
}

super::plain_for!("neon,i8mm");

// The columns' bytes are signed, the row's are not.
dot_of_bytes!("neon,i8mm", "sudot");

/// Adds the products of bytes.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn add_bytes(left: &[Step], right: &[Step], part: Part, mut acc: Accumulators) -> Accumulators {
	for (left, right) in left.iter().zip(right) {
		let (a, b) = (load_bytes(part.left(left)), load_bytes(part.right(right)));
		add_rows!(dot, acc, a, b);
	}
	acc
}

tile_in_128_bits!("neon,i8mm", add_bytes);
