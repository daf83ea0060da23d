//! A real node meets peers that serve it forged blocks, or more requests and announcements than anybody can answer: it takes no forged
//! block, stays up, and goes on with the honest chain.

use std::{
	str::FromStr,
	sync::atomic::{AtomicUsize, Ordering},
	time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use futures::{stream::FuturesUnordered, StreamExt};
use labora_cli::client::Client;
use labora_demo::{network::address, node::Node};
use labora_node::exchange::{NetworkPeers, Peers};
use labora_runtime::Block;
use labora_soak::check::block_hash;
use labora_tests::{
	forge::{change, export, write_specification, FORGERIES},
	memory, peak_memory,
	peer::Peer,
	wait_for_finality, wait_for_height, HEIGHT_TIMEOUT,
};
use sc_network::{service::traits::NetworkBlock, PeerId};
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
	ensure!(block_hash(&mining, height).await? == block_hash(&client, height).await?, "not the honest chain");
	drop(forger);
	node.stop()?;
	miner.stop()
}

/// Forged blocks that are announced.
const ANNOUNCED: u32 = 100;
/// Requests that are sent, at least.
const REQUESTS: usize = 20_000;
/// Requests that wait for their answers at a time.
const AT_ONCE: usize = 256;
/// Memory that they may cost, MiB.
const MEMORY: u64 = 256;

/// Messages that each of the two nodes is sent, all of them no votes.
const MESSAGES: u32 = 500_000;
/// How long they may take. They are not to be fast, but to come to an end.
const DELIVERY: Duration = Duration::from_secs(300);

/// A request for the header of block 1 alone, as the SDK's protocol encodes it; and one that means nothing.
fn request(right: bool) -> Vec<u8> {
	let mut bytes = vec![0x08, 0x80, 0x80, 0x80, 0x08, 0x1a, 8];
	bytes.extend(1u64.to_le_bytes());
	bytes.extend([0x30, 1]);
	bytes.truncate(if right { bytes.len() } else { 3 });
	bytes
}

/// What it follows the chain by is not crowded out: not by requests for blocks, state, proofs of finality or nothing at all, nor by blocks
/// that are forged, each another one, and announced as new.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_requests_and_announcements_stop_nobody() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let (base, spec) = (dir.path().join("miner"), dir.path().join("dev.json"));
	let mining = ["--dev", "--mine", "--slots", "0", "--mining-threads", "1"];
	let miner = Node::start(&base, &mining)?;
	wait_for_height(&Client::connect(miner.url()).await?, HEIGHT, HEIGHT_TIMEOUT).await?;
	miner.stop()?;
	let mut chain: Vec<Block> = export(&base, HEIGHT)?.into_iter().map(|signed| signed.block).collect();
	let last = chain.pop().context("a block")?;
	chain.extend((1..=ANNOUNCED).map(|nonce| {
		let mut forged = last.clone();
		change(&mut forged, |proof| proof.nonce = proof.nonce.wrapping_add(nonce.into()));
		forged
	}));

	let miner = Node::start(&base, &mining)?;
	let mined = Client::connect(miner.url()).await?;
	let node = Node::start(&dir.path().join("node"), &["--chain", "dev", "--bootnodes", &address(&mined).await?])?;
	let client = Client::connect(node.url()).await?;
	wait_for_height(&client, HEIGHT + 1, HEIGHT_TIMEOUT).await?;
	let own = address(&client).await?;
	write_specification(&spec)?;
	let flooder = Peer::start(&spec, &dir.path().join("flooder"), &chain, Some(&own)).await?;
	let (target, peers) =
		(PeerId::from_str(own.rsplit('/').next().context("an address with an identity")?)?, flooder.peers());
	let began = Instant::now();
	while peers.connected().await.is_empty() {
		ensure!(began.elapsed() < MEETING, "the flooder is not connected");
		tokio::time::sleep(Duration::from_millis(50)).await;
	}
	let memory = peak_memory(&node)?;

	for forged in &chain[chain.len() - ANNOUNCED as usize..] {
		peers.sync.announce_block(forged.header.hash(), None);
	}
	let genesis = format!("{:?}", mined.genesis());
	let protocols = ["sync/2", "state/2", "sync/warp"].map(|name| NetworkPeers {
		protocol: format!("/{}/{name}", genesis.trim_start_matches("0x")).into(),
		..flooder.peers()
	});
	let sent = AtomicUsize::new(0);
	let flood = async {
		let mut asked = FuturesUnordered::new();
		for count in 0usize.. {
			asked.push(protocols[count % protocols.len()].request(target, request(count % 2 == 0)));
			if asked.len() >= AT_ONCE {
				// Once it is banned a request fails at once.
				if asked.next().await.is_some_and(|answer| answer.is_err()) {
					tokio::task::yield_now().await;
				}
			}
			sent.fetch_add(1, Ordering::Relaxed);
		}
	};
	let follow = async {
		let height = mined.best().await?.height + 5;
		wait_for_height(&client, height, HEIGHT_TIMEOUT).await?;
		let began = Instant::now();
		while sent.load(Ordering::Relaxed) < REQUESTS {
			ensure!(began.elapsed() < MEETING, "{} requests were sent", sent.load(Ordering::Relaxed));
			tokio::time::sleep(Duration::from_millis(50)).await;
		}
		// Still.
		wait_for_height(&client, mined.best().await?.height, HEIGHT_TIMEOUT).await
	};
	tokio::select! {
		() = flood => {}
		followed = follow => followed?,
	}
	let more = peak_memory(&node)?.saturating_sub(memory);
	println!("{} requests sent, {more} MiB more at the peak", sent.load(Ordering::Relaxed));
	ensure!(more < MEMORY, "{more} MiB more at the peak");
	for forged in &chain[chain.len() - ANNOUNCED as usize..] {
		let hash = format!("{:?}", forged.header.hash());
		let header: Option<serde_json::Value> = client.request("chain_getHeader", rpc_params![&hash]).await?;
		ensure!(header.is_none(), "the node keeps a forged block");
	}
	drop(flooder);
	node.stop()?;
	miner.stop()
}

