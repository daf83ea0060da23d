//! Miners in processes of their own compute for a real node.

use std::{
	fs::File,
	path::{Path, PathBuf},
	process::{Child, Command, ExitStatus, Stdio},
	time::Duration,
};

use anyhow::{ensure, Context, Result};
use labora_cli::{client::Client, dataset::Folder, replay, tasks};
use labora_demo::node::{program, Node};
use labora_primitives::Phase;
use labora_tests::{register, small_dataset, small_training, wait_for, wait_for_height, HEIGHT_TIMEOUT};

/// A node that computes nothing itself.
const NODE: &[&str] =
	&["--dev", "--mine", "--slots", "4", "--mining-threads", "0", "--miner-listen", "unix", "-llabora::worker=debug"];
/// How long something may take to appear in a log.
const LOG_TIMEOUT: Duration = Duration::from_secs(60);

/// A miner's process, killed when dropped.
struct Miner {
	child: Child,
	log: PathBuf,
}

impl Miner {
	fn start(dir: &Path, name: &str, connect: &str, more: &[&str]) -> Result<Self> {
		let log = dir.join(format!("miner-{name}.log"));
		let child = Command::new(program("labora-miner")?)
			.args(["--connect", connect, "--threads", "1", "--name", name])
			.args(more)
			.env_remove("RUST_LOG")
			.stdin(Stdio::null())
			.stdout(Stdio::null())
			.stderr(File::create(&log)?)
			.spawn()
			.context("starting labora-miner")?;
		Ok(Self { child, log })
	}

	fn signal(&self, signal: &str) -> Result<()> {
		let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
		ensure!(sent.success(), "kill {signal}: {sent}");
		Ok(())
	}

	/// Waits until it has ended by itself.
	async fn ended(&mut self) -> Result<ExitStatus> {
		let wait = async {
			loop {
				if let Some(status) = self.child.try_wait()? {
					return anyhow::Ok(status);
				}
				tokio::time::sleep(Duration::from_millis(20)).await;
			}
		};
		tokio::time::timeout(LOG_TIMEOUT, wait).await.context("the miner does not end")?
	}
}

impl Drop for Miner {
	fn drop(&mut self) {
		let _ = self.child.kill();
		let _ = self.child.wait();
	}
}

/// Waits until a log has so many lines with a text, and gives the last of them.
async fn line(log: &Path, text: &str, times: usize) -> Result<String> {
	let wait = async {
		loop {
			// A line may be half written.
			let log = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
			let found =
				log.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains(text)).nth(times - 1);
			if let Some(line) = found {
				return anyhow::Ok(line.trim_end().to_owned());
			}
			tokio::time::sleep(Duration::from_millis(50)).await;
		}
	};
	let found = tokio::time::timeout(LOG_TIMEOUT, wait).await;
	found.with_context(|| format!("{} never says {times} times: {text}", log.display()))?
}

/// Where a node says that miners connect.
async fn socket(node: &Node) -> Result<String> {
	const MARK: &str = "labora-miner --connect ";
	let line = line(node.log(), MARK, 1).await?;
	Ok(line.split(MARK).nth(1).context("a place")?.to_owned())
}

/// What a node's log says of how long miners took to obey a new parent, milliseconds, ascending.
fn latencies(log: &str, what: &str) -> Vec<f64> {
	let lines = log.lines().filter(|line| line.contains(what));
	let times =
		lines.filter_map(|line| line.split("obeys a new parent after ").nth(1)?.split(' ').next()?.parse().ok());
	let mut times: Vec<f64> = times.collect();
	times.sort_by(f64::total_cmp);
	times
}

