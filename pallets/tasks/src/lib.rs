//! Training and inference tasks: what sponsors register and pay, and what came of it.
//!
//! A task is cut into rounds, a round into units. Units are given to workers by `pallet-workers`, their work is mined through
//! `pallet-work`, and their results arrive here ([`Call::submit_result`]). A result must agree with itself and with the blocks its
//! unit sealed; then its price is owed and the next work opens. A training round of several units ends with a merge unit, which
//! averages their parameters. When a result has outlived its window, its price is paid from the escrow and the reward
//! held under its assignment vests (`standing`). A result that is found wrong before falls, and with it what was built on it
//! (`rollback`).
//!
//! What it is not: it holds no tensors (nodes do, by commitment), and does not judge results; `pallet-disputes` does.

#![cfg_attr(not(feature = "std"), no_std)]
// Not `expect_used`: the pallet macros' own code has some.
#![deny(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

extern crate alloc;

pub use pallet::*;

mod board;
mod results;
mod rollback;
mod standing;
#[cfg(any(feature = "std", feature = "try-runtime"))]
mod try_state;
pub mod weights;

use frame_support::{
	pallet_prelude::*,
	traits::{
		fungible::{Inspect, MutateHold},
		tokens::Precision,
	},
};
use labora_graph::GraphError;
use labora_primitives::{
	limits::{MaxOutput, MAX_STANDING},
	money::round_budget,
	AccountId, AssignmentId, AssignmentLedger, Balance, BlockNumber, Clock, DisputeLedger, Phase, ResultError,
	ResultRecord, RewardLedger, SpecError, StandingResult, TaskId, TaskInfo, TaskSpec, UnitKind, UnitMetrics,
	UnitResult, UnitState,
};
use labora_tensor::Commitment;
use sp_runtime::traits::SaturatedConversion;

pub use weights::WeightInfo;

