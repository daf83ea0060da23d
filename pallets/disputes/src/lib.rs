//! Audits, challenges and reports: how a wrong result is found out, and what it costs.
//!
//! One primitive serves audit and challenge: a *demand* to show part of a standing result ([`Claim`]), and an *answer* that opens it. An
//! answer to a decisive claim is judged by computing one block again (`labora-primitives`, `TaskSpec::judge`).
//!
//! - **Audit**: the ticket of the block after the one that took a result draws what its worker has to show, within a window.
//! - **Challenge**: anyone bonds a demand while the result's window runs. What it may ask for leads to the first wrong block of a unit, even
//!   if only its worker has the tensors: commitments of the trace, then chaining values of a tensor's tree, then a block.
//! - A wrong block, or silence: the result falls (`pallet-tasks` takes it back), its stake is slashed, who proved it gets half, who built
//!   on it in good faith gets of the rest what it lost, as far as it reaches. A right block: the challenger's bond is lost.
//! - The chain's clock ([`Clock`]) stands still while blocks are too full for one more answer. Windows and deadlines, also those of
//!   `pallet-tasks` and `pallet-workers`, run by it: whoever fills blocks delays disputes, and decides none.
//! - **Equivocation**: two sealed headers of one author on one parent.
//!
//! What it is not: it keeps no results and no bonds (`pallet-tasks`, `pallet-workers`).

#![cfg_attr(not(feature = "std"), no_std)]
// Not `expect_used`: the pallet macros' own code has some.
#![deny(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

extern crate alloc;

pub use pallet::*;

mod audit;
mod equivocation;
pub mod migrations;
#[cfg(any(feature = "std", feature = "try-runtime"))]
mod try_state;
pub mod weights;

use alloc::{boxed::Box, vec::Vec};
use frame_support::{
	pallet_prelude::*,
	traits::{
		fungible::{Inspect, Mutate, MutateHold},
		tokens::{Fortitude, Precision, Restriction},
	},
};
use labora_graph::{Program, MAX_METRICS_BATCH};
use labora_primitives::{
	answer_chunks,
	limits::{MAX_DEMANDS, MAX_STANDING},
	money::{challenge_bond, share_out, CHALLENGER_SHARE, DEFENDER_SHARE},
	AccountId, Answer, AnswerError, AssignmentId, AssignmentLedger, Balance, BlockNumber, Claim, Clock, Demand,
	Dispute, ResultLedger, StandingResult, TaskSpec, TicketSource,
};
use labora_tensor::CHUNK_BYTES;
use sp_runtime::traits::SaturatedConversion;

pub use weights::WeightInfo;

/// Most ends of demands that one block looks at, and most results that it finds gone when they are to fall. Others wait for the next block.
pub const MAX_DUE_PER_BLOCK: u32 = 256;
/// Most results that one block takes into audit.
pub const MAX_AUDITS_PER_BLOCK: u32 = 64;
/// Results that one block lets fall: each may take back what a whole window built on it. Others wait for the next block.
pub const MAX_FALLS_PER_BLOCK: u32 = 1;
/// Blocks from a result's to the one that draws its audit: the next block's ticket draws, and is known in the one after that.
const DRAWN_AFTER: BlockNumber = 2;
/// A worker has, beside the window, a quarter of the time that the unit took it: what is shown may have to be computed again.
const SHOWING: BlockNumber = 4;
/// Challenges, one after the other, that lead to any wrong block: the trace's nodes, its entries, three times a tensor's nodes, the
/// block. A search begun within a result's window ends in the time that these take.
const MAX_SEARCH: BlockNumber = 6;
/// Chunks of the largest answer, hashes included: the metrics of the largest batch, four for 32 rows, and their openings in the trace. Two
/// strips that are columns of blocks are less: 1,024 chunks, and at most 11 hashes beside each, which count as 64 bytes.
const LARGEST_ANSWER: u32 = MAX_METRICS_BATCH / 8 + 64;
/// Most authors of one height that are remembered as punished.
pub const MAX_REPORTS_PER_HEIGHT: u32 = 64;