fn summary(times: &[f64]) -> String {
	match (times.get(times.len() / 2), times.last()) {
		(Some(median), Some(worst)) => format!("median {median:.1} ms, worst {worst:.1} ms of {}", times.len()),
		_ => "none".into(),
	}
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_train_for_a_node_and_one_is_killed() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 480)?;
	let chain = dir.path().join("chain");
	let node = Node::start(&chain, NODE)?;
	let at = socket(&node).await?;
	let one = Miner::start(dir.path(), "one", &at, &[])?;
	let mut two = Miner::start(dir.path(), "two", &at, &[])?;
	let client = Client::connect(node.url()).await?;
	let task = register(&client, &small_training(&folder, 4, 1_000)?).await?;

	// In the middle of a unit of its own.
	line(node.log(), "computed by miner `one`", 1).await?;
	wait_for(&client, task, 180, |progress| progress.info.round >= 1 || progress.ended()).await?;
	one.signal("-KILL")?;
	drop(one);
	line(node.log(), "miner `one` is gone", 1).await?;
	let three = Miner::start(dir.path(), "three", &at, &[])?;
	line(&three.log, "Connected", 1).await?;

	let progress = wait_for(&client, task, 240, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed);
	// Computed again without miners, the result is the same.
	let records = replay::fetch(&client, task, false).await?;
	let verdict = replay::run(&records, &folder, None, 2, None, &|_| ())?;
	ensure!(matches!(verdict, replay::Verdict::Agrees { rounds: 4, .. }), "{verdict:?}");
	ensure!(!node.log_text().contains("is let go"), "an honest miner was let go");
	for what in ["(a unit)", "(idle work)"] {
		println!("Obeying a new parent {what}: {}", summary(&latencies(&node.log_text(), what)));
	}

	// The node goes and comes back: its miners find it by themselves.
	node.stop()?;
	line(&two.log, "Not connected", 1).await?;
	let node = Node::start(&chain, NODE)?;
	line(&two.log, "Connected", 2).await?;
	let client = Client::connect(node.url()).await?;
	let height = client.best().await?.height;
	wait_for_height(&client, height + 2, HEIGHT_TIMEOUT).await?;

	two.signal("-TERM")?;
	ensure!(two.ended().await?.success());
	line(&two.log, "Stopped", 1).await?;
	node.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_by_tcp_needs_the_nodes_secret() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let secret = dir.path().join("secret");
	let secret_path = secret.to_str().context("a path of text")?;
	let mut arguments: Vec<_> =
		NODE.iter().map(|argument| if *argument == "unix" { "127.0.0.1:0" } else { argument }).collect();
	arguments.extend(["--miner-secret", secret_path]);
	let node = Node::start(&dir.path().join("chain"), &arguments)?;
	let at = socket(&node).await?;

	let other = dir.path().join("other");
	std::fs::write(&other, "another secret of some length")?;
	ensure!(Command::new("chmod").arg("600").arg(&other).status()?.success());
	for (name, more, says) in [
		("none", &[][..], "needs --secret"),
		("wrong", &["--secret", other.to_str().context("a path of text")?][..], "the secret is not the node's"),
	] {
		let mut miner = Miner::start(dir.path(), name, &at, more)?;
		ensure!(!miner.ended().await?.success());
		line(&miner.log, says, 1).await?;
	}
	let client = Client::connect(node.url()).await?;
	ensure!(client.best().await?.height == 0, "nobody mines yet");
	let _miner = Miner::start(dir.path(), "right", &at, &["--secret", secret_path])?;
	wait_for_height(&client, 2, HEIGHT_TIMEOUT).await?;
	node.stop()
}

/// Units of the same task, computed by a thread of the node and by a miner's at the same time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: run it with --ignored --nocapture on a quiet machine"]
async fn throughput_beside_a_thread_of_the_node() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 4_160)?;
	let arguments: Vec<_> = NODE.iter().map(|argument| if *argument == "0" { "1" } else { argument }).collect();
	let node = Node::start(&dir.path().join("chain"), &arguments)?;
	let _miner = Miner::start(dir.path(), "one", &socket(&node).await?, &[])?;
	let client = Client::connect(node.url()).await?;
	let task = register(&client, &large_training(&folder)?).await?;
	let progress = wait_for(&client, task, 500, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed);
	let log = node.log_text();
	let of_miner = |unit: &str| log.lines().any(|line| line.contains(&format!("Started {unit}, computed by")));
	let (mut own, mut external) = (Vec::new(), Vec::new());
	for line in log.lines().filter(|line| line.contains("GMAC/s")) {
		let finished = line.trim_end().split("Finished ").nth(1).context("a unit")?;
		let unit = finished.split(" in ").next().context("a unit")?;
		let speed = finished.rsplit(", ").next().and_then(|speed| speed.strip_suffix(" GMAC/s")).context("a speed")?;
		if of_miner(unit) { &mut external } else { &mut own }.push(speed.parse::<f64>()?);
	}
	for (name, speeds) in [("the node's thread", &mut own), ("the miner's thread", &mut external)] {
		speeds.sort_by(f64::total_cmp);
		let median = speeds.get(speeds.len() / 2).context("no units")?;
		println!("{name}: median {median:.1} GMAC/s of {} units, {speeds:?}", speeds.len());
	}
	for what in ["(a unit)", "(idle work)"] {
		println!("Obeying a new parent {what}: {}", summary(&latencies(&log, what)));
	}
	node.stop()
}

/// A training of 256-1024-1024-4 in batches of 256, in units of some seconds.
fn large_training(folder: &Folder) -> Result<tasks::Draft> {
	let options = tasks::TrainingOptions {
		layers: vec![1_024, 1_024],
		recipe: None,
		batch: 256,
		units: 4,
		steps: 120,
		rounds: 4,
		rate_drops: vec![],
		seed: 3,
		terms: tasks::Terms { price: labora_tests::LAB, deadline: 600, escrow: None },
	};
	Ok(tasks::training_spec(folder, &options)?)
}
