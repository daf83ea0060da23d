//! Signed extrinsics of the miner's account.

use std::{pin::Pin, sync::Arc};

use codec::Encode;
use labora_primitives::{AccountId, Balance, Hash, KEY_TYPE};
use labora_runtime::{
	constants::{LAB, MILLILAB},
	opaque::{Block, UncheckedExtrinsic as OpaqueExtrinsic},
	signing::SigningContext,
	Address, Nonce, RuntimeCall, Signature, UncheckedExtrinsic,
};
use sc_transaction_pool_api::{InPoolTransaction, TransactionPool, TransactionSource, TransactionStatusStreamFor};
use sp_api::{ApiError, Core, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;
use sp_core::sr25519;
use sp_keystore::{Keystore, KeystorePtr};
use sp_runtime::generic::Era;
use substrate_frame_rpc_system::AccountNonceApi;

/// Blocks that an extrinsic is valid for.
const MORTALITY: u64 = 64;
/// How far below the best block an extrinsic's life begins: so deep a block is not reorganised away with it.
const BIRTH_DEPTH: u32 = 6;

/// The tip of an extrinsic that replaces another without one; it doubles each time.
const LEAST_TIP: Balance = MILLILAB;
/// Where that ends.
const MOST_TIP: Balance = LAB / 2;

/// An extrinsic that the pool took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
	/// Its hash.
	pub hash: Hash,
	/// Its number.
	pub nonce: Nonce,
	/// Its tip.
	pub tip: Balance,
}

/// An extrinsic that the pool just took.
pub struct Submitted<P: TransactionPool> {
	/// The extrinsic.
	pub sent: Sent,
	/// What becomes of it.
	pub progress: Pin<Box<TransactionStatusStreamFor<P>>>,
}

