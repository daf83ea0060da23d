//! Sessions, as `pallet-session` asks for them: when one ends, and who validates in the next.

use frame_system::pallet_prelude::BlockNumberFor;
use pallet_session::{historical, SessionManager, ShouldEndSession};
use sp_runtime::{
	traits::{Convert, SaturatedConversion},
	Permill,
};

use super::*;

/// What a validator of this session had bonded when it was elected.
pub struct BondOf<T>(core::marker::PhantomData<T>);

impl<T: Config> Convert<AccountId, Option<Balance>> for BondOf<T> {
	fn convert(validator: AccountId) -> Option<Balance> {
		Current::<T>::get().into_iter().find(|(who, _)| *who == validator).map(|(_, bond)| bond)
	}
}

impl<T: Config> Pallet<T> {
	/// Blocks of the session before a block.
	fn elapsed(now: BlockNumberFor<T>) -> Option<(BlockNumber, BlockNumber)> {
		let (now, length): (BlockNumber, _) = (now.saturated_into(), SessionLength::<T>::get());
		now.checked_rem(length).map(|elapsed| (elapsed, length))
	}
}

impl<T: Config> ShouldEndSession<BlockNumberFor<T>> for Pallet<T> {
	fn should_end_session(now: BlockNumberFor<T>) -> bool {
		Self::elapsed(now).is_some_and(|(elapsed, _)| elapsed == 0)
	}
}

impl<T: Config> frame_support::traits::EstimateNextSessionRotation<BlockNumberFor<T>> for Pallet<T> {
	fn average_session_length() -> BlockNumberFor<T> {
		SessionLength::<T>::get().into()
	}

	fn estimate_current_session_progress(now: BlockNumberFor<T>) -> (Option<Permill>, Weight) {
		let progress =
			Self::elapsed(now).map(|(elapsed, length)| Permill::from_rational(elapsed.saturating_add(1), length));
		(progress, T::DbWeight::get().reads(1))
	}

	fn estimate_next_session_rotation(now: BlockNumberFor<T>) -> (Option<BlockNumberFor<T>>, Weight) {
		let next = Self::elapsed(now).map(|(elapsed, length)| {
			let number: BlockNumber = now.saturated_into();
			number.saturating_add(length.saturating_sub(elapsed)).into()
		});
		(next, T::DbWeight::get().reads(1))
	}
}

impl<T: Config> SessionManager<AccountId> for Pallet<T> {
	fn new_session(session: SessionIndex) -> Option<Vec<AccountId>> {
		Self::elect(session).map(|elected| elected.into_iter().map(|(who, _)| who).collect())
	}

	fn end_session(_: SessionIndex) {}

	fn start_session(session: SessionIndex) {
		Current::<T>::put(Next::<T>::get());
		// What is older can no longer be reported. A session has at most as many offenders as validators.
		let oldest = session.saturating_sub(T::BondingSessions::get());
		historical::Pallet::<T>::prune_up_to(oldest);
		if let Some(gone) = oldest.checked_sub(1) {
			let _ = Slashes::<T>::clear_prefix(gone, T::MaxValidators::get(), None);
		}
	}
}

impl<T: Config> historical::SessionManager<AccountId, Balance> for Pallet<T> {
	fn new_session(session: SessionIndex) -> Option<Vec<Elected>> {
		Self::elect(session)
	}

	fn end_session(session: SessionIndex) {
		<Self as SessionManager<_>>::end_session(session);
	}

	fn start_session(session: SessionIndex) {
		<Self as SessionManager<_>>::start_session(session);
	}
}
