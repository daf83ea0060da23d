//! Real validators: their votes make blocks final, as long as more than two thirds of them are there.

use std::{
	path::{Path, PathBuf},
	time::Duration,
};

use anyhow::{ensure, Context, Result};
use labora_cli::{client::Client, signer, validators};
use labora_demo::{network::address, node::Node};
use labora_primitives::{AccountId, Balance};
use labora_runtime::SessionKeys;
use labora_soak::check::block_hash;
use labora_tests::{patched_specification, wait_for_finality, wait_for_height, LAB};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};
use subxt::{rpcs::rpc_params, utils::H256};

/// Seconds that any step may take on a slow machine.
const STEP: u64 = 120;
/// Blocks of a session.
const SESSION: u32 = 12;
const BOND: Balance = 10_000 * LAB;

/// The development chain, faster, with four validators.
fn specification(dir: &Path) -> Result<String> {
	let all = [
		(Sr25519Keyring::Alice, Ed25519Keyring::Alice),
		(Sr25519Keyring::Bob, Ed25519Keyring::Bob),
		(Sr25519Keyring::Charlie, Ed25519Keyring::Charlie),
		(Sr25519Keyring::Dave, Ed25519Keyring::Dave),
	];
	let candidates: Vec<_> = all.iter().map(|(account, _)| (account.to_account_id(), BOND as u64)).collect();
	let keys = all.iter().map(|(account, key)| {
		let account: AccountId = account.to_account_id();
		(account.clone(), account, SessionKeys { grandpa: key.public().into() })
	});
	let keys: Vec<_> = keys.collect();
	let file = patched_specification(dir, |genesis| {
		genesis["validators"] = serde_json::json!({ "candidates": candidates, "sessionLength": SESSION });
		genesis["session"] = serde_json::json!({ "keys": keys });
		genesis["work"]["blockTime"] = 500.into();
		Ok(())
	})?;
	Ok(file.to_str().context("a path of text")?.to_owned())
}

/// What the nodes share.
struct Network {
	dir: PathBuf,
	spec: String,
	boot: Vec<String>,
}

impl Network {
	/// Starts a node that knows of all before it, with data of its own by its name.
	async fn start(&mut self, name: &str, arguments: &[&str]) -> Result<(Node, Client)> {
		// A validator is to have its network key beforehand, elsewhere than in a test.
		let mut all = vec!["--chain", self.spec.as_str(), "--unsafe-force-node-key-generation"];
		for address in &self.boot {
			all.extend(["--bootnodes", address.as_str()]);
		}
		all.extend(arguments);
		let node = Node::start(&self.dir.join(name), &all)?;
		let client = Client::connect(node.url()).await?;
		let id: String = client.request("system_localPeerId", rpc_params![]).await?;
		self.boot.retain(|address| !address.ends_with(&id));
		self.boot.push(address(&client).await?);
		Ok((node, client))
	}
}

/// Waits until a node has a block at a height.
async fn wait_for_hash(client: &Client, height: u64) -> Result<H256> {
	let wait = async {
		loop {
			if let Some(hash) = block_hash(client, height).await? {
				return anyhow::Ok(hash);
			}
			tokio::time::sleep(Duration::from_millis(50)).await;
		}
	};
	tokio::time::timeout(Duration::from_secs(STEP), wait).await.context("a block is missing")?
}

#[tokio::test(flavor = "multi_thread")]
async fn finality_follows_the_votes_of_more_than_two_thirds() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let mut network = Network { dir: dir.path().into(), spec: specification(dir.path())?, boot: vec![] };
	let mining = ["--alice", "--mine", "--miner-key", "//Miner", "--mining-threads", "1", "--slots", "0"];
	let (alice, client) = network.start("alice", &[&mining[..], &["--force-authoring"]].concat()).await?;
	let (bob, bobs) = network.start("bob", &["--bob"]).await?;
	let (charlie, _) = network.start("charlie", &["--charlie"]).await?;
	let (dave, _) = network.start("dave", &["--dave"]).await?;
	wait_for_finality(&client, 3, STEP).await?;
	wait_for_finality(&bobs, 3, STEP).await?;

	// One of four is gone without a word: the others are enough.
	dave.kill()?;
	let height = client.best().await?.height;
	wait_for_finality(&client, height + 3, STEP).await?;

	// Two are gone: blocks go on, and nothing more is final once the votes of before are counted.
	charlie.kill()?;
	wait_for_height(&client, client.best().await?.height + 4, STEP).await?;
	let (stopped, height) = (client.finalized().await?, client.best().await?.height);
	wait_for_height(&client, height + 6, STEP).await?;
	ensure!(client.finalized().await? == stopped, "two of four made a block final");

	// One is back.
	let (charlie, _) = network.start("charlie", &["--charlie"]).await?;
	let height = client.best().await?.height;
	wait_for_finality(&client, height, STEP).await?;

	// A newcomer is elected. Dave still counts and is still away, so from then on nothing is final without the newcomer's vote.
	let (eve, eves) = network.start("eve", &["--validator", "--name", "eve"]).await?;
	// Its transactions come when it has just caught up, and its pool may not have: the client sends them again then.
	wait_for_height(&eves, client.best().await?.height, STEP).await?;
	let key = signer::load("//Eve")?;
	validators::set_keys(&eves, &key).await?;
	validators::join(&eves, &key, 2 * BOND).await?;
	let newcomer = Sr25519Keyring::Eve.to_account_id();
	let elected = async {
		while !validators::all(&client).await?.iter().any(|info| info.account == newcomer && info.validates) {
			wait_for_height(&client, client.best().await?.height + 1, STEP).await?;
		}
		anyhow::Ok(client.best().await?.height)
	};
	let since = tokio::time::timeout(Duration::from_secs(STEP), elected).await.context("not elected")??;
	wait_for_finality(&client, since + 3, STEP).await?;
	let state: serde_json::Value = client.request("grandpa_roundState", rpc_params![]).await?;
	ensure!(state["best"]["totalWeight"] == 5 && state["best"]["thresholdWeight"] == 4, "{state}");

	// A new node jumps to what is final by the justifications of the changes of validators, and follows from there.
	let (frank, franks) = network.start("frank", &["--sync", "warp"]).await?;
	let height = client.best().await?.height;
	wait_for_finality(&franks, height, STEP).await?;
	ensure!(frank.log_text().contains("Warp sync is complete"), "it did not warp");
	// It has jumped over the block of that height perhaps, and fetches what it jumped over afterwards: all the way to the first.
	for height in [height, 1] {
		let hash = wait_for_hash(&franks, height).await?;
		ensure!(Some(hash) == block_hash(&client, height).await?, "another block {height}");
	}
	for node in [frank, eve, charlie, bob, alice] {
		node.stop()?;
	}
	Ok(())
}