/// Why an extrinsic was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
	/// The runtime did not answer.
	#[error("the runtime cannot be asked: {0}")]
	Api(#[from] ApiError),
	/// The database failed.
	#[error(transparent)]
	Client(#[from] sp_blockchain::Error),
	/// The keystore has no key of the account.
	#[error("the keystore has no key of the miner's account")]
	NoKey,
	/// The keystore failed.
	#[error("the keystore did not sign: {0}")]
	Keystore(#[from] sp_keystore::Error),
	/// The pool refused it.
	#[error("the transaction pool refused it: {0}")]
	Pool(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Signs calls and puts them into the pool, one after the other.
pub struct Transactions<C, P> {
	client: Arc<C>,
	pool: Arc<P>,
	keystore: KeystorePtr,
	account: AccountId,
	/// One above the last nonce used: what was just submitted may not be seen in the pool yet.
	next_nonce: Nonce,
}

impl<C, P> Transactions<C, P>
where
	C: ProvideRuntimeApi<Block> + HeaderBackend<Block>,
	C::Api: Core<Block> + AccountNonceApi<Block, AccountId, Nonce>,
	P: TransactionPool<Block = Block, Hash = Hash> + 'static,
{
	/// Extrinsics of an account whose key is in the keystore.
	pub fn new(client: Arc<C>, pool: Arc<P>, keystore: KeystorePtr, account: AccountId) -> Self {
		Self { client, pool, keystore, account, next_nonce: 0 }
	}

	/// An extrinsic was lost: only the chain and the pool know the next nonce.
	pub fn resync(&mut self) {
		self.next_nonce = 0;
	}

	/// Whether an extrinsic still waits for a block. Sent once more, one of the two would fail, and cost its fee.
	pub fn is_waiting(&self, sent: &Sent) -> bool {
		self.pool.ready_transaction(&sent.hash).is_some()
	}

	/// The height of a block that is or was known.
	pub fn height(&self, block: Hash) -> Option<u32> {
		self.client.number(block).ok().flatten()
	}

	/// Signs a call and submits it.
	pub async fn submit(&mut self, call: RuntimeCall) -> Result<Submitted<P>, TransactionError> {
		self.send(call, None).await
	}

	/// The same, perhaps in the place of an extrinsic that has waited for long. Other pools may have lost that, and do not ask for it again: the
	/// new one they do not know, and its tip goes before what filled them.
	pub async fn send(&mut self, call: RuntimeCall, old: Option<Sent>) -> Result<Submitted<P>, TransactionError> {
		let best = self.client.info().best_hash;
		let (nonce, tip) = match old {
			Some(old) => (old.nonce, old.tip.saturating_mul(2).clamp(LEAST_TIP, MOST_TIP)),
			None => (self.nonce(best)?, 0),
		};
		let extrinsic = sign(&*self.keystore, &self.account, call, tip, &self.context(best, nonce)?)?;
		let hash = self.pool.hash_of(&extrinsic);
		match self.pool.submit_and_watch(best, TransactionSource::Local, extrinsic).await {
			Ok(progress) => {
				self.next_nonce = self.next_nonce.max(nonce.saturating_add(1));
				Ok(Submitted { sent: Sent { hash, nonce, tip }, progress })
			}
			Err(error) => {
				self.resync();
				Err(TransactionError::Pool(error.into()))
			}
		}
	}

	/// The account's nonce after everything of it that is in the pool.
	fn nonce(&self, best: Hash) -> Result<Nonce, ApiError> {
		let mut nonce = self.client.runtime_api().account_nonce(best, self.account.clone())?;
		for extrinsic in self.pool.ready() {
			// Those of one account come in the order of their nonces.
			if extrinsic.provides().first() == Some(&(&self.account, nonce).encode()) {
				nonce = nonce.saturating_add(1);
			}
		}
		Ok(nonce.max(self.next_nonce))
	}

	/// What a signature binds to, as of the best block.
	fn context(&self, best: Hash, nonce: Nonce) -> Result<SigningContext, TransactionError> {
		let version = self.client.runtime_api().version(best)?;
		let info = self.client.info();
		let genesis = info.genesis_hash;
		let birth = info.best_number.saturating_sub(BIRTH_DEPTH);
		let (era, birth) = match self.client.hash(birth)? {
			Some(hash) if birth > 0 => (Era::mortal(MORTALITY, birth.into()), hash),
			_ => (Era::Immortal, genesis),
		};
		Ok(SigningContext {
			spec: version.spec_version,
			transaction: version.transaction_version,
			genesis,
			era,
			birth,
			nonce,
		})
	}
}

/// Signs a call with an account's key.
fn sign(
	keystore: &dyn Keystore,
	account: &AccountId,
	call: RuntimeCall,
	tip: Balance,
	context: &SigningContext,
) -> Result<OpaqueExtrinsic, TransactionError> {
	let payload = context.payload_with_tip(call, tip);
	let key = sr25519::Public::from_raw(account.clone().into());
	let signature = payload.using_encoded(|bytes| keystore.sr25519_sign(KEY_TYPE, &key, bytes))?;
	let signature = Signature::Sr25519(signature.ok_or(TransactionError::NoKey)?);
	let (call, extension, _) = payload.deconstruct();
	Ok(UncheckedExtrinsic::new_signed(call, Address::Id(account.clone()), signature, extension).into())
}

#[cfg(test)]
mod tests {
	use super::*;
	use codec::DecodeAll;
	use labora_runtime::{BalancesConfig, Executive, Runtime, RuntimeGenesisConfig, VERSION};
	use sp_keystore::testing::MemoryKeystore;
	use sp_runtime::{
		transaction_validity::{InvalidTransaction, TransactionValidity},
		BuildStorage,
	};

	const GENESIS: Hash = Hash::repeat_byte(7);
	const NONCE: Nonce = 3;

	fn signed(account: &AccountId, keystore: &MemoryKeystore, genesis: Hash) -> OpaqueExtrinsic {
		let call = RuntimeCall::Workers(pallet_workers::Call::register { slots: 2, memory: 64 });
		let (spec, transaction) = (VERSION.spec_version, VERSION.transaction_version);
		let context = SigningContext { spec, transaction, genesis, era: Era::Immortal, birth: genesis, nonce: NONCE };
		sign(keystore, account, call, 0, &context).unwrap()
	}

	/// What the runtime says of an extrinsic of an account with that nonce.
	fn validate(account: &AccountId, extrinsic: OpaqueExtrinsic) -> TransactionValidity {
		let balances = BalancesConfig { balances: vec![(account.clone(), u128::from(u64::MAX))], ..Default::default() };
		let genesis = RuntimeGenesisConfig { balances, ..Default::default() };
		sp_io::TestExternalities::from(genesis.build_storage().unwrap()).execute_with(|| {
			frame_system::BlockHash::<Runtime>::insert(0, GENESIS);
			frame_system::Account::<Runtime>::mutate(account, |account| account.nonce = NONCE);
			let extrinsic = UncheckedExtrinsic::decode_all(&mut &*extrinsic.encode()).unwrap();
			Executive::validate_transaction(TransactionSource::Local, extrinsic, GENESIS)
		})
	}

	fn miner() -> (AccountId, MemoryKeystore) {
		let keystore = MemoryKeystore::new();
		let key = keystore.sr25519_generate_new(KEY_TYPE, None).unwrap();
		(AccountId::from(key), keystore)
	}

	#[test]
	fn the_runtime_takes_what_is_signed_here() {
		let (account, keystore) = miner();
		let valid = validate(&account, signed(&account, &keystore, GENESIS)).unwrap();
		// By this tag the next nonce is found in the pool.
		assert_eq!(valid.provides, [(&account, NONCE).encode()]);
	}

	#[test]
	fn an_extrinsic_of_another_chain_is_refused() {
		let (account, keystore) = miner();
		let refused = validate(&account, signed(&account, &keystore, Hash::repeat_byte(8)));
		assert_eq!(refused, Err(InvalidTransaction::BadProof.into()));
	}

	#[test]
	fn without_the_key_nothing_is_signed() {
		let (account, keystore) = (AccountId::new([1; 32]), MemoryKeystore::new());
		let context =
			SigningContext { spec: 1, transaction: 1, genesis: GENESIS, era: Era::Immortal, birth: GENESIS, nonce: 0 };
		let call = RuntimeCall::Workers(pallet_workers::Call::leave {});
		assert!(matches!(sign(&keystore, &account, call, 0, &context), Err(TransactionError::NoKey)));
	}
}
