//! Real nodes on loopback: each a validator, and a miner if it is to be one, with ports that stay the same over restarts.
//!
//! They reach each other through [links](crate::link) only: each knows the links' ports as the addresses of its reserved peers, and none
//! learns other addresses on the way, as nodes of a public chain tell each other public ones only.

use std::{
	collections::{btree_map::Entry, BTreeMap},
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

use crate::link::{Link, Quality};

/// The nodes' names, keys of their votes and keys of their miners; the genesis endows the accounts.
const MEMBERS: [(Sr25519Keyring, Ed25519Keyring, &str); 4] = [
	(Sr25519Keyring::Alice, Ed25519Keyring::Alice, "//Miner"),
	(Sr25519Keyring::Bob, Ed25519Keyring::Bob, "//Bob"),
	(Sr25519Keyring::Charlie, Ed25519Keyring::Charlie, "//Charlie"),
	(Sr25519Keyring::Dave, Ed25519Keyring::Dave, "//Dave"),
];
/// Most nodes of a cluster.
pub const MAX_NODES: usize = MEMBERS.len();
/// Slots of a miner in the soak.
const SLOTS: u16 = 3;
/// Bond of a slot, LAB: short units fill their windows.
const BOND: u32 = 300;
/// Difficulty of the first block, for each millisecond of the block time: four miners on two cores take about as long as they should.
const INITIAL_DIFFICULTY: u64 = (1 << 37) / 3_000;
/// How long a node may take to answer after it was started.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node of a cluster is to be.
#[derive(Clone, Debug, Default)]
pub struct Role {
	/// Slots of its miner, which may be none: then it mines by idle work only. `None`: it does not mine.
	pub slots: Option<u16>,
	/// Variables of its environment.
	pub environment: Vec<(String, String)>,
}

impl Role {
	/// A miner with so many slots.
	pub fn miner(slots: u16) -> Self {
		Self { slots: Some(slots), ..Self::default() }
	}
}

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct Plan {
	/// Target of the time between two blocks, milliseconds.
	pub block_time: u32,
	/// Time in which the difficulty follows the computing power by half, milliseconds. Long: when the network falls apart, each part is slower,
	/// and does not make as many blocks as the whole. Short: blocks take their time also on a machine that is busy otherwise.
	pub half_life: u32,
	/// The nodes, at most [`MAX_NODES`].
	pub roles: Vec<Role>,
}

impl Plan {
	/// So many miners with slots.
	pub fn miners(nodes: usize, block_time: u32, half_life: u32) -> Self {
		Self { block_time, half_life, roles: vec![Role::miner(SLOTS); nodes] }
	}
}

/// One node, running or not.
pub struct Member {
	/// What it is called.
	pub name: String,
	base: PathBuf,
	port: u16,
	arguments: Vec<String>,
	environment: Vec<(String, String)>,
	/// Its identity in the network, once it was started.
	id: Option<String>,
	running: Option<(Node, Client)>,
}

/// All nodes of a chain.
pub struct Cluster {
	/// The nodes.
	pub members: Vec<Member>,
	/// From whom, to whom.
	links: BTreeMap<(usize, usize), Link>,
}

/// The development chain with all nodes as validators, state and all: computing that takes a node seconds.
fn specification(dir: &Path, plan: &Plan) -> Result<String> {
	let (exported, path) = (dir.join("exported.json"), dir.join("chain.json"));
	let export = |chain: &Path, more: &[&str], to: &Path| -> Result<()> {
		let exported = Command::new(executable()?)
			.args(["export-chain-spec", "--chain"])
			.arg(chain)
			.args(more)
			.arg("--output")
			.arg(to)
			.output()
			.context("exporting the chain specification")?;
		ensure!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
		Ok(())
	};
	export(Path::new("dev"), &[], &exported)?;
	let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&exported)?)?;
	// Nodes of a live chain do not tell each other loopback addresses: there is no way round a link.
	spec["chainType"] = "Live".into();
	let genesis = spec.pointer_mut("/genesis/runtimeGenesis/patch").context("the genesis is a patch")?;
	genesis["work"]["blockTime"] = plan.block_time.into();
	genesis["work"]["halfLife"] = plan.half_life.into();
	genesis["work"]["initialDifficulty"] = INITIAL_DIFFICULTY.saturating_mul(plan.block_time.into()).into();
	let bond = genesis["validators"]["candidates"][0][1].clone();
	let members = &MEMBERS[..plan.roles.len()];
	let account = |key: &Sr25519Keyring| key.to_account_id().to_string();
	genesis["validators"]["candidates"] = members.iter().map(|(key, ..)| json!([account(key), bond])).collect();
	let keys = |(key, votes, _): &(Sr25519Keyring, Ed25519Keyring, &str)| json!([account(key), account(key), { "grandpa": votes.public().to_string() }]);
	genesis["session"]["keys"] = members.iter().map(keys).collect();
	fs::write(&exported, spec.to_string())?;
	export(&exported, &["--raw"], &path)?;
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

	/// Starts it on its data, with addresses of its peers.
	async fn start(&mut self, peers: &[String]) -> Result<()> {
		let (base, mut arguments) = (self.base.clone(), self.arguments.clone());
		arguments.extend(["--listen-addr".into(), format!("/ip4/127.0.0.1/tcp/{}", self.port)]);
		for address in peers {
			arguments.extend(["--reserved-nodes".into(), address.clone()]);
		}
		let environment = self.environment.clone();
		let start = move || {
			let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
			Node::start_with(&base, &arguments, &environment)
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
		if self.id.is_none() {
			self.id = Some(client.request("system_localPeerId", rpc_params![]).await?);
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
	/// Starts the nodes of a plan, with their data below `dir`.
	pub async fn start(dir: &Path, plan: &Plan) -> Result<Self> {
		let spec = specification(dir, plan)?;
		let mut cluster = Self { members: Vec::new(), links: BTreeMap::new() };
		for (index, ((key, _, miner), role)) in MEMBERS.iter().zip(&plan.roles).enumerate() {
			let name = format!("{key:?}").to_lowercase();
			let arguments = ["--chain", &spec, "--unsafe-force-node-key-generation", "--allow-private-ip"];
			let mut arguments: Vec<String> = arguments.map(Into::into).into();
			arguments.push(format!("--{name}"));
			if let Some(slots) = role.slots {
				arguments.extend(["--mine", "--miner-key", miner, "--mining-threads", "1"].map(Into::into));
				let bond = BOND.saturating_mul(slots.into());
				arguments.extend(["--slots".into(), slots.to_string(), "--bond".into(), bond.to_string()]);
			}
			if index == 0 {
				// Somebody has to begin; and to keep all states, so that everything can be counted again.
				arguments.extend(["--force-authoring", "--state-pruning", "archive"].map(Into::into));
			}
			cluster.members.push(Member {
				base: dir.join(&name),
				name,
				port: free_port()?,
				arguments,
				environment: role.environment.clone(),
				id: None,
				running: None,
			});
			cluster.restart(index).await?;
		}
		Ok(cluster)
	}

	/// Starts a node that does not run, on its data; it knows where all others are.
	pub async fn restart(&mut self, index: usize) -> Result<()> {
		let mut peers = Vec::new();
		for (other, member) in self.members.iter().enumerate().filter(|(other, _)| *other != index) {
			let Some(id) = &member.id else { continue };
			let port = match self.links.entry((index, other)) {
				Entry::Occupied(link) => link.get().port(),
				Entry::Vacant(place) => place.insert(Link::to(member.port, Some(Quality::default())).await?).port(),
			};
			peers.push(format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}"));
		}
		self.members[index].start(&peers).await
	}

	/// Cuts all links between some nodes and the others.
	pub fn split(&self, some: &[usize]) {
		let torn = |(from, to): &(usize, usize)| some.contains(from) != some.contains(to);
		self.links.iter().filter(|(ends, _)| torn(ends)).for_each(|(_, link)| link.set(None));
	}

	/// Makes all links whole and fast.
	pub fn heal(&self) {
		self.links.values().for_each(|link| link.set(Some(Quality::default())));
	}

	/// All links of a node.
	pub fn links(&self, index: usize) -> impl Iterator<Item = &Link> {
		self.links.iter().filter(move |((from, to), _)| *from == index || *to == index).map(|(_, link)| link)
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
