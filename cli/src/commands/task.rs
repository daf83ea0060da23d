use std::{process::ExitCode, sync::Arc};

use anyhow::{bail, Context as _};
use labora_cli::{
	client::{Client, Token},
	dataset::Folder,
	hexes::to_hex,
	model_file::{graph_json, Model},
	models::MlpRecipe,
	money,
	replay::{self, Initial, Verdict},
	tasks::{self, averages, Draft, InferenceOptions, Summary, Terms, TrainingOptions},
};
use labora_primitives::{Balance, BlockNumber, Job, Phase, TaskId, UnitState};
use labora_tensor::Commitment;
use serde_json::{json, Value};

use super::{threads, watch, where_json, Context, Outcome};
use crate::{
	args::{Register, Replay, TaskCommand},
	output::{count, percent, size, table},
};

/// Price of a unit in tokens, if none is given.
const DEFAULT_PRICE: &str = "1";
/// Blocks that a worker has for a unit, if not given.
const DEFAULT_DEADLINE: BlockNumber = 200;

pub async fn run(context: &Context, command: TaskCommand) -> Outcome {
	match command {
		TaskCommand::Register(register) => self::register(context, &register).await,
		TaskCommand::List => list(context).await,
		TaskCommand::Show { task } => show(context, TaskId(task)).await,
		TaskCommand::Watch { task } => watch::run(context, TaskId(task)).await,
		TaskCommand::Cancel { task } => {
			let signer = context.signer()?;
			let included = tasks::cancel(&context.connect().await?, &signer, TaskId(task)).await?;
			context.included(&format!("task {task} is cancelled"), &included)
		}
		TaskCommand::Fund { task, amount } => {
			let signer = context.signer()?;
			let client = context.connect().await?;
			let token = client.token().await?;
			let amount = money::parse(&amount, &token)?;
			let included = tasks::fund(&client, &signer, TaskId(task), amount).await?;
			context.included(&format!("task {task} has {} more", money::format(amount, &token)), &included)
		}
		TaskCommand::Replay(replay) => self::replay(context, &replay).await,
	}
}

/// What is offered: as given, or within what the chain allows.
async fn terms(client: &Client, register: &Register, token: &Token) -> anyhow::Result<Terms> {
	let least: Balance = client.constant("Tasks", "MinPrice").await?;
	let (shortest, longest): (BlockNumber, BlockNumber) = client.constant("Tasks", "DeadlineRange").await?;
	let price = match &register.price {
		Some(price) => money::parse(price, token)?,
		None => money::parse(DEFAULT_PRICE, token)?.max(least),
	};
	let deadline = register.deadline.unwrap_or_else(|| DEFAULT_DEADLINE.clamp(shortest, longest.max(shortest)));
	let escrow = register.escrow.as_ref().map(|escrow| money::parse(escrow, token)).transpose()?;
	Ok(Terms { price, deadline, escrow })
}

fn training(register: &Register, folder: &Folder, terms: Terms) -> Result<Draft, tasks::TaskError> {
	let manifest = &folder.manifest;
	let by_rule = MlpRecipe::for_widths(manifest.features, &register.layers, manifest.classes);
	let given = &register.recipe;
	let recipe = MlpRecipe {
		ranges: given.ranges.clone().unwrap_or(by_rule.ranges),
		forward: given.forward_shifts.clone().unwrap_or(by_rule.forward),
		backward: given.backward_shifts.clone().unwrap_or(by_rule.backward),
		rate: given.rate.unwrap_or(by_rule.rate),
		quantize: by_rule.quantize,
	};
	let options = TrainingOptions {
		layers: register.layers.clone(),
		recipe: Some(recipe),
		batch: register.batch,
		units: register.units.unwrap_or(4),
		steps: register.steps,
		rounds: register.rounds,
		rate_drops: register.rate_drops.clone().unwrap_or_else(|| tasks::default_rate_drops(register.rounds)),
		seed: register.seed,
		terms,
	};
	tasks::training_spec(folder, &options)
}

/// An inference task's draft, with the parameters that a model file brings along.
async fn inference(client: &Client, register: &Register, folder: &Folder, terms: Terms) -> anyhow::Result<Draft> {
	let options = InferenceOptions { batch: register.batch, units: register.units, seed: register.seed, terms };
	if let Some(task) = register.parameters_of {
		let (spec, commitments) = tasks::result(client, TaskId(task)).await?;
		return Ok(tasks::inference_spec(folder, &spec.graph, &commitments, &options)?);
	}
	let Some(file) = &register.model else { bail!("--inference needs --parameters-of TASK or --model FILE") };
	let model = Model::load(file)?;
	let mut draft = tasks::inference_spec(folder, &model.graph, &model.commitments(), &options)?;
	draft.tensors.extend(model.parameters.into_iter().map(|tensor| (tensor.commitment(), tensor)));
	Ok(draft)
}

