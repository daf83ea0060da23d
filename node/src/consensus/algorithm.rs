//! The proof-of-work algorithm as `sc-consensus-pow` sees it: difficulty from the runtime, and a seal that is a signature.
//!
//! Whether the work was done is not decided here: a block whose proof is missing or wrong does not execute.

use std::sync::Arc;

use labora_primitives::Hash;
use labora_runtime::opaque::Block;
use sc_consensus_pow::{Error, PowAlgorithm};
use sp_api::ProvideRuntimeApi;
use sp_consensus_pow::{DifficultyApi, Seal};
use sp_runtime::generic::BlockId;

use super::seal;

/// Difficulty as fork choice adds it up: the number in [`labora_pouw::Difficulty`].
pub type PowDifficulty = u128;

/// The algorithm, with a client to ask for the difficulty.
pub struct LaboraAlgorithm<C> {
	client: Arc<C>,
}

impl<C> LaboraAlgorithm<C> {
	/// The algorithm of the client's chain.
	pub fn new(client: Arc<C>) -> Self {
		Self { client }
	}
}

impl<C> Clone for LaboraAlgorithm<C> {
	fn clone(&self) -> Self {
		Self::new(self.client.clone())
	}
}

impl<C> PowAlgorithm<Block> for LaboraAlgorithm<C>
where
	C: ProvideRuntimeApi<Block>,
	C::Api: DifficultyApi<Block, PowDifficulty>,
{
	type Difficulty = PowDifficulty;

	fn difficulty(&self, parent: Hash) -> Result<Self::Difficulty, Error<Block>> {
		self.client.runtime_api().difficulty(parent).map_err(|error| Error::Runtime(error.to_string()))
	}

	fn verify(
		&self,
		_parent: &BlockId<Block>,
		pre_hash: &Hash,
		pre_digest: Option<&[u8]>,
		seal: &Seal,
		_difficulty: Self::Difficulty,
	) -> Result<bool, Error<Block>> {
		let verified = seal::author(pre_digest).and_then(|author| seal::verify(&author, pre_hash, seal));
		if let Err(error) = &verified {
			log::debug!(target: super::LOG_TARGET, "Refused the seal of a block with pre-hash {pre_hash}: {error}");
		}
		Ok(verified.is_ok())
	}
}
