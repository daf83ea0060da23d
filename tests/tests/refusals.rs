//! Blocks that break a rule, given to a real node: it refuses each, keeps its chain, and goes on with the honest blocks.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use codec::{Decode, Encode};
use labora_cli::client::Client;
use labora_demo::node::Node;
use labora_runtime::{opaque, Block};
use labora_tests::{
	forge::{export, node, pair, proof, put_proofs, reseal, write, FORGERIES},
	output, wait_for_height, HEIGHT_TIMEOUT,
};
use sp_runtime::{generic::SignedBlock, traits::Header};

/// Height of the block that is forged: its parents are honest.
const FORGED: u64 = 3;

/// The first blocks of a chain mined by a real node.
async fn honest_blocks(dir: &Path) -> Result<Vec<SignedBlock<Block>>> {
	let base = dir.join("honest");
	let running = Node::start(&base, &["--dev", "--mine", "--slots", "0"])?;
	wait_for_height(&Client::connect(running.url()).await?, FORGED, HEIGHT_TIMEOUT).await?;
	running.stop()?;
	export(&base, FORGED)
}

fn import(file: &Path, base: &Path) -> Result<String> {
	output(node(&["import-blocks", "--binary"], base)?.arg(file))
}

async fn height(base: &Path) -> Result<u64> {
	let running = Node::start(base, &["--dev"])?;
	let height = Client::connect(running.url()).await?.best().await?.height;
	running.stop()?;
	Ok(height)
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_blocks_are_refused_and_honest_ones_still_taken() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let honest = honest_blocks(dir.path()).await?;
	ensure!(honest.len() as u64 == FORGED);
	let base: PathBuf = dir.path().join("second");
	let file = dir.path().join("offered");
	for (name, forge) in FORGERIES {
		let mut blocks = honest.clone();
		let last = blocks.last_mut().context("there are blocks")?;
		forge(&mut last.block);
		write(&blocks, &file)?;
		let refused = import(&file, &base);
		ensure!(refused.is_err(), "{name}: the node took the block\n{refused:?}");
		ensure!(height(&base).await? == FORGED - 1, "{name}: the honest parents stand");
	}
	// Taken apart and put together again without a change, the block is still good: the forgeries fail for what they change.
	let mut blocks = honest.clone();
	let last = blocks.last_mut().context("there are blocks")?;
	let proof = proof(&last.block);
	put_proofs(&mut last.block, &[proof]);
	reseal(&mut last.block, &pair("//Miner"));
	write(&blocks, &file)?;
	import(&file, &base)?;
	ensure!(height(&base).await? == FORGED);
	Ok(())
}

/// The blocks decode as the node's own type too: what the test forges is what nodes exchange.
#[test]
fn blocks_are_the_same_to_node_and_runtime() {
	let header = opaque::Header::new(1, Default::default(), Default::default(), Default::default(), Default::default());
	let block = Block { header, extrinsics: vec![] };
	assert!(opaque::Block::decode(&mut &block.encode()[..]).is_ok());
}
