//! Real nodes on loopback: each a validator (the first four) and a miner, with ports that stay the same over restarts.

use std::{
	fs,
	net::TcpListener,
	path::{Path, PathBuf},
	process::Command,
	time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use labora_cli::client::Client;
use labora_demo::node::{executable, Node};
use serde_json::json;
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};
use subxt::rpcs::rpc_params;

/// The nodes' names, keys of their votes and keys of their miners; the genesis endows the accounts.
const MEMBERS: [(Sr25519Keyring, Ed25519Keyring, &str); 4] = [
	(Sr25519Keyring::Alice, Ed25519Keyring::Alice, "//Miner"),
	(Sr25519Keyring::Bob, Ed25519Keyring::Bob, "//Bob"),
	(Sr25519Keyring::Charlie, Ed25519Keyring::Charlie, "//Charlie"),
	(Sr25519Keyring::Dave, Ed25519Keyring::Dave, "//Dave"),
];
/// Most nodes of a cluster.
pub const MAX_NODES: usize = MEMBERS.len();
/// Slots of each node.
const SLOTS: &str = "3";
/// Bond of each, LAB: short units fill their windows.
const BOND: &str = "900";
/// Target of the time between two blocks, milliseconds. An audit has to be answered within ten blocks: a second each, as on the
/// development chain, is less than a node takes to come back when four of them share two cores.
const BLOCK_TIME: u32 = 3_000;
/// Difficulty of the first block: four miners on two cores take about as long as they should, so that the first audits' ten blocks do, too.
const INITIAL_DIFFICULTY: u64 = 1 << 37;
/// How long a node may take to answer after it was started.
const PATIENCE: Duration = Duration::from_secs(30);

/// One node, running or not.
pub struct Member {
	/// What it is called.
	pub name: String,
	base: PathBuf,
	port: u16,
	arguments: Vec<String>,
	/// Where others reach it, once it was started.
	address: Option<String>,
	running: Option<(Node, Client)>,
}

/// All nodes of a chain.
pub struct Cluster {
	/// The nodes.
	pub members: Vec<Member>,
}

/// The development chain with all nodes as validators.
fn specification(dir: &Path, nodes: usize) -> Result<String> {
	let (exported, path) = (dir.join("exported.json"), dir.join("chain.json"));
	let export = Command::new(executable()?)
		.args(["export-chain-spec", "--chain", "dev", "--output"])
		.arg(&exported)
		.output()
		.context("exporting the chain specification")?;
	ensure!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
	let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&exported)?)?;
	let genesis = spec.pointer_mut("/genesis/runtimeGenesis/patch").context("the genesis is a patch")?;
	genesis["work"]["blockTime"] = BLOCK_TIME.into();
	genesis["work"]["initialDifficulty"] = INITIAL_DIFFICULTY.into();
	let bond = genesis["validators"]["candidates"][0][1].clone();
	let members = &MEMBERS[..nodes];
	let account = |key: &Sr25519Keyring| key.to_account_id().to_string();
	genesis["validators"]["candidates"] = members.iter().map(|(key, ..)| json!([account(key), bond])).collect();
	let keys = |(key, votes, _): &(Sr25519Keyring, Ed25519Keyring, &str)| json!([account(key), account(key), { "grandpa": votes.public().to_string() }]);
	genesis["session"]["keys"] = members.iter().map(keys).collect();
	fs::write(&path, spec.to_string())?;
	Ok(path.to_str().context("a path in UTF-8")?.to_owned())
}

