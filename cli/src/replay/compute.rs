use std::sync::{
	atomic::{AtomicU32, Ordering},
	Arc,
};

use labora_engine::{Engine, EngineError, Miner, MiningTarget, UnitOutput, UnitPlan};
use labora_graph::Program;
use labora_pouw::UsefulProof;
use labora_primitives::{Job, ResultRecord, TaskSpec, UnitMetrics};
use labora_tensor::{Commitment, Tensor};

use super::{Difference, Records, ReplayError, Verdict, What};
use crate::{dataset::Folder, models::draw};

/// Units that are computed at a time: reading the next one's operands overlaps with computing, and two fit most memories.
const UNITS_AT_A_TIME: usize = 2;

/// Parameters that a task starts from.
pub type Initial = Vec<Arc<Tensor>>;

/// How far a replay is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
	/// Steps done, of all units of all rounds.
	pub done: u64,
	/// Steps in all.
	pub of: u64,
	/// The round.
	pub round: u32,
}

/// Counts steps instead of mining.
struct Counter<'a> {
	progress: &'a (dyn Fn(Step) + Sync),
	done: &'a AtomicU32,
	of: u64,
	round: u32,
	before: u64,
}

impl Miner for Counter<'_> {
	fn target(&self) -> Option<MiningTarget> {
		None
	}

	fn won(&self, _: &MiningTarget, _: UsefulProof) {}

	fn progress(&self, _done: u32, _of: u32) {
		let done = self.before + u64::from(self.done.fetch_add(1, Ordering::Relaxed)) + 1;
		(self.progress)(Step { done, of: self.of, round: self.round });
	}
}

/// The parts of a plan that all units of a task share.
struct Task<'a> {
	spec: &'a TaskSpec,
	program: Arc<Program>,
	features: Arc<Tensor>,
	labels: Option<Arc<Tensor>>,
	engine: Engine,
	progress: &'a (dyn Fn(Step) + Sync),
	rounds: u32,
}

/// What was computed and agrees with the chain.
struct Computed {
	/// Rounds, or units of an inference task.
	rounds: u32,
	/// The last parameters.
	parameters: Initial,
}

/// Computes a task again, from its recipe or from given parameters, and compares all that the chain says of it. `rounds` limits how many
/// rounds of a training task are computed; without it, all that are completed.
pub fn run(
	records: &Records,
	folder: &Folder,
	given: Option<Initial>,
	threads: usize,
	rounds: Option<u32>,
	progress: &(dyn Fn(Step) + Sync),
) -> Result<Verdict, ReplayError> {
	Ok(match compute(records, folder, given, threads, rounds, progress)? {
		Err(difference) => Verdict::Differs(difference),
		Ok(Computed { rounds, parameters }) => {
			let inference = matches!(records.spec.job, Job::Inference { .. });
			let parameters = parameters.iter().filter(|_| !inference).map(|tensor| tensor.commitment()).collect();
			Verdict::Agrees { rounds, parameters }
		}
	})
}

fn compute(
	records: &Records,
	folder: &Folder,
	given: Option<Initial>,
	threads: usize,
	rounds: Option<u32>,
	progress: &(dyn Fn(Step) + Sync),
) -> Result<Result<Computed, Difference>, ReplayError> {
	let spec = &records.spec;
	let program = Arc::new(spec.check().map_err(ReplayError::Spec)?);
	let inference = matches!(spec.job, Job::Inference { .. });
	let completed = records.completed();
	let rounds = if inference { 1 } else { rounds.unwrap_or(completed) };
	if !inference && completed == 0 || inference && records.classes.iter().all(Option::is_none) {
		return Err(ReplayError::NothingYet(records.task));
	}
	if !inference && rounds > completed {
		return Err(ReplayError::NotSoFar { wanted: rounds, completed });
	}
	// Before the long part: whether this is the right folder.
	let split = folder.split_of(&spec.dataset).ok_or(ReplayError::OtherDataset(spec.dataset.features))?;
	let features = Arc::new(folder.load(&split.features)?);
	let labels = match spec.dataset.labels {
		None => None,
		Some(commitment) => {
			let labels = folder.load(&split.labels)?;
			if labels.commitment() != commitment {
				return Err(ReplayError::OtherDataset(commitment));
			}
			Some(Arc::new(labels))
		}
	};
	let parameters = match initial(records, folder, given, threads, progress)? {
		Ok(parameters) => parameters,
		Err(difference) => return Ok(Err(difference)),
	};
	let at_a_time = UNITS_AT_A_TIME.min(usize::from(spec.job.units())).max(1);
	let engine = Engine::best(threads.div_ceil(at_a_time));
	let task = Task { spec, program, features, labels, engine, progress, rounds };
	if inference {
		task.inference(records, parameters)
	} else {
		task.training(records, parameters)
	}
}

/// The parameters that the task starts from, or how they differ from what the chain says.
fn initial(
	records: &Records,
	folder: &Folder,
	given: Option<Initial>,
	threads: usize,
	progress: &(dyn Fn(Step) + Sync),
) -> Result<Result<Initial, Difference>, ReplayError> {
	let spec = &records.spec;
	let agrees = |set: &Initial| set.iter().map(|tensor| tensor.commitment()).eq(spec.parameters.iter().copied());
	if let Some(given) = given {
		return if agrees(&given) { Ok(Ok(given)) } else { Err(ReplayError::OtherParameters) };
	}
	if let Some(recipe) = &spec.recipe {
		let drawn: Initial = draw(recipe, &spec.graph).into_iter().map(Arc::new).collect();
		let difference = Difference { round: 0, unit: None, what: What::InitialParameters };
		return Ok(if agrees(&drawn) { Ok(drawn) } else { Err(difference) });
	}
	// What an inference task starts from, a training task ended with.
	let training = records.trained_by.as_deref().ok_or(ReplayError::NoRecipe)?;
	let computed = compute(training, folder, None, threads, None, progress)?.map(|computed| computed.parameters);
	match computed {
		Ok(parameters) if !agrees(&parameters) => Err(ReplayError::OtherParameters),
		computed => Ok(computed),
	}
}

