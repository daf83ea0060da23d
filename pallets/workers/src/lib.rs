//! Workers and their assignments.
//!
//! A worker bonds an amount per slot, or more. Every unit that it is given puts part of the bond at stake, until its result has outlived
//! its window: whoever has nothing left to stake is given nothing. At the end of every block a bounded scheduler gives open units, best price per
//! multiply-accumulate first, to free slots, drawn by a hash of (ticket, unit): nobody races for a unit, and no sponsor
//! steers its task to its own machines. A missed deadline costs part of the stake and reopens the unit; repeated, it chills the
//! worker for a while. Full blocks put deadlines off: who fills them makes nobody miss one. A worker that leaves has its bond back after a
//! while, in which what it did can still be reported.
//!
//! What it is not: it knows nothing of what a unit is (`pallet-tasks`) or of blocks' rewards (`pallet-work`).

#![cfg_attr(not(feature = "std"), no_std)]
// Not `expect_used`: the pallet macros' own code has some.
#![deny(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

extern crate alloc;

pub use pallet::*;

mod schedule;
#[cfg(any(feature = "std", feature = "try-runtime"))]
mod try_state;
pub mod weights;

use alloc::vec::Vec;
use frame_support::{
	pallet_prelude::*,
	traits::{
		fungible::{Inspect, MutateHold},
		tokens::{Fortitude, Precision, Restriction},
	},
};
use labora_primitives::{
	limits::MAX_SLOTS, AccountId, Assignment, AssignmentId, AssignmentLedger, Balance, BlockNumber, Clock, OpenUnit,
	RewardLedger, TaskBoard, TaskId, TicketSource, UnitRef, Worker,
};
use sp_runtime::{traits::SaturatedConversion, Permill};

pub use weights::WeightInfo;

