//! What must hold between blocks.

use frame_support::traits::fungible::InspectHold;
use sp_runtime::DispatchError;

use super::*;

impl<T: Config> Pallet<T> {
	/// Checks every invariant of the pallet's storage.
	pub fn do_try_state() -> Result<(), DispatchError> {
		ensure!(!Proved::<T>::exists() && !Author::<T>::exists(), "what is of one block only ends with it");
		let mut held = alloc::collections::BTreeMap::<AccountId, Balance>::new();
		for reward in HeldRewards::<T>::iter_values() {
			ensure!(!reward.seals.is_empty(), "a reward is held for a block");
			let sum = held.entry(reward.worker).or_default();
			*sum = sum.saturating_add(reward.amount);
		}
		for (worker, sum) in held {
			let reason = HoldReason::Reward.into();
			ensure!(T::Currency::balance_on_hold(&reason, &worker) == sum, "a worker's hold is its rewards");
		}
		let (total, recent) = (WorkTotals::<T>::get(), Self::recent());
		ensure!(recent.spent <= total.spent, "what was spent recently was spent");
		ensure!(recent.useful_blocks <= total.useful_blocks, "recent blocks are blocks");
		let schedule = DifficultySchedule::<T>::get().ok_or("the chain has a difficulty schedule")?;
		ensure!(NextDifficulty::<T>::get().0 >= schedule.floor.0.min(1), "the difficulty is above nothing");
		Ok(())
	}
}
