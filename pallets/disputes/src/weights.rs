//! Weights of the calls.

use frame_support::weights::Weight;

/// What the calls and hooks of this pallet cost.
pub trait WeightInfo {
	/// `challenge`.
	fn challenge() -> Weight;
	/// `answer` that opens `c` chunks, the hashes beside them included.
	fn answer(c: u32) -> Weight;
	/// `answer` to a claim about a merge, which reads the records of the round beside what its chunks cost.
	fn answer_merged() -> Weight;
	/// The fall of a result that voids `v` others.
	fn fall(v: u32) -> Weight;
	/// `report_equivocation` of two headers of `b` bytes together.
	fn report_equivocation(b: u32) -> Weight;
	/// The hooks of a block that looks at `d` ends of demands, draws `a` audits and finds `g` results gone that are to fall.
	fn hooks(d: u32, a: u32, g: u32) -> Weight;
}

/// No weight: for tests.
impl WeightInfo for () {
	fn challenge() -> Weight {
		Weight::zero()
	}
	fn answer(_: u32) -> Weight {
		Weight::zero()
	}
	fn answer_merged() -> Weight {
		Weight::zero()
	}
	fn fall(_: u32) -> Weight {
		Weight::zero()
	}
	fn report_equivocation(_: u32) -> Weight {
		Weight::zero()
	}
	fn hooks(_: u32, _: u32, _: u32) -> Weight {
		Weight::zero()
	}
}