/// Most units that one block assigns, and the most that one block finds overdue.
pub const MAX_ASSIGNED_PER_BLOCK: u32 = 16;
/// Tasks for whose units no worker was found, after which a block's scheduler gives up: half of them the best paid ones, half from
/// where the block before ended. So tasks that nobody can take keep no other from its turn.
pub const MAX_UNTAKEN_TASKS: u32 = 16;
/// Most workers that are asked for one unit.
pub const MAX_CANDIDATES: usize = 32;
/// How long after a deadline its check may be, when too many end at once.
const DEADLINE_SPREAD: u32 = 64;

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use frame_system::pallet_prelude::*;

	#[pallet::config]
	pub trait Config: frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>> {
		/// The chain's money.
		type Currency: Inspect<AccountId, Balance = Balance>
			+ MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;
		/// The reason for holding a bond.
		type RuntimeHoldReason: From<HoldReason>;
		/// Where open units come from.
		type Tasks: TaskBoard;
		/// What draws who gets a unit.
		type Tickets: TicketSource;
		/// The rewards held under assignments.
		type Rewards: RewardLedger;
		/// The time that deadlines are counted in.
		type Clock: Clock;
		/// Least bond of one slot.
		#[pallet::constant]
		type SlotBond: Get<Balance>;
		/// Part of a unit's stake that a missed deadline costs.
		#[pallet::constant]
		type MissedSlash: Get<Permill>;
		/// Deadlines missed in a row that chill a worker.
		#[pallet::constant]
		type MissesToChill: Get<u8>;
		/// Blocks that a chilled worker is given nothing.
		#[pallet::constant]
		type ChillBlocks: Get<BlockNumber>;
		/// Blocks between a worker's leaving and the return of its bond.
		#[pallet::constant]
		type UnbondingBlocks: Get<BlockNumber>;
		/// Most workers at a time.
		#[pallet::constant]
		type MaxWorkers: Get<u32>;
		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// Why this pallet holds money.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// A worker's bond.
		Bond,
	}

	/// Of the storage's layout: raised with every migration.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// The bonded workers.
	#[pallet::storage]
	pub type Workers<T> = StorageMap<_, Blake2_128Concat, AccountId, Worker>;

	/// The workers in order of registration: what the scheduler walks.
	#[pallet::storage]
	pub type Roster<T: Config> = StorageValue<_, BoundedVec<AccountId, T::MaxWorkers>, ValueQuery>;

	/// The running assignments.
	#[pallet::storage]
	pub type Assignments<T> = StorageMap<_, Twox64Concat, AssignmentId, Assignment>;

	/// The running assignments of each worker.
	#[pallet::storage]
	pub type AssignmentsOf<T> = StorageMap<
		_,
		Blake2_128Concat,
		AccountId,
		BoundedVec<AssignmentId, ConstU32<{ MAX_SLOTS as u32 }>>,
		ValueQuery,
	>;

	/// Where in the list of open tasks the next block's scheduler goes on, after the best paid ones.
	#[pallet::storage]
	pub type Turn<T> = StorageValue<_, u32, ValueQuery>;

	/// The number of the next assignment.
	#[pallet::storage]
	pub type NextAssignment<T> = StorageValue<_, AssignmentId, ValueQuery>;

	/// Assignments to be found overdue at a time, if they still run.
	#[pallet::storage]
	pub type Deadlines<T> = StorageMap<
		_,
		Twox64Concat,
		BlockNumber,
		BoundedVec<AssignmentId, ConstU32<MAX_ASSIGNED_PER_BLOCK>>,
		ValueQuery,
	>;

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// A worker bonded.
		WorkerRegistered {
			/// Who.
			worker: AccountId,
			/// Units it takes at a time.
			slots: u16,
			/// What it bonded.
			bond: Balance,
		},
		/// A worker raised its bond.
		BondRaised {
			/// Who.
			worker: AccountId,
			/// By how much.
			amount: Balance,
		},
		/// A worker takes no more units.
		WorkerLeaving {
			/// Who.
			worker: AccountId,
			/// It can withdraw its bond from this block on at the earliest: the time counts from the end of its last unit.
			from: BlockNumber,
		},
		/// Part of a worker's bond was taken.
		WorkerSlashed {
			/// Who.
			worker: AccountId,
			/// How much was taken.
			taken: Balance,
			/// How much of it was burned.
			burned: Balance,
		},
		/// A worker left and has its bond back.
		WorkerLeft {
			/// Who.
			worker: AccountId,
			/// What was left of the bond.
			bond: Balance,
		},
		/// A unit has a worker.
		UnitAssigned {
			/// The assignment.
			assignment: AssignmentId,
			/// The unit.
			unit: UnitRef,
			/// The worker.
			worker: AccountId,
			/// The last block that takes the result, if none until then is full.
			deadline: BlockNumber,
		},
		/// A deadline passed without a result; the unit is open again.
		DeadlineMissed {
			/// The assignment.
			assignment: AssignmentId,
			/// The worker.
			worker: AccountId,
			/// What it lost of its bond.
			slashed: Balance,
		},
		/// A worker missed too many deadlines in a row.
		WorkerChilled {
			/// Who.
			worker: AccountId,
			/// Until when it is given nothing.
			until: BlockNumber,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// The account is a worker already.
		AlreadyRegistered,
		/// The account is not a worker.
		NotRegistered,
		/// Slots are zero or more than a worker may have.
		BadSlots,
		/// The free balance does not cover the bond.
		BondTooSmall,
		/// There are as many workers as the chain keeps.
		TooManyWorkers,
		/// The worker is leaving already.
		AlreadyLeaving,
		/// The worker is not leaving.
		NotLeaving,
		/// The worker left too short a while ago.
		StillUnbonding,
		/// Part of the bond is at stake for a unit or a result.
		BondAtStake,
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn on_initialize(_: BlockNumberFor<T>) -> Weight {
			// Of the whole of `on_finalize`, whatever it finds to do.
			T::WeightInfo::schedule(MAX_ASSIGNED_PER_BLOCK)
		}

		fn on_finalize(number: BlockNumberFor<T>) {
			let now = number.saturated_into();
			Self::expire(now, T::Clock::now());
			Self::assign_open_units(now);
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}

		fn integrity_test() {
			assert!(T::MaxWorkers::get() > 0 && T::MissesToChill::get() > 0);
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Bonds for `slots` units at a time, each of up to `memory` MiB.
		#[pallet::call_index(0)]
		#[pallet::weight(T::WeightInfo::register())]
		pub fn register(origin: OriginFor<T>, slots: u16, memory: u32) -> DispatchResult {
			let who = ensure_signed(origin)?;
			ensure!(slots > 0 && slots <= MAX_SLOTS, Error::<T>::BadSlots);
			ensure!(!Workers::<T>::contains_key(&who), Error::<T>::AlreadyRegistered);
			let bond = T::SlotBond::get().saturating_mul(Balance::from(slots));
			Roster::<T>::try_append(who.clone()).map_err(|()| Error::<T>::TooManyWorkers)?;
			T::Currency::hold(&HoldReason::Bond.into(), &who, bond).map_err(|_| Error::<T>::BondTooSmall)?;
			let worker = Worker {
				slots,
				busy: 0,
				memory,
				bond,
				staked: 0,
				missed: 0,
				chilled_until: 0,
				leaving: None,
				accepted: 0,
			};
			Workers::<T>::insert(&who, worker);
			Self::deposit_event(Event::WorkerRegistered { worker: who, slots, bond });
			Ok(())
		}

		/// Takes no more units. The bond can be withdrawn when nothing of it is at stake, after the unbonding time.
		#[pallet::call_index(1)]
		#[pallet::weight(T::WeightInfo::leave())]
		pub fn leave(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let mut worker = Workers::<T>::get(&who).ok_or(Error::<T>::NotRegistered)?;
			ensure!(worker.leaving.is_none(), Error::<T>::AlreadyLeaving);
			let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
			worker.leaving = Some(now);
			Workers::<T>::insert(&who, worker);
			Roster::<T>::mutate(|roster| roster.retain(|other| *other != who));
			let from = now.saturating_add(T::UnbondingBlocks::get());
			Self::deposit_event(Event::WorkerLeaving { worker: who, from });
			Ok(())
		}

		/// Raises the bond: more can be at stake at a time, and a worker that was slashed gets units again.
		#[pallet::call_index(2)]
		#[pallet::weight(T::WeightInfo::bond_more())]
		pub fn bond_more(origin: OriginFor<T>, amount: Balance) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let mut worker = Workers::<T>::get(&who).ok_or(Error::<T>::NotRegistered)?;
			ensure!(worker.leaving.is_none(), Error::<T>::AlreadyLeaving);
			T::Currency::hold(&HoldReason::Bond.into(), &who, amount).map_err(|_| Error::<T>::BondTooSmall)?;
			worker.bond = worker.bond.saturating_add(amount);
			Workers::<T>::insert(&who, worker);
			Self::deposit_event(Event::BondRaised { worker: who, amount });
			Ok(())
		}

		/// Takes back the bond of a worker that left.
		#[pallet::call_index(3)]
		#[pallet::weight(T::WeightInfo::withdraw())]
		pub fn withdraw(origin: OriginFor<T>) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let worker = Workers::<T>::get(&who).ok_or(Error::<T>::NotRegistered)?;
			let left = worker.leaving.ok_or(Error::<T>::NotLeaving)?;
			let now: BlockNumber = frame_system::Pallet::<T>::block_number().saturated_into();
			ensure!(now >= left.saturating_add(T::UnbondingBlocks::get()), Error::<T>::StillUnbonding);
			ensure!(worker.busy == 0 && worker.staked == 0, Error::<T>::BondAtStake);
			Workers::<T>::remove(&who);
			T::Currency::release(&HoldReason::Bond.into(), &who, worker.bond, Precision::BestEffort)?;
			Self::deposit_event(Event::WorkerLeft { worker: who, bond: worker.bond });
			Ok(())
		}
	}
}

