//! Task specifications from datasets and options, without the chain.

use labora_graph::Graph;
use labora_primitives::{
	limits::{MAX_INFERENCE_STEPS, MAX_OUTPUT, MAX_UNITS},
	money::round_budget,
	Balance, BlockNumber, Job, TaskSpec,
};
use labora_tensor::{Commitment, Tensor};

use super::TaskError;
use crate::{
	dataset::Folder,
	models::{draw, inference_graph_of, mlp_training_graph, MlpRecipe},
};

/// What a sponsor offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
	/// Price of one unit.
	pub price: Balance,
	/// Blocks that a worker has for a unit.
	pub deadline: BlockNumber,
	/// What is set aside. Without it: what the whole task can cost.
	pub escrow: Option<Balance>,
}

/// How a perceptron is trained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrainingOptions {
	/// Widths of the hidden layers.
	pub layers: Vec<u32>,
	/// The numbers of the integer arithmetic. Without it: by rule for these widths.
	pub recipe: Option<MlpRecipe>,
	/// Rows of a step.
	pub batch: u32,
	/// Units of a round.
	pub units: u16,
	/// Steps of a unit.
	pub steps: u32,
	/// Rounds.
	pub rounds: u32,
	/// Rounds before which the learning rate is halved.
	pub rate_drops: Vec<u32>,
	/// Seed of the initial parameters and of the rounding.
	pub seed: u64,
	/// What is offered.
	pub terms: Terms,
}

/// How a dataset is classified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InferenceOptions {
	/// Rows of a step.
	pub batch: u32,
	/// Units. Without it: as few as the limits allow.
	pub units: Option<u16>,
	/// Seed of the specification (nothing of an inference graph is random, but the specification has one).
	pub seed: u64,
	/// What is offered.
	pub terms: Terms,
}

/// A task that is ready to be registered.
#[derive(Clone, Debug)]
pub struct Draft {
	/// The specification.
	pub spec: TaskSpec,
	/// What to set aside.
	pub escrow: Balance,
	/// The tensors that workers need, with their commitments.
	pub tensors: Vec<(Commitment, Tensor)>,
}

impl Draft {
	/// Bytes of its tensors.
	pub fn bytes(&self) -> u64 {
		self.tensors.iter().map(|(_, tensor)| tensor.bytes().len() as u64).sum()
	}
}

/// Rounds before which the learning rate is halved by default: after 60 % and 85 % of them.
pub fn default_rate_drops(rounds: u32) -> Vec<u32> {
	let mut drops: Vec<u32> =
		[60, 85].into_iter().map(|percent| ((u64::from(rounds) * percent + 50) / 100) as u32).collect();
	drops.dedup();
	drops.retain(|drop| (1..rounds).contains(drop));
	drops
}

/// 32 bytes from a small seed, for one purpose.
fn seed_bytes(purpose: &str, seed: u64) -> [u8; 32] {
	let mut hasher = blake3::Hasher::new_derive_key(purpose);
	hasher.update(&seed.to_le_bytes());
	*hasher.finalize().as_bytes()
}

fn escrow(terms: &Terms, job: &Job) -> Balance {
	let whole = round_budget(terms.price, job.units()).saturating_mul(Balance::from(job.rounds()));
	terms.escrow.unwrap_or(whole)
}

