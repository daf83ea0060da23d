//! What the end-to-end tests share: a small dataset and a small task that take real nodes seconds.

pub mod forge;
pub mod import;
pub mod peer;
pub mod product;
pub mod transfer;

use std::{
	path::{Path, PathBuf},
	time::Duration,
};

use anyhow::{ensure, Context, Result};
use labora_cli::{
	client::Client,
	dataset::{self, Folder, Format, ImportOptions, Input, LabelColumn},
	signer,
	tasks::{self, Draft, Progress, Terms, TrainingOptions},
};
use labora_demo::node::{executable, Node};
use labora_primitives::{Balance, TaskId};

/// Seconds that a few blocks may take on a slow machine.
pub const HEIGHT_TIMEOUT: u64 = 120;
/// One LAB.
pub const LAB: Balance = 1_000_000_000_000;

/// A table of `rows` examples of four classes with 256 features.
pub fn small_table(dir: &Path, rows: u32) -> Result<PathBuf> {
	let mut table = String::new();
	for row in 0..rows {
		let class = row % 4;
		for column in 0..256u32 {
			let noise = row.wrapping_mul(2_654_435_761).wrapping_add(column.wrapping_mul(40_503)) >> 13 & 15;
			let value = if column % 4 == class { 40 + noise } else { noise };
			table.push_str(&format!("{value},"));
		}
		table.push_str(&format!("{class}\n"));
	}
	let file = dir.join("table.csv");
	std::fs::write(&file, table)?;
	Ok(file)
}

/// Such a table packed into a folder.
pub fn small_dataset(dir: &Path, rows: u32) -> Result<Folder> {
	let input = Input::Table { file: small_table(dir, rows)?, label: LabelColumn::Last };
	let options = ImportOptions { batch: 32, test: Some(64), ..ImportOptions::default() };
	Ok(dataset::import(&input, Format::Csv, &options, &dir.join("dataset"))?)
}

/// A training task on the small dataset: `steps` sets how long a unit takes.
pub fn small_training(folder: &Folder, rounds: u32, steps: u32) -> Result<Draft> {
	let options = TrainingOptions {
		layers: vec![256],
		recipe: None,
		batch: 32,
		units: 2,
		steps,
		rounds,
		rate_drops: vec![],
		seed: 3,
		terms: Terms { price: LAB, deadline: 600, escrow: None },
	};
	Ok(tasks::training_spec(folder, &options)?)
}

/// Registers a draft for `//Alice`.
pub async fn register(client: &Client, draft: &Draft) -> Result<TaskId> {
	Ok(tasks::register(client, &signer::load("//Alice")?, draft, |_| ()).await?.task)
}

/// Waits until `done` says so of a task's progress.
pub async fn wait_for(
	client: &Client,
	task: TaskId,
	seconds: u64,
	done: impl Fn(&Progress) -> bool,
) -> Result<Progress> {
	let wait = async {
		loop {
			let progress = Progress::of(client, task).await?;
			if done(&progress) {
				return anyhow::Ok(progress);
			}
			tokio::time::sleep(Duration::from_millis(100)).await;
		}
	};
	tokio::time::timeout(Duration::from_secs(seconds), wait).await.context("the task came no further")?
}

/// Waits until the chain has reached a height.
pub async fn wait_for_height(client: &Client, height: u64, seconds: u64) -> Result<()> {
	let wait = async {
		while client.best().await?.height < height {
			tokio::time::sleep(Duration::from_millis(50)).await;
		}
		anyhow::Ok(())
	};
	tokio::time::timeout(Duration::from_secs(seconds), wait).await.context("no blocks")?
}

/// Waits until a height is final.
pub async fn wait_for_finality(client: &Client, height: u64, seconds: u64) -> Result<()> {
	let wait = async {
		while client.finalized().await?.height < height {
			tokio::time::sleep(Duration::from_millis(50)).await;
		}
		anyhow::Ok(())
	};
	tokio::time::timeout(Duration::from_secs(seconds), wait).await.context("nothing more is final")?
}

/// Most memory that a node had, MiB.
pub fn peak_memory(node: &Node) -> Result<u64> {
	memory_field(node, "VmHWM:")
}

/// Memory that a node has, MiB.
pub fn memory(node: &Node) -> Result<u64> {
	memory_field(node, "VmRSS:")
}

fn memory_field(node: &Node, name: &str) -> Result<u64> {
	let status = std::fs::read_to_string(format!("/proc/{}/status", node.id()))?;
	let line = status.lines().find_map(|line| line.strip_prefix(name)).context("the process's memory")?;
	Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

/// Writes the specification of the development chain with a changed genesis, state and all.
pub fn patched_specification(dir: &Path, patch: impl FnOnce(&mut serde_json::Value) -> Result<()>) -> Result<PathBuf> {
	let (plain, raw) = (dir.join("plain.json"), dir.join("raw.json"));
	let export = |chain: &Path, more: &[&str], to: &Path| {
		let mut command = std::process::Command::new(executable()?);
		command.args(["export-chain-spec", "--chain"]).arg(chain).args(more).arg("--output").arg(to);
		output(&mut command)
	};
	export(Path::new("dev"), &[], &plain)?;
	let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&plain)?)?;
	patch(spec.pointer_mut("/genesis/runtimeGenesis/patch").context("the genesis is a patch")?)?;
	std::fs::write(&plain, spec.to_string())?;
	export(&plain, &["--raw"], &raw)?;
	Ok(raw)
}

/// Runs a program to its end and gives what it printed; fails with that if it fails.
pub fn output(command: &mut std::process::Command) -> Result<String> {
	let output = command.output().context("starting the program")?;
	let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
	ensure!(output.status.success(), "{:?}: {}\n{text}", command.get_program(), output.status);
	Ok(text)
}