/// Why a result fell.
#[derive(
	Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, scale_info::TypeInfo,
)]
pub enum Fault {
	/// What was shown is not what the op gives.
	WrongBlock,
	/// What was asked for was not shown in time.
	Silence,
}

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use frame_system::pallet_prelude::*;

	#[pallet::config]
	pub trait Config: frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>> {
		/// The chain's money.
		type Currency: Inspect<AccountId, Balance = Balance>
			+ Mutate<AccountId, Balance = Balance>
			+ MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;
		/// The reason for holding a challenge's bond.
		type RuntimeHoldReason: From<HoldReason>;
		/// The standing results.
		type Results: ResultLedger;
		/// The workers' bonds.
		type Assignments: AssignmentLedger;
		/// What draws the audits.
		type Tickets: TicketSource;
		/// Reward of a block, which a wrong result would have earned: part of what a unit puts at stake.
		#[pallet::constant]
		type BlockReward: Get<Balance>;
		/// Steps of a unit that an audit looks at.
		#[pallet::constant]
		type AuditSteps: Get<u8>;
		/// Blocks that it has shown in each of them.
		#[pallet::constant]
		type AuditBlocks: Get<u8>;
		/// Blocks in which an audit is to be answered.
		#[pallet::constant]
		type AuditWindow: Get<BlockNumber>;
		/// Blocks in which a challenge is to be answered.
		#[pallet::constant]
		type AnswerWindow: Get<BlockNumber>;
		/// Blocks that remain at least for the next challenge after an answer.
		#[pallet::constant]
		type FollowUpWindow: Get<BlockNumber>;
		/// Bond of the first open challenge on a result.
		#[pallet::constant]
		type ChallengeBond: Get<Balance>;
		/// What a worker is paid for showing something that decides nothing.
		#[pallet::constant]
		type ShowFee: Get<Balance>;
		/// What an equivocation costs.
		#[pallet::constant]
		type EquivocationSlash: Get<Balance>;
		/// Blocks after which an equivocation can no longer be reported.
		#[pallet::constant]
		type ReportAge: Get<BlockNumber>;
		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// Why this pallet holds money.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// The bond of a challenge.
		Challenge,
	}

	/// Of the storage's layout: raised with every migration.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(2);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// What is to be shown of each standing result.
	#[pallet::storage]
	pub type Demands<T> =
		StorageMap<_, Twox64Concat, AssignmentId, BoundedVec<Demand, ConstU32<MAX_DEMANDS>>, ValueQuery>;

	/// Blocks so far that had no room for one more answer: the clock is the height less these.
	#[pallet::storage]
	pub type FullBlocks<T> = StorageValue<_, BlockNumber, ValueQuery>;

	/// Results of which something may be overdue at a time, each with its place.
	#[pallet::storage]
	pub type Due<T> = StorageMap<_, Twox64Concat, (BlockNumber, u32), AssignmentId>;

	/// How many those are at a time.
	#[pallet::storage]
	pub type DueCount<T> = StorageMap<_, Twox64Concat, BlockNumber, u32, ValueQuery>;

	/// The first time, and its first place, that no block has looked at.
	#[pallet::storage]
	pub type DueFrom<T> = StorageValue<_, (BlockNumber, u32), ValueQuery>;

	/// Results that are to fall, in the order in which they were found out.
	#[pallet::storage]
	pub type Falling<T> = StorageMap<_, Twox64Concat, u32, AssignmentId>;

	/// The place of the first of those, and the next free one.
	#[pallet::storage]
	pub type FallingPlaces<T> = StorageValue<_, (u32, u32), ValueQuery>;

	/// Results whose audit is drawn in a block, from the ticket of its parent.
	#[pallet::storage]
	pub type AuditAt<T> =
		StorageMap<_, Twox64Concat, BlockNumber, BoundedVec<AssignmentId, ConstU32<MAX_AUDITS_PER_BLOCK>>, ValueQuery>;

	/// Who was punished for an equivocation at a height: nobody is twice.
	#[pallet::storage]
	pub type Reports<T> =
		StorageMap<_, Twox64Concat, BlockNumber, BoundedVec<AccountId, ConstU32<MAX_REPORTS_PER_HEIGHT>>, ValueQuery>;

	/// Equivocations below this height are too old, though younger than [`Config::ReportAge`]: who was punished for them an older runtime
	/// has forgotten.
	#[pallet::storage]
	pub type ReportsFrom<T> = StorageValue<_, BlockNumber, ValueQuery>;

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// A result is audited: its worker has to show some blocks.
		AuditDrawn {
			/// The assignment.
			assignment: AssignmentId,
			/// The worker.
			worker: AccountId,
			/// What it has to show.
			claims: Vec<Claim>,
			/// The last block that takes the answers, if none until then is full.
			due: BlockNumber,
		},
		/// A result was challenged.
		Challenged {
			/// The assignment.
			assignment: AssignmentId,
			/// By whom.
			challenger: AccountId,
			/// What is to be shown.
			claim: Claim,
			/// The challenger's bond.
			bond: Balance,
			/// The last block that takes the answer, if none until then is full.
			due: BlockNumber,
		},
		/// A demand was answered, and what was shown is right, or decides nothing.
		Answered {
			/// The assignment.
			assignment: AssignmentId,
			/// What was shown.
			claim: Claim,
			/// By whom.
			by: AccountId,
		},
		/// A demand was answered, and what was shown is wrong: the result falls with the next block, or after those found out before.
		ProvenWrong {
			/// The assignment.
			assignment: AssignmentId,
			/// What was shown.
			claim: Claim,
			/// By whom.
			by: AccountId,
		},
		/// A challenger lost its bond, or paid for what it was shown.
		ChallengeEnded {
			/// The assignment.
			assignment: AssignmentId,
			/// Who challenged.
			challenger: AccountId,
			/// What went to the worker.
			paid: Balance,
			/// What was burned.
			burned: Balance,
			/// What returned.
			returned: Balance,
		},
		/// A result is wrong, or its worker did not show that it is right.
		ResultFell {
			/// The assignment.
			assignment: AssignmentId,
			/// Whose result it was.
			worker: AccountId,
			/// Why.
			fault: Fault,
			/// About what.
			claim: Claim,
			/// What was taken of the worker's bond.
			slashed: Balance,
			/// Who gets the challenger's share, if anyone does: nobody while the audit was open.
			winner: Option<AccountId>,
		},
		/// An author sealed two blocks on one parent.
		Equivocation {
			/// Who.
			author: AccountId,
			/// Upon what.
			parent: T::Hash,
			/// Who reported it.
			reporter: AccountId,
			/// What it cost the author.
			slashed: Balance,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// There is no such result, or its window is over.
		NoStandingResult,
		/// The result's window is over.
		WindowOver,
		/// The unit has no such part.
		NoSuchPart,
		/// The same is demanded already.
		AlreadyDemanded,
		/// As many demands are open on the result as may be.
		TooManyDemands,
		/// The free balance does not cover the challenge's bond.
		BondTooSmall,
		/// Nothing like that is demanded.
		NoSuchDemand,
		/// The time for the answer is over.
		TooLate,
		/// There are more or fewer openings than the claim asks for.
		WrongCount,
		/// A commitment does not open to the trace.
		BadTraceOpening,
		/// A tensor's part does not open to its commitment.
		BadOpening,
		/// The headers are equal, or not of one height on one parent.
		NoEquivocation,
		/// A header names no author, or another than the other header.
		NotOneAuthor,
		/// A header is not sealed by its author.
		BadSeal,
		/// The headers are too old.
		TooOld,
		/// The parent is no block of this chain.
		UnknownParent,
		/// The equivocation was reported before.
		AlreadyReported,
		/// As many were reported of that height as are remembered.
		TooManyReports,
		/// The author has nothing to lose.
		NothingAtStake,
	}

	impl<T> From<AnswerError> for Error<T> {
		fn from(error: AnswerError) -> Self {
			match error {
				AnswerError::NoSuchPart => Self::NoSuchPart,
				AnswerError::WrongCount => Self::WrongCount,
				AnswerError::BadTraceOpening => Self::BadTraceOpening,
				AnswerError::BadOpening => Self::BadOpening,
			}
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		/// Ends what was not answered, and draws the audits of the results of the block before the parent.
		fn on_initialize(number: BlockNumberFor<T>) -> Weight {
			let height: BlockNumber = number.saturated_into();
			let now = Self::now();
			let due = Self::check_due(now);
			let (gone, falls) = Self::let_fall(now);
			let audits = AuditAt::<T>::take(height);
			Reports::<T>::remove(height.saturating_sub(T::ReportAge::get()).saturating_sub(1));
			let weight = T::WeightInfo::hooks(due, audits.len() as u32, gone);
			audits.into_iter().for_each(Self::draw);
			weight.saturating_add(T::WeightInfo::fall(MAX_STANDING).saturating_mul(falls.into()))
		}

		/// Counts the block if it is full.
		fn on_finalize(_: BlockNumberFor<T>) {
			if !Self::has_room() {
				FullBlocks::<T>::mutate(|full| *full = full.saturating_add(1));
			}
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}

		fn integrity_test() {
			assert!(T::AuditWindow::get() > 0 && T::AnswerWindow::get() > 0);
			let audited = u32::from(T::AuditSteps::get()).saturating_mul(u32::from(T::AuditBlocks::get()));
			assert!(audited > 0 && audited <= MAX_DEMANDS / 2, "challenges need room beside an audit");
			let known: BlockNumber = T::BlockHashCount::get().saturated_into();
			assert!(T::ReportAge::get() < known, "the parent of a reported header is known");
			let normal = T::BlockWeights::get().get(DispatchClass::Normal).max_total.unwrap_or(Weight::MAX);
			let length = *T::BlockLength::get().max.get(DispatchClass::Normal);
			assert!(Self::has_room_beside(normal, Weight::zero(), length), "normal calls leave room for an answer");
			assert!(
				T::WeightInfo::challenge().all_lte(Self::largest_answer()),
				"where an answer has room, a challenge has"
			);
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Demands that part of a standing result is shown. The bond is [`Config::ChallengeBond`], doubled for every open challenge on
		/// the result. It returns, with half of the worker's stake, if the result falls by it; it is lost if what is shown is right.
		#[pallet::call_index(0)]
		// Operational: whoever fills blocks must not keep wrong results from being challenged. The bond is the price.
		#[pallet::weight((T::WeightInfo::challenge(), DispatchClass::Operational))]
		pub fn challenge(origin: OriginFor<T>, assignment: AssignmentId, claim: Claim) -> DispatchResult {
			let who = ensure_signed(origin)?;
			let now = Self::now();
			let result = T::Results::standing(assignment).ok_or(Error::<T>::NoStandingResult)?;
			ensure!(now <= result.due, Error::<T>::WindowOver);
			let (spec, program) = Self::task(&result).ok_or(Error::<T>::NoStandingResult)?;
			ensure!(spec.has_part(&program, &result.unit, &claim), Error::<T>::NoSuchPart);

			let demands = Demands::<T>::get(assignment);
			ensure!(demands.iter().all(|demand| demand.claim != claim), Error::<T>::AlreadyDemanded);
			let open = Self::challenges(&demands);
			// The other half is the audit's.
			ensure!(open < MAX_DEMANDS / 2, Error::<T>::TooManyDemands);
			let bond = challenge_bond(T::ChallengeBond::get(), open);
			let due = now.saturating_add(Self::showing(T::AnswerWindow::get(), result.took));
			let demand = Demand { claim, by: Some((who.clone(), bond)), due, proven: false };
			Demands::<T>::try_append(assignment, demand).map_err(|()| Error::<T>::TooManyDemands)?;
			Self::look_at(assignment, due.saturating_add(1));
			T::Currency::hold(&HoldReason::Challenge.into(), &who, bond).map_err(|_| Error::<T>::BondTooSmall)?;
			let due = Self::height_of(due);
			Self::deposit_event(Event::Challenged { assignment, challenger: who, claim, bond, due });
			Ok(())
		}

		/// Shows what is demanded. Anyone may, for the worker. Free of charge if it shows it.
		#[pallet::call_index(1)]
		// Operational: whoever fills blocks must not keep workers from showing what they have to.
		#[pallet::weight((Pallet::<T>::judgement(claim, answer), DispatchClass::Operational))]
		pub fn answer(
			origin: OriginFor<T>,
			assignment: AssignmentId,
			claim: Claim,
			answer: Answer,
		) -> DispatchResultWithPostInfo {
			let who = ensure_signed(origin)?;
			let now = Self::now();
			let mut demands = Demands::<T>::get(assignment);
			let position = demands.iter().position(|demand| demand.claim == claim);
			let at = position.ok_or(Error::<T>::NoSuchDemand)?;
			let demand = demands.get(at).cloned().ok_or(Error::<T>::NoSuchDemand)?;
			ensure!(now <= demand.due && !demand.proven, Error::<T>::TooLate);
			let result = T::Results::standing(assignment).ok_or(Error::<T>::NoStandingResult)?;
			if !Self::judge(&result, &claim, &answer)? {
				// What falls may take much back: that is for the hook, which counts what it does.
				if demands.iter().all(|demand| !demand.proven) {
					Self::condemn(assignment);
				}
				if let Some(demand) = demands.get_mut(at) {
					demand.proven = true;
				}
				Self::keep(assignment, demands);
				Self::deposit_event(Event::ProvenWrong { assignment, claim, by: who });
				return Ok(Pays::No.into());
			}
			let crowded = Self::challenges(&demands) >= MAX_DEMANDS / 2;
			demands.remove(at);
			Self::keep(assignment, demands);
			if let Some((challenger, bond)) = demand.by {
				Self::end_challenge(assignment, &result, &claim, challenger, bond);
				let answering = Self::showing(T::AnswerWindow::get(), result.took);
				let round = answering.saturating_add(T::FollowUpWindow::get());
				// Whoever is kept out by a result's own challengers loses no time by it.
				let most = if crowded { BlockNumber::MAX } else { round.saturating_mul(MAX_SEARCH) };
				T::Results::extend(assignment, now.saturating_add(T::FollowUpWindow::get()), most);
			}
			Self::deposit_event(Event::Answered { assignment, claim, by: who });
			Ok(Pays::No.into())
		}

		/// Reports two sealed headers of one author on one parent of this chain. The reporter gets half of what it costs the
		/// author's bond, as far as that is at no stake.
		#[pallet::call_index(2)]
		// Operational: whoever fills blocks should not outlast the time for a report.
		#[pallet::weight((
			T::WeightInfo::report_equivocation(first.encoded_size().saturating_add(second.encoded_size()) as u32),
			DispatchClass::Operational,
		))]
		pub fn report_equivocation(
			origin: OriginFor<T>,
			first: Box<HeaderFor<T>>,
			second: Box<HeaderFor<T>>,
		) -> DispatchResult {
			let reporter = ensure_signed(origin)?;
			Self::punish_equivocation(reporter, *first, *second)
		}
	}
}

