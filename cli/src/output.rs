//! Text for people, JSON for programs.

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use labora_cli::{client::ClientError, tasks::TaskError};
use serde_json::{json, Value};

/// How to print.
pub struct Output {
	json: bool,
}

impl Output {
	pub fn new(json: bool) -> Self {
		Self { json }
	}

	pub fn is_json(&self) -> bool {
		self.json
	}

	/// Prints a result.
	pub fn print(&self, text: &str, json: &Value) {
		if self.json {
			println!("{json}");
		} else {
			println!("{}", text.trim_end());
		}
	}

	/// Prints what a person may want to know on the way.
	pub fn note(&self, text: &str) {
		if !self.json {
			eprintln!("{text}");
		}
	}

	/// Prints why the command failed.
	pub fn error(&self, error: &anyhow::Error) {
		if self.json {
			println!("{}", json!({ "error": error.to_string(), "failure": failure(error) }));
		} else {
			eprintln!("error: {error}");
		}
	}

	/// A bar for long work; hidden for programs, and where standard error is no terminal.
	pub fn bar(&self, total: u64, what: &'static str) -> ProgressBar {
		self.styled(total, what, "{msg} [{bar:40}] {pos}/{len} {elapsed}<{eta}")
	}

	/// A bar that counts bytes.
	pub fn bytes_bar(&self, total: u64, what: &'static str) -> ProgressBar {
		self.styled(total, what, "{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec}")
	}

	/// A bar with a template of its own.
	pub fn styled(&self, total: u64, what: &'static str, template: &str) -> ProgressBar {
		if self.json {
			return ProgressBar::hidden();
		}
		let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
		let bar = ProgressBar::new(total).with_style(style.progress_chars("=> "));
		bar.set_message(what);
		bar
	}
}

/// The name of the failed call's error, `Pallet.Error`, if that is what happened.
fn failure(error: &anyhow::Error) -> Option<String> {
	let of_task = || match error.downcast_ref::<TaskError>() {
		Some(TaskError::Client(error)) => Some(error),
		_ => None,
	};
	error.downcast_ref::<ClientError>().or_else(of_task)?.failure()
}

/// A size for people.
pub fn size(bytes: u64) -> String {
	HumanBytes(bytes).to_string()
}

/// Large counts for people: 1.23e12.
pub fn count(n: u128) -> String {
	if n < 1_000_000 {
		n.to_string()
	} else {
		format!("{:.2e}", n as f64)
	}
}

/// A share for people.
pub fn percent(share: f64) -> String {
	format!("{:.2} %", share * 100.0)
}

/// A table: columns as wide as their widest cell.
pub fn table(rows: &[Vec<String>]) -> String {
	let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
	let cell_width =
		|column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
	let widths: Vec<usize> = (0..columns).map(|column| cell_width(column).unwrap_or(0)).collect();
	let line = |row: &Vec<String>| {
		let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width));
		cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
	};
	rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn columns_align() {
		let rows = [["task", "phase"], ["10", "units"]].map(|row| row.map(String::from).to_vec());
		assert_eq!(table(&rows), "task  phase\n10    units");
		assert_eq!(count(999_999), "999999");
		assert_eq!(count(1_234_567_890), "1.23e9");
		assert_eq!(percent(0.965), "96.50 %");
	}
}