/// A million messages of a few bytes each, where votes are expected: half of them to a node that mines and votes, half to one that follows. No
/// two are the same, so none is known already, and what is wrong costs reputation by its bytes: a few cost too little to be banned for.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_tiny_messages_stop_nobody() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let spec = dir.path().join("dev.json");
	write_specification(&spec)?;
	let mining = ["--dev", "--mine", "--slots", "0", "--mining-threads", "1"];
	let miner = Node::start(&dir.path().join("miner"), &mining)?;
	let mined = Client::connect(miner.url()).await?;
	let node = Node::start(&dir.path().join("node"), &["--chain", "dev", "--bootnodes", &address(&mined).await?])?;
	let client = Client::connect(node.url()).await?;
	wait_for_height(&client, HEIGHT, HEIGHT_TIMEOUT).await?;
	let (mut flooders, mut sinks) = (Vec::new(), Vec::new());
	for (name, target) in [("first", &mined), ("second", &client)] {
		let target = address(target).await?;
		let flooder = Peer::start(&spec, &dir.path().join(name), &[], Some(&target)).await?;
		sinks.push(flooder.votes(&target).await?);
		flooders.push(flooder);
	}

	// As many blocks as come in the time that the flood took are compared with those that came in it.
	let calm = 15;
	let (height, began) = (mined.best().await?.height, Instant::now());
	wait_for_height(&mined, height + calm, HEIGHT_TIMEOUT).await?;
	let calm = began.elapsed().as_secs_f64() / (mined.best().await?.height - height) as f64;
	let before = [memory(&miner)?, memory(&node)?];
	let (height, began) = (mined.best().await?.height, Instant::now());
	let floods = sinks.iter().map(|sink| async {
		for message in 0..MESSAGES {
			sink.send_async_notification(message.to_le_bytes().into()).await.context("the node cut the line")?;
		}
		anyhow::Ok(())
	});
	tokio::time::timeout(DELIVERY, futures::future::try_join_all(floods))
		.await
		.context("a message waits for ever")??;
	let took = began.elapsed().as_secs_f64();
	// What is still on its way or waits to be looked at counts, too.
	wait_for_height(&client, mined.best().await?.height + 3, HEIGHT_TIMEOUT).await?;
	let (blocks, seconds) = (mined.best().await?.height - height, began.elapsed().as_secs_f64());
	let peak = [peak_memory(&miner)?, peak_memory(&node)?];
	println!(
		"{} messages in {took:.1} s; a block every {calm:.2} s before and every {:.2} s during them; memory {before:?} MiB before, at most {peak:?}",
		2 * MESSAGES,
		seconds / blocks as f64,
	);
	for (before, peak) in before.into_iter().zip(peak) {
		ensure!(peak.saturating_sub(before) < MEMORY, "{before} MiB before, {peak} at the peak");
	}
	// They still exchange real ones: what comes after the flood becomes final.
	let height = mined.best().await?.height;
	wait_for_finality(&client, height, HEIGHT_TIMEOUT).await?;
	drop(flooders);
	node.stop()?;
	miner.stop()
}
