use labora_primitives::{Job, ResultRecord, TaskId, TaskSpec};
use labora_tensor::Commitment;

use super::ReplayError;
use crate::{
	client::Client,
	tasks::{self, TaskError},
};

/// What the chain says of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Records {
	/// Its number.
	pub task: TaskId,
	/// What was registered.
	pub spec: TaskSpec,
	/// The parameters that each round starts from, up to the round that is not completed: one set more than rounds completed.
	pub parameters: Vec<Vec<Commitment>>,
	/// The accepted results, by round and unit. None where a result is not there yet.
	pub results: Vec<Vec<Option<ResultRecord>>>,
	/// Inference: the classes by unit.
	pub classes: Vec<Option<Vec<u8>>>,
	/// The training task whose result an inference task's parameters are.
	pub trained_by: Option<Box<Records>>,
}

impl Records {
	/// Completed rounds.
	pub fn completed(&self) -> u32 {
		self.parameters.len().saturating_sub(1) as u32
	}
}

/// Reads what the chain says of a task, as of the best block. For an inference task without given parameters, also what it says of the
/// training task that ended with them.
pub async fn fetch(client: &Client, task: TaskId, find_training: bool) -> Result<Records, ReplayError> {
	let spec = tasks::spec(client, task).await?;
	let mut records = of(client, task, spec).await?;
	if find_training && matches!(records.spec.job, Job::Inference { .. }) {
		let wanted = &records.spec.parameters[..];
		for other in (0..client.task_count(None).await?).map(TaskId) {
			// Whatever is no completed training task is not it.
			let (spec, parameters) = match tasks::result(client, other).await {
				Ok(result) => result,
				Err(TaskError::WrongKind { .. } | TaskError::NotCompleted(_) | TaskError::NoSuchTask(_)) => continue,
				Err(error) => return Err(error.into()),
			};
			if parameters == wanted {
				records.trained_by = Some(Box::new(of(client, other, spec).await?));
				break;
			}
		}
	}
	Ok(records)
}

async fn of(client: &Client, task: TaskId, spec: TaskSpec) -> Result<Records, ReplayError> {
	let at = Some(client.best().await?.hash);
	let (mut parameters, mut results, mut classes) = (Vec::new(), Vec::new(), Vec::new());
	let units = spec.job.units();
	let inference = matches!(spec.job, Job::Inference { .. });
	for round in 0..=spec.job.rounds() {
		let Some(set) = client.round_parameters(at, task, round).await? else { break };
		parameters.push(set);
	}
	let rounds = if inference { 1 } else { parameters.len().saturating_sub(1) as u32 };
	for round in 0..rounds {
		let mut of_round = Vec::new();
		for unit in 0..units {
			of_round.push(client.unit_result(at, task, round, unit).await?);
		}
		results.push(of_round);
	}
	if inference {
		for unit in 0..units {
			classes.push(client.task_output(at, task, unit).await?);
		}
	}
	Ok(Records { task, spec, parameters, results, classes, trained_by: None })
}
