use std::process::ExitCode;

use labora_cli::{hexes::to_hex, tasks::seal_words};
use labora_primitives::{LastSeal, Usefulness};
use serde_json::{json, Value};

use super::{Context, Outcome};
use crate::output::{count, percent};

pub async fn run(context: &Context) -> Outcome {
	let client = context.connect().await?;
	let best = client.best().await?;
	let at = Some(best.hash);
	let (usefulness, recent) = (client.usefulness(at).await?, client.recent_usefulness(at).await?);
	let (seal, tasks) = (client.last_seal(at).await?, client.task_count(at).await?);
	let miner = client.miner_status().await?;
	let mut text = format!("height      {} ({})\n", best.height, to_hex(best.hash));
	text += &format!("usefulness  {}\n", usefulness_text(&usefulness));
	text += &format!("recently    {}\n", usefulness_text(&recent));
	text += &format!("last seal   {}\n", seal_text(seal.as_ref()));
	text += &format!("tasks       {tasks}\n");
	text += &match &miner {
		None => "miner       this node does not mine\n".into(),
		Some(miner) => miner_text(miner),
	};
	let json = json!({
		"height": best.height,
		"block": to_hex(best.hash),
		"usefulness": usefulness_json(&usefulness),
		"recent_usefulness": usefulness_json(&recent),
		"last_seal": seal_json(seal.as_ref()),
		"tasks": tasks,
		"miner": miner,
	});
	context.output.print(&text, &json);
	Ok(ExitCode::SUCCESS)
}

/// How useful the chain's work was, for people.
pub fn usefulness_text(usefulness: &Usefulness) -> String {
	let ratio = percent(usefulness.ratio_ppm() as f64 / 1e6);
	let Usefulness { accepted, spent, useful_blocks, idle_blocks } = usefulness;
	let (accepted, spent) = (count(*accepted), count(*spent));
	format!("{ratio} ({accepted} of {spent} MACs; {useful_blocks} useful blocks, {idle_blocks} idle)")
}

/// How useful the chain's work was, for programs.
pub fn usefulness_json(usefulness: &Usefulness) -> Value {
	json!({
		"ratio_ppm": usefulness.ratio_ppm(),
		"accepted": usefulness.accepted.to_string(),
		"spent": usefulness.spent.to_string(),
		"useful_blocks": usefulness.useful_blocks,
		"idle_blocks": usefulness.idle_blocks,
	})
}

/// What sealed a block, for people.
pub fn seal_text(seal: Option<&LastSeal>) -> String {
	let words = seal_words(seal);
	match seal {
		None => words,
		Some(LastSeal::Useful { author, .. } | LastSeal::Idle { author, .. }) => format!("{words} by {author}"),
	}
}

/// What sealed a block, for programs.
pub fn seal_json(seal: Option<&LastSeal>) -> Value {
	match seal {
		None => Value::Null,
		Some(LastSeal::Useful { author, task, assignment, op, tile }) => json!({
			"kind": "useful", "author": author.to_string(), "task": task.0, "assignment": assignment.0, "op": op.0,
			"tile": [tile.row, tile.col],
		}),
		Some(LastSeal::Idle { author, nonce, tile }) => json!({
			"kind": "idle", "author": author.to_string(), "nonce": nonce, "tile": [tile.row, tile.col],
		}),
	}
}

/// The node's own words, laid out.
fn miner_text(miner: &Value) -> String {
	let Some(fields) = miner.as_object() else { return format!("miner       {miner}\n") };
	let mut text = "miner\n".to_owned();
	for (name, value) in fields {
		match value.as_array() {
			Some(list) => {
				text += &format!("  {name}: {}\n", if list.is_empty() { "none" } else { "" });
				for item in list {
					text += &format!("    {item}\n");
				}
			}
			None => text += &format!("  {name}: {}\n", value.as_str().map_or_else(|| value.to_string(), Into::into)),
		}
	}
	text
}
