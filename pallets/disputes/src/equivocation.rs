//! Equivocation: one author, one parent, two sealed blocks.

use codec::DecodeAll;
use frame_support::traits::tokens::Preservation;
use frame_system::pallet_prelude::HeaderFor;
use labora_primitives::ENGINE_ID;
use sp_core::sr25519;
use sp_runtime::{
	traits::{CheckedSub, Hash, Header, One},
	DigestItem,
};

use super::*;

impl<T: Config> Pallet<T> {
	pub(crate) fn punish_equivocation(
		reporter: AccountId,
		first: HeaderFor<T>,
		second: HeaderFor<T>,
	) -> DispatchResult {
		let parent = *first.parent_hash();
		let alike = parent == *second.parent_hash() && first.number() == second.number();
		ensure!(alike && first.hash() != second.hash(), Error::<T>::NoEquivocation);
		let height: BlockNumber = (*first.number()).saturated_into();
		ensure!(height.saturating_add(T::ReportAge::get()) >= Self::height(), Error::<T>::TooOld);
		ensure!(height >= ReportsFrom::<T>::get(), Error::<T>::TooOld);
		let author = Self::author(&first)?;
		ensure!(author == Self::author(&second)?, Error::<T>::NotOneAuthor);
		// Headers on a parent that never was cost nothing to make.
		let known = (*first.number()).checked_sub(&One::one()).map(frame_system::Pallet::<T>::block_hash);
		ensure!(known == Some(parent) && height <= Self::height(), Error::<T>::UnknownParent);
		ensure!(!Reports::<T>::get(height).contains(&author), Error::<T>::AlreadyReported);
		Self::check_seal(first, &author)?;
		Self::check_seal(second, &author)?;

		let reported = Reports::<T>::decode_len(height).unwrap_or(0);
		Reports::<T>::try_append(height, author.clone()).map_err(|()| Error::<T>::TooManyReports)?;
		let amount = T::EquivocationSlash::get();
		// Whoever reports itself by a friend must not get back what is at stake for its results: that is burned.
		let share = CHALLENGER_SHARE.mul_floor(amount.min(T::Assignments::unstaked(&author)));
		let takers = match reporter == author {
			true => Vec::new(),
			false => alloc::vec![(reporter.clone(), share)],
		};
		let mut slashed = T::Assignments::slash(&author, amount, &takers);
		// Half of the places are for who loses a bond: keys without one cost nothing to make.
		ensure!(slashed > 0 || reported < MAX_REPORTS_PER_HEIGHT as usize / 2, Error::<T>::TooManyReports);
		// An author of idle blocks needs no bond; it is paid at once, and loses what it has.
		let (left, keep, best) = (amount.saturating_sub(slashed), Preservation::Expendable, Precision::BestEffort);
		let burned = T::Currency::burn_from(&author, left, keep, best, Fortitude::Force).unwrap_or(0);
		slashed = slashed.saturating_add(burned);
		ensure!(slashed > 0, Error::<T>::NothingAtStake);
		Self::deposit_event(Event::Equivocation { author, parent, reporter, slashed });
		Ok(())
	}

	fn author(header: &HeaderFor<T>) -> Result<AccountId, Error<T>> {
		let mut named = header.digest().logs().iter().filter_map(DigestItem::as_pre_runtime);
		let (_, mut bytes) = named.find(|(engine, _)| *engine == ENGINE_ID).ok_or(Error::<T>::NotOneAuthor)?;
		AccountId::decode_all(&mut bytes).map_err(|_| Error::<T>::NotOneAuthor)
	}

	/// Checks that a header's last digest is its author's signature of the header without it.
	fn check_seal(mut header: HeaderFor<T>, author: &AccountId) -> DispatchResult {
		let Some(DigestItem::Seal(ENGINE_ID, seal)) = header.digest_mut().pop() else {
			return Err(Error::<T>::BadSeal.into());
		};
		let signature = sr25519::Signature::try_from(&seal[..]).map_err(|()| Error::<T>::BadSeal)?;
		let sealed = T::Hashing::hash_of(&header);
		// A miner's account is its public key.
		let key = sr25519::Public::from_raw(*author.as_ref());
		ensure!(sp_io::crypto::sr25519_verify(&signature, sealed.as_ref(), &key), Error::<T>::BadSeal);
		Ok(())
	}
}
