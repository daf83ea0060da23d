//! Blocks that break a rule, given to a real node: it refuses each, keeps its chain, and goes on with the honest blocks.

use std::{
	path::{Path, PathBuf},
	process::Command,
};

use anyhow::{ensure, Context, Result};
use codec::{Decode, Encode};
use labora_cli::client::Client;
use labora_demo::node::{executable, Node};
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

fn proof_mut(block: &mut Block) -> &mut WorkProof {
	let calls = block.extrinsics.iter_mut().map(|extrinsic| &mut extrinsic.function);
	let mut proofs = calls.filter_map(|call| match call {
		RuntimeCall::Work(pallet_work::Call::prove { proof }) => Some(proof),
		_ => None,
	});
	proofs.next().expect("every block has one")
}

fn pair(secret: &str) -> sr25519::Pair {
	sr25519::Pair::from_string(secret, None).expect("a valid derivation path")
}

/// A name and what is done to the last block.
type Forgery = (&'static str, fn(&mut Block));

const FORGERIES: &[Forgery] = &[
	("another nonce", |block| {
		if let WorkProof::Idle(proof) = proof_mut(block) {
			proof.nonce ^= 1;
		}
		reseal(block, &pair("//Miner"));
	}),
	("another tile", |block| {
		if let WorkProof::Idle(proof) = proof_mut(block) {
			proof.tile.row ^= 1;
		}
		reseal(block, &pair("//Miner"));
	}),
	("no proof", |block| {
		block.extrinsics.retain(|extrinsic| !matches!(extrinsic.function, RuntimeCall::Work(_)));
		reseal(block, &pair("//Miner"));
	}),
	("two proofs", |block| {
		let proof = proof_mut(block).clone();
		let second = RuntimeCall::Work(pallet_work::Call::prove { proof });
		block.extrinsics.push(UncheckedExtrinsic::new_bare(second));
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
	write(&honest, &file)?;
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
