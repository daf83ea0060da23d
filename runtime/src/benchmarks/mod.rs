//! What the calls and hooks of our pallets cost: the benchmarks that `make weights` runs, each at its worst.
//!
//! They stand here and not in the pallets, as nearly all need the state of several of them: here all types are concrete.

mod disputes;
mod setup;
mod tasks;
mod validators;
mod work;
mod workers;

use alloc::{string::String, vec::Vec};
use frame_benchmarking::{add_benchmark, list_benchmark, BenchmarkBatch, BenchmarkConfig, BenchmarkList};
use frame_support::storage::storage_prefix;
use sp_core::storage::TrackedStorageKey;

use crate::Runtime;

/// All benchmarks; `extra` are those that are measured but are no weight.
pub fn list(extra: bool) -> Vec<BenchmarkList> {
	let mut list = Vec::new();
	list_benchmark!(list, extra, pallet_work, work::Pallet::<Runtime>);
	list_benchmark!(list, extra, pallet_tasks, tasks::Pallet::<Runtime>);
	list_benchmark!(list, extra, pallet_workers, workers::Pallet::<Runtime>);
	list_benchmark!(list, extra, pallet_disputes, disputes::Pallet::<Runtime>);
	list_benchmark!(list, extra, pallet_validators, validators::Pallet::<Runtime>);
	list
}

/// Runs one.
pub fn dispatch(config: BenchmarkConfig) -> Result<Vec<BenchmarkBatch>, String> {
	// In memory in every block, whatever it does.
	let everywhere = ["Number", "EventCount", "Events", "ExecutionPhase", "ParentHash", "Digest"];
	let whitelist: Vec<TrackedStorageKey> =
		everywhere.iter().map(|name| storage_prefix(b"System", name.as_bytes()).to_vec().into()).collect();
	let mut batches = Vec::new();
	let params = (&config, &whitelist[..]);
	add_benchmark!(params, batches, pallet_work, work::Pallet::<Runtime>);
	add_benchmark!(params, batches, pallet_tasks, tasks::Pallet::<Runtime>);
	add_benchmark!(params, batches, pallet_workers, workers::Pallet::<Runtime>);
	add_benchmark!(params, batches, pallet_disputes, disputes::Pallet::<Runtime>);
	add_benchmark!(params, batches, pallet_validators, validators::Pallet::<Runtime>);
	Ok(batches)
}
