//! What the calls of our pallets cost.
//!
//! Proof verification was measured in the release Wasm blob (`make bench`, `docs/benchmarks`: 0.7 ms at k = 256, 17 ms at k = 16,384) and
//! about doubled. The rest is an estimate of its hashing, rounded up, and a count of its storage accesses: it is not benchmarked yet.

use frame_support::weights::{
	constants::{RocksDbWeight as Db, WEIGHT_REF_TIME_PER_MICROS},
	Weight,
};

const fn micros(micros: u64) -> Weight {
	Weight::from_parts(micros.saturating_mul(WEIGHT_REF_TIME_PER_MICROS), 0)
}

fn db(reads: u64, writes: u64) -> Weight {
	Db::get().reads_writes(reads, writes)
}

/// Of `pallet-work`.
pub struct Work;
/// Of `pallet-tasks`.
pub struct Tasks;
/// Of `pallet-workers`.
pub struct Workers;
/// Of `pallet-disputes`.
pub struct Disputes;

impl pallet_work::WeightInfo for Work {
	fn prove_useful(_: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn prove_idle() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn block_hooks() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
}

impl pallet_tasks::WeightInfo for Tasks {
	fn register() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn fund() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn cancel() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn submit_result(_: u32, _: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn submit_classes(_: u32, _: u32, _: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn submit_merge() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn mature(_: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
}

impl pallet_workers::WeightInfo for Workers {
	fn register() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn leave() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn bond_more() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn withdraw() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn schedule(_: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
}

impl pallet_disputes::WeightInfo for Disputes {
	fn challenge() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn answer(_: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn answer_merged() -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn fall(_: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn report_equivocation(_: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
	fn hooks(_: u32, _: u32) -> Weight {
		micros(1).saturating_add(db(1, 1))
	}
}
