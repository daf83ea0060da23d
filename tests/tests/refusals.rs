//! Blocks that break a rule, given to a real node: it refuses each, keeps its chain, and goes on with the honest blocks.

use std::{
	path::{Path, PathBuf},
	process::Command,
};

use anyhow::{ensure, Context, Result};
use codec::{Decode, Encode};
use labora_cli::client::Client;
use labora_demo::node::{executable, Node};
use labora_pouw::IdleProof;
use labora_primitives::WorkProof;
use labora_runtime::{opaque, Block, RuntimeCall, UncheckedExtrinsic};
use labora_tests::{output, wait_for_height, HEIGHT_TIMEOUT};
use sp_core::{sr25519, Pair};
use sp_runtime::{
	generic::SignedBlock,
	traits::{BlakeTwo256, Hash, Header},
	DigestItem,
};

/// Height of the block that is forged: its parents are honest.
const FORGED: u64 = 3;

fn node(arguments: &[&str], base: &Path) -> Command {
	let mut command = Command::new(executable().expect("built before the tests"));
	command.args(arguments).args(["--dev", "--base-path"]).arg(base);
	command
}

/// The first blocks of a chain mined by a real node.
async fn honest_blocks(dir: &Path) -> Result<Vec<SignedBlock<Block>>> {
	let base = dir.join("honest");
	let running = Node::start(&base, &["--dev", "--mine", "--slots", "0"])?;
	wait_for_height(&Client::connect(running.url()).await?, FORGED, HEIGHT_TIMEOUT).await?;
	running.stop()?;
	let file = dir.join("blocks");
	let to = FORGED.to_string();
	output(node(&["export-blocks", "--binary", "--from", "1", "--to", &to], &base).arg(&file))?;
	let bytes = std::fs::read(file)?;
	let mut input = bytes.as_slice();
	let count = u64::decode(&mut input)?;
	let blocks = (0..count).map(|_| SignedBlock::<Block>::decode(&mut input));
	blocks.collect::<Result<_, _>>().context("exported blocks")
}

fn write(blocks: &[SignedBlock<Block>], file: &Path) -> Result<()> {
	let mut bytes = (blocks.len() as u64).encode();
	blocks.iter().for_each(|block| block.encode_to(&mut bytes));
	Ok(std::fs::write(file, bytes)?)
}

fn import(file: &Path, base: &Path) -> Result<String> {
	output(node(&["import-blocks", "--binary"], base).arg(file))
}

async fn height(base: &Path) -> Result<u64> {
	let running = Node::start(base, &["--dev"])?;
	let height = Client::connect(running.url()).await?.best().await?.height;
	running.stop()?;
	Ok(height)
}

/// Makes a changed block as good as its forger can: right extrinsics root, named author, his seal.
fn reseal(block: &mut Block, author: &sr25519::Pair) {
	let extrinsics = block.extrinsics.iter().map(Encode::encode).collect();
	block.header.extrinsics_root = BlakeTwo256::ordered_trie_root(extrinsics, sp_core::storage::StateVersion::V1);
	block.header.digest.pop();
	let logs = &mut block.header.digest.logs;
	logs.retain(|log| !matches!(log, DigestItem::PreRuntime(..)));
	logs.insert(0, DigestItem::PreRuntime(pallet_work::ENGINE_ID, author.public().encode()));
	let seal = author.sign(block.header.hash().as_bytes());
	block.header.digest.push(DigestItem::Seal(pallet_work::ENGINE_ID, seal.encode()));
}

/// The block's proof.
fn proof(block: &Block) -> WorkProof {
	let mut calls = block.extrinsics.iter().map(|extrinsic| &extrinsic.function);
	let proof = calls.find_map(|call| match call {
		RuntimeCall::Work(pallet_work::Call::prove { proof }) => Some(proof.clone()),
		_ => None,
	});
	proof.expect("every block has one")
}

/// Puts these proofs into the block instead of its own. (An extrinsic keeps the bytes that it was decoded from, so it is replaced whole.)
fn put_proofs(block: &mut Block, proofs: &[WorkProof]) {
	block.extrinsics.retain(|extrinsic| !matches!(extrinsic.function, RuntimeCall::Work(_)));
	let calls = proofs.iter().map(|proof| RuntimeCall::Work(pallet_work::Call::prove { proof: proof.clone() }));
	block.extrinsics.extend(calls.map(UncheckedExtrinsic::new_bare));
}

/// Replaces an idle block's proof by a changed one.
fn change(block: &mut Block, change: impl FnOnce(&mut IdleProof)) {
	let WorkProof::Idle(mut idle) = proof(block) else { panic!("the miner has no slots: its blocks are idle") };
	change(&mut idle);
	put_proofs(block, &[WorkProof::Idle(idle)]);
	reseal(block, &pair("//Miner"));
}

fn pair(secret: &str) -> sr25519::Pair {
	sr25519::Pair::from_string(secret, None).expect("a valid derivation path")
}

/// A name and what is done to the last block.
type Forgery = (&'static str, fn(&mut Block));

const FORGERIES: &[Forgery] = &[
	("another nonce", |block| change(block, |proof| proof.nonce ^= 1)),
	("another tile", |block| change(block, |proof| proof.tile.row ^= 1)),
	("no proof", |block| {
		put_proofs(block, &[]);
		reseal(block, &pair("//Miner"));
	}),
	("two proofs", |block| {
		let proof = proof(block);
		put_proofs(block, &[proof.clone(), proof]);
		reseal(block, &pair("//Miner"));
	}),
	("another's proof", |block| reseal(block, &pair("//Bob"))),
	("another's seal", |block| {
		block.header.digest.pop();
		let seal = pair("//Bob").sign(block.header.hash().as_bytes());
		block.header.digest.push(DigestItem::Seal(pallet_work::ENGINE_ID, seal.encode()));
	}),
	("no author", |block| {
		block.header.digest.logs.clear();
		block.header.digest.push(DigestItem::Seal(pallet_work::ENGINE_ID, vec![0; 64]));
	}),
];

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
