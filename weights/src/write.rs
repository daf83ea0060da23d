//! What was measured, as text: tables, and the runtime's weights.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use crate::{fit::Linear, Measured, REFUSED};

/// Nanoseconds that a weight takes a read and a write for: those of `RocksDbWeight`.
const READ: f64 = 25_000.0;
const WRITE: f64 = 100_000.0;

/// The processor's name.
fn processor() -> String {
	let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
	let name = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
	name.unwrap_or("an unknown processor").to_owned()
}

/// Today, as year-month-day (of the proleptic Gregorian calendar, from days since 1970).
fn today() -> String {
	let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
	date(since.map_or(0, |since| since.as_secs() / 86_400))
}

fn date(days: u64) -> String {
	let days = days + 719_468;
	let (era, day) = (days / 146_097, days % 146_097);
	let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
	let day = day - (365 * year + year / 4 - year / 100);
	let month = (5 * day + 2) / 153;
	let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
	format!("{:04}-{month:02}-{day:02}", year + era * 400 + u64::from(month <= 2))
}

/// How it was measured.
pub fn header(wasm: &Path, steps: u32, repeats: u32, factor: f64) -> String {
	let file = wasm.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
	format!(
		"Measured {} on {}, `labora-weights {file} --steps {steps} --repeats {repeats}`: medians of processor time in the Wasm runtime, state in \
		 memory. A weight is the time by {factor}, a read 25 us and a write 100 us more.\n\n",
		today(),
		processor()
	)
}

/// A linear cost, in units of `unit`.
fn formula(cost: &Linear, letters: &[char], unit: f64, digits: usize) -> String {
	let mut text = format!("{:.digits$}", cost.base / unit);
	for (slope, letter) in cost.slopes.iter().zip(letters) {
		if *slope > 0.0 {
			let _ = write!(text, " + {:.digits$} {letter}", slope / unit);
		}
	}
	text
}

/// Whole accesses, rounded up.
fn whole(accesses: &Linear) -> Linear {
	// A hair above a whole number is noise of the fit.
	let up = |x: f64| (x - 0.02).ceil().max(0.0);
	Linear { base: up(accesses.base), slopes: accesses.slopes.iter().map(|slope| up(*slope)).collect() }
}

/// The weight at some values of the parameters, nanoseconds: execution, and all of it.
fn weight(one: &Measured, at: &[f64], factor: f64) -> (f64, f64) {
	let time = one.time.at(at) * factor;
	(time, time + whole(&one.reads).at(at) * READ + whole(&one.writes).at(at) * WRITE)
}

/// One row per benchmark.
pub fn table(measured: &[Measured], factor: f64) -> String {
	let mut text = String::from("| benchmark | time, us | reads | writes | longest, ms | its weight, ms |\n");
	text.push_str("| --- | --- | --- | --- | --- | --- |\n");
	for one in measured {
		let (reads, writes) = (whole(&one.reads), whole(&one.writes));
		let _ = writeln!(
			text,
			"| `{}::{}` | {} | {} | {} | {:.2} | {:.2} |",
			one.pallet,
			one.name,
			formula(&one.time, &one.letters, 1e3, 2),
			formula(&reads, &one.letters, 1.0, 0),
			formula(&writes, &one.letters, 1.0, 0),
			one.longest / 1e6,
			weight(one, &one.most, factor).1 / 1e6,
		);
	}
	text
}

