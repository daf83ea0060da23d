//! Which unit a lane starts next. A pure structure: it computes nothing and knows no threads.

use std::{
	cmp::Reverse,
	collections::BTreeMap,
	sync::{
		atomic::{AtomicBool, Ordering},
		Arc,
	},
};

use labora_primitives::{Assignment, AssignmentId, Balance, BlockNumber, UnitKind, UnitRef};

/// Told to a running unit that nobody waits for it any more.
#[derive(Clone, Default, Debug)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
	/// Abandons the unit.
	pub fn cancel(&self) {
		self.0.store(true, Ordering::Relaxed);
	}

	/// Whether the unit is abandoned.
	pub fn is_cancelled(&self) -> bool {
		self.0.load(Ordering::Relaxed)
	}
}

/// Where a unit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
	/// It can be started.
	Ready,
	/// Its inputs are missing; it is tried again with the next job, or when a tensor arrives.
	Waiting,
	/// A lane computes it.
	Running,
	/// It is computed, or cannot be.
	Done,
}

/// How much a unit matters: more is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Worth {
	/// Half of its time is gone: better paid work must not make it miss its deadline.
	urgent: bool,
	/// What its task pays per multiply-accumulate: the number by which the chain's scheduler orders tasks.
	pay: u128,
}

impl Worth {
	/// Of units at this price, of so many multiply-accumulates each.
	pub fn new(price: Balance, macs: u128) -> Self {
		// Per 2^64 of them: an integer that keeps apart what real prices are.
		Self { urgent: false, pay: (price.min(u128::from(u64::MAX)) << 64) / macs.max(1) }
	}

	/// Of an assignment, when the best block has this height.
	pub fn of(self, assignment: &Assignment, height: BlockNumber) -> Self {
		let half = assignment.deadline.saturating_sub(assignment.assigned) / 2;
		Self { urgent: height >= assignment.assigned.saturating_add(half), ..self }
	}
}

#[derive(Debug)]
struct Entry {
	assignment: AssignmentId,
	worth: Worth,
	stage: Stage,
	cancel: Cancel,
}

/// A unit that a lane is to compute.
#[derive(Clone, Debug)]
pub struct Start {
	/// The unit.
	pub unit: UnitRef,
	/// Under which assignment it stood when it was started.
	pub assignment: AssignmentId,
	/// Whether to go on.
	pub cancel: Cancel,
}

/// A unit whose assignment is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
	/// The unit.
	pub unit: UnitRef,
	/// The assignment.
	pub assignment: AssignmentId,
	/// Where the unit was.
	pub stage: Stage,
}

/// The units assigned to this miner. A unit keeps its place when a reorganisation gives it another assignment: what it
/// yields does not depend on that.
#[derive(Default, Debug)]
pub struct Queue {
	units: BTreeMap<UnitRef, Entry>,
}

/// Merge units first, as a whole task waits for each; then what is urgent; then the better paid work; then in order of assignment.
fn rank(unit: &UnitRef, entry: &Entry) -> (bool, Reverse<Worth>, AssignmentId) {
	(unit.kind != UnitKind::Merge, Reverse(entry.worth), entry.assignment)
}

impl Queue {
	/// Takes the assignments of a new job. Units that are gone are cancelled and given back; waiting ones are tried again. `done` tells
	/// units whose result is known already, `worth` how much one matters.
	pub fn update(
		&mut self,
		assignments: &[Assignment],
		done: impl Fn(&UnitRef) -> bool,
		worth: impl Fn(&Assignment) -> Worth,
	) -> Vec<Gone> {
		let current: BTreeMap<_, _> = assignments.iter().map(|assignment| (assignment.unit, assignment)).collect();
		let mut gone = Vec::new();
		self.units.retain(|unit, entry| {
			let kept = current.contains_key(unit);
			if !kept {
				entry.cancel.cancel();
				gone.push(Gone { unit: *unit, assignment: entry.assignment, stage: entry.stage });
			}
			kept
		});
		for (unit, assignment) in current {
			let entry = self.units.entry(unit).or_insert(Entry {
				assignment: assignment.id,
				worth: Worth::default(),
				stage: Stage::Waiting,
				cancel: Cancel::default(),
			});
			entry.assignment = assignment.id;
			entry.worth = worth(assignment);
			if entry.stage == Stage::Waiting {
				entry.stage = if done(&unit) { Stage::Done } else { Stage::Ready };
			}
		}
		gone
	}

