//! Where the chain is.

use std::collections::BTreeMap;

use labora_primitives::{api::LaboraApi, AccountId, Balance, Hash, TaskId, UnitState, Usefulness};
use labora_runtime::Runtime;
use prometheus_endpoint::{register, Gauge, GaugeVec, PrometheusError, Registry, F64, U64};
use sp_api::ProvideRuntimeApi;
use sp_blockchain::HeaderBackend;
use sp_consensus_pow::DifficultyApi;

use super::{gauges, stored, ReadError};
use crate::{consensus::algorithm::PowDifficulty, service::FullClient};

/// Gauges of the best block. Usefulness exists for all time (`span="all"`) and for the last spans (`span="recent"`).
pub(super) struct Gauges {
	ratio: GaugeVec<F64>,
	useful: GaugeVec<U64>,
	idle: GaugeVec<U64>,
	difficulty: Gauge<F64>,
	lag: Gauge<U64>,
	tasks: Gauge<U64>,
	units: GaugeVec<U64>,
	standing: Gauge<U64>,
	workers: Gauge<U64>,
}

impl Gauges {
	pub(super) fn new(registry: &Registry) -> Result<Self, PrometheusError> {
		let gauge = |name: &str, help: &str| register(Gauge::new(name, help)?, registry);
		Ok(Self {
			ratio: gauges(registry, "labora_usefulness_ratio", "Accepted work over spent work", "span")?,
			useful: gauges(registry, "labora_useful_blocks", "Blocks sealed by useful work", "span")?,
			idle: gauges(registry, "labora_idle_blocks", "Blocks sealed by idle work", "span")?,
			difficulty: register(
				Gauge::new("labora_difficulty_macs", "Multiply-accumulates that the next block costs")?,
				registry,
			)?,
			lag: gauge("labora_finality_lag_blocks", "Blocks from the final block to the best one")?,
			tasks: gauge("labora_open_tasks", "Tasks with units that are to be computed")?,
			units: gauges(registry, "labora_units", "Units of the open tasks' rounds, by state", "state")?,
			standing: gauge("labora_standing_results", "Accepted results whose windows run")?,
			workers: gauge("labora_workers", "Registered workers")?,
		})
	}

	pub(super) fn read(&self, client: &FullClient) -> Result<(), ReadError> {
		let info = client.info();
		self.lag.set(u64::from(info.best_number.saturating_sub(info.finalized_number)));
		let (best, api) = (info.best_hash, client.runtime_api());
		self.set_usefulness("all", &api.usefulness(best)?);
		self.set_usefulness("recent", &api.recent_usefulness(best)?);
		let difficulty: PowDifficulty = DifficultyApi::difficulty(&*api, best)?;
		self.difficulty.set(difficulty as f64);
		self.standing.set(api.standing_results(best)?.len() as u64);
		let roster = stored::<Vec<AccountId>>(client, best, pallet_workers::Roster::<Runtime>::hashed_key().to_vec())?;
		self.workers.set(roster.map_or(0, |roster| roster.len() as u64));
		self.read_units(client, best)
	}

	fn set_usefulness(&self, span: &str, usefulness: &Usefulness) {
		self.ratio.with_label_values(&[span]).set(usefulness.ratio_ppm() as f64 / 1e6);
		self.useful.with_label_values(&[span]).set(usefulness.useful_blocks);
		self.idle.with_label_values(&[span]).set(usefulness.idle_blocks);
	}

	/// The runtime bounds the open tasks, so this is bounded, too.
	fn read_units(&self, client: &FullClient, best: Hash) -> Result<(), ReadError> {
		let key = pallet_tasks::OpenTasks::<Runtime>::hashed_key().to_vec();
		let open = stored::<Vec<(Balance, TaskId)>>(client, best, key)?.unwrap_or_default();
		let api = client.runtime_api();
		let mut states = BTreeMap::from([("open", 0u64), ("assigned", 0), ("accepted", 0)]);
		for (_, task) in &open {
			for state in api.task_info(best, *task)?.iter().flat_map(|info| &info.units) {
				let name = match state {
					UnitState::Open => "open",
					UnitState::Assigned(_) => "assigned",
					UnitState::Accepted => "accepted",
				};
				*states.entry(name).or_default() += 1;
			}
		}
		self.tasks.set(open.len() as u64);
		states.iter().for_each(|(state, count)| self.units.with_label_values(&[state]).set(*count));
		Ok(())
	}
}