/// How a unit's output differs from its record.
fn compare(spec: &TaskSpec, program: &Program, record: &ResultRecord, output: &UnitOutput) -> Option<What> {
	let rows = u64::from(spec.job.steps()) * u64::from(spec.graph.batch);
	let metrics = match program.metrics_op() {
		Some(_) => UnitMetrics { loss: output.loss.unsigned_abs(), correct: output.correct, rows },
		None => UnitMetrics::default(),
	};
	let updated = output.parameters.iter().filter(|_| program.is_training());
	if record.trace_root != output.trace.root() {
		Some(What::Trace)
	} else if !record.parameters.iter().eq(updated.map(|(commitment, _)| commitment)) {
		Some(What::Parameters)
	} else {
		(record.metrics != metrics).then_some(What::Metrics)
	}
}

impl Task<'_> {
	/// Computes a round's units, some at a time.
	fn units(&self, round: u32, parameters: &Initial) -> Result<Vec<UnitOutput>, EngineError> {
		let (units, steps) = (self.spec.job.units(), self.spec.job.steps());
		let a_round = u64::from(units) * u64::from(steps);
		let done = AtomicU32::new(0);
		let counter = Counter {
			progress: self.progress,
			done: &done,
			of: a_round * u64::from(self.rounds.max(1)),
			round,
			before: a_round * u64::from(round),
		};
		let next = AtomicU32::new(0);
		let work = || -> Result<Vec<(u16, UnitOutput)>, EngineError> {
			let mut outputs = Vec::new();
			loop {
				let unit = next.fetch_add(1, Ordering::Relaxed);
				let Some(unit) = u16::try_from(unit).ok().filter(|unit| *unit < units) else { return Ok(outputs) };
				outputs.push((unit, self.engine.run(&self.plan(round, unit, parameters), &counter)?));
			}
		};
		let at_a_time = UNITS_AT_A_TIME.min(usize::from(units));
		let mut outputs = std::thread::scope(|scope| {
			let threads: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
			let mut all = Vec::new();
			for thread in threads {
				match thread.join() {
					Ok(outputs) => all.extend(outputs?),
					Err(panic) => std::panic::resume_unwind(panic),
				}
			}
			Ok::<_, EngineError>(all)
		})?;
		outputs.sort_by_key(|(unit, _)| *unit);
		Ok(outputs.into_iter().map(|(_, output)| output).collect())
	}

	fn plan(&self, round: u32, unit: u16, parameters: &Initial) -> UnitPlan {
		UnitPlan {
			program: self.program.clone(),
			context: self.spec.context(round, unit),
			features: self.features.clone(),
			features_commitment: self.spec.dataset.features,
			labels: self.labels.clone(),
			labels_commitment: self.spec.dataset.labels,
			parameters: parameters.clone(),
			batches: (0..self.spec.job.steps()).map(|step| self.spec.batch(round, unit, step)).collect(),
		}
	}

	/// Compares the units of a round with their records.
	fn differs(&self, records: &Records, round: u32, outputs: &[UnitOutput]) -> Option<Difference> {
		let of_round = records.results.get(round as usize)?;
		(0u16..).zip(of_round.iter().zip(outputs)).find_map(|(unit, (record, output))| {
			let what = compare(self.spec, &self.program, record.as_ref()?, output)?;
			Some(Difference { round, unit: Some(unit), what })
		})
	}

	fn training(
		&self,
		records: &Records,
		mut parameters: Initial,
	) -> Result<Result<Computed, Difference>, ReplayError> {
		for round in 0..self.rounds {
			let outputs = self.units(round, &parameters)?;
			if let Some(difference) = self.differs(records, round, &outputs) {
				return Ok(Err(difference));
			}
			let mut sets: Vec<Vec<(Commitment, Arc<Tensor>)>> =
				outputs.into_iter().map(|output| output.parameters).collect();
			let merged = match sets.len() {
				1 => sets.remove(0),
				_ => {
					let plain = |set: Vec<(Commitment, _)>| set.into_iter().map(|(_, tensor)| tensor).collect();
					self.engine.merge(&sets.into_iter().map(plain).collect::<Vec<_>>())?
				}
			};
			let said = records.parameters.get(round as usize + 1);
			let agrees = said.is_some_and(|said| merged.iter().map(|(commitment, _)| commitment).eq(said));
			if !agrees {
				return Ok(Err(Difference { round, unit: None, what: What::Parameters }));
			}
			parameters = merged.into_iter().map(|(_, tensor)| tensor).collect();
		}
		Ok(Ok(Computed { rounds: self.rounds, parameters }))
	}

	fn inference(&self, records: &Records, parameters: Initial) -> Result<Result<Computed, Difference>, ReplayError> {
		let outputs = self.units(0, &parameters)?;
		let mut compared = 0;
		for (unit, output) in (0u16..).zip(&outputs) {
			let Some(Some(classes)) = records.classes.get(usize::from(unit)) else { continue };
			if *classes != output.classes {
				return Ok(Err(Difference { round: 0, unit: Some(unit), what: What::Classes }));
			}
			compared += 1;
		}
		if let Some(difference) = self.differs(records, 0, &outputs) {
			return Ok(Err(difference));
		}
		Ok(Ok(Computed { rounds: compared, parameters }))
	}
}
