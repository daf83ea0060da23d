//! How the pallets see each other. Each is implemented by one pallet and used by the others, so that none depends on another's crate.

use alloc::vec::Vec;
use labora_graph::OpIndex;
use labora_pouw::TileIndex;

use crate::{
	AccountId, Assignment, AssignmentId, Balance, BlockNumber, ResolveError, ResolvedWork, Seal, StandingResult,
	TaskId, TaskSpec, UnitRef,
};

/// A unit that waits for a worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenUnit {
	/// The unit.
	pub unit: UnitRef,
	/// Bytes a worker must hold.
	pub memory: u64,
	/// Blocks the worker has.
	pub deadline: BlockNumber,
	/// What of the worker's bond is at stake.
	pub stake: Balance,
}

/// The tasks, as the scheduler sees them.
pub trait TaskBoard {
	/// The tasks that may have open units, best price per multiply-accumulate first.
	fn open_tasks() -> Vec<TaskId>;
	/// The open units of a task. All ask for the same memory and stake.
	fn open_units(task: TaskId) -> Vec<OpenUnit>;
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

/// The assignments and the workers' bonds, as results, proofs and disputes see them.
pub trait AssignmentLedger {
	/// A running assignment.
	fn get(id: AssignmentId) -> Option<Assignment>;
	/// The assignment's result was accepted: its slot is free, its stake stays.
	fn complete(id: AssignmentId);
	/// What the assignment was built on fell: it ends without blame, and its stake is free.
	fn cancel(id: AssignmentId) -> Option<Assignment>;
	/// Nothing can happen to a result any more: its stake is free.
	fn release(worker: &AccountId, stake: Balance);
	/// What of a worker's bond is at no stake.
	fn unstaked(worker: &AccountId) -> Balance;
	/// Takes an amount from a worker's bond, as far as there is one, pays `takers` in turn and burns the rest. Says how much was taken.
	fn slash(worker: &AccountId, amount: Balance, takers: &[(AccountId, Balance)]) -> Balance;
}

/// What the winning ticket of a block decides. A ticket binds to its block's parent and cannot be had anew without the work, other
/// than a block's hash, which its author may vary with every seal.
pub trait TicketSource {
	/// The ticket of this block, once its work is proved; before that, of the block before.
	fn ticket() -> [u8; 32];
}

/// The rewards of blocks, as results see them.
pub trait RewardLedger {
	/// The blocks that an assignment sealed, in order.
	fn seals(id: AssignmentId) -> Vec<Seal>;
	/// The worker's result was accepted: so many multiply-accumulates were useful.
	fn accepted(worker: &AccountId, macs: u128);
	/// A result of the worker, accepted in that block, fell, or what it was built on: so many multiply-accumulates were not.
	fn rejected(worker: &AccountId, macs: u128, accepted: BlockNumber);
	/// The result has outlived its window: the held reward is the worker's.
	fn vest(id: AssignmentId);
	/// No result, or a wrong one: the held reward is burned. Says how much it was.
	fn burn(id: AssignmentId) -> Balance;
}

/// Who is credited with useful work, as the count of it sees them.
pub trait WorkCredit {
	/// A result of the worker was accepted: so many multiply-accumulates were useful.
	fn accepted(worker: &AccountId, macs: u128);
	/// They were not.
	fn rejected(worker: &AccountId, macs: u128);
}

/// The time that windows and deadlines are counted in. It stands still while blocks are full: who fills them makes nobody late.
pub trait Clock {
	/// This block's time: at most its height.
	fn now() -> BlockNumber;
	/// The height at which it will be so late, if no block until then is full.
	fn height_of(time: BlockNumber) -> BlockNumber;
}

/// The accepted results whose windows run, as disputes see them.
pub trait ResultLedger {
	/// A standing result.
	fn standing(id: AssignmentId) -> Option<StandingResult>;
	/// A task as registered.
	fn spec(task: TaskId) -> Option<TaskSpec>;
	/// Commitments of the parameters of a round's results, for its merge.
	fn sets(task: TaskId, round: u32) -> Vec<Vec<labora_tensor::Commitment>>;
	/// The result's window ends no earlier than at a time, but at most so much later than unchallenged.
	fn extend(id: AssignmentId, due: BlockNumber, most: BlockNumber);
	/// The result is wrong: takes it back and what was built on it.
	fn fall(id: AssignmentId) -> Option<Fallen>;
}

/// What fell with a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fallen {
	/// Whose result it was.
	pub worker: AccountId,
	/// What of its bond was at stake.
	pub stake: Balance,
	/// Who built on it in good faith, and what they lose.
	pub victims: Vec<(AccountId, Balance)>,
}

/// The disputes, as results see them.
pub trait DisputeLedger {
	/// What of a worker's bond a unit puts at stake, given its price and the ops of a step.
	fn stake(price: Balance, ops: u32) -> Balance;
	/// A result that took so many blocks was accepted: it will be audited. `false`: this block has taken as many as it can.
	fn opened(id: AssignmentId, took: BlockNumber) -> bool;
	/// A result stands no longer: whoever still challenges it has its bond back.
	fn closed(id: AssignmentId);
	/// Until when an open demand on a result may be answered; none if none is open.
	fn open_until(id: AssignmentId) -> Option<BlockNumber>;
}
