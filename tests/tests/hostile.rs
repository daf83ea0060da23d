//! A real node meets peers that serve it forged blocks: it takes none, stays up, and goes on with the honest chain.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use labora_cli::client::Client;
use labora_demo::{network::address, node::Node};
use labora_runtime::Block;
use labora_tests::{
	forge::{export, write_specification, FORGERIES},
	peer::Peer,
	wait_for_height, HEIGHT_TIMEOUT,
};
use subxt::rpcs::rpc_params;

/// Height of the best block when the forgers come, at least.
const HEIGHT: u64 = 2;
/// How long the node may take to meet a forger and refuse his block.
const MEETING: Duration = Duration::from_secs(120);

/// Forgeries by their names, and why the node says that it refuses them.
const REFUSALS: &[(&str, &str)] = &[
	("another nonce", "Invalid(BadMandatory)"),
	("no proof", "a block must prove its work"),
	("another's seal", "invalid seal"),
	("another's proof", "Invalid(BadMandatory)"),
];

/// The node refuses each block by its hash. It does not ban who serves it: to the SDK's sync, a block that cannot be imported may as well
/// be the fault of the node's own database.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_no_forged_blocks_from_its_peers() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let (miner_base, base) = (dir.path().join("miner"), dir.path().join("honest"));
	let miner = Node::start(&miner_base, &["--dev", "--mine", "--slots", "0"])?;
	let mining = Client::connect(miner.url()).await?;
	let node = Node::start(&base, &["--chain", "dev", "--bootnodes", &address(&mining).await?])?;
	wait_for_height(&Client::connect(node.url()).await?, HEIGHT, HEIGHT_TIMEOUT).await?;
	// The miner is ahead when it stops: the block that the node needs next is there to be forged.
	node.stop()?;
	wait_for_height(&mining, mining.best().await?.height + 2, HEIGHT_TIMEOUT).await?;
	let ahead = mining.best().await?.height;
	miner.stop()?;
	let blocks: Vec<Block> = export(&miner_base, ahead)?.into_iter().map(|signed| signed.block).collect();

	let mut node = Node::start(&base, &["--chain", "dev"])?;
	let client = Client::connect(node.url()).await?;
	let (own, best) = (address(&client).await?, client.best().await?);
	let next = usize::try_from(best.height)?;
	ensure!(next < blocks.len(), "the miner is no further than the node");
	let spec = dir.path().join("dev.json");
	write_specification(&spec)?;
	let mut forger = None;
	for (name, reason) in REFUSALS {
		let (_, forge) = FORGERIES.iter().find(|(known, _)| known == name).context("a known forgery")?;
		let mut chain = blocks[..=next].to_vec();
		forge(&mut chain[next]);
		let hash = format!("{:?}", chain[next].header.hash());
		let before = node.log_text().len();
		forger = Some(Peer::start(&spec, &dir.path().join(name), &chain, Some(&own)).await?);
		let began = Instant::now();
		let said = || node.log_text().split_off(before);
		let refused =
			|text: String| text.lines().any(|line| line.contains("Error importing block") && line.contains(&hash));
		while !refused(said()) {
			ensure!(began.elapsed() < MEETING, "{name}: the node did not meet the block\n{}", said());
			tokio::time::sleep(Duration::from_millis(50)).await;
		}
		ensure!(said().contains(reason), "{name}: refused for something else\n{}", said());
		ensure!(node.is_running() && client.best().await? == best, "{name}: the node took the block");
		let header: Option<serde_json::Value> = client.request("chain_getHeader", rpc_params![&hash]).await?;
		ensure!(header.is_none(), "{name}: the node keeps the block");
	}

	// The last forger still calls.
	let miner = Node::start(&miner_base, &["--dev", "--mine", "--slots", "0", "--bootnodes", &own])?;
	let height = ahead + 2;
	wait_for_height(&client, height, HEIGHT_TIMEOUT).await?;
	let mining = Client::connect(miner.url()).await?;
	let hash =
		|client: Client| async move { client.request::<String>("chain_getBlockHash", rpc_params![height]).await };
	ensure!(hash(mining).await? == hash(client).await?, "not the honest chain");
	drop(forger);
	node.stop()?;
	miner.stop()
}
