//! Recomputing tasks: whether the chain's commitments are what the data and the recipe give.
//!
//! Nothing is believed but the chain's records ([`Records`]) and the dataset folder: no tensor comes from a node. [`fetch`] reads the
//! records, [`run`] computes every round again with the engine and compares the traces, the parameters and the metrics on the way.

mod compute;
mod records;

use labora_engine::EngineError;
use labora_primitives::{SpecError, TaskId};
use labora_tensor::Commitment;

pub use compute::{run, Initial, Step};
pub use records::{fetch, Records};

use crate::{client::ClientError, dataset::DatasetError, tasks::TaskError};

/// How a replay went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
	/// Everything that the chain says was computed again.
	Agrees {
		/// Rounds (of an inference task: units).
		rounds: u32,
		/// The parameters after the last of these rounds. Empty for an inference task.
		parameters: Vec<Commitment>,
	},
	/// The chain says something else.
	Differs(Difference),
}

/// The first thing that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
	/// The round.
	pub round: u32,
	/// The unit, if it is one unit's result. None: the round's parameters.
	pub unit: Option<u16>,
	/// What differs.
	pub what: What,
}

/// What can differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
	/// The parameters that the task started from.
	InitialParameters,
	/// The trace of a unit: some op's output.
	Trace,
	/// The parameters.
	Parameters,
	/// Loss or correct rows.
	Metrics,
	/// The classes that an inference unit gave.
	Classes,
}

impl std::fmt::Display for Difference {
	fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
		let what = match self.what {
			What::InitialParameters => "the initial parameters are not the recipe's",
			What::Trace => "the trace differs",
			What::Parameters => "the parameters differ",
			What::Metrics => "the metrics differ",
			What::Classes => "the classes differ",
		};
		match self.unit {
			Some(unit) => write!(f, "round {}, unit {unit}: {what}", self.round),
			None => write!(f, "round {}: {what}", self.round),
		}
	}
}

/// Why a task cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
	/// The chain could not be asked.
	#[error(transparent)]
	Client(#[from] ClientError),
	/// The task cannot be shown.
	#[error(transparent)]
	Task(#[from] TaskError),
	/// The dataset cannot be used.
	#[error(transparent)]
	Dataset(#[from] DatasetError),
	/// The engine refused.
	#[error("the engine cannot run the unit: {0}")]
	Engine(#[from] EngineError),
	/// The chain's specification breaks a rule.
	#[error("the task's specification breaks a rule: {0:?}")]
	Spec(SpecError),
	/// The folder holds other data.
	#[error("the dataset folder does not hold the task's features {0}")]
	OtherDataset(Commitment),
	/// It is not known what the parameters were drawn from.
	#[error("the task has no recipe for its initial parameters: give a model file that holds them (--model)")]
	NoRecipe,
	/// The given parameters are not the task's.
	#[error("the given parameters are not the ones that the task starts from")]
	OtherParameters,
	/// There is nothing to compare with yet.
	#[error("task {0} has not completed a round yet")]
	NothingYet(TaskId),
	/// More rounds are asked for than are completed.
	#[error("{wanted} rounds wanted, but {completed} are completed")]
	NotSoFar {
		/// Rounds asked for.
		wanted: u32,
		/// Rounds completed.
		completed: u32,
	},
}
