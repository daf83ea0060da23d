//! Proof of useful work, on chain: every block proves its work in an inherent, or does not execute.
//!
//! - [`Call::prove`] verifies the block's work proof against the author in the block's digest, the author's assignment and
//!   the difficulty (`labora-pouw` does the arithmetic).
//! - A useful block's reward is held on its author's account under the assignment. It vests when the unit's result has outlived its
//!   window, and is burned when there is none. At most one reward per assignment. An idle block pays a tenth, at once.
//! - The difficulty follows ASERT; [`Usefulness`] counts what was spent and what of it was accepted.
//!
//! What it is not: it assigns nothing (`pallet-workers`) and judges no results (`pallet-tasks`).

#![cfg_attr(not(feature = "std"), no_std)]
// Not `expect_used`: the pallet macros' own code has some.
#![deny(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)]

extern crate alloc;

pub use pallet::*;

pub mod migrations;
mod rewards;
#[cfg(any(feature = "std", feature = "try-runtime"))]
mod try_state;
mod usefulness;
pub mod weights;

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::{
	pallet_prelude::*,
	traits::{
		fungible::{Mutate, MutateHold},
		Time,
	},
};
use labora_pouw::{
	difficulty::{Anchor, Schedule},
	params::IDLE_HANDICAP,
	Difficulty, IdleSeed, ProofError, SealedTile, UsefulProof, UsefulSeed,
};
use labora_primitives::{
	limits::MaxSeals, AccountId, Assignment, AssignmentId, AssignmentLedger, Balance, BlockNumber, LastSeal, Moment,
	ResolveError, RewardLedger, Seal, TicketSource, UnitResolver, Usefulness, WorkCredit, WorkProof,
	INHERENT_IDENTIFIER,
};
use labora_tensor::{Opening, CHUNK_BYTES};
use scale_info::TypeInfo;
use sp_inherents::{InherentData, InherentIdentifier, IsFatalError};
use sp_runtime::{
	traits::{SaturatedConversion, Zero},
	Permill,
};

pub use usefulness::Span;
pub use weights::WeightInfo;

pub use labora_primitives::ENGINE_ID;

/// Spans of blocks that the recent usefulness looks back on.
pub const SPANS: u32 = 16;

/// The reward held under an assignment, and the blocks that it sealed.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct HeldReward {
	/// On whose account.
	pub worker: AccountId,
	/// How much.
	pub amount: Balance,
	/// The sealed blocks, in order.
	pub seals: BoundedVec<Seal, MaxSeals>,
}

#[frame_support::pallet]
pub mod pallet {
	use super::*;
	use frame_system::pallet_prelude::*;

	#[pallet::config]
	pub trait Config: frame_system::Config<AccountId = AccountId, RuntimeEvent: From<Event<Self>>> {
		/// The chain's money.
		type Currency: Mutate<AccountId, Balance = Balance>
			+ MutateHold<AccountId, Balance = Balance, Reason = Self::RuntimeHoldReason>;
		/// The reason for holding a reward.
		type RuntimeHoldReason: From<HoldReason>;
		/// The block's time, set by the timestamp inherent.
		type Time: Time<Moment = Moment>;
		/// The running assignments.
		type Assignments: AssignmentLedger;
		/// What the assigned units are made of.
		type Units: UnitResolver;
		/// Who else counts each worker's useful work.
		type Credit: WorkCredit;
		/// Reward of a block sealed by useful work.
		#[pallet::constant]
		type BlockReward: Get<Balance>;
		/// Part of it that a block sealed by idle work pays.
		#[pallet::constant]
		type IdleShare: Get<Permill>;
		/// Blocks of a span that the recent usefulness is counted in.
		#[pallet::constant]
		type SpanBlocks: Get<BlockNumber>;
		/// Weights of the calls.
		type WeightInfo: WeightInfo;
	}

	/// Why this pallet holds money.
	#[pallet::composite_enum]
	pub enum HoldReason {
		/// A block's reward, until the result of the unit that sealed it stands.
		Reward,
	}

	/// Of the storage's layout: raised with every migration.
	pub const STORAGE_VERSION: StorageVersion = StorageVersion::new(2);

	#[pallet::pallet]
	#[pallet::storage_version(STORAGE_VERSION)]
	pub struct Pallet<T>(_);

	/// The author that the block's digest names. Of this block only.
	#[pallet::storage]
	pub type Author<T> = StorageValue<_, AccountId>;

	/// Whether this block was proved. Of this block only.
	#[pallet::storage]
	pub type Proved<T> = StorageValue<_, bool, ValueQuery>;

	/// What sealed the last block.
	#[pallet::storage]
	pub type Last<T> = StorageValue<_, LastSeal>;

	/// The ticket of the last proved block.
	#[pallet::storage]
	pub type Ticket<T> = StorageValue<_, [u8; 32], ValueQuery>;

