//! What the calls of our pallets cost.
//!
//! Proof verification was measured in the release Wasm blob (`make bench`, `docs/benchmarks`: 0.7 ms at k = 256, 17 ms at k = 16,384) and
//! about doubled. The rest is an estimate of its hashing, rounded up, and a count of its storage accesses: it is not benchmarked yet.

use frame_support::weights::{
	constants::{RocksDbWeight as Db, WEIGHT_REF_TIME_PER_MICROS},
	Weight,
};
use labora_primitives::limits::MAX_UNITS;
use pallet_workers::MAX_CANDIDATES;

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
	fn prove_useful(k: u32) -> Weight {
		micros(1_000).saturating_add(micros(2).saturating_mul(u64::from(k))).saturating_add(db(12, 8))
	}

	fn prove_idle() -> Weight {
		micros(4_000).saturating_add(db(6, 5))
	}

	fn block_hooks() -> Weight {
		micros(20).saturating_add(db(5, 4))
	}
}

impl pallet_tasks::WeightInfo for Tasks {
	fn register() -> Weight {
		micros(300).saturating_add(db(5, 7))
	}

	fn fund() -> Weight {
		micros(150).saturating_add(db(4, 3))
	}

	fn cancel() -> Weight {
		micros(150).saturating_add(db(4, 4))
	}

	fn submit_result(seals: u32, outputs: u32) -> Weight {
		// An opening is a chunk and at most a dozen siblings; a step's classes are hashed as 64 KiB at most.
		let openings = u64::from(seals).saturating_mul(2).saturating_add(u64::from(outputs));
		micros(400)
			.saturating_add(micros(50).saturating_mul(openings))
			.saturating_add(micros(300).saturating_mul(u64::from(outputs)))
			.saturating_add(db(12u64.saturating_add(u64::from(MAX_UNITS)), 12))
	}

	fn mature(results: u32) -> Weight {
		micros(5)
			.saturating_add(db(1, 1))
			.saturating_add(micros(150).saturating_add(db(4, 4)).saturating_mul(u64::from(results)))
	}
}

impl pallet_workers::WeightInfo for Workers {
	fn register() -> Weight {
		micros(150).saturating_add(db(4, 4))
	}

	fn leave() -> Weight {
		micros(150).saturating_add(db(4, 4))
	}

	fn bond_more() -> Weight {
		micros(150).saturating_add(db(3, 3))
	}

	fn withdraw() -> Weight {
		micros(150).saturating_add(db(3, 3))
	}

	fn schedule(units: u32) -> Weight {
		let candidates = MAX_CANDIDATES as u64;
		let assigning = micros(100).saturating_add(micros(3).saturating_mul(candidates)).saturating_add(db(4, 6));
		let expiring = micros(150).saturating_add(db(6, 6));
		micros(50)
			.saturating_add(db(3, 1))
			.saturating_add(db(candidates, 0))
			.saturating_add(assigning.saturating_add(expiring).saturating_mul(u64::from(units)))
	}
}

impl pallet_disputes::WeightInfo for Disputes {
	fn challenge() -> Weight {
		micros(400).saturating_add(db(7, 5))
	}

	fn answer(chunks: u32) -> Weight {
		micros(600)
			.saturating_add(micros(6).saturating_mul(u64::from(chunks)))
			.saturating_add(db(8u64.saturating_add(u64::from(MAX_UNITS)), 6))
	}

	fn fall() -> Weight {
		// What one window holds.
		let fallen = u64::from(labora_primitives::limits::MAX_STANDING);
		micros(500).saturating_add(db(fallen, fallen))
	}

	fn report_equivocation() -> Weight {
		micros(400).saturating_add(db(4, 4))
	}

	fn hooks(due: u32, audits: u32) -> Weight {
		let due = micros(20).saturating_add(db(1, 1)).saturating_mul(u64::from(due));
		let audits = micros(300).saturating_add(db(4, 3)).saturating_mul(u64::from(audits));
		micros(10).saturating_add(db(2, 2)).saturating_add(due).saturating_add(audits)
	}
}
