use std::process::ExitCode;

use anyhow::anyhow;
use labora_cli::{
	client::account_of,
	money,
	workers::{self, WorkerStatus},
};
use labora_primitives::{AccountId, UnitKind};
use serde_json::json;

use super::{unit_words, Context, Outcome};
use crate::args::WorkerCommand;

pub async fn run(context: &Context, command: WorkerCommand) -> Outcome {
	match command {
		WorkerCommand::Register { slots, memory } => {
			let signer = context.signer()?;
			let included = workers::register(&context.connect().await?, &signer, slots, memory).await?;
			context.included(&format!("{} takes {slots} units at a time", account_of(&signer)), &included)
		}
		WorkerCommand::BondMore { amount } => {
			let signer = context.signer()?;
			let client = context.connect().await?;
			let token = client.token().await?;
			let amount = money::parse(&amount, &token)?;
			let included = workers::bond_more(&client, &signer, amount).await?;
			let what = format!("{} bonded {} more", account_of(&signer), money::format(amount, &token));
			context.included(&what, &included)
		}
		WorkerCommand::Withdraw => {
			let signer = context.signer()?;
			let included = workers::withdraw(&context.connect().await?, &signer).await?;
			context.included(&format!("{} has its bond back", account_of(&signer)), &included)
		}
		WorkerCommand::Leave => {
			let signer = context.signer()?;
			let included = workers::leave(&context.connect().await?, &signer).await?;
			context.included(&format!("{} takes no more units", account_of(&signer)), &included)
		}
		WorkerCommand::Status { account } => {
			let account = match account {
				Some(text) => text.parse::<AccountId>().map_err(|error| anyhow!("`{text}` is no account: {error}"))?,
				None => account_of(&context.signer()?),
			};
			status(context, account).await
		}
	}
}

async fn status(context: &Context, account: AccountId) -> Outcome {
	let client = context.connect().await?;
	let (status, token) = (workers::status(&client, account).await?, client.token().await?);
	let WorkerStatus { account, worker, assignments } = status;
	let assigned: Vec<_> = assignments
		.iter()
		.map(|assignment| {
			let unit = match assignment.unit.kind {
				UnitKind::Steps(unit) => Some(unit),
				UnitKind::Merge => None,
			};
			json!({
				"id": assignment.id.0, "task": assignment.unit.task.0, "round": assignment.unit.round, "unit": unit,
				"assigned": assignment.assigned, "deadline": assignment.deadline,
			})
		})
		.collect();
	let Some(worker) = worker else {
		let text = format!("{account} is no worker");
		context.output.print(&text, &json!({ "account": account.to_string(), "worker": null }));
		return Ok(ExitCode::SUCCESS);
	};
	let mut text = format!(
		"{account}\n  slots     {} ({} busy), {} MiB per unit\n  bond      {}, {} of it at stake\n  accepted  {} results, {} deadlines missed since the last\n",
		worker.slots,
		worker.busy,
		worker.memory,
		money::format(worker.bond, &token),
		money::format(worker.staked, &token),
		worker.accepted,
		worker.missed,
	);
	if let Some(since) = worker.leaving {
		text += &format!("  leaving since block {since}: takes no more units\n");
	}
	if worker.chilled_until > 0 {
		text += &format!("  no units before block {}\n", worker.chilled_until);
	}
	for assignment in &assignments {
		let unit = unit_words(assignment.unit.kind);
		let (task, round) = (assignment.unit.task, assignment.unit.round);
		text += &format!("  task {task}, round {round}, {unit}: due by block {}\n", assignment.deadline);
	}
	let json = json!({
		"account": account.to_string(),
		"worker": {
			"slots": worker.slots, "busy": worker.busy, "memory": worker.memory, "bond": worker.bond.to_string(),
			"staked": worker.staked.to_string(),
			"missed": worker.missed, "chilled_until": worker.chilled_until, "leaving": worker.leaving,
			"accepted": worker.accepted,
		},
		"assignments": assigned,
	});
	context.output.print(&text, &json);
	Ok(ExitCode::SUCCESS)
}
