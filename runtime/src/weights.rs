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
		cost(408_936, 12, 9).saturating_add(cost(19_133, 0, 0).saturating_mul(u64::from(c)))
	}

	fn prove_idle() -> Weight {
		cost(961_985, 8, 7)
	}

	fn block_hooks() -> Weight {
		cost(25_118, 6, 5)
	}
}

/// Of `pallet-tasks`.
pub struct Tasks;

impl pallet_tasks::WeightInfo for Tasks {
	fn register() -> Weight {
		cost(116_591, 4, 7)
	}

	fn fund() -> Weight {
		cost(352_760, 69, 4)
	}

	fn cancel() -> Weight {
		cost(88_677, 5, 4)
	}

	fn submit_result(s: u32, o: u32) -> Weight {
		cost(962_260, 14, 13)
			.saturating_add(cost(19_505, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(0, 0, 0).saturating_mul(u64::from(o)))
	}

	fn submit_classes(s: u32, o: u32, c: u32) -> Weight {
		cost(162_567, 12, 12)
			.saturating_add(cost(10_798, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(12_502, 0, 0).saturating_mul(u64::from(o)))
			.saturating_add(cost(4_414, 0, 0).saturating_mul(u64::from(c)))
	}

	fn submit_merge() -> Weight {
		cost(648_344, 137, 10)
	}

	fn mature(r: u32) -> Weight {
		cost(3_710, 3, 3).saturating_add(cost(340_199, 11, 10).saturating_mul(u64::from(r)))
	}
}

/// Of `pallet-workers`.
pub struct Workers;

impl pallet_workers::WeightInfo for Workers {
	fn register() -> Weight {
		cost(103_130, 4, 4)
	}

	fn leave() -> Weight {
		cost(35_559, 2, 2)
	}

	fn bond_more() -> Weight {
		cost(94_596, 3, 3)
	}

	fn withdraw() -> Weight {
		cost(74_348, 3, 3)
	}

	fn schedule(u: u32) -> Weight {
		cost(8_391_217, 778, 4).saturating_add(cost(542_210, 37, 11).saturating_mul(u64::from(u)))
	}
}

/// Of `pallet-disputes`.
pub struct Disputes;

impl pallet_disputes::WeightInfo for Disputes {
	fn challenge() -> Weight {
		cost(525_999, 68, 4)
	}

	fn answer(c: u32) -> Weight {
		cost(282_832, 7, 6).saturating_add(cost(15_442, 0, 0).saturating_mul(u64::from(c)))
	}

	fn answer_merged() -> Weight {
		cost(1_846_634, 71, 6)
	}

	fn fall(v: u32) -> Weight {
		cost(11_371_580, 495, 498).saturating_add(cost(101_021, 2, 3).saturating_mul(u64::from(v)))
	}

	fn report_equivocation(b: u32) -> Weight {
		cost(471_180, 7, 6).saturating_add(cost(213, 0, 0).saturating_mul(u64::from(b)))
	}

	fn hooks(d: u32, a: u32) -> Weight {
		cost(96_543, 34, 3)
			.saturating_add(cost(7_553, 2, 0).saturating_mul(u64::from(d)))
			.saturating_add(cost(359_406, 4, 2).saturating_mul(u64::from(a)))
	}
}

/// Of `pallet-validators`. Not measured yet: three times what `pallet-workers`, whose roster is four times as long, takes for the
/// same.
pub struct Validators;

impl pallet_validators::WeightInfo for Validators {
	fn declare_candidacy() -> Weight {
		cost(300_000, 3, 3)
	}

	fn bond_more() -> Weight {
		cost(300_000, 3, 3)
	}

	fn leave() -> Weight {
		cost(150_000, 3, 2)
	}

	fn withdraw() -> Weight {
		cost(250_000, 6, 3)
	}

	fn on_offence(o: u32) -> Weight {
		cost(100_000, 2, 1).saturating_add(cost(500_000, 8, 6).saturating_mul(u64::from(o)))
	}

	fn session_end() -> Weight {
		cost(30_000_000, 800, 120)
	}
}
