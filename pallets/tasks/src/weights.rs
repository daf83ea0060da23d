//! Weights of the calls.

use frame_support::weights::Weight;

/// What the calls and hooks of this pallet cost.
pub trait WeightInfo {
	/// `register`.
	fn register() -> Weight;
	/// `fund`.
	fn fund() -> Weight;
	/// `cancel`.
	fn cancel() -> Weight;
	/// `submit_result` with so many seal openings and output openings.
	fn submit_result(seals: u32, outputs: u32) -> Weight;
	/// The hook of a block in which `results` mature.
	fn mature(results: u32) -> Weight;
}

/// No weight: for tests.
impl WeightInfo for () {
	fn register() -> Weight {
		Weight::zero()
	}
	fn fund() -> Weight {
		Weight::zero()
	}
	fn cancel() -> Weight {
		Weight::zero()
	}
	fn submit_result(_: u32, _: u32) -> Weight {
		Weight::zero()
	}
	fn mature(_: u32) -> Weight {
		Weight::zero()
	}
}
