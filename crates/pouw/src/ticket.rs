//! From a noised tile to a number.

use labora_graph::add_products;
use labora_tensor::{BLOCK, BLOCK_ELEMENTS};
use sha2::{Digest, Sha256};
use sp_core::U256;

use crate::{
	params::{
		noise_rank, FOLD_GROUPS, FOLD_HALF_ROTATION, FOLD_LANES, FOLD_MULTIPLIER, FOLD_ROWS, FOLD_STATE_ROTATION,
		IDLE_HANDICAP,
	},
	proof::TileIndex,
	Difficulty, Seed,
};

/// The state that a tile's accumulators are folded into, chunk by chunk: [`FOLD_GROUPS`] groups of [`FOLD_LANES`] lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FoldState(pub [[u32; FOLD_LANES]; FOLD_GROUPS]);

/// One step of the mix: rotate, XOR, multiply.
#[inline(always)]
const fn mix(state: u32, x: u32) -> u32 {
	(state.rotate_left(FOLD_STATE_ROTATION) ^ x).wrapping_mul(FOLD_MULTIPLIER)
}

impl FoldState {
	/// Mixes in the 1,024 accumulators as they stand after a chunk of `r` inner indices. Group `g` takes rows
	/// `8g..8g + 8`; lane `j` the XOR of column `j` and, rotated, the XOR of column `j + 16`.
	pub fn fold(&mut self, accumulators: &[i32; BLOCK_ELEMENTS]) {
		for (lanes, rows) in self.0.iter_mut().zip(accumulators.chunks_exact(FOLD_ROWS * BLOCK)) {
			for (j, lane) in lanes.iter_mut().enumerate() {
				let mut low = 0;
				let mut high = 0;
				for row in rows.chunks_exact(BLOCK) {
					low ^= row[j] as u32;
					high ^= row[j + FOLD_LANES] as u32;
				}
				*lane = mix(*lane, low ^ high.rotate_left(FOLD_HALF_ROTATION));
			}
		}
	}

	/// The state as 32 bytes: word `j` mixes lanes `j` and `j + 8` of every group in turn.
	pub fn finish(&self) -> [u8; 32] {
		let mut out = [0; 32];
		for (j, bytes) in out.chunks_exact_mut(4).enumerate() {
			let word = self.0.iter().fold(0, |word, lanes| mix(mix(word, lanes[j]), lanes[j + 8]));
			bytes.copy_from_slice(&word.to_le_bytes());
		}
		out
	}
}

/// The noised tile of two strips, folded after every chunk: `left` holds 32 rows of `k` values of `A'`, `right` holds `k` rows
/// of 32 values of `B'`. The accumulators are those of `U = A' + 128`.
pub fn fold_tile(left: &[i8], right: &[i8]) -> FoldState {
	let k = left.len() / BLOCK;
	let rank = noise_rank(k as u32) as usize;
	let mut accumulators = [0i32; BLOCK_ELEMENTS];
	let mut state = FoldState::default();
	for from in (0..k).step_by(rank) {
		add_products(&mut accumulators, left, right, from..k.min(from + rank), 128);
		state.fold(&accumulators);
	}
	state
}

/// Hashes tickets of one product. The seed fills a SHA-256 block of its own, so a ticket costs one compression.
#[derive(Clone)]
pub struct TicketHasher(Sha256);

impl TicketHasher {
	/// A hasher keyed by the seed.
	pub fn new(seed: &Seed) -> Self {
		let mut hasher = Sha256::new();
		hasher.update(seed.0);
		hasher.update([0; 32]);
		Self(hasher)
	}

	/// `SHA-256(seed | 0^32 | tile row | tile column | state)`, read as a big-endian number.
	pub fn ticket(&self, tile: TileIndex, state: &[u8; 32]) -> U256 {
		let mut hasher = self.0.clone();
		hasher.update(tile.row.to_le_bytes());
		hasher.update(tile.col.to_le_bytes());
		hasher.update(state);
		U256::from_big_endian(&hasher.finalize())
	}
}

/// The largest winning ticket of a tile with inner dimension `k`: `floor(MAX / difficulty) * 32 * 32 * k`, saturating. Difficulty
/// counts multiply-accumulates, so tickets of every shape are worth what they cost.
pub fn target(difficulty: Difficulty, k: u32) -> U256 {
	let macs = U256::from(BLOCK_ELEMENTS).saturating_mul(U256::from(k));
	let per_mac = U256::MAX.checked_div(U256::from(difficulty.0.max(1))).unwrap_or(U256::MAX);
	per_mac.saturating_mul(macs)
}

/// The largest winning ticket of an idle tile.
pub fn idle_target(difficulty: Difficulty, k: u32) -> U256 {
	target(Difficulty(difficulty.0.saturating_mul(u128::from(IDLE_HANDICAP))), k)
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn targets_saturate_and_scale() {
		assert_eq!(target(Difficulty(0), 256), U256::MAX);
		assert_eq!(target(Difficulty(1), 256), U256::MAX);
		let d = Difficulty(1 << 60);
		assert_eq!(target(d, 512), target(d, 256) * 2);
		assert_eq!(idle_target(d, 256), target(Difficulty(1 << 63), 256));
		assert!(idle_target(Difficulty(u128::MAX), 256) >= U256::from(1u128 << 127));
	}
}
