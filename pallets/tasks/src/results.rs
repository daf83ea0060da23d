//! Results: what they must agree with, and what they open.

use alloc::vec::Vec;
use labora_primitives::{
	money::{decayed_price, merge_price},
	Assignment, Job,
};

use super::*;

impl<T: Config> Pallet<T> {
	/// Accepts a result, or names what is wrong with it; then nothing changes.
	pub(crate) fn accept(who: AccountId, id: AssignmentId, result: UnitResult) -> DispatchResult {
		let assignment = T::Assignments::get(id).ok_or(Error::<T>::NoSuchAssignment)?;
		ensure!(assignment.worker == who, Error::<T>::NotTheWorker);
		let (now, time) = (Self::now(), T::Clock::now());
		ensure!(time <= assignment.deadline, Error::<T>::TooLate);
		let task = assignment.unit.task;
		let spec = Specs::<T>::get(task).ok_or(Error::<T>::NoSuchTask)?;
		let mut info = Tasks::<T>::get(task).ok_or(Error::<T>::NoSuchTask)?;
		let state = Self::state_mut(&mut info, assignment.unit).ok_or(Error::<T>::NoSuchAssignment)?;
		ensure!(*state == UnitState::Assigned(id), Error::<T>::NoSuchAssignment);
		*state = UnitState::Accepted;

		let full_price = Self::check(&spec, &assignment, &result)?;
		// A round begins only when the escrow covers it, so this is never short.
		// The deadline is a time, the assignment's height is none: units of all kinds have their task's deadline.
		let assigned = assignment.deadline.saturating_sub(spec.deadline);
		let price = decayed_price(full_price, assigned, assignment.deadline, time).min(info.escrow);
		// Also what it could not submit in: others may need all of it to compute the unit.
		let took = now.saturating_sub(assignment.assigned);
		ensure!(T::Disputes::opened(id, took), Error::<T>::TooManyResults);
		Self::stand(&assignment, &result, price, took)?;
		info.escrow = info.escrow.saturating_sub(price);
		Self::record(&spec, &mut info, &assignment, result, now);
		T::Assignments::complete(id);
		let (round, unit) = (assignment.unit.round, assignment.unit.kind);
		Self::deposit_event(Event::ResultAccepted { task, round, unit, assignment: id, worker: who, price });

		if info.phase != Phase::Cancelled && info.units.iter().all(|state| *state == UnitState::Accepted) {
			Self::advance(task, &spec, &mut info);
		}
		Tasks::<T>::insert(task, info);
		Ok(())
	}

	fn now() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// Checks a result against its unit, and gives the unit's full price.
	fn check(spec: &TaskSpec, assignment: &Assignment, result: &UnitResult) -> Result<Balance, DispatchError> {
		match assignment.unit.kind {
			UnitKind::Merge => {
				spec.check_merge(result).map_err(Error::<T>::from)?;
				Ok(merge_price(spec.price))
			}
			UnitKind::Steps(_) => {
				let program = spec.check().map_err(Error::<T>::from)?;
				let seals = T::Rewards::seals(assignment.id);
				spec.check_result(&program, result, &seals).map_err(Error::<T>::from)?;
				Ok(spec.price)
			}
		}
	}

	/// Keeps what the chain keeps of a result.
	fn record(spec: &TaskSpec, info: &mut TaskInfo, assignment: &Assignment, result: UnitResult, now: BlockNumber) {
		let unit = assignment.unit;
		let UnitKind::Steps(index) = unit.kind else {
			info.parameters = result.parameters;
			return;
		};
		info.accepted_macs = info.accepted_macs.saturating_add(info.unit_macs);
		T::Rewards::accepted(&assignment.worker, info.unit_macs);
		if matches!(spec.job, Job::Inference { .. }) {
			Outputs::<T>::insert(unit.task, index, result.classes);
		}
		let record = ResultRecord {
			worker: assignment.worker.clone(),
			assignment: assignment.id,
			block: now,
			trace_root: result.trace_root,
			parameters: result.parameters,
			metrics: result.metrics,
		};
		Results::<T>::insert(unit.task, (unit.round, index), record);
	}

	/// All units of the phase are accepted: what comes next.
	fn advance(task: TaskId, spec: &TaskSpec, info: &mut TaskInfo) {
		match (&spec.job, info.phase) {
			(Job::Inference { .. }, _) => Self::complete(task, info),
			(Job::Training { units, .. }, Phase::Units) if *units > 1 => {
				info.phase = Phase::Merge;
				info.units = Self::open_states(1);
			}
			(Job::Training { .. }, Phase::Units) => {
				// The only unit's parameters are the next round's.
				if let Some(result) = Results::<T>::get(task, (info.round, 0)) {
					info.parameters = result.parameters;
				}
				Self::complete_round(task, spec, info);
			}
			(Job::Training { .. }, _) => Self::complete_round(task, spec, info),
		}
	}

	fn complete_round(task: TaskId, spec: &TaskSpec, info: &mut TaskInfo) {
		let results = (0..spec.job.units()).filter_map(|unit| Results::<T>::get(task, (info.round, unit)));
		let add = |sum: UnitMetrics, unit: UnitMetrics| UnitMetrics {
			loss: sum.loss.saturating_add(unit.loss),
			correct: sum.correct.saturating_add(unit.correct),
			rows: sum.rows.saturating_add(unit.rows),
		};
		info.metrics = results.map(|result| result.metrics).fold(UnitMetrics::default(), add);
		Self::deposit_event(Event::RoundCompleted { task, round: info.round, metrics: info.metrics });
		info.round = info.round.saturating_add(1);
		RoundParameters::<T>::insert(task, info.round, &info.parameters);
		if info.round >= spec.job.rounds() {
			Self::complete(task, info);
		} else {
			Self::begin_round(task, spec, info);
		}
	}

	fn complete(task: TaskId, info: &mut TaskInfo) {
		info.phase = Phase::Completed;
		Self::deposit_event(Event::TaskCompleted { task });
	}

	/// Opens the units of the current round that have no result, if the escrow covers them.
	pub(crate) fn begin_round(task: TaskId, spec: &TaskSpec, info: &mut TaskInfo) {
		let state = |unit| match Results::<T>::contains_key(task, (info.round, unit)) {
			true => UnitState::Accepted,
			false => UnitState::Open,
		};
		let states: Vec<UnitState> = (0..spec.job.units()).map(state).collect();
		let open = states.iter().filter(|state| **state == UnitState::Open).count() as u16;
		let merge = if spec.job.units() > 1 { merge_price(spec.price) } else { 0 };
		let needed = spec.price.saturating_mul(Balance::from(open)).saturating_add(merge);
		// A task that cannot go on takes no place among the open ones.
		if info.escrow < needed || !Self::is_open(task, spec, info) {
			Self::close(task);
			info.phase = Phase::Unfunded;
			info.units = BoundedVec::new();
			Self::deposit_event(Event::TaskUnfunded { task, needed });
		} else if open == 0 {
			// Only the merge of the round fell.
			info.phase = Phase::Merge;
			info.units = Self::open_states(1);
		} else {
			info.phase = Phase::Units;
			info.units = BoundedVec::truncate_from(states);
		}
	}
}