impl<T: Config> Pallet<T> {
	fn height() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// How long there is to show something of a result, given the window and how long the unit took.
	fn showing(window: BlockNumber, took: BlockNumber) -> BlockNumber {
		window.saturating_add(took / SHOWING)
	}

	/// Whether this block could take one more answer, as large as one may be.
	fn has_room() -> bool {
		let weight = frame_system::Pallet::<T>::block_weight();
		let answers = *weight.get(DispatchClass::Operational);
		Self::has_room_beside(weight.total(), answers, frame_system::Pallet::<T>::block_size())
	}

	/// Whether there is room for such an answer beside so much weight, of it so much of its own class, and so many bytes. The rules are those
	/// of `frame_system::CheckWeight`.
	fn has_room_beside(total: Weight, own: Weight, bytes: u32) -> bool {
		let class = DispatchClass::Operational;
		let (weights, length) = (T::BlockWeights::get(), LARGEST_ANSWER.saturating_mul(CHUNK_BYTES as u32));
		let limits = weights.get(class);
		let answer =
			Self::largest_answer().saturating_add(limits.base_extrinsic).saturating_add_proof_size(length.into());
		let (total, own) = (total.saturating_add(answer), own.saturating_add(answer));
		let reserved = limits.reserved.unwrap_or(Weight::MAX);
		limits.max_total.is_none_or(|most| own.all_lte(most))
			&& (total.all_lte(weights.max_block) || own.all_lte(reserved))
			&& bytes.saturating_add(length) <= *T::BlockLength::get().max.get(class)
	}

