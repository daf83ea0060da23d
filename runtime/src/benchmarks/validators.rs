//! `pallet-validators`.

#![allow(clippy::useless_conversion)]

use alloc::vec::Vec;
use frame_benchmarking::v2::*;
use labora_primitives::{Candidate, RecentWork};
use pallet_validators::{Candidates, Current, Next, Roster, Slashes, TotalWork};
use sp_core::bounded::BoundedVec;
use sp_runtime::Perbill;
use sp_staking::offence::{OffenceDetails, OnOffenceHandler};

use super::setup::*;
use crate::{
	constants::{LAB, MAX_CANDIDATES, MAX_VALIDATORS, MIN_VALIDATOR_BOND},
	AccountId, Runtime, RuntimeOrigin, Session, SessionKeys, System, Validators,
};

/// The pallet.
pub struct Pallet<T>(core::marker::PhantomData<T>);
/// Only this runtime.
pub trait Config: frame_system::Config<AccountId = AccountId> {}
impl Config for Runtime {}

/// A candidate that can be elected.
fn candidate(index: u32) -> AccountId {
	let who = rich("candidate", index);
	hold(pallet_validators::HoldReason::Bond, &who, MIN_VALIDATOR_BOND);
	let work = RecentWork { macs: u128::from(index), session: 0 };
	Candidates::<Runtime>::insert(&who, Candidate { bond: MIN_VALIDATOR_BOND, leaving: None, work });
	let mut key = [7; 32];
	key[..4].copy_from_slice(&index.to_le_bytes());
	let grandpa = sp_core::ed25519::Public::from_raw(key).into();
	pallet_session::NextKeys::<Runtime>::insert(&who, SessionKeys { grandpa });
	who
}

/// As many candidates as there may be, but for `room`.
fn fill_roster(room: u32) -> Vec<AccountId> {
	let all: Vec<_> = (0..MAX_CANDIDATES - room).map(candidate).collect();
	Roster::<Runtime>::put(BoundedVec::truncate_from(all.clone()));
	TotalWork::<Runtime>::put(RecentWork { macs: u128::from(MAX_CANDIDATES), session: 0 });
	all
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn declare_candidacy() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		fill_roster(1);
		let who = rich("newcomer", 0);
		#[block]
		{
			Validators::declare_candidacy(RuntimeOrigin::signed(who.clone()), MIN_VALIDATOR_BOND)?;
		}
		assert!(Candidates::<Runtime>::contains_key(&who));
		Ok(())
	}

	#[benchmark]
	fn bond_more() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let who = candidate(0);
		#[block]
		{
			Validators::bond_more(RuntimeOrigin::signed(who.clone()), LAB)?;
		}
		Ok(())
	}

	#[benchmark]
	fn leave() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let all = fill_roster(0);
		let who = &all[all.len() - 1];
		#[block]
		{
			Validators::leave(RuntimeOrigin::signed(who.clone()))?;
		}
		assert_eq!(Roster::<Runtime>::get().len(), all.len() - 1);
		Ok(())
	}

	#[benchmark]
	fn withdraw() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let others: Vec<_> = (1..=MAX_VALIDATORS).map(|index| (person("other", index), LAB)).collect();
		Current::<Runtime>::put(BoundedVec::truncate_from(others.clone()));
		Next::<Runtime>::put(BoundedVec::truncate_from(others));
		let who = candidate(0);
		Candidates::<Runtime>::mutate_extant(&who, |candidate| candidate.leaving = Some(0));
		#[block]
		{
			Validators::withdraw(RuntimeOrigin::signed(who.clone()))?;
		}
		assert!(!Candidates::<Runtime>::contains_key(&who));
		Ok(())
	}

	/// `o` validators of one session, with all candidates that there may be.
	#[benchmark]
	fn on_offence(o: Linear<1, MAX_VALIDATORS>) -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let all = fill_roster(0);
		let offenders: Vec<_> = all[all.len() - o as usize..].to_vec();
		pallet_session::Validators::<Runtime>::put(&all[all.len() - MAX_VALIDATORS as usize..]);
		let details: Vec<_> = offenders
			.iter()
			.map(|who| OffenceDetails { offender: (who.clone(), MIN_VALIDATOR_BOND), reporters: Vec::new() })
			.collect();
		let fractions: Vec<_> = offenders.iter().map(|_| Perbill::from_percent(50)).collect();
		#[block]
		{
			Validators::on_offence(&details, &fractions, 0);
		}
		assert!(Slashes::<Runtime>::contains_key(0, &offenders[0]));
		Ok(())
	}

	/// A session ends, and all candidates that there may be want a seat.
	#[benchmark]
	fn session_end() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		fill_roster(0);
		#[block]
		{
			Session::rotate_session();
		}
		assert_eq!(Next::<Runtime>::get().len(), MAX_VALIDATORS as usize);
		Ok(())
	}
}
