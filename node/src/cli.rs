//! The command line: what can be asked of the node, and how the answers are combined with defaults.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{value_parser, Args, Parser, Subcommand as ClapSubcommand};
use labora_miner::address::Listen;
use labora_primitives::{limits::MAX_SLOTS, Balance};
use labora_runtime::constants::LAB;
use sc_cli::RunCmd;

use crate::logging::LogFormat;

/// Slots that a development node registers per mining thread: one unit is computed while the next is fetched.
const DEV_SLOTS_PER_THREAD: usize = 2;
/// Slots that a development node registers at least, so that a demonstration with few threads still has parallel units.
const DEV_SLOTS_AT_LEAST: usize = 4;
/// LAB that a development node bonds per slot: with a second's blocks, many short units are in their windows at a time.
const DEV_BOND_PER_SLOT: u32 = 200;
/// Memory offered per unit where `--worker-memory` is not given, MiB.
const DEFAULT_WORKER_MEMORY: u32 = 2_048;
/// Room for tensors where `--tensor-quota` is not given, MiB.
const DEFAULT_TENSOR_QUOTA: u32 = 16_384;
/// The miner of a development node: the runtime's development preset endows it.
const DEV_MINER: &str = "//Miner";

/// The command line of `labora-node`.
#[derive(Debug, Parser)]
pub struct Cli {
	/// What to do. Without one: run the node.
	#[command(subcommand)]
	pub subcommand: Option<Subcommand>,
	/// How to run the node.
	#[command(flatten)]
	pub run: RunCmd,
	/// Whether and how to mine.
	#[command(flatten)]
	pub mining: MiningParams,
	/// How much room tensors may take, MiB. 16384 by default.
	///
	/// What live tasks need stays; of the rest the longest unused goes. A tensor for which that makes not enough room is refused,
	/// uploaded or fetched; what this node computes itself is kept in any case.
	#[arg(long, value_name = "MIB", help_heading = "Tensors", default_value_t = DEFAULT_TENSOR_QUOTA, value_parser = value_parser!(u32).range(1..))]
	pub tensor_quota: u32,
	/// How a running node writes its log. With `json`, `-l` and RUST_LOG say what is logged; the other options of the log are not heeded.
	#[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
	pub log_format: LogFormat,
}

/// What else the executable does.
#[derive(Debug, ClapSubcommand)]
pub enum Subcommand {
	/// Key management: the miner's key has the type `labo` and the scheme `sr25519`.
	#[command(subcommand)]
	Key(sc_cli::KeySubcommand),
	/// Export the chain specification.
	ExportChainSpec(sc_cli::ExportChainSpecCmd),
	/// Validate a block again.
	CheckBlock(sc_cli::CheckBlockCmd),
	/// Export blocks.
	ExportBlocks(sc_cli::ExportBlocksCmd),
	/// Import blocks.
	ImportBlocks(sc_cli::ImportBlocksCmd),
	/// Remove the whole chain.
	PurgeChain(sc_cli::PurgeChainCmd),
	/// Revert the chain to an earlier state.
	Revert(sc_cli::RevertCmd),
	/// Show what the database holds.
	ChainInfo(sc_cli::ChainInfoCmd),
}

/// Whether and how to mine.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Mining")]
pub struct MiningParams {
	/// Mine: compute the units assigned to this miner, idle work where there are none, and make blocks.
	///
	/// The miner is the account of the keystore's sr25519 key of type `labo`; with --dev and without such a key, `//Miner`.
	/// A node that knows of other nodes (--bootnodes, --reserved-nodes, the chain specification) mines only while it is connected
	/// to some; --force-authoring lets it mine alone.
	#[arg(long)]
	pub mine: bool,

	/// Mine, and challenge, with the key of this secret URI.
	///
	/// Only for development and tests: everyone who can list processes sees it. It is not written to disk.
	#[arg(long, value_name = "SURI")]
	pub miner_key: Option<String>,

	/// Threads that compute. All cores by default. 0: only miners that connect (--miner-listen) compute.
	#[arg(long, value_name = "N", requires = "mine", requires_if("0", "miner_listen"))]
	pub mining_threads: Option<usize>,

	/// Let miners of this machine connect (`labora-miner`), and compute for this node: `unix`, or a loopback address with a port.
	///
	/// `unix` is a socket in the node's folder that only its user can open. With an address a miner needs a secret; the node says where
	/// it is. See docs/miner-protocol.md.
	#[arg(long, value_name = "unix|ADDRESS", requires = "mine")]
	pub miner_listen: Option<Listen>,

	/// File of the secret of miners that connect to an address. By default one in the node's folder, written if it is not there.
	#[arg(long, value_name = "FILE", requires = "miner_listen")]
	pub miner_secret: Option<PathBuf>,

	/// Register the miner as a worker with this many slots, if it is not registered and can pay the bond. 0: don't.
	///
	/// With --dev, two per thread and at least 4 by default; otherwise 0.
	#[arg(long, value_name = "N", requires = "mine", value_parser = value_parser!(u16).range(0..=i64::from(MAX_SLOTS)))]
	pub slots: Option<u16>,

