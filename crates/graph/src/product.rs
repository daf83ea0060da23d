//! Sums of products of two strips, which is most of what it takes to verify a proof or an answer.

use alloc::vec::Vec;
use core::{array, ops::Range};
use labora_tensor::{I32Block, BLOCK};

/// Words of a row of the right strip: columns `j` and `j + 16` share one.
const WORDS: usize = BLOCK / 2;
/// Words that are summed at a time, in registers.
const GROUP: usize = 4;
/// Inner indices that are summed at a time: so few leave either half of a word room for its sum.
const STEPS: usize = 128;

/// Adds products of two strips to a 32x32 tile, wrapping: `(left[i][l] + offset) * right[l][j]` to element `(i, j)`, for every `l` of
/// `inner`. `left` holds 32 rows of `k`, `right` `k` rows of 32; beyond `k` there is nothing to add.
#[inline(always)]
pub fn add_products(tile: &mut I32Block, left: &[i8], right: &[i8], inner: Range<usize>, offset: u8) {
	// Both give the same. The runtime's Wasm has no vectors; elsewhere the compiler makes some of the plain loop.
	if cfg!(target_family = "wasm") {
		two_at_a_time(tile, left, right, inner, offset);
	} else {
		one_by_one(tile, left, right, inner, offset);
	}
}

/// A multiplication for each product.
#[inline(always)]
fn one_by_one(tile: &mut I32Block, left: &[i8], right: &[i8], inner: Range<usize>, offset: u8) {
	let k = left.len() / BLOCK;
	for (left, out) in left.chunks_exact(k.max(1)).zip(tile.chunks_exact_mut(BLOCK)) {
		let left = left.get(inner.start..inner.end.min(k)).unwrap_or_default();
		for (a, row) in left.iter().zip(right.chunks_exact(BLOCK).skip(inner.start)) {
			let a = i32::from(*a) + i32::from(offset);
			for (out, b) in out.iter_mut().zip(row) {
				*out = out.wrapping_add(a * i32::from(*b));
			}
		}
	}
}

/// A multiplication for two products, of columns that share a word.
fn two_at_a_time(tile: &mut I32Block, left: &[i8], right: &[i8], inner: Range<usize>, offset: u8) {
	let k = left.len() / BLOCK;
	let mut rows: Vec<[i64; WORDS]> = Vec::with_capacity(inner.len().min(STEPS));
	for from in inner.clone().step_by(STEPS) {
		let steps = inner.end.saturating_sub(from).min(STEPS);
		rows.clear();
		rows.extend(right.chunks_exact(BLOCK).skip(from).take(steps).map(words));
		for (left, out) in left.chunks_exact(k.max(1)).zip(tile.chunks_exact_mut(BLOCK)) {
			let left = left.get(from..).unwrap_or_default();
			for first in (0..WORDS).step_by(GROUP) {
				let mut sums = [0i64; GROUP];
				for (a, row) in left.iter().zip(&rows) {
					let a = i64::from(*a) + i64::from(offset);
					for (at, sum) in sums.iter_mut().enumerate() {
						*sum += a * row[first + at];
					}
				}
				for (at, sum) in sums.into_iter().enumerate() {
					let (low, high) = halves(sum);
					out[first + at] = out[first + at].wrapping_add(low);
					out[first + at + WORDS] = out[first + at + WORDS].wrapping_add(high);
				}
			}
		}
	}
}

/// The words of a row: `right[j] + right[j + 16] * 2^32`.
fn words(row: &[i8]) -> [i64; WORDS] {
	array::from_fn(|j| i64::from(row[j]) + (i64::from(row[j + WORDS]) << 32))
}

/// The two sums in a word. A negative low one has borrowed from the high one.
const fn halves(word: i64) -> (i32, i32) {
	let low = word as i32;
	(low, ((word - low as i64) >> 32) as i32)
}

#[cfg(test)]
mod tests {
	use super::*;
	use alloc::{boxed::Box, vec};
	use labora_tensor::BLOCK_ELEMENTS;
	use proptest::prelude::*;

	/// What it means, product by product.
	fn defined(tile: &mut I32Block, left: &[i8], right: &[i8], inner: Range<usize>, offset: u8) {
		let k = left.len() / BLOCK;
		for (at, out) in tile.iter_mut().enumerate() {
			for l in inner.start..inner.end.min(k) {
				let a = i32::from(left[at / BLOCK * k + l]) + i32::from(offset);
				*out = out.wrapping_add(a * i32::from(right[l * BLOCK + at % BLOCK]));
			}
		}
	}

	fn check(left: &[i8], right: &[i8], inner: Range<usize>, offset: u8, start: i32) {
		let mut expected = Box::new([start; BLOCK_ELEMENTS]);
		defined(&mut expected, left, right, inner.clone(), offset);
		for path in [one_by_one, two_at_a_time] {
			let mut tile = Box::new([start; BLOCK_ELEMENTS]);
			path(&mut tile, left, right, inner.clone(), offset);
			assert!(tile == expected, "offset {offset}, start {start}");
		}
	}

	proptest! {
		#[test]
		fn sums_are_those_of_single_products(
			(k, from, to) in (1usize..300).prop_flat_map(|k| (Just(k), 0..=k, 0..=k + 40)),
			bytes in proptest::collection::vec(any::<i8>(), 1..999),
			offset: u8,
			start: i32,
		) {
			let left: Vec<i8> = bytes.iter().copied().cycle().take(k * BLOCK).collect();
			let right: Vec<i8> = bytes.iter().rev().copied().cycle().take(k * BLOCK).collect();
			check(&left, &right, from..to, offset, start);
		}
	}

	#[test]
	fn extreme_values_do_not_reach_the_other_half() {
		for k in [1, 127, 128, 129, 16_384] {
			for (a, b) in [(-128, -128), (-128, 127), (127, -128), (127, 127), (0, -1), (-1, 0)] {
				let (left, right) = (vec![a; k * BLOCK], vec![b; k * BLOCK]);
				// The columns of one half as large, those of the other as small as they can be.
				let mixed: Vec<i8> = (0..k * BLOCK).map(|at| if at % BLOCK < WORDS { b } else { !b }).collect();
				for offset in [0, 128, 255] {
					check(&left, &right, 0..k, offset, 0);
					check(&left, &mixed, 0..k, offset, i32::MAX);
				}
			}
		}
	}

	#[test]
	fn of_nothing_nothing_is_added() {
		check(&[], &[], 0..0, 128, 7);
		check(&[], &[], 0..64, 128, 7);
		check(&[1; 64], &[1; 64], 5..9, 128, 7);
	}
}
