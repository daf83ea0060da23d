//! What archive and pruned nodes keep, and how a chain moves from one node's disk to another's: exported blocks, a copied folder.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{ensure, Context, Result};
use labora_cli::client::Client;
use labora_demo::{
	network::address,
	node::{executable, Node},
};
use labora_soak::check::block_hash;
use labora_tests::{output, wait_for_finality, wait_for_height, HEIGHT_TIMEOUT};
use serde_json::Value;
use sp_io::hashing::twox_128;
use subxt::{rpcs::rpc_params, utils::H256};

/// Final blocks whose state and body the pruned node keeps.
const KEPT: &str = "4";
/// Far enough that block 1 is behind what is kept.
const HEIGHT: u64 = 12;

async fn hash(client: &Client, height: u64) -> Result<H256> {
	block_hash(client, height).await?.with_context(|| format!("a block at height {height}"))
}

/// Whether a node has the body of a block; it has to have the header.
async fn has_body(client: &Client, block: H256) -> Result<bool> {
	let header: Value = client.request("chain_getHeader", rpc_params![block]).await?;
	ensure!(header["parentHash"].is_string(), "no header of {block}");
	let block: Value = client.request("chain_getBlock", rpc_params![block]).await?;
	Ok(!block.is_null())
}

/// The height that the state after a block names. None: the state is not there.
async fn height_in_state(client: &Client, block: H256) -> Result<Option<u32>> {
	let key = [twox_128(b"System"), twox_128(b"Number")].concat();
	let key = format!("0x{}", key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
	let Ok(value) = client.request::<Option<String>>("state_getStorage", rpc_params![key, block]).await else {
		return Ok(None);
	};
	let value = value.context("every state has a height")?;
	// Little-endian, as SCALE has it.
	Ok(Some(u32::from_str_radix(value.trim_start_matches("0x"), 16)?.swap_bytes()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
	output(Command::new("cp").arg("-r").args([from, to])).map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_keep_everything_and_pruned_nodes_keep_headers() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let path = |name: &str| dir.path().join(name);
	let archiving = ["--state-pruning", "archive", "--blocks-pruning", "archive"];
	let mining = ["--dev", "--mine", "--slots", "0", "--mining-threads", "1"];
	let archive = Node::start(&path("archive"), &[&mining[..], &archiving].concat())?;
	let client = Client::connect(archive.url()).await?;
	let boot = address(&client).await?;
	let pruning = ["--chain", "dev", "--state-pruning", KEPT, "--blocks-pruning", KEPT, "--bootnodes", &boot];
	let pruned = Node::start(&path("pruned"), &pruning)?;
	let pruned_client = Client::connect(pruned.url()).await?;
	wait_for_finality(&pruned_client, HEIGHT, HEIGHT_TIMEOUT).await?;

	// The pruned node has the same chain, lets go of the first block's body and state, and goes on.
	let first = hash(&client, 1).await?;
	ensure!(hash(&pruned_client, 1).await? == first);
	let gone = async {
		while has_body(&pruned_client, first).await? || height_in_state(&pruned_client, first).await?.is_some() {
			tokio::time::sleep(Duration::from_millis(100)).await;
		}
		anyhow::Ok(())
	};
	tokio::time::timeout(Duration::from_secs(HEIGHT_TIMEOUT), gone).await.context("block 1 is not pruned")??;
	let last = pruned_client.finalized().await?.height;
	let last_hash = hash(&pruned_client, last).await?;
	ensure!(has_body(&pruned_client, last_hash).await?);
	ensure!(height_in_state(&pruned_client, last_hash).await?.map(u64::from) == Some(last));

	// The archive has all of the first block.
	ensure!(has_body(&client, first).await?);
	ensure!(height_in_state(&client, first).await? == Some(1));
	pruned.stop()?;
	archive.stop()?;

	moves_to_other_nodes(dir.path(), HEIGHT, first).await
}

/// The archive's chain up to a height, exported and imported; and its folder, copied.
async fn moves_to_other_nodes(dir: &Path, height: u64, first: H256) -> Result<()> {
	let path = |name: &str| dir.join(name);
	let (blocks, to) = (path("blocks"), height.to_string());
	let run = |subcommand: &str, base: &str, more: &[&str]| {
		let mut command = Command::new(executable()?);
		command.args([subcommand, "--chain", "dev", "--base-path"]).arg(path(base)).args(more).arg(&blocks);
		output(&mut command)
	};
	run("export-blocks", "archive", &["--binary", "--from", "1", "--to", &to])?;
	run("import-blocks", "imported", &["--binary"])?;
	copy(&path("archive"), &path("copied"))?;

	// A database remembers what it keeps.
	let archive = Node::start(&path("archive"), &["--chain", "dev"])?;
	let client = Client::connect(archive.url()).await?;
	ensure!(height_in_state(&client, first).await? == Some(1));
	let imported = Node::start(&path("imported"), &["--chain", "dev"])?;
	let imported_client = Client::connect(imported.url()).await?;
	ensure!(imported_client.best().await?.height == height);
	ensure!(hash(&imported_client, height).await? == hash(&client, height).await?);
	// Its network key is not to be in two nodes at a time: the original stops first.
	let best = client.best().await?.height;
	let best_hash = hash(&client, best).await?;
	archive.stop()?;
	let copied = Node::start(&path("copied"), &["--chain", "dev"])?;
	let copied_client = Client::connect(copied.url()).await?;
	wait_for_height(&copied_client, best, HEIGHT_TIMEOUT).await?;
	ensure!(hash(&copied_client, best).await? == best_hash);
	ensure!(height_in_state(&copied_client, first).await? == Some(1));
	copied.stop()?;
	imported.stop()
}
