//! What a person sees while the chain trains.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use labora_cli::tasks::Progress;
use labora_primitives::TaskSpec;

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

	/// Shows where the task is, and how much of the test was right last.
	pub fn show(&self, progress: &Progress, spec: &TaskSpec, accuracy: Option<f64>) {
		let (done, _) = progress.units(&spec.job);
		self.0.set_position(done);
		let test = accuracy.map(|accuracy| format!(" | test {:.2} %", accuracy * 100.0)).unwrap_or_default();
		self.0.set_message(progress.line(&spec.job) + &test);
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
