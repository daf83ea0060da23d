//! Weights of the calls.

use frame_support::weights::Weight;

/// What the calls and hooks of this pallet cost.
pub trait WeightInfo {
	/// `challenge`.
	fn challenge() -> Weight;
	/// `answer` of so many chunks of openings.
	fn answer(chunks: u32) -> Weight;
	/// What a result that falls takes back, at most.
	fn fall() -> Weight;
	/// `report_equivocation`.
	fn report_equivocation() -> Weight;
	/// The hook of a block that lets `due` results fall and draws `audits`.
	fn hooks(due: u32, audits: u32) -> Weight;
}

/// No weight: for tests.
impl WeightInfo for () {
	fn challenge() -> Weight {
		Weight::zero()
	}
	fn answer(_: u32) -> Weight {
		Weight::zero()
	}
	fn fall() -> Weight {
		Weight::zero()
	}
	fn report_equivocation() -> Weight {
		Weight::zero()
	}
	fn hooks(_: u32, _: u32) -> Weight {
		Weight::zero()
	}
}
