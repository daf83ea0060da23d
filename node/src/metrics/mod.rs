//! What an operator sees of the node, as Prometheus metrics beside the SDK's (`substrate_*`).
//!
//! What is a state (`chain`, `miner`, `store`) is read anew every few seconds, as of the best block. What happened (`events`) is
//! counted when its block is final, so that a branch that is left counts nothing. `proofs` measures what verifying a work proof
//! costs on this machine. The exchange and the watcher count for themselves. All names stand in docs/operating.md.

mod chain;
mod events;
mod miner;
mod proofs;
mod store;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use labora_primitives::{AccountId, Balance, Hash};
use labora_runtime::constants::LAB;
use prometheus_endpoint::{register, GaugeVec, Opts, PrometheusError, Registry};
use sc_client_api::{BlockchainEvents, StorageKey, StorageProvider};
use sp_blockchain::HeaderBackend;
use tokio::time::MissedTickBehavior;

use crate::{
	service::{FullBackend, FullClient},
	tensor_store::TensorStore,
	worker::WorkerStatus,
};

/// Log target of the metrics.
const LOG_TARGET: &str = "labora::metrics";
/// How often what is a state is read again.
const PAUSE: Duration = Duration::from_secs(3);

/// What the metrics are read from.
pub struct Sources {
	/// The chain.
	pub client: Arc<FullClient>,
	/// The tensors.
	pub store: Arc<TensorStore>,
	/// The worker, if the node mines.
	pub worker: Option<Arc<WorkerStatus>>,
}

/// All metrics of this module.
struct All {
	chain: chain::Gauges,
	events: events::Counters,
	miner: Option<miner::Gauges>,
	proofs: proofs::Timer,
	store: store::Gauges,
}

impl All {
	fn new(registry: &Registry, worker: Option<Arc<WorkerStatus>>) -> Result<Self, PrometheusError> {
		let own: Option<AccountId> = worker.as_ref().map(|worker| worker.account().clone());
		Ok(Self {
			chain: chain::Gauges::new(registry)?,
			events: events::Counters::new(registry, own)?,
			miner: worker.map(|worker| miner::Gauges::new(registry, worker)).transpose()?,
			proofs: proofs::Timer::new(registry)?,
			store: store::Gauges::new(registry)?,
		})
	}
}

/// Keeps the metrics up to date, until the client stops.
pub async fn run(sources: Sources, registry: Registry) {
	let Sources { client, store, worker } = sources;
	let mut all = match All::new(&registry, worker) {
		Ok(all) => all,
		Err(error) => return log::warn!(target: LOG_TARGET, "The metrics cannot be registered: {error}"),
	};
	let mut finalized = client.finality_notification_stream();
	let mut ticks = tokio::time::interval(PAUSE);
	ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
	loop {
		tokio::select! {
			_ = ticks.tick() => {
				let best = client.info().best_hash;
				// What cannot be read now, as its state was pruned a moment ago, can be with the next block.
				let read = all.chain.read(&client).and_then(|()| all.miner.as_ref().map_or(Ok(()), |miner| miner.read(&client, best)));
				if let Err(error) = read.and_then(|()| all.proofs.sample(&client, best)) {
					log::debug!(target: LOG_TARGET, "The metrics of {best} cannot be read: {error}");
				}
				all.store.set(&store.usage());
			}
			notification = finalized.next() => {
				let Some(notification) = notification else { return };
				for block in notification.tree_route.iter().chain([&notification.hash]) {
					if let Err(error) = all.events.count(&client, *block) {
						log::debug!(target: LOG_TARGET, "What happened in {block} is not counted: {error}");
					}
				}
			}
		}
	}
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
	#[error(transparent)]
	Chain(#[from] sp_blockchain::Error),
	#[error(transparent)]
	Api(#[from] sp_api::ApiError),
	#[error("it is not what this version of the node knows: {0}")]
	Unknown(#[from] codec::Error),
}

/// A value of the state. None: there is none.
fn stored<T: codec::Decode>(client: &FullClient, at: Hash, key: Vec<u8>) -> Result<Option<T>, ReadError> {
	let value = StorageProvider::<_, FullBackend>::storage(client, at, &StorageKey(key))?;
	Ok(value.map(|bytes| T::decode(&mut &bytes.0[..])).transpose()?)
}

/// An amount in LAB.
fn lab(amount: Balance) -> f64 {
	amount as f64 / LAB as f64
}

/// Registers gauges with one label.
fn gauges<T: prometheus_endpoint::prometheus::core::Atomic + 'static>(
	registry: &Registry,
	name: &str,
	help: &str,
	label: &str,
) -> Result<GaugeVec<T>, PrometheusError> {
	register(GaugeVec::new(Opts::new(name, help), &[label])?, registry)
}