impl<T: Config> Pallet<T> {
	/// A running assignment, as the runtime reports it: its deadline is a height.
	pub fn assignment(id: AssignmentId) -> Option<Assignment> {
		let mut assignment = Assignments::<T>::get(id)?;
		assignment.deadline = T::Clock::height_of(assignment.deadline);
		Some(assignment)
	}

	/// The running assignments of a worker, their deadlines as heights.
	pub fn assignments_of(worker: &AccountId) -> Vec<Assignment> {
		AssignmentsOf::<T>::get(worker).into_iter().filter_map(Self::assignment).collect()
	}

	/// Takes an assignment off its worker. What it had at stake is the caller's matter.
	fn end(id: AssignmentId, then: impl FnOnce(&Assignment, &mut Worker)) -> Option<Assignment> {
		let assignment = Assignments::<T>::take(id)?;
		AssignmentsOf::<T>::mutate(&assignment.worker, |ids| ids.retain(|other| *other != id));
		Workers::<T>::mutate_extant(&assignment.worker, |worker| {
			worker.busy = worker.busy.saturating_sub(1);
			if let Some(since) = &mut worker.leaving {
				// Until now it could seal blocks with this unit.
				*since = frame_system::Pallet::<T>::block_number().saturated_into();
			}
			then(&assignment, worker);
		});
		Some(assignment)
	}