async fn register(context: &Context, register: &Register) -> Outcome {
	let signer = context.signer()?;
	let folder = Folder::open(&register.dataset)?;
	let client = context.connect().await?;
	let token = client.token().await?;
	let terms = terms(&client, register, &token).await?;
	let draft = if register.inference {
		inference(&client, register, &folder, terms).await?
	} else {
		training(register, &folder, terms)?
	};
	let bytes = draft.bytes();
	let bar = context.output.bytes_bar(bytes, "uploading tensors");
	let registered = tasks::register(&client, &signer, &draft, |done| {
		bar.set_position(done);
		if done == bytes {
			bar.finish_and_clear();
			context.output.note(&format!("the node has the tensors ({}, {})", draft.tensors.len(), size(bytes)));
		}
	});
	let registered = registered.await;
	bar.finish_and_clear();
	let registered = registered?;
	let task = registered.task;
	let text = format!(
		"task {task} is registered (block {}), with {} set aside\nfollow it with `{}`",
		registered.included.height,
		money::format(registered.escrow, &token),
		context.command(&format!("task watch {task}")),
	);
	let json = json!({
		"task": task.0,
		"escrow": registered.escrow.to_string(),
		"included": where_json(&registered.included),
		"features": draft.spec.dataset.features.to_string(),
		"parameters": hexes(&draft.spec.parameters),
	});
	context.output.print(&text, &json);
	Ok(ExitCode::SUCCESS)
}

fn hexes(commitments: &[Commitment]) -> Vec<String> {
	commitments.iter().map(ToString::to_string).collect()
}

fn kind(job: &Job) -> &'static str {
	match job {
		Job::Training { .. } => "training",
		Job::Inference { .. } => "inference",
	}
}

/// Completed rounds; an inference task has one, which the chain does not count.
fn rounds_done(summary: &Summary) -> u32 {
	match summary.info.phase {
		Phase::Completed => summary.spec.job.rounds(),
		_ => summary.info.round.min(summary.spec.job.rounds()),
	}
}

fn phase(phase: Phase) -> String {
	format!("{phase:?}").to_lowercase()
}

async fn list(context: &Context) -> Outcome {
	let client = context.connect().await?;
	let (tasks, token) = (tasks::list(&client).await?, client.token().await?);
	if tasks.is_empty() {
		context.output.print("no tasks yet: register one with `labora task register`", &json!([]));
		return Ok(ExitCode::SUCCESS);
	}
	let mut rows = vec![["task", "kind", "phase", "round", "right", "price", "escrow"].map(String::from).to_vec()];
	for summary in &tasks {
		let Summary { task, spec, info } = summary;
		let accuracy = averages(&info.metrics).map_or_else(|| "-".into(), |(_, accuracy)| percent(accuracy));
		rows.push(vec![
			task.to_string(),
			kind(&spec.job).into(),
			phase(info.phase),
			format!("{}/{}", rounds_done(summary), spec.job.rounds()),
			accuracy,
			money::format(spec.price, &token),
			money::format(info.escrow, &token),
		]);
	}
	context.output.print(&table(&rows), &tasks.iter().map(summary_json).collect());
	Ok(ExitCode::SUCCESS)
}

fn summary_json(summary: &Summary) -> Value {
	let Summary { task, spec, info } = summary;
	let averages = averages(&info.metrics);
	let units = |state: &UnitState| match state {
		UnitState::Open => json!("open"),
		UnitState::Assigned(assignment) => json!({ "assigned": assignment.0 }),
		UnitState::Accepted => json!("accepted"),
	};
	json!({
		"task": task.0,
		"kind": kind(&spec.job),
		"sponsor": info.sponsor.to_string(),
		"phase": phase(info.phase),
		"round": info.round,
		"rounds": spec.job.rounds(),
		"units": spec.job.units(),
		"steps": spec.job.steps(),
		"batch": spec.graph.batch,
		"unit_states": info.units.iter().map(units).collect::<Vec<_>>(),
		"price": spec.price.to_string(),
		"deadline": spec.deadline,
		"escrow": info.escrow.to_string(),
		"unit_macs": info.unit_macs.to_string(),
		"accepted_macs": info.accepted_macs.to_string(),
		"loss_bits": averages.map(|(loss, _)| loss),
		"accuracy": averages.map(|(_, accuracy)| accuracy),
		"features": spec.dataset.features.to_string(),
		"labels": spec.dataset.labels.map(|labels| labels.to_string()),
		"examples": spec.dataset.examples,
		"parameters": hexes(&info.parameters),
	})
}

