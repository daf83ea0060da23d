//! Lanes: threads that have one unit at a time computed, each on one core, here or by a miner. Two units side by side use two cores
//! without having to wait for each other, as the threads of one product would.

use std::{
	io,
	sync::{
		atomic::{AtomicBool, Ordering},
		Arc,
	},
	thread::JoinHandle,
	time::{Duration, Instant},
};

use labora_engine::{Engine, EngineError, Miner, MiningTarget};
use labora_graph::{Product, Program};
use labora_pouw::{params::IDLE_DIMENSION, UsefulProof};
use labora_primitives::{AccountId, Hash, SpecError, WorkProof};
use labora_tensor::{Commitment, Tensor, BLOCK};
use parking_lot::{Condvar, Mutex};
use tokio::sync::mpsc::UnboundedSender;

use super::{
	backend::{Backend, BackendError, Local},
	chain::Chain,
	checkpoints::Checkpoints,
	claims::Claims,
	describe,
	inputs::{InputError, Inputs, Tensors},
	queue::{Queue, Stage, Start},
	result::Draft,
	status::WorkerStatus,
	unit::{Origin, OriginError},
	LOG_TARGET,
};
use crate::mining::{Found, FoundSender, Jobs, MiningJob};

/// How long a lane with nothing to do sleeps before it looks around again without being woken.
const NAP: Duration = Duration::from_millis(200);
/// Multiply-accumulates of one nonce of idle work.
const IDLE_MACS: u64 = (IDLE_DIMENSION as u64).pow(3);
/// Tickets of one nonce of idle work.
const IDLE_TICKETS: u64 = (IDLE_DIMENSION as u64 / BLOCK as u64).pow(2);

