//! Makes once more what units gave and nobody serves.
//!
//! What a unit gives follows from the dataset, the parameters that its round starts from and the chain's records; those parameters follow
//! from the round before, and so on, back to parameters that are in the store or that a recipe draws. Every unit on the way is
//! computed again, and kept only if it gives what the chain says. One tensor at a time, on a thread of its own that rests as long as it works:
//! the lanes, the prover and the watcher go on. It ends when a peer brings the tensor after all, or nobody wants it any more; what was made by
//! then is in the store.
//!
//! What it cannot make: a dataset, parameters that a task began with and no recipe draws, and what a result gave that was rolled back.

use std::{
	collections::BTreeMap,
	io,
	sync::{
		atomic::{AtomicBool, Ordering},
		Arc,
	},
	time::{Duration, Instant},
};

use labora_engine::{Engine, EngineError, Miner, MiningTarget};
use labora_pouw::UsefulProof;
use labora_primitives::{Hash, SpecError, UnitKind, UnitRef};
use labora_tensor::{Commitment, ElementType};
use parking_lot::Mutex;
use prometheus_endpoint::{Counter, U64};

use super::{
	chain::{Chain, ChainError},
	inputs::{InputError, Inputs, Tensors},
	name,
	unit::{Origin, OriginError},
	LOG_TARGET,
};
use crate::{exchange::Fetcher, tensor_store::TensorStore};

/// A tensor that no peer has served for so long is computed again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often somebody looks for such a one.
const TICK: Duration = Duration::from_secs(1);
/// Time until a tensor that could not be computed again is tried again.
const PAUSE: Duration = Duration::from_secs(60);
/// Rounds that are computed again for one tensor, at most.
pub(super) const MAX_ROUNDS: u32 = 64;
/// Memory for tensors that units share while one is made, bytes.
const MEMORY: usize = 256 << 20;
/// Longest rest between two steps.
const MAX_REST: Duration = Duration::from_secs(1);

