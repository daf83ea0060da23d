use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use labora_graph::{Graph, GraphError, Program, StepContext, Value};
use labora_tensor::{Commitment, ElementType, Shape};
use scale_info::TypeInfo;
use sp_core::bounded::BoundedVec;

use crate::{
	limits::{
		MaxParameters, MaxRateDrops, MaxUnits, MAX_INFERENCE_STEPS, MAX_OUTPUT, MAX_ROUNDS, MAX_STEPS, MAX_UNITS,
	},
	AccountId, AssignmentId, Balance, BlockNumber,
};

/// Two committed tensors, shuffled once by whoever registers them.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Dataset {
	/// `rows x features`, `i8`.
	pub features: Commitment,
	/// `rows x 1`, `i8`: the class of each row. A training task needs it.
	pub labels: Option<Commitment>,
	/// Stored rows, a multiple of the batch.
	pub rows: u32,
	/// Rows that are examples; what follows is padding, which the client adds and later ignores.
	pub examples: u32,
}

/// What is to be done with the graph.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Job {
	/// Train the parameters.
	Training {
		/// Rounds, each from one committed parameter set to the next.
		rounds: u32,
		/// Units of a round, each computed by one worker from the round's parameters; their results are averaged.
		units: u16,
		/// Consecutive local steps of a unit.
		steps: u32,
		/// Rounds before which all learning rates are halved, ascending.
		rate_drops: BoundedVec<u32, MaxRateDrops>,
	},
	/// Classify the dataset once: unit `u`, step `s` takes batch `u * steps + s`.
	Inference {
		/// Units. `units * steps * batch` is the number of stored rows.
		units: u16,
		/// Steps of a unit.
		steps: u32,
	},
}

/// How a sponsor drew the initial parameters: parameter `i` has elements uniform in `[-ranges[i], ranges[i]] << 16`, from the BLAKE3
/// stream keyed by `seed` with context `labora/parameters/1 | i` (little-endian `u32`), one `u32` word per element in row-major
/// order: `floor(word * (2 range + 1) / 2^32) - range`. With it anyone can recompute the training from the chain's records
/// and the dataset alone.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Recipe {
	/// Key of the stream.
	pub seed: [u8; 32],
	/// One range per parameter, at most 2,047.
	pub ranges: BoundedVec<u16, MaxParameters>,
}

/// What a sponsor registers. It never changes.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct TaskSpec {
	/// The program of one step.
	pub graph: Graph,
	/// Training or inference, and how it is cut into units.
	pub job: Job,
	/// The data.
	pub dataset: Dataset,
	/// Commitments of the initial master parameters.
	pub parameters: BoundedVec<Commitment, MaxParameters>,
	/// How they were drawn, if they were.
	pub recipe: Option<Recipe>,
	/// Source of the rounding bits of stochastic rounding.
	pub seed: [u8; 32],
	/// Price of one unit.
	pub price: Balance,
	/// Blocks that a worker has for a unit.
	pub deadline: BlockNumber,
}

/// Why a task is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpecError {
	/// The graph breaks a rule.
	Graph(GraphError),
	/// A training job with an inference graph, or the reverse.
	WrongJob,
	/// Rounds, units or steps are zero or above the limits, or do not cover the dataset.
	BadJob,
	/// Rate drops do not ascend, or lie outside the rounds.
	BadRateDrops,
	/// Rows are zero, not a multiple of the batch or above the limits; or more examples than rows; or no labels to train on.
	BadDataset,
	/// Not one commitment, and with a recipe one range, per parameter.
	BadParameters,
}

impl Recipe {
	/// Largest range: the drawn value, shifted by 16, stays an `i32`.
	pub const MAX_RANGE: u16 = 2_047;