async fn show(context: &Context, task: TaskId) -> Outcome {
	let client = context.connect().await?;
	let (summary, token) = (tasks::show(&client, task).await?, client.token().await?);
	let Summary { spec, info, .. } = &summary;
	let states = |wanted: fn(&UnitState) -> bool| info.units.iter().filter(|state| wanted(state)).count();
	let mut rows = vec![
		["kind".to_owned(), kind(&spec.job).to_owned()],
		["phase".into(), phase(info.phase)],
		["sponsor".into(), info.sponsor.to_string()],
		["round".into(), format!("{} of {}", rounds_done(&summary), spec.job.rounds())],
		[
			"units".into(),
			format!(
				"{} of {} steps of {} rows each; now {} open, {} assigned, {} accepted",
				spec.job.units(),
				spec.job.steps(),
				spec.graph.batch,
				states(|state| *state == UnitState::Open),
				states(|state| matches!(state, UnitState::Assigned(_))),
				states(|state| *state == UnitState::Accepted),
			),
		],
		["work".into(), format!("{} MACs a unit, {} accepted", count(info.unit_macs), count(info.accepted_macs))],
		["price".into(), format!("{} a unit, {} blocks", money::format(spec.price, &token), spec.deadline)],
		["escrow".into(), money::format(info.escrow, &token)],
		["data".into(), format!("{} examples of {} features", spec.dataset.examples, spec.graph.features)],
	];
	if let Some((loss, accuracy)) = averages(&info.metrics) {
		rows.push(["last round".into(), format!("{loss:.4} bits per example, {} right", percent(accuracy))]);
	}
	for (commitment, shape) in info.parameters.iter().zip(&spec.graph.parameters) {
		rows.push(["parameter".into(), format!("{} x {}  {commitment}", shape.rows, shape.cols)]);
	}
	let mut json = summary_json(&summary);
	json["graph"] = graph_json(&spec.graph);
	json["recipe"] = spec
		.recipe
		.as_ref()
		.map_or(Value::Null, |recipe| json!({ "seed": to_hex(recipe.seed), "ranges": recipe.ranges.to_vec() }));
	let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
	context.output.print(&table(&rows), &json);
	Ok(ExitCode::SUCCESS)
}

async fn replay(context: &Context, replay: &Replay) -> Outcome {
	let task = TaskId(replay.task);
	let rounds = match replay.rounds.as_str() {
		"last" => None,
		number => Some(number.parse::<u32>().with_context(|| format!("`{number}` is neither `last` nor a number"))?),
	};
	let folder = Folder::open(&replay.dataset)?;
	let given = replay.model.as_ref().map(|file| Model::load(file)).transpose()?;
	let given: Option<Initial> = given.map(|model| model.parameters.into_iter().map(Arc::new).collect());
	let client = context.connect().await?;
	let records = replay::fetch(&client, task, given.is_none()).await?;
	if let Some(training) = &records.trained_by {
		context
			.output
			.note(&format!("its parameters are the result of task {}: that one is replayed first", training.task));
	}
	let bar = context.output.bar(0, "replaying steps");
	let threads = threads(replay.threads);
	let shown = bar.clone();
	let verdict = tokio::task::spawn_blocking(move || {
		let progress = |step: replay::Step| {
			shown.set_length(step.of);
			shown.set_position(step.done);
		};
		replay::run(&records, &folder, given, threads, rounds, &progress)
	});
	let verdict = verdict.await?;
	bar.finish_and_clear();
	let (text, json, code) = match verdict? {
		Verdict::Agrees { rounds, parameters } => {
			let what = if parameters.is_empty() { "units" } else { "rounds" };
			let mut text =
				format!("task {task} agrees: {rounds} {what} computed again, every commitment is the chain's");
			for commitment in &parameters {
				text += &format!("\n  {commitment}");
			}
			let json = json!({ "agrees": true, "rounds": rounds, "parameters": hexes(&parameters) });
			(text, json, ExitCode::SUCCESS)
		}
		Verdict::Differs(difference) => {
			let text = format!("task {task} DIFFERS from what the data and the recipe give: {difference}");
			let what = format!("{:?}", difference.what);
			let json = json!({ "agrees": false, "round": difference.round, "unit": difference.unit, "what": what });
			(text, json, ExitCode::FAILURE)
		}
	};
	context.output.print(&text, &json);
	Ok(code)
}
