//! Packing with the shuffles of AVX2, for all x86-64 kernels.

use core::arch::x86_64::*;
use labora_tensor::{BLOCK, OPERAND_MAX};

use super::Bytes;
use crate::pack::{Packer, Paths, Step, Work};

/// Packs `PER` inner indices into a step. Used by kernels that have AVX2 only.
pub(crate) struct Shuffle<const PER: usize>;

impl<const PER: usize> Packer for Shuffle<PER> {
	#[inline(always)]
	fn turn(bytes: &Bytes, out: &mut Bytes) {
		// SAFETY: this type is named by the packers of kernels that have AVX2, and by nothing else.
		unsafe { turn(bytes, out) }
	}

	#[inline(always)]
	fn block<const R: usize, const LEFT: bool>(
		rows: &Bytes,
		work: &mut Work<R>,
		paths: Option<Paths<'_, R>>,
		out: &mut [Step],
	) {
		// SAFETY: as above.
		unsafe { block::<PER, R, LEFT>(rows, work, paths, out) }
	}

	#[inline(always)]
	fn pairs(even: &[i16; BLOCK], odd: &[i16; BLOCK], out: &mut Step) {
		// SAFETY: as above.
		unsafe { interleave_words(load_words(even), load_words(odd), out) }
	}
}

/// 32 lines of 16-bit integers.
type Words = [__m256i; 2];

#[inline]
#[target_feature(enable = "avx2")]
fn load_words(row: &[i16; BLOCK]) -> Words {
	// SAFETY: a row is 64 bytes.
	unsafe { [_mm256_loadu_si256(row.as_ptr().cast()), _mm256_loadu_si256(row.as_ptr().add(16).cast())] }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_words(words: Words, row: &mut [i16; BLOCK]) {
	let out: *mut __m256i = row.as_mut_ptr().cast();
	// SAFETY: a row is 64 bytes.
	unsafe {
		_mm256_storeu_si256(out, words[0]);
		_mm256_storeu_si256(out.add(1), words[1]);
	}
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(row: &[i8; BLOCK]) -> __m256i {
	// SAFETY: a row is 32 bytes.
	unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen(bytes: __m256i) -> Words {
	[_mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)), _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(bytes))]
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: Words, b: Words) -> Words {
	[_mm256_add_epi16(a[0], b[0]), _mm256_add_epi16(a[1], b[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn subtract(a: Words, b: Words) -> Words {
	[_mm256_sub_epi16(a[0], b[0]), _mm256_sub_epi16(a[1], b[1])]
}

/// A step of registers in the order of the lines.
#[inline]
#[target_feature(enable = "avx2")]
fn store_step(registers: [__m256i; 4], out: &mut Step) {
	let out: *mut __m256i = out.0.as_mut_ptr().cast();
	for (i, register) in registers.into_iter().enumerate() {
		// SAFETY: a step is 128 bytes.
		unsafe { _mm256_storeu_si256(out.add(i), register) };
	}
}

/// A step of two rows of 16-bit integers.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave_words(even: Words, odd: Words, out: &mut Step) {
	let low = |h: usize| _mm256_unpacklo_epi16(even[h], odd[h]);
	let high = |h: usize| _mm256_unpackhi_epi16(even[h], odd[h]);
	// The halves of a register hold lines 8 apart.
	let registers = [
		_mm256_permute2x128_si256::<0x20>(low(0), high(0)),
		_mm256_permute2x128_si256::<0x31>(low(0), high(0)),
		_mm256_permute2x128_si256::<0x20>(low(1), high(1)),
		_mm256_permute2x128_si256::<0x31>(low(1), high(1)),
	];
	store_step(registers, out);
}

/// A step of four rows of bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave_bytes(rows: [__m256i; 4], out: &mut Step) {
	let [a, b, c, d] = rows;
	let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
	let (first, second) = (_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd));
	let (ab, cd) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
	let (third, fourth) = (_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd));
	// The halves of a register hold lines 16 apart.
	let registers = [
		_mm256_permute2x128_si256::<0x20>(first, second),
		_mm256_permute2x128_si256::<0x20>(third, fourth),
		_mm256_permute2x128_si256::<0x31>(first, second),
		_mm256_permute2x128_si256::<0x31>(third, fourth),
	];
	store_step(registers, out);
}

