//! Runs the runtime's benchmarks in its Wasm, prints what they cost, and writes the runtime's weights.
//!
//! It is the part of `frame-omni-bencher` that this chain needs, and none of its dependencies: no proofs of storage, no templates.

mod fit;
// The whole interface, as the runtime knows it: not all of it is used here.
#[allow(dead_code, unexpected_cfgs)]
mod host;
mod state;
mod write;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use clap::Parser;
use codec::{Decode, Encode};
use fit::Linear;
use host::{Batch, Config, List, Metadata, Run, Values};
use sc_executor::{HeapAllocStrategy, WasmExecutor};
use sp_core::traits::{CallContext, RuntimeCode, WrappedRuntimeCode};
use sp_externalities::Extensions;
use sp_keystore::{testing::MemoryKeystore, KeystoreExt};
use sp_state_machine::{OverlayedChanges, StateMachine};
use state::State;

type Executor = WasmExecutor<(sp_io::SubstrateHostFunctions, host::benchmarking::HostFunctions)>;

/// Measures what the runtime's calls and hooks cost.
#[derive(Parser)]
struct Options {
	/// The runtime, built with the feature `runtime-benchmarks`.
	wasm: PathBuf,
	/// Values of each parameter.
	#[arg(long, default_value_t = 10)]
	steps: u32,
	/// Runs at each.
	#[arg(long, default_value_t = 5)]
	repeats: u32,
	/// A weight is the measured time by this.
	#[arg(long, default_value_t = 1.5)]
	factor: f64,
	/// Only benchmarks whose `pallet::name` holds this. Nothing is written then.
	#[arg(long)]
	only: Option<String>,
	/// Writes the weights to this file.
	#[arg(long)]
	weights: Option<PathBuf>,
	/// Writes the tables to this file too.
	#[arg(long)]
	report: Option<PathBuf>,
}

/// What a benchmark measured.
pub struct Measured {
	/// The pallet: `pallet_tasks`.
	pub pallet: String,
	/// The benchmark, which is a function of the pallet's weights: `submit_result`.
	pub name: String,
	/// Its parameters' letters.
	pub letters: Vec<char>,
	/// Nanoseconds.
	pub time: Linear,
	/// Keys read.
	pub reads: Linear,
	/// Keys written.
	pub writes: Linear,
	/// The most of each parameter that was measured.
	pub most: Vec<f64>,
	/// The longest median at the most of each parameter, nanoseconds.
	pub longest: f64,
}

/// A refused call is measured beside the weight of the call.
const REFUSED: &str = "_refused";

struct Runner {
	executor: Executor,
	wasm: Vec<u8>,
	state: State,
}

impl Runner {
	fn new(wasm: Vec<u8>) -> Self {
		let executor = WasmExecutor::builder()
			// As a node executes blocks.
			.with_onchain_heap_alloc_strategy(HeapAllocStrategy::Static { extra_pages: 2_048 })
			.build();
		Self { executor, wasm, state: State::default() }
	}

	fn call<R: Decode>(&self, function: &str, argument: &[u8]) -> Result<R> {
		let fetcher = WrappedRuntimeCode((&self.wasm[..]).into());
		let hash = sp_io::hashing::blake2_256(&self.wasm).to_vec();
		let code = RuntimeCode { code_fetcher: &fetcher, heap_pages: None, hash };
		let mut overlay = OverlayedChanges::default();
		let mut extensions = Extensions::default();
		// Seals of headers are signed with it.
		extensions.register(KeystoreExt::new(MemoryKeystore::new()));
		let context = CallContext::Onchain { import: false };
		let mut machine = StateMachine::new(
			&self.state,
			&mut overlay,
			&self.executor,
			function,
			argument,
			&mut extensions,
			&code,
			context,
		);
		let answer = machine.execute().map_err(|error| anyhow!("{function}: {error}"))?;
		R::decode(&mut &answer[..]).with_context(|| format!("{function} answers something else"))
	}

	fn lists(&self, extra: bool) -> Result<Vec<List>> {
		// Only the first half of the answer is of interest.
		self.call::<Vec<List>>("Benchmark_benchmark_metadata", &extra.encode())
	}

	fn run(&self, list: &List, benchmark: &Metadata, values: &Values, verify: bool, repeats: u32) -> Result<Vec<Run>> {
		let (pallet, instance) = (&list.pallet[..], &list.instance[..]);
		let config = Config { pallet, instance, benchmark: &benchmark.name, values, verify, repeats };
		let batches: Result<Vec<Batch>, String> = self.call("Benchmark_dispatch_benchmark", &config.encode())?;
		let batches = batches.map_err(|error| anyhow!("{error}"))?;
		Ok(batches.into_iter().flat_map(|batch| batch.results).collect())
	}

