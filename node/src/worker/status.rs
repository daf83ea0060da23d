//! What the worker is at, for the RPC and the log.

use std::{
	collections::{BTreeMap, BTreeSet},
	sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use labora_primitives::{AccountId, AssignmentId, UnitKind, UnitRef, WorkProof};
use labora_tensor::Commitment;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What a miner is at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MinerStatus {
	/// The account that earns.
	pub account: AccountId,
	/// The engine's kernel.
	pub kernel: String,
	/// Units that are computed side by side, here and by connected miners.
	pub threads: usize,
	/// The units being computed.
	pub units: Vec<UnitStatus>,
	/// Multiply-accumulates of units so far, abandoned ones included.
	pub useful_macs: u64,
	/// Multiply-accumulates of idle work so far.
	pub idle_macs: u64,
	/// Commitments of the tensors that units wait for.
	pub waiting_for: Vec<String>,
}

/// A unit being computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnitStatus {
	/// The assignment.
	pub assignment: u64,
	/// The task.
	pub task: u32,
	/// The round.
	pub round: u32,
	/// The unit of the round; null for a merge.
	pub unit: Option<u16>,
	/// Steps done.
	pub step: u32,
	/// Steps of the unit.
	pub steps: u32,
}

/// What was computed of one kind of work, since the node started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Worked {
	/// Multiply-accumulates, of abandoned units, too.
	pub macs: u64,
	/// Tickets: tiles of eligible products.
	pub tickets: u64,
	/// Tickets that won.
	pub won: u64,
}

/// The same, while it is counted.
#[derive(Default)]
struct Counting {
	macs: AtomicU64,
	tickets: AtomicU64,
	won: AtomicU64,
}

impl Counting {
	fn worked(&self, macs: u64, tickets: u64) {
		self.macs.fetch_add(macs, Ordering::Relaxed);
		self.tickets.fetch_add(tickets, Ordering::Relaxed);
	}

	fn read(&self) -> Worked {
		let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
		Worked { macs: read(&self.macs), tickets: read(&self.tickets), won: read(&self.won) }
	}
}

/// Kept by the lanes, read by whoever asks.
pub struct WorkerStatus {
	account: AccountId,
	kernel: String,
	threads: AtomicUsize,
	useful: Counting,
	idle: Counting,
	running: Mutex<BTreeMap<UnitRef, UnitStatus>>,
	waiting: Mutex<BTreeMap<UnitRef, Vec<Commitment>>>,
}

impl WorkerStatus {
	pub(super) fn new(account: AccountId, kernel: String, threads: usize) -> Self {
		Self {
			account,
			kernel,
			threads: threads.into(),
			useful: Counting::default(),
			idle: Counting::default(),
			running: Mutex::default(),
			waiting: Mutex::default(),
		}
	}

	/// What the miner is at now.
	pub fn snapshot(&self) -> MinerStatus {
		let waiting: BTreeSet<_> = self.waiting.lock().values().flatten().copied().collect();
		MinerStatus {
			account: self.account.clone(),
			kernel: self.kernel.clone(),
			threads: self.threads.load(Ordering::Relaxed),
			units: self.running.lock().values().copied().collect(),
			useful_macs: self.useful.read().macs,
			idle_macs: self.idle.read().macs,
			waiting_for: waiting.iter().map(Commitment::to_string).collect(),
		}
	}

	/// The account that earns.
	pub fn account(&self) -> &AccountId {
		&self.account
	}

	/// Units that are computed, and units that wait for tensors.
	pub fn units(&self) -> (usize, usize) {
		(self.running.lock().len(), self.waiting.lock().len())
	}

