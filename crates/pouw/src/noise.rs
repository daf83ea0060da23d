//! The low-rank noise on the operands.
//!
//! `A' = A + EL * ER` and `B' = B + FL * FR`. `EL` (`m x r`) and `FR` (`r x n`) are dense with entries in `[-32, 31]`. Column
//! `l` of `ER` (row `l` of `FL`) holds one +1 and one -1. The pairs of each chunk of `r` inner indices are the edges
//! of a Hamiltonian cycle over the `r` rows: with `p` the chunk's permutation and `t = l mod r`, the +1 stands at
//! `p[t]` and the -1 at `p[(t + 1) mod r]`. So every chunk's noise product has rank `r - 1`, and every row is loaded exactly twice a
//! chunk (a last, shorter chunk uses the first edges).
//!
//! All of it comes from four BLAKE3 output streams keyed by the seed, with the contexts below. `EL` is read in rows of `r`
//! bytes, `FR` in columns of `r` bytes, each byte `x` giving `(x & 63) - 32`: one strip is one seek. The permutations of a
//! side follow one another in its cycle stream, each a Fisher-Yates shuffle of `0..r` from `r - 1` little-endian
//! `u32` words, highest index first: position `i` is swapped with `(word * (i + 1)) >> 32`.

use alloc::{vec, vec::Vec};
use labora_tensor::BLOCK;

use crate::{params::noise_rank, Seed};

/// One of the two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
	/// `A`, noised by `E`.
	Left,
	/// `B`, noised by `F`.
	Right,
}

impl Side {
	const fn dense_context(self) -> &'static [u8] {
		match self {
			Self::Left => b"labora/noise/EL/1",
			Self::Right => b"labora/noise/FR/1",
		}
	}

	const fn cycle_context(self) -> &'static [u8] {
		match self {
			Self::Left => b"labora/noise/ER/1",
			Self::Right => b"labora/noise/FL/1",
		}
	}
}

fn stream(seed: &Seed, context: &[u8]) -> blake3::OutputReader {
	blake3::Hasher::new_keyed(&seed.0).update(context).finalize_xof()
}

/// The dense factor of a side: lines `from..from + lines` of `r` entries each. A line is a row of `EL` or a column of `FR`.
pub fn dense(seed: &Seed, side: Side, rank: u32, from: u32, lines: u32) -> Vec<i8> {
	let mut bytes = vec![0u8; (rank as usize).saturating_mul(lines as usize)];
	let mut stream = stream(seed, side.dense_context());
	stream.set_position(u64::from(rank).saturating_mul(u64::from(from)));
	stream.fill(&mut bytes);
	bytes.into_iter().map(|byte| (byte & 63) as i8 - 32).collect()
}

/// The permutations of a side: `ceil(k / r)` of `r` entries each, one after the other.
pub fn cycles(seed: &Seed, side: Side, rank: u32, k: u32) -> Vec<u8> {
	let rank = rank as usize;
	let chunks = (k as usize).div_ceil(rank.max(1));
	let mut words = vec![0u8; chunks.saturating_mul(rank.saturating_sub(1)).saturating_mul(4)];
	stream(seed, side.cycle_context()).fill(&mut words);
	let mut words = words.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
	let mut permutations = Vec::with_capacity(chunks.saturating_mul(rank));
	for _ in 0..chunks {
		let start = permutations.len();
		permutations.extend((0..rank).map(|i| i as u8));
		for i in (1..rank).rev() {
			let word = u64::from(words.next().unwrap_or(0));
			let j = ((word * (i as u64 + 1)) >> 32) as usize;
			permutations.swap(start + i, start + j);
		}
	}
	permutations
}

/// The two rows of the sparse factor that inner index `l` loads: +1 and -1.
pub fn edge(permutations: &[u8], rank: u32, l: usize) -> (usize, usize) {
	let rank = rank as usize;
	let start = l - l % rank;
	let at = |t: usize| usize::from(permutations.get(start + t).copied().unwrap_or(0));
	(at(l % rank), at((l + 1) % rank))
}

/// Adds the noise to the strip of a tile: 32 rows of `k` (left, row-major) of block row `tile`, or `k` rows of 32 (right,
/// row-major) of block column `tile`. Operands in `[-63, 63]` stay in `i8`.
pub fn add(seed: &Seed, side: Side, tile: u32, strip: &mut [i8]) {
	let k = strip.len() / BLOCK;
	let rank = noise_rank(k as u32);
	let lines = dense(seed, side, rank, tile.saturating_mul(BLOCK as u32), BLOCK as u32);
	let permutations = cycles(seed, side, rank, k as u32);
	let edges: Vec<_> = (0..k).map(|l| edge(&permutations, rank, l)).collect();
	let rank = rank as usize;
	match side {
		Side::Left => {
			for (row, line) in strip.chunks_exact_mut(k.max(1)).zip(lines.chunks_exact(rank)) {
				for (x, (plus, minus)) in row.iter_mut().zip(&edges) {
					*x = x.wrapping_add(line[*plus] - line[*minus]);
				}
			}
		}
		Side::Right => {
			// A line is a column: turned, a row of the strip takes two rows of the factor.
			let turned: Vec<i8> = (0..rank * BLOCK).map(|at| lines[at % BLOCK * rank + at / BLOCK]).collect();
			for (row, (plus, minus)) in strip.chunks_exact_mut(BLOCK).zip(&edges) {
				let (plus, minus) = (&turned[plus * BLOCK..][..BLOCK], &turned[minus * BLOCK..][..BLOCK]);
				for ((x, plus), minus) in row.iter_mut().zip(plus).zip(minus) {
					*x = x.wrapping_add(plus - minus);
				}
			}
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use alloc::collections::BTreeSet;

	#[test]
	fn every_chunk_is_one_cycle_through_all_rows() {
		for k in [256, 784, 800, 2048, 16384] {
			let rank = noise_rank(k);
			let permutations = cycles(&Seed([7; 32]), Side::Left, rank, k);
			for chunk in permutations.chunks_exact(rank as usize) {
				let rows: BTreeSet<_> = chunk.iter().collect();
				assert_eq!(rows.len(), rank as usize);
			}
			for l in 0..k as usize {
				let (plus, minus) = edge(&permutations, rank, l);
				assert_ne!(plus, minus);
			}
		}
	}

	#[test]
	fn a_strip_of_the_dense_factor_is_the_strip_of_the_whole() {
		let whole = dense(&Seed([1; 32]), Side::Right, 32, 0, 256);
		assert_eq!(dense(&Seed([1; 32]), Side::Right, 32, 96, 32), whole[96 * 32..128 * 32]);
		assert!(whole.iter().all(|x| (-32..=31).contains(x)));
	}

	#[test]
	fn noise_keeps_operands_in_range() {
		for (side, value) in [(Side::Left, 63i8), (Side::Left, -63), (Side::Right, 63), (Side::Right, -63)] {
			let mut strip = vec![value; 32 * 512];
			add(&Seed([3; 32]), side, 5, &mut strip);
			assert!(strip.iter().all(|x| (i16::from(*x) - i16::from(value)).abs() <= 63));
			assert!(strip.iter().any(|x| *x != value));
		}
	}
}
