//! `pallet-workers`.

#![allow(clippy::useless_conversion)]

use alloc::vec::Vec;
use frame_benchmarking::v2::*;
use frame_support::traits::{Get, OnFinalize};
use labora_primitives::{AssignmentId, Phase, UnitKind, UnitState};
use pallet_workers::{AssignmentsOf, Deadlines, Roster, Workers as Table, MAX_ASSIGNED_PER_BLOCK};
use sp_core::bounded::BoundedVec;

use super::setup::*;
use crate::{constants::LAB, AccountId, Runtime, RuntimeOrigin, System, Workers};

/// The pallet.
pub struct Pallet<T>(core::marker::PhantomData<T>);
/// Only this runtime.
pub trait Config: frame_system::Config<AccountId = AccountId> {}
impl Config for Runtime {}

/// Fills the roster with workers, but for the last one's place.
fn fill_roster(last: Option<&AccountId>, bonded: bool) {
	let most = <Runtime as pallet_workers::Config>::MaxWorkers::get();
	let others = (1..most).map(|index| if bonded { worker("roster", index) } else { person("roster", index) });
	let all: Vec<_> = others.chain(last.cloned()).collect();
	Roster::<Runtime>::put(BoundedVec::truncate_from(all));
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn register() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let who = rich("worker", 0);
		fill_roster(None, false);
		#[block]
		{
			Workers::register(RuntimeOrigin::signed(who.clone()), 1, 1)?;
		}
		assert!(Table::<Runtime>::contains_key(&who));
		Ok(())
	}

	#[benchmark]
	fn leave() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let who = worker("worker", 0);
		fill_roster(Some(&who), false);
		#[block]
		{
			Workers::leave(RuntimeOrigin::signed(who.clone()))?;
		}
		assert!(Table::<Runtime>::get(&who).is_some_and(|worker| worker.leaving.is_some()));
		Ok(())
	}

	#[benchmark]
	fn bond_more() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let who = worker("worker", 0);
		#[block]
		{
			Workers::bond_more(RuntimeOrigin::signed(who.clone()), LAB)?;
		}
		Ok(())
	}

	#[benchmark]
	fn withdraw() -> Result<(), BenchmarkError> {
		System::set_block_number(NOW);
		let who = worker("worker", 0);
		Table::<Runtime>::mutate_extant(&who, |worker| {
			(worker.busy, worker.staked, worker.leaving) = (0, 0, Some(0));
		});
		#[block]
		{
			Workers::withdraw(RuntimeOrigin::signed(who.clone()))?;
		}
		assert!(!Table::<Runtime>::contains_key(&who));
		Ok(())
	}

	/// All tasks open that may be, all workers free that may be; `u` assignments are overdue, and their units assigned anew.
	#[benchmark]
	fn schedule(u: Linear<0, MAX_ASSIGNED_PER_BLOCK>) -> Result<(), BenchmarkError> {
		begin(&person("author", 0));
		fill_roster(None, true);
		let tasks = <Runtime as pallet_tasks::Config>::MaxOpenTasks::get();
		let spec = training(8, 1, PARAMETERS);
		let mut open = Vec::new();
		for index in 0..tasks {
			let overdue = index >= tasks - u;
			let id = AssignmentId(index.into());
			let state = if overdue { UnitState::Assigned(id) } else { UnitState::Accepted };
			let (task, _) = task(index, &spec, Phase::Units, alloc::vec![state]);
			if overdue {
				let who = worker("late", index);
				assign(id.0, &who, unit(task, UnitKind::Steps(0)));
				reward(id.0, &who, labora_primitives::limits::MAX_SEALS, labora_graph::OpIndex(0));
				assert!(Deadlines::<Runtime>::try_append(CLOCK, id).is_ok());
			}
			open.push((1_000, task));
		}
		pallet_tasks::OpenTasks::<Runtime>::put(BoundedVec::truncate_from(open));
		#[block]
		{
			<Workers as OnFinalize<_>>::on_finalize(NOW);
		}
		assert_eq!(pallet_workers::NextAssignment::<Runtime>::get().0, u64::from(u));
		assert!(u == 0 || AssignmentsOf::<Runtime>::get(person("late", tasks - 1)).len() == 255);
		Ok(())
	}
}
