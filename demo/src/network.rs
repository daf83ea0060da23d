//! The nodes of a demonstration: the first, to which the data are given, and others that know nothing but its address. The first two of
//! several are validators.

use std::{
	fs,
	path::{Path, PathBuf},
	process::Command,
};

use anyhow::{ensure, Context, Result};
use labora_cli::{
	accounts,
	client::{account_of, Client},
	signer,
};
use labora_primitives::{AccountId, Balance};
use subxt::rpcs::rpc_params;
use tokio::sync::RwLock;

use crate::{
	node::{executable, Node},
	run::blocking,
};

/// Who pays for the others' bonds: the development chain endows it.
const ENDOWED: &str = "//Alice";
/// One LAB.
const LAB: Balance = 1_000_000_000_000;
/// Bond of a slot, LAB. Short units fill their windows, and each puts a part of it at stake.
const BOND: u32 = 200;
/// What a miner has beside its bond, for fees.
const PURSE: Balance = 50 * LAB;
/// Slots of all nodes together: all units of the demonstration's three tasks at once, so that there is work while a round changes hands.
const SLOTS: u16 = 12;

/// File of the chain's specification, in the folder of the first node's data.
const SPECIFICATION: &str = "specification.json";

/// One node of the demonstration.
struct Member {
	node: Node,
	client: Client,
}

/// The running nodes.
pub struct Network {
	chain: PathBuf,
	count: u8,
	members: RwLock<Vec<Member>>,
}

impl Network {
	/// Starts the first of so many nodes, with its data in `chain`.
	pub async fn start(chain: PathBuf, count: u8) -> Result<Self> {
		let network = Self { chain, count, members: RwLock::default() };
		let arguments = if count > 1 {
			let chain = network.chain.clone();
			blocking(move || specify(&chain)).await?;
			[&["--alice".into()][..], &network.mining("//Miner".into())?].concat()
		} else {
			vec!["--dev".into(), "--mine".into(), "--slots".into(), network.slots().to_string()]
		};
		network.add(network.chain.clone(), arguments).await?;
		Ok(network)
	}

	/// Bond of a miner, LAB.
	fn bond(&self) -> u32 {
		BOND.saturating_mul(self.slots().into())
	}

	/// What one of several nodes mines with, and on which chain.
	fn mining(&self, key: String) -> Result<Vec<String>> {
		let chain = specification(&self.chain).to_str().context("a path in UTF-8")?.to_owned();
		let arguments = ["--chain", &chain, "--unsafe-force-node-key-generation", "--mine", "--miner-key", &key];
		let mut arguments: Vec<String> = arguments.map(Into::into).into();
		arguments.extend(["--slots".into(), self.slots().to_string(), "--bond".into(), self.bond().to_string()]);
		arguments.extend(["--mining-threads".into(), self.threads()?]);
		Ok(arguments)
	}

	fn slots(&self) -> u16 {
		SLOTS.div_ceil(self.count.into())
	}

	/// Threads of each node: all of them share this machine.
	fn threads(&self) -> Result<String> {
		let cores = std::thread::available_parallelism().context("the number of cores")?.get();
		Ok((cores / usize::from(self.count)).max(1).to_string())
	}

	async fn add(&self, base: PathBuf, arguments: Vec<String>) -> Result<()> {
		let start = move || {
			let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
			Node::start(&base, &arguments)
		};
		let node = blocking(start).await?;
		let client = Client::connect(node.url()).await.context("connecting to the node")?;
		println!("node      {} (log {})", node.url(), node.log().display());
		self.members.write().await.push(Member { node, client });
		Ok(())
	}

	/// The client of the first node.
	pub async fn first(&self) -> Result<Client> {
		Ok(self.members.read().await.first().context("the first node")?.client.clone())
	}

	/// The clients of all running nodes.
	pub async fn clients(&self) -> Vec<Client> {
		self.members.read().await.iter().map(|member| member.client.clone()).collect()
	}

	/// How many nodes there are to be.
	pub fn count(&self) -> u8 {
		self.count
	}

	/// Starts the next node: a miner with a key of its own, whose bond is a gift.
	pub async fn join(&self) -> Result<AccountId> {
		let first = self.first().await?;
		let number = self.members.read().await.len() + 1;
		let key = format!("//Miner//{number}");
		let miner = account_of(&signer::load(&key)?);
		let needed = Balance::from(self.bond()).saturating_mul(LAB).saturating_add(PURSE);
		if accounts::balance(&first, None, &miner).await?.total() < needed {
			accounts::transfer(&first, &signer::load(ENDOWED)?, &miner, needed).await?;
		}
		let mut arguments = self.mining(key)?;
		arguments.extend(["--bootnodes".into(), address(&first).await?]);
		if number == 2 {
			arguments.push("--bob".into());
		}
		let name = self.chain.file_name().context("the chain's folder")?.to_string_lossy().into_owned();
		self.add(self.chain.with_file_name(format!("{name}-{number}")), arguments).await?;
		Ok(miner)
	}

	/// Stops all nodes, the first one last.
	pub async fn stop(self) -> Result<()> {
		for member in self.members.into_inner().into_iter().rev() {
			blocking(move || member.node.stop()).await?;
		}
		Ok(())
	}
}

/// Where the specification of a chain of several nodes is, whose first node's data are in `chain`.
pub fn specification(chain: &Path) -> PathBuf {
	chain.join(SPECIFICATION)
}

/// Writes the specification of a chain of several nodes: the development chain with the local one's two validators.
fn specify(chain: &Path) -> Result<()> {
	let path = specification(chain);
	if path.exists() {
		return Ok(());
	}
	let export = |chain: &str| -> Result<serde_json::Value> {
		let exported = Command::new(executable()?).args(["export-chain-spec", "--chain", chain]).output()?;
		ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
		Ok(serde_json::from_slice(&exported.stdout)?)
	};
	let (mut development, local) = (export("dev")?, export("local")?);
	for field in ["validators/candidates", "session/keys"] {
		let pointer = format!("/genesis/runtimeGenesis/patch/{field}");
		let of = local.pointer(&pointer).with_context(|| format!("the local chain has no {field}"))?;
		*development.pointer_mut(&pointer).with_context(|| format!("the development chain has no {field}"))? =
			of.clone();
	}
	fs::create_dir_all(chain)?;
	let part = path.with_extension("part");
	fs::write(&part, development.to_string())?;
	Ok(fs::rename(part, path)?)
}

/// The address under which other nodes on this machine reach a node.
pub async fn address(client: &Client) -> Result<String> {
	let addresses: Vec<String> = client.request("system_localListenAddresses", rpc_params![]).await?;
	let address = addresses.into_iter().find(|address| address.contains("/ip4/127.0.0.1/tcp/"));
	let address = address.context("the node listens on loopback")?;
	ensure!(address.contains("/p2p/"), "{address} does not name the node");
	Ok(address)
}
