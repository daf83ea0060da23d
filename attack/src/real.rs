//! Real nodes: what they take, what they refuse, and what they say of balances.

use std::{
	cell::Cell,
	path::PathBuf,
	process::Command,
	sync::{Arc, Mutex},
	time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{ensure, Result};
use codec::Encode;
use labora_cli::{accounts, client::Client, dataset::Folder};
use labora_demo::{
	network::address,
	node::{executable, Node},
};
use labora_engine::Engine;
use labora_primitives::{AccountId, Balance, Hash, Usefulness};
use labora_runtime::{Block, Header};
use sp_runtime::generic::SignedBlock;
use subxt::rpcs::rpc_params;
use tempfile::TempDir;

/// The genesis of a real development node, and what all rows share.
pub struct Genesis {
	/// Its state.
	pub state: Vec<(Vec<u8>, Vec<u8>)>,
	/// Its header.
	pub header: Header,
	/// When it was read, milliseconds.
	pub now: u64,
	/// The engine that everyone computes with.
	pub engine: Arc<Engine>,
	/// The dataset of the tasks.
	pub folder: Folder,
	first: Mutex<Vec<Block>>,
	_dir: TempDir,
}

/// Milliseconds since the epoch.
pub fn now() -> u64 {
	SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A header as a node gives it.
pub async fn header(client: &Client, hash: Option<Hash>) -> Result<Header> {
	let hash = hash.map(|hash| format!("{hash:?}"));
	let json: serde_json::Value = client.request("chain_getHeader", rpc_params![hash]).await?;
	Ok(serde_json::from_value(json)?)
}

impl Genesis {
	/// Reads it from a real node.
	pub async fn read() -> Result<Self> {
		let dir = tempfile::tempdir()?;
		let folder = crate::unit::dataset(dir.path())?;
		let node = Node::start(&dir.path().join("genesis"), &["--dev"])?;
		let client = Client::connect(node.url()).await?;
		let hash = Hash::from(client.genesis().0);
		let state = client.state(client.genesis()).await?;
		let header = header(&client, Some(hash)).await?;
		node.stop()?;
		let (engine, first) = (Arc::new(Engine::best(1)), Mutex::default());
		let genesis = Self { state, header, now: now(), engine, folder, first, _dir: dir };
		crate::forge::Forge::new(&genesis, genesis.engine.clone())?;
		Ok(genesis)
	}

	/// The first blocks of all forged chains, if they were made before.
	pub fn first_blocks(&self) -> Vec<Block> {
		self.first.lock().map(|blocks| blocks.clone()).unwrap_or_default()
	}

	/// Keeps them: their difficulty is high.
	pub fn remember(&self, blocks: Vec<Block>) {
		if let Ok(mut first) = self.first.lock() {
			*first = blocks;
		}
	}
}

/// A node's data folder, with what it has taken so far.
pub struct Store {
	dir: TempDir,
	/// Blocks of the chain that it was given.
	given: Cell<usize>,
}

impl Store {
	/// An empty one.
	pub fn new() -> Result<Self> {
		Ok(Self { dir: tempfile::tempdir()?, given: Cell::new(0) })
	}

	/// One that has taken these blocks.
	pub fn with(blocks: &[Block]) -> Result<Self> {
		let store = Self::new()?;
		store.take(blocks, &[])?;
		Ok(store)
	}

	fn base(&self) -> PathBuf {
		self.dir.path().join("chain")
	}

	/// Gives a node the blocks of a chain that it was not given before, then others. Fails if it refuses one.
	pub fn take(&self, chain: &[Block], others: &[Block]) -> Result<()> {
		let file = self.dir.path().join("blocks");
		let blocks: Vec<_> = chain.iter().skip(self.given.replace(chain.len())).chain(others).collect();
		let mut bytes = (blocks.len() as u64).encode();
		for block in blocks {
			SignedBlock { block: block.clone(), justifications: None }.encode_to(&mut bytes);
		}
		std::fs::write(&file, bytes)?;
		let mut command = Command::new(executable()?);
		command.args(["import-blocks", "--binary", "--dev", "--base-path"]).arg(self.base()).arg(file);
		labora_tests::output(&mut command).map(|_| ())
	}

	/// Gives a node a chain and then a block that it must refuse. That it took the chain shows when it takes what follows.
	pub fn refuses(&self, what: &str, chain: &[Block], block: &Block) -> Result<()> {
		ensure!(self.take(chain, std::slice::from_ref(block)).is_err(), "{what}: the node took the block");
		Ok(())
	}

	/// Starts the node.
	pub async fn start(&self, arguments: &[&str]) -> Result<Running> {
		self.run(&["--chain", "dev"], arguments).await
	}

	/// Starts the node as the chain's only validator: it votes for what it holds.
	pub async fn start_validator(&self) -> Result<Running> {
		self.run(&["--dev"], &[]).await
	}

	async fn run(&self, role: &[&str], arguments: &[&str]) -> Result<Running> {
		let node = Node::start(&self.base(), &[role, arguments].concat())?;
		let client = Client::connect(node.url()).await?;
		Ok(Running { node, client })
	}

	/// Starts the node, and checks that its best block is this.
	pub async fn verify(&self, best: Hash) -> Result<Running> {
		let running = self.start(&[]).await?;
		let found = Hash::from(running.client.best().await?.hash.0);
		ensure!(found == best, "the node's best block is {found:?}, not {best:?}");
		Ok(running)
	}
}

/// A running node and a connection to it.
pub struct Running {
	/// The node.
	pub node: Node,
	/// The connection.
	pub client: Client,
}

impl Running {
	/// What an account owns, held or free, at the best block.
	pub async fn balance(&self, who: &AccountId) -> Result<Balance> {
		balance(&self.client, who).await
	}

	/// How useful the chain's work was.
	pub async fn usefulness(&self) -> Result<Usefulness> {
		Ok(self.client.usefulness(None).await?)
	}

	/// The best block.
	pub async fn best(&self) -> Result<Hash> {
		Ok(Hash::from(self.client.best().await?.hash.0))
	}

	/// Waits until the best block is this; says whether it became it.
	pub async fn reaches(&self, best: Hash, seconds: u64) -> Result<bool> {
		for _ in 0..seconds * 10 {
			if self.best().await? == best {
				return Ok(true);
			}
			tokio::time::sleep(Duration::from_millis(100)).await;
		}
		Ok(false)
	}

	/// An address that another node reaches it by.
	pub async fn address(&self) -> Result<String> {
		address(&self.client).await
	}

	/// Height of the last final block.
	pub async fn finalized(&self) -> Result<u32> {
		Ok(self.client.finalized().await?.height as u32)
	}
}

/// What an account owns, held or free, at the best block.
pub async fn balance(client: &Client, who: &AccountId) -> Result<Balance> {
	Ok(accounts::balance(client, None, who).await?.total())
}