	/// Ends the assignments whose deadline has passed.
	fn expire(now: BlockNumber, time: BlockNumber) {
		for id in Deadlines::<T>::take(time) {
			Self::end(id, |assignment, worker| Self::miss(assignment, worker, now));
		}
	}

	fn miss(assignment: &Assignment, worker: &mut Worker, now: BlockNumber) {
		let who = &assignment.worker;
		worker.staked = worker.staked.saturating_sub(assignment.stake);
		let slash = T::MissedSlash::get().mul_floor(assignment.stake).min(worker.bond);
		let reason = HoldReason::Bond.into();
		let burned = T::Currency::burn_held(&reason, who, slash, Precision::BestEffort, Fortitude::Force).unwrap_or(0);
		worker.bond = worker.bond.saturating_sub(burned);
		worker.missed = worker.missed.saturating_add(1);
		T::Rewards::burn(assignment.id);
		T::Tasks::reopen(assignment);
		Self::deposit_event(Event::DeadlineMissed { assignment: assignment.id, worker: who.clone(), slashed: burned });
		if worker.missed >= T::MissesToChill::get() {
			worker.missed = 0;
			worker.chilled_until = now.saturating_add(T::ChillBlocks::get());
			Self::deposit_event(Event::WorkerChilled { worker: who.clone(), until: worker.chilled_until });
		}
	}

	/// Whether a worker can be given a unit.
	fn is_free(worker: &Worker, unit: &OpenUnit, now: BlockNumber) -> bool {
		let bonded = worker.bond >= worker.staked.saturating_add(unit.stake);
		let memory = u64::from(worker.memory).saturating_mul(1 << 20);
		worker.leaving.is_none()
			&& worker.busy < worker.slots
			&& worker.chilled_until <= now
			&& memory >= unit.memory
			&& bonded
	}

	fn assign_open_units(now: BlockNumber) {
		let roster = Roster::<T>::get();
		if roster.is_empty() {
			return;
		}
		let mut assigned = 0;
		let tasks = T::Tasks::open_tasks();
		let best = Self::assign_from(now, &roster, &tasks, &mut assigned);
		let turn = (Turn::<T>::get() as usize).max(best);
		let more = tasks.get(turn..).unwrap_or_default();
		let end = turn.saturating_add(Self::assign_from(now, &roster, more, &mut assigned));
		// After the last task it is the first one's turn again.
		let next = if end < tasks.len() { end as u32 } else { 0 };
		if next != Turn::<T>::get() {
			Turn::<T>::put(next);
		}
	}

