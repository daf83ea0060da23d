//! What an operator sees of the chain's work, as Prometheus metrics.

use std::sync::Arc;

use futures::StreamExt;
use labora_primitives::{api::LaboraApi, Usefulness};
use labora_runtime::opaque::Block;
use prometheus_endpoint::{register, Gauge, GaugeVec, Opts, PrometheusError, Registry, F64, U64};
use sc_client_api::BlockchainEvents;
use sp_api::ProvideRuntimeApi;

/// Gauges that follow the best block. Each exists for all time (`span="all"`) and for the last spans (`span="recent"`).
struct Gauges {
	ratio: GaugeVec<F64>,
	useful: GaugeVec<U64>,
	idle: GaugeVec<U64>,
	/// Multiply-accumulates that the next block costs.
	difficulty: Gauge<F64>,
}

impl Gauges {
	fn new(registry: &Registry) -> Result<Self, PrometheusError> {
		let labels = &["span"];
		Ok(Self {
			ratio: register(
				GaugeVec::new(Opts::new("labora_usefulness_ratio", "Accepted work over spent work"), labels)?,
				registry,
			)?,
			useful: register(
				GaugeVec::new(Opts::new("labora_useful_blocks", "Blocks sealed by useful work"), labels)?,
				registry,
			)?,
			idle: register(
				GaugeVec::new(Opts::new("labora_idle_blocks", "Blocks sealed by idle work"), labels)?,
				registry,
			)?,
			difficulty: register(
				Gauge::new("labora_difficulty_macs", "Multiply-accumulates that the next block costs")?,
				registry,
			)?,
		})
	}

	fn set(&self, span: &str, usefulness: &Usefulness) {
		self.ratio.with_label_values(&[span]).set(usefulness.ratio_ppm() as f64 / 1e6);
		self.useful.with_label_values(&[span]).set(usefulness.useful_blocks);
		self.idle.with_label_values(&[span]).set(usefulness.idle_blocks);
	}
}

/// Keeps the metrics up to date, until the client stops.
pub async fn run<C>(client: Arc<C>, registry: Registry)
where
	C: ProvideRuntimeApi<Block> + BlockchainEvents<Block>,
	C::Api: LaboraApi<Block> + sp_consensus_pow::DifficultyApi<Block, u128>,
{
	let gauges = match Gauges::new(&registry) {
		Ok(gauges) => gauges,
		Err(error) => return log::warn!("The chain's metrics cannot be registered: {error}"),
	};
	let mut imports = client.import_notification_stream();
	while let Some(import) = imports.next().await {
		if !import.is_new_best {
			continue;
		}
		let api = client.runtime_api();
		if let Ok(total) = api.usefulness(import.hash) {
			gauges.set("all", &total);
		}
		if let Ok(recent) = api.recent_usefulness(import.hash) {
			gauges.set("recent", &recent);
		}
		if let Ok(difficulty) = sp_consensus_pow::DifficultyApi::difficulty(&*api, import.hash) {
			gauges.difficulty.set(difficulty as f64);
		}
	}
}
