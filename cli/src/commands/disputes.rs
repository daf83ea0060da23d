use std::process::ExitCode;

use anyhow::anyhow;
use labora_cli::{client::Token, money};
use labora_primitives::{AccountId, Claim, Demand, Dispute};
use serde_json::{json, Value};

use super::{unit_words, Context, Outcome};

/// Shows what is to be shown of results.
pub async fn run(context: &Context, worker: Option<String>) -> Outcome {
	let worker =
		worker.map(|text| text.parse::<AccountId>().map_err(|error| anyhow!("`{text}` is no account: {error}")));
	let worker = worker.transpose()?;
	let client = context.connect().await?;
	let (best, token) = (client.best().await?, client.token().await?);
	let disputes = client.disputes(Some(best.hash), worker).await?;
	let mut text = String::new();
	for Dispute { assignment, result, demands } in &disputes {
		let unit = unit_words(result.unit.kind);
		let (task, round) = (result.unit.task, result.unit.round);
		text += &format!("assignment {assignment}: task {task}, round {round}, {unit} by {}\n", result.worker);
		for demand in demands {
			text += &format!("  {} by block {}{}\n", claim_text(&demand.claim), demand.due, by_text(demand, &token));
		}
	}
	if disputes.is_empty() {
		text = format!("nothing is to be shown at block {}\n", best.height);
	}
	let json: Vec<Value> = disputes
		.iter()
		.map(|dispute| {
			json!({
				"assignment": dispute.assignment.0,
				"task": dispute.result.unit.task.0,
				"round": dispute.result.unit.round,
				"worker": dispute.result.worker.to_string(),
				"stake": dispute.result.stake.to_string(),
				"demands": dispute.demands.iter().map(demand_json).collect::<Vec<_>>(),
			})
		})
		.collect();
	context.output.print(&text, &json!({ "height": best.height, "disputes": json }));
	Ok(ExitCode::SUCCESS)
}

fn claim_text(claim: &Claim) -> String {
	match claim {
		Claim::Block { op, block } => format!("op {}, block {},{}", op.0, block.row, block.col),
		Claim::Merged { parameter, block } => format!("parameter {parameter}, block {},{}", block.row, block.col),
		Claim::Metrics { step } => format!("metrics of step {step}"),
		Claim::TraceNodes { granule, first, count } => format!("trace, {count} nodes of {granule} from {first}"),
		Claim::Trace { first, count } => format!("trace, {count} chunks from {first}"),
		Claim::Nodes { op, granule, first, count } => {
			format!("op {}, {count} nodes of {granule} from {first}", op.0)
		}
	}
}

fn by_text(demand: &Demand, token: &Token) -> String {
	let proven = if demand.proven { "; shown to be wrong" } else { "" };
	match &demand.by {
		None => format!(" (audit){proven}"),
		Some((challenger, bond)) => format!(" (challenged by {challenger}, {}){proven}", money::format(*bond, token)),
	}
}

fn demand_json(demand: &Demand) -> Value {
	let (challenger, bond) = demand.by.clone().map_or((Value::Null, Value::Null), |(challenger, bond)| {
		(challenger.to_string().into(), bond.to_string().into())
	});
	json!({
		"claim": format!("{:?}", demand.claim), "due": demand.due, "proven": demand.proven,
		"challenger": challenger, "bond": bond,
	})
}