	/// Weight of the largest answer.
	pub fn largest_answer() -> Weight {
		T::WeightInfo::answer(LARGEST_ANSWER).saturating_add(T::WeightInfo::answer_merged())
	}

	/// The results of a worker, or of all, of which something is to be shown. Their windows and demands end at heights.
	pub fn disputes(worker: Option<&AccountId>) -> Vec<Dispute> {
		let all = Demands::<T>::iter().filter_map(|(assignment, mut demands)| {
			let mut result = T::Results::standing(assignment)?;
			result.due = Self::height_of(result.due);
			demands.iter_mut().for_each(|demand| demand.due = Self::height_of(demand.due));
			Some(Dispute { assignment, result, demands: demands.into_inner() })
		});
		all.filter(|dispute| worker.is_none_or(|worker| dispute.result.worker == *worker)).collect()
	}

	/// Stores what is still to be shown of a result.
	fn keep(id: AssignmentId, demands: BoundedVec<Demand, ConstU32<MAX_DEMANDS>>) {
		if demands.is_empty() {
			Demands::<T>::remove(id);
		} else {
			Demands::<T>::insert(id, demands);
		}
	}

	/// The challenges among demands; the others are the audit's.
	fn challenges(demands: &[Demand]) -> u32 {
		demands.iter().filter(|demand| demand.by.is_some()).count() as u32
	}

