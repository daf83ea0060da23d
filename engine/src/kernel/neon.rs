//! The kernel for NEON on every 64-bit Arm CPU: 16-bit pairs.

use core::arch::aarch64::*;
use labora_pouw::ticket::FoldState;
use labora_tensor::{I32Block, BLOCK};

use super::{
	elementwise::{self, Scaling, Update},
	zip::Zip,
};
use crate::pack::{pack_strip, PackJob, Step, StripLayout};

pub fn supported() -> bool {
	std::arch::is_aarch64_feature_detected!("neon")
}

#[target_feature(enable = "neon")]
pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	pack_strip::<Zip<2>>(job, layout, strip);
}

super::plain_for!("neon");

tile_in_128_bits!("neon", add_words);
