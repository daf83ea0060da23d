//! The Labora runtime.
//!
//! - [`configs`]: how each pallet is set up, with the chain's constants.
//! - [`apis`]: what the node and clients may ask.
//! - [`presets`]: the genesis of the `development` and `local` chains.
//! - [`signing`]: what an extrinsic's signature signs.
//! - [`weights`]: what our pallets' calls cost; `benchmarks` measure it.

#![cfg_attr(not(feature = "std"), no_std)]
#![recursion_limit = "256"]
// The runtime macros generate items that cannot carry documentation.
#![allow(missing_docs)]

#[cfg(feature = "std")]
include!(concat!(env!("OUT_DIR"), "/wasm_binary.rs"));

extern crate alloc;

mod apis;
#[cfg(feature = "runtime-benchmarks")]
mod benchmarks;
pub mod configs;
pub mod constants;
pub mod nonce;
pub mod presets;
pub mod signing;
pub mod weights;

use alloc::{borrow::Cow, vec::Vec};
use sp_runtime::{
	generic,
	traits::{BlakeTwo256, IdentifyAccount, Verify},
	MultiAddress, MultiSignature,
};
use sp_version::{runtime_version, RuntimeVersion};

#[cfg(feature = "std")]
pub use apis::{api, RuntimeApi};

/// Signature of an extrinsic.
pub type Signature = MultiSignature;
/// An account.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// An amount in the smallest unit.
pub type Balance = labora_primitives::Balance;
/// Number of an account's next extrinsic.
pub type Nonce = u32;
/// A hash.
pub type Hash = labora_primitives::Hash;
/// A block's height.
pub type BlockNumber = labora_primitives::BlockNumber;
/// How extrinsics name accounts.
pub type Address = MultiAddress<AccountId, ()>;
/// A block's header.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;

/// What every signed extrinsic carries beside its call.
pub type TxExtension = (
	frame_system::AuthorizeCall<Runtime>,
	frame_system::CheckNonZeroSender<Runtime>,
	frame_system::CheckSpecVersion<Runtime>,
	frame_system::CheckTxVersion<Runtime>,
	frame_system::CheckGenesis<Runtime>,
	frame_system::CheckEra<Runtime>,
	nonce::CheckNonce,
	frame_system::CheckWeight<Runtime>,
	pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
	frame_metadata_hash_extension::CheckMetadataHash<Runtime>,
	frame_system::WeightReclaim<Runtime>,
);
/// An extrinsic.
pub type UncheckedExtrinsic = generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// What an extrinsic's signature signs.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;

/// Executes blocks.
pub type Executive =
	frame_executive::Executive<Runtime, Block, frame_system::ChainContext<Runtime>, Runtime, AllPalletsWithSystem>;

sp_runtime::impl_opaque_keys! {
	/// What a validator signs with.
	pub struct SessionKeys {
		/// Its votes on what is final: an ed25519 key of type `gran`.
		pub grandpa: Grandpa,
	}
}

/// The types that the node needs without knowing the runtime's calls.
pub mod opaque {
	use super::*;
	pub use sp_runtime::OpaqueExtrinsic as UncheckedExtrinsic;

	/// A header.
	pub type Header = super::Header;
	/// A block of opaque extrinsics.
	pub type Block = generic::Block<Header, UncheckedExtrinsic>;
	/// Identifier of a block.
	pub type BlockId = generic::BlockId<Block>;
	/// A hash.
	pub type Hash = super::Hash;
}

/// The runtime's version. Raise `spec_version` with every change of behaviour, `transaction_version` when calls change.
#[runtime_version]
pub const VERSION: RuntimeVersion = RuntimeVersion {
	spec_name: Cow::Borrowed("labora"),
	impl_name: Cow::Borrowed("labora"),
	authoring_version: 1,
	spec_version: 6,
	impl_version: 1,
	apis: apis::RUNTIME_API_VERSIONS,
	transaction_version: 1,
	system_version: 1,
};

#[frame_support::runtime]
mod runtime {
	#[runtime::runtime]
	#[runtime::derive(
		RuntimeCall,
		RuntimeEvent,
		RuntimeError,
		RuntimeOrigin,
		RuntimeFreezeReason,
		RuntimeHoldReason,
		RuntimeSlashReason,
		RuntimeLockId,
		RuntimeTask,
		RuntimeViewFunction
	)]
	pub struct Runtime;

	#[runtime::pallet_index(0)]
	pub type System = frame_system;
	#[runtime::pallet_index(1)]
	pub type Timestamp = pallet_timestamp;
	#[runtime::pallet_index(2)]
	pub type Balances = pallet_balances;
	#[runtime::pallet_index(3)]
	pub type TransactionPayment = pallet_transaction_payment;
	#[runtime::pallet_index(4)]
	pub type Utility = pallet_utility;
	#[runtime::pallet_index(5)]
	pub type Sudo = pallet_sudo;

	// The proof comes before everything that the block's other extrinsics may change.
	#[runtime::pallet_index(10)]
	pub type Work = pallet_work;
	#[runtime::pallet_index(11)]
	pub type Tasks = pallet_tasks;
	// The scheduler runs last: it sees what this block's results opened.
	#[runtime::pallet_index(12)]
	pub type Workers = pallet_workers;

	#[runtime::pallet_index(13)]
	pub type Disputes = pallet_disputes;

	// Who is final: the genesis needs the candidates before the first session.
	#[runtime::pallet_index(14)]
	pub type Authorship = pallet_authorship;
	#[runtime::pallet_index(15)]
	pub type Validators = pallet_validators;
	#[runtime::pallet_index(16)]
	pub type Offences = pallet_offences;
	#[runtime::pallet_index(17)]
	pub type Session = pallet_session;
	#[runtime::pallet_index(18)]
	pub type Historical = pallet_session::historical;
	#[runtime::pallet_index(19)]
	pub type Grandpa = pallet_grandpa;
}
