//! A second node follows the first one's chain over the network, with a log for programs.

use anyhow::{ensure, Context, Result};
use labora_cli::client::Client;
use labora_demo::{network::address, node::Node};
use labora_soak::check::block_hash;
use labora_tests::{wait_for_height, HEIGHT_TIMEOUT};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_follows_the_chain() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let miner = Node::start(&dir.path().join("miner"), &["--dev", "--mine", "--slots", "0"])?;
	let mining = Client::connect(miner.url()).await?;
	wait_for_height(&mining, 2, HEIGHT_TIMEOUT).await?;

	// Without --dev, whose validator votes at the miner already.
	let boot = address(&mining).await?;
	let following = ["--chain", "dev", "--bootnodes", &boot, "--log-format", "json", "-l", "sync=debug"];
	let follower = Node::start(&dir.path().join("follower"), &following)?;
	let following = Client::connect(follower.url()).await?;
	let height = mining.best().await?.height + 2;
	wait_for_height(&following, height, HEIGHT_TIMEOUT).await?;

	// The same block, not just the same height.
	ensure!(block_hash(&mining, height).await? == block_hash(&following, height).await?);

	// For programs every line of its log is an object.
	let log = follower.log().to_owned();
	follower.stop()?;
	let log = std::fs::read_to_string(log)?;
	let lines = log.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
	let lines = lines.collect::<Result<Vec<Value>>>()?;
	let fields = ["timestamp", "level", "target", "thread", "message"];
	for line in &lines {
		ensure!(fields.iter().all(|field| line[field].is_string()), "{line}");
	}
	let said = |level: &str, target: &str, words: &str| {
		lines.iter().any(|line| {
			line["level"] == level
				&& line["target"] == target
				&& line["message"].as_str().is_some_and(|message| message.contains(words))
		})
	};
	ensure!(said("INFO", "sc_cli::runner", "Labora Node") && said("DEBUG", "sync::import-queue", "Imported"), "{log}");
	miner.stop()
}
