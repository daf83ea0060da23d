//! Parameters in the middle of units, so that a step can be shown without computing all steps before it.

use std::{collections::VecDeque, sync::Arc};

use labora_primitives::UnitRef;
use labora_tensor::{Commitment, Tensor};
use parking_lot::Mutex;

/// Checkpoints that a unit leaves.
const PER_UNIT: u32 = 16;

/// Which computation of a unit: after a rollback the same unit starts from other parameters.
type Key = (UnitRef, Vec<Commitment>);

struct Entry {
	key: Key,
	step: u32,
	parameters: Vec<Arc<Tensor>>,
	bytes: usize,
}

/// The latest checkpoints, in memory: what is gone is computed from further back.
pub struct Checkpoints {
	entries: Mutex<VecDeque<Entry>>,
	capacity: usize,
}

impl Checkpoints {
	/// About so many bytes of them.
	pub fn new(capacity: usize) -> Self {
		Self { entries: Mutex::default(), capacity }
	}

	/// Whether a unit of so many steps leaves one at the start of a step.
	pub fn wants(steps: u32, step: u32) -> bool {
		step.is_multiple_of(Self::every(steps))
	}

	/// Steps between two of a unit of so many steps.
	pub fn every(steps: u32) -> u32 {
		steps.div_ceil(PER_UNIT).max(1)
	}

	/// Lets go of those of a unit that was computed wrongly.
	pub fn forget(&self, unit: &UnitRef, base: &[Commitment]) {
		self.entries.lock().retain(|entry| entry.key.0 != *unit || entry.key.1 != base);
	}

	/// Keeps one, and lets go of the oldest that are too much.
	pub fn keep(&self, unit: UnitRef, base: &[Commitment], step: u32, parameters: Vec<Arc<Tensor>>) {
		let bytes = parameters.iter().map(|tensor| tensor.bytes().len()).sum();
		let mut entries = self.entries.lock();
		entries.push_back(Entry { key: (unit, base.to_vec()), step, parameters, bytes });
		let mut all: usize = entries.iter().map(|entry| entry.bytes).sum();
		while all > self.capacity {
			let Some(oldest) = entries.pop_front() else { break };
			all -= oldest.bytes;
		}
	}

	/// The last one of a unit at a step or before it.
	pub fn before(&self, unit: &UnitRef, base: &[Commitment], step: u32) -> Option<(u32, Vec<Arc<Tensor>>)> {
		let entries = self.entries.lock();
		let of_unit = entries.iter().filter(|entry| entry.key.0 == *unit && entry.key.1 == base && entry.step <= step);
		of_unit.max_by_key(|entry| entry.step).map(|entry| (entry.step, entry.parameters.clone()))
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_primitives::{TaskId, UnitKind};
	use labora_tensor::{ElementType, Shape};

	fn tensors() -> Vec<Arc<Tensor>> {
		vec![Arc::new(Tensor::zeros(Shape { rows: 32, cols: 32 }, ElementType::I32))]
	}

	#[test]
	fn the_nearest_before_a_step_is_found_and_the_oldest_go() {
		let checkpoints = Checkpoints::new(3 * 4_096);
		let unit = UnitRef { task: TaskId(1), round: 2, kind: UnitKind::Steps(3) };
		let (base, other) = ([Commitment([1; 32])], [Commitment([2; 32])]);
		for step in [8, 16, 24] {
			checkpoints.keep(unit, &base, step, tensors());
		}
		assert_eq!(checkpoints.before(&unit, &base, 23).map(|(step, _)| step), Some(16));
		assert_eq!(checkpoints.before(&unit, &base, 24).map(|(step, _)| step), Some(24));
		assert!(checkpoints.before(&unit, &base, 7).is_none());
		assert!(checkpoints.before(&unit, &other, 99).is_none(), "another computation of the unit");
		checkpoints.keep(unit, &base, 32, tensors());
		assert!(checkpoints.before(&unit, &base, 15).is_none(), "the oldest is gone");
		checkpoints.forget(&unit, &other);
		assert!(checkpoints.before(&unit, &base, 99).is_some());
		checkpoints.forget(&unit, &base);
		assert!(checkpoints.before(&unit, &base, 99).is_none());
	}

	#[test]
	fn a_unit_leaves_sixteen_at_most() {
		for steps in [1u32, 2, 15, 16, 17, 128, 4_096] {
			let left = (1..steps).filter(|step| Checkpoints::wants(steps, *step)).count();
			assert!(left <= 16, "{steps}: {left}");
		}
		assert!(Checkpoints::wants(128, 8) && !Checkpoints::wants(128, 9));
	}
}