	/// Parameters of the difficulty schedule, fixed at genesis.
	#[pallet::storage]
	pub type DifficultySchedule<T> = StorageValue<_, Schedule>;

	/// Where the difficulty schedule starts: the first block, as the genesis has no time.
	#[pallet::storage]
	pub type DifficultyAnchor<T> = StorageValue<_, Anchor>;

	/// Difficulty of the next block.
	#[pallet::storage]
	pub type NextDifficulty<T> = StorageValue<_, Difficulty, ValueQuery>;

	/// Rewards under running or maturing assignments.
	#[pallet::storage]
	pub type HeldRewards<T> = StorageMap<_, Twox64Concat, AssignmentId, HeldReward>;

	/// Work spent and work accepted, over all time.
	#[pallet::storage]
	pub type WorkTotals<T> = StorageValue<_, Usefulness, ValueQuery>;

	/// The same for the last spans of [`Config::SpanBlocks`] blocks, the current one at the end.
	#[pallet::storage]
	pub type Spans<T> = StorageValue<_, BoundedVec<Span, ConstU32<SPANS>>, ValueQuery>;

	#[pallet::genesis_config]
	pub struct GenesisConfig<T: Config> {
		/// Target block time, milliseconds.
		pub block_time: u64,
		/// The difficulty doubles when the chain is this far ahead of its schedule, milliseconds.
		pub half_life: u64,
		/// The difficulty never falls below, multiply-accumulates.
		pub difficulty_floor: u64,
		/// Difficulty of the first block, multiply-accumulates.
		pub initial_difficulty: u64,
		/// The most that the chain makes up for after a stop, milliseconds.
		pub max_lag: u64,
		#[doc(hidden)]
		pub _marker: PhantomData<T>,
	}

	/// The slow schedule of a public chain: 10 s.
	impl<T: Config> Default for GenesisConfig<T> {
		fn default() -> Self {
			Self {
				block_time: 10_000,
				half_life: 1_800_000,
				difficulty_floor: 1 << 24,
				initial_difficulty: 1 << 38,
				max_lag: 3_600_000,
				_marker: PhantomData,
			}
		}
	}

