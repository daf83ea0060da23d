//! What the calls and hooks of our pallets cost. Written by `make weights`: do not edit.
//!
//! Measured 2026-11-24 on AMD EPYC,
//! `labora-weights --steps 10 --repeats 9`. Times are the measured ones by 1.5: other machines are slower, and noisy.
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
		cost(428_552, 12, 9).saturating_add(cost(16_354, 0, 0).saturating_mul(u64::from(c)))
	}

	fn prove_idle() -> Weight {
		cost(758_114, 8, 7)
	}

	fn block_hooks() -> Weight {
		cost(33_365, 6, 5)
	}
}

/// Of `pallet-tasks`.
pub struct Tasks;

impl pallet_tasks::WeightInfo for Tasks {
	fn register() -> Weight {
		cost(130_935, 4, 7)
	}

	fn fund() -> Weight {
		cost(476_642, 69, 4)
	}

	fn cancel() -> Weight {
		cost(174_273, 5, 4)
	}

	fn submit_result(s: u32, o: u32) -> Weight {
		cost(330_657, 19, 17)
			.saturating_add(cost(20_889, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(10_716, 0, 0).saturating_mul(u64::from(o)))
	}

	fn submit_classes(s: u32, o: u32, c: u32) -> Weight {
		cost(149_654, 17, 16)
			.saturating_add(cost(13_889, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(12_680, 0, 0).saturating_mul(u64::from(o)))
			.saturating_add(cost(5_638, 0, 0).saturating_mul(u64::from(c)))
	}

	fn submit_merge() -> Weight {
		cost(855_729, 139, 12)
	}

	fn mature(r: u32) -> Weight {
		cost(1_010_830, 4, 3).saturating_add(cost(384_733, 10, 10).saturating_mul(u64::from(r)))
	}
}

/// Of `pallet-workers`.
pub struct Workers;

impl pallet_workers::WeightInfo for Workers {
	fn register() -> Weight {
		cost(117_354, 4, 4)
	}

	fn leave() -> Weight {
		cost(48_447, 2, 2)
	}

	fn bond_more() -> Weight {
		cost(109_076, 3, 3)
	}

	fn withdraw() -> Weight {
		cost(85_958, 3, 3)
	}

	fn schedule(u: u32) -> Weight {
		cost(6_411_766, 833, 5).saturating_add(cost(442_763, 32, 10).saturating_mul(u64::from(u)))
	}
}

/// Of `pallet-disputes`.
pub struct Disputes;

impl pallet_disputes::WeightInfo for Disputes {
	fn challenge() -> Weight {
		cost(173_132, 7, 5)
	}

	fn answer(c: u32) -> Weight {
		cost(241_754, 8, 6).saturating_add(cost(12_876, 0, 0).saturating_mul(u64::from(c)))
	}

	fn answer_merged() -> Weight {
		cost(2_188_160, 72, 6)
	}

	fn fall(v: u32) -> Weight {
		cost(13_778_068, 505, 533).saturating_add(cost(130_769, 4, 5).saturating_mul(u64::from(v)))
	}

	fn report_equivocation(b: u32) -> Weight {
		cost(464_634, 8, 6).saturating_add(cost(291, 0, 0).saturating_mul(u64::from(b)))
	}

	fn hooks(d: u32, a: u32, g: u32) -> Weight {
		cost(122_356, 8, 6)
			.saturating_add(cost(18_254, 2, 2).saturating_mul(u64::from(d)))
			.saturating_add(cost(71_703, 4, 2).saturating_mul(u64::from(a)))
			.saturating_add(cost(10_483, 2, 1).saturating_mul(u64::from(g)))
	}
}

/// Of `pallet-validators`.
pub struct Validators;

impl pallet_validators::WeightInfo for Validators {
	fn declare_candidacy() -> Weight {
		cost(209_141, 4, 4)
	}

	fn bond_more() -> Weight {
		cost(111_240, 3, 3)
	}

	fn leave() -> Weight {
		cost(113_883, 3, 2)
	}

	fn withdraw() -> Weight {
		cost(94_025, 6, 3)
	}

	fn on_offence(o: u32) -> Weight {
		cost(195_323, 6, 4).saturating_add(cost(99_288, 4, 4).saturating_mul(u64::from(o)))
	}

	fn session_end() -> Weight {
		cost(4_001_033, 522, 9)
	}
}
