//! What the calls and hooks of our pallets cost. Written by `make weights`: do not edit.
//!
//! Measured 2026-11-23 on AMD EPYC,
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
		cost(281_619, 12, 9).saturating_add(cost(18_154, 0, 0).saturating_mul(u64::from(c)))
	}

	fn prove_idle() -> Weight {
		cost(924_774, 8, 7)
	}

	fn block_hooks() -> Weight {
		cost(22_548, 6, 5)
	}
}

/// Of `pallet-tasks`.
pub struct Tasks;

impl pallet_tasks::WeightInfo for Tasks {
	fn register() -> Weight {
		cost(100_772, 4, 7)
	}

	fn fund() -> Weight {
		cost(354_156, 69, 4)
	}

	fn cancel() -> Weight {
		cost(81_588, 5, 4)
	}

	fn submit_result(s: u32, o: u32) -> Weight {
		cost(270_753, 17, 15)
			.saturating_add(cost(15_608, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(7_366, 0, 0).saturating_mul(u64::from(o)))
	}

	fn submit_classes(s: u32, o: u32, c: u32) -> Weight {
		cost(141_140, 15, 14)
			.saturating_add(cost(11_167, 0, 0).saturating_mul(u64::from(s)))
			.saturating_add(cost(9_714, 0, 0).saturating_mul(u64::from(o)))
			.saturating_add(cost(3_954, 0, 0).saturating_mul(u64::from(c)))
	}

	fn submit_merge() -> Weight {
		cost(597_734, 137, 10)
	}

	fn mature(r: u32) -> Weight {
		cost(430_961, 3, 3).saturating_add(cost(276_039, 11, 10).saturating_mul(u64::from(r)))
	}
}

/// Of `pallet-workers`.
pub struct Workers;

impl pallet_workers::WeightInfo for Workers {
	fn register() -> Weight {
		cost(89_504, 4, 4)
	}

	fn leave() -> Weight {
		cost(31_262, 2, 2)
	}

	fn bond_more() -> Weight {
		cost(84_878, 3, 3)
	}

	fn withdraw() -> Weight {
		cost(66_641, 3, 3)
	}

	fn schedule(u: u32) -> Weight {
		cost(4_595_340, 821, 4).saturating_add(cost(340_486, 32, 11).saturating_mul(u64::from(u)))
	}
}

/// Of `pallet-disputes`.
pub struct Disputes;

impl pallet_disputes::WeightInfo for Disputes {
	fn challenge() -> Weight {
		cost(381_768, 68, 4)
	}

	fn answer(c: u32) -> Weight {
		cost(200_599, 7, 6).saturating_add(cost(14_428, 0, 0).saturating_mul(u64::from(c)))
	}

	fn answer_merged() -> Weight {
		cost(1_635_792, 71, 6)
	}

	fn fall(v: u32) -> Weight {
		cost(10_522_097, 498, 500).saturating_add(cost(96_126, 3, 4).saturating_mul(u64::from(v)))
	}

	fn report_equivocation(b: u32) -> Weight {
		cost(263_562, 7, 6).saturating_add(cost(208, 0, 0).saturating_mul(u64::from(b)))
	}

	fn hooks(d: u32, a: u32) -> Weight {
		cost(186_207, 34, 3)
			.saturating_add(cost(6_036, 2, 0).saturating_mul(u64::from(d)))
			.saturating_add(cost(315_819, 4, 2).saturating_mul(u64::from(a)))
	}
}

/// Of `pallet-validators`.
pub struct Validators;

impl pallet_validators::WeightInfo for Validators {
	fn declare_candidacy() -> Weight {
		cost(222_710, 4, 4)
	}

	fn bond_more() -> Weight {
		cost(83_796, 3, 3)
	}

	fn leave() -> Weight {
		cost(79_259, 3, 2)
	}

	fn withdraw() -> Weight {
		cost(71_312, 6, 3)
	}

	fn on_offence(o: u32) -> Weight {
		cost(199_964, 6, 4).saturating_add(cost(75_377, 4, 4).saturating_mul(u64::from(o)))
	}

	fn session_end() -> Weight {
		cost(3_087_030, 522, 9)
	}
}
