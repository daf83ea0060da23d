use std::{path::Path, process::ExitCode};

use labora_cli::{
	dataset::{Folder, Scale},
	evaluate::{self, Evaluation},
	model_file::Model,
	predict,
};
use labora_primitives::TaskId;
use serde_json::json;

use super::{threads, Context, Outcome};
use crate::{
	args::{ModelCommand, ScaleName},
	output::percent,
};

pub async fn run(context: &Context, command: ModelCommand) -> Outcome {
	match command {
		ModelCommand::Export { task, out, dataset } => export(context, TaskId(task), &out, dataset.as_deref()).await,
		ModelCommand::Predict { model, file, scale, invert } => {
			let scale = scale.map(|scale| match scale {
				ScaleName::Bytes => Scale::Bytes,
				ScaleName::Unit => Scale::Unit,
				ScaleName::Levels => Scale::Levels,
			});
			predict(context, &model, &file, scale, invert)
		}
		ModelCommand::Evaluate { task, model, dataset, threads: wanted } => {
			let folder = Folder::open(&dataset)?;
			let evaluation = match (task, model) {
				(Some(task), _) => evaluate::on_chain(&context.connect().await?, TaskId(task), &folder).await?,
				(None, Some(model)) => evaluate::local(&Model::load(&model)?, &folder, threads(wanted))?,
				(None, None) => anyhow::bail!("give --task or --model"),
			};
			print(context, &evaluation);
			Ok(ExitCode::SUCCESS)
		}
	}
}

async fn export(context: &Context, task: TaskId, out: &Path, dataset: Option<&Path>) -> Outcome {
	let scale = dataset.map(Folder::open).transpose()?.map(|folder| folder.manifest.scale);
	let client = context.connect().await?;
	let bar = context.output.bytes_bar(0, "reading parameters");
	let fetched = Model::fetch(&client, task, |done, total| {
		bar.set_length(total);
		bar.set_position(done);
	});
	let fetched = fetched.await;
	bar.finish_and_clear();
	let model = Model { scale, ..fetched? };
	model.save(out)?;
	let commitments: Vec<String> = model.commitments().iter().map(ToString::to_string).collect();
	let mut text = format!("the model of task {task} is in {}; its commitments are the chain's:", out.display());
	for (commitment, shape) in commitments.iter().zip(&model.graph.parameters) {
		text += &format!("\n  {} x {}  {commitment}", shape.rows, shape.cols);
	}
	context.output.print(&text, &json!({ "task": task.0, "file": out, "parameters": commitments }));
	Ok(ExitCode::SUCCESS)
}

fn predict(context: &Context, model: &Path, file: &Path, scale: Option<Scale>, invert: bool) -> Outcome {
	let model = Model::load(model)?;
	let prediction = predict::predict(&model, file, scale, invert)?;
	let probabilities = prediction.probabilities();
	let mut text = format!("class {}\n", prediction.class);
	for (class, (probability, logit)) in probabilities.iter().zip(&prediction.logits).enumerate() {
		let bar = "#".repeat((probability * 40.0).round() as usize);
		text += &format!("  {class:2}  {:>8}  {logit:4}  {bar}\n", percent(*probability));
	}
	let json = json!({
		"class": prediction.class, "logits": prediction.logits, "probabilities": probabilities, "scale": prediction.scale,
	});
	context.output.print(&text, &json);
	Ok(ExitCode::SUCCESS)
}

fn print(context: &Context, evaluation: &Evaluation) {
	let Evaluation { rows, correct, classes } = evaluation;
	let mut text = format!("{} right: {correct} of {rows} rows\n", percent(evaluation.accuracy()));
	for (class, (rows, correct)) in classes.iter().enumerate().filter(|(_, (rows, _))| *rows > 0) {
		text += &format!("  {class:2}  {:>8}  {correct} of {rows}\n", percent(*correct as f64 / *rows as f64));
	}
	let json = json!({ "accuracy": evaluation.accuracy(), "correct": correct, "rows": rows, "classes": classes });
	context.output.print(&text, &json);
}
