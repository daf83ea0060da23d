//! Weights of the calls.

use frame_support::weights::Weight;

/// What the calls and hooks of this pallet cost.
pub trait WeightInfo {
	/// `prove` with a useful proof that opens `c` chunks, the hashes beside them included.
	fn prove_useful(c: u32) -> Weight;
	/// `prove` with an idle proof.
	fn prove_idle() -> Weight;
	/// The hooks of a block: the author before it, the difficulty after it.
	fn block_hooks() -> Weight;
}

/// No weight: for tests.
impl WeightInfo for () {
	fn prove_useful(_: u32) -> Weight {
		Weight::zero()
	}
	fn prove_idle() -> Weight {
		Weight::zero()
	}
	fn block_hooks() -> Weight {
		Weight::zero()
	}
}
