//! Which tensors must stay: what live tasks need, what running windows may ask for, and what completed tasks gave.

use std::{
	collections::{BTreeMap, BTreeSet, HashSet},
	sync::Arc,
	time::{Duration, Instant},
};

use futures::StreamExt;
use labora_primitives::{api::LaboraApi, Hash, Phase, TaskId, TaskInfo, TaskSpec, UnitState};
use labora_runtime::opaque::Block;
use labora_tensor::Commitment;
use sc_client_api::BlockchainEvents;
use sp_api::{ApiError, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;

use super::LOG_TARGET;
use crate::tensor_store::TensorStore;

/// How often the pins are read again, at most.
const PAUSE: Duration = Duration::from_secs(60);

/// Keeps the store's pins up to date, until the client stops.
pub async fn run<C>(client: Arc<C>, store: Arc<TensorStore>)
where
	C: ProvideRuntimeApi<Block> + HeaderBackend<Block> + BlockchainEvents<Block>,
	C::Api: LaboraApi<Block>,
{
	let mut pins = Pins::default();
	let mut imports = client.import_notification_stream();
	let mut last: Option<Instant> = None;
	loop {
		if last.is_none_or(|last| last.elapsed() >= PAUSE) {
			let info = client.info();
			match pins.read(&*client, info.best_hash, info.finalized_hash) {
				Ok(pinned) => {
					if let Err(error) = store.pin(pinned) {
						log::warn!(target: LOG_TARGET, "The tensor store cannot be tidied: {error}");
					}
				}
				Err(error) => log::warn!(target: LOG_TARGET, "What tasks need is unknown: {error}"),
			}
			last = Some(Instant::now());
		}
		if imports.next().await.is_none() {
			return;
		}
	}
}

/// What was learned of tasks that have ended for good.
#[derive(Default)]
struct Pins {
	ended: BTreeMap<TaskId, Vec<Commitment>>,
}

impl Pins {
	/// What must stay as of the best block.
	fn read<C>(&mut self, client: &C, best: Hash, finalized: Hash) -> Result<HashSet<Commitment>, ApiError>
	where
		C: ProvideRuntimeApi<Block>,
		C::Api: LaboraApi<Block>,
	{
		let api = client.runtime_api();
		let mut pinned = HashSet::new();
		// Their audits and challenges are answered, and watchers compute them again, from their data.
		let mut watched = BTreeSet::new();
		for assignment in api.standing_results(best)? {
			let Some(result) = api.standing_result(best, assignment)? else { continue };
			watched.insert(result.unit.task);
			pinned.extend(result.base.iter().chain(&result.parameters));
		}
		for task in (0..api.task_count(best)?).map(TaskId) {
			if let Some(known) = self.ended.get(&task) {
				pinned.extend(known);
				continue;
			}
			let (Some(info), Some(spec)) = (api.task_info(best, task)?, api.task_spec(best, task)?) else { continue };
			let live = is_live(&info) || watched.contains(&task);
			pinned.extend(needs(&spec, &info, live));
			if !live {
				// On another branch it may still run.
				let final_info = api.task_info(finalized, task).ok().flatten();
				if final_info.is_some_and(|other| other.phase == info.phase && other.parameters == info.parameters) {
					self.ended.insert(task, needs(&spec, &info, false).collect());
				}
				continue;
			}
			let state = |unit: u16| info.units.get(usize::from(unit));
			let is_accepted = |unit: &u16| info.phase == Phase::Merge || state(*unit) == Some(&UnitState::Accepted);
			for unit in (0..spec.job.units()).filter(is_accepted) {
				let result = api.unit_result(best, task, info.round, unit)?;
				pinned.extend(result.iter().flat_map(|result| &result.parameters));
			}
		}
		Ok(pinned)
	}
}

/// Whether units of a task may still be computed.
fn is_live(info: &TaskInfo) -> bool {
	let assigned = || info.units.iter().any(|state| matches!(state, UnitState::Assigned(_)));
	match info.phase {
		Phase::Units | Phase::Merge | Phase::Unfunded => true,
		Phase::Cancelled => assigned(),
		Phase::Completed => false,
	}
}

/// What a task needs, but for its round's results: of one that is over, only what it gave.
fn needs<'a>(spec: &'a TaskSpec, info: &'a TaskInfo, live: bool) -> impl Iterator<Item = Commitment> + 'a {
	let data = live.then_some(&spec.dataset).into_iter();
	let data = data.flat_map(|dataset| std::iter::once(dataset.features).chain(dataset.labels));
	let gave = (live || info.phase == Phase::Completed).then_some(&info.parameters).into_iter().flatten();
	data.chain(gave.copied())
}
