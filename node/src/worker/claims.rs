//! Winning tickets that were sent to the authoring loop and may become blocks any moment.

use std::{
	collections::BTreeMap,
	time::{Duration, Instant},
};

use labora_primitives::{limits::MAX_SEALS, AssignmentId, Hash, WorkProof};
use parking_lot::Mutex;

/// How long a ticket is given to become a block. Then mining on its parent goes on: the block may have failed.
const GRACE: Duration = Duration::from_secs(2);

/// The last ticket of an assignment.
#[derive(Clone, Copy, Debug)]
struct Claim {
	parent: Hash,
	/// Tickets of the assignment so far: at least as many as blocks that it sealed.
	tickets: u32,
}

#[derive(Default)]
struct State {
	last: Option<(Hash, Instant)>,
	of: BTreeMap<AssignmentId, Claim>,
}

/// The winning tickets of this miner.
#[derive(Default)]
pub(super) struct Claims(Mutex<State>);

impl Claims {
	/// A ticket on `parent` goes to the authoring loop.
	pub(super) fn claim(&self, parent: Hash, proof: &WorkProof) {
		let mut state = self.0.lock();
		state.last = Some((parent, Instant::now()));
		if let WorkProof::Useful(proof) = proof {
			let claim = state.of.entry(AssignmentId(proof.assignment)).or_insert(Claim { parent, tickets: 0 });
			claim.parent = parent;
			claim.tickets = claim.tickets.saturating_add(1);
		}
	}

	/// Whether a block on `parent` is being made: until it is there, more tickets on that parent are worth nothing.
	pub(super) fn awaits_block(&self, parent: Hash) -> bool {
		self.0.lock().last.is_some_and(|(last, when)| last == parent && when.elapsed() < GRACE)
	}

	/// Whether tickets of an assignment on `parent` are worth drawing: no block on it is being made, and the assignment has not sealed
	/// as many blocks as it may.
	pub(super) fn may_mine(&self, parent: Hash, assignment: AssignmentId) -> bool {
		let sealed_out = self.0.lock().of.get(&assignment).is_some_and(|claim| claim.tickets >= MAX_SEALS);
		!sealed_out && !self.awaits_block(parent)
	}

	/// Whether an assignment may seal a block on `parent` yet. Until then its result cannot say what it sealed.
	pub(super) fn may_seal(&self, assignment: AssignmentId, parent: Hash) -> bool {
		self.0.lock().of.get(&assignment).is_some_and(|claim| claim.parent == parent)
	}

	/// The chain says how many blocks an assignment sealed: tickets that gave none no longer count.
	pub(super) fn sealed(&self, assignment: AssignmentId, blocks: u32) {
		if let Some(claim) = self.0.lock().of.get_mut(&assignment) {
			claim.tickets = blocks;
		}
	}

	/// Assignments with so many tickets that the chain should be asked how many became blocks.
	pub(super) fn to_ask(&self) -> Vec<AssignmentId> {
		let state = self.0.lock();
		state.of.iter().filter(|(_, claim)| claim.tickets >= MAX_SEALS).map(|(id, _)| *id).collect()
	}

	/// Forgets assignments that ended.
	pub(super) fn retain(&self, running: impl Fn(AssignmentId) -> bool) {
		self.0.lock().of.retain(|id, _| running(*id));
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_graph::OpIndex;
	use labora_pouw::{IdleProof, TileIndex, UsefulProof};

	fn useful(assignment: u64) -> WorkProof {
		let tile = TileIndex { row: 0, col: 0 };
		WorkProof::Useful(UsefulProof {
			assignment,
			op: OpIndex(0),
			tile,
			a: Default::default(),
			b: Default::default(),
			strip_a: Default::default(),
			strip_b: Default::default(),
		})
	}

	#[test]
	fn a_ticket_stops_mining_on_its_parent_only() {
		let claims = Claims::default();
		let (one, two) = (Hash::repeat_byte(1), Hash::repeat_byte(2));
		assert!(claims.may_mine(one, AssignmentId(1)));
		claims.claim(one, &WorkProof::Idle(IdleProof { nonce: 1, tile: TileIndex { row: 0, col: 0 } }));
		assert!(claims.awaits_block(one) && !claims.may_mine(one, AssignmentId(1)));
		assert!(!claims.awaits_block(two) && claims.may_mine(two, AssignmentId(1)));
		assert!(!claims.may_seal(AssignmentId(1), one));
	}

	#[test]
	fn a_result_waits_for_its_own_tickets() {
		let claims = Claims::default();
		let (one, two) = (Hash::repeat_byte(1), Hash::repeat_byte(2));
		claims.claim(one, &useful(1));
		claims.claim(one, &useful(2));
		assert!(claims.may_seal(AssignmentId(1), one) && claims.may_seal(AssignmentId(2), one));
		assert!(!claims.may_seal(AssignmentId(1), two) && !claims.may_seal(AssignmentId(3), one));
		claims.retain(|id| id == AssignmentId(2));
		assert!(!claims.may_seal(AssignmentId(1), one) && claims.may_seal(AssignmentId(2), one));
	}

	#[test]
	fn an_assignment_seals_only_so_many_blocks() {
		let claims = Claims::default();
		let other = Hash::repeat_byte(9);
		for i in 0..MAX_SEALS {
			assert!(claims.to_ask().is_empty() && claims.may_mine(other, AssignmentId(1)));
			claims.claim(Hash::from_low_u64_be(u64::from(i)), &useful(1));
		}
		assert!(!claims.may_mine(other, AssignmentId(1)));
		assert_eq!(claims.to_ask(), [AssignmentId(1)]);
		claims.sealed(AssignmentId(1), MAX_SEALS - 1);
		assert!(claims.may_mine(other, AssignmentId(1)) && claims.to_ask().is_empty());
	}
}
