//! How each pallet is set up.

use codec::DecodeAll;
use frame_support::{
	derive_impl,
	dispatch::DispatchClass,
	parameter_types,
	traits::{ConstU16, ConstU32, ConstU64, ConstU8, FindAuthor, VariantCountOf},
	weights::{
		constants::{RocksDbWeight, WEIGHT_REF_TIME_PER_MILLIS},
		ConstantMultiplier, IdentityFee, Weight,
	},
};
use frame_system::limits::{BlockLength, BlockWeights};
use pallet_session::{disabling::UpToLimitDisablingStrategy, historical};
use pallet_transaction_payment::{ConstFeeMultiplier, FungibleAdapter, Multiplier};
use sp_runtime::{
	traits::{ConvertInto, One, OpaqueKeys},
	ConsensusEngineId, Perbill, Permill,
};
use sp_version::RuntimeVersion;

use crate::{
	constants::*, weights, AccountId, Balance, Balances, Block, BlockNumber, Disputes, Hash, Historical, Nonce,
	Offences, OriginCaller, PalletInfo, Runtime, RuntimeCall, RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason,
	RuntimeOrigin, RuntimeTask, SessionKeys, System, Tasks, Timestamp, UncheckedExtrinsic, Validators, Work, Workers,
	VERSION,
};

/// What signed extrinsics may use of a block.
const NORMAL_RATIO: Perbill = Perbill::from_percent(75);
/// Part of a block's bytes that normal calls may use: the largest answer fits beside them.
const NORMAL_BYTES_RATIO: Perbill = Perbill::from_percent(55);
/// Largest body: a proof at the largest `k` is 1 MiB and its siblings.
const MAX_BLOCK_BYTES: u32 = 5 * 1024 * 1024;

parameter_types! {
	pub const BlockHashCount: BlockNumber = 2_400;
	pub const Version: RuntimeVersion = VERSION;
	/// Half a second of execution: half the interval of the fastest chain (development).
	pub RuntimeBlockWeights: BlockWeights = BlockWeights::with_sensible_defaults(
		Weight::from_parts(500u64.saturating_mul(WEIGHT_REF_TIME_PER_MILLIS), u64::MAX),
		NORMAL_RATIO,
	);
	pub RuntimeBlockLength: BlockLength = BlockLength::builder()
		.max_length(MAX_BLOCK_BYTES)
		.modify_max_length_for_class(DispatchClass::Normal, |most| *most = NORMAL_BYTES_RATIO * *most)
		.build();
	pub const ExistentialDeposit: Balance = EXISTENTIAL_DEPOSIT;
	pub FeeMultiplier: Multiplier = Multiplier::one();
	pub const ByteFee: Balance = BYTE_FEE;
	pub const BlockReward: Balance = BLOCK_REWARD;
	pub const IdleShare: Permill = Permill::from_percent(10);
	pub const SlotBond: Balance = SLOT_BOND;
	pub const MissedSlash: Permill = Permill::from_percent(10);
	pub const MinPrice: Balance = MIN_PRICE;
	pub const ChallengeBond: Balance = CHALLENGE_BOND;
	pub const ShowFee: Balance = SHOW_FEE;
	pub const EquivocationSlash: Balance = EQUIVOCATION_SLASH;
	pub const MinValidatorBond: Balance = MIN_VALIDATOR_BOND;
	pub const KeyDeposit: Balance = KEY_DEPOSIT;
	pub const DeadlineRange: (BlockNumber, BlockNumber) = DEADLINE_RANGE;
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
	type Block = Block;
	type BlockWeights = RuntimeBlockWeights;
	type BlockLength = RuntimeBlockLength;
	type AccountId = AccountId;
	type Lookup = sp_runtime::traits::AccountIdLookup<AccountId, ()>;
	type Nonce = Nonce;
	type Hash = Hash;
	type BlockHashCount = BlockHashCount;
	type DbWeight = RocksDbWeight;
	type Version = Version;
	type AccountData = pallet_balances::AccountData<Balance>;
	type SS58Prefix = ConstU16<42>;
	type MaxConsumers = ConstU32<16>;
	type SingleBlockMigrations =
		(pallet_work::migrations::SpansWithStarts<Runtime>, pallet_disputes::migrations::AuditsNoted<Runtime>);
}

