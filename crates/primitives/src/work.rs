use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use labora_graph::OpIndex;
use labora_pouw::{Difficulty, IdleProof, TileIndex, UsefulProof};
use labora_tensor::Commitment;
use scale_info::TypeInfo;
use sp_application_crypto::KeyTypeId;
use sp_inherents::InherentIdentifier;

use crate::{AccountId, Assignment, AssignmentId, Balance, BlockNumber, TaskId};

/// Keys of the miner: they sign seals and results.
pub const KEY_TYPE: KeyTypeId = KeyTypeId(*b"labo");
/// Engine of the digests that name a block's author and hold its seal: the one that `sc-consensus-pow` reads.
pub const ENGINE_ID: sp_runtime::ConsensusEngineId = *b"pow_";
/// The inherent that carries the work proof.
pub const INHERENT_IDENTIFIER: InherentIdentifier = *b"workprof";

/// The proof of a block.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub enum WorkProof {
	/// A tile of a registered task's unit.
	Useful(UsefulProof),
	/// A tile of noise alone: keeps the chain live when there is no unit.
	Idle(IdleProof),
}

/// What a block said about the unit that sealed it. The result must agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Seal {
	/// The block.
	pub block: BlockNumber,
	/// The op of the unit.
	pub op: OpIndex,
	/// Commitment of its left operand.
	pub a: Commitment,
	/// Commitment of its right operand.
	pub b: Commitment,
}

/// What sealed a block.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum LastSeal {
	/// Useful work.
	Useful {
		/// Who made the block.
		author: AccountId,
		/// The task.
		task: TaskId,
		/// The assignment.
		assignment: AssignmentId,
		/// The op of the unit.
		op: OpIndex,
		/// The winning tile.
		tile: TileIndex,
	},
	/// Idle work.
	Idle {
		/// Who made the block.
		author: AccountId,
		/// The nonce.
		nonce: u64,
		/// The winning tile.
		tile: TileIndex,
	},
}

/// A bonded miner.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Worker {
	/// Units it takes at a time.
	pub slots: u16,
	/// Units it has.
	pub busy: u16,
	/// Memory it offers per unit, MiB.
	pub memory: u32,
	/// What is left of its bond.
	pub bond: Balance,
	/// What of it is at stake for running units and for results whose windows run.
	pub staked: Balance,
	/// Deadlines missed since the last result.
	pub missed: u8,
	/// No unit is assigned to it before this block.
	pub chilled_until: BlockNumber,
	/// Since when it takes no more units, if it is leaving.
	pub leaving: Option<BlockNumber>,
	/// Results accepted.
	pub accepted: u32,
}

/// What a miner needs to know to mine on a block.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct MiningContext {
	/// Difficulty of the next block.
	pub difficulty: Difficulty,
	/// The miner's assignments.
	pub assignments: Vec<Assignment>,
}

/// How useful the chain's work was.
#[derive(
	Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Usefulness {
	/// Multiply-accumulates of accepted units.
	pub accepted: u128,
	/// Multiply-accumulates that the difficulty of all blocks says were spent (an idle block counts its handicap).
	pub spent: u128,
	/// Blocks sealed by useful work.
	pub useful_blocks: u64,
	/// Blocks sealed by idle work.
	pub idle_blocks: u64,
}

impl Usefulness {
	/// The sums of both.
	pub fn plus(&self, other: &Self) -> Self {
		Self {
			accepted: self.accepted.saturating_add(other.accepted),
			spent: self.spent.saturating_add(other.spent),
			useful_blocks: self.useful_blocks.saturating_add(other.useful_blocks),
			idle_blocks: self.idle_blocks.saturating_add(other.idle_blocks),
		}
	}

	/// Accepted over spent, in millionths; 0 when nothing was spent.
	pub fn ratio_ppm(&self) -> u64 {
		let ratio = self.accepted.saturating_mul(1_000_000).checked_div(self.spent).unwrap_or(0);
		u64::try_from(ratio).unwrap_or(u64::MAX)
	}
}
