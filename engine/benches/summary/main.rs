//! `make bench`: the engine side by side with its peers, one thread each, in turns. Prints a table and writes `bench-summary.json`.
//!
//! Arguments: `--quick` (few turns, small products), `--python PATH` (an interpreter with scripts/requirements.txt), `--measure FILE`
//! (what `labora-measure` printed), `--out FILE`.

#[path = "../common/mod.rs"]
mod common;
mod parent;
mod peers;
mod rows;
mod timing;

use std::cell::RefCell;

use common::{perceptron, Hopeless};
use labora_engine::{Calibration, Engine};
use labora_pouw::{Difficulty, IdleSeed};
use peers::{Python, Rten};
use rows::{Aim, Report};
use timing::{in_turns, time, Samples};

struct Options {
	quick: bool,
	python: String,
	measure: Option<String>,
	out: String,
}

fn options() -> Options {
	let mut options =
		Options { quick: false, python: "python3".into(), measure: None, out: "bench-summary.json".into() };
	let mut arguments = std::env::args().skip(1);
	while let Some(argument) = arguments.next() {
		match argument.as_str() {
			"--quick" => options.quick = true,
			"--python" => options.python = arguments.next().unwrap_or_default(),
			"--measure" => options.measure = arguments.next(),
			"--out" => options.out = arguments.next().unwrap_or_default(),
			// What cargo adds.
			"--bench" => {}
			other => panic!("unknown argument {other}"),
		}
	}
	options
}

/// Turns for a product of that size: some seconds of it.
const fn turns(quick: bool, size: u16) -> usize {
	match (quick, size) {
		(true, _) => 3,
		(false, 0..=1024) => 200,
		(false, 1025..=2048) => 40,
		(false, _) => 12,
	}
}

/// Whether the engine's kernel is that for AMX, which has aims of its own.
fn has_amx(engine: &Engine) -> bool {
	engine.kernel().name() == "amx"
}

/// The engine's products, plain and mined, and those of its peers.
fn products(report: &mut Report, engine: &Engine, python: &RefCell<Option<Python>>, quick: bool) {
	let aims = if has_amx(engine) {
		[(1024u16, Aim::None), (2048, Aim::AtMost(1.45)), (4096, Aim::AtMost(1.30))]
	} else {
		[(1024, Aim::AtMost(1.25)), (2048, Aim::AtMost(1.15)), (4096, Aim::AtMost(1.10))]
	};
	let onnx_aim = if has_amx(engine) { 1.4 } else { 1.0 };
	for (size, aim) in aims {
		let names = [
			format!("plain product {size}^3 by ONNX Runtime MatMulInteger, speed"),
			format!("plain product {size}^3 by oneDNN gemm_u8s8s32, speed"),
			format!("plain product {size}^3 by rten-gemm u8 x i8, speed"),
			format!("mined product {size}^3 by plain, time"),
		];
		let aims = [Aim::AtLeast(onnx_aim), Aim::AtLeast(1.0), Aim::AtLeast(1.0), aim];
		if quick && size > 1024 {
			for (name, aim) in names.into_iter().zip(aims) {
				report.missing(&name, aim, "not measured by QUICK=1");
			}
			continue;
		}
		let mut plain = Calibration::new(size / 32);
		let mut mined = Calibration::new(size / 32);
		let mut rten = Rten::new(usize::from(size));
		let (by_onnx, by_onednn) = (format!("matmul {size}"), format!("gemm {size}"));
		let [plain, mined, onnx, onednn, rten] = in_turns(
			turns(quick, size),
			[
				&mut || Some(time(|| plain.run(engine, false))),
				&mut || Some(time(|| mined.run(engine, true))),
				&mut || python.borrow_mut().as_mut()?.run(&by_onnx),
				&mut || python.borrow_mut().as_mut()?.run(&by_onednn),
				&mut || rten.as_mut()?.run(),
			],
		);
		let missing = "the Python packages are not there";
		let [by_onnx, by_onednn, by_rten, overhead] = names;
		report.ratio(&by_onnx, aims[0], onnx, plain.clone(), missing);
		report.ratio(&by_onednn, aims[1], onednn, plain.clone(), missing);
		report.ratio(&by_rten, aims[2], rten, plain.clone(), "rten-gemm failed");
		report.ratio(&overhead, aims[3], mined, plain, "");
	}
}