impl pallet_timestamp::Config for Runtime {
	type Moment = u64;
	type OnTimestampSet = ();
	// Blocks come when work is found; one millisecond keeps time ascending.
	type MinimumPeriod = ConstU64<1>;
	type WeightInfo = ();
}

impl pallet_balances::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type RuntimeHoldReason = RuntimeHoldReason;
	type RuntimeFreezeReason = RuntimeFreezeReason;
	type Balance = Balance;
	type DustRemoval = ();
	type ExistentialDeposit = ExistentialDeposit;
	type AccountStore = System;
	type ReserveIdentifier = [u8; 8];
	type FreezeIdentifier = RuntimeFreezeReason;
	type MaxLocks = ConstU32<50>;
	type MaxReserves = ();
	type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
	type DoneSlashHandler = ();
	type WeightInfo = pallet_balances::weights::SubstrateWeight<Runtime>;
}

impl pallet_transaction_payment::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type OnChargeTransaction = FungibleAdapter<Balances, ()>;
	// Among those that may not be kept out a tip should count little: who only wants to be in the way does not expect to pay it.
	type OperationalFeeMultiplier = ConstU8<{ u8::MAX }>;
	type WeightToFee = IdentityFee<Balance>;
	type LengthToFee = ConstantMultiplier<Balance, ByteFee>;
	type FeeMultiplierUpdate = ConstFeeMultiplier<FeeMultiplier>;
	type WeightInfo = pallet_transaction_payment::weights::SubstrateWeight<Runtime>;
}

impl pallet_utility::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type RuntimeCall = RuntimeCall;
	type PalletsOrigin = OriginCaller;
	type WeightInfo = pallet_utility::weights::SubstrateWeight<Runtime>;
}

/// Only the development chain's genesis gives anyone the key.
impl pallet_sudo::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type RuntimeCall = RuntimeCall;
	type WeightInfo = pallet_sudo::weights::SubstrateWeight<Runtime>;
}

impl pallet_work::Config for Runtime {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type Time = Timestamp;
	type Assignments = Workers;
	type Units = Tasks;
	type Credit = Validators;
	type BlockReward = BlockReward;
	type IdleShare = IdleShare;
	type SpanBlocks = ConstU32<SPAN_BLOCKS>;
	type WeightInfo = weights::Work;
}

impl pallet_tasks::Config for Runtime {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type Assignments = Workers;
	type Rewards = Work;
	type Disputes = Disputes;
	type Clock = Disputes;
	type ResultWindow = ConstU32<RESULT_WINDOW>;
	type MaxOpenTasks = ConstU32<256>;
	type DeadlineRange = DeadlineRange;
	type MinPrice = MinPrice;
	type WeightInfo = weights::Tasks;
}

impl pallet_workers::Config for Runtime {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type Tasks = Tasks;
	type Tickets = Work;
	type Rewards = Work;
	type Clock = Disputes;
	type SlotBond = SlotBond;
	type MissedSlash = MissedSlash;
	type MissesToChill = ConstU8<3>;
	type ChillBlocks = ConstU32<CHILL_BLOCKS>;
	type UnbondingBlocks = ConstU32<UNBONDING_BLOCKS>;
	type MaxWorkers = ConstU32<1_024>;
	type WeightInfo = weights::Workers;
}

