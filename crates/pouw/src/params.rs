//! The constants of the proof, in one place.

/// Magnitude of the dense noise factors: entries lie in `[-32, 31]`, one noise value is the difference of two.
pub const NOISE_BITS: u8 = 6;

/// Rank `r` of the noise, and columns between two folds, for a product with inner dimension `k`.
///
/// Peeling the noise off costs about `4 r / k` of a product, folding a constant over `r`; so `r` grows with `k`.
/// The fold interval must not exceed the rank, or the noise of a chunk could be skipped (protocol, section 5).
pub const fn noise_rank(k: u32) -> u32 {
	match k {
		0..=2047 => 32,
		2048..=8191 => 64,
		_ => 128,
	}
}

/// Rows folded into one lane group: a quarter of a tile, so that a kernel can hold it in registers.
pub const FOLD_ROWS: usize = 8;
/// Lanes of a group: columns `j` and `j + 16` share lane `j`.
pub const FOLD_LANES: usize = 16;
/// Groups of a tile.
pub const FOLD_GROUPS: usize = 4;
/// Odd multiplier of the fold (2^32 divided by the golden ratio): makes it nonlinear over XOR.
pub const FOLD_MULTIPLIER: u32 = 0x9E37_79B1;
/// Rotation of the second half of a row before it is XORed.
pub const FOLD_HALF_ROTATION: u32 = 13;
/// Rotation of the state before a chunk is mixed in.
pub const FOLD_STATE_ROTATION: u32 = 15;

/// Rows and columns of the product that idle work computes, and its inner dimension.
pub const IDLE_DIMENSION: u32 = 1024;
/// An idle ticket wins only below the target divided by this.
pub const IDLE_HANDICAP: u32 = 8;