/// Most results that are looked at in one block, as their windows may be over.
pub const MAX_MATURING_PER_BLOCK: u32 = 64;

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use frame_system::pallet_prelude::*;

	#[pallet::config]
	pub trait Config: frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>> {
		/// The chain's money.
		type Currency: Inspect<AccountId, Balance = Balance>
			+ MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;
		/// The reason for holding an escrow.
		type RuntimeHoldReason: From<HoldReason>;
		/// The running assignments.
		type Assignments: AssignmentLedger;
		/// The rewards held under assignments.
		type Rewards: RewardLedger;
		/// What is open about results.
		type Disputes: DisputeLedger;
		/// The time that windows and deadlines are counted in.
		type Clock: Clock;
		/// How long a result must stand before it is paid, by the clock.
		#[pallet::constant]
		type ResultWindow: Get<BlockNumber>;
		/// Most tasks that are open at a time.
		#[pallet::constant]
		type MaxOpenTasks: Get<u32>;
		/// Fewest and most blocks that a worker may be given for a unit.
		#[pallet::constant]
		type DeadlineRange: Get<(BlockNumber, BlockNumber)>;
		/// Lowest price of a unit.
		#[pallet::constant]
		type MinPrice: Get<Balance>;
		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// Why this pallet holds money.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// What a sponsor set aside for its task's results.
		Escrow,
	}

	/// Of the storage's layout: raised with every migration.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// The number of the next task.
	#[pallet::storage]
	pub type NextTask<T> = StorageValue<_, TaskId, ValueQuery>;

	/// Tasks as registered.
	#[pallet::storage]
	pub type Specs<T> = StorageMap<_, Twox64Concat, TaskId, TaskSpec>;

	/// Where each task is.
	#[pallet::storage]
	pub type Tasks<T> = StorageMap<_, Twox64Concat, TaskId, TaskInfo>;

	/// The tasks that still have work, best price per multiply-accumulate first. The price is per 2^64 of them.
	#[pallet::storage]
	pub type OpenTasks<T: Config> = StorageValue<_, BoundedVec<(Balance, TaskId), T::MaxOpenTasks>, ValueQuery>;

	/// The master parameters that each round starts from; after the last round, the result.
	#[pallet::storage]
	pub type RoundParameters<T> = StorageDoubleMap<
		_,
		Twox64Concat,
		TaskId,
		Twox64Concat,
		u32,
		BoundedVec<Commitment, labora_primitives::limits::MaxParameters>,
	>;

	/// Accepted results of units: by task, then round and unit.
	#[pallet::storage]
	pub type Results<T> = StorageDoubleMap<_, Twox64Concat, TaskId, Twox64Concat, (u32, u16), ResultRecord>;

	/// The classes that inference units gave: by task and unit.
	#[pallet::storage]
	pub type Outputs<T> = StorageDoubleMap<_, Twox64Concat, TaskId, Twox64Concat, u16, BoundedVec<u8, MaxOutput>>;

	/// Accepted results whose windows run.
	#[pallet::storage]
	pub type Standing<T> = StorageMap<_, Twox64Concat, AssignmentId, StandingResult>;

	/// The standing results of each task.
	#[pallet::storage]
	pub type StandingOf<T> =
		StorageMap<_, Twox64Concat, TaskId, BoundedVec<AssignmentId, ConstU32<MAX_STANDING>>, ValueQuery>;

	/// Results to be looked at at a time, each its task's oldest: its window may be over.
	#[pallet::storage]
	pub type MaturingAt<T> = StorageMap<
		_,
		Twox64Concat,
		BlockNumber,
		BoundedVec<AssignmentId, ConstU32<MAX_MATURING_PER_BLOCK>>,
		ValueQuery,
	>;

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// A task was registered.
		TaskRegistered {
			/// Its number.
			task: TaskId,
			/// Who pays.
			sponsor: AccountId,
			/// What was set aside.
			escrow: Balance,
		},
		/// A task's escrow was raised.
		TaskFunded {
			/// The task.
			task: TaskId,
			/// By how much.
			amount: Balance,
		},
		/// A sponsor cancelled its task.
		TaskCancelled {
			/// The task.
			task: TaskId,
		},
		/// A result was accepted.
		ResultAccepted {
			/// The task.
			task: TaskId,
			/// The round.
			round: u32,
			/// The unit.
			unit: UnitKind,
			/// The assignment.
			assignment: AssignmentId,
			/// Who computed it.
			worker: AccountId,
			/// What it earns when its window is over, the burned share included.
			price: Balance,
		},
		/// A result outlived its window and was paid.
		ResultPaid {
			/// The assignment.
			assignment: AssignmentId,
			/// To whom.
			worker: AccountId,
			/// How much.
			paid: Balance,
			/// How much was burned.
			burned: Balance,
		},
		/// A round is complete; its parameters are committed.
		RoundCompleted {
			/// The task.
			task: TaskId,
			/// The round.
			round: u32,
			/// Sum of its units' metrics.
			metrics: UnitMetrics,
		},
		/// The escrow does not cover the next round.
		TaskUnfunded {
			/// The task.
			task: TaskId,
			/// What a round can cost.
			needed: Balance,
		},
		/// All rounds of the task are complete. Its results may still be challenged while their windows run.
		TaskCompleted {
			/// The task.
			task: TaskId,
		},
		/// A completed or cancelled task can change no more; what was left of the escrow returned.
		TaskSettled {
			/// The task.
			task: TaskId,
			/// What returned.
			returned: Balance,
		},
		/// An accepted result was found wrong, and what was built on it is void: the task goes on from there.
		TaskRolledBack {
			/// The task.
			task: TaskId,
			/// The round that is open again.
			round: u32,
		},
		/// A result was built on one that fell: it is no part of its task any more.
		ResultVoided {
			/// The assignment.
			assignment: AssignmentId,
			/// Who computed it.
			worker: AccountId,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// The graph is not well-formed.
		MalformedGraph,
		/// The batch is zero, not a multiple of 32, or too large.
		BadBatch,
		/// A shape is zero or above the limits.
		BadShape,
		/// The graph has too many parameters, too many ops, or none.
		BadGraphSize,
		/// An op's input does not exist.
		MissingInput,
		/// An op's input is the op itself or a later one.
		GraphHasCycle,
		/// An op's input has the wrong element type.
		TypeMismatch,
		/// The shapes of an op's inputs do not fit.
		ShapeMismatch,
		/// A shift or rate is out of its range.
		BadScale,
		/// More than 64 classes.
		TooManyClasses,
		/// A parameter is updated twice, or never in a graph that trains.
		BadUpdate,
		/// The graph neither trains nor classifies.
		NoOutput,
		/// No product of the graph is large enough to be mined.
		NoEligibleProduct,
		/// One step is more work than the chain can count.
		TooMuchWork,
		/// A training job with an inference graph, or the reverse.
		WrongJob,
		/// Rounds, units or steps are zero, above the limits, or do not cover the dataset.
		BadJob,
		/// Rate drops do not ascend, or lie outside the rounds.
		BadRateDrops,
		/// The dataset's rows, examples or labels do not fit the task.
		BadDataset,
		/// Not one commitment, or not one range, per parameter.
		BadParameters,
		/// The price of a unit is below the minimum.
		PriceTooLow,
		/// The deadline is shorter or longer than allowed.
		BadDeadline,
		/// The escrow does not cover one round.
		EscrowTooSmall,
		/// The sponsor's free balance does not cover the escrow.
		InsufficientBalance,
		/// As many tasks are open as the chain keeps.
		TooManyTasks,
		/// There is no such task.
		NoSuchTask,
		/// The caller is not the task's sponsor.
		NotTheSponsor,
		/// The task is completed or cancelled.
		TaskEnded,
		/// There is no such assignment: never made, answered already, or missed.
		NoSuchAssignment,
		/// The assignment is another worker's.
		NotTheWorker,
		/// The deadline has passed.
		TooLate,
		/// The number of parameters, classes, openings or rows is not the unit's.
		WrongResultSize,
		/// An output does not open to the trace.
		BadOutputOpening,
		/// The metrics are not the running metrics at the trace's end.
		BadMetrics,
		/// Not one seal opening per block that the unit sealed.
		WrongSealCount,
		/// A seal's operand is not what the block said.
		BadSealOpening,
		/// The block has taken as many results as one may.
		TooManyResults,
	}

	impl<T> From<SpecError> for Error<T> {
		fn from(error: SpecError) -> Self {
			match error {
				SpecError::Graph(error) => error.into(),
				SpecError::WrongJob => Self::WrongJob,
				SpecError::BadJob => Self::BadJob,
				SpecError::BadRateDrops => Self::BadRateDrops,
				SpecError::BadDataset => Self::BadDataset,
				SpecError::BadParameters => Self::BadParameters,
			}
		}
	}

	impl<T> From<GraphError> for Error<T> {
		fn from(error: GraphError) -> Self {
			match error {
				GraphError::Malformed => Self::MalformedGraph,
				GraphError::BadBatch => Self::BadBatch,
				GraphError::BadShape => Self::BadShape,
				GraphError::TooManyParameters | GraphError::BadOpCount => Self::BadGraphSize,
				GraphError::MissingInput => Self::MissingInput,
				GraphError::Cycle => Self::GraphHasCycle,
				GraphError::TypeMismatch => Self::TypeMismatch,
				GraphError::ShapeMismatch => Self::ShapeMismatch,
				GraphError::BadScale => Self::BadScale,
				GraphError::TooManyClasses => Self::TooManyClasses,
				GraphError::BadUpdate => Self::BadUpdate,
				GraphError::NoOutput => Self::NoOutput,
				GraphError::NoEligibleProduct => Self::NoEligibleProduct,
				GraphError::TooMuchWork => Self::TooMuchWork,
			}
		}
	}

	impl<T> From<ResultError> for Error<T> {
		fn from(error: ResultError) -> Self {
			match error {
				ResultError::WrongCount => Self::WrongResultSize,
				ResultError::BadOutputOpening => Self::BadOutputOpening,
				ResultError::BadMetrics => Self::BadMetrics,
				ResultError::WrongSealCount => Self::WrongSealCount,
				ResultError::BadSealOpening => Self::BadSealOpening,
			}
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		/// Pays what has outlived its window.
		fn on_initialize(_: BlockNumberFor<T>) -> Weight {
			let time = T::Clock::now();
			let matured = MaturingAt::<T>::take(time);
			let mut looked = matured.len() as u32;
			for id in matured {
				// Each may be paid, and of those that waited for one of them as many as the block has left.
				let others = MAX_MATURING_PER_BLOCK.saturating_sub(looked);
				let paid = Self::mature(id, time, others.saturating_add(1));
				looked = looked.saturating_add(paid.saturating_sub(1));
			}
			T::WeightInfo::mature(looked)
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}

		fn integrity_test() {
			let (least, most) = T::DeadlineRange::get();
			assert!(least > 0 && least <= most && T::ResultWindow::get() > 0);
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Registers a task and sets aside `escrow` for its results: at least what one round can cost.
		#[pallet::call_index(0)]
		#[pallet::weight(T::WeightInfo::register())]
		pub fn register(origin: OriginFor<T>, spec: TaskSpec, escrow: Balance) -> DispatchResult {
			let sponsor = ensure_signed(origin)?;
			let program = spec.check().map_err(Error::<T>::from)?;
			let (least, most) = T::DeadlineRange::get();
			ensure!((least..=most).contains(&spec.deadline), Error::<T>::BadDeadline);
			ensure!(spec.price >= T::MinPrice::get(), Error::<T>::PriceTooLow);
			ensure!(escrow >= round_budget(spec.price, spec.job.units()), Error::<T>::EscrowTooSmall);

			let unit_macs = spec.unit_macs(&program);
			let task = NextTask::<T>::get();
			Self::open(task, &spec, unit_macs)?;
			Self::hold(&sponsor, escrow)?;
			NextTask::<T>::put(TaskId(task.0.saturating_add(1)));
			RoundParameters::<T>::insert(task, 0, &spec.parameters);
			Tasks::<T>::insert(
				task,
				TaskInfo {
					sponsor: sponsor.clone(),
					phase: Phase::Units,
					round: 0,
					units: Self::open_states(spec.job.units()),
					parameters: spec.parameters.clone(),
					escrow,
					unit_macs,
					accepted_macs: 0,
					metrics: UnitMetrics::default(),
				},
			);
			Specs::<T>::insert(task, spec);
			Self::deposit_event(Event::TaskRegistered { task, sponsor, escrow });
			Ok(())
		}

		/// Raises a task's escrow; a task that had run out goes on. Only the sponsor, who gets back what is left.
		#[pallet::call_index(1)]
		#[pallet::weight(T::WeightInfo::fund())]
		pub fn fund(origin: OriginFor<T>, task: TaskId, amount: Balance) -> DispatchResult {
			let (sponsor, mut info) = Self::sponsored(origin, task)?;
			let spec = Specs::<T>::get(task).ok_or(Error::<T>::NoSuchTask)?;
			Self::hold(&sponsor, amount)?;
			info.escrow = info.escrow.saturating_add(amount);
			Self::deposit_event(Event::TaskFunded { task, amount });
			if info.phase == Phase::Unfunded {
				Self::begin_round(task, &spec, &mut info);
			}
			Tasks::<T>::insert(task, info);
			Ok(())
		}

		/// Ends a task: no more units are given out. Units that workers have may still be finished and are paid; the rest of
		/// the escrow returns when the window of the last result is over, at once if there is none.
		#[pallet::call_index(2)]
		#[pallet::weight(T::WeightInfo::cancel())]
		pub fn cancel(origin: OriginFor<T>, task: TaskId) -> DispatchResult {
			let (_, mut info) = Self::sponsored(origin, task)?;
			info.phase = Phase::Cancelled;
			Self::deposit_event(Event::TaskCancelled { task });
			Self::settle(task, &mut info);
			Tasks::<T>::insert(task, info);
			Ok(())
		}

		/// Submits the result of an assigned unit. Free of charge if it is accepted.
		#[pallet::call_index(3)]
		// Operational: whoever fills blocks must not make workers miss their deadlines.
		#[pallet::weight((
			Pallet::<T>::submission_weight(result),
			DispatchClass::Operational,
		))]
		pub fn submit_result(
			origin: OriginFor<T>,
			assignment: AssignmentId,
			result: UnitResult,
		) -> DispatchResultWithPostInfo {
			let who = ensure_signed(origin)?;
			Self::accept(who, assignment, result)?;
			Ok(Pays::No.into())
		}
	}
}