/// Why a tensor is not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecomputeError {
	#[error("the chain cannot be asked: {0}")]
	Chain(#[from] ChainError),
	#[error(transparent)]
	Origin(#[from] OriginError),
	/// The tensor of a result that was rolled back, or another branch's.
	#[error("the chain knows no result that gave it")]
	NoResult,
	#[error(transparent)]
	Inputs(#[from] InputError),
	#[error("its task is not well-formed: {0:?}")]
	Spec(SpecError),
	#[error(transparent)]
	Engine(#[from] EngineError),
	#[error("that takes more than {MAX_ROUNDS} rounds")]
	TooFar,
	#[error("the tensor store is full")]
	NoRoom,
	/// An accepted result is wrong.
	#[error("{0} gives something else than the chain says")]
	Differs(String),
	#[error("the tensor store cannot be written: {0}")]
	Store(#[from] io::Error),
}

impl RecomputeError {
	/// Whether it may be otherwise another time.
	fn may_pass(&self) -> bool {
		!matches!(self, Self::Spec(_) | Self::TooFar | Self::Differs(_))
	}

	pub(super) fn is_cancelled(&self) -> bool {
		matches!(self, Self::Engine(EngineError::Cancelled))
	}
}

/// What making tensors needs of the node.
pub(crate) struct Recomputer<B> {
	/// The chain.
	pub chain: Arc<dyn Chain>,
	/// Hash of the best block.
	pub best: B,
	/// Where tensors go.
	pub store: Arc<TensorStore>,
	/// Knows what is wanted.
	pub fetcher: Arc<Fetcher>,
	/// Counts the units.
	pub units: Counter<U64>,
	/// How long peers are given to serve a tensor.
	pub patience: Duration,
}

/// Says to the thread that computes that the node stops.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
	fn drop(&mut self) {
		self.0.store(true, Ordering::Relaxed);
	}
}

/// Makes what nobody serves, for ever.
pub(crate) async fn run<B: Fn() -> Hash + Send>(recomputer: Recomputer<B>) {
	let stop = Stop(Arc::default());
	// What failed, and when it is tried again.
	let mut failed = BTreeMap::<Commitment, Option<Instant>>::new();
	let mut tick = tokio::time::interval(TICK);
	tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
	loop {
		tick.tick().await;
		let Recomputer { fetcher, patience, .. } = &recomputer;
		failed.retain(|tensor, _| fetcher.is_wanted(tensor));
		let now = Instant::now();
		let due = |tensor: &Commitment| failed.get(tensor).is_none_or(|next| next.is_some_and(|next| next <= now));
		let Some((tensor, unit)) = fetcher.unserved(*patience).into_iter().find(|(tensor, _)| due(tensor)) else {
			continue;
		};
		let work = Work::new(&recomputer, tensor, stop.0.clone());
		fetcher.recomputes(&tensor, true);
		let made = tokio::task::spawn_blocking(move || work.make_wanted(&tensor, unit)).await;
		fetcher.recomputes(&tensor, false);
		// A computation that panicked is not tried again.
		let Ok(made) = made else {
			failed.insert(tensor, None);
			continue;
		};
		match made {
			// It may have been in the store already.
			Ok(()) => fetcher.came(&tensor),
			Err(error) if error.is_cancelled() => {
				log::info!(target: LOG_TARGET, "♻️  Tensor {tensor} is not computed again: it came, or nobody wants it any more")
			}
			Err(error) => {
				let next = error.may_pass().then(|| Instant::now() + PAUSE);
				// Named once, and whenever it is hopeless.
				if failed.insert(tensor, next).is_none() || next.is_none() {
					log::warn!(target: LOG_TARGET, "♻️  Tensor {tensor}, which nobody serves, cannot be computed again: {}", told(&error));
				}
			}
		}
	}
}

/// An error, with the tensors that are missing.
fn told(error: &RecomputeError) -> String {
	match error {
		RecomputeError::Inputs(InputError::Missing(missing)) => {
			let names: Vec<_> = missing.iter().map(Commitment::to_string).collect();
			format!("it takes tensors that are missing, too: {}", names.join(", "))
		}
		error => error.to_string(),
	}
}

/// Lets a computation take half of a core's time, as long as there is a use for it.
struct Pace {
	fetcher: Arc<Fetcher>,
	/// What it is for.
	tensor: Commitment,
	stopped: Arc<AtomicBool>,
	/// When the current step began.
	since: Mutex<Instant>,
}

impl Miner for Pace {
	fn target(&self) -> Option<MiningTarget> {
		None
	}

	fn won(&self, _: &MiningTarget, _: UsefulProof) {}

	fn cancelled(&self) -> bool {
		self.stopped.load(Ordering::Relaxed) || !self.fetcher.is_wanted(&self.tensor)
	}

	fn progress(&self, _done: u32, _of: u32) {
		let mut since = self.since.lock();
		std::thread::sleep(since.elapsed().min(MAX_REST));
		*since = Instant::now();
	}
}

/// One tensor that is made.
pub(super) struct Work {
	chain: Arc<dyn Chain>,
	at: Hash,
	tensors: Tensors,
	store: Arc<TensorStore>,
	units: Counter<U64>,
	pace: Pace,
}

impl Work {
	/// A tensor as of the best block, until `stopped`.
	pub(super) fn new<B: Fn() -> Hash>(
		recomputer: &Recomputer<B>,
		tensor: Commitment,
		stopped: Arc<AtomicBool>,
	) -> Self {
		let Recomputer { chain, best, store, fetcher, units, .. } = recomputer;
		Self {
			chain: chain.clone(),
			at: best(),
			tensors: Tensors::new(store.clone(), fetcher.clone(), MEMORY),
			store: store.clone(),
			units: units.clone(),
			pace: Pace { fetcher: fetcher.clone(), tensor, stopped, since: Mutex::new(Instant::now()) },
		}
	}

	/// Makes a tensor that a unit gave.
	pub(super) fn make_wanted(&self, tensor: &Commitment, unit: UnitRef) -> Result<(), RecomputeError> {
		let outputs = self.outputs(unit)?.filter(|outputs| outputs.contains(tensor)).ok_or(RecomputeError::NoResult)?;
		let (began, before) = (Instant::now(), self.units.get());
		log::info!(target: LOG_TARGET, "♻️  Nobody serves tensor {tensor}: computing {} again", name(&unit));
		self.make(unit, &outputs, MAX_ROUNDS)?;
		let (seconds, units) = (began.elapsed().as_secs_f32(), self.units.get().saturating_sub(before));
		log::info!(target: LOG_TARGET, "♻️  Computed tensor {tensor} again in {seconds:.1} s ({units} units)");
		Ok(())
	}

	/// What the chain says that a unit gave.
	fn outputs(&self, unit: UnitRef) -> Result<Option<Vec<Commitment>>, ChainError> {
		let UnitRef { task, round, kind } = unit;
		match kind {
			UnitKind::Merge => self.chain.round_parameters(self.at, task, round.saturating_add(1)),
			UnitKind::Steps(number) => {
				let result = self.chain.unit_result(self.at, task, round, number)?;
				Ok(result.map(|result| result.parameters.into_inner()))
			}
		}
	}

	/// Has all that a unit gave in the store, going back at most so many rounds.
	fn make(&self, unit: UnitRef, outputs: &[Commitment], rounds: u32) -> Result<(), RecomputeError> {
		if self.has(outputs)? {
			return Ok(());
		}
		let origin = Origin::read(&*self.chain, self.at, unit)?;
		for (set, maker) in origin.parameters.iter().zip(origin.makers()) {
			let Some(maker) = maker else { continue };
			match rounds.checked_sub(unit.round.saturating_sub(maker.round)) {
				Some(rounds) => self.make(maker, set, rounds)?,
				None if self.has(set)? => {}
				None => return Err(RecomputeError::TooFar),
			}
		}
		let program = origin.program().map_err(RecomputeError::Spec)?;
		let inputs = self.tensors.inputs(&origin, &program)?;
		let shapes = &origin.spec.graph.parameters;
		let bytes = shapes.iter().fold(0u64, |sum, shape| sum.saturating_add(shape.bytes(ElementType::I32)));
		if !self.store.make_room(bytes)? {
			return Err(RecomputeError::NoRoom);
		}
		// One thread, whatever the machine has.
		let engine = Engine::best(1);
		*self.pace.since.lock() = Instant::now();
		let made = match inputs {
			Inputs::Steps(plan) => engine.run(&plan, &self.pace)?.parameters,
			Inputs::Merge(_) if self.pace.cancelled() => return Err(EngineError::Cancelled.into()),
			Inputs::Merge(sets) => engine.merge(&sets)?,
		};
		if !made.iter().map(|(commitment, _)| commitment).eq(outputs) {
			return Err(RecomputeError::Differs(name(&unit)));
		}
		self.tensors.keep(&made)?;
		self.units.inc();
		// Others of them may be wanted, too. The one that all this is for is wanted to the end: an earlier unit may give the same.
		let others =
			made.iter().map(|(commitment, _)| commitment).filter(|commitment| **commitment != self.pace.tensor);
		others.for_each(|commitment| self.pace.fetcher.came(commitment));
		Ok(())
	}

	/// Whether tensors are in the store.
	fn has(&self, tensors: &[Commitment]) -> io::Result<bool> {
		for tensor in tensors {
			if self.store.size(tensor)?.is_none() {
				return Ok(false);
			}
		}
		Ok(true)
	}
}
