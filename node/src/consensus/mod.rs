//! Consensus outside the runtime: who signed a block, which chain is best, when blocks are made, what is final.
//!
//! A block is `pre-digest (author) | inherents (timestamp, work proof) | transactions | seal (the author's signature)`. The
//! runtime verifies the work proof while it executes the block, so nothing here does; [`algorithm`] and [`seal`] check the
//! signature, `sc-consensus-pow` gives the fork choice by total difficulty, [`finality`] is GRANDPA. No block is imported as best that does
//! not build on the final one, however heavy. [`authoring`] makes blocks of winning tickets, and waits for [`readiness`].
//! [`clock`] tells the operator when this machine's clock is wrong.

pub mod algorithm;
pub mod authoring;
pub mod clock;
pub mod finality;
pub mod journal;
pub mod readiness;
pub mod seal;

use std::{collections::VecDeque, error::Error, sync::Arc};

use async_trait::async_trait;
use labora_primitives::Hash;
use labora_runtime::opaque::Block;
use sc_client_api::{AuxStore, BlockOf};
use sc_consensus::{
	BlockCheckParams, BlockImport, BlockImportParams, BoxBlockImport, ForkChoiceStrategy, ImportResult,
};
use sc_consensus_pow::{PowBlockImport, PowIntermediate, INTERMEDIATE_KEY};
use sp_api::ProvideRuntimeApi;
use sp_block_builder::BlockBuilder;
use sp_blockchain::HeaderBackend;
use sp_consensus::{BlockOrigin, Error as ConsensusError, SelectChain};
use sp_consensus_pow::{DifficultyApi, POW_ENGINE_ID};
use sp_inherents::CreateInherentDataProviders;
use sp_runtime::{
	traits::{Header as HeaderT, NumberFor},
	DigestItem,
};
use tokio::sync::Mutex;

use algorithm::{LaboraAlgorithm, PowDifficulty};
use clock::ClockWatch;

/// Target of the log lines of consensus.
const LOG_TARGET: &str = "labora::consensus";

/// The chain's block import, one block at a time.
///
/// The fork choice compares a block with the best one *before* it imports it. The import queue and the author import side by
/// side, so without taking turns each could find its block better than a best block that the other is just replacing.
#[derive(Clone)]
pub struct LaboraBlockImport {
	inner: Arc<Mutex<Layers>>,
	failed: Arc<Mutex<Failed>>,
	clock: Arc<Mutex<ClockWatch>>,
}

/// Where a block goes.
struct Layers {
	/// Total-difficulty fork choice in front of finality: for blocks that are executed.
	work: BoxBlockImport<Block>,
	/// Finality in front of the client: for blocks that a justification stands behind already.
	finality: BoxBlockImport<Block>,
}

/// Blocks whose import failed. The SDK takes a seal that is wrong, or a block that does not execute, for a failure of this
/// node's, and asks the same peer for it again, without end. From the third failure on such a block is known to be bad, and so
/// is the peer that sends it.
#[derive(Default)]
struct Failed(VecDeque<(Hash, u8)>);

impl Failed {
	/// Failures that may be this node's own: a full disk, a state that was not there.
	const FORGIVEN: u8 = 2;
	/// Blocks that are remembered.
	const KEPT: usize = 256;

	/// Notes a failure.
	fn note(&mut self, block: Hash) {
		match self.0.iter_mut().find(|(other, _)| *other == block) {
			Some((_, failures)) => *failures = failures.saturating_add(1),
			None => {
				if self.0.len() >= Self::KEPT {
					self.0.pop_front();
				}
				self.0.push_back((block, 1));
			}
		}
	}

	/// Whether a block failed too often.
	fn is_bad(&self, block: &Hash) -> bool {
		self.0.iter().any(|(other, failures)| other == block && *failures > Self::FORGIVEN)
	}
}

impl LaboraBlockImport {
	/// Total-difficulty fork choice in front of `finality`, the finality gadget's import.
	pub fn new<C, F, S>(client: Arc<C>, finality: F, select_chain: S) -> Self
	where
		C: ProvideRuntimeApi<Block> + HeaderBackend<Block> + AuxStore + BlockOf + Send + Sync + 'static,
		C::Api: BlockBuilder<Block> + DifficultyApi<Block, PowDifficulty>,
		F: BlockImport<Block, Error = ConsensusError> + Clone + Send + Sync + 'static,
		S: SelectChain<Block> + 'static,
	{
		// Inherents are checked from the first block on.
		const CHECK_INHERENTS_AFTER: NumberFor<Block> = 0;
		let algorithm = LaboraAlgorithm::new(client.clone());
		let work = PowBlockImport::new(
			finality.clone(),
			client,
			algorithm,
			CHECK_INHERENTS_AFTER,
			select_chain,
			ImportInherents,
		);
		let layers = Layers { work: Box::new(work), finality: Box::new(finality) };
		Self { inner: Arc::new(Mutex::new(layers)), failed: Arc::default(), clock: Arc::default() }
	}
}

