//! How the pallets see each other. Each is implemented by one pallet and used by the others, so that none depends on another's crate.

use alloc::vec::Vec;
use labora_graph::OpIndex;
use labora_pouw::TileIndex;

use crate::{Assignment, AssignmentId, BlockNumber, ResolveError, ResolvedWork, Seal, UnitRef};

/// A unit that waits for a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenUnit {
	/// The unit.
	pub unit: UnitRef,
	/// Bytes a worker must hold.
	pub memory: u64,
	/// Blocks the worker has.
	pub deadline: BlockNumber,
}

/// The tasks, as the scheduler sees them.
pub trait TaskBoard {
	/// At most `limit` open units, best price per multiply-accumulate first.
	fn open_units(limit: u32) -> Vec<OpenUnit>;
	/// The unit has a worker now.
	fn assigned(unit: UnitRef, assignment: AssignmentId);
	/// The assignment ended without a result.
	fn reopen(assignment: &Assignment);
}

/// The tasks, as proofs see them.
pub trait UnitResolver {
	/// What an op and a tile of an assigned unit mean.
	fn resolve(unit: UnitRef, op: OpIndex, tile: TileIndex) -> Result<ResolvedWork, ResolveError>;
}

/// The assignments, as results and proofs see them.
pub trait AssignmentLedger {
	/// A running assignment.
	fn get(id: AssignmentId) -> Option<Assignment>;
	/// The assignment's result was accepted: its slot is free.
	fn complete(id: AssignmentId);
}

/// The rewards of blocks, as results see them.
pub trait RewardLedger {
	/// The blocks that an assignment sealed, in order.
	fn seals(id: AssignmentId) -> Vec<Seal>;
	/// The unit's result was accepted: so many multiply-accumulates were useful.
	fn accepted(id: AssignmentId, macs: u128);
	/// The result has outlived its window: the held reward is the worker's.
	fn vest(id: AssignmentId);
	/// No result, or a wrong one: the held reward is burned.
	fn burn(id: AssignmentId);
}
