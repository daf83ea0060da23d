//! A connection to a node.
//!
//! Three ways lead to the chain: calls, signed and followed into a block ([`Client::submit`]); the runtime's API, decoded into the
//! types shared with the runtime; and the node's own methods for tensors and its miner. No code is generated from metadata.

mod api;
mod call;
mod error;
mod state;
mod submit;

use std::sync::Arc;

use codec::{Decode, Encode};
use labora_primitives::AccountId;
use subxt::{
	backend::LegacyBackend,
	config::{Header, SubstrateConfig},
	rpcs::{client::RpcParams, rpc_params, RpcClient},
	utils::H256,
	OnlineClient,
};
use subxt_signer::sr25519::Keypair;

pub use api::CHUNK_BYTES;
pub use call::Call;
pub use error::{CallFailure, ClientError};
pub(crate) use state::bytes;
pub use submit::{ChainEvent, Included};

/// Where a node listens by default.
pub const DEFAULT_URL: &str = "ws://127.0.0.1:9944";
/// What to do when client and chain do not understand each other.
const METADATA_HINT: &str = "client and chain are of different versions";

type Config = SubstrateConfig;

/// A connection to a node. Cheap to clone.
#[derive(Clone)]
pub struct Client {
	url: String,
	rpc: RpcClient,
	online: OnlineClient<Config>,
}

/// A block that the node's chain ends with: the best, or the last final one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainHead {
	/// Its hash.
	pub hash: H256,
	/// Its height.
	pub height: u64,
}

/// The chain's token, as amounts are written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
	/// Its symbol.
	pub symbol: String,
	/// Its decimal places.
	pub decimals: u8,
}

/// The account of a key.
pub fn account_of(signer: &Keypair) -> AccountId {
	AccountId::from(signer.public_key().0)
}

impl Client {
	/// Connects to a node.
	pub async fn connect(url: &str) -> Result<Self, ClientError> {
		let no_node = |reason: String| ClientError::NoNode { url: url.into(), reason };
		let rpc = RpcClient::from_insecure_url(url).await.map_err(|error| no_node(innermost(&error)))?;
		Self::over(url, rpc).await
	}

	/// Talks over an existing connection; `url` is what errors call it.
	pub async fn over(url: &str, rpc: RpcClient) -> Result<Self, ClientError> {
		// The plain old methods: they know the best block, which the newer ones show to followers of its every fork only.
		let backend = Arc::new(LegacyBackend::<Config>::builder().build(rpc.clone()));
		let online = OnlineClient::from_backend_with_config(Config::new(), backend).await?;
		Ok(Self { url: url.into(), rpc, online })
	}

	/// The node's address.
	pub fn url(&self) -> &str {
		&self.url
	}

	/// Hash of the genesis block: which chain this is.
	pub fn genesis(&self) -> H256 {
		self.online.genesis_hash()
	}

	/// The best block.
	pub async fn best(&self) -> Result<ChainHead, ClientError> {
		self.head("chain_getBlockHash").await
	}

	/// The last final block.
	pub async fn finalized(&self) -> Result<ChainHead, ClientError> {
		self.head("chain_getFinalizedHead").await
	}

	/// The block whose hash a method gives.
	async fn head(&self, method: &str) -> Result<ChainHead, ClientError> {
		let hash: H256 = self.request(method, rpc_params![]).await?;
		let header: Option<<Config as subxt::Config>::Header> =
			self.request("chain_getHeader", rpc_params![hash]).await?;
		Ok(ChainHead { hash, height: header.map_or(0, |header| header.number()) })
	}

	/// The chain's token.
	pub async fn token(&self) -> Result<Token, ClientError> {
		let properties: serde_json::Value = self.request("system_properties", rpc_params![]).await?;
		let symbol = properties["tokenSymbol"].as_str().unwrap_or("units").to_owned();
		let decimals = properties["tokenDecimals"].as_u64().and_then(|decimals| u8::try_from(decimals).ok());
		Ok(Token { symbol, decimals: decimals.unwrap_or(0) })
	}

	/// A constant of a pallet.
	pub async fn constant<T: Decode>(&self, pallet: &str, name: &str) -> Result<T, ClientError> {
		let best = self.best().await?;
		let metadata = self.online.at_block(best.hash).await?.metadata();
		let full = format!("{pallet}.{name}");
		let constant = metadata.pallet_by_name(pallet).and_then(|pallet| pallet.constant_by_name(name));
		let constant = constant.ok_or_else(|| ClientError::NotInRuntime(full.clone()))?;
		T::decode(&mut constant.value())
			.map_err(|error| ClientError::BadAnswer { method: full, reason: error.to_string() })
	}

	/// Calls a function of the runtime's API at a block, or at the best one.
	pub async fn runtime<R: Decode>(
		&self,
		at: Option<H256>,
		function: &str,
		args: &impl Encode,
	) -> Result<R, ClientError> {
		let params = rpc_params![function, crate::hexes::to_hex(args.encode()), at];
		let answer: String = self.request("state_call", params).await.map_err(|error| match error {
			ClientError::MissingMethod { url, .. } => ClientError::MissingMethod { url, method: function.into() },
			error => error,
		})?;
		let bad = |reason: String| ClientError::BadAnswer { method: function.into(), reason };
		let answer = bytes(function, &answer)?;
		let mut rest = &answer[..];
		let decoded = R::decode(&mut rest).map_err(|error| bad(error.to_string()))?;
		// Bytes left over mean that the chain's type is another one.
		if !rest.is_empty() {
			return Err(bad(format!("{} bytes are left over", rest.len())));
		}
		Ok(decoded)
	}

	/// Calls one of the node's methods.
	pub async fn request<R: serde::de::DeserializeOwned>(
		&self,
		method: &str,
		params: RpcParams,
	) -> Result<R, ClientError> {
		self.rpc.request(method, params).await.map_err(|error| ClientError::of_rpc(&self.url, method, error))
	}
}

/// What the system said: the last link of an error's chain, without the names of the layers that passed it on.
fn innermost(error: &dyn std::error::Error) -> String {
	let mut error = error;
	while let Some(source) = error.source() {
		error = source;
	}
	let text = error.to_string();
	let bare = text.trim_start_matches("RPC error: client error: ");
	bare.to_owned()
}