	/// Raise the worker's bond to so many LAB after registering it. Every unit puts part of it at stake for a while.
	///
	/// With --dev 200 for each slot; otherwise what the slots need at least.
	#[arg(long, value_name = "LAB", requires = "mine")]
	pub bond: Option<u32>,

	/// Compute other workers' results again and challenge those that are wrong; `--watch=0.1` looks at a tenth of them, at random.
	///
	/// The challenges are the miner's: its key signs them, its account bonds them.
	#[arg(long, value_name = "SHARE", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = share)]
	pub watch: Option<f64>,

	/// Memory that the worker offers per unit. 2048 by default.
	///
	/// A mining node takes what its units need, one a thread, each at most this; half of this for what units share; and a few hundred
	/// MiB beside it.
	#[arg(long, value_name = "MIB", requires = "mine")]
	pub worker_memory: Option<u32>,
}

/// Which key mines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MinerKey {
	/// The key of a secret URI.
	Suri(String),
	/// The first key of the keystore.
	Keystore,
	/// The first key of the keystore; if there is none, the key of a secret URI.
	KeystoreOr(String),
}

/// How to mine: the parameters with their defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MiningConfig {
	/// Which key mines.
	pub key: MinerKey,
	/// Threads that compute in this process.
	pub threads: usize,
	/// Where miners connect, if they may, and the file of their secret.
	pub miners: Option<(Listen, Option<PathBuf>)>,
	/// Register with this many slots, if not registered.
	pub slots: Option<u16>,
	/// Then raise the bond to this, if it is less.
	pub bond: Option<Balance>,
	/// Memory offered per unit, MiB.
	pub memory_mib: u32,
}

/// What the node is asked to do beyond the SDK's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeOptions {
	/// How to mine, if at all.
	pub mining: Option<MiningConfig>,
	/// Which part of the results to watch, and with which key to challenge.
	pub watching: Option<(f64, MinerKey)>,
	/// Build on the best block that is here, also while no peer that the node was told of is connected (`--force-authoring`).
	pub without_peers: bool,
	/// Room for tensors, bytes.
	pub tensor_quota: u64,
}

impl Cli {
	/// What the node is asked to do.
	pub fn options(&self) -> NodeOptions {
		NodeOptions {
			mining: self.mining.config(self.run.shared_params.is_dev()),
			watching: self.mining.watch.map(|share| (share, self.mining.key(self.run.shared_params.is_dev()))),
			// The SDK's configuration sets it with --dev, too. A development node that was told of peers waits for them all the same.
			without_peers: self.run.force_authoring,
			tensor_quota: u64::from(self.tensor_quota) << 20,
		}
	}
}

impl MiningParams {
	/// How to mine, if at all. `dev` says whether the node runs with --dev.
	pub fn config(&self, dev: bool) -> Option<MiningConfig> {
		self.mine.then(|| {
			let threads = self.mining_threads.unwrap_or_else(all_cores);
			let slots = self.slots.or_else(|| dev.then(|| dev_slots(threads))).filter(|slots| *slots > 0);
			let dev_bond = slots.filter(|_| dev).map(|slots| u32::from(slots).saturating_mul(DEV_BOND_PER_SLOT));
			MiningConfig {
				key: self.key(dev),
				threads,
				miners: self.miner_listen.map(|listen| (listen, self.miner_secret.clone())),
				slots,
				bond: self.bond.or(dev_bond).map(|bond| Balance::from(bond).saturating_mul(LAB)),
				memory_mib: self.worker_memory.unwrap_or(DEFAULT_WORKER_MEMORY),
			}
		})
	}

	fn key(&self, dev: bool) -> MinerKey {
		match &self.miner_key {
			Some(suri) => MinerKey::Suri(suri.clone()),
			None if dev => MinerKey::KeystoreOr(DEV_MINER.into()),
			None => MinerKey::Keystore,
		}
	}
}

fn share(text: &str) -> Result<f64, String> {
	let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
	(share > 0.0 && share <= 1.0).then_some(share).ok_or_else(|| "not above 0 and at most 1".into())
}