/// A port that is free now.
fn free_port() -> Result<u16> {
	Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Member {
	/// Its client, while it runs.
	pub fn client(&self) -> Option<&Client> {
		self.running.as_ref().map(|(_, client)| client)
	}

	/// Its log so far.
	pub fn log(&self) -> String {
		fs::read_to_string(self.base.with_extension("log")).unwrap_or_default()
	}

	/// Folder of its tensors.
	pub fn tensors(&self) -> PathBuf {
		self.base.join("chains").join("labora_dev").join("tensors")
	}

	/// Starts it on its data.
	async fn start(&mut self, others: &[String]) -> Result<()> {
		let (base, mut arguments) = (self.base.clone(), self.arguments.clone());
		arguments.extend(["--listen-addr".into(), format!("/ip4/127.0.0.1/tcp/{}", self.port)]);
		for address in others {
			arguments.extend(["--bootnodes".into(), address.clone()]);
		}
		let start = move || {
			let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
			Node::start(&base, &arguments)
		};
		let node = tokio::task::spawn_blocking(start).await??;
		let began = Instant::now();
		let client = loop {
			match Client::connect(node.url()).await {
				Ok(client) => break client,
				Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
				Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
			}
		};
		if self.address.is_none() {
			let id: String = client.request("system_localPeerId", rpc_params![]).await?;
			self.address = Some(format!("/ip4/127.0.0.1/tcp/{}/p2p/{id}", self.port));
		}
		self.running = Some((node, client));
		Ok(())
	}

	/// Ends it at once, as a power cut would.
	pub async fn kill(&mut self) -> Result<()> {
		if let Some((node, _)) = self.running.take() {
			tokio::task::spawn_blocking(move || node.kill()).await??;
		}
		Ok(())
	}

	/// Stops and continues its process: a machine that hangs for a while.
	pub async fn hang(&self, time: Duration) -> Result<()> {
		let Some((node, _)) = &self.running else { return Ok(()) };
		let signal = |name: &str| -> Result<()> {
			let sent = Command::new("kill").args([&format!("-{name}"), &node.id().to_string()]).status()?;
			ensure!(sent.success(), "{name} could not be sent");
			Ok(())
		};
		signal("STOP")?;
		tokio::time::sleep(time).await;
		signal("CONT")
	}
}

impl Cluster {
	/// Starts so many nodes, at most [`MAX_NODES`], with their data below `dir`.
	pub async fn start(dir: &Path, nodes: usize) -> Result<Self> {
		let spec = specification(dir, nodes)?;
		let mut cluster = Self { members: Vec::new() };
		for (index, (key, _, miner)) in MEMBERS.iter().take(nodes).enumerate() {
			let name = format!("{key:?}").to_lowercase();
			let mut arguments = vec!["--chain", &spec, "--unsafe-force-node-key-generation"];
			let flag = format!("--{name}");
			arguments.extend([&flag[..], "--mine", "--miner-key", miner, "--mining-threads", "1"]);
			arguments.extend(["--slots", SLOTS, "--bond", BOND]);
			if index == 0 {
				// Somebody has to begin; and to keep all states, so that everything can be counted again.
				arguments.extend(["--force-authoring", "--state-pruning", "archive"]);
			}
			let member = Member {
				base: dir.join(&name),
				name,
				port: free_port()?,
				arguments: arguments.into_iter().map(Into::into).collect(),
				address: None,
				running: None,
			};
			cluster.members.push(member);
			cluster.restart(index).await?;
		}
		Ok(cluster)
	}

	/// Starts a node that does not run, on its data; it knows where all others are.
	pub async fn restart(&mut self, index: usize) -> Result<()> {
		let others = self.members.iter().enumerate().filter(|(other, _)| *other != index);
		let others: Vec<_> = others.filter_map(|(_, member)| member.address.clone()).collect();
		self.members[index].start(&others).await
	}

	/// The clients of all that run.
	pub fn clients(&self) -> Vec<Client> {
		self.members.iter().filter_map(|member| member.client().cloned()).collect()
	}

	/// Stops all.
	pub async fn stop(self) -> Result<()> {
		for member in self.members.into_iter().rev() {
			if let Some((node, _)) = member.running {
				tokio::task::spawn_blocking(move || node.stop()).await??;
			}
		}
		Ok(())
	}
}
