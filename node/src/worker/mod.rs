//! The worker: computes the units that the chain assigned to this miner, and finds tickets on the way.
//!
//! Jobs (the best block and this miner's assignments) come from the authoring loop, winning tickets go back to it
//! ([`crate::mining`]). Between them stand as many `lanes` as there are mining threads, fed from one `queue`: each reads what its
//! unit follows from (`unit`, `chain`), gets the tensors (`inputs`; those of others come through [`crate::exchange`]), has its `backend`
//! compute it, and gives a draft of the result (`result`). The backend of a thread of this node is the engine; each thread of a miner that is
//! connected (`miners`, docs/miner-protocol.md) has a lane of its own, whose backend is the connection (`remote`). The `reporter` keeps drafts (`drafts`) until the chain has accepted their results: it
//! builds them, signs and submits them (`transactions`), and registers the miner as a worker if asked to. While a result's window runs,
//! it also submits what audits and challenges demand; the `prover` computes it again, from `checkpoints`. Outputs of other units that
//! nobody serves any more are made once more by `recompute`. What is going on can be seen in [`WorkerStatus`].
//!
//! A unit is deterministic, so nothing here has to survive a crash: what was lost is computed again.

use std::{path::PathBuf, sync::Arc};

use labora_engine::Engine;
use labora_miner::address::Listener;
use labora_primitives::{api::LaboraApi, AccountId, AssignmentId, Balance, Hash, UnitKind, UnitRef};
use labora_runtime::{opaque::Block, Nonce};
use parking_lot::{Condvar, Mutex};
use sc_service::SpawnTaskHandle;
use sc_transaction_pool_api::TransactionPool;
use sp_api::{Core, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;
use sp_keystore::KeystorePtr;
use substrate_frame_rpc_system::AccountNonceApi;
use tokio::sync::mpsc;

use crate::{
	exchange::Fetcher,
	mining::{FoundSender, Jobs},
	tensor_store::TensorStore,
};

mod backend;
pub(crate) mod chain;
mod checkpoints;
mod claims;
mod drafts;
pub(crate) mod inputs;
mod lanes;
mod miners;
mod prover;
mod queue;
pub(crate) mod recompute;
mod remote;
mod reporter;
mod result;
mod status;
pub(crate) mod transactions;
pub(crate) mod unit;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use status::{MinerStatus, UnitStatus, Worked, WorkerStatus};

/// Log target of the worker.
const LOG_TARGET: &str = "labora::worker";
/// Folder of computed units below the worker's folder.
const DRAFTS_FOLDER: &str = "drafts";

/// How the worker works.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
	/// The account that earns. Its key is in the keystore.
	pub account: AccountId,
	/// Units that are computed side by side in this process.
	pub threads: usize,
	/// Register the account with so many slots, if it is not registered.
	pub slots: Option<u16>,
	/// Then raise its bond to this, if it is less.
	pub bond: Option<Balance>,
	/// Memory offered per unit, MiB. Half as much is taken for what units share.
	pub memory_mib: u32,
	/// Folder of what the worker can compute again.
	pub cache_dir: PathBuf,
}

/// Starts the worker, with the miners that connect. It stops with the node.
#[allow(clippy::too_many_arguments)]
pub fn spawn<C, P>(
	spawn: SpawnTaskHandle,
	config: WorkerConfig,
	client: Arc<C>,
	pool: Arc<P>,
	keystore: KeystorePtr,
	store: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
	jobs: Jobs,
	found: FoundSender,
	miners: Option<Listener>,
) -> Arc<WorkerStatus>
where
	C: ProvideRuntimeApi<Block> + HeaderBackend<Block> + Send + Sync + 'static,
	C::Api: Core<Block> + LaboraApi<Block> + AccountNonceApi<Block, AccountId, Nonce>,
	P: TransactionPool<Block = Block, Hash = Hash> + 'static,
{
	// One thread: lanes are the threads.
	let engine = Engine::best(1);
	let status = Arc::new(WorkerStatus::new(config.account.clone(), engine.kernel().name().into(), config.threads));
	let (drafts, computed) = mpsc::unbounded_channel();
	// Beside the units' own memory: a quarter of one's for tensors that units share, and a quarter for checkpoints.
	let shared_bytes = (config.memory_mib as usize) << (20 - 2);
	let shared = Arc::new(lanes::Shared {
		account: config.account.clone(),
		engine,
		chain: Arc::new(chain::RuntimeChain::new(client.clone())),
		tensors: inputs::Tensors::new(store.clone(), fetcher.clone(), shared_bytes),
		jobs: jobs.clone(),
		found,
		drafts,
		status: status.clone(),
		queue: Mutex::default(),
		wake: Condvar::new(),
		ready: Default::default(),
		claims: Default::default(),
		checkpoints: checkpoints::Checkpoints::new(shared_bytes),
		closed: Default::default(),
		miners: Default::default(),
	});
	if let Some(listener) = miners {
		spawn.spawn("external-miners", "mining", miners::run(listener, shared.clone(), spawn.clone()));
	}
	let transactions = transactions::Transactions::new(client, pool, keystore, config.account.clone());
	let kept = |draft: &result::Draft| {
		draft.parameters.iter().all(|commitment| store.size(commitment).is_ok_and(|size| size.is_some()))
	};
	let drafts = drafts::Drafts::open(config.cache_dir.join(DRAFTS_FOLDER), kept);
	let registration = config.slots.map(|slots| reporter::Registration::new(slots, config.memory_mib, config.bond));
	let lanes = lanes::Lanes::start(shared.clone(), config.threads);
	let (prover_sender, proved) = mpsc::unbounded_channel();
	let prover = prover::Prover::start(shared.clone(), prover_sender);
	let reporter = reporter::Reporter::new(shared, transactions, drafts, registration, prover);
	let arrivals = fetcher.arrivals();
	spawn.spawn_blocking("mining-worker", "mining", async move {
		reporter.run(jobs, computed, proved, arrivals).await;
		drop(lanes);
	});
	status
}

/// A unit in an operator's words.
fn name(unit: &UnitRef) -> String {
	let UnitRef { task, round, kind } = unit;
	match kind {
		UnitKind::Steps(number) => format!("unit {number} of task {task}, round {round}"),
		UnitKind::Merge => format!("the merge of task {task}, round {round}"),
	}
}

/// An assigned unit in an operator's words.
fn describe(assignment: AssignmentId, unit: &UnitRef) -> String {
	format!("{} (assignment {assignment})", name(unit))
}
