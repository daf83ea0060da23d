//! What an extrinsic's signature signs, for those who make extrinsics in Rust.

use sp_runtime::generic::Era;

use crate::{nonce::CheckNonce, Balance, Hash, Nonce, RuntimeCall, SignedPayload, TxExtension};

/// What a signature binds to.
pub struct SigningContext {
	/// Version of the runtime.
	pub spec: u32,
	/// Version of its calls.
	pub transaction: u32,
	/// The chain.
	pub genesis: Hash,
	/// When the extrinsic is valid.
	pub era: Era,
	/// The block that its life begins with.
	pub birth: Hash,
	/// Number of the account's extrinsic.
	pub nonce: Nonce,
}

impl SigningContext {
	/// What is to be signed for a call, without a tip.
	pub fn payload(&self, call: RuntimeCall) -> SignedPayload {
		self.payload_with_tip(call, 0)
	}

	/// What is to be signed for a call.
	pub fn payload_with_tip(&self, call: RuntimeCall, tip: Balance) -> SignedPayload {
		let extension: TxExtension = (
			frame_system::AuthorizeCall::new(),
			frame_system::CheckNonZeroSender::new(),
			frame_system::CheckSpecVersion::new(),
			frame_system::CheckTxVersion::new(),
			frame_system::CheckGenesis::new(),
			frame_system::CheckEra::from(self.era),
			CheckNonce::from(self.nonce),
			frame_system::CheckWeight::new(),
			pallet_transaction_payment::ChargeTransactionPayment::from(tip),
			frame_metadata_hash_extension::CheckMetadataHash::new(false),
			frame_system::WeightReclaim::new(),
		);
		let Self { spec, transaction, genesis, birth, .. } = *self;
		SignedPayload::from_raw(call, extension, ((), (), spec, transaction, genesis, birth, (), (), (), None, ()))
	}
}