/// What the lanes share with each other and with the worker's task.
pub(super) struct Shared {
	pub(super) account: AccountId,
	pub(super) engine: Engine,
	pub(super) chain: Arc<dyn Chain>,
	pub(super) tensors: Tensors,
	pub(super) jobs: Jobs,
	pub(super) found: FoundSender,
	/// Computed units go to the worker's task.
	pub(super) drafts: UnboundedSender<Draft>,
	pub(super) status: Arc<WorkerStatus>,
	pub(super) queue: Mutex<Queue>,
	/// Wakes lanes when there may be something to do.
	pub(super) wake: Condvar,
	/// Whether a unit can be started: what idle work asks between tiles, without the queue's lock.
	pub(super) ready: AtomicBool,
	pub(super) claims: Claims,
	/// Parameters in the middle of units that were computed here.
	pub(super) checkpoints: Checkpoints,
	pub(super) closed: AtomicBool,
	/// Lanes of miners.
	pub(super) miners: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a unit was not computed.
#[derive(Debug, thiserror::Error)]
enum UnitError {
	#[error(transparent)]
	Origin(#[from] OriginError),
	#[error(transparent)]
	Inputs(#[from] InputError),
	#[error("the task is not well-formed: {0:?}")]
	Spec(SpecError),
	#[error(transparent)]
	Backend(#[from] BackendError),
	#[error("its parameters could not be stored: {0}")]
	Store(#[from] io::Error),
}

/// What a lane does next.
enum Next {
	Unit(Start, Arc<MiningJob>),
	Idle(Arc<MiningJob>),
}

impl Shared {
	/// The current job.
	fn job(&self) -> Option<Arc<MiningJob>> {
		self.jobs.borrow().clone()
	}

	/// Whether the node stops.
	pub(super) fn is_closed(&self) -> bool {
		self.closed.load(Ordering::Relaxed)
	}

	/// Stops all lanes, also in the middle of a unit.
	pub(super) fn close(&self) {
		self.closed.store(true, Ordering::Relaxed);
		self.change(Queue::clear);
	}

	/// Changes the queue and wakes the lanes.
	pub(super) fn change<R>(&self, change: impl FnOnce(&mut Queue) -> R) -> R {
		let mut queue = self.queue.lock();
		let result = change(&mut queue);
		self.ready.store(queue.has_ready(), Ordering::Relaxed);
		self.wake.notify_all();
		result
	}

	/// Waits for something to do. None: the node stops, or the backend is gone.
	fn next(&self, backend: &dyn Backend) -> Option<Next> {
		let mut queue = self.queue.lock();
		while !self.is_closed() && !backend.is_gone() {
			if let Some(job) = self.job() {
				if let Some(start) = queue.start() {
					self.ready.store(queue.has_ready(), Ordering::Relaxed);
					return Some(Next::Unit(start, job));
				}
				if queue.knows(&job.assignments) && !self.claims.awaits_block(job.parent) {
					return Some(Next::Idle(job));
				}
			}
			self.wake.wait_for(&mut queue, NAP);
		}
		None
	}

	/// A winning ticket goes to the authoring loop.
	fn found(&self, parent: Hash, proof: WorkProof) {
		self.claims.claim(parent, &proof);
		self.status.won(&proof);
		// Without a receiver the node stops, and so does the lane.
		let _ = self.found.send(Found { parent, proof });
	}
}

/// The running lanes, of miners too. Dropping them stops them: a unit under way is abandoned at its next op.
pub(super) struct Lanes {
	shared: Arc<Shared>,
	threads: Vec<JoinHandle<()>>,
}

impl Lanes {
	/// Starts lanes, as many as the system allows.
	pub(super) fn start(shared: Arc<Shared>, lanes: usize) -> Self {
		let start = |lane| {
			let shared = shared.clone();
			std::thread::Builder::new()
				.name(format!("labora-lane-{lane}"))
				.spawn(move || run(&shared, &Local(&shared.engine)))
		};
		let started = |thread: io::Result<_>| {
			thread
				.map_err(|error| log::error!(target: LOG_TARGET, "A mining thread could not be started: {error}"))
				.ok()
		};
		let threads = (0..lanes).map(start).filter_map(started).collect();
		Self { shared, threads }
	}
}

impl Drop for Lanes {
	fn drop(&mut self) {
		self.shared.close();
		let miners = std::mem::take(&mut *self.shared.miners.lock());
		for thread in self.threads.drain(..).chain(miners) {
			// A lane that panicked has nothing to say any more.
			let _ = thread.join();
		}
	}
}

/// Works until the node stops or the backend is gone.
pub(super) fn run(shared: &Shared, backend: &dyn Backend) {
	while let Some(next) = shared.next(backend) {
		match next {
			Next::Unit(start, job) => run_unit(shared, backend, &start, &job),
			Next::Idle(job) => run_idle(shared, backend, &job),
		}
	}
}

/// Idle work, until it wins or there is something else to do.
fn run_idle(shared: &Shared, backend: &dyn Backend, job: &MiningJob) {
	let cancelled = || {
		let stale = || shared.jobs.borrow().as_ref().is_none_or(|current| current.parent != job.parent);
		shared.ready.load(Ordering::Relaxed) || shared.is_closed() || stale() || shared.claims.awaits_block(job.parent)
	};
	let done = |nonces: u32| {
		let nonces = u64::from(nonces);
		shared.status.idle(IDLE_MACS.saturating_mul(nonces), IDLE_TICKETS.saturating_mul(nonces));
	};
	match backend.idle(job, &shared.account, &done, &cancelled) {
		Ok(Some(proof)) => shared.found(job.parent, WorkProof::Idle(proof)),
		Ok(None) => {}
		Err(error) => log::debug!(target: LOG_TARGET, "Idle work ended: {error}"),
	}
}

/// Computes a unit and says what became of it.
fn run_unit(shared: &Shared, backend: &dyn Backend, start: &Start, job: &MiningJob) {
	let began = Instant::now();
	let name = describe(start.assignment, &start.unit);
	let stage = match compute(shared, backend, start, job) {
		Ok(draft) => {
			log_finished(&name, &draft, began.elapsed());
			let _ = shared.drafts.send(draft);
			Stage::Done
		}
		Err(UnitError::Inputs(InputError::Missing(missing))) => {
			let names = missing.iter().map(Commitment::to_string).collect::<Vec<_>>().join(", ");
			if shared.status.waits(start.unit, missing) {
				log::warn!(target: LOG_TARGET, "⏳ {name} waits for tensors that its peers are asked for: {names}");
			}
			Stage::Waiting
		}
		Err(UnitError::Backend(BackendError::Engine(EngineError::Cancelled))) => {
			log::info!(target: LOG_TARGET, "Abandoned {name} after {:.1} s: it is no longer this miner's, or the node stops", began.elapsed().as_secs_f32());
			Stage::Waiting
		}
		Err(UnitError::Backend(error @ BackendError::Lost(_))) => {
			log::warn!(target: LOG_TARGET, "{name} is started again elsewhere: {error}");
			Stage::Ready
		}
		// A state that was not there, a disk that was full, a miner without room for it: may be different next time.
		Err(
			error @ (UnitError::Origin(_)
			| UnitError::Inputs(InputError::Io(_))
			| UnitError::Store(_)
			| UnitError::Backend(BackendError::GivenBack(..))),
		) => {
			log::warn!(target: LOG_TARGET, "{name} could not be computed, and is tried again: {error}");
			Stage::Waiting
		}
		Err(error) => {
			log::error!(target: LOG_TARGET, "{name} cannot be computed: {error}");
			Stage::Done
		}
	};
	shared.status.ended(&start.unit);
	shared.change(|queue| queue.ended(start, stage));
}

fn compute(shared: &Shared, backend: &dyn Backend, start: &Start, job: &MiningJob) -> Result<Draft, UnitError> {
	let origin = Origin::read(&*shared.chain, job.parent, start.unit)?;
	let program = origin.program().map_err(UnitError::Spec)?;
	let inputs = shared.tensors.inputs(&origin, &program)?;
	shared.status.started(start.unit, start.assignment, origin.steps());
	let place = backend.name().map(|name| format!(", computed by {name}")).unwrap_or_default();
	log::info!(target: LOG_TARGET, "⚙️  Started {}{place}", describe(start.assignment, &start.unit));
	match inputs {
		Inputs::Steps(plan) => {
			let step = (program.macs(), tickets(&program));
			let miner = UnitMiner { shared, start, base: origin.base(), steps: origin.steps(), step };
			let output = backend.run(&origin, &plan, &miner)?;
			if program.is_training() {
				shared.tensors.keep(&output.parameters)?;
			}
			Ok(Draft::of_steps(origin, &program, output))
		}
		Inputs::Merge(sets) => {
			// Here, whoever the lane's backend is: sending the sets costs more than averaging them.
			let merged = shared.engine.merge(&sets).map_err(BackendError::Engine)?;
			shared.tensors.keep(&merged)?;
			Ok(Draft::of_merge(origin, &merged))
		}
	}
}

fn log_finished(name: &str, draft: &Draft, took: Duration) {
	let seconds = took.as_secs_f64();
	let macs = draft.origin.program().map(|program| program.macs()).unwrap_or(0) * u64::from(draft.origin.steps());
	let speed = macs as f64 / seconds.max(f64::EPSILON) / 1e9;
	match macs {
		0 => log::info!(target: LOG_TARGET, "✅ Finished {name} in {seconds:.1} s"),
		_ => log::info!(target: LOG_TARGET, "✅ Finished {name} in {seconds:.1} s, {speed:.1} GMAC/s"),
	}
}

/// Tickets of one step: the tiles of its eligible products.
fn tickets(program: &Program) -> u64 {
	let eligible = program.iter().filter_map(|(_, info)| info.product).filter(Product::eligible);
	eligible
		.map(|product| u64::from(product.m.div_ceil(BLOCK as u32)) * u64::from(product.n.div_ceil(BLOCK as u32)))
		.sum()
}

/// What the engine asks and tells while it runs a unit.
struct UnitMiner<'a> {
	shared: &'a Shared,
	start: &'a Start,
	/// Commitments of the parameters that the unit starts from.
	base: &'a [Commitment],
	steps: u32,
	/// Multiply-accumulates and tickets of a step.
	step: (u64, u64),
}

impl Miner for UnitMiner<'_> {
	fn target(&self) -> Option<MiningTarget> {
		let job = self.shared.job()?;
		let assignment = job.assignments.iter().find(|assignment| assignment.unit == self.start.unit)?;
		if !self.shared.claims.may_mine(job.parent, assignment.id) {
			return None;
		}
		let (genesis, parent, assignment) = (job.genesis.0, job.parent.0, assignment.id.0);
		Some(MiningTarget { genesis, parent, assignment, difficulty: job.difficulty })
	}

	fn won(&self, target: &MiningTarget, proof: UsefulProof) {
		self.shared.found(Hash::from(target.parent), WorkProof::Useful(proof));
	}

	fn cancelled(&self) -> bool {
		self.start.cancel.is_cancelled() || self.shared.is_closed()
	}

	fn entered(&self, step: u32, parameters: &dyn Fn() -> Vec<Arc<Tensor>>) {
		if Checkpoints::wants(self.steps, step) {
			self.shared.checkpoints.keep(self.start.unit, self.base, step, parameters());
		}
	}

	fn progress(&self, done: u32, _of: u32) {
		let (macs, tickets) = self.step;
		self.shared.status.progress(&self.start.unit, done, macs, tickets);
	}
}
