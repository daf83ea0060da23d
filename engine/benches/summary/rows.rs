//! The table and `bench-summary.json`.

use labora_engine::Kernel;
use serde_json::{json, Value};
use std::process::Command;

use crate::timing::Samples;

/// What a row should reach.
#[derive(Clone, Copy)]
pub enum Aim {
	AtLeast(f64),
	AtMost(f64),
	/// Shown for what it is.
	None,
}

impl Aim {
	fn met(self, value: f64) -> Option<bool> {
		match self {
			Self::AtLeast(aim) => Some(value >= aim),
			Self::AtMost(aim) => Some(value <= aim),
			Self::None => None,
		}
	}

	const fn number(self) -> Option<f64> {
		match self {
			Self::AtLeast(aim) | Self::AtMost(aim) => Some(aim),
			Self::None => None,
		}
	}

	fn text(self) -> String {
		match self {
			Self::AtLeast(aim) => format!("at least {aim}"),
			Self::AtMost(aim) => format!("at most {aim}"),
			Self::None => "-".into(),
		}
	}
}

/// Rows of the table, in order.
pub struct Report {
	rows: Vec<Value>,
	lines: Vec<String>,
	kernel: &'static str,
	peers: String,
	quick: bool,
}

fn output(program: &str, arguments: &[&str]) -> String {
	let output = Command::new(program).args(arguments).output();
	output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The CPU's name and number.
fn machine() -> String {
	let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
	let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
	let name = name.map_or("unknown CPU", |(_, name)| name.trim());
	let family = info.lines().find_map(|line| line.strip_prefix("cpu family")?.split_once(':'));
	let family = family.map_or("?", |(_, family)| family.trim());
	let cores = std::thread::available_parallelism().map_or(1, usize::from);
	format!("{name}, family {family}, {cores} virtual cores")
}

fn load() -> String {
	let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
	load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

impl Report {
	pub fn new(kernel: &'static str, peers: String, quick: bool) -> Self {
		Self { rows: Vec::new(), lines: Vec::new(), kernel, peers, quick }
	}

	fn row(&mut self, name: &str, aim: Aim, unit: &str, value: f64, spread: &Samples, times: Value) {
		let met = aim.met(value);
		let (median, least, most) = (spread.median(), spread.least(), spread.most());
		let verdict = met.map_or("-", |met| if met { "yes" } else { "no" });
		self.lines.push(format!(
			"| {name} | {value:.2} | {median:.2} ({least:.2}, {most:.2}) | {} | {verdict} |",
			aim.text()
		));
		self.rows.push(json!({
			"name": name, unit: value, "aim": aim.number(), "met": met, "median": median, "least": least, "most": most,
			"milliseconds_of_both": times,
		}));
	}

	/// A row of two times: the first by the second. The ratio of the least of both; the spread is that of turns.
	pub fn ratio(&mut self, name: &str, aim: Aim, over: Option<Samples>, under: Option<Samples>, reason: &str) {
		let turns = over.as_ref().zip(under.as_ref()).map(|(over, under)| over.by(under));
		self.ratio_of_turns(name, aim, [over, under, turns], reason);
	}

	/// The same of two times that were measured elsewhere, where their ratios in turns are known.
	pub fn ratio_of_turns(&mut self, name: &str, aim: Aim, times: [Option<Samples>; 3], reason: &str) {
		let [Some(over), Some(under), Some(turns)] = times else { return self.missing(name, aim, reason) };
		let times = json!([over.least(), under.least()]);
		self.row(name, aim, "ratio", over.least() / under.least(), &turns, times);
	}

	/// A row of milliseconds: their median.
	pub fn median(&mut self, name: &str, aim: Aim, samples: Option<Samples>, reason: &str) {
		match samples {
			Some(samples) if !samples.0.is_empty() => {
				self.row(name, aim, "milliseconds", samples.median(), &samples, Value::Null)
			}
			_ => self.missing(name, aim, reason),
		}
	}

	/// A row that was not measured.
	pub fn missing(&mut self, name: &str, aim: Aim, reason: &str) {
		self.lines.push(format!("| {name} | - | {reason} | {} | - |", aim.text()));
		self.rows.push(json!({ "name": name, "ratio": null, "aim": aim.number(), "met": null, "reason": reason }));
	}

	pub fn print(&self) {
		println!("Kernel {}, {}; peers: {}; load {}.\n", self.kernel, machine(), self.peers, load());
		println!("| what | least / least, or ms | median (least, most) of turns | aim | met |");
		println!("| --- | --- | --- | --- | --- |");
		self.lines.iter().for_each(|line| println!("{line}"));
	}

	pub fn write(&self, file: &str) {
		let kernels: Vec<_> = Kernel::all().into_iter().map(Kernel::name).collect();
		let summary = json!({
			"machine": machine(),
			"kernel": self.kernel,
			"flags": kernels,
			"peers": self.peers,
			"load": load(),
			"date": output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
			"commit": output("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
			"quick": self.quick,
			"rows": self.rows,
		});
		let text = serde_json::to_string_pretty(&summary).expect("a value");
		std::fs::write(file, text + "\n").expect("the summary can be written");
		println!("\nWrote {file}");
	}
}
