//! Weights of the calls.

use frame_support::weights::Weight;

/// What the calls and hooks of this pallet cost.
pub trait WeightInfo {
	/// `register`.
	fn register() -> Weight;
	/// `leave`.
	fn leave() -> Weight;
	/// `bond_more`.
	fn bond_more() -> Weight;
	/// `withdraw`.
	fn withdraw() -> Weight;
	/// The hooks of a block that finds `u` assignments overdue and assigns as many.
	fn schedule(u: u32) -> Weight;
}

/// No weight: for tests.
impl WeightInfo for () {
	fn register() -> Weight {
		Weight::zero()
	}
	fn leave() -> Weight {
		Weight::zero()
	}
	fn bond_more() -> Weight {
		Weight::zero()
	}
	fn withdraw() -> Weight {
		Weight::zero()
	}
	fn schedule(_: u32) -> Weight {
		Weight::zero()
	}
}
