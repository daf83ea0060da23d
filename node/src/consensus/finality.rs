//! What is final, as long as there is no finality gadget: what lies deep enough under the best block.
//!
//! The rule is local: no node tells another, and two nodes on different sides of a fork deeper than [`FINALITY_DEPTH`] stay
//! there. It is needed all the same, because state pruning follows finality, and clients' subscriptions to the chain's head
//! (`chainHead_v1`) end when finality lags too far behind.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use labora_primitives::BlockNumber;
use labora_runtime::opaque::Block;
use sc_client_api::{Backend, BlockchainEvents, Finalizer};
use sp_blockchain::HeaderBackend;
use sp_consensus::SyncOracle;

use super::{readiness::Readiness, LOG_TARGET};

/// Blocks between the best and the final block. Deep enough that honest miners do not build forks that long (5 minutes at the
/// target block time), and well below both 128, where head subscriptions end, and 256, the states kept by default.
pub const FINALITY_DEPTH: BlockNumber = 30;

/// Most blocks finalized at a time: finalizing holds the import lock.
const MOST_AT_ONCE: BlockNumber = 32;
/// Rest between two steps of catching up, in which blocks can be imported.
const BREATH: Duration = Duration::from_millis(10);
/// How often the rule is applied without a new block: the end of a sync does not announce itself.
const RECHECK: Duration = Duration::from_secs(5);

/// Finalizes by depth until the client stops.
///
/// Only while the node is ready: until it has seen the chain with the most work, its best block may be on a short chain that
/// somebody made for newcomers, and finalizing that one would keep the node there.
pub async fn run<C, B, O>(client: Arc<C>, readiness: Readiness<O>)
where
	C: HeaderBackend<Block> + BlockchainEvents<Block> + Finalizer<Block, B>,
	B: Backend<Block>,
	O: SyncOracle,
{
	let mut imports = client.import_notification_stream();
	let mut recheck = tokio::time::interval(RECHECK);
	loop {
		tokio::select! {
			import = imports.next() => if import.is_none() { return },
			_ = recheck.tick() => {},
		}
		while readiness.is_ready() && step(&*client) {
			tokio::time::sleep(BREATH).await;
		}
	}
}

/// Finalizes the next few blocks. Whether there may be more.
fn step<C, B>(client: &C) -> bool
where
	C: HeaderBackend<Block> + Finalizer<Block, B>,
	B: Backend<Block>,
{
	let info = client.info();
	let Some(target) = next_target(info.best_number, info.finalized_number) else { return false };
	let finalized = client.hash(target).and_then(|hash| match hash {
		Some(hash) => client.finalize_block(hash, None, true),
		// The best chain changed between the two queries; the next block brings another try.
		None => Ok(()),
	});
	match finalized {
		Ok(()) => client.info().finalized_number > info.finalized_number,
		Err(error) => {
			log::warn!(target: LOG_TARGET, "Block {target} could not be finalized: {error}");
			false
		}
	}
}

/// The height to finalize next, if any is due.
fn next_target(best: BlockNumber, finalized: BlockNumber) -> Option<BlockNumber> {
	let due = best.saturating_sub(FINALITY_DEPTH);
	(due > finalized).then(|| due.min(finalized.saturating_add(MOST_AT_ONCE)))
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn nothing_is_due_on_a_short_chain() {
		assert_eq!(next_target(0, 0), None);
		assert_eq!(next_target(FINALITY_DEPTH, 0), None);
	}

	#[test]
	fn each_new_block_makes_one_final() {
		assert_eq!(next_target(FINALITY_DEPTH + 1, 0), Some(1));
		assert_eq!(next_target(1_000 + FINALITY_DEPTH, 999), Some(1_000));
		assert_eq!(next_target(1_000 + FINALITY_DEPTH, 1_000), None);
	}

	#[test]
	fn a_reorganization_takes_nothing_back() {
		assert_eq!(next_target(999 + FINALITY_DEPTH, 1_000), None);
	}

	#[test]
	fn catching_up_goes_in_steps() {
		let (best, mut finalized, mut steps) = (10_000, 0, 0);
		while let Some(target) = next_target(best, finalized) {
			assert!(target > finalized && target - finalized <= MOST_AT_ONCE);
			finalized = target;
			steps += 1;
		}
		assert_eq!((finalized, steps), (best - FINALITY_DEPTH, (best - FINALITY_DEPTH).div_ceil(MOST_AT_ONCE)));
	}
}