	/// Notes a result for a time to come.
	fn look_at(id: AssignmentId, time: BlockNumber) {
		let place = DueCount::<T>::get(time);
		let last = place.checked_sub(1).and_then(|last| Due::<T>::get((time, last)));
		if last != Some(id) {
			Due::<T>::insert((time, place), id);
			DueCount::<T>::insert(time, place.saturating_add(1));
		}
	}

	/// Looks at what may be overdue by now, the oldest first, as far as a block can: what is overdue may be found late, as nothing can be
	/// answered or paid meanwhile. Says at how much.
	fn check_due(now: BlockNumber) -> u32 {
		let (mut time, mut place) = DueFrom::<T>::get();
		let mut looked: u32 = 0;
		// After a full block nothing: what that time had was taken then.
		while time <= now && looked < MAX_DUE_PER_BLOCK {
			if let Some(id) = Due::<T>::take((time, place)) {
				if Self::verdict(id, now).is_some() {
					Self::condemn(id);
				}
				place = place.saturating_add(1);
			} else {
				DueCount::<T>::remove(time);
				(time, place) = (time.saturating_add(1), 0);
			}
			looked = looked.saturating_add(1);
		}
		DueFrom::<T>::put((time, place));
		looked
	}

	/// The task of a result, and its program.
	fn task(result: &StandingResult) -> Option<(TaskSpec, Program)> {
		let spec = T::Results::spec(result.unit.task)?;
		let program = spec.check().ok()?;
		Some((spec, program))
	}

