//! Who is elected: by a pure rule.

use alloc::vec::Vec;
use core::cmp::Reverse;
use sp_runtime::Perbill;

use super::*;

/// The score of a bond whose owner did `own` of `total` recent useful work: the bond, raised by that share of itself. Never below
/// the bond, never above twice the bond.
fn score(bond: Balance, own: u128, total: u128) -> Balance {
	// A fall may take more off the total than off one account, whose work of before has been halved less.
	let share = if total == 0 { Perbill::zero() } else { Perbill::from_rational(own.min(total), total) };
	bond.saturating_add(share.mul_floor(bond))
}

/// At most `seats` of the candidates, highest score first. Of equal scores the earlier candidate's goes first.
fn choose(candidates: Vec<(Elected, Balance)>, seats: usize) -> Vec<Elected> {
	let mut ranked = candidates;
	ranked.sort_by_key(|(_, score)| Reverse(*score));
	ranked.into_iter().take(seats).map(|(elected, _)| elected).collect()
}

impl<T: Config> Pallet<T> {
	/// The score of a candidate now.
	pub(crate) fn score(candidate: &Candidate) -> Balance {
		let session = pallet_session::Pallet::<T>::current_index();
		score(candidate.bond, candidate.work.at(session), TotalWork::<T>::get().at(session))
	}

	/// Elects the validators of a session. None if nobody can be elected: those there are stay.
	pub(crate) fn elect(session: SessionIndex) -> Option<Vec<Elected>> {
		let eligible = |who: AccountId| {
			let candidate = Candidates::<T>::get(&who)?;
			let fit = candidate.bond >= T::MinBond::get() && pallet_session::NextKeys::<T>::contains_key(&who);
			fit.then(|| (Self::score(&candidate), (who, candidate.bond)))
		};
		let candidates = Roster::<T>::get().into_iter().filter_map(eligible);
		let candidates: Vec<_> = candidates.map(|(score, elected)| (elected, score)).collect();
		let elected = choose(candidates, T::MaxValidators::get() as usize);
		if elected.is_empty() {
			return None;
		}
		let count = elected.len() as u32;
		Next::<T>::put(BoundedVec::truncate_from(elected.clone()));
		Self::deposit_event(Event::ValidatorsElected { session, count });
		Some(elected)
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	const LAB: Balance = 1_000_000_000_000;

	fn account(index: u8) -> AccountId {
		AccountId::new([index; 32])
	}

	#[test]
	fn the_score_is_between_the_bond_and_its_double() {
		assert_eq!(score(1_000 * LAB, 0, 0), 1_000 * LAB, "nobody worked");
		assert_eq!(score(1_000 * LAB, 0, 77), 1_000 * LAB, "others worked");
		assert_eq!(score(1_000 * LAB, 25, 100), 1_250 * LAB);
		assert_eq!(score(1_000 * LAB, 100, 100), 2_000 * LAB);
		assert_eq!(score(1_000 * LAB, 101, 100), 2_000 * LAB, "never more");
		assert_eq!(score(u128::MAX, u128::MAX, u128::MAX), u128::MAX, "saturates");
		assert_eq!(score(0, u128::MAX, 1), 0);
	}

	#[test]
	fn the_highest_scores_have_the_seats_and_the_earlier_of_equals() {
		let candidates = |scores: &[Balance]| -> Vec<(Elected, Balance)> {
			scores.iter().enumerate().map(|(index, score)| ((account(index as u8), 1), *score)).collect()
		};
		let chosen = |scores: &[Balance], seats| -> Vec<AccountId> {
			choose(candidates(scores), seats).into_iter().map(|(who, _)| who).collect()
		};
		assert_eq!(chosen(&[1, 3, 2], 2), [account(1), account(2)]);
		assert_eq!(chosen(&[5, 5, 5], 2), [account(0), account(1)]);
		assert_eq!(chosen(&[5, 6, 5], 2), [account(1), account(0)]);
		assert_eq!(chosen(&[1], 32), [account(0)]);
		assert!(chosen(&[], 32).is_empty());
	}
}
