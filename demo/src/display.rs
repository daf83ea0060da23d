//! What a person sees while the chain trains.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use labora_cli::tasks::{averages, Progress};
use labora_primitives::{LastSeal, Phase, TaskSpec};

/// A progress bar of a task: steady text where the output is no terminal.
pub struct Bar(ProgressBar);

/// A message with a spinner.
pub fn spinner(message: &str) -> ProgressBar {
	let bar = ProgressBar::new_spinner().with_message(message.to_owned());
	bar.enable_steady_tick(Duration::from_millis(100));
	bar
}

impl Bar {
	/// A bar over all units of a task.
	pub fn new(units: u64) -> Self {
		let bar = ProgressBar::new(units);
		let style = ProgressStyle::with_template("  [{elapsed_precise}] [{bar:30}] {pos}/{len} units  {msg}");
		bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
		Self(bar)
	}

	/// Shows where the task is.
	pub fn show(&self, progress: &Progress, spec: &TaskSpec, accuracy: Option<f64>) {
		let (done, _) = progress.units(&spec.job);
		self.0.set_position(done);
		self.0.set_message(line(progress, spec, accuracy));
	}

	/// Prints a line above the bar.
	pub fn print(&self, text: &str) {
		if self.0.is_hidden() {
			println!("{text}");
		} else {
			self.0.println(text);
		}
	}

	/// Takes the bar away.
	pub fn finish(&self) {
		self.0.finish_and_clear();
	}
}

/// Round, loss, accuracy, height, last seal and usefulness, in one line.
fn line(progress: &Progress, spec: &TaskSpec, accuracy: Option<f64>) -> String {
	let phase = match progress.info.phase {
		Phase::Units => format!("round {}/{}", progress.info.round + 1, spec.job.rounds()),
		Phase::Merge => format!("round {}/{} merging", progress.info.round + 1, spec.job.rounds()),
		Phase::Unfunded => "out of funds".into(),
		Phase::Completed => "completed".into(),
		Phase::Cancelled => "cancelled".into(),
	};
	let loss = averages(&progress.info.metrics).map(|(loss, _)| format!("  loss {loss:.3} bits")).unwrap_or_default();
	let accuracy = accuracy.map(|accuracy| format!("  test {:.2} %", accuracy * 100.0)).unwrap_or_default();
	let ratio = progress.usefulness.ratio_ppm() as f64 / 1e6;
	let seal = progress.seal.as_ref().map(seal).unwrap_or_default();
	format!("{phase}{loss}{accuracy}  block {}  {seal}  usefulness {ratio:.2}", progress.best.height)
}

/// What sealed a block.
pub fn seal(seal: &LastSeal) -> String {
	match seal {
		LastSeal::Useful { task, op, tile, .. } => {
			format!("by task {task} op {} tile ({}, {})", op.0, tile.row, tile.col)
		}
		LastSeal::Idle { .. } => "by idle work".into(),
	}
}
