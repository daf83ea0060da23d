//! Blocks of a real chain, and what a forger can do to them.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use codec::{Decode, Encode};
use labora_demo::node::executable;
use labora_pouw::IdleProof;
use labora_primitives::WorkProof;
use labora_runtime::{Block, RuntimeCall, UncheckedExtrinsic};
use sp_core::{sr25519, Pair};
use sp_runtime::{
	generic::SignedBlock,
	traits::{BlakeTwo256, Hash},
	DigestItem,
};

use crate::output;

/// A subcommand of the node on a development chain in `base`.
pub fn node(arguments: &[&str], base: &Path) -> Result<Command> {
	let mut command = Command::new(executable()?);
	command.args(arguments).args(["--dev", "--base-path"]).arg(base);
	Ok(command)
}

/// Writes the development chain's specification with its genesis state: a node that is given it need not compute that first.
pub fn write_specification(file: &Path) -> Result<()> {
	let arguments = ["export-chain-spec", "--chain", "dev", "--raw", "--output"];
	output(Command::new(executable()?).args(arguments).arg(file)).map(drop)
}

/// The first blocks of a stopped node's chain, from height 1 on.
pub fn export(base: &Path, to: u64) -> Result<Vec<SignedBlock<Block>>> {
	let file = base.with_extension("blocks");
	output(node(&["export-blocks", "--binary", "--from", "1", "--to", &to.to_string()], base)?.arg(&file))?;
	let bytes = std::fs::read(file)?;
	let mut input = bytes.as_slice();
	let count = u64::decode(&mut input)?;
	let blocks = (0..count).map(|_| SignedBlock::<Block>::decode(&mut input));
	blocks.collect::<Result<_, _>>().context("exported blocks")
}

/// Writes blocks to a file, as a node imports them.
pub fn write(blocks: &[SignedBlock<Block>], file: &Path) -> Result<()> {
	let mut bytes = (blocks.len() as u64).encode();
	blocks.iter().for_each(|block| block.encode_to(&mut bytes));
	Ok(std::fs::write(file, bytes)?)
}

/// The key pair of a secret.
pub fn pair(secret: &str) -> sr25519::Pair {
	sr25519::Pair::from_string(secret, None).expect("a valid derivation path")
}

/// Makes a changed block as good as its forger can: right extrinsics root, named author, his seal.
pub fn reseal(block: &mut Block, author: &sr25519::Pair) {
	let extrinsics = block.extrinsics.iter().map(Encode::encode).collect();
	block.header.extrinsics_root = BlakeTwo256::ordered_trie_root(extrinsics, sp_core::storage::StateVersion::V1);
	block.header.digest.pop();
	let logs = &mut block.header.digest.logs;
	logs.retain(|log| !matches!(log, DigestItem::PreRuntime(..)));
	logs.insert(0, DigestItem::PreRuntime(pallet_work::ENGINE_ID, author.public().encode()));
	seal(block, author);
}

/// Adds somebody's seal.
pub fn seal(block: &mut Block, author: &sr25519::Pair) {
	let seal = author.sign(block.header.hash().as_bytes());
	block.header.digest.push(DigestItem::Seal(pallet_work::ENGINE_ID, seal.encode()));
}

/// The block's proof.
pub fn proof(block: &Block) -> WorkProof {
	let mut calls = block.extrinsics.iter().map(|extrinsic| &extrinsic.function);
	let proof = calls.find_map(|call| match call {
		RuntimeCall::Work(pallet_work::Call::prove { proof }) => Some(proof.clone()),
		_ => None,
	});
	proof.expect("every block has one")
}

/// Puts these proofs into the block instead of its own. (An extrinsic keeps the bytes that it was decoded from, so it is replaced whole.)
pub fn put_proofs(block: &mut Block, proofs: &[WorkProof]) {
	block.extrinsics.retain(|extrinsic| !matches!(extrinsic.function, RuntimeCall::Work(_)));
	let calls = proofs.iter().map(|proof| RuntimeCall::Work(pallet_work::Call::prove { proof: proof.clone() }));
	block.extrinsics.extend(calls.map(UncheckedExtrinsic::new_bare));
}

/// Replaces an idle block's proof by a changed one, and has its miner seal it.
pub fn change(block: &mut Block, change: impl FnOnce(&mut IdleProof)) {
	let WorkProof::Idle(mut idle) = proof(block) else { panic!("the miner has no slots: its blocks are idle") };
	change(&mut idle);
	put_proofs(block, &[WorkProof::Idle(idle)]);
	reseal(block, &pair("//Miner"));
}

/// A name and what is done to a block.
pub type Forgery = (&'static str, fn(&mut Block));

/// Ways to break the rules of a block's work.
pub const FORGERIES: &[Forgery] = &[
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
		seal(block, &pair("//Bob"));
	}),
	("no author", |block| {
		block.header.digest.logs.clear();
		block.header.digest.push(DigestItem::Seal(pallet_work::ENGINE_ID, vec![0; 64]));
	}),
];