/// Packs 32 inner indices: each row passes through registers once.
#[inline]
#[target_feature(enable = "avx2")]
fn block<const PER: usize, const R: usize, const LEFT: bool>(
	rows: &Bytes,
	work: &mut Work<R>,
	paths: Option<Paths<'_, R>>,
	out: &mut [Step],
) {
	let (low, high) = (_mm256_set1_epi8(-OPERAND_MAX), _mm256_set1_epi8(OPERAND_MAX));
	let zeros = [_mm256_setzero_si256(); 2];
	let (mut previous, mut sums) = (zeros, zeros);
	let mut plus = zeros[0];
	if let Some(Paths { own, .. }) = paths {
		plus = load_bytes(&work.dense[own.row(0)]);
	}
	for (group, (step, rows)) in out.iter_mut().zip(rows.chunks_exact(BLOCK * PER)).enumerate() {
		let mut packed = [zeros[0]; PER];
		for (i, (packed, row)) in packed.iter_mut().zip(rows.chunks_exact(BLOCK)).enumerate() {
			let t = group * PER + i;
			// SAFETY: a row is 32 bytes.
			let x = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
			let x = _mm256_min_epi8(_mm256_max_epi8(x, low), high);
			*packed = x;
			if let Some(Paths { own, .. }) = paths {
				let minus = load_bytes(&work.dense[own.row(t + 1)]);
				*packed = _mm256_add_epi8(x, _mm256_sub_epi8(plus, minus));
				plus = minus;
			}
			if !LEFT {
				// 32 operands: far inside 16 bits.
				sums = add(sums, widen(x));
			}
			if let Some(Paths { other, .. }) = paths {
				let wide = widen(if LEFT { *packed } else { x });
				let gathered = &mut work.gathered[other.row(t)];
				store_words(add(load_words(gathered), subtract(wide, previous)), gathered);
				previous = wide;
			}
		}
		if PER == 4 {
			let bias = _mm256_set1_epi8(if LEFT { i8::MIN } else { 0 });
			let row = |i: usize| _mm256_xor_si256(packed[i % PER], bias);
			interleave_bytes([row(0), row(1), row(2), row(3)], step);
		} else {
			let bias = [_mm256_set1_epi16(if LEFT { 128 } else { 0 }); 2];
			interleave_words(add(widen(packed[0]), bias), add(widen(packed[1 % PER]), bias), step);
		}
	}
	if let Some(Paths { other, .. }) = paths {
		let gathered = &mut work.gathered[other.row(BLOCK)];
		store_words(subtract(load_words(gathered), previous), gathered);
	}
	if !LEFT {
		let mut line_sums = [0i16; BLOCK];
		store_words(sums, &mut line_sums);
		for (sum, x) in work.sums.iter_mut().zip(line_sums) {
			*sum += i32::from(x);
		}
	}
}

/// Turns a block: half of the columns at a time, rows `i` and `i + 16` in one register. Four rounds of interleaving register
/// `i` with register `i + 8` move the four bits of the row number into the lane and those of the column out of it.
#[inline]
#[target_feature(enable = "avx2")]
fn turn(bytes: &Bytes, out: &mut Bytes) {
	const HALF: usize = BLOCK / 2;
	for (half, out) in out.chunks_exact_mut(HALF * BLOCK).enumerate() {
		let row = |i: usize| {
			let bytes = &bytes[i * BLOCK + half * HALF..][..HALF];
			// SAFETY: `bytes` is 16 bytes.
			unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
		};
		let mut x = [_mm256_setzero_si256(); HALF];
		for (i, x) in x.iter_mut().enumerate() {
			*x = _mm256_set_m128i(row(i + HALF), row(i));
		}
		for _ in 0..4 {
			let y = x;
			for i in 0..HALF / 2 {
				x[2 * i] = _mm256_unpacklo_epi8(y[i], y[i + HALF / 2]);
				x[2 * i + 1] = _mm256_unpackhi_epi8(y[i], y[i + HALF / 2]);
			}
		}
		for (x, out) in x.iter().zip(out.chunks_exact_mut(BLOCK)) {
			// SAFETY: `out` is 32 bytes.
			unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), *x) };
		}
	}
}
