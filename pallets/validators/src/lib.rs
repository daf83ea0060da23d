//! The validators: who votes on what is final.
//!
//! A candidate bonds an amount, or more, and registers session keys (`pallet-session`). When a session begins, the candidates with
//! the highest scores are elected for the session after it. The score is the bond, raised by the part that the candidate had in
//! the chain's accepted useful work lately, at most to twice the bond. Each elected validator has one vote. An equivocation costs
//! the part of the bond that `pallet-offences` says, and ends the candidacy. A candidate that leaves has its bond back when all
//! that it signed can no longer be reported.
//!
//! What it is not: it knows nothing of votes (`pallet-grandpa`) or of who makes blocks (any miner does), and pays nobody.

#![cfg_attr(not(feature = "std"), no_std)]
// Not `expect_used`: the pallet macros' own code has some.
#![deny(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

extern crate alloc;

pub use pallet::*;

mod election;
mod offences;
mod sessions;
#[cfg(any(feature = "std", feature = "try-runtime"))]
mod try_state;
pub mod weights;

use alloc::vec::Vec;
use frame_support::{
	pallet_prelude::*,
	traits::{
		fungible::{Inspect, MutateHold},
		tokens::{Fortitude, Precision},
	},
};
use labora_primitives::{AccountId, Balance, BlockNumber, Candidate, CandidateInfo, RecentWork, WorkCredit};
use sp_staking::SessionIndex;

pub use sessions::BondOf;
pub use weights::WeightInfo;