	/// What it costs to judge an answer.
	fn judgement(claim: &Claim, answer: &Answer) -> Weight {
		let weight = T::WeightInfo::answer(answer_chunks(answer));
		match claim {
			Claim::Merged { .. } => weight.saturating_add(T::WeightInfo::answer_merged()),
			_ => weight,
		}
	}

	fn judge(result: &StandingResult, claim: &Claim, answer: &Answer) -> Result<bool, Error<T>> {
		let (spec, program) = Self::task(result).ok_or(Error::<T>::NoStandingResult)?;
		let sets = match claim {
			Claim::Merged { .. } => T::Results::sets(result.unit.task, result.unit.round),
			_ => Vec::new(),
		};
		Ok(spec.judge(&program, result, &sets, claim, answer)?)
	}

	/// A challenge was answered: the challenger lost, or pays for what it was shown.
	fn end_challenge(
		assignment: AssignmentId,
		result: &StandingResult,
		claim: &Claim,
		challenger: AccountId,
		bond: Balance,
	) {
		let reason = HoldReason::Challenge.into();
		let (owed, burns) = match claim.is_decisive() {
			true => {
				let owed = DEFENDER_SHARE.mul_floor(bond);
				(owed, bond.saturating_sub(owed))
			}
			false => (T::ShowFee::get().min(bond), 0),
		};
		let paid = T::Currency::transfer_on_hold(
			&reason,
			&challenger,
			&result.worker,
			owed,
			Precision::BestEffort,
			Restriction::Free,
			Fortitude::Force,
		);
		let burned =
			T::Currency::burn_held(&reason, &challenger, burns, Precision::BestEffort, Fortitude::Force).unwrap_or(0);
		let paid = paid.unwrap_or(0);
		let left = bond.saturating_sub(paid).saturating_sub(burned);
		let returned = T::Currency::release(&reason, &challenger, left, Precision::BestEffort).unwrap_or(0);
		Self::deposit_event(Event::ChallengeEnded { assignment, challenger, paid, burned, returned });
	}

