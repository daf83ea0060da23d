//! How the storage of older runtimes becomes that of this one.

use frame_support::{migrations::VersionedMigration, storage_alias, traits::UncheckedOnRuntimeUpgrade};

use super::*;

/// From version 1 to 2: a result's acceptance notes when its audit will be over, and full blocks before it are no longer kept.
pub type AuditsNoted<T> =
	VersionedMigration<1, 2, UncheckedAuditsNoted<T>, Pallet<T>, <T as frame_system::Config>::DbWeight>;

/// [`AuditsNoted`], if the storage is of version 1.
#[doc(hidden)]
pub struct UncheckedAuditsNoted<T>(PhantomData<T>);

/// The storage of version 1.
// The macro makes a type that it does not document.
#[allow(missing_docs)]
pub mod v1 {
	use super::*;

	/// Full blocks before a result was accepted, of the standing ones.
	#[storage_alias]
	pub type FullBefore<T: Config> = StorageMap<Pallet<T>, Twox64Concat, AssignmentId, BlockNumber, ValueQuery>;
}

impl<T: Config> UncheckedOnRuntimeUpgrade for UncheckedAuditsNoted<T> {
	fn on_runtime_upgrade() -> Weight {
		// At most as many as results stand.
		let forgotten = v1::FullBefore::<T>::drain().count() as u64;
		let mut noted: u64 = 0;
		for id in AuditAt::<T>::iter_values().flatten() {
			let Some(result) = T::Results::standing(id) else { continue };
			if !Pallet::<T>::note_audit(id, result.took) {
				log::error!(target: "runtime::disputes", "no time has room for the audit of assignment {id}");
			}
			noted = noted.saturating_add(1);
		}
		T::DbWeight::get()
			.reads_writes(forgotten.saturating_add(noted.saturating_mul(3)), forgotten.saturating_add(noted))
	}

	#[cfg(feature = "try-runtime")]
	fn post_upgrade(_: Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
		ensure!(v1::FullBefore::<T>::iter_keys().next().is_none(), "full blocks before results are forgotten");
		Ok(Pallet::<T>::do_try_state()?)
	}
}
