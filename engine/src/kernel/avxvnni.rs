//! The kernel for AVX2 with VNNI in 256 bits (client CPUs without AVX-512).

use core::arch::x86_64::*;
use labora_pouw::ticket::FoldState;
use labora_tensor::{I32Block, BLOCK};

use super::{
	elementwise::{self, Scaling, Update},
	shuffle::Shuffle,
};
use crate::pack::{pack_strip, PackJob, Step, StripLayout};

pub fn supported() -> bool {
	super::avx2::supported() && is_x86_feature_detected!("avxvnni")
}

#[target_feature(enable = "avx2,avxvnni")]
pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	pack_strip::<Shuffle<4>>(job, layout, strip);
}

super::plain_for!("avx2,avxvnni");

/// Adds the products of four bytes.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn bytes(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
	_mm256_dpbusd_avx_epi32(sum, a, b)
}

/// Adds the products of two 16-bit integers.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn words(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
	_mm256_dpwssd_avx_epi32(sum, a, b)
}

tile_in_256_bits!("avx2,avxvnni", bytes, words);
