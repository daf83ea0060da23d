//! Validator candidates.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

use crate::{AccountId, Balance};

/// Number of a session: so many blocks with the same validators.
pub type SessionIndex = u32;

/// Multiply-accumulates that were accepted lately: those of each session count half as much in the next.
#[derive(
	Clone, Copy, Default, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct RecentWork {
	/// How many, as of `session`.
	pub macs: u128,
	/// When they were last counted.
	pub session: SessionIndex,
}

impl RecentWork {
	/// What is left of them in a session.
	pub fn at(&self, session: SessionIndex) -> u128 {
		self.macs.checked_shr(session.saturating_sub(self.session)).unwrap_or(0)
	}

	/// Counts more.
	pub fn add(&mut self, macs: u128, session: SessionIndex) {
		*self = Self { macs: self.at(session).saturating_add(macs), session };
	}

	/// Takes off what was counted, in full: whoever gave a wrong result has no more of it than of none.
	pub fn subtract(&mut self, macs: u128, session: SessionIndex) {
		*self = Self { macs: self.at(session).saturating_sub(macs), session };
	}
}

/// Who has a bond as a validator, or to become one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Candidate {
	/// What is left of its bond.
	pub bond: Balance,
	/// The first session in which it can take its bond back, if it is leaving.
	pub leaving: Option<SessionIndex>,
	/// Useful work of its account.
	pub work: RecentWork,
}

/// A candidate as clients see it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct CandidateInfo {
	/// Who.
	pub account: AccountId,
	/// Its entry.
	pub candidate: Candidate,
	/// What it would be elected by now: its bond, raised by its share of recent useful work, at most to the double.
	pub score: Balance,
	/// Whether it has session keys. Without, it cannot be elected.
	pub has_keys: bool,
	/// Whether it is a validator of this session.
	pub validates: bool,
	/// Whether it is one of the next.
	pub elected: bool,
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn work_halves_with_every_session() {
		let mut work = RecentWork::default();
		work.add(100, 5);
		assert_eq!([5, 6, 7, 8, 11, 12, 133, u32::MAX].map(|session| work.at(session)), [100, 50, 25, 12, 1, 0, 0, 0]);
		work.add(100, 6);
		assert_eq!((work.at(6), work.at(7)), (150, 75));
		work.subtract(100, 7);
		assert_eq!(work.at(7), 0, "in full, and never below nothing");
		work.add(u128::MAX, 8);
		work.add(1, 8);
		assert_eq!(work.at(8), u128::MAX);
	}
}
