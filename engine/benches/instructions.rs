//! Instructions, counted by callgrind: of one build the same in every run, whatever else the machine does.
//!
//! Without a case's name it runs itself under Valgrind once for each case, and prints a table. Valgrind knows neither AVX-512 nor AMX, so
//! these are the instructions of the best kernel without them, and of BLAKE3's code for AVX2. They say what a change added or
//! took away; how long an instruction takes, they do not.

#[path = "common/mod.rs"]
mod common;

use std::{
	hint::black_box,
	process::{Command, ExitCode},
};

use common::{perceptron, Hopeless};
use labora_engine::{Calibration, Engine, NoMiner, UnitPlan};
use labora_graph::{OpIndex, Product};
use labora_pouw::{proof::Operand, Difficulty, IdleProof, IdleSeed, Seed, TileIndex, UsefulProof};
use labora_tensor::{ChunkSet, ElementType, Opening, Shape, Tensor};

/// Inner dimension of products and proofs.
const K: u32 = 1_024;

/// What is counted: a name, the unit of work, and how it is prepared. The closure does it and says how many units it did.
type Case = (&'static str, &'static str, fn() -> Box<dyn FnMut() -> u64>);

const CASES: [Case; 9] = [
	("plain product", "multiply-accumulate", || product(false)),
	("mined product", "multiply-accumulate", || product(true)),
	("unit's ops", "multiply-accumulate", || {
		unit(|engine, plan| {
			black_box(engine.compute(plan).is_ok());
		})
	}),
	("unit, committed", "multiply-accumulate", || {
		unit(|engine, plan| {
			black_box(engine.run(plan, &NoMiner).is_ok());
		})
	}),
	("unit, committed and mined", "multiply-accumulate", || {
		unit(|engine, plan| {
			black_box(engine.run(plan, &Hopeless).is_ok());
		})
	}),
	("commitment", "byte", commitment),
	("opened strip", "byte", opening),
	("work proof", "proof", proof),
	("idle proof", "proof", idle_proof),
];

fn product(mined: bool) -> Box<dyn FnMut() -> u64> {
	let engine = Engine::best(1);
	let mut calibration = Calibration::new((K / 32) as u16);
	Box::new(move || {
		calibration.run(&engine, mined);
		calibration.macs()
	})
}

fn unit(run: fn(&Engine, &UnitPlan)) -> Box<dyn FnMut() -> u64> {
	let engine = Engine::best(1);
	let plan = perceptron(256, 512);
	Box::new(move || {
		run(&engine, &plan);
		plan.program.macs() * plan.batches.len() as u64
	})
}

/// A square tensor of operands.
fn operands() -> Tensor {
	let shape = Shape { rows: K, cols: K };
	let bytes = (0..shape.bytes(ElementType::I8)).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 9) as u8 & 63).collect();
	Tensor::from_bytes(shape, ElementType::I8, bytes).expect("as many bytes")
}

fn commitment() -> Box<dyn FnMut() -> u64> {
	let tensor = operands();
	Box::new(move || {
		black_box(tensor.commitment());
		tensor.bytes().len() as u64
	})
}

/// The first strip of rows.
fn strip(tensor: &Tensor) -> (ChunkSet, Opening) {
	let chunks = ChunkSet::row_strip(tensor.shape(), ElementType::I8, 0).expect("a strip");
	(chunks, Opening::of(tensor.bytes(), &chunks).expect("of the tensor"))
}

fn opening() -> Box<dyn FnMut() -> u64> {
	let tensor = operands();
	let (commitment, (chunks, opening)) = (tensor.commitment(), strip(&tensor));
	Box::new(move || opening.verify(&commitment, &chunks).expect("it opens").len() as u64)
}

fn proof() -> Box<dyn FnMut() -> u64> {
	let tensor = operands();
	let (commitment, (chunks, opening)) = (tensor.commitment(), strip(&tensor));
	// The same strip on both sides: the right one is read transposed.
	let (a, b) = (Operand { chunks, transposed: false }, Operand { chunks, transposed: true });
	let proof = UsefulProof {
		assignment: 0,
		op: OpIndex(0),
		tile: TileIndex { row: 0, col: 0 },
		a: commitment,
		b: commitment,
		strip_a: opening.clone(),
		strip_b: opening,
	};
	let product = Product { m: K, k: K, n: K };
	Box::new(move || {
		proof.verify(&Seed([1; 32]), &product, &a, &b, Difficulty(1)).expect("every ticket wins");
		1
	})
}

fn idle_proof() -> Box<dyn FnMut() -> u64> {
	let proof = IdleProof { nonce: 7, tile: TileIndex { row: 0, col: 0 } };
	Box::new(move || {
		let seed = IdleSeed { genesis: &[0; 32], parent: &[0; 32], account: &[5; 32], nonce: proof.nonce };
		proof.verify(&seed, Difficulty(1)).expect("every ticket wins");
		1
	})
}

/// Callgrind counts from here on, until this returns.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> u64) -> u64 {
	black_box(work())
}

/// The instructions of a case and its units of work, from a run of this program under Valgrind.
fn count(case: &str) -> Result<(u64, u64), String> {
	let program = std::env::current_exe().map_err(|error| error.to_string())?;
	let output = Command::new("valgrind")
		.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=instructions::counted"])
		.arg(program)
		.arg(case)
		.output()
		.map_err(|error| format!("valgrind: {error}"))?;
	let log = String::from_utf8_lossy(&output.stderr);
	let number = |text: &str| text.split(':').nth(1)?.trim().parse().ok();
	let instructions = log.lines().find(|line| line.contains("Collected")).and_then(number);
	let units = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
	instructions.zip(units).ok_or_else(|| format!("{case} under Valgrind: {}\n{log}", output.status))
}

fn main() -> ExitCode {
	let argument = std::env::args().skip(1).find(|argument| argument != "--bench");
	if let Some(name) = argument {
		let Some((_, _, prepare)) = CASES.iter().find(|(case, ..)| *case == name) else {
			eprintln!("there is no case {name}");
			return ExitCode::FAILURE;
		};
		let mut work = prepare();
		// What is done only once, as finding out what the CPU has, does not count.
		work();
		println!("{}", counted(&mut *work));
		return ExitCode::SUCCESS;
	}
	println!("Products and proofs of k = {K}, a unit of 784-512-512-10 with a batch of 256.\n");
	println!("| what | million instructions | of each | |");
	println!("| --- | --- | --- | --- |");
	for (case, unit, _) in CASES {
		match count(case) {
			Ok((instructions, units)) => {
				let (millions, each) = (instructions as f64 / 1e6, instructions as f64 / units as f64);
				let digits = if each < 1e3 { 4 } else { 0 };
				println!("| {case} | {millions:.3} | {each:.digits$} | {unit} |");
			}
			Err(error) => {
				eprintln!("{error}");
				return ExitCode::FAILURE;
			}
		}
	}
	ExitCode::SUCCESS
}
