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
	/// `submit_result` of a training unit that sealed `s` blocks, with `o` openings of outputs.
	fn submit_result(s: u32, o: u32) -> Weight;
	/// `submit_result` of an inference unit that sealed `s` blocks, with `o` openings of outputs and `c` blocks of 32 classes.
	fn submit_classes(s: u32, o: u32, c: u32) -> Weight;
	/// `submit_result` of a merge unit.
	fn submit_merge() -> Weight;
	/// The hook of a block in which `r` results mature.
	fn mature(r: u32) -> Weight;
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
	fn submit_classes(_: u32, _: u32, _: u32) -> Weight {
		Weight::zero()
	}
	fn submit_merge() -> Weight {
		Weight::zero()
	}
	fn mature(_: u32) -> Weight {
		Weight::zero()
	}
}
