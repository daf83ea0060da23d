use std::{process::ExitCode, time::Duration};

use indicatif::ProgressBar;
use labora_cli::{
	client::{Client, ClientError},
	hexes::to_hex,
	tasks::{self, averages, Progress, TaskError},
};
use labora_primitives::{Job, Phase, TaskId};
use serde_json::{json, Value};

use super::{
	status::{seal_json, usefulness_json},
	Context, Outcome,
};
use crate::output::percent;

/// How often the chain is asked.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a lost node is looked for.
const RETRY: Duration = Duration::from_secs(2);
/// How often in a row.
const RETRIES: u32 = 30;
/// Exit code where the task was cancelled.
const CANCELLED: u8 = 2;
/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

pub async fn run(context: &Context, task: TaskId) -> Outcome {
	let client = context.connect().await?;
	let job = tasks::spec(&client, task).await?.job;
	let template = "{wide_msg}\n[{bar:40}] {pos}/{len} units, {elapsed}";
	let bar = context.output.styled(0, "", template);
	let watch = follow(context, client, task, &job, &bar);
	let ended = tokio::select! {
		ended = watch => ended?,
		_ = tokio::signal::ctrl_c() => {
			bar.finish_and_clear();
			context.output.note(&format!(
				"The task goes on without you. Continue with `{}`.", context.command(&format!("task watch {task}"))
			));
			return Ok(ExitCode::from(INTERRUPTED));
		}
	};
	bar.finish_and_clear();
	let accuracy = averages(&ended.info.metrics);
	let text = match (ended.info.phase, accuracy) {
		(Phase::Completed, Some((loss, accuracy))) => format!(
			"task {task} is completed: {loss:.4} bits per example, {} right in the last round",
			percent(accuracy)
		),
		(Phase::Completed, None) => format!("task {task} is completed"),
		_ => format!("task {task} was cancelled"),
	};
	context.output.print(&text, &progress_json(&ended, &job));
	Ok(if ended.info.phase == Phase::Completed { ExitCode::SUCCESS } else { ExitCode::from(CANCELLED) })
}

/// Shows every block until the task has ended.
async fn follow(
	context: &Context,
	mut client: Client,
	task: TaskId,
	job: &Job,
	bar: &ProgressBar,
) -> anyhow::Result<Progress> {
	let (mut seen, mut round) = (None, None);
	loop {
		let progress = match Progress::of(&client, task).await {
			Ok(progress) => progress,
			Err(TaskError::Client(error)) if error.is_connection() => {
				client = reconnect(context, bar, error).await?;
				continue;
			}
			Err(error) => return Err(error.into()),
		};
		if seen != Some(progress.best.hash) {
			seen = Some(progress.best.hash);
			let (done, total) = progress.units(job);
			bar.set_length(total);
			bar.set_position(done);
			bar.set_message(progress.line(job));
			if round.replace(progress.info.round).is_some_and(|before| before < progress.info.round) {
				if let Some((loss, accuracy)) = averages(&progress.info.metrics) {
					let (round, height) = (progress.info.round, progress.best.height);
					let text = format!("round {round}: {loss:.4} bits, {} right (block {height})", percent(accuracy));
					bar.suspend(|| context.output.note(&text));
				}
			}
			if progress.ended() {
				return Ok(progress);
			}
			if context.output.is_json() {
				println!("{}", progress_json(&progress, job));
			}
		}
		tokio::time::sleep(INTERVAL).await;
	}
}

/// Waits for a node that went away: it may only be restarting.
async fn reconnect(context: &Context, bar: &ProgressBar, error: ClientError) -> anyhow::Result<Client> {
	bar.suspend(|| context.output.note(&format!("{error}; waiting for it")));
	let mut last = error;
	for _ in 0..RETRIES {
		tokio::time::sleep(RETRY).await;
		match context.connect().await {
			Ok(client) => return Ok(client),
			Err(error) => last = error,
		}
	}
	Err(last.into())
}

/// Where a task is, for programs.
pub fn progress_json(progress: &Progress, job: &Job) -> Value {
	let (done, total) = progress.units(job);
	let averages = averages(&progress.info.metrics);
	json!({
		"height": progress.best.height,
		"block": to_hex(progress.best.hash),
		"phase": format!("{:?}", progress.info.phase).to_lowercase(),
		"round": progress.info.round,
		"rounds": job.rounds(),
		"units_done": done,
		"units": total,
		"loss_bits": averages.map(|(loss, _)| loss),
		"accuracy": averages.map(|(_, accuracy)| accuracy),
		"last_seal": seal_json(progress.seal.as_ref()),
		"usefulness": usefulness_json(&progress.usefulness),
	})
}