	/// The elements of parameter `index`, row-major.
	pub fn draw(&self, index: u8, shape: Shape) -> alloc::vec::Vec<i32> {
		let range = u64::from(self.ranges.get(usize::from(index)).copied().unwrap_or(0).min(Self::MAX_RANGE));
		let mut hasher = labora_tensor::keyed_stream(&self.seed, b"labora/parameters/1", u32::from(index));
		let elements = (shape.rows as usize).saturating_mul(shape.cols as usize);
		let mut words = alloc::vec![0u8; elements.saturating_mul(4)];
		hasher.fill(&mut words);
		let draw = |word: &[u8]| match *word {
			[a, b, c, d] => {
				let word = u64::from(u32::from_le_bytes([a, b, c, d]));
				(((word * (2 * range + 1)) >> 32) as i32 - range as i32) << 16
			}
			_ => 0,
		};
		words.chunks_exact(4).map(draw).collect()
	}
}

impl Job {
	/// Rounds of the job.
	pub fn rounds(&self) -> u32 {
		match self {
			Self::Training { rounds, .. } => *rounds,
			Self::Inference { .. } => 1,
		}
	}

	/// Units of a round.
	pub fn units(&self) -> u16 {
		match self {
			Self::Training { units, .. } | Self::Inference { units, .. } => *units,
		}
	}

	/// Steps of a unit.
	pub fn steps(&self) -> u32 {
		match self {
			Self::Training { steps, .. } | Self::Inference { steps, .. } => *steps,
		}
	}

	/// How often the learning rates have dropped when a round begins.
	pub fn rate_drops(&self, round: u32) -> u8 {
		match self {
			Self::Training { rate_drops, .. } => rate_drops.iter().filter(|drop| **drop <= round).count() as u8,
			Self::Inference { .. } => 0,
		}
	}
}

impl TaskSpec {
	/// Checks everything that can be checked without the tensors, and gives the program.
	pub fn check(&self) -> Result<Program, SpecError> {
		let program = Program::new(self.graph.clone()).map_err(SpecError::Graph)?;
		let (units, steps, rounds) = (self.job.units(), self.job.steps(), self.job.rounds());
		let bad_size =
			units == 0 || units > MAX_UNITS || steps == 0 || steps > MAX_STEPS || rounds == 0 || rounds > MAX_ROUNDS;
		if bad_size {
			return Err(SpecError::BadJob);
		}
		let batch = self.graph.batch;
		let dataset = &self.dataset;
		let bad_rows = dataset.rows == 0 || dataset.rows > Shape::MAX_ROWS || !dataset.rows.is_multiple_of(batch);
		if bad_rows || dataset.examples == 0 || dataset.examples > dataset.rows {
			return Err(SpecError::BadDataset);
		}
		if dataset.labels.is_none() && program.uses(Value::Labels) {
			return Err(SpecError::BadDataset);
		}
		match &self.job {
			Job::Training { rate_drops, .. } => {
				if !program.is_training() {
					return Err(SpecError::WrongJob);
				}
				let ascending = rate_drops.iter().zip(rate_drops.iter().skip(1)).all(|(a, b)| a < b);
				if !ascending || rate_drops.iter().any(|drop| *drop >= rounds) {
					return Err(SpecError::BadRateDrops);
				}
			}
			Job::Inference { .. } => {
				if program.is_training() {
					return Err(SpecError::WrongJob);
				}
				let rows = u64::from(units).saturating_mul(u64::from(steps)).saturating_mul(u64::from(batch));
				let output = u64::from(steps).saturating_mul(u64::from(batch));
				if rows != u64::from(dataset.rows) || output > u64::from(MAX_OUTPUT) || steps > MAX_INFERENCE_STEPS {
					return Err(SpecError::BadJob);
				}
			}
		}
		let parameters = self.graph.parameters.len();
		let bad_recipe = self.recipe.as_ref().is_some_and(|recipe| {
			recipe.ranges.len() != parameters || recipe.ranges.iter().any(|range| *range > Recipe::MAX_RANGE)
		});
		if self.parameters.len() != parameters || bad_recipe {
			return Err(SpecError::BadParameters);
		}
		Ok(program)
	}