fn all_cores() -> usize {
	std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn dev_slots(threads: usize) -> u16 {
	let slots = threads.saturating_mul(DEV_SLOTS_PER_THREAD).max(DEV_SLOTS_AT_LEAST);
	u16::try_from(slots).unwrap_or(MAX_SLOTS).min(MAX_SLOTS)
}

#[cfg(test)]
mod tests {
	use super::*;
	use clap::CommandFactory;
	use sc_cli::SubstrateCli;

	fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
		Cli::try_from_iter(std::iter::once("labora-node").chain(args.iter().copied()))
	}

	fn config(args: &[&str]) -> Option<MiningConfig> {
		parse(args).unwrap().options().mining
	}

	#[test]
	fn the_command_line_is_consistent() {
		Cli::setup_command(Cli::command()).debug_assert();
	}

	#[test]
	fn a_node_does_not_mine_unless_told_to() {
		assert_eq!(config(&["--dev"]), None);
		assert_eq!(config(&[]), None);
	}

	#[test]
	fn a_development_miner_needs_no_key_and_registers() {
		let config = config(&["--dev", "--mine", "--mining-threads", "1"]).unwrap();
		assert_eq!(config.key, MinerKey::KeystoreOr("//Miner".into()));
		assert_eq!((config.slots, config.bond), (Some(4), Some(800 * LAB)));
		assert_eq!(config.memory_mib, 2_048);
		assert_eq!(super::dev_slots(8), 16);
		assert_eq!(super::dev_slots(usize::MAX), MAX_SLOTS);
	}

	#[test]
	fn only_force_authoring_does_without_peers() {
		assert!(!parse(&["--dev", "--mine"]).unwrap().options().without_peers);
		assert!(parse(&["--mine", "--force-authoring"]).unwrap().options().without_peers);
	}

	#[test]
	fn any_other_miner_brings_its_key_and_registers_only_if_asked() {
		let config = config(&["--chain", "local", "--mine"]).unwrap();
		assert_eq!((config.key, config.slots), (MinerKey::Keystore, None));
	}

	#[test]
	fn what_is_given_overrides_the_defaults() {
		let args = [
			"--dev",
			"--mine",
			"--miner-key",
			"//Bob",
			"--mining-threads",
			"3",
			"--slots",
			"7",
			"--bond",
			"9",
			"--worker-memory",
			"64",
		];
		let expected = MiningConfig {
			key: MinerKey::Suri("//Bob".into()),
			threads: 3,
			miners: None,
			slots: Some(7),
			bond: Some(9 * LAB),
			memory_mib: 64,
		};
		assert_eq!(config(&args), Some(expected));
		assert_eq!(config(&["--dev", "--mine", "--slots", "0"]).unwrap().slots, None);
	}

	#[test]
	fn parameters_of_mining_without_mining_are_refused() {
		for args in [["--mining-threads", "2"], ["--slots", "2"], ["--worker-memory", "64"]] {
			assert_eq!(parse(&args).unwrap_err().kind(), clap::error::ErrorKind::MissingRequiredArgument);
		}
	}

	#[test]
	fn only_miners_of_this_machine_are_listened_for() {
		let miners = |args: &[&str]| parse(args).map(|cli| cli.options().mining.unwrap().miners);
		assert_eq!(miners(&["--mine"]).unwrap(), None);
		assert_eq!(miners(&["--mine", "--miner-listen", "unix"]).unwrap(), Some((Listen::Unix, None)));
		let tcp = ["--mine", "--mining-threads", "0", "--miner-listen", "127.0.0.1:9955", "--miner-secret", "file"];
		let address = Listen::Tcp("127.0.0.1:9955".parse().unwrap());
		assert_eq!(miners(&tcp).unwrap(), Some((address, Some("file".into()))));
		let open = miners(&["--mine", "--miner-listen", "0.0.0.0:9955"]).unwrap_err().to_string();
		assert!(open.contains("0.0.0.0:9955 is not a loopback address"), "{open}");
		assert!(miners(&["--miner-listen", "unix"]).is_err() && miners(&["--mine", "--miner-secret", "file"]).is_err());
	}

	#[test]
	fn watching_takes_a_part() {
		let watching = |args: &[&str]| parse(args).unwrap().options().watching;
		assert_eq!(watching(&["--dev"]), None);
		assert_eq!(watching(&["--dev", "--watch"]), Some((1.0, MinerKey::KeystoreOr("//Miner".into()))));
		assert_eq!(watching(&["--watch=0.1"]), Some((0.1, MinerKey::Keystore)));
		assert_eq!(watching(&["--watch", "--miner-key", "//Eve"]), Some((1.0, MinerKey::Suri("//Eve".into()))));
		for share in ["0", "1.1", "-1", "NaN", "all"] {
			assert!(parse(&[&format!("--watch={share}")]).is_err(), "{share}");
		}
	}

	#[test]
	fn tensors_have_a_quota() {
		let quota = |args: &[&str]| parse(args).map(|cli| cli.options().tensor_quota);
		assert_eq!(quota(&[]).unwrap(), 16 << 30);
		assert_eq!(quota(&["--dev", "--tensor-quota", "4294967295"]).unwrap(), u64::from(u32::MAX) << 20);
		for bad in ["0", "-1", "4294967296"] {
			assert!(quota(&["--tensor-quota", bad]).is_err());
		}
	}

	#[test]
	fn senseless_numbers_are_refused() {
		for args in [["--mine", "--mining-threads", "0"], ["--mine", "--slots", "257"], ["--mine", "--slots", "-1"]] {
			assert!(parse(&args).is_err());
		}
	}

	#[test]
	fn subcommands_parse() {
		let key = ["key", "insert", "--key-type", "labo", "--scheme", "sr25519", "--suri", "//Miner"];
		assert!(matches!(parse(&key).unwrap().subcommand, Some(Subcommand::Key(_))));
		assert!(matches!(parse(&["chain-info"]).unwrap().subcommand, Some(Subcommand::ChainInfo(_))));
		assert!(matches!(parse(&["export-chain-spec"]).unwrap().subcommand, Some(Subcommand::ExportChainSpec(_))));
	}
}