impl<T: Config> Pallet<T> {
	/// What a result costs, by its form: one of another form than its unit's is refused by its counts.
	fn submission_weight(result: &UnitResult) -> Weight {
		let (seals, outputs) = (result.seals.len() as u32, result.outputs.len() as u32);
		match (result.outputs.is_empty(), result.classes.is_empty()) {
			(true, _) => T::WeightInfo::submit_merge(),
			(_, true) => T::WeightInfo::submit_result(seals, outputs),
			_ => T::WeightInfo::submit_classes(seals, outputs, (result.classes.len() as u32).div_ceil(32)),
		}
	}

	fn hold(who: &AccountId, amount: Balance) -> DispatchResult {
		let held = T::Currency::hold(&HoldReason::Escrow.into(), who, amount);
		held.map_err(|_| Error::<T>::InsufficientBalance.into())
	}

	/// The caller and its running task.
	fn sponsored(
		origin: frame_system::pallet_prelude::OriginFor<T>,
		task: TaskId,
	) -> Result<(AccountId, TaskInfo), DispatchError> {
		let who = frame_system::ensure_signed(origin)?;
		let info = Tasks::<T>::get(task).ok_or(Error::<T>::NoSuchTask)?;
		ensure!(info.sponsor == who, Error::<T>::NotTheSponsor);
		ensure!(!matches!(info.phase, Phase::Completed | Phase::Cancelled), Error::<T>::TaskEnded);
		Ok((who, info))
	}

	fn open_states(units: u16) -> BoundedVec<UnitState, labora_primitives::limits::MaxUnits> {
		BoundedVec::truncate_from(alloc::vec![UnitState::Open; usize::from(units)])
	}
}
