use labora_graph::{OpIndex, Product};
use labora_tensor::Commitment;
use sha2::{Digest, Sha256};

use crate::params::IDLE_DIMENSION;

/// What all noise and tickets of one product on one parent follow from. It has no free nonce: everything in it is fixed
/// by the parent, the assignment and the tensors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub [u8; 32]);

/// The inputs of a useful product's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsefulSeed<'a> {
	/// Hash of the genesis block: a proof of another chain is no proof.
	pub genesis: &'a [u8; 32],
	/// Hash of the parent of the block to be made.
	pub parent: &'a [u8; 32],
	/// Number of the assignment, which names unit and worker.
	pub assignment: u64,
	/// The op of the unit.
	pub op: OpIndex,
	/// Commitment of the tensor that holds the left operand.
	pub a: &'a Commitment,
	/// Commitment of the tensor that holds the right operand.
	pub b: &'a Commitment,
	/// Dimensions.
	pub product: Product,
}

/// The inputs of an idle product's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdleSeed<'a> {
	/// Hash of the genesis block.
	pub genesis: &'a [u8; 32],
	/// Hash of the parent of the block to be made.
	pub parent: &'a [u8; 32],
	/// The encoded account of the miner.
	pub account: &'a [u8],
	/// Free: idle work is grinding, and paid like it.
	pub nonce: u64,
}

impl UsefulSeed<'_> {
	/// `SHA-256("labora/ticket/1" | genesis | parent | assignment | op | commit(A) | commit(B) | m | k | n)`, integers little endian.
	pub fn seed(&self) -> Seed {
		let mut hasher = Sha256::new();
		hasher.update(b"labora/ticket/1");
		hasher.update(self.genesis);
		hasher.update(self.parent);
		hasher.update(self.assignment.to_le_bytes());
		hasher.update(self.op.0.to_le_bytes());
		hasher.update(self.a);
		hasher.update(self.b);
		hasher.update(self.product.m.to_le_bytes());
		hasher.update(self.product.k.to_le_bytes());
		hasher.update(self.product.n.to_le_bytes());
		Seed(hasher.finalize().into())
	}
}

impl IdleSeed<'_> {
	/// Dimensions of idle work.
	pub const PRODUCT: Product = Product { m: IDLE_DIMENSION, k: IDLE_DIMENSION, n: IDLE_DIMENSION };

	/// `SHA-256("labora/idle/1" | genesis | parent | length of account | account | nonce)`, integers little endian.
	pub fn seed(&self) -> Seed {
		let mut hasher = Sha256::new();
		hasher.update(b"labora/idle/1");
		hasher.update(self.genesis);
		hasher.update(self.parent);
		hasher.update((self.account.len() as u64).to_le_bytes());
		hasher.update(self.account);
		hasher.update(self.nonce.to_le_bytes());
		Seed(hasher.finalize().into())
	}
}
