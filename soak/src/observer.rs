//! Looks at all nodes all the time, by RPC alone, and notes what must never be.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use labora_cli::client::{ChainHead, Client};
use labora_primitives::{AccountId, TaskId};
use subxt::utils::H256;
use tokio::time::timeout;

use crate::check::{accepted, block_hash, supply};

/// How long a node may take to answer. One that hangs or is just being started is looked at again.
const ANSWER: Duration = Duration::from_secs(4);

/// What was seen.
#[derive(Default)]
pub struct Observer {
	/// The final block of each height.
	finals: BTreeMap<u64, H256>,
	/// Up to where each node's final blocks were compared.
	compared: BTreeMap<usize, u64>,
	/// Accepted results in final states: who, and what.
	results: BTreeMap<(TaskId, u32, u16), (AccountId, [u8; 32])>,
	/// Heights at which a node had another final block.
	pub conflicts: u32,
	/// Results that were accepted in a final block and are gone or others in a later one.
	pub lost: u32,
	/// Looks at the money that found some that is nobody's, or too much.
	pub supply_mismatches: u32,
	/// Most blocks between a node's best and its final one.
	pub lag: u64,
	/// The highest best block.
	pub height: u64,
}

impl Observer {
	/// Looks at one node. Errors mean that it does not answer now.
	pub async fn look(&mut self, index: usize, client: &Client) -> Result<()> {
		timeout(ANSWER, self.look_at(index, client)).await?
	}

	async fn look_at(&mut self, index: usize, client: &Client) -> Result<()> {
		let height = client.finalized().await?.height;
		let best = client.best().await?.height;
		self.height = self.height.max(best);
		self.lag = self.lag.max(best.saturating_sub(height));
		// Also what was compared already may not change: the last few again.
		let from = self.compared.get(&index).copied().unwrap_or(0).saturating_sub(2);
		for number in from..=height {
			let Some(hash) = block_hash(client, number).await? else { continue };
			let known = *self.finals.entry(number).or_insert(hash);
			if known != hash {
				eprintln!("CONFLICT at height {number}: node {index} has {hash:?}, {known:?} was final");
				self.conflicts += 1;
			}
		}
		self.compared.insert(index, height);
		Ok(())
	}

	/// Looks at the results and the money in a node's final state.
	pub async fn account(&mut self, client: &Client) -> Result<()> {
		let ChainHead { hash: at, height: number } = client.finalized().await?;
		// A node that has just come back may be behind what others know as final.
		if self.finals.keys().next_back().is_some_and(|last| *last > number) {
			return Ok(());
		}
		let mut now = BTreeMap::new();
		for task in (0..client.task_count(Some(at)).await?).map(TaskId) {
			for (round, unit, worker, root) in accepted(client, at, task).await? {
				now.insert((task, round, unit), (worker, root));
			}
		}
		let gone = |key: &&(TaskId, u32, u16)| now.get(*key) != self.results.get(*key);
		for key in self.results.keys().filter(gone) {
			eprintln!("LOST: the result of {key:?}, which was final, is {:?}", now.get(key));
			self.lost += 1;
		}
		self.results = now;
		let money = supply(client, at).await?;
		if money.issued != money.owned {
			eprintln!("MONEY at {number}: {money:?}");
			self.supply_mismatches += 1;
		}
		Ok(())
	}

	/// How many accepted results are final.
	pub fn results(&self) -> usize {
		self.results.len()
	}
}
