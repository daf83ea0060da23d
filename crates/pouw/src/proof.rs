//! Work proofs and their verification.
//!
//! A proof comes from a stranger. Verifying it takes time and memory bounded by `k` and gives a [`SealedTile`], which only a verified
//! proof can become.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use labora_graph::{left_strip, right_strip, OpIndex, Product};
use labora_tensor::{ChunkSet, Commitment, Opening, OpeningError};
use scale_info::TypeInfo;
use sp_core::U256;

use crate::{
	noise::{self, Side},
	params::IDLE_DIMENSION,
	ticket::{fold_tile, idle_target, target, TicketHasher},
	Difficulty, IdleSeed, Seed,
};

/// Position of a tile in the output of a product, counted in tiles.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct TileIndex {
	/// Tile row.
	pub row: u32,
	/// Tile column.
	pub col: u32,
}

/// The opening of a winning ticket of an assigned unit.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct UsefulProof {
	/// Number of the assignment.
	pub assignment: u64,
	/// The op of the unit.
	pub op: OpIndex,
	/// The winning tile.
	pub tile: TileIndex,
	/// Commitment of the tensor that holds the left operand.
	pub a: Commitment,
	/// Commitment of the tensor that holds the right operand.
	pub b: Commitment,
	/// The strip of the left operand.
	pub strip_a: Opening,
	/// The strip of the right operand.
	pub strip_b: Opening,
}

/// A winning ticket of idle work: nothing to open, as the operands are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct IdleProof {
	/// The miner's nonce.
	pub nonce: u64,
	/// The winning tile.
	pub tile: TileIndex,
}

/// Why a proof is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProofError {
	/// The tile is outside the product.
	NoSuchTile,
	/// The strip of the left operand does not open.
	LeftStrip(OpeningError),
	/// The strip of the right operand does not open.
	RightStrip(OpeningError),
	/// The ticket does not win.
	TicketAboveTarget,
}

/// A ticket that was recomputed and wins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedTile {
	ticket: U256,
}

impl SealedTile {
	/// The winning number.
	pub fn ticket(&self) -> U256 {
		self.ticket
	}
}

/// What the chain knows of an operand that a proof opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operand {
	/// The chunks of the strip in the tensor that holds the operand.
	pub chunks: ChunkSet,
	/// Whether the operand is read transposed.
	pub transposed: bool,
}

impl UsefulProof {
	/// Verifies the proof: both strips open to their commitments, and the recomputed ticket wins.
	///
	/// `product`, `a` and `b` follow from the assigned unit and the proof's op and tile, never from the proof's bytes.
	pub fn verify(
		&self,
		seed: &Seed,
		product: &Product,
		a: &Operand,
		b: &Operand,
		difficulty: Difficulty,
	) -> Result<SealedTile, ProofError> {
		let tile = in_product(self.tile, product)?;
		let left = self.strip_a.verify(&self.a, &a.chunks).map_err(ProofError::LeftStrip)?;
		let right = self.strip_b.verify(&self.b, &b.chunks).map_err(ProofError::RightStrip)?;
		let mut left = left_strip(left, a.transposed);
		let mut right = right_strip(right, b.transposed);
		let ticket = noised_ticket(seed, tile, &mut left, &mut right);
		won(ticket, target(difficulty, product.k))
	}
}

impl IdleProof {
	/// Verifies the proof: the recomputed ticket wins against the idle target.
	pub fn verify(&self, seed: &IdleSeed, difficulty: Difficulty) -> Result<SealedTile, ProofError> {
		let tile = in_product(self.tile, &IdleSeed::PRODUCT)?;
		let size = labora_tensor::BLOCK * IDLE_DIMENSION as usize;
		let (mut left, mut right) = (alloc::vec![0; size], alloc::vec![0; size]);
		let ticket = noised_ticket(&seed.seed(), tile, &mut left, &mut right);
		won(ticket, idle_target(difficulty, IDLE_DIMENSION))
	}
}

fn in_product(tile: TileIndex, product: &Product) -> Result<TileIndex, ProofError> {
	let block = labora_tensor::BLOCK as u32;
	if tile.row < product.m / block && tile.col < product.n / block {
		Ok(tile)
	} else {
		Err(ProofError::NoSuchTile)
	}
}

fn won(ticket: U256, target: U256) -> Result<SealedTile, ProofError> {
	if ticket <= target {
		Ok(SealedTile { ticket })
	} else {
		Err(ProofError::TicketAboveTarget)
	}
}

/// The ticket of a tile: noise on both strips, the product folded chunk by chunk, one hash. This is the consensus definition.
pub fn noised_ticket(seed: &Seed, tile: TileIndex, left: &mut [i8], right: &mut [i8]) -> U256 {
	noise::add(seed, Side::Left, tile.row, left);
	noise::add(seed, Side::Right, tile.col, right);
	let state = fold_tile(left, right).finish();
	TicketHasher::new(seed).ticket(tile, &state)
}
