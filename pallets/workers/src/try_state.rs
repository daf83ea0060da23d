//! What must hold between blocks.

use alloc::collections::BTreeSet;
use frame_support::traits::fungible::InspectHold;
use sp_runtime::DispatchError;

use super::*;

impl<T: Config> Pallet<T> {
	/// Checks every invariant of the pallet's storage.
	pub fn do_try_state() -> Result<(), DispatchError> {
		let roster = Roster::<T>::get();
		for (who, worker) in Workers::<T>::iter() {
			ensure!(roster.contains(&who) == worker.leaving.is_none(), "the roster has who takes units");
			let running = AssignmentsOf::<T>::get(&who);
			ensure!(usize::from(worker.busy) == running.len(), "a worker is as busy as it has assignments");
			ensure!(worker.busy <= worker.slots, "a worker has no more units than slots");
			let held = T::Currency::balance_on_hold(&HoldReason::Bond.into(), &who);
			ensure!(held == worker.bond, "a worker's hold is its bond");
			let assignments = running.iter().filter_map(Assignments::<T>::get);
			let staked = assignments.fold(0, |sum: Balance, assignment| sum.saturating_add(assignment.stake));
			ensure!(worker.staked >= staked, "running units have their stakes");
		}
		ensure!(roster.iter().all(Workers::<T>::contains_key), "the roster has workers only");
		let checked: BTreeSet<_> = Deadlines::<T>::iter_values().flatten().collect();
		for (id, assignment) in Assignments::<T>::iter() {
			ensure!(assignment.id == id && id < NextAssignment::<T>::get(), "an assignment has its number");
			ensure!(AssignmentsOf::<T>::get(&assignment.worker).contains(&id), "an assignment is its worker's");
			ensure!(checked.contains(&id), "an assignment's deadline will be checked");
		}
		Ok(())
	}
}