impl pallet_disputes::Config for Runtime {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type Results = Tasks;
	type Assignments = Workers;
	type Tickets = Work;
	type BlockReward = BlockReward;
	type AuditSteps = ConstU8<AUDIT_STEPS>;
	type AuditBlocks = ConstU8<AUDIT_BLOCKS>;
	type AuditWindow = ConstU32<AUDIT_WINDOW>;
	type AnswerWindow = ConstU32<ANSWER_WINDOW>;
	type FollowUpWindow = ConstU32<FOLLOW_UP_WINDOW>;
	type ChallengeBond = ChallengeBond;
	type ShowFee = ShowFee;
	type EquivocationSlash = EquivocationSlash;
	type ReportAge = ConstU32<REPORT_AGE>;
	type WeightInfo = weights::Disputes;
}

/// The author that a block's pre-runtime digest names.
pub struct DigestAuthor;

impl FindAuthor<AccountId> for DigestAuthor {
	fn find_author<'a, I>(digests: I) -> Option<AccountId>
	where
		I: 'a + IntoIterator<Item = (ConsensusEngineId, &'a [u8])>,
	{
		let mut digests = digests.into_iter();
		let (_, mut bytes) = digests.find(|(engine, _)| *engine == pallet_work::ENGINE_ID)?;
		AccountId::decode_all(&mut bytes).ok()
	}
}

impl pallet_authorship::Config for Runtime {
	type FindAuthor = DigestAuthor;
	type EventHandler = ();
}

impl pallet_validators::Config for Runtime {
	type Currency = Balances;
	type RuntimeHoldReason = RuntimeHoldReason;
	type MinBond = MinValidatorBond;
	type MaxCandidates = ConstU32<MAX_CANDIDATES>;
	type MaxValidators = ConstU32<MAX_VALIDATORS>;
	type BondingSessions = ConstU32<BONDING_SESSIONS>;
	type WeightInfo = weights::Validators;
}

impl pallet_offences::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type IdentificationTuple = historical::IdentificationTuple<Self>;
	type OnOffenceHandler = Validators;
}

impl pallet_session::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type ValidatorId = AccountId;
	type ValidatorIdOf = ConvertInto;
	type ShouldEndSession = Validators;
	type NextSessionRotation = Validators;
	type SessionManager = historical::NoteHistoricalRoot<Self, Validators>;
	type SessionHandler = <SessionKeys as OpaqueKeys>::KeyTypeIdProviders;
	type Keys = SessionKeys;
	type DisablingStrategy = UpToLimitDisablingStrategy;
	type WeightInfo = pallet_session::weights::SubstrateWeight<Runtime>;
	type Currency = Balances;
	type KeyDeposit = KeyDeposit;
}

impl historical::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type FullIdentification = Balance;
	type FullIdentificationOf = pallet_validators::BondOf<Self>;
}

impl pallet_grandpa::Config for Runtime {
	type RuntimeEvent = RuntimeEvent;
	type WeightInfo = ();
	type MaxAuthorities = ConstU32<MAX_VALIDATORS>;
	type MaxNominators = ConstU32<0>;
	// Every session begins a new set.
	type MaxSetIdSessionEntries = ConstU64<{ BONDING_SESSIONS as u64 }>;
	type KeyOwnerProof = sp_session::MembershipProof;
	type EquivocationReportSystem =
		pallet_grandpa::EquivocationReportSystem<Self, Offences, Historical, ConstU64<REPORT_LONGEVITY>>;
}

/// Blocks that a report of an equivocation waits in the pool at most.
const REPORT_LONGEVITY: u64 = BONDING_SESSIONS as u64 * SESSION_BLOCKS as u64;

impl<Call> frame_system::offchain::CreateTransactionBase<Call> for Runtime
where
	RuntimeCall: From<Call>,
{
	type Extrinsic = UncheckedExtrinsic;
	type RuntimeCall = RuntimeCall;
}

impl<Call> frame_system::offchain::CreateBare<Call> for Runtime
where
	RuntimeCall: From<Call>,
{
	fn create_bare(call: RuntimeCall) -> UncheckedExtrinsic {
		UncheckedExtrinsic::new_bare(call)
	}
}