/// The specification, parameters and tensors of a perceptron's training on a folder's training rows.
pub fn training_spec(folder: &Folder, options: &TrainingOptions) -> Result<Draft, TaskError> {
	let manifest = &folder.manifest;
	let by_rule = || MlpRecipe::for_widths(manifest.features, &options.layers, manifest.classes);
	let recipe = options.recipe.clone().unwrap_or_else(by_rule);
	let graph = mlp_training_graph(manifest.features, &options.layers, manifest.classes, options.batch, &recipe)?;
	let drawn = recipe.with_seed(seed_bytes("labora 2026 initial parameters", options.seed))?;
	let parameters: Vec<_> = draw(&drawn, &graph).into_iter().map(|tensor| (tensor.commitment(), tensor)).collect();
	let commitments = parameters.iter().map(|(commitment, _)| *commitment).collect::<Vec<_>>();
	let job = Job::Training {
		rounds: options.rounds,
		units: options.units,
		steps: options.steps,
		rate_drops: options.rate_drops.clone().try_into().map_err(|_| TaskError::TooMany("rate drops"))?,
	};
	let split = &manifest.train;
	let spec = TaskSpec {
		graph,
		dataset: folder.record(split)?,
		parameters: commitments.try_into().map_err(|_| TaskError::TooMany("parameters"))?,
		recipe: Some(drawn),
		seed: seed_bytes("labora 2026 rounding", options.seed),
		price: options.terms.price,
		deadline: options.terms.deadline,
		job,
	};
	spec.check().map_err(|error| TaskError::Spec { error })?;
	let (features, labels) = (folder.load(&split.features)?, folder.load(&split.labels)?);
	let data = [features, labels].map(|tensor| (tensor.commitment(), tensor));
	let escrow = escrow(&options.terms, &spec.job);
	Ok(Draft { spec, escrow, tensors: data.into_iter().chain(parameters).collect() })
}

/// The specification and tensors of classifying a folder's test rows with parameters that were trained by a graph. The tensors are
/// the data's; the parameters' are with whoever trained them.
pub fn inference_spec(
	folder: &Folder,
	trained: &Graph,
	parameters: &[Commitment],
	options: &InferenceOptions,
) -> Result<Draft, TaskError> {
	let split = folder.test()?;
	let graph = inference_graph_of(trained, options.batch)?;
	let batches = split.rows / options.batch.max(1);
	let (units, steps) = cut(batches, options.units, options.batch)?;
	let features = folder.load(&split.features)?;
	let spec = TaskSpec {
		graph,
		job: Job::Inference { units, steps },
		// Labels are the client's secret: a worker that knew them could guess instead of compute.
		dataset: labora_primitives::Dataset { labels: None, ..folder.record(split)? },
		parameters: parameters.to_vec().try_into().map_err(|_| TaskError::TooMany("parameters"))?,
		recipe: None,
		seed: seed_bytes("labora 2026 rounding", options.seed),
		price: options.terms.price,
		deadline: options.terms.deadline,
	};
	spec.check().map_err(|error| TaskError::Spec { error })?;
	let escrow = escrow(&options.terms, &spec.job);
	Ok(Draft { spec, escrow, tensors: vec![(features.commitment(), features)] })
}

/// Units and steps that cover so many batches exactly.
fn cut(batches: u32, units: Option<u16>, batch: u32) -> Result<(u16, u32), TaskError> {
	let most = MAX_INFERENCE_STEPS.min(MAX_OUTPUT / batch.max(1)).max(1);
	let fits =
		|units: &u16| *units > 0 && batches.is_multiple_of(u32::from(*units)) && batches / u32::from(*units) <= most;
	let found = match units {
		Some(units) => Some(units).filter(fits),
		None => (1..=MAX_UNITS).find(fits),
	};
	let units = found.filter(|_| batches > 0).ok_or(TaskError::Indivisible {
		batches,
		units: u32::from(units.unwrap_or(MAX_UNITS)),
		most,
	})?;
	Ok((units, batches / u32::from(units)))
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn rates_drop_late_in_the_task() {
		assert_eq!(default_rate_drops(6), [4, 5]);
		assert_eq!(default_rate_drops(20), [12, 17]);
		assert_eq!(default_rate_drops(30), [18, 26]);
		assert!(default_rate_drops(1).is_empty());
		assert_eq!(default_rate_drops(2), [1]);
	}

	#[test]
	fn batches_are_cut_into_whole_units() {
		assert_eq!(cut(8, None, 256).unwrap(), (1, 8));
		assert_eq!(cut(40, None, 256).unwrap(), (2, 20));
		assert_eq!(cut(8, Some(4), 256).unwrap(), (4, 2));
		assert_eq!(cut(64, None, 8192).unwrap(), (64, 1));
		assert!(matches!(cut(8, Some(3), 256), Err(TaskError::Indivisible { batches: 8, units: 3, most: 32 })));
		assert!(matches!(cut(67, None, 4096), Err(TaskError::Indivisible { .. })));
		assert!(matches!(cut(0, None, 256), Err(TaskError::Indivisible { .. })));
	}
}