/// A whole unit: against its plain products, against floats, and what a cheat gains that leaves out all but the tickets.
fn units(report: &mut Report, engine: &Engine, python: &RefCell<Option<Python>>, quick: bool) {
	let (batch, hidden) = if quick { (256, 256) } else { (1024, 1024) };
	let plan = perceptron(batch, hidden);
	let macs = plan.program.macs() as f64 * plan.batches.len() as f64;
	let account = [5; 32];
	let seed = IdleSeed { genesis: &[1; 32], parent: &[2; 32], account: &account, nonce: 3 };
	let idle_macs = f64::from(IdleSeed::PRODUCT.m).powi(3);
	let order = format!("unit {batch} {hidden}");
	let [bare, whole, floats, idle] = in_turns(
		if quick { 3 } else { 12 },
		[
			&mut || Some(time(|| engine.compute(&plan).is_ok())),
			&mut || Some(time(|| engine.run(&plan, &Hopeless).is_ok())),
			&mut || python.borrow_mut().as_mut()?.run(&order),
			// The time that a unit's multiply-accumulates take in products whose output nobody peels or commits to.
			&mut || Some(time(|| engine.idle(&seed, Difficulty(u128::MAX), &|| false)) * macs / idle_macs),
		],
	);
	let unit = format!("unit 784-{hidden}-{hidden}-10, batch {batch}, 8 steps");
	let missing = "the Python packages are not there";
	// The aims are those of the large unit.
	let aim = |aim| if quick { Aim::None } else { aim };
	report.ratio(
		&format!("{unit}: mined and committed by its plain ops, time"),
		aim(Aim::AtMost(if has_amx(engine) { 1.6 } else { 1.25 })),
		whole.clone(),
		bare,
		"",
	);
	report.ratio(
		&format!("{unit}: by float32 training, speed"),
		aim(Aim::AtLeast(3.0)),
		floats,
		whole.clone(),
		missing,
	);
	report.ratio(
		"tickets of a cheat that skips peel, output and commitments by an honest unit's, speed",
		Aim::None,
		whole,
		idle,
		"",
	);
}

/// Tickets a second of degenerate operands.
fn degenerate(report: &mut Report, engine: &Engine, quick: bool) {
	let size = 1024u16;
	let rank_one = |i: usize| ((i / 32 % 5) as i8 - 2) * ((i % 7) as i8 - 3);
	let mut honest = Calibration::new(size / 32);
	let mut zeros = Calibration::with_operands(size / 32, |_| 0, |_| 0);
	let mut rank_one = Calibration::with_operands(size / 32, rank_one, rank_one);
	let [honest, zeros, rank_one] = in_turns(
		turns(quick, size),
		[&mut || Some(time(|| honest.run(engine, true))), &mut || Some(time(|| zeros.run(engine, true))), &mut || {
			Some(time(|| rank_one.run(engine, true)))
		}],
	);
	report.ratio("tickets of operands of zeros by honest ones, speed", Aim::AtMost(1.02), honest.clone(), zeros, "");
	report.ratio("tickets of operands of rank 1 by honest ones, speed", Aim::AtMost(1.02), honest, rank_one, "");
}

/// What `labora-measure` printed: rows `| k | bytes | Wasm (least, most) | native (least, most) |`, then
/// `| block | bytes | extrinsics | import (least, most) | by an idle one's in turns (least, most) |`.
fn measured(report: &mut Report, file: Option<&str>) {
	let missing = "labora-measure did not run";
	let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
	let cell = |name: &str, column: usize| -> Option<Samples> {
		let mut rows = text.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
		let cells = rows.find(|cells| cells.get(1) == Some(&name))?;
		let numbers = cells.get(column)?.replace(['(', ')', ','], " ");
		let numbers: Option<Vec<f64>> = numbers.split_whitespace().map(|number| number.parse().ok()).collect();
		numbers.filter(|numbers| numbers.len() == 3).map(Samples)
	};
	for (k, wasm) in [("1024", 3.0), ("16384", 40.0)] {
		report.median(&format!("work proof in Wasm, k = {k}"), Aim::AtMost(wasm), cell(k, 3), missing);
	}
	report.median("work proof native, k = 1024", Aim::AtMost(0.3), cell("1024", 4), missing);
	let (useful, idle) = ("useful block, k = 1024", "idle block");
	report.ratio_of_turns(
		"import of a block with a proof, k = 1024, by an empty block, time",
		Aim::AtMost(1.5),
		[cell(useful, 4), cell(idle, 4), cell(useful, 5)],
		missing,
	);
}

fn main() {
	let options = options();
	// Cargo runs benchmarks in their package's folder.
	let python = Python::start(&options.python, "../scripts/peers.py");
	let engine = Engine::best(1);
	let peers = python.as_ref().map_or("none", |python| &python.versions).to_owned();
	let python = RefCell::new(python);
	let mut report = Report::new(engine.kernel().name(), peers, options.quick);
	if !matches!(engine.kernel().name(), "amx" | "avx512vnni") {
		println!("The aims are for AMX and AVX-512 VNNI; this CPU's best kernel is {}.", engine.kernel().name());
	}
	if !has_amx(&engine) {
		for (name, aim) in [
			("AMX: plain product by ONNX Runtime MatMulInteger, speed", Aim::AtLeast(1.4)),
			("AMX: mined product 2048^3 by plain, time", Aim::AtMost(1.45)),
			("AMX: mined product 4096^3 by plain, time", Aim::AtMost(1.30)),
			("AMX: unit mined and committed by its plain ops, time", Aim::AtMost(1.6)),
		] {
			report.missing(name, aim, "this CPU does not have AMX, or is faster without");
		}
	}
	products(&mut report, &engine, &python, options.quick);
	units(&mut report, &engine, &python, options.quick);
	degenerate(&mut report, &engine, options.quick);
	measured(&mut report, options.measure.as_deref());
	report.median(
		"new parent in a 4096^3 product: to a proof on it",
		Aim::AtMost(20.0),
		Some(parent::switches(&engine, if options.quick { 3 } else { 9 })),
		"",
	);
	report.print();
	report.write(&options.out);
}
