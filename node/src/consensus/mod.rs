//! Consensus outside the runtime: who signed a block, which chain is best, when blocks are made, what is final.
//!
//! A block is `pre-digest (author) | inherents (timestamp, work proof) | transactions | seal (the author's signature)`. The
//! runtime verifies the work proof while it executes the block, so nothing here does; [`algorithm`] and [`seal`] check the
//! signature, `sc-consensus-pow` gives the fork choice by total difficulty. [`authoring`] makes blocks of winning tickets, and
//! [`finality`] is the depth rule that stands in for a finality gadget; both wait for [`readiness`].

pub mod algorithm;
pub mod authoring;
pub mod finality;
pub mod journal;
pub mod readiness;
pub mod seal;

use std::{error::Error, sync::Arc};

use async_trait::async_trait;
use labora_primitives::Hash;
use labora_runtime::opaque::Block;
use sc_client_api::{AuxStore, BlockOf};
use sc_consensus::{BlockCheckParams, BlockImport, BlockImportParams, BoxBlockImport, ImportResult};
use sc_consensus_pow::PowBlockImport;
use sp_api::ProvideRuntimeApi;
use sp_block_builder::BlockBuilder;
use sp_blockchain::HeaderBackend;
use sp_consensus::{Error as ConsensusError, SelectChain};
use sp_consensus_pow::DifficultyApi;
use sp_inherents::CreateInherentDataProviders;
use sp_runtime::traits::NumberFor;
use tokio::sync::Mutex;

use algorithm::{LaboraAlgorithm, PowDifficulty};

/// Target of the log lines of consensus.
const LOG_TARGET: &str = "labora::consensus";

/// The chain's block import, one block at a time.
///
/// The fork choice compares a block with the best one *before* it imports it. The import queue and the author import side by
/// side, so without taking turns each could find its block better than a best block that the other is just replacing.
#[derive(Clone)]
pub struct LaboraBlockImport(Arc<Mutex<BoxBlockImport<Block>>>);

impl LaboraBlockImport {
	/// Total-difficulty fork choice in front of the client's own import.
	pub fn new<C, S>(client: Arc<C>, select_chain: S) -> Self
	where
		C: ProvideRuntimeApi<Block> + HeaderBackend<Block> + AuxStore + BlockOf + Send + Sync + 'static,
		C::Api: BlockBuilder<Block> + DifficultyApi<Block, PowDifficulty>,
		Arc<C>: BlockImport<Block, Error = ConsensusError>,
		S: SelectChain<Block> + 'static,
	{
		// Inherents are checked from the first block on.
		const CHECK_INHERENTS_AFTER: NumberFor<Block> = 0;
		let algorithm = LaboraAlgorithm::new(client.clone());
		let import = PowBlockImport::new(
			client.clone(),
			client,
			algorithm,
			CHECK_INHERENTS_AFTER,
			select_chain,
			ImportInherents,
		);
		Self(Arc::new(Mutex::new(Box::new(import))))
	}
}

#[async_trait]
impl BlockImport<Block> for LaboraBlockImport {
	type Error = ConsensusError;

	async fn check_block(&self, block: BlockCheckParams<Block>) -> Result<ImportResult, Self::Error> {
		self.0.lock().await.check_block(block).await
	}

	async fn import_block(&self, block: BlockImportParams<Block>) -> Result<ImportResult, Self::Error> {
		self.0.lock().await.import_block(block).await
	}
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
