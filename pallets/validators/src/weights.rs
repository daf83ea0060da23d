//! Weights of the calls.

use frame_support::weights::Weight;

/// What the calls of this pallet cost. The election has no weight of its own: `pallet-session` takes the whole block in which a
/// session ends.
pub trait WeightInfo {
	/// `declare_candidacy`.
	fn declare_candidacy() -> Weight;
	/// `bond_more`.
	fn bond_more() -> Weight;
	/// `leave`.
	fn leave() -> Weight;
	/// `withdraw`.
	fn withdraw() -> Weight;
	/// The punishment of `o` offenders.
	fn on_offence(o: u32) -> Weight;
}

/// No weight: for tests.
impl WeightInfo for () {
	fn declare_candidacy() -> Weight {
		Weight::zero()
	}
	fn bond_more() -> Weight {
		Weight::zero()
	}
	fn leave() -> Weight {
		Weight::zero()
	}
	fn withdraw() -> Weight {
		Weight::zero()
	}
	fn on_offence(_: u32) -> Weight {
		Weight::zero()
	}
}
