//! What the calls and hooks of our pallets cost. Written by `make weights`: do not edit.
//!
//! Measured 2026-11-23 on AMD EPYC,
//! `labora-weights --steps 10 --repeats 5`. Times are the measured ones by 1.5: other machines are slower, and noisy.
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
		cost(569_556, 12, 9).saturating_add(cost(16_951, 0, 0).saturating_mul(u64::from(c)))
	}

	fn prove_idle() -> Weight {
		cost(759_075, 8, 7)
	}

	fn block_hooks() -> Weight {
		cost(30_240, 6, 5)
	}
}

/// Of `pallet-tasks`.
pub struct Tasks;

impl pallet_tasks::WeightInfo for Tasks {
	fn register() -> Weight {
		cost(132_903, 4, 7)
	}

	fn fund() -> Weight {
		cost(432_267, 69, 4)
	}

	fn cancel() -> Weight {
		cost(103_833, 5, 4)
	}

	fn submit_result(s: u32, o: u32) -> Weight {
		cost(662_495, 18, 16)
			.saturating_add(cost(23_620, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(14_670, 0, 0).saturating_mul(u64::from(o)))
	}

	fn submit_classes(s: u32, o: u32, c: u32) -> Weight {
		cost(847_104, 16, 15)
			.saturating_add(cost(14_918, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(15_057, 0, 0).saturating_mul(u64::from(o)))
			.saturating_add(cost(5_153, 0, 0).saturating_mul(u64::from(c)))
	}

	fn submit_merge() -> Weight {
		cost(797_262, 138, 11)
	}

	fn mature(r: u32) -> Weight {
		cost(4_311, 3, 3).saturating_add(cost(363_527, 10, 11).saturating_mul(u64::from(r)))
	}
}

/// Of `pallet-workers`.
pub struct Workers;

impl pallet_workers::WeightInfo for Workers {
	fn register() -> Weight {
		cost(119_982, 4, 4)
	}

	fn leave() -> Weight {
		cost(48_597, 2, 2)
	}

	fn bond_more() -> Weight {
		cost(107_199, 3, 3)
	}

	fn withdraw() -> Weight {
		cost(85_403, 3, 3)
	}

	fn schedule(u: u32) -> Weight {
		cost(6_210_292, 832, 5).saturating_add(cost(411_110, 32, 10).saturating_mul(u64::from(u)))
	}
}

/// Of `pallet-disputes`.
pub struct Disputes;

impl pallet_disputes::WeightInfo for Disputes {
	fn challenge() -> Weight {
		cost(512_276, 69, 4)
	}

	fn answer(c: u32) -> Weight {
		cost(424_566, 9, 6).saturating_add(cost(12_475, 0, 0).saturating_mul(u64::from(c)))
	}

	fn answer_merged() -> Weight {
		cost(2_195_340, 73, 6)
	}

	fn fall(v: u32) -> Weight {
		cost(13_870_226, 499, 529).saturating_add(cost(121_139, 3, 5).saturating_mul(u64::from(v)))
	}

	fn report_equivocation(b: u32) -> Weight {
		cost(370_753, 7, 6).saturating_add(cost(286, 0, 0).saturating_mul(u64::from(b)))
	}

	fn hooks(d: u32, a: u32) -> Weight {
		cost(2_289_387, 44, 4)
			.saturating_add(cost(14_982, 2, 0).saturating_mul(u64::from(d)))
			.saturating_add(cost(423_443, 4, 2).saturating_mul(u64::from(a)))
	}
}

/// Of `pallet-validators`.
pub struct Validators;

impl pallet_validators::WeightInfo for Validators {
	fn declare_candidacy() -> Weight {
		cost(297_426, 4, 4)
	}

	fn bond_more() -> Weight {
		cost(164_223, 3, 3)
	}

	fn leave() -> Weight {
		cost(107_754, 3, 2)
	}

	fn withdraw() -> Weight {
		cost(92_852, 6, 3)
	}

	fn on_offence(o: u32) -> Weight {
		cost(330_350, 6, 4).saturating_add(cost(95_071, 4, 4).saturating_mul(u64::from(o)))
	}

	fn session_end() -> Weight {
		cost(3_957_242, 522, 9)
	}
}