	/// Gives the open units of tasks to workers, until as many are given as a block may, or half of [`MAX_UNTAKEN_TASKS`] were passed
	/// over. Says how many of the tasks had their turn.
	fn assign_from(now: BlockNumber, roster: &[AccountId], tasks: &[TaskId], assigned: &mut u32) -> usize {
		let draw = T::Tickets::ticket();
		let mut untaken: u32 = 0;
		// A task without open units costs its few reads.
		for (turns, task) in tasks.iter().enumerate() {
			if untaken >= MAX_UNTAKEN_TASKS / 2 {
				return turns;
			}
			for unit in T::Tasks::open_units(*task) {
				if *assigned >= MAX_ASSIGNED_PER_BLOCK {
					return turns;
				}
				let free = |who: &AccountId| Workers::<T>::get(who).filter(|worker| Self::is_free(worker, &unit, now));
				let Some((who, worker)) = schedule::choose(&draw, &unit.unit, roster, free) else {
					// Nobody takes the others either.
					untaken = untaken.saturating_add(1);
					break;
				};
				Self::assign(now, &unit, who, worker);
				*assigned = assigned.saturating_add(1);
			}
		}
		tasks.len()
	}

	fn assign(now: BlockNumber, unit: &OpenUnit, who: AccountId, mut worker: Worker) {
		let id = NextAssignment::<T>::get();
		let deadline = T::Clock::now().saturating_add(unit.deadline);
		// The check of a deadline may come a little later than the deadline itself, never earlier.
		let mut checks = deadline.saturating_add(1)..=deadline.saturating_add(DEADLINE_SPREAD);
		if !checks.any(|time| Deadlines::<T>::try_mutate(time, |ids| ids.try_push(id)).is_ok())
			|| AssignmentsOf::<T>::try_mutate(&who, |ids| ids.try_push(id)).is_err()
		{
			return;
		}
		let stake = unit.stake;
		let assignment = Assignment { id, unit: unit.unit, worker: who.clone(), assigned: now, deadline, stake };
		Assignments::<T>::insert(id, assignment);
		NextAssignment::<T>::put(AssignmentId(id.0.saturating_add(1)));
		worker.busy = worker.busy.saturating_add(1);
		worker.staked = worker.staked.saturating_add(stake);
		Workers::<T>::insert(&who, worker);
		T::Tasks::assigned(unit.unit, id);
		let deadline = T::Clock::height_of(deadline);
		Self::deposit_event(Event::UnitAssigned { assignment: id, unit: unit.unit, worker: who, deadline });
	}
}

impl<T: Config> AssignmentLedger for Pallet<T> {
	fn get(id: AssignmentId) -> Option<Assignment> {
		Assignments::<T>::get(id)
	}

	fn complete(id: AssignmentId) {
		Self::end(id, |_, worker| {
			worker.missed = 0;
			worker.accepted = worker.accepted.saturating_add(1);
		});
	}

	fn cancel(id: AssignmentId) -> Option<Assignment> {
		Self::end(id, |assignment, worker| worker.staked = worker.staked.saturating_sub(assignment.stake))
	}

	fn release(worker: &AccountId, stake: Balance) {
		Workers::<T>::mutate_extant(worker, |worker| worker.staked = worker.staked.saturating_sub(stake));
	}

	fn unstaked(who: &AccountId) -> Balance {
		Workers::<T>::get(who).map_or(0, |worker| worker.bond.saturating_sub(worker.staked))
	}

	fn slash(who: &AccountId, amount: Balance, takers: &[(AccountId, Balance)]) -> Balance {
		let Some(mut worker) = Workers::<T>::get(who) else { return 0 };
		let reason = HoldReason::Bond.into();
		let amount = amount.min(worker.bond);
		let mut left = amount;
		for (taker, share) in takers {
			let share = (*share).min(left);
			// A taker that cannot be paid (an account that does not exist, and too little to open it) gets nothing: it is burned.
			let paid = T::Currency::transfer_on_hold(
				&reason,
				who,
				taker,
				share,
				Precision::BestEffort,
				Restriction::Free,
				Fortitude::Force,
			);
			left = left.saturating_sub(paid.unwrap_or(0));
		}
		let burned = T::Currency::burn_held(&reason, who, left, Precision::BestEffort, Fortitude::Force).unwrap_or(0);
		let taken = amount.saturating_sub(left).saturating_add(burned);
		worker.bond = worker.bond.saturating_sub(taken);
		Workers::<T>::insert(who, worker);
		Self::deposit_event(Event::WorkerSlashed { worker: who.clone(), taken, burned });
		taken
	}
}
