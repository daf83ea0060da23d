//! The state of a block, read from a node.

use std::collections::BTreeMap;

use anyhow::{ensure, Context, Result};
use labora_cli::client::Client;
use sp_core::{
	storage::{well_known_keys::CHILD_STORAGE_KEY_PREFIX, StateVersion},
	H256,
};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::InMemoryBackend;
use subxt::rpcs::rpc_params;

/// Keys that are asked for at once.
const PAGE: usize = 1_000;

/// All keys of a block's state, and their values.
pub struct Snapshot(BTreeMap<Vec<u8>, Vec<u8>>);

/// What a node says of some keys.
type Changes = Vec<(String, Option<String>)>;

fn bytes(hex: &str) -> Result<Vec<u8>> {
	hex::decode(hex.trim_start_matches("0x")).with_context(|| format!("not hexadecimal: {hex}"))
}

impl Snapshot {
	/// Reads the state of a block.
	pub async fn read(client: &Client, block: H256) -> Result<Self> {
		let mut pairs = BTreeMap::new();
		let mut last: Option<String> = None;
		loop {
			let page: Vec<String> =
				client.request("state_getKeysPaged", rpc_params!["0x", PAGE, last.clone(), block]).await?;
			let answer: serde_json::Value =
				client.request("state_queryStorageAt", rpc_params![page.clone(), block]).await?;
			let changes: Changes = serde_json::from_value(answer[0]["changes"].clone()).unwrap_or_default();
			for (key, value) in changes {
				let value = value.with_context(|| format!("the node has no value of its key {key}"))?;
				pairs.insert(bytes(&key)?, bytes(&value)?);
			}
			if page.len() < PAGE {
				break;
			}
			last = page.last().cloned();
		}
		let child = pairs.keys().find(|key| key.starts_with(CHILD_STORAGE_KEY_PREFIX));
		ensure!(child.is_none(), "the state has child tries, which are not read");
		let snapshot = Self(pairs);
		snapshot.check(client, block).await?;
		Ok(snapshot)
	}

	/// Checks that it is the whole state: its root stands in the block's header.
	async fn check(&self, client: &Client, block: H256) -> Result<()> {
		let header: serde_json::Value = client.request("chain_getHeader", rpc_params![block]).await?;
		let root: H256 = serde_json::from_value(header["stateRoot"].clone())?;
		let read = *self.backend().root();
		ensure!(read == root, "what was read has the root {read:?}, the block {root:?}");
		Ok(())
	}

	/// As the runtime reads it.
	pub fn backend(&self) -> InMemoryBackend<BlakeTwo256> {
		InMemoryBackend::from((self.0.clone(), StateVersion::V1))
	}

	/// The value of a key.
	pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
		self.0.get(key).map(Vec::as_slice)
	}

	/// How many keys there are.
	pub fn len(&self) -> usize {
		self.0.len()
	}

	/// Bytes of all keys and values.
	pub fn bytes(&self) -> usize {
		self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
	}
}
