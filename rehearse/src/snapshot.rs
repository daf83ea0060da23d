//! The state of a block, as a runtime reads it.

use std::collections::BTreeMap;

use anyhow::{ensure, Result};
use labora_cli::client::Client;
use sp_core::{
	storage::{well_known_keys::CHILD_STORAGE_KEY_PREFIX, StateVersion},
	H256,
};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::InMemoryBackend;
use subxt::rpcs::rpc_params;

/// All keys of a block's state, and their values.
pub struct Snapshot(BTreeMap<Vec<u8>, Vec<u8>>);

impl Snapshot {
	/// Reads the state of a block, and checks that it is the whole one: its root stands in the block's header.
	pub async fn read(client: &Client, block: H256) -> Result<Self> {
		let snapshot = Self(client.state(block).await?.into_iter().collect());
		let child = snapshot.0.keys().find(|key| key.starts_with(CHILD_STORAGE_KEY_PREFIX));
		ensure!(child.is_none(), "the state has child tries, which are not read");
		let header: serde_json::Value = client.request("chain_getHeader", rpc_params![block]).await?;
		let root: H256 = serde_json::from_value(header["stateRoot"].clone())?;
		let read = *snapshot.backend().root();
		ensure!(read == root, "what was read has the root {read:?}, the block {root:?}");
		Ok(snapshot)
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