/// The costliest call that is applied and the costliest that is refused: what a block full of either takes.
pub fn extremes(measured: &BTreeMap<(&str, &str), &Measured>, factor: f64) -> String {
	let mut text = String::from(
		"\nA block full of the costliest calls (weight without database accesses against measured time; at least 1):\n\n\
		 | call | measured, ms | its weight, ms | weight / time |\n| --- | --- | --- | --- |\n",
	);
	let longest = |refused: bool| {
		let of_kind = measured.values().filter(move |one| one.name.ends_with(REFUSED) == refused);
		of_kind.max_by(|a, b| a.longest.total_cmp(&b.longest))
	};
	for one in [longest(false), longest(true)].into_iter().flatten() {
		let call = one.name.trim_end_matches(REFUSED);
		let Some(charged) = measured.get(&(one.pallet.as_str(), call)) else { continue };
		let (time, _) = weight(charged, &one.most, factor);
		let (took, ratio) = (one.longest / 1e6, time / one.longest);
		let verdict = if ratio >= 1.0 { "" } else { " **too little**" };
		let _ =
			writeln!(text, "| `{}::{}` | {took:.2} | {:.2} | {ratio:.2}{verdict} |", one.pallet, one.name, time / 1e6);
	}
	text
}

/// The runtime's `weights.rs`.
pub fn rust(measured: &[&Measured], steps: u32, repeats: u32, factor: f64) -> String {
	let mut text = format!(
		"//! What the calls and hooks of our pallets cost. Written by `make weights`: do not edit.\n\
		 //!\n\
		 //! Measured {} on {},\n\
		 //! `labora-weights --steps {steps} --repeats {repeats}`. Times are the measured ones by {factor}: other machines are slower, \
		 and noisy.\n\
		 //! The chain is standalone, so there are no proofs of storage.\n\n\
		 use frame_support::weights::{{constants::RocksDbWeight as Db, Weight}};\n\n\
		 /// Nanoseconds of execution, reads and writes.\n\
		 fn cost(nanos: u64, reads: u64, writes: u64) -> Weight {{\n\
		 \tWeight::from_parts(nanos.saturating_mul(1_000), 0).saturating_add(Db::get().reads_writes(reads, writes))\n\
		 }}\n",
		today(),
		processor()
	);
	let mut pallets: Vec<&str> = measured.iter().map(|one| one.pallet.as_str()).collect();
	pallets.dedup();
	for pallet in pallets {
		let name = pallet.trim_start_matches("pallet_");
		let name = name[..1].to_uppercase() + &name[1..];
		let _ = write!(text, "\n/// Of `{}`.\npub struct {name};\n\n", pallet.replace('_', "-"));
		let _ = writeln!(text, "impl {pallet}::WeightInfo for {name} {{");
		for (index, one) in measured.iter().filter(|one| one.pallet == pallet).enumerate() {
			if index > 0 {
				text.push('\n');
			}
			text.push_str(&function(one, factor));
		}
		text.push_str("}\n");
	}
	text
}

fn function(one: &Measured, factor: f64) -> String {
	let (reads, writes) = (whole(&one.reads), whole(&one.writes));
	let nanos = |time: f64| grouped((time * factor).ceil().max(0.0) as u64);
	let arguments: Vec<String> = one.letters.iter().map(|letter| format!("{letter}: u32")).collect();
	let mut text = format!("\tfn {}({}) -> Weight {{\n", one.name, arguments.join(", "));
	let _ = write!(text, "\t\tcost({}, {}, {})", nanos(one.time.base), reads.base, writes.base);
	for (index, letter) in one.letters.iter().enumerate() {
		let (time, reads, writes) = (nanos(one.time.slopes[index]), reads.slopes[index], writes.slopes[index]);
		let each = format!("cost({time}, {reads}, {writes}).saturating_mul(u64::from({letter}))");
		let _ = write!(text, "\n\t\t\t.saturating_add({each})");
	}
	text.push_str("\n\t}\n");
	text
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
	let digits = number.to_string();
	let mut text = String::new();
	for (index, digit) in digits.chars().enumerate() {
		if index > 0 && (digits.len() - index).is_multiple_of(3) {
			text.push('_');
		}
		text.push(digit);
	}
	text
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn dates_and_numbers() {
		assert_eq!(
			(date(0), date(20_779), date(11_016)),
			("1970-01-01".into(), "2026-11-22".into(), "2000-02-29".into())
		);
		assert_eq!((grouped(7), grouped(1_234_567), grouped(100)), ("7".into(), "1_234_567".into(), "100".into()));
	}
}
