//! What must hold between blocks.

use alloc::collections::BTreeSet;
use frame_support::traits::fungible::InspectHold;
use sp_runtime::DispatchError;

use super::*;

impl<T: Config> Pallet<T> {
	/// Checks every invariant of the pallet's storage.
	pub fn do_try_state() -> Result<(), DispatchError> {
		let roster = Roster::<T>::get();
		let distinct: BTreeSet<_> = roster.iter().collect();
		ensure!(distinct.len() == roster.len(), "the roster has everyone once");
		ensure!(roster.iter().all(Candidates::<T>::contains_key), "the roster has candidates only");
		for (who, candidate) in Candidates::<T>::iter() {
			ensure!(distinct.contains(&who) == candidate.leaving.is_none(), "the roster has who can be elected");
			let held = <T as Config>::Currency::balance_on_hold(&HoldReason::Bond.into(), &who);
			ensure!(held == candidate.bond, "a candidate's hold is its bond");
			// Not of its work: a fall takes the whole off an account, also what had been halved in the total.
		}
		let validators = pallet_session::Validators::<T>::get();
		for set in [Current::<T>::get(), Next::<T>::get()] {
			ensure!(set.iter().all(|(who, _)| Candidates::<T>::contains_key(who)), "a validator has a bond");
		}
		// Not the other way: an elected one may have taken its keys back.
		let current = Current::<T>::get();
		let known = |who: &AccountId| current.iter().any(|(other, _)| other == who);
		ensure!(validators.iter().all(known), "the session's validators were elected");
		Ok(())
	}
}
