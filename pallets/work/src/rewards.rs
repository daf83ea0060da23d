//! The rewards held under assignments, from the first block that each sealed to their vesting or burning.

use alloc::vec::Vec;
use frame_support::traits::tokens::{Fortitude, Precision};

use super::*;

impl<T: Config> Pallet<T> {
	/// Ends the hold of an assignment's reward, if there is one.
	fn release(id: AssignmentId, end: impl FnOnce(&HeldReward) -> DispatchResult) -> Option<HeldReward> {
		let held = HeldRewards::<T>::take(id)?;
		if let Err(error) = end(&held) {
			// The hold is this pallet's own, so this cannot happen while its bookkeeping is right.
			log::error!(target: "runtime::work", "held reward of assignment {id}: {error:?}");
			debug_assert!(false, "held reward of assignment {id}: {error:?}");
		}
		Some(held)
	}
}

impl<T: Config> RewardLedger for Pallet<T> {
	fn seals(id: AssignmentId) -> Vec<Seal> {
		HeldRewards::<T>::get(id).map(|held| held.seals.into_inner()).unwrap_or_default()
	}

	fn accepted(worker: &AccountId, macs: u128) {
		T::Credit::accepted(worker, macs);
		let now = frame_system::Pallet::<T>::block_number().saturated_into();
		Self::tally(now, |totals| totals.accepted = totals.accepted.saturating_add(macs));
	}

	fn rejected(worker: &AccountId, macs: u128, accepted: BlockNumber) {
		T::Credit::rejected(worker, macs);
		Self::tally(accepted, |totals| totals.accepted = totals.accepted.saturating_sub(macs));
	}

	fn vest(id: AssignmentId) {
		let release = |held: &HeldReward| {
			let reason = HoldReason::Reward.into();
			T::Currency::release(&reason, &held.worker, held.amount, Precision::Exact).map(|_| ())
		};
		if let Some(HeldReward { worker, amount, .. }) = Self::release(id, release) {
			Self::deposit_event(Event::RewardVested { assignment: id, worker, amount });
		}
	}

	fn burn(id: AssignmentId) -> Balance {
		let burn = |held: &HeldReward| {
			let (reason, worker) = (HoldReason::Reward.into(), &held.worker);
			T::Currency::burn_held(&reason, worker, held.amount, Precision::Exact, Fortitude::Force).map(|_| ())
		};
		let Some(HeldReward { worker, amount, .. }) = Self::release(id, burn) else { return 0 };
		Self::deposit_event(Event::RewardBurned { assignment: id, worker, amount });
		amount
	}
}
