//! Tasks: registering, funding, cancelling and following them.

mod build;
mod follow;

use labora_primitives::{AccountId, Balance, SpecError, TaskId, TaskSpec};
use labora_tensor::Commitment;
use subxt_signer::sr25519::Keypair;

pub use build::{default_rate_drops, inference_spec, training_spec, Draft, InferenceOptions, Terms, TrainingOptions};
pub use follow::{averages, list, seal_words, show, Progress, Summary};

use crate::{
	client::{Call, Client, ClientError, Included},
	dataset::DatasetError,
	models::ModelError,
};

/// Why a task could not be made, changed or shown.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
	/// The chain could not be asked, or refused.
	#[error(transparent)]
	Client(#[from] ClientError),
	/// The dataset cannot be used.
	#[error(transparent)]
	Dataset(#[from] DatasetError),
	/// The model cannot be built.
	#[error(transparent)]
	Model(#[from] ModelError),
	/// The chain would refuse the task.
	#[error("the chain would refuse the task ({error:?}): {}", explain(.error))]
	Spec {
		/// Its reason.
		error: SpecError,
	},
	/// A list is longer than the chain allows.
	#[error("too many {0}")]
	TooMany(&'static str),
	/// The rows cannot be cut into whole units.
	#[error("{batches} batches cannot be cut into {units} units of at most {most} steps")]
	Indivisible {
		/// Batches of the data.
		batches: u32,
		/// Units asked for.
		units: u32,
		/// Most steps of a unit.
		most: u32,
	},
	/// There is no such task.
	#[error("there is no task {0}")]
	NoSuchTask(TaskId),
	/// The task has no result yet.
	#[error("task {0} is not completed: it has no result yet")]
	NotCompleted(TaskId),
	/// The task is of the other kind.
	#[error("task {task} is no {expected} task")]
	WrongKind {
		/// The task.
		task: TaskId,
		/// What it should be.
		expected: &'static str,
	},
}

/// What a sponsor must change.
fn explain(error: &SpecError) -> &'static str {
	match error {
		SpecError::Graph(_) => "the graph breaks a rule",
		SpecError::WrongJob => "a training job needs a graph that updates its parameters, an inference job one that does not",
		SpecError::BadJob => {
			"rounds (to 4096), units (to 64) and steps (training to 4096, inference to 32 and 8192 rows) must be above zero, and inference must cover the dataset exactly"
		}
		SpecError::BadRateDrops => "rate drops must ascend and be rounds of the task",
		SpecError::BadDataset => "the rows must be a multiple of the batch: import the dataset with the same --batch",
		SpecError::BadParameters => "there must be one commitment and one range per parameter",
	}
}

/// A task in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
	/// Its number.
	pub task: TaskId,
	/// What was set aside.
	pub escrow: Balance,
	/// Where it was registered.
	pub included: Included,
}

/// Gives a draft's tensors to the node, those that it does not hold, and registers the task. `progress` is called with the bytes that the
/// node has, of all the draft's tensors.
pub async fn register(
	client: &Client,
	signer: &Keypair,
	draft: &Draft,
	mut progress: impl FnMut(u64),
) -> Result<Registered, TaskError> {
	draft.spec.check().map_err(|error| TaskError::Spec { error })?;
	let mut before = 0;
	for (commitment, tensor) in &draft.tensors {
		client.upload(commitment, tensor.bytes(), |done| progress(before + done)).await?;
		before += tensor.bytes().len() as u64;
	}
	// The tensors are first: a worker may be given a unit in the very block that registers the task.
	let call = Call::new("Tasks", "register", (&draft.spec, draft.escrow));
	let included = client.submit(signer, &call).await?;
	let (task, _, escrow): (TaskId, AccountId, Balance) = included.event("Tasks", "TaskRegistered")?;
	Ok(Registered { task, escrow, included })
}

/// Raises a task's escrow.
pub async fn fund(client: &Client, signer: &Keypair, task: TaskId, amount: Balance) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Tasks", "fund", (task, amount))).await
}

/// Cancels a task. Units that workers have may still be finished and paid; the rest of the escrow returns.
pub async fn cancel(client: &Client, signer: &Keypair, task: TaskId) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Tasks", "cancel", (task,))).await
}

/// A task as registered.
pub async fn spec(client: &Client, task: TaskId) -> Result<TaskSpec, TaskError> {
	client.task_spec(None, task).await?.ok_or(TaskError::NoSuchTask(task))
}

/// Commitments of the parameters that a completed training task ended with.
pub async fn result(client: &Client, task: TaskId) -> Result<(TaskSpec, Vec<Commitment>), TaskError> {
	let spec = spec(client, task).await?;
	if !matches!(spec.job, labora_primitives::Job::Training { .. }) {
		return Err(TaskError::WrongKind { task, expected: "training" });
	}
	let parameters = client.round_parameters(None, task, spec.job.rounds()).await?;
	Ok((spec, parameters.ok_or(TaskError::NotCompleted(task))?))
}