	/// The next unit to compute. It is running from now on.
	pub fn start(&mut self) -> Option<Start> {
		let ready = self.units.iter_mut().filter(|(_, entry)| entry.stage == Stage::Ready);
		let (unit, entry) = ready.min_by_key(|(unit, entry)| rank(unit, entry))?;
		entry.stage = Stage::Running;
		Some(Start { unit: *unit, assignment: entry.assignment, cancel: entry.cancel.clone() })
	}

	/// Whether a unit can be started. While one can, nobody does idle work.
	pub fn has_ready(&self) -> bool {
		self.units.values().any(|entry| entry.stage == Stage::Ready)
	}

	/// Whether all of a job's units have been taken in. Until then nobody knows whether one can be started.
	pub fn knows(&self, assignments: &[Assignment]) -> bool {
		assignments.iter().all(|assignment| self.units.contains_key(&assignment.unit))
	}

	/// What became of a unit that was started. Ignored if it was cancelled meanwhile, even if the unit is back.
	pub fn ended(&mut self, start: &Start, stage: Stage) {
		if let Some(entry) =
			self.units.get_mut(&start.unit).filter(|entry| Arc::ptr_eq(&entry.cancel.0, &start.cancel.0))
		{
			entry.stage = stage;
		}
	}

	/// A done unit must be computed again.
	pub fn again(&mut self, unit: &UnitRef) {
		if let Some(entry) = self.units.get_mut(unit).filter(|entry| entry.stage == Stage::Done) {
			entry.stage = Stage::Ready;
		}
	}

	/// Units that wait are tried again: something arrived.
	pub fn retry(&mut self) {
		let waiting = self.units.values_mut().filter(|entry| entry.stage == Stage::Waiting);
		waiting.for_each(|entry| entry.stage = Stage::Ready);
	}

