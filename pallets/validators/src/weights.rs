//! Weights of the calls.

use frame_support::weights::Weight;

/// What the calls and hooks of this pallet cost.
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
	/// The end of a session, with its election. `pallet-session` charges the whole block for it; this says whether it fits.
	fn session_end() -> Weight;
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
	fn session_end() -> Weight {
		Weight::zero()
	}
}