	#[pallet::genesis_build]
	impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
		fn build(&self) {
			DifficultySchedule::<T>::put(Schedule {
				block_time: self.block_time,
				half_life: self.half_life,
				floor: Difficulty(u128::from(self.difficulty_floor)),
				max_lag: self.max_lag,
			});
			NextDifficulty::<T>::put(Difficulty(u128::from(self.initial_difficulty)));
		}
	}

	#[pallet::event]
	#[pallet::generate_deposit(pub(super) fn deposit_event)]
	pub enum Event<T: Config> {
		/// The block's work was proved.
		BlockSealed {
			/// By what.
			seal: LastSeal,
			/// The difficulty it met, multiply-accumulates.
			difficulty: u128,
		},
		/// A reward is held until the unit's result stands.
		RewardHeld {
			/// The unit's assignment.
			assignment: AssignmentId,
			/// On whose account.
			worker: AccountId,
			/// How much.
			amount: Balance,
		},
		/// A held reward became its worker's.
		RewardVested {
			/// The unit's assignment.
			assignment: AssignmentId,
			/// Whose.
			worker: AccountId,
			/// How much.
			amount: Balance,
		},
		/// A held reward was burned: the unit has no result.
		RewardBurned {
			/// The unit's assignment.
			assignment: AssignmentId,
			/// From whose account.
			worker: AccountId,
			/// How much.
			amount: Balance,
		},
		/// A span of blocks is over.
		UsefulnessCounted {
			/// Of the last spans.
			recent: Usefulness,
			/// Of all time.
			total: Usefulness,
		},
		/// An idle block's reward was paid.
		IdleRewardPaid {
			/// To whom.
			worker: AccountId,
			/// How much.
			amount: Balance,
		},
	}

	#[pallet::error]
	pub enum Error<T> {
		/// The block has a proof already.
		AlreadyProved,
		/// The block's digest names no author.
		NoAuthor,
		/// There is no such assignment, or it has ended.
		NoSuchAssignment,
		/// The assignment is not the author's.
		NotTheAuthorsAssignment,
		/// The assignment has sealed as many blocks as one may.
		TooManySeals,
		/// The unit is not mined: it is a merge, or its task is gone.
		NotMineable,
		/// The unit has no such op.
		NoSuchOp,
		/// The op is no product, or one too small to be mined.
		NotEligible,
		/// The product has no such tile.
		NoSuchTile,
		/// The operand's commitment is not the one of the task's dataset.
		WrongOperand,
		/// The left strip is too long, too short, or not of the committed tensor.
		BadLeftStrip,
		/// The right strip is too long, too short, or not of the committed tensor.
		BadRightStrip,
		/// The ticket does not meet the difficulty.
		TicketAboveTarget,
	}

	impl<T> From<ProofError> for Error<T> {
		fn from(error: ProofError) -> Self {
			match error {
				ProofError::NoSuchTile => Self::NoSuchTile,
				ProofError::LeftStrip(_) => Self::BadLeftStrip,
				ProofError::RightStrip(_) => Self::BadRightStrip,
				ProofError::TicketAboveTarget => Self::TicketAboveTarget,
			}
		}
	}

	impl<T> From<ResolveError> for Error<T> {
		fn from(error: ResolveError) -> Self {
			match error {
				ResolveError::NotMineable => Self::NotMineable,
				ResolveError::NoSuchOp => Self::NoSuchOp,
				ResolveError::NotEligible => Self::NotEligible,
				ResolveError::NoSuchTile => Self::NoSuchTile,
			}
		}
	}

	#[pallet::hooks]
	impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
		fn on_initialize(_: BlockNumberFor<T>) -> Weight {
			let digest = frame_system::Pallet::<T>::digest();
			let mut named = digest.logs().iter().filter_map(|log| log.as_pre_runtime());
			let author = named
				.find(|(engine, _)| *engine == ENGINE_ID)
				.and_then(|(_, mut bytes)| AccountId::decode(&mut bytes).ok());
			Author::<T>::set(author);
			T::WeightInfo::block_hooks()
		}

		#[cfg(feature = "try-runtime")]
		fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
			Self::do_try_state()
		}

		/// Panics if the block was not proved, which makes it invalid: there is no other way to refuse a block that merely
		/// leaves something out (the timestamp pallet does the same).
		#[allow(clippy::panic)]
		fn on_finalize(number: BlockNumberFor<T>) {
			assert!(Proved::<T>::take(), "a block must prove its work");
			Author::<T>::kill();
			let height = number.saturated_into();
			Self::adjust_difficulty(height);
			Self::turn_span(number.saturated_into());
		}
	}

	#[pallet::call]
	impl<T: Config> Pallet<T> {
		/// Proves the block's work. An inherent: exactly one per block, by the block's author.
		#[pallet::call_index(0)]
		#[pallet::weight((match proof {
			WorkProof::Useful(proof) => T::WeightInfo::prove_useful(proof_chunks(proof)),
			WorkProof::Idle(_) => T::WeightInfo::prove_idle(),
		}, DispatchClass::Mandatory))]
		pub fn prove(origin: OriginFor<T>, proof: WorkProof) -> DispatchResult {
			ensure_none(origin)?;
			ensure!(!Proved::<T>::get(), Error::<T>::AlreadyProved);
			let author = Author::<T>::get().ok_or(Error::<T>::NoAuthor)?;
			let difficulty = NextDifficulty::<T>::get();
			let seal = match proof {
				WorkProof::Useful(proof) => Self::prove_useful(author, &proof, difficulty)?,
				WorkProof::Idle(proof) => {
					let seed = Self::parent_hashes();
					let account = author.encode();
					let seed = IdleSeed { genesis: &seed.0, parent: &seed.1, account: &account, nonce: proof.nonce };
					Ticket::<T>::put(
						proof.verify(&seed, difficulty).map_err(Error::<T>::from)?.ticket().to_big_endian(),
					);
					Self::pay_idle(&author)?;
					Self::count(difficulty, false);
					LastSeal::Idle { author, nonce: proof.nonce, tile: proof.tile }
				}
			};
			Last::<T>::put(&seal);
			Proved::<T>::put(true);
			Self::deposit_event(Event::BlockSealed { seal, difficulty: difficulty.0 });
			Ok(())
		}
	}

	#[pallet::inherent]
	impl<T: Config> ProvideInherent for Pallet<T> {
		type Call = Call<T>;
		type Error = InherentError;
		const INHERENT_IDENTIFIER: InherentIdentifier = INHERENT_IDENTIFIER;

		fn create_inherent(data: &InherentData) -> Option<Self::Call> {
			let proof = data.get_data::<WorkProof>(&INHERENT_IDENTIFIER).ok().flatten()?;
			Some(Call::prove { proof })
		}

		fn is_inherent(call: &Self::Call) -> bool {
			matches!(call, Call::prove { .. })
		}
	}
}

/// The inherent is verified when the block executes, not before: there is nothing more to say about it.
#[derive(Encode, Debug)]
pub enum InherentError {}

impl IsFatalError for InherentError {
	fn is_fatal_error(&self) -> bool {
		true
	}
}

/// Bytes that a proof opens, in chunks, and those of the hashes beside them: what its verification costs grows with them.
pub fn proof_chunks(proof: &UsefulProof) -> u32 {
	let bytes = |strip: &Opening| strip.data.len().saturating_add(strip.siblings.len().saturating_mul(64));
	let all = bytes(&proof.strip_a).saturating_add(bytes(&proof.strip_b));
	u32::try_from(all.div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX)
}

