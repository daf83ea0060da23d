//! A result falls: it is taken back, and with it everything that was built on it.

use alloc::vec::Vec;
use labora_primitives::{Fallen, Job, ResultLedger, UnitRef};
use labora_tensor::Commitment;

use super::*;

/// Who built on a wrong result in good faith, and what they lose.
type Victims = Vec<(AccountId, Balance)>;

/// Whether a unit was computed from the result of another.
fn builds_on(unit: &UnitRef, fallen: &UnitRef) -> bool {
	let merges = unit.kind == UnitKind::Merge && fallen.kind != UnitKind::Merge;
	unit.round > fallen.round || (unit.round == fallen.round && merges)
}

impl<T: Config> Pallet<T> {
	/// Takes back a unit of a task, and what was built on it.
	fn roll_back(spec: &TaskSpec, info: &mut TaskInfo, result: &StandingResult, victims: &mut Victims) {
		let fallen = &result.unit;
		let task = fallen.task;
		if let UnitKind::Steps(unit) = fallen.kind {
			Self::uncount(result, unit, info);
			Results::<T>::remove(task, (fallen.round, unit));
			Outputs::<T>::remove(task, unit);
		}
		if info.phase == Phase::Cancelled {
			// Nothing is opened again. What was built on it could no longer be judged by what it was built from.
			Self::void_after(task, info, fallen, victims);
			return;
		}
		let in_its_round = info.round == fallen.round && info.phase == Phase::Units;
		if let (true, UnitKind::Steps(unit)) = (in_its_round, fallen.kind) {
			if let Some(state) = info.units.get_mut(usize::from(unit)) {
				*state = UnitState::Open;
			}
		} else {
			if matches!(spec.job, Job::Training { .. }) {
				Self::void_after(task, info, fallen, victims);
				Self::forget_after(task, spec, info, fallen.round);
			}
			Self::begin_round(task, spec, info);
		}
		Self::deposit_event(Event::TaskRolledBack { task, round: fallen.round });
	}

	/// A unit's work no longer counts as useful.
	fn uncount(result: &StandingResult, unit: u16, info: &mut TaskInfo) {
		let UnitRef { task, round, .. } = result.unit;
		let Some(record) = Results::<T>::get(task, (round, unit)) else { return };
		info.accepted_macs = info.accepted_macs.saturating_sub(info.unit_macs);
		T::Rewards::rejected(&result.worker, info.unit_macs, record.block);
	}

	/// Ends what is being built on a fallen result, and voids what was.
	fn void_after(task: TaskId, info: &mut TaskInfo, fallen: &UnitRef, victims: &mut Victims) {
		for state in info.units.iter_mut() {
			let UnitState::Assigned(id) = *state else { continue };
			if T::Assignments::get(id).is_some_and(|assignment| builds_on(&assignment.unit, fallen)) {
				*state = UnitState::Open;
				let Some(assignment) = T::Assignments::cancel(id) else { continue };
				victims.push((assignment.worker, T::Rewards::burn(id)));
			}
		}
		for id in StandingOf::<T>::get(task) {
			let Some(mut result) = Standing::<T>::get(id) else { continue };
			if result.void || !builds_on(&result.unit, fallen) {
				continue;
			}
			let price = core::mem::take(&mut result.price);
			info.escrow = info.escrow.saturating_add(price);
			victims.push((result.worker.clone(), price));
			Self::deposit_event(Event::ResultVoided { assignment: id, worker: result.worker.clone() });
			match result.unit.kind {
				// It holds no reward, and what it merged is gone.
				UnitKind::Merge => Self::end(id, &result),
				// Whether it is right, on what it was computed from, decides over its block reward.
				UnitKind::Steps(unit) => {
					Self::uncount(&result, unit, info);
					result.void = true;
					Standing::<T>::insert(id, result);
				}
			}
		}
	}

	/// Forgets the rounds after one.
	fn forget_after(task: TaskId, spec: &TaskSpec, info: &mut TaskInfo, round: u32) {
		// As many rounds as fit the window of the result that fell, as it was still standing.
		for later in round.saturating_add(1)..=info.round {
			RoundParameters::<T>::remove(task, later);
			for unit in 0..spec.job.units() {
				Results::<T>::remove(task, (later, unit));
			}
		}
		info.round = round;
		if let Some(parameters) = RoundParameters::<T>::get(task, round) {
			info.parameters = parameters;
		}
	}
}

impl<T: Config> ResultLedger for Pallet<T> {
	fn standing(id: AssignmentId) -> Option<StandingResult> {
		Standing::<T>::get(id)
	}

	fn spec(task: TaskId) -> Option<TaskSpec> {
		Specs::<T>::get(task)
	}

	fn sets(task: TaskId, round: u32) -> Vec<Vec<Commitment>> {
		let units = Specs::<T>::get(task).map_or(0, |spec| spec.job.units());
		let results = (0..units).filter_map(|unit| Results::<T>::get(task, (round, unit)));
		results.map(|result| result.parameters.into_inner()).collect()
	}

	fn extend(id: AssignmentId, due: BlockNumber, most: BlockNumber) {
		Standing::<T>::mutate_extant(id, |result| {
			let last = Self::window_end(result.accepted, result.took).saturating_add(most);
			result.due = result.due.max(due.min(last));
		});
	}

	fn fall(id: AssignmentId) -> Option<Fallen> {
		let result = Standing::<T>::get(id)?;
		let task = result.unit.task;
		Self::end(id, &result);
		T::Rewards::burn(id);
		let mut victims = Victims::new();
		if let (Some(spec), Some(mut info)) = (Specs::<T>::get(task), Tasks::<T>::get(task)) {
			info.escrow = info.escrow.saturating_add(result.price);
			if !result.void {
				Self::roll_back(&spec, &mut info, &result, &mut victims);
			}
			Self::settle(task, &mut info);
			Tasks::<T>::insert(task, info);
		}
		victims.retain(|(who, loss)| *loss > 0 && *who != result.worker);
		Some(Fallen { worker: result.worker, stake: result.stake, victims })
	}
}
