//! What the engine is compared with: other libraries' products, and a training in floats.

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;
use std::{
	io::{BufRead, BufReader, Write},
	process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::timing::time;

/// `scripts/peers.py`: takes an order a line, answers with milliseconds.
pub struct Python {
	child: Child,
	orders: ChildStdin,
	answers: BufReader<ChildStdout>,
	/// What it computes with.
	pub versions: String,
}

impl Python {
	/// Starts it, if the interpreter has the packages.
	pub fn start(python: &str, script: &str) -> Option<Self> {
		let mut child = Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
		let (orders, answers) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
		let mut python = Self { child, orders, answers, versions: String::new() };
		python.versions = python.answer()?;
		Some(python)
	}

	fn answer(&mut self) -> Option<String> {
		let mut line = String::new();
		self.answers.read_line(&mut line).ok()?;
		let line = line.trim();
		(!line.is_empty()).then(|| line.to_owned())
	}

	/// Has something run once.
	pub fn run(&mut self, order: &str) -> Option<f64> {
		writeln!(self.orders, "{order}").ok()?;
		self.answer()?.parse().ok()
	}
}

impl Drop for Python {
	fn drop(&mut self) {
		let _ = self.child.kill();
		let _ = self.child.wait();
	}
}

/// A product `u8 x i8` of `rten-gemm` on one thread. Its right operand is packed before, as weights of a model are.
pub struct Rten {
	size: usize,
	left: Vec<u8>,
	right: Vec<i8>,
	out: Vec<i32>,
	pool: rayon::ThreadPool,
}

impl Rten {
	pub fn new(size: usize) -> Option<Self> {
		let fill = |factor: usize| move |i: usize| (i.wrapping_mul(factor) >> 7) as u8;
		Some(Self {
			size,
			left: (0..size * size).map(fill(0x9E37_79B1)).collect(),
			right: (0..size * size).map(fill(0x85EB_CA6B)).map(|x| (x as i8) >> 1).collect(),
			out: vec![0; size * size],
			pool: rayon::ThreadPoolBuilder::new().num_threads(1).build().ok()?,
		})
	}

	/// Its product's times; the first is a warm-up's.
	pub fn run(&mut self) -> Option<f64> {
		let Self { size, left, right, out, pool } = self;
		pool.install(|| {
			let executor = GemmExecutor::<u8, i8, i32>::new();
			let shape = [*size, *size];
			let packed = executor.prepack_b(NdTensorView::from_data(shape, &right[..]));
			let left = NdTensorView::from_data(shape, &left[..]);
			let mut worked = true;
			let took = time(|| {
				let b = GemmInputB::Packed(&packed);
				worked = executor.gemm(out, GemmInputA::Unpacked(left), b, GemmOptions::default()).is_ok();
			});
			worked.then_some(took)
		})
	}
}
