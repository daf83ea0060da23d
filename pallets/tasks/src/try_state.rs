//! What must hold between blocks.

use frame_support::traits::fungible::InspectHold;
use sp_runtime::DispatchError;

use super::*;

impl<T: Config> Pallet<T> {
	/// Checks every invariant of the pallet's storage.
	pub fn do_try_state() -> Result<(), DispatchError> {
		let open = OpenTasks::<T>::get();
		for (task, info) in Tasks::<T>::iter() {
			let ended = matches!(info.phase, Phase::Completed | Phase::Cancelled);
			let is_open = open.iter().any(|(_, other)| *other == task);
			let paused = info.phase == Phase::Unfunded;
			ensure!(is_open != paused || ended, "a task that goes on is among the open ones, a paused one is not");
			let stands = StandingOf::<T>::decode_len(task).unwrap_or(0) > 0;
			ensure!(is_open || paused || stands || info.escrow == 0, "a settled task has no escrow");
			let spec = Specs::<T>::get(task).ok_or("every task has its terms")?;
			ensure!(info.round <= spec.job.rounds(), "a task has no more rounds than registered");
			for state in &info.units {
				let UnitState::Assigned(id) = state else { continue };
				let assignment = T::Assignments::get(*id).ok_or("an assigned unit has its assignment")?;
				ensure!(assignment.unit.task == task, "an assignment is of its unit's task");
			}
		}
		ensure!(open.windows(2).all(|pair| pair[0].0 >= pair[1].0), "open tasks are in order of their prices");

		let looked_at: alloc::collections::BTreeSet<_> = MaturingAt::<T>::iter_values().flatten().collect();
		for (id, result) in Standing::<T>::iter() {
			ensure!(StandingOf::<T>::get(result.unit.task).contains(&id), "a standing result is its task's");
			ensure!(!result.void || result.price == 0, "nothing is owed for a void result");
		}
		for (_, ids) in StandingOf::<T>::iter() {
			ensure!(ids.iter().all(Standing::<T>::contains_key), "a task's standing results stand");
			ensure!(ids.first().is_none_or(|oldest| looked_at.contains(oldest)), "the oldest will be looked at");
		}

		let mut owed = alloc::collections::BTreeMap::<AccountId, Balance>::new();
		for (_, info) in Tasks::<T>::iter() {
			let sum = owed.entry(info.sponsor).or_default();
			*sum = sum.saturating_add(info.escrow);
		}
		for (_, result) in Standing::<T>::iter() {
			let info = Tasks::<T>::get(result.unit.task).ok_or("a standing result has its task")?;
			let sum = owed.entry(info.sponsor).or_default();
			*sum = sum.saturating_add(result.price);
		}
		for (sponsor, owed) in owed {
			let held = T::Currency::balance_on_hold(&HoldReason::Escrow.into(), &sponsor);
			ensure!(held == owed, "a sponsor's hold is the escrow of its tasks and what they owe");
		}
		Ok(())
	}
}
