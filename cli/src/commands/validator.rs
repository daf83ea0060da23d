use std::process::ExitCode;

use labora_cli::{client::account_of, money, validators};
use serde_json::json;

use super::{Context, Outcome};
use crate::args::ValidatorCommand;

pub async fn run(context: &Context, command: ValidatorCommand) -> Outcome {
	let signer = context.signer()?;
	let account = account_of(&signer);
	let client = context.connect().await?;
	match command {
		ValidatorCommand::Join { bond } => {
			let token = client.token().await?;
			let bond = money::parse(&bond, &token)?;
			validators::set_keys(&client, &signer).await?;
			let included = validators::join(&client, &signer, bond).await?;
			let bond = money::format(bond, &token);
			context.included(&format!("{account} bonded {bond} to be a validator, with keys of this node"), &included)
		}
		ValidatorCommand::Keys => {
			let included = validators::set_keys(&client, &signer).await?;
			context.included(
				&format!("{account} votes with new keys of this node, from the session after the next"),
				&included,
			)
		}
		ValidatorCommand::BondMore { amount } => {
			let token = client.token().await?;
			let amount = money::parse(&amount, &token)?;
			let included = validators::bond_more(&client, &signer, amount).await?;
			context.included(&format!("{account} bonded {} more", money::format(amount, &token)), &included)
		}
		ValidatorCommand::Leave => {
			let included = validators::leave(&client, &signer).await?;
			context.included(&format!("{account} is elected no more"), &included)
		}
		ValidatorCommand::Withdraw => {
			let included = validators::withdraw(&client, &signer).await?;
			context.included(&format!("{account} has its bond back"), &included)
		}
	}
}

/// Shows all of them.
pub async fn list(context: &Context) -> Outcome {
	let client = context.connect().await?;
	let (all, token) = (validators::all(&client).await?, client.token().await?);
	let mut text = String::new();
	let mut entries = Vec::new();
	for info in &all {
		let state = match (info.validates, info.elected, info.candidate.leaving) {
			(true, true, _) => "votes",
			(true, false, _) => "votes, not in the next session",
			(false, true, _) => "votes from the next session on",
			(false, false, Some(_)) => "leaving",
			(false, false, None) if !info.has_keys => "has no session keys",
			(false, false, None) => "waits",
		};
		let (bond, score) = (money::format(info.candidate.bond, &token), money::format(info.score, &token));
		text += &format!("{}  bond {bond}, score {score}: {state}", info.account);
		if let Some(from) = info.candidate.leaving {
			text += &format!("; bond back from session {from} on");
		}
		text.push('\n');
		entries.push(json!({
			"account": info.account.to_string(), "bond": info.candidate.bond.to_string(), "score": info.score.to_string(),
			"has_keys": info.has_keys, "validates": info.validates, "elected": info.elected,
			"leaving": info.candidate.leaving,
		}));
	}
	if all.is_empty() {
		text = "no validators".into();
	}
	context.output.print(text.trim_end(), &json!(entries));
	Ok(ExitCode::SUCCESS)
}
