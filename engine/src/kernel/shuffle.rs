//! Packing with the shuffles of AVX2, for all x86-64 kernels.

use core::arch::x86_64::*;
use labora_tensor::{BLOCK, OPERAND_MAX};

use super::Bytes;
use crate::pack::{Packer, Paths, Step, Work};

/// Packs `PER` inner indices into a step. Used by kernels that have AVX2 only.
pub(crate) struct Shuffle<const PER: usize>;

impl<const PER: usize> Packer for Shuffle<PER> {
	#[inline(always)]
	fn fetch(bytes: &Bytes) {
		for line in bytes.chunks_exact(64) {
			// SAFETY: as above.
			unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
		}
	}

	#[inline(always)]
	fn turn(bytes: &Bytes, out: &mut Bytes) {
		// SAFETY: this type is named by the packers of kernels that have AVX2, and by nothing else.
		unsafe { turn(bytes, out) }
	}

	#[inline(always)]
	fn lines<const LEFT: bool>(bytes: &Bytes, out: &mut [Step]) {
		// SAFETY: as above.
		unsafe { lines::<PER, LEFT>(bytes, out) }
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
	fn add_sums(steps: &[Step], sums: &mut [i32; BLOCK]) {
		// SAFETY: as above.
		unsafe { add_sums::<PER>(steps, sums) }
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

/// Bytes as operands.
#[inline]
#[target_feature(enable = "avx2")]
fn clamp(bytes: __m256i) -> __m256i {
	let (low, high) = (_mm256_set1_epi8(-OPERAND_MAX), _mm256_set1_epi8(OPERAND_MAX));
	_mm256_min_epi8(_mm256_max_epi8(bytes, low), high)
}

/// Biases bytes of the left side.
#[inline]
#[target_feature(enable = "avx2")]
fn bias_bytes<const LEFT: bool>(bytes: __m256i) -> __m256i {
	_mm256_xor_si256(bytes, _mm256_set1_epi8(if LEFT { i8::MIN } else { 0 }))
}

/// Biases 16-bit integers of the left side.
#[inline]
#[target_feature(enable = "avx2")]
fn bias_words<const LEFT: bool>(words: __m256i) -> __m256i {
	_mm256_add_epi16(words, _mm256_set1_epi16(if LEFT { 128 } else { 0 }))
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
	let zeros = [_mm256_setzero_si256(); 2];
	let mut previous = zeros;
	let mut plus = zeros[0];
	if let Some(Paths { own, .. }) = paths {
		plus = load_bytes(&work.dense[own.row(0)]);
	}
	for (group, (step, rows)) in out.iter_mut().zip(rows.chunks_exact(BLOCK * PER)).enumerate() {
		let mut packed = [zeros[0]; PER];
		for (i, (packed, row)) in packed.iter_mut().zip(rows.chunks_exact(BLOCK)).enumerate() {
			let t = group * PER + i;
			// SAFETY: a row is 32 bytes.
			let x = clamp(unsafe { _mm256_loadu_si256(row.as_ptr().cast()) });
			*packed = x;
			if let Some(Paths { own, .. }) = paths {
				let minus = load_bytes(&work.dense[own.row(t + 1)]);
				*packed = _mm256_add_epi8(x, _mm256_sub_epi8(plus, minus));
				plus = minus;
			}
			if let Some(Paths { other, .. }) = paths {
				let wide = widen(if LEFT { *packed } else { x });
				let gathered = &mut work.gathered[other.row(t)];
				store_words(add(load_words(gathered), subtract(wide, previous)), gathered);
				previous = wide;
			}
		}
		if PER == 4 {
			let row = |i: usize| bias_bytes::<LEFT>(packed[i % PER]);
			interleave_bytes([row(0), row(1), row(2), row(3)], step);
		} else {
			let row = |i: usize| widen(packed[i % PER]).map(|words| bias_words::<LEFT>(words));
			interleave_words(row(0), row(1), step);
		}
	}
	if let Some(Paths { other, .. }) = paths {
		let gathered = &mut work.gathered[other.row(BLOCK)];
		store_words(subtract(load_words(gathered), previous), gathered);
	}
}

/// Packs 32 inner indices of 32 lines, half of them at a time, and eight lines: line `i` and line `i + 4` in one register.
#[inline]
#[target_feature(enable = "avx2")]
fn lines<const PER: usize, const LEFT: bool>(bytes: &Bytes, out: &mut [Step]) {
	const HALF: usize = BLOCK / 2;
	const LINES: usize = 8;
	for (half, out) in out.chunks_exact_mut(HALF / PER).enumerate() {
		for (part, lines) in bytes.chunks_exact(LINES * BLOCK).enumerate() {
			let line = |i: usize| {
				let bytes = &lines[i * BLOCK + half * HALF..][..HALF];
				// SAFETY: `bytes` is 16 bytes.
				unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
			};
			let mut x = [_mm256_setzero_si256(); 4];
			for (i, x) in x.iter_mut().enumerate() {
				*x = clamp(_mm256_set_m128i(line(i + 4), line(i)));
			}
			for (words, out) in out.chunks_exact_mut(4).enumerate() {
				let mut x = x;
				for x in &mut x {
					let signs = _mm256_cmpgt_epi8(_mm256_setzero_si256(), *x);
					*x = match (PER, words) {
						(4, _) => bias_bytes::<LEFT>(*x),
						(_, 0) => bias_words::<LEFT>(_mm256_unpacklo_epi8(*x, signs)),
						_ => bias_words::<LEFT>(_mm256_unpackhi_epi8(*x, signs)),
					};
				}
				for (x, step) in turn_words(x).into_iter().zip(out) {
					let words = &mut step.0[part * LINES..][..LINES];
					// SAFETY: `words` is 32 bytes.
					unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), x) };
				}
			}
		}
	}
}

/// Turns four rows of four words in each half of the registers.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_words(mut x: [__m256i; 4]) -> [__m256i; 4] {
	for _ in 0..2 {
		let [a, b, c, d] = x;
		x = [
			_mm256_unpacklo_epi32(a, c),
			_mm256_unpackhi_epi32(a, c),
			_mm256_unpacklo_epi32(b, d),
			_mm256_unpackhi_epi32(b, d),
		];
	}
	x
}

/// Adds up the lines of main steps of 32 inner indices.
#[inline]
#[target_feature(enable = "avx2")]
fn add_sums<const PER: usize>(steps: &[Step], sums: &mut [i32; BLOCK]) {
	const LINES: usize = 8;
	for (part, sums) in sums.chunks_exact_mut(LINES).enumerate() {
		// 32 operands, noised: far inside 16 bits.
		let mut words = _mm256_setzero_si256();
		for step in steps {
			let step = &step.0[part * LINES..][..LINES];
			// SAFETY: `step` is 32 bytes.
			let x = unsafe { _mm256_loadu_si256(step.as_ptr().cast()) };
			let pairs = if PER == 4 { _mm256_maddubs_epi16(_mm256_set1_epi8(1), x) } else { x };
			words = _mm256_add_epi16(words, pairs);
		}
		let sums: *mut __m256i = sums.as_mut_ptr().cast();
		let sum = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
		// SAFETY: `sums` is 32 bytes.
		unsafe { _mm256_storeu_si256(sums, _mm256_add_epi32(_mm256_loadu_si256(sums), sum)) };
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
