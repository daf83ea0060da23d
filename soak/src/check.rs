//! What must hold of any Labora chain, checked by what its nodes say over RPC.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use codec::Decode;
use labora_cli::{
	client::{ChainHead, Client, ClientError},
	dataset::Folder,
	hexes::{from_hex, to_hex},
	replay::{self, ReplayError, Verdict},
};
use labora_pouw::params::IDLE_HANDICAP;
use labora_primitives::{AccountId, Balance, ResultRecord, TaskId, Usefulness};
use sp_crypto_hashing::twox_128;
use subxt::{rpcs::rpc_params, utils::H256};

/// Keys of storage read at a time.
const PAGE: u32 = 512;
/// Index of `pallet-work` in the runtime.
const WORK: u8 = 10;

/// The block of a height on a node's best chain.
pub async fn block_hash(client: &Client, height: u64) -> Result<Option<H256>> {
	Ok(client.request("chain_getBlockHash", rpc_params![height]).await?)
}

fn prefix(pallet: &str, item: &str) -> Vec<u8> {
	[twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat()
}

/// All money, as the chain counts it and as the sum of all accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Supply {
	/// The chain's total issuance.
	pub issued: Balance,
	/// What all accounts have, free and held.
	pub owned: Balance,
}

/// Counts the money at a block.
pub async fn supply(client: &Client, at: H256) -> Result<Supply> {
	let issuance = to_hex(prefix("Balances", "TotalIssuance"));
	let issued: String = client.request("state_getStorage", rpc_params![issuance, at]).await?;
	let issued = Balance::decode(&mut &from_hex(&issued)?[..])?;
	let accounts = to_hex(prefix("System", "Account"));
	let (mut owned, mut last): (Balance, Option<String>) = (0, None);
	loop {
		let keys: Vec<String> = client.request("state_getKeysPaged", rpc_params![&accounts, PAGE, &last, at]).await?;
		let Some(end) = keys.last() else { break };
		last = Some(end.clone());
		let sets: Vec<serde_json::Value> = client.request("state_queryStorageAt", rpc_params![&keys, at]).await?;
		for change in sets.iter().flat_map(|set| set["changes"].as_array().into_iter().flatten()) {
			let value = from_hex(change[1].as_str().context("an account's record")?)?;
			// nonce, consumers, providers, sufficients; free, reserved
			let (_, free, held) = <([u32; 4], Balance, Balance)>::decode(&mut &value[..])?;
			owned = owned.saturating_add(free).saturating_add(held);
		}
	}
	Ok(Supply { issued, owned })
}

/// The accepted results of a task at a block, with round and unit.
pub async fn accepted(client: &Client, at: H256, task: TaskId) -> Result<Vec<(u32, u16, ResultRecord)>> {
	let (at, mut results) = (Some(at), Vec::new());
	let (Some(spec), Some(info)) = (client.task_spec(at, task).await?, client.task_info(at, task).await?) else {
		return Ok(results);
	};
	for round in 0..=info.round.min(spec.job.rounds().saturating_sub(1)) {
		for unit in 0..spec.job.units() {
			if let Some(result) = client.unit_result(at, task, round, unit).await? {
				results.push((round, unit, result));
			}
		}
	}
	Ok(results)
}

/// What the blocks up to one say of the usefulness, if the node keeps all their states. The chain's own count is not read.
pub async fn usefulness(client: &Client, height: u64, at: H256) -> Result<Option<Usefulness>> {
	let nobody = AccountId::new([0; 32]);
	let mut counted = Usefulness::default();
	for number in 1..=height {
		let hash = block_hash(client, number).await?.context("a block of the chain")?;
		let block: serde_json::Value = client.request("chain_getBlock", rpc_params![hash]).await?;
		let parent: H256 = serde_json::from_value(block["block"]["header"]["parentHash"].clone())?;
		let difficulty = match client.mining_context(Some(parent), nobody.clone()).await {
			Ok(context) => context.difficulty.0,
			// The state is pruned.
			Err(ClientError::Refused { .. }) => return Ok(None),
			Err(error) => return Err(error.into()),
		};
		let mut idle = None;
		for extrinsic in block["block"]["extrinsics"].as_array().into_iter().flatten() {
			let extrinsic = from_hex(extrinsic.as_str().context("an extrinsic")?)?;
			let mut rest = &extrinsic[..];
			codec::Compact::<u32>::decode(&mut rest)?;
			// A bare extrinsic's version; the pallet, its first call; what kind of proof it is.
			if let [_, WORK, 0, kind, ..] = rest {
				idle = Some(*kind != 0);
			}
		}
		match idle.with_context(|| format!("block {number} has no proof"))? {
			true => {
				counted.idle_blocks += 1;
				counted.spent += difficulty * u128::from(IDLE_HANDICAP);
			}
			false => {
				counted.useful_blocks += 1;
				counted.spent += difficulty;
			}
		}
	}
	for task in (0..client.task_count(Some(at)).await?).map(TaskId) {
		let macs = client.task_info(Some(at), task).await?.map_or(0, |info| info.unit_macs);
		counted.accepted += macs * accepted(client, at, task).await?.len() as u128;
	}
	Ok(Some(counted))
}