impl<T: Config> Pallet<T> {
	/// Difficulty of the next block.
	pub fn difficulty() -> Difficulty {
		NextDifficulty::<T>::get()
	}

	/// Hashes of the genesis block and of this block's parent, as seeds take them.
	fn parent_hashes() -> ([u8; 32], [u8; 32]) {
		let bytes = |hash: T::Hash| {
			let mut bytes = [0; 32];
			for (to, from) in bytes.iter_mut().zip(hash.as_ref()) {
				*to = *from;
			}
			bytes
		};
		// The genesis hash is pruned from the ring of block hashes after a while; `frame_system` keeps block 0 for good.
		let genesis = frame_system::Pallet::<T>::block_hash(frame_system::pallet_prelude::BlockNumberFor::<T>::zero());
		(bytes(genesis), bytes(frame_system::Pallet::<T>::parent_hash()))
	}

	fn prove_useful(author: AccountId, proof: &UsefulProof, difficulty: Difficulty) -> Result<LastSeal, DispatchError> {
		let id = AssignmentId(proof.assignment);
		let assignment = T::Assignments::get(id).ok_or(Error::<T>::NoSuchAssignment)?;
		ensure!(assignment.worker == author, Error::<T>::NotTheAuthorsAssignment);
		Ticket::<T>::put(Self::verify_useful(&assignment, proof, difficulty)?.ticket().to_big_endian());
		let now = frame_system::Pallet::<T>::block_number().saturated_into();
		let seal = Seal { block: now, op: proof.op, a: proof.a, b: proof.b };
		Self::hold_reward(&assignment, seal)?;
		Self::count(difficulty, true);
		Ok(LastSeal::Useful { author, task: assignment.unit.task, assignment: id, op: proof.op, tile: proof.tile })
	}

	/// Verifies a proof of an assigned unit: what it opens follows from the chain's records, not from the proof.
	pub fn verify_useful(
		assignment: &Assignment,
		proof: &UsefulProof,
		difficulty: Difficulty,
	) -> Result<SealedTile, Error<T>> {
		let work = T::Units::resolve(assignment.unit, proof.op, proof.tile)?;
		let known = [(work.known_a, proof.a), (work.known_b, proof.b)];
		ensure!(known.iter().all(|(known, said)| known.is_none_or(|known| known == *said)), Error::<T>::WrongOperand);
		let (genesis, parent) = Self::parent_hashes();
		let seed = UsefulSeed {
			genesis: &genesis,
			parent: &parent,
			assignment: proof.assignment,
			op: proof.op,
			a: &proof.a,
			b: &proof.b,
			product: work.product,
		};
		Ok(proof.verify(&seed.seed(), &work.product, &work.a, &work.b, difficulty)?)
	}

	/// Records the seal, and holds the assignment's one reward if this is its first block.
	fn hold_reward(assignment: &Assignment, seal: Seal) -> DispatchResult {
		let worker = &assignment.worker;
		let held = HeldRewards::<T>::get(assignment.id);
		let first = held.is_none();
		let amount = T::BlockReward::get();
		let mut held = held.unwrap_or_else(|| HeldReward { worker: worker.clone(), amount, seals: BoundedVec::new() });
		held.seals.try_push(seal).map_err(|_| Error::<T>::TooManySeals)?;
		if first {
			T::Currency::mint_into(worker, amount)?;
			T::Currency::hold(&HoldReason::Reward.into(), worker, amount)?;
			Self::deposit_event(Event::RewardHeld { assignment: assignment.id, worker: worker.clone(), amount });
		}
		HeldRewards::<T>::insert(assignment.id, held);
		Ok(())
	}

	fn pay_idle(author: &AccountId) -> DispatchResult {
		let amount = T::IdleShare::get().mul_floor(T::BlockReward::get());
		T::Currency::mint_into(author, amount)?;
		Self::deposit_event(Event::IdleRewardPaid { worker: author.clone(), amount });
		Ok(())
	}

	fn adjust_difficulty(height: u64) {
		let Some(schedule) = DifficultySchedule::<T>::get() else { return };
		let now = T::Time::now();
		let anchor = DifficultyAnchor::<T>::get().unwrap_or_else(|| Anchor {
			height,
			time: now,
			difficulty: NextDifficulty::<T>::get(),
		});
		let anchor = schedule.caught_up(anchor, height, now);
		NextDifficulty::<T>::put(schedule.next(&anchor, height, now));
		DifficultyAnchor::<T>::put(anchor);
	}
}

impl<T: Config> TicketSource for Pallet<T> {
	fn ticket() -> [u8; 32] {
		Ticket::<T>::get()
	}
}