/// An elected validator, and its bond at the election: what an offence of it is a fraction of.
pub type Elected = (AccountId, Balance);

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use frame_system::pallet_prelude::*;

	#[pallet::config]
	pub trait Config:
		frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>>
		+ pallet_session::Config<ValidatorId = AccountId>
		+ pallet_session::historical::Config<FullIdentification = Balance>
	{
		/// The chain's money.
		type Currency: Inspect<AccountId, Balance = Balance>
			+ MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;
		/// The reason for holding a bond.
		type RuntimeHoldReason: From<HoldReason>;
		/// Least bond of a candidate.
		#[pallet::constant]
		type MinBond: Get<Balance>;
		/// Most candidates at a time that are not leaving.
		#[pallet::constant]
		type MaxCandidates: Get<u32>;
		/// Most validators of a session.
		#[pallet::constant]
		type MaxValidators: Get<u32>;
		/// Sessions in which an offence can be reported, and a bond is kept after its last one.
		#[pallet::constant]
		type BondingSessions: Get<SessionIndex>;
		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// Why this pallet holds money.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// A validator candidate's bond.
		Bond,
	}

	/// Of the storage's layout: raised with every migration.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// Who has a bond here, leaving or not.
	#[pallet::storage]
	pub type Candidates<T> = StorageMap<_, Blake2_128Concat, AccountId, Candidate>;

	/// The candidates that can be elected, in order of their declarations.
	#[pallet::storage]
	pub type Roster<T: Config> = StorageValue<_, BoundedVec<AccountId, T::MaxCandidates>, ValueQuery>;

	/// Useful work of all workers, candidates or not, that was accepted lately.
	#[pallet::storage]
	pub type TotalWork<T> = StorageValue<_, RecentWork, ValueQuery>;

	/// The validators of this session.
	#[pallet::storage]
	pub type Current<T: Config> = StorageValue<_, BoundedVec<Elected, T::MaxValidators>, ValueQuery>;

	/// The validators of the next session.
	#[pallet::storage]
	pub type Next<T: Config> = StorageValue<_, BoundedVec<Elected, T::MaxValidators>, ValueQuery>;

	/// What was charged for the offences of a session so far, by offender. Kept as long as they can be reported.
	#[pallet::storage]
	pub type Slashes<T> =
		StorageDoubleMap<_, Twox64Concat, SessionIndex, Blake2_128Concat, AccountId, Balance, ValueQuery>;

	/// Blocks of a session. 0: sessions never end.
	#[pallet::storage]
	pub type SessionLength<T> = StorageValue<_, BlockNumber, ValueQuery>;

	/// The first candidates, and the length of sessions.
	#[pallet::genesis_config]
	#[derive(frame_support::DefaultNoBound)]
	pub struct GenesisConfig<T: Config> {
		/// Candidates and their bonds, which come out of their balances.
		pub candidates: Vec<Elected>,
		/// Blocks of a session. 0: sessions never end, and the validators of the genesis stay.
		pub session_length: BlockNumber,
		#[serde(skip)]
		#[doc(hidden)]
		pub _marker: core::marker::PhantomData<T>,
	}

	#[pallet::genesis_build]
	impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
		fn build(&self) {
			SessionLength::<T>::put(self.session_length);
			for (who, bond) in &self.candidates {
				Pallet::<T>::bond(who.clone(), *bond)
					.expect("a genesis names each candidate once and gives it its bond");
			}
		}
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// A candidate bonded.
		CandidacyDeclared {
			/// Who.
			candidate: AccountId,
			/// What it bonded.
			bond: Balance,
		},
		/// A candidate raised its bond.
		BondRaised {
			/// Who.
			candidate: AccountId,
			/// By how much.
			amount: Balance,
		},
		/// A candidate is elected no more.
		CandidateLeaving {
			/// Who.
			candidate: AccountId,
			/// The first session in which it can take its bond back.
			from: SessionIndex,
		},
		/// A candidate left and has its bond back.
		CandidateLeft {
			/// Who.
			candidate: AccountId,
			/// What was left of the bond.
			bond: Balance,
		},
		/// The validators of a session are known.
		ValidatorsElected {
			/// The session.
			session: SessionIndex,
			/// How many they are.
			count: u32,
		},
		/// A validator lost part of its bond for an offence, and is elected no more.
		ValidatorSlashed {
			/// Who.
			validator: AccountId,
			/// The session of the offence.
			session: SessionIndex,
			/// How much was burned.
			burned: Balance,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// The account is a candidate already, or its bond from before is not back yet.
		AlreadyCandidate,
		/// The account has no bond here.
		NotCandidate,
		/// The bond is less than a candidate's least.
		BondTooSmall,
		/// The free balance does not cover the bond.
		InsufficientBalance,
		/// There are as many candidates as the chain keeps.
		TooManyCandidates,
		/// The candidate is leaving already.
		AlreadyLeaving,
		/// The candidate is not leaving.
		NotLeaving,
		/// What the candidate did as a validator can still be reported.
		StillBonded,
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}

		fn integrity_test() {
			assert!(T::MaxValidators::get() > 0 && T::MaxCandidates::get() >= T::MaxValidators::get());
			assert!(T::BondingSessions::get() > 0);
			let half = T::BlockWeights::get().max_block.saturating_div(2);
			assert!(
				<T as Config>::WeightInfo::session_end().all_lte(half),
				"a session's end fits beside the other hooks"
			);
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Bonds, to be elected as a validator. Without session keys a candidate is passed over.
		#[pallet::call_index(0)]
		#[pallet::weight(<T as Config>::WeightInfo::declare_candidacy())]
		pub fn declare_candidacy(origin: OriginFor<T>, bond: Balance) -> DispatchResult {
			let who = ensure_signed(origin)?;
			Self::bond(who.clone(), bond)?;
			Self::deposit_event(Event::CandidacyDeclared { candidate: who, bond });
			Ok(())
		}

		/// Raises the bond. It counts from the next election on.
		#[pallet::call_index(1)]
		#[pallet::weight(<T as Config>::WeightInfo::bond_more())]
		pub fn bond_more(origin: OriginFor<T>, amount: Balance) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let mut candidate = Candidates::<T>::get(&who).ok_or(Error::<T>::NotCandidate)?;
			ensure!(candidate.leaving.is_none(), Error::<T>::AlreadyLeaving);
			<T as Config>::Currency::hold(&HoldReason::Bond.into(), &who, amount)
				.map_err(|_| Error::<T>::InsufficientBalance)?;
			candidate.bond = candidate.bond.saturating_add(amount);
			Candidates::<T>::insert(&who, candidate);
			Self::deposit_event(Event::BondRaised { candidate: who, amount });
			Ok(())
		}

		/// Is elected no more. A validator stays one in this session and the next, and its bond is kept for as long as what it signs
		/// there can be reported.
		#[pallet::call_index(2)]
		#[pallet::weight(<T as Config>::WeightInfo::leave())]
		pub fn leave(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let candidate = Candidates::<T>::get(&who).ok_or(Error::<T>::NotCandidate)?;
			ensure!(candidate.leaving.is_none(), Error::<T>::AlreadyLeaving);
			Self::retire(&who, candidate);
			Ok(())
		}

		/// Takes back the bond of a candidate that left.
		#[pallet::call_index(3)]
		#[pallet::weight(<T as Config>::WeightInfo::withdraw())]
		pub fn withdraw(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let candidate = Candidates::<T>::get(&who).ok_or(Error::<T>::NotCandidate)?;
			let from = candidate.leaving.ok_or(Error::<T>::NotLeaving)?;
			ensure!(pallet_session::Pallet::<T>::current_index() >= from, Error::<T>::StillBonded);
			// Who left when nobody else could be elected is a validator still.
			let elected = |set: &[Elected]| set.iter().any(|(validator, _)| *validator == who);
			ensure!(!elected(&Current::<T>::get()) && !elected(&Next::<T>::get()), Error::<T>::StillBonded);
			Candidates::<T>::remove(&who);
			<T as Config>::Currency::release(&HoldReason::Bond.into(), &who, candidate.bond, Precision::BestEffort)?;
			Self::deposit_event(Event::CandidateLeft { candidate: who, bond: candidate.bond });
			Ok(())
		}
	}
}

