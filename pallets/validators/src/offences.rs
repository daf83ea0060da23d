//! What an offence costs.

use sp_runtime::Perbill;
use sp_staking::offence::{OffenceDetails, OffenceSeverity, OnOffenceHandler};

use super::*;

impl<T: Config> OnOffenceHandler<AccountId, Elected, Weight> for Pallet<T> {
	fn on_offence(
		offenders: &[OffenceDetails<AccountId, Elected>],
		fractions: &[Perbill],
		session: SessionIndex,
	) -> Weight {
		for (details, fraction) in offenders.iter().zip(fractions) {
			let (who, bond) = &details.offender;
			Self::slash(who, fraction.mul_ceil(*bond), session);
			pallet_session::Pallet::<T>::report_offence(who.clone(), OffenceSeverity(*fraction));
		}
		<T as Config>::WeightInfo::on_offence(offenders.len() as u32)
	}
}

impl<T: Config> Pallet<T> {
	/// Burns of an offender's bond what its offences of a session cost, and ends its candidacy.
	///
	/// The costs of one session do not add up: the highest counts. Every report brings all offenders of the same round again, at the
	/// fraction of all of them together.
	fn slash(who: &AccountId, cost: Balance, session: SessionIndex) {
		let Some(mut candidate) = Candidates::<T>::get(who) else { return };
		let due = cost.saturating_sub(Slashes::<T>::get(session, who)).min(candidate.bond);
		if due > 0 {
			Slashes::<T>::insert(session, who, cost);
			let reason = HoldReason::Bond.into();
			let burned = <T as Config>::Currency::burn_held(&reason, who, due, Precision::BestEffort, Fortitude::Force)
				.unwrap_or(0);
			candidate.bond = candidate.bond.saturating_sub(burned);
			Self::deposit_event(Event::ValidatorSlashed { validator: who.clone(), session, burned });
		}
		match candidate.leaving {
			Some(_) => Candidates::<T>::insert(who, candidate),
			None => Self::retire(who, candidate),
		}
	}
}