	/// The batch of rows `[b * batch, (b + 1) * batch)` that a step uses.
	///
	/// Training: each unit of a round walks the whole dataset in order, from a start of its own; the next round goes on where this one
	/// ended. (Sharing the batches out among the units, so that each sees only its own, trained a little worse.) Inference: every
	/// batch once.
	pub fn batch(&self, round: u32, unit: u16, step: u32) -> u32 {
		let batches = u64::from(self.dataset.rows.checked_div(self.graph.batch).unwrap_or(1).max(1));
		let steps = u64::from(self.job.steps());
		let (round, unit, step) = (u64::from(round), u64::from(unit), u64::from(step));
		let (turn, start) = match self.job {
			Job::Training { units, .. } => (round, unit.saturating_mul(batches) / u64::from(units.max(1))),
			Job::Inference { .. } => (unit, 0),
		};
		(turn.saturating_mul(steps).saturating_add(start).saturating_add(step) % batches) as u32
	}

	/// What the ops of a unit depend on beside their inputs.
	pub fn context(&self, round: u32, unit: u16) -> StepContext {
		StepContext {
			rounding: labora_graph::RoundingKey::of_unit(&self.seed, round, u32::from(unit)),
			rate_drops: self.job.rate_drops(round),
		}
	}

	/// Shape of the stored features.
	pub fn features_shape(&self) -> Shape {
		Shape { rows: self.dataset.rows, cols: self.graph.features }
	}

	/// Shape of the stored labels.
	pub fn labels_shape(&self) -> Shape {
		Shape { rows: self.dataset.rows, cols: 1 }
	}

	/// Most bytes that a unit takes of a worker's memory, on one thread: the dataset, the parameters as they were and as they are, what
	/// the ops of a step yield, and the operands of a product as kernels pack them; or the parameter sets of a round and their mean, if
	/// that is more.
	pub fn unit_memory(&self, program: &Program) -> u64 {
		let data = [self.features_shape(), self.labels_shape()].map(|shape| shape.bytes(ElementType::I8));
		let parameters = self.graph.parameters.iter().map(|shape| shape.bytes(ElementType::I32));
		let parameters = parameters.fold(0, u64::saturating_add);
		let outputs = program.iter().map(|(_, info)| info.shape.bytes(info.element));
		// Packed, an element takes two bytes at most, and as much again for the factors of its noise.
		let packed = |product: labora_graph::Product| 4 * u64::from(product.k) * u64::from(product.m + product.n);
		let packed = program.iter().filter_map(|(_, info)| info.product).map(packed).max();
		let steps = data.into_iter().chain([parameters, parameters]).chain(outputs).chain(packed);
		let merge = parameters.saturating_mul(u64::from(self.job.units()).saturating_add(1));
		steps.fold(0, u64::saturating_add).max(merge)
	}

	/// Multiply-accumulates that a unit's tickets are worth.
	pub fn unit_macs(&self, program: &Program) -> u128 {
		u128::from(program.macs()).saturating_mul(u128::from(self.job.steps()))
	}
}

/// State of a unit of the current round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum UnitState {
	/// Waits for a worker.
	Open,
	/// A worker has it.
	Assigned(AssignmentId),
	/// Its result stands on chain.
	Accepted,
}

/// Where a task is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Phase {
	/// The units of the round are being computed.
	Units,
	/// The round's results are being averaged.
	Merge,
	/// The escrow does not cover the next round: it goes on when funded.
	Unfunded,
	/// Done.
	Completed,
	/// Cancelled by its sponsor; assigned units may still be finished.
	Cancelled,
}

/// What changes about a task.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct TaskInfo {
	/// Who pays, and gets back what is left.
	pub sponsor: AccountId,
	/// Where it is.
	pub phase: Phase,
	/// The current round.
	pub round: u32,
	/// State of each unit of the phase (one in the merge phase).
	pub units: BoundedVec<UnitState, MaxUnits>,
	/// Commitments of the round's master parameters; after completion, of the result.
	pub parameters: BoundedVec<Commitment, MaxParameters>,
	/// Escrow not yet owed for results.
	pub escrow: Balance,
	/// Multiply-accumulates of one unit.
	pub unit_macs: u128,
	/// Multiply-accumulates of all accepted units.
	pub accepted_macs: u128,
	/// Sum of the metrics of the last completed round.
	pub metrics: crate::UnitMetrics,
}