#[async_trait]
impl BlockImport<Block> for LaboraBlockImport {
	type Error = ConsensusError;

	async fn check_block(&self, block: BlockCheckParams<Block>) -> Result<ImportResult, Self::Error> {
		if self.failed.lock().await.is_bad(&block.hash) {
			return Ok(ImportResult::KnownBad);
		}
		self.inner.lock().await.finality.check_block(block).await
	}

	async fn import_block(&self, block: BlockImportParams<Block>) -> Result<ImportResult, Self::Error> {
		let hash = block.post_hash();
		if self.failed.lock().await.is_bad(&hash) {
			return Ok(ImportResult::KnownBad);
		}
		let (stamp, now) = (block.body.as_deref().and_then(clock::stamp), *sp_timestamp::Timestamp::current());
		if let Some(stamp) = stamp.filter(|_| block.origin == BlockOrigin::NetworkBroadcast) {
			self.clock.lock().await.note(stamp, now);
		}
		let layers = self.inner.lock().await;
		let imported = match is_executed(&block) {
			true => layers.work.import_block(block).await,
			false => layers.finality.import_block(without_execution(block)?).await,
		};
		drop(layers);
		// A block whose time has not come yet is none that is bad.
		if imported.is_err() && !stamp.is_some_and(|stamp| clock::is_early(stamp, now)) {
			self.failed.lock().await.note(hash);
		}
		imported
	}
}

/// Whether a block is to be executed: not one that comes with its state (the block that a warp sync jumps to), nor one of the
/// history behind it.
fn is_executed(block: &BlockImportParams<Block>) -> bool {
	!block.with_state() && !block.state_action.skip_execution_checks()
}

/// Prepares a block that is not executed: only its seal can be checked. Its work cannot, and total difficulty counts from the
/// first block that is executed, which all later branches have in common, as it is final.
fn without_execution(mut block: BlockImportParams<Block>) -> Result<BlockImportParams<Block>, ConsensusError> {
	let _ = block.remove_intermediate::<PowIntermediate<PowDifficulty>>(INTERMEDIATE_KEY)?;
	let seal = match block.post_digests.last() {
		Some(DigestItem::Seal(POW_ENGINE_ID, seal)) => seal,
		_ => return Err(ConsensusError::ClientImport("a block without a seal".into())),
	};
	let pre_digest = block.header.digest().logs().iter().find_map(|log| match log {
		DigestItem::PreRuntime(POW_ENGINE_ID, bytes) => Some(bytes.as_slice()),
		_ => None,
	});
	let author = seal::author(pre_digest).map_err(|error| ConsensusError::ClientImport(error.to_string()))?;
	seal::verify(&author, &block.header.hash(), seal)
		.map_err(|error| ConsensusError::ClientImport(error.to_string()))?;
	block.fork_choice = Some(ForkChoiceStrategy::Custom(block.with_state()));
	Ok(block)
}

/// What a block's inherents are compared with at import: this machine's clock. The work proof is no matter of comparison, the
/// runtime verifies it.
struct ImportInherents;

#[async_trait]
impl CreateInherentDataProviders<Block, ()> for ImportInherents {
	type InherentDataProviders = sp_timestamp::InherentDataProvider;

	async fn create_inherent_data_providers(
		&self,
		_parent: Hash,
		_extra: (),
	) -> Result<Self::InherentDataProviders, Box<dyn Error + Send + Sync>> {
		Ok(sp_timestamp::InherentDataProvider::from_system_time())
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn a_block_is_bad_when_it_failed_three_times() {
		let mut failed = Failed::default();
		let block = Hash::repeat_byte(1);
		for _ in 0..2 {
			failed.note(block);
			assert!(!failed.is_bad(&block));
		}
		failed.note(block);
		assert!(failed.is_bad(&block) && !failed.is_bad(&Hash::repeat_byte(2)));
	}

	#[test]
	fn only_so_many_are_remembered() {
		let mut failed = Failed::default();
		(0..3).for_each(|_| failed.note(Hash::zero()));
		for other in 0..Failed::KEPT as u64 {
			failed.note(Hash::from_low_u64_be(other + 1));
		}
		assert!(!failed.is_bad(&Hash::zero()) && failed.0.len() == Failed::KEPT);
	}
}
