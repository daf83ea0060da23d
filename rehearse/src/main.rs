//! Rehearses a runtime upgrade: reads the whole state of a running chain, lets a new runtime migrate a copy of it, and has the runtime
//! check what its migrations promise and every pallet's invariants, before and after.
//!
//! The runtime has to be built with the feature `try-runtime` (`make rehearse` does). The node is only read.

mod snapshot;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{anyhow, ensure, Context, Result};
use clap::Parser;
use codec::{Decode, Encode};
use labora_cli::client::Client;
use sc_executor::{HeapAllocStrategy, WasmExecutor};
use snapshot::Snapshot;
use sp_core::traits::{CallContext, RuntimeCode, WrappedRuntimeCode};
use sp_externalities::Extensions;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{InMemoryBackend, OverlayedChanges, StateMachine};
use sp_version::RuntimeVersion;

/// Upgrades a copy of a running chain's state, with every check, and changes nothing.
#[derive(Parser)]
struct Options {
	/// WebSocket address of a node that still has the state of its last final block.
	url: String,
	/// The new runtime, built with the feature `try-runtime`.
	wasm: PathBuf,
}

/// `frame_try_runtime::UpgradeCheckSelect::All`: what migrations promise, and every pallet's invariants.
const ALL_CHECKS: u8 = 1;

/// Time and proof size, as the runtime gives them.
#[derive(Decode)]
struct Weight {
	#[codec(compact)]
	ref_time: u64,
	#[codec(compact)]
	_proof_size: u64,
}

/// Calls a function of a runtime on a state. Gives the answer, and how many of the state's keys it would have changed.
fn call<R: Decode>(state: &Snapshot, wasm: &[u8], function: &str, argument: &[u8]) -> Result<(R, usize)> {
	let executor: WasmExecutor<sp_io::SubstrateHostFunctions> = WasmExecutor::builder()
		.with_onchain_heap_alloc_strategy(HeapAllocStrategy::Static { extra_pages: 2_048 })
		.with_allow_missing_host_functions(false)
		.build();
	let fetcher = WrappedRuntimeCode(wasm.into());
	let hash = sp_crypto_hashing::blake2_256(wasm).to_vec();
	let code = RuntimeCode { code_fetcher: &fetcher, heap_pages: None, hash };
	let backend: InMemoryBackend<BlakeTwo256> = state.backend();
	let (mut overlay, mut extensions) = (OverlayedChanges::default(), Extensions::default());
	let context = CallContext::Onchain { import: false };
	let answer =
		StateMachine::new(&backend, &mut overlay, &executor, function, argument, &mut extensions, &code, context)
			.execute()
			.map_err(|error| anyhow!("{error}"))?;
	let changed = overlay.changes().count();
	let answer = R::decode(&mut &answer[..]).with_context(|| format!("{function} answers something else"))?;
	Ok((answer, changed))
}

fn describe(version: &RuntimeVersion) -> String {
	format!("{} {}", version.spec_name, version.spec_version)
}

async fn rehearse(options: Options) -> Result<()> {
	let wasm = std::fs::read(&options.wasm).with_context(|| format!("reading {}", options.wasm.display()))?;
	let client = Client::connect(&options.url).await?;
	let head = client.finalized().await?;
	let state = Snapshot::read(&client, head.hash).await?;
	println!("Block {} ({:?}): {} keys, {} KiB", head.height, head.hash, state.len(), state.bytes() >> 10);

	let old = state.get(sp_core::storage::well_known_keys::CODE).context("the chain has a runtime")?.to_vec();
	let (before, _): (RuntimeVersion, _) = call(&state, &old, "Core_version", &[])?;
	let (after, _): (RuntimeVersion, _) = call(&state, &wasm, "Core_version", &[])?;
	println!("From {} to {}", describe(&before), describe(&after));
	ensure!(before.spec_name == after.spec_name, "another chain's runtime");
	ensure!(before.spec_version < after.spec_version, "a node takes only a runtime of a higher specification version");

	let upgrade = "TryRuntime_on_runtime_upgrade";
	let ((used, most), changed): ((Weight, Weight), _) = call(&state, &wasm, upgrade, &ALL_CHECKS.encode())
		.context("the upgrade fails, or the runtime was built without the feature `try-runtime`")?;
	println!(
		"The migrations change {changed} keys, weigh {:.3} ms of a block's {:.0} ms, and every check holds",
		used.ref_time as f64 / 1e9,
		most.ref_time as f64 / 1e9
	);
	ensure!(used.ref_time <= most.ref_time, "the migrations do not fit in a block");
	Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
	match rehearse(Options::parse()).await {
		Ok(()) => ExitCode::SUCCESS,
		Err(error) => {
			eprintln!("error: {error:#}");
			ExitCode::FAILURE
		}
	}
}
