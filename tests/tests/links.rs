//! Real nodes whose connections or clocks are bad: halves that do not see each other, a slow line, machines half a minute apart.

use std::{
	collections::{BTreeMap, BTreeSet},
	path::Path,
	process::Command,
	time::Duration,
};

use anyhow::{ensure, Context, Result};
use codec::Decode;
use frame_support::storage::storage_prefix;
use frame_system::EventRecord;
use labora_cli::{
	client::{ChainHead, Client},
	hexes::to_hex,
	replay,
};
use labora_primitives::{AccountId, AssignmentId, Phase};
use labora_runtime::RuntimeEvent;
use labora_soak::{
	check::{block_hash, check},
	cluster::{Cluster, Plan, Role},
	link::{Link, Quality},
};
use labora_tests::{
	forge::pair, output, register, small_dataset, small_training, wait_for, wait_for_finality, wait_for_height,
};
use sp_core::{bytes::from_hex, Pair, H256};
use subxt::rpcs::rpc_params;
use tokio::sync::Mutex;

/// Seconds that any step may take on a slow machine.
const STEP: u64 = 240;
/// Time between two blocks, milliseconds.
const BLOCK_TIME: u32 = 1_000;
/// How long the halves do not see each other, at least.
const SEPARATED: Duration = Duration::from_secs(20);

/// Each test has the machine for itself: four nodes are enough for two cores.
static ALONE: Mutex<()> = Mutex::const_new(());

fn plan(block_time: u32, roles: Vec<Role>) -> Plan {
	Plan { block_time, half_life: 15_000, roles }
}

async fn client(cluster: &Cluster, index: usize) -> Result<Client> {
	cluster.members[index].client().cloned().context("it runs")
}

/// What happened in a block.
async fn events(client: &Client, at: impl serde::Serialize) -> Result<Vec<RuntimeEvent>> {
	let key = to_hex(storage_prefix(b"System", b"Events"));
	let encoded: Option<String> = client.request("state_getStorage", rpc_params![key, at]).await?;
	let records = Vec::<EventRecord<RuntimeEvent, H256>>::decode(&mut &from_hex(&encoded.context("events")?)?[..])?;
	Ok(records.into_iter().map(|record| record.event).collect())
}

/// The assignments under which a reward is held at a block.
async fn held(client: &Client, at: impl serde::Serialize) -> Result<BTreeSet<AssignmentId>> {
	let prefix = to_hex(storage_prefix(b"Work", b"HeldRewards"));
	let keys: Vec<String> = client.request("state_getKeysPaged", rpc_params![prefix, 1_000, (), at]).await?;
	// Behind two hashed names comes the hash of the key, and the key.
	keys.iter().map(|key| Ok(AssignmentId::decode(&mut from_hex(key)?.get(40..).context("a key")?)?)).collect()
}

/// What a chain's events say of money.
#[derive(Default)]
struct Ledger {
	/// Under which assignments rewards are held.
	held: BTreeSet<AssignmentId>,
	/// Rewards that a block brought, held or paid at once.
	rewards: u32,
	/// Units' assignments: task, round, unit.
	accepted: BTreeMap<AssignmentId, String>,
	/// What was paid: assignments, and units.
	paid: BTreeSet<AssignmentId>,
	paid_units: BTreeSet<String>,
}

impl Ledger {
	fn note(&mut self, event: RuntimeEvent) -> Result<()> {
		match event {
			RuntimeEvent::Work(pallet_work::Event::RewardHeld { assignment, .. }) => {
				ensure!(self.held.insert(assignment), "two rewards under {assignment:?}");
				self.rewards += 1;
			}
			RuntimeEvent::Work(pallet_work::Event::IdleRewardPaid { .. }) => self.rewards += 1,
			RuntimeEvent::Work(
				pallet_work::Event::RewardVested { assignment, .. }
				| pallet_work::Event::RewardBurned { assignment, .. },
			) => ensure!(self.held.remove(&assignment), "{assignment:?} had no reward"),
			RuntimeEvent::Tasks(pallet_tasks::Event::ResultAccepted { task, round, unit, assignment, .. }) => {
				self.accepted.insert(assignment, format!("{task:?} {round} {unit:?}"));
			}
			RuntimeEvent::Tasks(pallet_tasks::Event::ResultPaid { assignment, .. }) => {
				ensure!(self.paid.insert(assignment), "{assignment:?} is paid twice");
				let unit = self.accepted.get(&assignment).context("a paid result was accepted")?;
				ensure!(self.paid_units.insert(unit.clone()), "{unit} is paid twice");
			}
			_ => {}
		}
		Ok(())
	}
}

