//! The kernel for AVX2: 16-bit pairs, as the byte product of AVX2 saturates on these operands.

use core::arch::x86_64::*;
use labora_pouw::ticket::FoldState;
use labora_tensor::{I32Block, BLOCK};

use super::{
	elementwise::{self, Scaling, Update},
	shuffle::Shuffle,
};
use crate::pack::{pack_strip, PackJob, Step, StripLayout};

pub fn supported() -> bool {
	is_x86_feature_detected!("avx2")
}

#[target_feature(enable = "avx2")]
pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	pack_strip::<Shuffle<2>>(job, layout, strip);
}

super::plain_for!("avx2");

/// Adds the products of two 16-bit integers.
#[inline]
#[target_feature(enable = "avx2")]
fn words(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
	_mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
}

tile_in_256_bits!("avx2", words, words);