	/// Abandons all units.
	pub fn clear(&mut self) {
		self.update(&[], |_| false, |_| Worth::default());
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_primitives::{AccountId, TaskId};

	fn assignment(id: u64, kind: UnitKind) -> Assignment {
		let unit = UnitRef { task: TaskId(id as u32), round: 0, kind };
		Assignment { id: AssignmentId(id), unit, worker: AccountId::new([0; 32]), assigned: 1, deadline: 9, stake: 0 }
	}

	fn steps(id: u64) -> Assignment {
		assignment(id, UnitKind::Steps(0))
	}

	/// All tasks pay the same.
	fn same(_: &Assignment) -> Worth {
		Worth::new(1, 1)
	}

	fn queue(assignments: &[Assignment]) -> Queue {
		let mut queue = Queue::default();
		assert!(queue.update(assignments, |_| false, same).is_empty());
		queue
	}

	fn next(queue: &mut Queue) -> Option<u64> {
		queue.start().map(|start| start.assignment.0)
	}

	#[test]
	fn merges_come_first_then_lower_assignments() {
		let mut queue = queue(&[steps(7), steps(3), assignment(9, UnitKind::Merge), steps(5)]);
		let order: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
		assert_eq!(order, [9, 3, 5, 7]);
	}

	#[test]
	fn better_paid_work_comes_before_older_assignments_but_after_merges() {
		let assignments = [steps(1), steps(2), steps(3), steps(4), assignment(5, UnitKind::Merge)];
		// What the whole unit pays says nothing: task 3's price is the highest, and its work the most.
		let worth = |assignment: &Assignment| match assignment.unit.task.0 {
			2 => Worth::new(4, 66_000_000_000),
			3 => Worth::new(8, 364_000_000_000),
			4 => Worth::new(8, 132_000_000_000),
			5 => Worth::default(),
			_ => Worth::new(1, 364_000_000_000),
		};
		let mut queue = Queue::default();
		queue.update(&assignments, |_| false, worth);
		let order: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
		assert_eq!(order, [5, 2, 4, 3, 1]);
	}

	#[test]
	fn what_has_used_half_of_its_time_comes_before_what_is_paid_better() {
		let (old, new) = (steps(1), Assignment { assigned: 5, deadline: 13, ..steps(2) });
		let worth = |assignment: &Assignment| Worth::new(assignment.id.0.into(), 1).of(assignment, 5);
		let mut queue = Queue::default();
		queue.update(&[old, new], |_| false, worth);
		assert_eq!(next(&mut queue), Some(1));
	}

	#[test]
	fn a_worth_that_becomes_known_later_counts() {
		let mut queue = Queue::default();
		queue.update(&[steps(1), steps(2)], |_| false, |_| Worth::default());
		queue.update(&[steps(1), steps(2)], |_| false, |other| Worth::new(other.unit.task.0.into(), 1));
		assert_eq!(next(&mut queue), Some(2));
	}

	#[test]
	fn any_price_of_any_work_has_a_worth() {
		assert!(Worth::new(1, u128::MAX) < Worth::new(1, 1));
		assert!(Worth::new(u128::MAX, 1) >= Worth::new(u128::from(u64::MAX), 1));
		assert!(Worth::new(u128::MAX, 0) > Worth::default());
	}

	#[test]
	fn a_unit_is_started_once_and_survives_jobs() {
		let mut queue = queue(&[steps(1)]);
		let start = queue.start().unwrap();
		assert!(queue.update(&[steps(1), steps(2)], |_| false, same).is_empty());
		assert_eq!(next(&mut queue), Some(2));
		assert_eq!(next(&mut queue), None);
		assert!(!start.cancel.is_cancelled());
		queue.ended(&start, Stage::Done);
		queue.update(&[steps(1), steps(2)], |_| false, same);
		assert_eq!(next(&mut queue), None);
	}

	#[test]
	fn idle_work_only_while_nothing_can_be_started() {
		let mut queue = queue(&[]);
		assert!(!queue.has_ready() && !queue.knows(&[steps(1)]));
		queue.update(&[steps(1)], |_| false, same);
		assert!(queue.knows(&[steps(1)]) && queue.knows(&[]));
		assert!(queue.has_ready());
		let start = queue.start().unwrap();
		assert!(!queue.has_ready());
		queue.ended(&start, Stage::Waiting);
		assert!(!queue.has_ready(), "a unit without its inputs cannot be started");
		queue.update(&[steps(1)], |_| false, same);
		assert!(queue.has_ready(), "but is tried again with each job");
	}

	#[test]
	fn waiting_units_are_tried_again_when_something_arrives() {
		let mut queue = queue(&[steps(1), steps(2)]);
		let (first, second) = (queue.start().unwrap(), queue.start().unwrap());
		queue.ended(&first, Stage::Waiting);
		queue.ended(&second, Stage::Done);
		queue.retry();
		assert_eq!((next(&mut queue), next(&mut queue)), (Some(1), None));
	}

	#[test]
	fn what_vanishes_is_cancelled() {
		let mut queue = queue(&[steps(1), steps(2)]);
		let start = queue.start().unwrap();
		let gone = queue.update(&[steps(2)], |_| false, same);
		assert_eq!(gone, [Gone { unit: start.unit, assignment: AssignmentId(1), stage: Stage::Running }]);
		assert!(start.cancel.is_cancelled());
		assert_eq!(next(&mut queue), Some(2));
	}

	#[test]
	fn a_cancelled_run_says_nothing_about_the_unit_that_came_back() {
		let mut queue = queue(&[steps(1)]);
		let first = queue.start().unwrap();
		queue.update(&[], |_| false, same);
		queue.update(&[steps(1)], |_| false, same);
		queue.ended(&first, Stage::Done);
		let second = queue.start().unwrap();
		assert!(first.cancel.is_cancelled() && !second.cancel.is_cancelled());
	}

	#[test]
	fn another_assignment_of_the_same_unit_does_not_disturb_it() {
		let mut queue = queue(&[steps(1)]);
		let start = queue.start().unwrap();
		let reassigned = Assignment { id: AssignmentId(8), ..steps(1) };
		assert!(queue.update(&[reassigned], |_| false, same).is_empty());
		assert!(!start.cancel.is_cancelled());
		let gone = queue.update(&[], |_| false, same);
		assert_eq!(gone[0].assignment, AssignmentId(8));
	}

	#[test]
	fn a_known_result_is_not_computed_again_unless_it_must() {
		let mut queue = Queue::default();
		queue.update(&[steps(1)], |_| true, same);
		assert_eq!(next(&mut queue), None);
		queue.again(&steps(1).unit);
		assert_eq!(next(&mut queue), Some(1));
		queue.again(&steps(1).unit);
		assert_eq!(next(&mut queue), None, "it is running");
	}

	#[test]
	fn clearing_cancels_everything() {
		let mut queue = queue(&[steps(1), steps(2)]);
		let start = queue.start().unwrap();
		queue.clear();
		assert!(start.cancel.is_cancelled() && !queue.has_ready());
	}
}