/// Two halves, each a miner with slots and a validator more. While they do not see each other both make blocks and nothing is final; then
/// there is one chain, and what the other one's blocks brought is gone.
#[tokio::test(flavor = "multi_thread")]
async fn halves_that_were_apart_come_to_one_chain_that_pays_once() -> Result<()> {
	let _alone = ALONE.lock().await;
	let dir = tempfile::tempdir()?;
	let roles = vec![Role::miner(2), Role::default(), Role::miner(2), Role::default()];
	let cluster = Cluster::start(dir.path(), &plan(BLOCK_TIME, roles)).await?;
	// One of each half.
	let ends = [client(&cluster, 0).await?, client(&cluster, 2).await?];
	let folder = small_dataset(dir.path(), 480)?;
	let task = register(&ends[0], &small_training(&folder, 200, 200)?).await?;
	wait_for(&ends[0], task, STEP, |progress| progress.info.round > 0).await?;
	wait_for_finality(&ends[1], 3, STEP).await?;

	cluster.split(&[0, 1]);
	let began = tokio::time::Instant::now();
	let cut = ends[0].best().await?.height;
	// What was voted on before may still become final.
	for end in &ends {
		wait_for_height(end, cut + 2, STEP).await?;
	}
	let stopped = [ends[0].finalized().await?, ends[1].finalized().await?];
	for end in &ends {
		wait_for_height(end, cut + 5, STEP).await?;
	}
	tokio::time::sleep_until(began + SEPARATED).await;
	ensure!(
		stopped == [ends[0].finalized().await?, ends[1].finalized().await?],
		"half of the votes made a block final"
	);
	let tips = [ends[0].best().await?, ends[1].best().await?];
	// Blocks that each half has built on. Its tip another miner may replace when the halves meet: who just got its parent makes a sibling.
	let apart = cut + 3;
	let deep = [block_hash(&ends[0], apart).await?, block_hash(&ends[1], apart).await?];
	let branches = [branch(&ends[0], tips[0], cut).await?, branch(&ends[1], tips[1], cut).await?];
	cluster.heal();

	let goal = tips[0].height.max(tips[1].height) + 20;
	for index in 0..4 {
		wait_for_finality(&client(&cluster, index).await?, goal, STEP).await?;
	}
	let on_chain = block_hash(&ends[0], apart).await?;
	let on_chain = deep.map(|block| block == on_chain);
	// Were both on it, they would never have been apart.
	ensure!(on_chain[0] != on_chain[1], "of {deep:?} one is to be on the chain: {on_chain:?}");
	let lost = &branches[usize::from(on_chain[0])];
	ensure!(lost.rewards > 0, "the lost branch brought nothing, so that nothing is shown");

	// What the worker of the other half had to show meanwhile falls, and all that was built on it: then the first payment comes as late as
	// what was computed again outlives its window. The first node keeps all states.
	let mut ledger = Ledger::default();
	let mut read = 0;
	let paid = async {
		loop {
			let end = ends[0].finalized().await?;
			for height in read + 1..=end.height {
				let hash = block_hash(&ends[0], height).await?.context("a block of the chain")?;
				for event in events(&ends[0], hash).await? {
					ledger.note(event)?;
				}
			}
			read = end.height;
			if !ledger.paid.is_empty() {
				return anyhow::Ok(end);
			}
			wait_for_finality(&ends[0], read + 1, STEP).await?;
		}
	};
	let paid = tokio::time::timeout(Duration::from_secs(STEP), paid).await;
	let end = paid.context("nothing was paid, so that nothing is shown")??;
	ensure!(held(&ends[0], end.hash).await? == ledger.held, "what is held is not what the chain's blocks brought");
	let report = check(&cluster.clients(), Some(&dir.path().join("dataset"))).await?;
	report.print();
	ensure!(report.is_good(), "{report:?}");
	cluster.stop().await
}

/// What the blocks of a branch brought, from above a height up to its tip.
async fn branch(client: &Client, tip: ChainHead, above: u64) -> Result<Ledger> {
	let mut ledger = Ledger::default();
	for height in above + 1..=tip.height {
		let hash = block_hash(client, height).await?.context("a block of the branch")?;
		for event in events(client, hash).await? {
			// Only its rewards: of what was before, nothing is known here.
			if let RuntimeEvent::Work(
				event @ (pallet_work::Event::RewardHeld { .. } | pallet_work::Event::IdleRewardPaid { .. }),
			) = event
			{
				ledger.note(RuntimeEvent::Work(event))?;
			}
		}
	}
	Ok(ledger)
}

