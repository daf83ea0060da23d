//! Looks at all nodes all the time, by RPC alone, and notes what must never be.

use std::{
	collections::{BTreeMap, BTreeSet},
	time::Duration,
};

use anyhow::Result;
use codec::Decode;
use labora_cli::client::{ChainHead, Client};
use labora_primitives::{AccountId, AssignmentId, ResultRecord, TaskId};
use subxt::utils::H256;
use tokio::time::timeout;

use crate::check::{accepted, block_hash, supply};

/// How long a node may take to answer. One that hangs or is just being started is looked at again.
const ANSWER: Duration = Duration::from_secs(4);
/// `pallet_disputes::Fault::Silence`, encoded.
const SILENCE: u8 = 1;

/// What was seen.
#[derive(Default)]
pub struct Observer {
	/// The final block of each height.
	finals: BTreeMap<u64, H256>,
	/// Up to where each node's final blocks were compared.
	compared: BTreeMap<usize, u64>,
	/// Accepted results in final states.
	results: BTreeMap<(TaskId, u32, u16), ResultRecord>,
	/// Up to where the events of final blocks were read.
	read: u64,
	/// Assignments whose results fell in final blocks because nobody answered in time, and those that were built on them.
	silenced: BTreeSet<AssignmentId>,
	/// Rounds that are complete in the last final state.
	pub rounds: u32,
	/// Heights at which a node had another final block.
	pub conflicts: u32,
	/// Results that were accepted in a final block and are gone or others in a later one, and did not fall by silence.
	pub lost: u32,
	/// Results that fell as the protocol says: their workers did not answer an audit in time, or they were built on such a one. How long a
	/// node takes to come back depends on what else the machine does.
	pub silent: u32,
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
		let (mut now, mut rounds) = (BTreeMap::new(), 0);
		for task in (0..client.task_count(Some(at)).await?).map(TaskId) {
			rounds += client.task_info(Some(at), task).await?.map_or(0, |info| info.round);
			for (round, unit, result) in accepted(client, at, task).await? {
				now.insert((task, round, unit), result);
			}
		}
		self.read_falls(client, number).await?;
		let (results, silenced) = (std::mem::replace(&mut self.results, now), &self.silenced);
		for (key, result) in results.iter().filter(|(key, result)| self.results.get(*key) != Some(*result)) {
			if silenced.contains(&result.assignment) {
				println!("Fallen: nobody answered in time for the result of {key:?}, or what it was built on");
				self.silent += 1;
			} else {
				eprintln!("LOST: the result of {key:?}, which was final, is {:?}", self.results.get(key));
				self.lost += 1;
			}
		}
		self.rounds = rounds;
		let money = supply(client, at).await?;
		if money.issued != money.owned {
			eprintln!("MONEY at {number}: {money:?}");
			self.supply_mismatches += 1;
		}
		Ok(())
	}

	/// Notes which results fell by silence in the final blocks up to a height.
	async fn read_falls(&mut self, client: &Client, height: u64) -> Result<()> {
		while self.read < height {
			let Some(hash) = block_hash(client, self.read + 1).await? else { break };
			let (mut fell, mut void) = (Vec::new(), Vec::new());
			for event in client.events(hash).await? {
				let fields = &mut &event.fields[..];
				match (&event.pallet[..], &event.name[..]) {
					// One a block at most.
					("Disputes", "ResultFell") => {
						let (assignment, _, fault) = <(AssignmentId, AccountId, u8)>::decode(fields)?;
						fell.extend((fault == SILENCE).then_some(assignment));
					}
					("Tasks", "ResultVoided") => void.push(AssignmentId::decode(fields)?),
					_ => {}
				}
			}
			if !fell.is_empty() {
				self.silenced.extend(fell.into_iter().chain(void));
			}
			self.read += 1;
		}
		Ok(())
	}

	/// How many accepted results are final.
	pub fn results(&self) -> usize {
		self.results.len()
	}
}