	/// What was computed, by the kind of work.
	pub fn worked(&self) -> [(&'static str, Worked); 2] {
		[("useful", self.useful.read()), ("idle", self.idle.read())]
	}

	/// A miner's thread came.
	pub(super) fn joined(&self) {
		self.threads.fetch_add(1, Ordering::Relaxed);
	}

	/// A miner's thread is gone.
	pub(super) fn left(&self) {
		self.threads.fetch_sub(1, Ordering::Relaxed);
	}

	pub(super) fn started(&self, unit: UnitRef, assignment: AssignmentId, steps: u32) {
		let number = match unit.kind {
			UnitKind::Steps(number) => Some(number),
			UnitKind::Merge => None,
		};
		let (assignment, task, round) = (assignment.0, unit.task.0, unit.round);
		let status = UnitStatus { assignment, task, round, unit: number, step: 0, steps };
		self.running.lock().insert(unit, status);
		self.waiting.lock().remove(&unit);
	}

	/// Steps done, and the multiply-accumulates and tickets of the last one.
	pub(super) fn progress(&self, unit: &UnitRef, step: u32, macs: u64, tickets: u64) {
		if let Some(status) = self.running.lock().get_mut(unit) {
			status.step = step;
		}
		self.useful.worked(macs, tickets);
	}

	pub(super) fn ended(&self, unit: &UnitRef) {
		self.running.lock().remove(unit);
	}

	pub(super) fn idle(&self, macs: u64, tickets: u64) {
		self.idle.worked(macs, tickets);
	}

	/// A ticket won.
	pub(super) fn won(&self, proof: &WorkProof) {
		let counting = match proof {
			WorkProof::Useful(_) => &self.useful,
			WorkProof::Idle(_) => &self.idle,
		};
		counting.won.fetch_add(1, Ordering::Relaxed);
	}

	/// A unit waits for tensors. Whether that is news.
	pub(super) fn waits(&self, unit: UnitRef, missing: Vec<Commitment>) -> bool {
		let news = Some(&missing) != self.waiting.lock().insert(unit, missing.clone()).as_ref();
		news
	}

	/// A unit is not assigned to this miner any more.
	pub(super) fn gone(&self, unit: &UnitRef) {
		self.waiting.lock().remove(unit);
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_primitives::TaskId;

	#[test]
	fn a_snapshot_shows_what_runs_and_what_is_missing() {
		let status = WorkerStatus::new(AccountId::new([1; 32]), "portable".into(), 2);
		let unit = UnitRef { task: TaskId(3), round: 4, kind: UnitKind::Steps(5) };
		let merge = UnitRef { kind: UnitKind::Merge, ..unit };
		assert!(status.waits(merge, vec![Commitment([2; 32]), Commitment([1; 32])]));
		assert!(!status.waits(merge, vec![Commitment([2; 32]), Commitment([1; 32])]));
		assert!(status.waits(unit, vec![Commitment([1; 32])]));
		status.started(unit, AssignmentId(6), 8);
		status.progress(&unit, 2, 1_000, 4);
		status.idle(10, 1);
		let tile = labora_pouw::TileIndex { row: 0, col: 0 };
		status.won(&WorkProof::Idle(labora_pouw::IdleProof { nonce: 1, tile }));
		let (useful, idle) = (Worked { macs: 1_000, tickets: 4, won: 0 }, Worked { macs: 10, tickets: 1, won: 1 });
		assert_eq!(status.worked(), [("useful", useful), ("idle", idle)]);
		assert_eq!(status.units(), (1, 1));
		let snapshot = status.snapshot();
		let expected = UnitStatus { assignment: 6, task: 3, round: 4, unit: Some(5), step: 2, steps: 8 };
		assert_eq!(snapshot.units, [expected]);
		assert_eq!((snapshot.useful_macs, snapshot.idle_macs), (1_000, 10));
		assert_eq!(snapshot.waiting_for, ["01".repeat(32), "02".repeat(32)]);
		status.ended(&unit);
		status.gone(&merge);
		let snapshot = status.snapshot();
		assert!(snapshot.units.is_empty() && snapshot.waiting_for.is_empty());
	}
}
