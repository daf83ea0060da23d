use std::{path::PathBuf, process::ExitCode};

use anyhow::bail;
use labora_cli::dataset::{self, Folder, Format, ImportOptions, Input, LabelColumn, Scale, Split};
use serde_json::json;

use super::{Context, Outcome};
use crate::args::{DatasetCommand, Import};

pub fn run(context: &Context, command: DatasetCommand) -> Outcome {
	let folder = match command {
		DatasetCommand::Import(import) => {
			let (input, format) = input(&import)?;
			let options = ImportOptions {
				seed: import.seed,
				batch: import.batch,
				train: import.train,
				test: import.test,
				classes: import.classes,
			};
			let bar = context.output.styled(0, "importing", "{spinner} {msg} {elapsed}");
			bar.enable_steady_tick(std::time::Duration::from_millis(100));
			let folder = dataset::import(&input, format, &options, &import.out);
			bar.finish_and_clear();
			folder?
		}
		DatasetCommand::Show { dir } => Folder::open(&dir)?,
	};
	print(context, &folder);
	Ok(ExitCode::SUCCESS)
}

/// What the arguments mean for the format.
fn input(import: &Import) -> anyhow::Result<(Input, Format)> {
	let Some(first) = import.files.first().or(import.features.as_ref()) else {
		bail!("no files: give FILE..., or --features and --labels");
	};
	let format = match import.format {
		Some(format) => format.into(),
		None => Format::guess(first)?,
	};
	let text = |path: &PathBuf| path.to_string_lossy().into_owned();
	let one = || match &import.files[..] {
		[file] => Ok(file.clone()),
		files => bail!("one file or folder expected, {} given", files.len()),
	};
	let input = match format {
		Format::Idx | Format::Npy => {
			let own_test = import.test_features.clone().zip(import.test_labels.clone());
			match (&import.files[..], &import.features, &import.labels) {
				([], Some(features), Some(labels)) => {
					Input::Pair { features: features.clone(), labels: labels.clone(), test: own_test }
				}
				([features, labels], None, None) => {
					Input::Pair { features: features.clone(), labels: labels.clone(), test: own_test }
				}
				([features, labels, test_features, test_labels], None, None) => Input::Pair {
					features: features.clone(),
					labels: labels.clone(),
					test: Some((test_features.clone(), test_labels.clone())),
				},
				_ => bail!("features and labels are two files: --features FILE --labels FILE"),
			}
		}
		Format::Npz => Input::Archive {
			file: one()?,
			features: import.features.as_ref().map(text),
			labels: import.labels.as_ref().map(text),
		},
		Format::Csv => Input::Table {
			file: one()?,
			label: match import.label_column.as_str() {
				"last" => LabelColumn::Last,
				"first" => LabelColumn::First,
				name => LabelColumn::Named(name.into()),
			},
		},
		Format::MnistJson => Input::Digits(one()?),
	};
	Ok((input, format))
}

fn print(context: &Context, folder: &Folder) {
	let manifest = &folder.manifest;
	let scale = match manifest.scale {
		Scale::Bytes => "bytes to 0..63".to_owned(),
		Scale::Unit => "0..1 to 0..63".to_owned(),
		Scale::MinMax { min, max } => format!("{min}..{max} to 0..63"),
		Scale::Levels => "0..63 as they were".to_owned(),
	};
	let split = |name: &str, split: &Split| {
		let Split { rows, examples, features, labels } = split;
		format!(
			"{name}: {examples} examples in {rows} rows\n  features {}\n  labels   {}\n",
			features.commitment, labels.commitment
		)
	};
	let text = format!(
		"{} features, {} classes, batches of {}; features scaled from {scale}\n{}{}",
		manifest.features,
		manifest.classes,
		manifest.batch,
		split("train", &manifest.train),
		manifest.test.as_ref().map(|test| split("test", test)).unwrap_or_default(),
	);
	context.output.print(&text, &json!({ "folder": folder.path, "dataset": manifest }));
}