	/// Measures a benchmark over the ranges of its parameters.
	fn measure(&self, list: &List, benchmark: &Metadata, options: &Options) -> Result<Measured> {
		let (mut times, mut reads, mut writes) = (Vec::new(), Vec::new(), Vec::new());
		let points = points(benchmark, options.steps);
		let last = points.last().cloned().unwrap_or_default();
		// The first run checks what was done, and warms up.
		self.run(list, benchmark, &last, true, 1)?;
		let mut longest = 0f64;
		for values in points {
			let runs = self.run(list, benchmark, &values, false, options.repeats)?;
			let at: Vec<f64> = values.iter().map(|(_, value)| f64::from(*value)).collect();
			let time = median(runs.iter().map(|run| run.time as f64));
			longest = longest.max(time);
			times.push((at.clone(), time));
			reads.push((at.clone(), median(runs.iter().map(|run| f64::from(run.reads)))));
			writes.push((at, median(runs.iter().map(|run| f64::from(run.writes)))));
		}
		Ok(Measured {
			pallet: String::from_utf8(list.pallet.clone())?,
			name: String::from_utf8(benchmark.name.clone())?,
			letters: benchmark.parameters.iter().map(|(parameter, ..)| parameter.letter()).collect(),
			time: fit::upper(&times),
			reads: fit::upper(&reads),
			writes: fit::upper(&writes),
			most: last.iter().map(|(_, value)| f64::from(*value)).collect(),
			longest,
		})
	}
}

/// All parameters at their least, then each through its range while the others are at their most; at last all at their most.
fn points(benchmark: &Metadata, steps: u32) -> Vec<Values> {
	let most: Values = benchmark.parameters.iter().map(|(parameter, _, most)| (*parameter, *most)).collect();
	let mut points = Vec::new();
	if benchmark.parameters.len() > 1 {
		points.push(benchmark.parameters.iter().map(|(parameter, least, _)| (*parameter, *least)).collect());
	}
	for (index, (_, least, most_of_it)) in benchmark.parameters.iter().enumerate() {
		let range = most_of_it.saturating_sub(*least);
		let steps = steps.clamp(2, range.max(2));
		for step in 0..steps.saturating_sub(1) {
			let mut values = most.clone();
			let add = u64::from(range) * u64::from(step) / u64::from(steps.saturating_sub(1));
			values[index].1 = least.saturating_add(add as u32);
			points.push(values);
		}
	}
	points.push(most);
	points
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
	let mut values: Vec<f64> = values.collect();
	values.sort_by(f64::total_cmp);
	values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn main() -> Result<()> {
	let options = Options::parse();
	let wasm = std::fs::read(&options.wasm).with_context(|| format!("reading {}", options.wasm.display()))?;
	let runner = Runner::new(wasm);
	let (lists, mut measured) = (runner.lists(true)?, Vec::new());
	for list in &lists {
		for benchmark in &list.benchmarks {
			let name =
				format!("{}::{}", String::from_utf8_lossy(&list.pallet), String::from_utf8_lossy(&benchmark.name));
			if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
				continue;
			}
			let result = runner.measure(list, benchmark, &options).with_context(|| name.clone())?;
			eprintln!("{name}: {:.0} us", result.longest / 1e3);
			measured.push(result);
		}
	}
	if measured.is_empty() {
		bail!("there is no such benchmark");
	}
	let weights: BTreeMap<(&str, &str), &Measured> =
		measured.iter().map(|one| ((one.pallet.as_str(), one.name.as_str()), one)).collect();
	let mut report = write::header(&options.wasm, options.steps, options.repeats, options.factor);
	report.push_str(&write::table(&measured, options.factor));
	report.push_str(&write::extremes(&weights, options.factor));
	print!("{report}");
	if options.only.is_some() {
		return Ok(());
	}
	if let Some(path) = &options.report {
		std::fs::write(path, &report).with_context(|| format!("writing {}", path.display()))?;
	}
	if let Some(path) = &options.weights {
		let of_calls: Vec<&Measured> = measured.iter().filter(|one| !one.name.ends_with(REFUSED)).collect();
		let text = write::rust(&of_calls, options.steps, options.repeats, options.factor);
		std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
	}
	Ok(())
}
