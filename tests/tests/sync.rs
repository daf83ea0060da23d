//! A second node follows the first one's chain over the network.

use anyhow::Result;
use labora_cli::client::Client;
use labora_demo::{network::address, node::Node};
use labora_tests::{wait_for_height, HEIGHT_TIMEOUT};
use subxt::rpcs::rpc_params;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_follows_the_chain() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let miner = Node::start(&dir.path().join("miner"), &["--dev", "--mine", "--slots", "0"])?;
	let mining = Client::connect(miner.url()).await?;
	wait_for_height(&mining, 2, HEIGHT_TIMEOUT).await?;

	// Without --dev, whose validator votes at the miner already.
	let follower =
		Node::start(&dir.path().join("follower"), &["--chain", "dev", "--bootnodes", &address(&mining).await?])?;
	let following = Client::connect(follower.url()).await?;
	let height = mining.best().await?.height + 2;
	wait_for_height(&following, height, HEIGHT_TIMEOUT).await?;

	// The same block, not just the same height.
	let hash =
		|client: Client| async move { client.request::<String>("chain_getBlockHash", rpc_params![height]).await };
	anyhow::ensure!(hash(mining).await? == hash(following).await?);
	follower.stop()?;
	miner.stop()
}
