//! A real node trains a real, small task; through restarts and a power cut.

use anyhow::{ensure, Result};
use labora_cli::{client::Client, evaluate, replay, signer, tasks, tasks::InferenceOptions, tasks::Terms};
use labora_demo::node::Node;
use labora_primitives::{Phase, TaskId};
use labora_tests::{register, small_dataset, small_training, wait_for, wait_for_height, HEIGHT_TIMEOUT, LAB};

const MINER: &[&str] = &["--dev", "--mine", "--slots", "4"];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_its_own_makes_blocks_by_idle_work() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let node = Node::start(&dir.path().join("chain"), &["--dev", "--mine", "--slots", "0"])?;
	let client = Client::connect(node.url()).await?;
	wait_for_height(&client, 3, HEIGHT_TIMEOUT).await?;
	let usefulness = client.usefulness(None).await?;
	ensure!(usefulness.idle_blocks >= 3 && usefulness.useful_blocks == 0 && usefulness.ratio_ppm() == 0);
	node.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_trained_classified_and_replayed() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 480)?;
	let node = Node::start(&dir.path().join("chain"), MINER)?;
	let client = Client::connect(node.url()).await?;

	let task = register(&client, &small_training(&folder, 3, 40)?).await?;
	let progress = wait_for(&client, task, 180, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed);

	// The chain's records and the dataset are enough to compute it again.
	let records = replay::fetch(&client, task, false).await?;
	let verdict = replay::run(&records, &folder, None, 2, None, &|_| ())?;
	ensure!(matches!(verdict, replay::Verdict::Agrees { rounds: 3, .. }), "{verdict:?}");

	let (spec, parameters) = tasks::result(&client, task).await?;
	let options = InferenceOptions {
		batch: 32,
		units: Some(2),
		seed: 1,
		terms: Terms { price: LAB, deadline: 600, escrow: None },
	};
	let classified = register(&client, &tasks::inference_spec(&folder, &spec.graph, &parameters, &options)?).await?;
	wait_for(&client, classified, 120, |progress| progress.info.phase == Phase::Completed).await?;
	let tested = evaluate::on_chain(&client, classified, &folder).await?;
	ensure!(tested.rows == 64 && tested.accuracy() > 0.9, "{tested:?}");
	node.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_no_accepted_result() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let chain = dir.path().join("chain");
	let folder = small_dataset(dir.path(), 480)?;
	let draft = small_training(&folder, 4, 1_000)?;
	let mut node = Node::start(&chain, MINER)?;
	let mut client = Client::connect(node.url()).await?;
	let task = register(&client, &draft).await?;
	let mut known = Vec::new();
	for cut in 1..=2 {
		// In the middle of a round.
		let begun = wait_for(&client, task, 180, |progress| progress.info.round >= cut || progress.ended()).await?;
		wait_for_height(&client, begun.best.height + UNWRITTEN, HEIGHT_TIMEOUT).await?;
		known = accepted(&client, task).await?;
		node.kill()?;
		node = Node::start(&chain, MINER)?;
		client = Client::connect(node.url()).await?;
		let now = accepted(&client, task).await?;
		ensure!(known.iter().all(|result| now.contains(result)), "an accepted result is gone");
	}
	let progress = wait_for(&client, task, 240, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed);
	ensure!(known.len() >= 2);
	let records = replay::fetch(&client, task, false).await?;
	let verdict = replay::run(&records, &folder, None, 2, None, &|_| ())?;
	ensure!(matches!(verdict, replay::Verdict::Agrees { .. }), "{verdict:?}");
	node.stop()
}

/// Blocks that a power cut may take: the database writes behind. (Their results are in the worker's drafts, and are submitted again.)
const UNWRITTEN: u64 = 3;

/// Trace roots of the accepted results in blocks deep enough to have been written.
async fn accepted(client: &Client, task: TaskId) -> Result<Vec<[u8; 32]>> {
	let records = replay::fetch(client, task, false).await?;
	let height = client.best().await?.height;
	let results = records.results.iter().flatten().flatten();
	Ok(results
		.filter(|result| u64::from(result.block) + UNWRITTEN <= height)
		.map(|result| result.trace_root.0)
		.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_cancelled_and_its_escrow_returns() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 480)?;
	// Nobody takes units here: the whole escrow returns at once.
	let node = Node::start(&dir.path().join("chain"), &["--dev", "--mine", "--slots", "0"])?;
	let client = Client::connect(node.url()).await?;
	let task = register(&client, &small_training(&folder, 2, 10)?).await?;
	tasks::cancel(&client, &signer::load("//Alice")?, task).await?;
	let summary = tasks::show(&client, task).await?;
	ensure!(summary.info.phase == Phase::Cancelled && summary.info.escrow == 0);
	node.stop()
}
