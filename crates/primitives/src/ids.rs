use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// An account: a public key, or a hash of what controls it.
pub type AccountId = sp_runtime::AccountId32;
/// An amount in the smallest unit.
pub type Balance = u128;
/// A block's height.
pub type BlockNumber = u32;
/// A block's hash.
pub type Hash = sp_core::H256;
/// Milliseconds since the Unix epoch.
pub type Moment = u64;

macro_rules! id {
	($(#[$doc:meta])* $name:ident($inner:ty)) => {
		$(#[$doc])*
		#[derive(
			Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen,
			TypeInfo,
		)]
		pub struct $name(pub $inner);

		impl core::fmt::Display for $name {
			fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
				self.0.fmt(f)
			}
		}
	};
}

id!(
	/// A task, in order of registration.
	TaskId(u32)
);
id!(
	/// An assignment of a unit to a worker, in order of assignment.
	AssignmentId(u64)
);
