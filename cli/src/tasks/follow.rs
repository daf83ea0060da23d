//! Where tasks are.

use labora_primitives::{Job, LastSeal, Phase, TaskId, TaskInfo, TaskSpec, UnitMetrics, UnitState, Usefulness};

use super::TaskError;
use crate::client::{ChainHead, Client};

/// A task in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
	/// Its number.
	pub task: TaskId,
	/// What was registered.
	pub spec: TaskSpec,
	/// Where it is.
	pub info: TaskInfo,
}

/// Where a task is, and the chain with it, all as of one block.
#[derive(Clone, PartialEq, Debug)]
pub struct Progress {
	/// The block.
	pub best: ChainHead,
	/// Where the task is.
	pub info: TaskInfo,
	/// What sealed the block.
	pub seal: Option<LastSeal>,
	/// How useful the chain's work was so far.
	pub usefulness: Usefulness,
}

/// All tasks, in order.
pub async fn list(client: &Client) -> Result<Vec<Summary>, TaskError> {
	let at = Some(client.best().await?.hash);
	let mut tasks = Vec::new();
	for task in (0..client.task_count(at).await?).map(TaskId) {
		let (spec, info) = (client.task_spec(at, task).await?, client.task_info(at, task).await?);
		tasks.extend(spec.zip(info).map(|(spec, info)| Summary { task, spec, info }));
	}
	Ok(tasks)
}

/// One task.
pub async fn show(client: &Client, task: TaskId) -> Result<Summary, TaskError> {
	let at = Some(client.best().await?.hash);
	let (spec, info) = (client.task_spec(at, task).await?, client.task_info(at, task).await?);
	let (spec, info) = spec.zip(info).ok_or(TaskError::NoSuchTask(task))?;
	Ok(Summary { task, spec, info })
}

impl Progress {
	/// Asks at the best block.
	pub async fn of(client: &Client, task: TaskId) -> Result<Self, TaskError> {
		let best = client.best().await?;
		let at = Some(best.hash);
		let info = client.task_info(at, task).await?.ok_or(TaskError::NoSuchTask(task))?;
		Ok(Self { best, info, seal: client.last_seal(at).await?, usefulness: client.usefulness(at).await? })
	}

	/// Whether nothing more will happen.
	pub fn ended(&self) -> bool {
		matches!(self.info.phase, Phase::Completed | Phase::Cancelled)
	}

	/// Where the task is and what the chain does, in one line.
	pub fn line(&self, job: &Job) -> String {
		let info = &self.info;
		let phase = match info.phase {
			Phase::Units => "computing",
			Phase::Merge => "merging",
			Phase::Unfunded => "waits for funds (labora task fund)",
			Phase::Completed => "completed",
			Phase::Cancelled => "cancelled",
		};
		let metrics = averages(&info.metrics).map(|(loss, accuracy)| {
			let right = accuracy * 100.0;
			format!(", {loss:.3} bits, {right:.2} % right")
		});
		let (round, rounds, height) = ((info.round + 1).min(job.rounds()), job.rounds(), self.best.height);
		let (seal, useful) = (seal_words(self.seal.as_ref()), self.usefulness.ratio_ppm() as f64 / 1e4);
		format!(
			"round {round}/{rounds} {phase}{} | block {height}, seal: {seal} | useful {useful:.2} %",
			metrics.unwrap_or_default()
		)
	}

	/// Accepted units of the whole task, and how many there are. Merging a round counts as a unit.
	pub fn units(&self, job: &Job) -> (u64, u64) {
		let units = u64::from(job.units());
		let merges = u64::from(matches!(job, Job::Training { units: 2.., .. }));
		let (a_round, rounds) = (units + merges, u64::from(job.rounds()));
		let total = a_round * rounds;
		if self.info.phase == Phase::Completed {
			return (total, total);
		}
		let accepted = self.info.units.iter().filter(|state| **state == UnitState::Accepted).count() as u64;
		let in_round = if self.info.phase == Phase::Merge { units + accepted } else { accepted };
		((u64::from(self.info.round) * a_round + in_round).min(total), total)
	}
}

/// What sealed a block, in words.
pub fn seal_words(seal: Option<&LastSeal>) -> String {
	match seal {
		None => "none".into(),
		Some(LastSeal::Useful { task, op, tile, .. }) => {
			format!("task {task} op {} tile {},{}", op.0, tile.row, tile.col)
		}
		Some(LastSeal::Idle { .. }) => "idle work".into(),
	}
}

/// Mean cross-entropy in bits, and the share of correct rows. None before there is any.
pub fn averages(metrics: &UnitMetrics) -> Option<(f64, f64)> {
	let rows = metrics.rows as f64;
	(metrics.rows > 0).then(|| (metrics.loss as f64 / 256.0 / rows, metrics.correct as f64 / rows))
}