/// A worker behind a line of 1 Mbit/s and 200 ms gets what its units need, and follows the chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_behind_a_slow_line_keeps_up() -> Result<()> {
	let _alone = ALONE.lock().await;
	let dir = tempfile::tempdir()?;
	let plan = plan(2 * BLOCK_TIME, vec![Role::miner(0), Role::miner(2)]);
	let cluster = Cluster::start(dir.path(), &plan).await?;
	let (near, far) = (client(&cluster, 0).await?, client(&cluster, 1).await?);
	cluster.links(1).for_each(|link| link.set(Some(Quality::SLOW)));
	let carried = || cluster.links(1).map(Link::carried).sum::<u64>();
	let before = carried();
	let folder = small_dataset(dir.path(), 1_920)?;
	let draft = small_training(&folder, 2, 40)?;
	let task = register(&near, &draft).await?;
	let progress = wait_for(&near, task, STEP, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed, "{progress:?}");
	let records = replay::fetch(&near, task, false).await?;
	let worker = AccountId::from(pair("//Bob").public());
	let results: Vec<_> = records.results.iter().flatten().flatten().collect();
	ensure!(!results.is_empty() && results.iter().all(|result| result.worker == worker), "//Bob is the only worker");
	// The dataset went through the line; the first parameters it draws by the task's recipe.
	let dataset = [Some(draft.spec.dataset.features), draft.spec.dataset.labels];
	let parts = draft.tensors.iter().filter(|(commitment, _)| dataset.contains(&Some(*commitment)));
	let needed: usize = parts.map(|(_, tensor)| tensor.bytes().len()).sum();
	ensure!(needed > 0);
	ensure!(carried() - before > needed as u64, "{} bytes for tensors of {needed}", carried() - before);
	let height = near.best().await?.height + 3;
	wait_for_height(&far, height, STEP).await?;
	wait_for_finality(&far, height, STEP).await?;
	ensure!(block_hash(&near, height).await? == block_hash(&far, height).await?);
	cluster.stop().await
}

/// Builds what shifts a process's clock, and gives the variables that a process needs for so many seconds.
fn shifted(dir: &Path, seconds: i64) -> Result<Vec<(String, String)>> {
	let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
	std::fs::write(&source, include_str!("../data/clock.c"))?;
	output(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source))?;
	let library = library.to_str().context("a path of text")?.to_owned();
	Ok(vec![("LD_PRELOAD".into(), library), ("CLOCK_SHIFT".into(), seconds.to_string())])
}

/// The seconds that a node's log names, and on which side of their arrival it says that others stamp their blocks.
fn named(log: &str) -> Option<(u64, &str)> {
	let line = log.lines().find(|line| line.contains("Clock: the last"))?;
	let mut words = line.split("are stamped ").nth(1)?.split(' ');
	Some((words.next()?.parse().ok()?, words.nth(1)?))
}

async fn wait_until_named(cluster: &Cluster, index: usize, side: &str) -> Result<()> {
	let member = &cluster.members[index];
	let wait = async {
		loop {
			if let Some((seconds, found)) = named(&member.log()) {
				ensure!(found == side && (15..=36).contains(&seconds), "{}: {seconds} s {found}", member.name);
				return Ok(());
			}
			tokio::time::sleep(Duration::from_millis(200)).await;
		}
	};
	let waited = tokio::time::timeout(Duration::from_secs(STEP), wait).await;
	waited.with_context(|| format!("{} does not name its clock:\n{}", member.name, member.log()))?
}

/// One machine half a minute ahead, one as much behind: both say so, and all agree on what is final.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_half_a_minute_apart_are_named_and_fork_nothing() -> Result<()> {
	let _alone = ALONE.lock().await;
	let dir = tempfile::tempdir()?;
	let at = |seconds| Ok::<_, anyhow::Error>(Role { environment: shifted(dir.path(), seconds)?, ..Role::default() });
	let roles = vec![Role::miner(0), at(30)?, at(-30)?, Role::default()];
	let cluster = Cluster::start(dir.path(), &plan(BLOCK_TIME, roles)).await?;
	for (index, side) in [(1, "before"), (2, "after")] {
		wait_until_named(&cluster, index, side).await?;
	}
	let height = client(&cluster, 0).await?.best().await?.height + 5;
	for index in 0..4 {
		wait_for_finality(&client(&cluster, index).await?, height, STEP).await?;
	}
	let report = check(&cluster.clients(), None).await?;
	ensure!(report.is_good() && report.height >= height, "{report:?}");
	cluster.stop().await
}

/// A miner half a minute ahead: its blocks are taken, nobody else's are refused, and the others say that somebody's clock is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_miner_half_a_minute_ahead_forks_nothing() -> Result<()> {
	let _alone = ALONE.lock().await;
	let dir = tempfile::tempdir()?;
	let fast = Role { environment: shifted(dir.path(), 28)?, ..Role::miner(0) };
	let plan = plan(BLOCK_TIME, vec![Role::miner(0), fast, Role::default()]);
	let cluster = Cluster::start(dir.path(), &plan).await?;
	wait_until_named(&cluster, 2, "after").await?;
	let height = client(&cluster, 0).await?.best().await?.height + 5;
	for index in 0..3 {
		wait_for_finality(&client(&cluster, index).await?, height, STEP).await?;
	}
	let report = check(&cluster.clients(), None).await?;
	ensure!(report.is_good() && report.height >= height, "{report:?}");
	cluster.stop().await
}
