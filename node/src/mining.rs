//! The seam between block authoring and the worker: what to mine on goes one way, winning tickets the other.
//!
//! Authoring knows the chain and not how tickets are found; the worker finds tickets and never builds blocks.

use std::{sync::Arc, time::Instant};

use labora_pouw::Difficulty;
use labora_primitives::{Assignment, BlockNumber, Hash, WorkProof};

/// What to mine on: the best block and this miner's assignments as of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MiningJob {
	/// The chain: every seed takes it.
	pub genesis: Hash,
	/// The best block: the parent of the block to be made.
	pub parent: Hash,
	/// Its height.
	pub parent_number: BlockNumber,
	/// Difficulty of the block to be made.
	pub difficulty: Difficulty,
	/// This miner's assignments in the parent's state.
	pub assignments: Vec<Assignment>,
	/// When this node learned of the parent.
	pub since: Instant,
}

/// A winning ticket for a block on `parent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
	/// The block that the ticket binds to.
	pub parent: Hash,
	/// Its opening.
	pub proof: WorkProof,
}

/// The current job; `None` while there is nothing to mine on (the node does not know its peers' best block yet).
pub type Jobs = tokio::sync::watch::Receiver<Option<Arc<MiningJob>>>;
/// Where winning tickets go.
pub type FoundSender = tokio::sync::mpsc::UnboundedSender<Found>;
