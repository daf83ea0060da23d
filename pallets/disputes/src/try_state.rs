//! What must hold between blocks.

use alloc::collections::{BTreeMap, BTreeSet};
use frame_support::traits::fungible::InspectHold;
use sp_runtime::DispatchError;

use super::*;

impl<T: Config> Pallet<T> {
	/// Checks every invariant of the pallet's storage.
	pub fn do_try_state() -> Result<(), DispatchError> {
		let checked: BTreeSet<_> = Due::<T>::iter_values().chain(Falling::<T>::iter_values()).collect();
		let (time, _) = DueFrom::<T>::get();
		ensure!(DueCount::<T>::iter_keys().all(|noted| noted >= time), "what was looked at is forgotten");
		let (first, free) = FallingPlaces::<T>::get();
		let places: BTreeSet<_> = Falling::<T>::iter_keys().collect();
		ensure!(places == (first..free).collect(), "what is to fall has its place");
		let mut bonds = BTreeMap::<AccountId, Balance>::new();
		for (id, demands) in Demands::<T>::iter() {
			ensure!(!demands.is_empty(), "a result of which nothing is demanded is not kept");
			ensure!(T::Results::standing(id).is_some(), "what is to be shown stands");
			ensure!(checked.contains(&id), "a demand's end will be checked");
			let claims: BTreeSet<_> = demands.iter().map(|demand| demand.claim).collect();
			ensure!(claims.len() == demands.len(), "nothing is demanded twice");
			for (challenger, bond) in demands.into_iter().filter_map(|demand| demand.by) {
				let sum = bonds.entry(challenger).or_default();
				*sum = sum.saturating_add(bond);
			}
		}
		ensure!(FullBlocks::<T>::get() <= Self::height(), "a block is counted once");
		for (challenger, sum) in bonds {
			let reason = HoldReason::Challenge.into();
			ensure!(T::Currency::balance_on_hold(&reason, &challenger) == sum, "a challenger's hold is its bonds");
		}
		Ok(())
	}
}
