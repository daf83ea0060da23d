//! Sending calls and waiting for their block.

use std::time::{Duration, Instant};

use codec::{Decode, Encode};
use subxt::{
	client::OnlineClientAtBlockImpl,
	config::DefaultExtrinsicParamsBuilder,
	rpcs::rpc_params,
	tx::{TransactionProgress, TransactionStatus},
	utils::H256,
};
use subxt_signer::sr25519::Keypair;

use super::{account_of, Call, Client, ClientError, Config};

/// Blocks that a signed transaction stays valid.
const MORTALITY: u64 = 128;
/// Blocks that a transaction's validity begins before the best one, where none that late is final.
const BIRTH_DEPTH: u64 = 16;
/// How long a node's transaction pool may lag behind its chain.
const POOL_TIMEOUT: Duration = Duration::from_secs(60);
/// When a lagging pool is asked again.
const POOL_POLL: Duration = Duration::from_millis(500);
/// How long to wait for a transaction's block.
const INCLUSION_TIMEOUT: Duration = Duration::from_secs(600);

/// A call in the best chain that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Included {
	/// Its block.
	pub block: H256,
	/// The block's height.
	pub height: u64,
	/// Its events.
	pub events: Vec<ChainEvent>,
}

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainEvent {
	/// The pallet.
	pub pallet: String,
	/// The event's name.
	pub name: String,
	/// Its encoded fields.
	pub fields: Vec<u8>,
}

impl ChainEvent {
	fn of(event: subxt::events::Event<'_, Config>) -> Self {
		Self { pallet: event.pallet_name().into(), name: event.event_name().into(), fields: event.field_bytes().into() }
	}
}

impl Included {
	/// The fields of the first such event.
	pub fn event<Fields: Decode>(&self, pallet: &str, name: &str) -> Result<Fields, ClientError> {
		let event = self.events.iter().find(|event| event.pallet == pallet && event.name == name);
		let event = event.ok_or_else(|| ClientError::NotInRuntime(format!("{pallet}.{name}")))?;
		Fields::decode(&mut &event.fields[..])
			.map_err(|error| ClientError::BadAnswer { method: format!("{pallet}.{name}"), reason: error.to_string() })
	}
}

impl Client {
	/// The events of a block, as long as the node keeps its state.
	pub async fn events(&self, block: H256) -> Result<Vec<ChainEvent>, ClientError> {
		let events = self.online.at_block(block).await?.events().fetch().await?;
		events.iter().map(|event| Ok(ChainEvent::of(event?))).collect()
	}

	/// Signs and sends a call and waits until it is in a block of the best chain.
	///
	/// Not until that block is final: without enough validators that takes as long as they are away.
	pub async fn submit<Args: Encode>(&self, signer: &Keypair, call: &Call<Args>) -> Result<Included, ClientError> {
		let account = account_of(signer).to_string();
		let began = Instant::now();
		let mut progress = loop {
			match self.send(signer, &account, call).await {
				// A node tells its pool of the blocks that are announced, not of those that it catches up with.
				Err(ClientError::PoolBehind { .. }) if began.elapsed() < POOL_TIMEOUT => {
					tokio::time::sleep(POOL_POLL).await;
				}
				sent => break sent?,
			}
		};
		let wait = async {
			while let Some(status) = progress.next().await {
				match status? {
					TransactionStatus::InBestBlock(block) | TransactionStatus::InFinalizedBlock(block) => {
						let height = block.at().await?.block_number();
						let found = block.wait_for_success().await;
						let found = found.map_err(|error| ClientError::of_events(&account, error))?;
						let mut events = Vec::new();
						for event in found.iter() {
							events.push(ChainEvent::of(event?));
						}
						return Ok(Included { block: block.block_hash(), height, events });
					}
					TransactionStatus::Error { message }
					| TransactionStatus::Invalid { message }
					| TransactionStatus::Dropped { message } => return Err(ClientError::NotTaken(message)),
					TransactionStatus::Validated
					| TransactionStatus::Broadcasted
					| TransactionStatus::NoLongerInBestBlock => {}
				}
			}
			Err(ClientError::ConnectionLost { url: self.url.clone(), reason: "the subscription ended".into() })
		};
		let timeout = ClientError::NotIncluded { seconds: INCLUSION_TIMEOUT.as_secs() };
		tokio::time::timeout(INCLUSION_TIMEOUT, wait).await.map_err(|_| timeout)?
	}

	/// Signs a call as of the best block and sends it.
	async fn send<Args: Encode>(
		&self,
		signer: &Keypair,
		account: &str,
		call: &Call<Args>,
	) -> Result<TransactionProgress<Config, OnlineClientAtBlockImpl<Config>>, ClientError> {
		// Everything as of the best block: the library's own default is the last final one.
		let best: H256 = self.request("chain_getBlockHash", rpc_params![]).await?;
		let at = self.online.at_block(best).await?;
		// The pool counts what waits in it, too.
		let nonce: u64 = self.request("system_accountNextIndex", rpc_params![account]).await?;
		// Counted from a final block, which no reorganization can take away; where finality stands still, from one that is deep.
		let last = self.finalized().await?;
		let height = at.block_number();
		let (birth_hash, birth) = if height.saturating_sub(last.height) > MORTALITY / 2 {
			let birth = height.saturating_sub(BIRTH_DEPTH);
			(self.request("chain_getBlockHash", rpc_params![birth]).await?, birth)
		} else {
			(last.hash, last.height)
		};
		let params = DefaultExtrinsicParamsBuilder::<Config>::new()
			.nonce(nonce)
			.mortal_from_unchecked(MORTALITY, birth, birth_hash)
			.build();
		let failed = |error| ClientError::of_submission(&self.url, account, error);
		let mut signable = at.tx().create_signable_offline(call, params).map_err(failed)?;
		let transaction = signable.sign(signer).map_err(failed)?;
		transaction.submit_and_watch().await.map_err(failed)
	}
}
