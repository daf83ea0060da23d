//! What the calls and hooks of our pallets cost. Written by `make weights`: do not edit.
//!
//! Measured 2026-11-22 on AMD EPYC,
//! `labora-weights --steps 5 --repeats 5`. Times are the measured ones by 1.5: other machines are slower, and noisy.
//! The chain is standalone, so there are no proofs of storage.

use frame_support::weights::{constants::RocksDbWeight as Db, Weight};

/// Nanoseconds of execution, reads and writes.
fn cost(nanos: u64, reads: u64, writes: u64) -> Weight {
	Weight::from_parts(nanos.saturating_mul(1_000), 0).saturating_add(Db::get().reads_writes(reads, writes))
}

/// Of `pallet-work`.
pub struct Work;

impl pallet_work::WeightInfo for Work {
	fn prove_useful(c: u32) -> Weight {
		cost(788_744, 12, 8).saturating_add(cost(18_836, 0, 0).saturating_mul(u64::from(c)))
	}

	fn prove_idle() -> Weight {
		cost(1_021_548, 8, 6)
	}

	fn block_hooks() -> Weight {
		cost(24_353, 6, 5)
	}
}

/// Of `pallet-tasks`.
pub struct Tasks;

impl pallet_tasks::WeightInfo for Tasks {
	fn register() -> Weight {
		cost(108_387, 4, 7)
	}

	fn fund() -> Weight {
		cost(398_910, 68, 3)
	}

	fn cancel() -> Weight {
		cost(94_643, 5, 4)
	}

	fn submit_result(s: u32, o: u32) -> Weight {
		cost(429_294, 13, 12)
			.saturating_add(cost(18_448, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(8_713, 0, 0).saturating_mul(u64::from(o)))
	}

	fn submit_classes(s: u32, o: u32, c: u32) -> Weight {
		cost(214_041, 12, 12)
			.saturating_add(cost(11_344, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(10_895, 0, 0).saturating_mul(u64::from(o)))
			.saturating_add(cost(3_868, 0, 0).saturating_mul(u64::from(c)))
	}

	fn submit_merge() -> Weight {
		cost(625_991, 136, 9)
	}

	fn mature(r: u32) -> Weight {
		cost(3_635, 3, 3).saturating_add(cost(316_677, 10, 9).saturating_mul(u64::from(r)))
	}
}

/// Of `pallet-workers`.
pub struct Workers;

impl pallet_workers::WeightInfo for Workers {
	fn register() -> Weight {
		cost(128_667, 4, 4)
	}

	fn leave() -> Weight {
		cost(106_481, 2, 2)
	}

	fn bond_more() -> Weight {
		cost(112_865, 3, 3)
	}

	fn withdraw() -> Weight {
		cost(94_583, 3, 3)
	}

	fn schedule(u: u32) -> Weight {
		cost(6_350_811, 805, 4).saturating_add(cost(439_028, 34, 11).saturating_mul(u64::from(u)))
	}
}

/// Of `pallet-disputes`.
pub struct Disputes;

impl pallet_disputes::WeightInfo for Disputes {
	fn challenge() -> Weight {
		cost(364_688, 70, 4)
	}

	fn answer(c: u32) -> Weight {
		cost(197_473, 7, 6).saturating_add(cost(15_413, 0, 0).saturating_mul(u64::from(c)))
	}

	fn answer_merged() -> Weight {
		cost(1_802_601, 71, 6)
	}

	fn fall(v: u32) -> Weight {
		cost(16_427_540, 494, 496).saturating_add(cost(105_604, 2, 3).saturating_mul(u64::from(v)))
	}

	fn report_equivocation(b: u32) -> Weight {
		cost(2_444_283, 6, 6).saturating_add(cost(231, 0, 0).saturating_mul(u64::from(b)))
	}

	fn hooks(d: u32, a: u32) -> Weight {
		cost(2_929_245, 35, 2)
			.saturating_add(cost(13_996, 2, 0).saturating_mul(u64::from(d)))
			.saturating_add(cost(327_104, 4, 2).saturating_mul(u64::from(a)))
	}
}