	/// By which demand a result falls, and why: it was shown to be wrong, or not shown in time.
	fn verdict(id: AssignmentId, now: BlockNumber) -> Option<(Demand, Fault)> {
		let demands = Demands::<T>::get(id);
		let proven = demands.iter().find(|demand| demand.proven).map(|demand| (demand, Fault::WrongBlock));
		// The oldest overdue one decides: an audit, or whoever asked first.
		let overdue = || demands.iter().filter(|demand| demand.due < now).min_by_key(|demand| demand.due);
		let (demand, fault) = proven.or_else(|| overdue().map(|demand| (demand, Fault::Silence)))?;
		Some((demand.clone(), fault))
	}

	/// A result is to fall: it waits for its turn.
	fn condemn(id: AssignmentId) {
		let (first, free) = FallingPlaces::<T>::get();
		Falling::<T>::insert(free, id);
		FallingPlaces::<T>::put((first, free.saturating_add(1)));
	}

	/// Lets the next of those results fall. Says how many were gone, as a result may have been found out twice, or void with another; and
	/// how many fell.
	fn let_fall(now: BlockNumber) -> (u32, u32) {
		let (mut first, free) = FallingPlaces::<T>::get();
		let (mut gone, mut falls) = (0u32, 0u32);
		while first < free && gone < MAX_DUE_PER_BLOCK && falls < MAX_FALLS_PER_BLOCK {
			if let Some((id, (demand, fault))) =
				Falling::<T>::take(first).and_then(|id| Some((id, Self::verdict(id, now)?)))
			{
				Self::fall(id, demand.claim, fault, demand.by);
				falls = falls.saturating_add(1);
			} else {
				gone = gone.saturating_add(1);
			}
			first = first.saturating_add(1);
		}
		match first < free {
			true => FallingPlaces::<T>::put((first, free)),
			false => FallingPlaces::<T>::kill(),
		}
		(gone, falls)
	}

	/// Gives the challengers of a result that is gone their bonds back.
	fn refund(demands: BoundedVec<Demand, ConstU32<MAX_DEMANDS>>) {
		let reason = HoldReason::Challenge.into();
		for (challenger, bond) in demands.into_iter().filter_map(|demand| demand.by) {
			let returned = T::Currency::release(&reason, &challenger, bond, Precision::BestEffort);
			debug_assert!(returned == Ok(bond), "the bond is this pallet's own hold");
		}
	}

	/// A result is wrong: it is taken back, its stake slashed and shared out; the other challenges on it are refunded.
	fn fall(assignment: AssignmentId, claim: Claim, fault: Fault, by: Option<(AccountId, Balance)>) {
		let demands = Demands::<T>::take(assignment);
		// A worker whom the audit has found out must not save half of its stake by a friend's challenge.
		let audited = demands.iter().any(|demand| demand.by.is_none());
		Self::refund(demands);
		let Some(fallen) = T::Results::fall(assignment) else { return };
		// Nobody wins by challenging itself.
		let winner = by.map(|(winner, _)| winner).filter(|winner| *winner != fallen.worker && !audited);
		let share = if winner.is_some() { CHALLENGER_SHARE.mul_floor(fallen.stake) } else { 0 };
		let rest = fallen.stake.saturating_sub(share);
		let losses: Vec<Balance> = fallen.victims.iter().map(|(_, loss)| *loss).collect();
		let shares = share_out(rest, &losses);
		let victims = fallen.victims.into_iter().map(|(who, _)| who).zip(shares);
		let takers: Vec<_> = winner.iter().map(|winner| (winner.clone(), share)).chain(victims).collect();
		let slashed = T::Assignments::slash(&fallen.worker, fallen.stake, &takers);
		let worker = fallen.worker;
		Self::deposit_event(Event::ResultFell { assignment, worker, fault, claim, slashed, winner });
	}
}
