//! Block authoring: tells the worker what to mine on, and makes a block of each winning ticket it sends back.
//!
//! A ticket binds to the parent and not to the block's content. So, other than with a nonce search over a header, the ticket comes
//! first, and the block is built, signed and imported when there is one: it takes the transactions of that very moment.

use std::{
	sync::Arc,
	time::{Duration, Instant},
};

use futures::StreamExt;
use labora_primitives::{api::LaboraApi, AccountId, BlockNumber, Hash, WorkProof, INHERENT_IDENTIFIER};
use labora_runtime::opaque::{Block, Header, UncheckedExtrinsic as OpaqueExtrinsic};
use sc_client_api::BlockchainEvents;
use sc_consensus::{BlockImport, BlockImportParams, ImportResult};
use sc_consensus_pow::{PowIntermediate, INTERMEDIATE_KEY};
use sp_api::{ApiError, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;
use sp_consensus::{
	BlockOrigin, Environment, Error as ConsensusError, Proposal, ProposeArgs, Proposer, SelectChain, SyncOracle,
};
use sp_consensus_pow::POW_ENGINE_ID;
use sp_core::sr25519;
use sp_inherents::{InherentData, InherentDataProvider};
use sp_keystore::KeystorePtr;
use sp_runtime::{
	traits::{Block as BlockT, Header as HeaderT},
	Digest, DigestItem,
};
use tokio::sync::{mpsc, watch};

use super::{
	algorithm::PowDifficulty,
	journal::Journal,
	readiness::Readiness,
	seal::{self, SignError},
	LaboraBlockImport, LOG_TARGET,
};
use crate::mining::{Found, MiningJob};

/// Longest that building a block may take. The ticket is won, and each moment until the block is out is one in which another miner's may come
/// first; so this is met only by who is slow, or offered much that does not fit. It is five times what a full block takes on the machine that
/// weights were measured on: a block that counts as having room must have been offered all that was there for it.
const PROPOSAL_DEADLINE: Duration = Duration::from_secs(2);
/// How often the job is looked at again without a new block: neither the end of a sync nor the blocks imported during one
/// announce themselves.
const RECHECK: Duration = Duration::from_secs(1);

/// Why a winning ticket gave no block.
#[derive(Debug, thiserror::Error)]
pub enum AuthoringError {
	/// The database failed.
	#[error(transparent)]
	Client(#[from] sp_blockchain::Error),
	/// The chain selection failed.
	#[error("no best block: {0}")]
	NoBest(#[source] ConsensusError),
	/// The best block has no header.
	#[error("the parent {0} is not in the database")]
	NoParent(Hash),
	/// The inherent data could not be put together.
	#[error("no inherent data: {0}")]
	Inherents(#[from] sp_inherents::Error),
	/// The runtime refused to build the block: the work proof may be wrong.
	#[error("the block could not be built: {0}")]
	Proposal(#[source] Box<dyn std::error::Error + Send + Sync>),
	/// The keystore did not sign.
	#[error(transparent)]
	Sign(#[from] SignError),
	/// The sealed block could not be written down.
	#[error("the sealed block could not be written to the journal: {0}")]
	Journal(#[from] std::io::Error),
	/// The import failed.
	#[error("the block could not be imported: {0}")]
	Import(#[from] ConsensusError),
	/// The import did not fail, but did not import either.
	#[error("the block was not imported: {0:?}")]
	NotImported(ImportResult),
}

/// Keeps the job up to date.
///
/// What to build on comes from the chain selection, not from the client's best block: when a block off the best chain becomes
/// final, the client's best block is that one, though blocks on it may be known already.
pub struct JobPublisher<C, S, O> {
	client: Arc<C>,
	select_chain: S,
	readiness: Readiness<O>,
	miner: AccountId,
	jobs: watch::Sender<Option<Arc<MiningJob>>>,
}

impl<C, S, O> JobPublisher<C, S, O>
where
	C: HeaderBackend<Block> + BlockchainEvents<Block> + ProvideRuntimeApi<Block>,
	C::Api: LaboraApi<Block>,
	S: SelectChain<Block>,
	O: SyncOracle,
{
	/// A publisher of the miner's jobs.
	pub fn new(
		client: Arc<C>,
		select_chain: S,
		readiness: Readiness<O>,
		miner: AccountId,
		jobs: watch::Sender<Option<Arc<MiningJob>>>,
	) -> Self {
		Self { client, select_chain, readiness, miner, jobs }
	}

	/// Publishes a job for each new best block, until the client stops.
	pub async fn run(self) {
		let mut imports = self.client.import_notification_stream();
		let mut finality = self.client.finality_notification_stream();
		let mut recheck = tokio::time::interval(RECHECK);
		loop {
			tokio::select! {
				import = imports.next() => if import.is_none() { return },
				finalized = finality.next() => if finalized.is_none() { return },
				_ = recheck.tick() => {},
			}
			match self.select_chain.best_chain().await {
				Ok(best) => self.refresh(&best),
				Err(error) => log::warn!(target: LOG_TARGET, "No best block to mine on: {error}"),
			}
		}
	}

	/// Publishes the job of the best block, unless that is the current one.
	fn refresh(&self, parent: &Header) {
		let best = parent.hash();
		let current = self.jobs.borrow().as_ref().map(|job| job.parent);
		let wanted = self.readiness.is_ready().then_some(best);
		if current == wanted {
			return;
		}
		let job = wanted.and_then(|_| match self.job(parent) {
			Ok(job) => Some(Arc::new(job)),
			Err(error) => {
				log::warn!(target: LOG_TARGET, "No job on block {best}: {error}");
				None
			}
		});
		self.jobs.send_replace(job);
	}

	fn job(&self, parent: &Header) -> Result<MiningJob, ApiError> {
		let since = Instant::now();
		let hash = parent.hash();
		let context = self.client.runtime_api().mining_context(hash, self.miner.clone())?;
		Ok(MiningJob {
			genesis: self.client.info().genesis_hash,
			parent: hash,
			parent_number: *parent.number(),
			difficulty: context.difficulty,
			assignments: context.assignments,
			since,
		})
	}
}

/// Makes blocks of winning tickets, one at a time.
pub struct Author<C, S, E> {
	client: Arc<C>,
	select_chain: S,
	proposers: E,
	import: LaboraBlockImport,
	keystore: KeystorePtr,
	key: sr25519::Public,
	journal: Journal,
}

/// What became of a winning ticket.
enum Outcome {
	/// A block that is the best one now.
	Best(Hash),
	/// A block beside the best one.
	Fork(Hash),
	/// Another block came first.
	Overtaken,
}

impl<C, S, E> Author<C, S, E>
where
	C: HeaderBackend<Block>,
	S: SelectChain<Block>,
	E: Environment<Block>,
{
	/// An author whose blocks the miner's key seals.
	pub fn new(
		client: Arc<C>,
		select_chain: S,
		proposers: E,
		import: LaboraBlockImport,
		keystore: KeystorePtr,
		key: sr25519::Public,
		journal: Journal,
	) -> Self {
		Self { client, select_chain, proposers, import, keystore, key, journal }
	}

	/// Makes blocks until no more tickets can come.
	pub async fn run(mut self, mut tickets: mpsc::UnboundedReceiver<Found>) {
		let mut sealed = None;
		while let Some(found) = tickets.recv().await {
			if !self.best().await.is_ok_and(|best| is_wanted(found.parent, best, sealed)) {
				log::debug!(target: LOG_TARGET, "Dropped a late ticket on {}", found.parent);
				continue;
			}
			let (parent, work) = (found.parent, kind_of_work(&found.proof));
			match self.make_block(found).await {
				Ok(Outcome::Best(hash)) => {
					sealed = Some(parent);
					log::info!(target: LOG_TARGET, "⛏️  Made block #{} by {work} work: {hash}", self.height(hash));
				}
				Ok(Outcome::Fork(hash)) => {
					sealed = Some(parent);
					log::info!(target: LOG_TARGET, "⛏️  Made block #{} by {work} work, but another is best: {hash}", self.height(hash));
				}
				Ok(Outcome::Overtaken) => {
					log::debug!(target: LOG_TARGET, "Another block on {parent} came first");
				}
				Err(error) => {
					log::warn!(target: LOG_TARGET, "A winning ticket of {work} work on {parent} gave no block: {error}");
				}
			}
		}
	}

	/// Height of a block that is here, for the log.
	fn height(&self, block: Hash) -> BlockNumber {
		self.client.number(block).ok().flatten().unwrap_or_default()
	}

	async fn make_block(&mut self, found: Found) -> Result<Outcome, AuthoringError> {
		if let Some(block) = self.sealed_before(found.parent)? {
			log::info!(target: LOG_TARGET, "A block on {} was sealed before a restart: it is imported again", found.parent);
			return self.import(block).await;
		}
		let proposal = self.propose(&found).await?;
		if self.best().await.map_err(AuthoringError::NoBest)? != found.parent {
			// It would be as heavy as the block that came first, so nobody would build on it.
			return Ok(Outcome::Overtaken);
		}
		let block = self.seal(proposal)?;
		self.import(block).await
	}

	/// What to build on.
	async fn best(&self) -> Result<Hash, ConsensusError> {
		Ok(self.select_chain.best_chain().await?.hash())
	}

	/// The block that this miner sealed on a parent, if the database lost it.
	fn sealed_before(&self, parent: Hash) -> Result<Option<BlockImportParams<Block>>, AuthoringError> {
		let height = self.client.number(parent)?.ok_or(AuthoringError::NoParent(parent))?.saturating_add(1);
		let Some(block) = self.journal.sealed_on(parent, height) else { return Ok(None) };
		let (mut header, body) = block.deconstruct();
		let Some(seal) = header.digest_mut().pop() else { return Ok(None) };
		Ok(Some(import_params(header, body, seal)))
	}

	async fn import(&mut self, block: BlockImportParams<Block>) -> Result<Outcome, AuthoringError> {
		let hash = block.post_hash();
		match self.import.import_block(block).await? {
			ImportResult::Imported(imported) if imported.is_new_best => Ok(Outcome::Best(hash)),
			ImportResult::Imported(_) => Ok(Outcome::Fork(hash)),
			other => Err(AuthoringError::NotImported(other)),
		}
	}

	/// Builds the block: the ticket's proof, the time, and what fits of the transaction pool.
	async fn propose(&mut self, found: &Found) -> Result<Proposal<Block>, AuthoringError> {
		let parent = self.client.header(found.parent)?.ok_or(AuthoringError::NoParent(found.parent))?;
		let author = AccountId::from(self.key);
		let args = ProposeArgs {
			inherent_data: inherent_data(&found.proof).await?,
			inherent_digests: Digest { logs: vec![seal::pre_digest(&author)] },
			max_duration: PROPOSAL_DEADLINE,
			..Default::default()
		};
		let proposer = self.proposers.init(&parent).await.map_err(|error| AuthoringError::Proposal(error.into()))?;
		proposer.propose(args).await.map_err(|error| AuthoringError::Proposal(error.into()))
	}

	/// Signs the block, writes it down, and says how to import it: its state changes are known from building it.
	fn seal(&self, proposal: Proposal<Block>) -> Result<BlockImportParams<Block>, AuthoringError> {
		let (header, body) = proposal.block.deconstruct();
		let seal = DigestItem::Seal(POW_ENGINE_ID, seal::sign(&*self.keystore, &self.key, &header.hash())?);
		let mut block = import_params(header, body, seal);
		block.state_action = proposal.storage_changes.into();
		self.journal.note(&Block::new(block.post_header(), block.body.clone().unwrap_or_default()))?;
		Ok(block)
	}
}

/// How to import a block of this miner's. Its state changes, where they are known, spare executing it.
fn import_params(header: Header, body: Vec<OpaqueExtrinsic>, seal: DigestItem) -> BlockImportParams<Block> {
	let mut block: BlockImportParams<Block> = BlockImportParams::new(BlockOrigin::Own, header);
	block.post_digests.push(seal);
	block.body = Some(body);
	block.insert_intermediate(INTERMEDIATE_KEY, PowIntermediate::<PowDifficulty> { difficulty: None });
	block.post_hash = Some(block.post_header().hash());
	block
}

/// Whether a ticket on `parent` is to become a block: it is on the best block, and no other of this miner's did.
fn is_wanted(parent: Hash, best: Hash, sealed: Option<Hash>) -> bool {
	parent == best && sealed != Some(parent)
}

async fn inherent_data(proof: &WorkProof) -> Result<InherentData, sp_inherents::Error> {
	let mut data = sp_timestamp::InherentDataProvider::from_system_time().create_inherent_data().await?;
	data.put_data(INHERENT_IDENTIFIER, proof)?;
	Ok(data)
}

fn kind_of_work(proof: &WorkProof) -> &'static str {
	match proof {
		WorkProof::Useful(_) => "useful",
		WorkProof::Idle(_) => "idle",
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_pouw::{IdleProof, TileIndex};

	#[test]
	fn a_parent_gets_one_block_and_only_while_it_is_best() {
		let (best, other) = (Hash::repeat_byte(1), Hash::repeat_byte(2));
		assert!(is_wanted(best, best, None));
		assert!(is_wanted(best, best, Some(other)));
		assert!(!is_wanted(best, best, Some(best)));
		assert!(!is_wanted(other, best, None));
	}

	#[test]
	fn the_runtime_is_given_the_time_and_the_proof() {
		let proof = WorkProof::Idle(IdleProof { nonce: 3, tile: TileIndex { row: 1, col: 2 } });
		let data = futures::executor::block_on(inherent_data(&proof)).unwrap();
		assert_eq!(data.get_data::<WorkProof>(&INHERENT_IDENTIFIER).unwrap(), Some(proof));
		let time = data.get_data::<sp_timestamp::InherentType>(&sp_timestamp::INHERENT_IDENTIFIER).unwrap();
		assert!(time.is_some_and(|time| *time > 0));
	}
}
