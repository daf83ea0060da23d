//! The demonstration on data of one's own: IDX files, and the same data as a table, interrupted and gone on with.

use std::{
	fs::File,
	path::{Path, PathBuf},
	process::{Child, Command, ExitStatus, Stdio},
	time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use labora_cli::{
	client::Client,
	dataset::{Format, Input},
};
use labora_demo::node::program;
use labora_tests::small_table;
use serde_json::Value;

/// How long a demonstration may take.
const PATIENCE: Duration = Duration::from_secs(240);
/// What a process gives that Ctrl-C ended.
const INTERRUPTED: Option<i32> = Some(130);
/// Width of a digit of the package, and of those trained on here: every second pixel.
const WIDTHS: (usize, usize) = (28, 14);

/// A running demonstration.
struct Demo {
	child: Child,
	log: PathBuf,
}

impl Demo {
	/// Starts one whose files are all in `dir`, its output in a log.
	fn start(dir: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
		let log = dir.join(name).with_extension("log");
		let output = File::create(&log)?;
		let child = Command::new(program("labora-demo")?)
			.args(["--out", "out", "--summary", "summary.json", "--state", "state"])
			.args(arguments)
			.current_dir(dir)
			.stdin(Stdio::null())
			.stdout(output.try_clone()?)
			.stderr(output)
			.spawn()?;
		Ok(Self { child, log })
	}

	fn text(&self) -> String {
		std::fs::read_to_string(&self.log).unwrap_or_default()
	}

	/// Waits until it says something.
	fn wait_for(&mut self, text: &str) -> Result<()> {
		let began = Instant::now();
		while !self.text().contains(text) {
			let alive = self.child.try_wait()?.is_none() && began.elapsed() < PATIENCE;
			ensure!(alive, "it does not come to `{text}`:\n{}", self.text());
			std::thread::sleep(Duration::from_millis(20));
		}
		Ok(())
	}

	fn interrupt(&self) -> Result<()> {
		let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
		ensure!(sent.success(), "it has ended already:\n{}", self.text());
		Ok(())
	}

	fn end(&mut self) -> Result<ExitStatus> {
		let began = Instant::now();
		loop {
			if let Some(status) = self.child.try_wait()? {
				return Ok(status);
			}
			ensure!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
			std::thread::sleep(Duration::from_millis(20));
		}
	}

	/// Waits until it ends well.
	fn succeed(mut self) -> Result<String> {
		let status = self.end()?;
		ensure!(status.success(), "{status}:\n{}", self.text());
		Ok(self.text())
	}

	/// Address of its node.
	fn url(&self) -> Result<String> {
		let text = self.text();
		let url = text.split_whitespace().find(|word| word.starts_with("ws://"));
		url.map(Into::into).context("it tells its node's address")
	}
}

impl Drop for Demo {
	fn drop(&mut self) {
		let _ = self.child.kill();
		let _ = self.child.wait();
	}
}

fn summary(dir: &Path) -> Result<Value> {
	Ok(serde_json::from_slice(&std::fs::read(dir.join("summary.json"))?)?)
}

/// Every eighth digit, small: pixels and classes.
fn digits(folder: &Path) -> Result<Vec<(Vec<u8>, u8)>> {
	let pair = Input::Digits(folder.into()).read(Format::MnistJson)?.train;
	let (from, to) = WIDTHS;
	let step = from / to;
	let pixel = |digit: usize, index: usize| {
		let at = index / to * step * from + index % to * step;
		(pair.features.get(digit * pair.features.cols + at) * 255.0).round() as u8
	};
	let digit = |digit: usize| ((0..to * to).map(|index| pixel(digit, index)).collect(), pair.labels.get(digit) as u8);
	Ok((0..pair.features.rows).step_by(8).map(digit).collect())
}

fn idx(dimensions: &[usize], bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
	let mut file = vec![0, 0, 8, dimensions.len() as u8];
	file.extend(dimensions.iter().flat_map(|size| (*size as u32).to_be_bytes()));
	file.extend(bytes);
	file
}

fn write_idx(dir: &Path, digits: &[(Vec<u8>, u8)]) -> Result<()> {
	let (count, width) = (digits.len(), WIDTHS.1);
	let pixels = digits.iter().flat_map(|(pixels, _)| pixels.iter().copied());
	std::fs::write(dir.join("images-idx3-ubyte"), idx(&[count, width, width], pixels))?;
	Ok(std::fs::write(dir.join("labels-idx1-ubyte"), idx(&[count], digits.iter().map(|(_, class)| *class)))?)
}

fn write_csv(dir: &Path, digits: &[(Vec<u8>, u8)]) -> Result<()> {
	let row = |(pixels, class): &(Vec<u8>, u8)| {
		let cells = pixels.iter().chain([class]).map(u8::to_string);
		cells.collect::<Vec<_>>().join(",") + "\n"
	};
	Ok(std::fs::write(dir.join("digits.csv"), digits.iter().map(row).collect::<String>())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_digits_as_idx_and_as_an_interrupted_table_give_one_model() -> Result<()> {
	let Some(folder) = std::env::var_os("LABORA_MNIST") else {
		println!("SKIPPED: LABORA_MNIST names no folder of digits (`make test` sets it)");
		return Ok(());
	};
	let dir = tempfile::tempdir()?;
	let digits = digits(folder.as_ref())?;
	write_idx(dir.path(), &digits)?;
	write_csv(dir.path(), &digits)?;

	let table = ["--dataset", "digits.csv", "--rounds", "2"];
	let mut interrupted = Demo::start(dir.path(), "interrupted", &table)?;
	interrupted.wait_for("after round")?;
	interrupted.interrupt()?;
	ensure!(interrupted.end()?.code() == INTERRUPTED, "{}", interrupted.text());
	ensure!(interrupted.text().contains("`make demo` with the same SEED, ROUNDS and DATASET goes on"));
	ensure!(Client::connect(&interrupted.url()?).await.is_err(), "its node still runs");
	ensure!(!dir.path().join("out").exists() && !dir.path().join("summary.json").exists());

	let text = Demo::start(dir.path(), "continued", &table)?.succeed()?;
	ensure!(text.contains("goes on where it was interrupted"), "{text}");
	let continued = summary(dir.path())?;
	ensure!(continued["interruptions"] == 1 && continued["replay_agrees"] == true);
	ensure!(dir.path().join("state").read_dir()?.next().is_none(), "what is done is not kept");

	let files = ["--dataset", "images-idx3-ubyte,labels-idx1-ubyte", "--rounds", "2"];
	Demo::start(dir.path(), "whole", &files)?.succeed()?;
	let whole = summary(dir.path())?;
	ensure!(whole["interruptions"] == 0 && whole["test_accuracy"].as_f64().is_some_and(|right| right > 0.7), "{whole}");
	for same in ["parameter_commitment", "test_correct", "test_rows"] {
		ensure!(whole[same] == continued[same], "{same}: {whole} {continued}");
	}
	Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_ends_it_at_once() -> Result<()> {
	let dir = tempfile::tempdir()?;
	small_table(dir.path(), 480)?;
	let mut demo = Demo::start(dir.path(), "demo", &["--dataset", "table.csv"])?;
	demo.wait_for("trains the model")?;
	demo.interrupt()?;
	demo.wait_for("stopping the node")?;
	// It may have stopped in order by now.
	let _ = demo.interrupt();
	let began = Instant::now();
	ensure!(demo.end()?.code() == INTERRUPTED && began.elapsed() < Duration::from_secs(3), "{}", demo.text());
	ensure!(Client::connect(&demo.url()?).await.is_err(), "its node still runs");
	Ok(())
}