/// What a check found.
#[derive(Clone, Debug)]
pub struct Report {
	/// Height of the last block that is final on all nodes.
	pub height: u64,
	/// Heights at which final blocks of two nodes differ.
	pub conflicts: u32,
	/// The money.
	pub supply: Supply,
	/// What the chain says of its usefulness.
	pub usefulness: Usefulness,
	/// What its blocks say, if a node keeps all states.
	pub recounted: Option<Usefulness>,
	/// Training tasks that were computed again, with the rounds of each, or what differs.
	pub replayed: Vec<(TaskId, Result<u32, String>)>,
}

impl Report {
	/// Whether everything is as it must be.
	pub fn is_good(&self) -> bool {
		self.conflicts == 0
			&& self.supply.issued == self.supply.owned
			&& self.recounted.is_none_or(|recounted| recounted == self.usefulness)
			&& self.replayed.iter().all(|(_, rounds)| rounds.is_ok())
	}

	/// Prints it, a line each.
	pub fn print(&self) {
		let Supply { issued, owned } = self.supply;
		println!("final blocks           up to {}, {} conflicts", self.height, self.conflicts);
		println!("money                  {issued} issued, {owned} owned");
		let counted = |of: &Usefulness| format!("{:.4}, {}/{}", of.ratio_ppm() as f64 / 1e6, of.accepted, of.spent);
		println!("usefulness             {}", counted(&self.usefulness));
		match &self.recounted {
			Some(recounted) => println!("counted from blocks    {}", counted(recounted)),
			None => println!("counted from blocks    not possible: no node keeps all states (--state-pruning archive)"),
		}
		for (task, rounds) in &self.replayed {
			match rounds {
				Ok(rounds) => {
					println!("task {task}                 {rounds} rounds computed again, every result agrees")
				}
				Err(difference) => println!("task {task}                 DIFFERS: {difference}"),
			}
		}
	}
}

/// Checks the chain of some nodes; with a dataset also the results of its tasks.
pub async fn check(clients: &[Client], dataset: Option<&Path>) -> Result<Report> {
	ensure!(!clients.is_empty(), "there is no node to ask");
	let mut heads = Vec::new();
	for client in clients {
		heads.push(client.finalized().await?);
	}
	let lowest = heads.into_iter().enumerate().min_by_key(|(_, head)| head.height);
	let (lowest, ChainHead { hash: head, height }) = lowest.context("a node")?;
	let mut conflicts = 0;
	for number in 0..=height {
		let mut seen = Vec::new();
		for client in clients {
			seen.push(block_hash(client, number).await?);
		}
		conflicts += u32::from(seen.windows(2).any(|pair| pair[0] != pair[1]));
	}
	let client = &clients[lowest];
	let mut recounted = None;
	for client in clients {
		if recounted.is_none() {
			recounted = usefulness(client, height, head).await?;
		}
	}
	let mut replayed = Vec::new();
	if let Some(path) = dataset {
		for task in (0..client.task_count(Some(head)).await?).map(TaskId) {
			let records = replay::fetch(client, task, false).await?;
			let folder = Folder::open(path)?;
			let threads = std::thread::available_parallelism().map_or(1, usize::from);
			let run = move || replay::run(&records, &folder, None, threads, None, &|_| ());
			match tokio::task::spawn_blocking(run).await? {
				Ok(Verdict::Agrees { rounds, .. }) => replayed.push((task, Ok(rounds))),
				Ok(Verdict::Differs(difference)) => replayed.push((task, Err(difference.to_string()))),
				// There is nothing to compare yet.
				Err(ReplayError::NothingYet(_)) => {}
				Err(error) => return Err(error.into()),
			}
		}
	}
	Ok(Report {
		height,
		conflicts,
		supply: supply(client, head).await?,
		usefulness: client.usefulness(Some(head)).await?,
		recounted,
		replayed,
	})
}