impl<T: Config> Pallet<T> {
	/// Everyone with a bond here, in no particular order.
	pub fn candidates() -> Vec<CandidateInfo> {
		let position = |set: &[Elected], who: &AccountId| set.iter().any(|(elected, _)| elected == who);
		let (current, next) = (Current::<T>::get(), Next::<T>::get());
		let info = |(account, candidate): (AccountId, Candidate)| CandidateInfo {
			score: Self::score(&candidate),
			has_keys: pallet_session::NextKeys::<T>::contains_key(&account),
			validates: position(&current, &account),
			elected: position(&next, &account),
			candidate,
			account,
		};
		Candidates::<T>::iter().map(info).collect()
	}

	/// Takes a bond.
	fn bond(who: AccountId, bond: Balance) -> DispatchResult {
		ensure!(bond >= T::MinBond::get(), Error::<T>::BondTooSmall);
		ensure!(!Candidates::<T>::contains_key(&who), Error::<T>::AlreadyCandidate);
		Roster::<T>::try_append(who.clone()).map_err(|()| Error::<T>::TooManyCandidates)?;
		<T as Config>::Currency::hold(&HoldReason::Bond.into(), &who, bond)
			.map_err(|_| Error::<T>::InsufficientBalance)?;
		Candidates::<T>::insert(&who, Candidate { bond, leaving: None, work: RecentWork::default() });
		Ok(())
	}

	/// Takes a candidate out of the coming elections.
	fn retire(who: &AccountId, mut candidate: Candidate) {
		// The last session that it may be elected for is the next one.
		let last = pallet_session::Pallet::<T>::current_index().saturating_add(1);
		let from = last.saturating_add(T::BondingSessions::get()).saturating_add(1);
		candidate.leaving = Some(from);
		Candidates::<T>::insert(who, candidate);
		Roster::<T>::mutate(|roster| roster.retain(|other| other != who));
		Self::deposit_event(Event::CandidateLeaving { candidate: who.clone(), from });
	}
}

impl<T: Config> WorkCredit for Pallet<T> {
	fn accepted(worker: &AccountId, macs: u128) {
		let session = pallet_session::Pallet::<T>::current_index();
		TotalWork::<T>::mutate(|work| work.add(macs, session));
		Candidates::<T>::mutate_extant(worker, |candidate| candidate.work.add(macs, session));
	}

	fn rejected(worker: &AccountId, macs: u128) {
		let session = pallet_session::Pallet::<T>::current_index();
		TotalWork::<T>::mutate(|work| work.subtract(macs, session));
		Candidates::<T>::mutate_extant(worker, |candidate| candidate.work.subtract(macs, session));
	}
}
