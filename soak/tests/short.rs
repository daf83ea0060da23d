//! A short soak: a few faults, and all that must hold.

use std::process::Command;

use anyhow::{ensure, Context, Result};
use serde_json::Value;

// How long a killed node takes to come back depends on what else the machine does, and an audit does not wait for it: what falls by that is
// told apart from what is lost.
#[test]
fn a_training_network_loses_nothing_to_a_few_faults() -> Result<()> {
	let Some(digits) = std::env::var_os("LABORA_MNIST") else {
		println!("SKIPPED: LABORA_MNIST names no folder of digits (`make test` sets it)");
		return Ok(());
	};
	let dir = tempfile::tempdir()?;
	let output = Command::new(env!("CARGO_BIN_EXE_labora-soak"))
		.args(["--minutes", "0.5", "--block-time", "4000", "--partition", "0", "--late-is-lawful", "--seed", "7"])
		.arg("--digits")
		.arg(digits)
		.current_dir(dir.path())
		.output()?;
	let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
	ensure!(output.status.success(), "{}\n{text}", output.status);
	let summary: Value = serde_json::from_slice(&std::fs::read(dir.path().join("soak-summary.json"))?)?;
	let count = |name: &str| summary[name].as_u64().with_context(|| format!("{name}\n{text}"));
	ensure!(count("faults_injected")? > 0 && count("accepted_results")? > 0 && count("rounds_replayed")? > 0, "{text}");
	for loss in ["finalized_conflicts", "accepted_results_lost", "supply_mismatch"] {
		ensure!(count(loss)? == 0, "{loss}\n{text}");
	}
	ensure!(summary["usefulness_agrees"] == true && summary["replay_agrees"] == true, "{text}");
	Ok(())
}
