//! How the storage of older runtimes becomes that of this one.

use frame_support::{migrations::VersionedMigration, storage_alias, traits::UncheckedOnRuntimeUpgrade};

use super::*;

/// From version 1 to 2. When demands end is noted anew, for all results: lists that could be full are queues, and a result's acceptance
/// notes when its audit will be over. Full blocks before a result are no longer kept. Equivocations so old that their punishment is
/// forgotten stay too old.
///
/// The windows and deadlines of `pallet-tasks` and `pallet-workers` were heights, and are read as times of the clock from then on: they end
/// later by the full blocks that there were.
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

	/// Results of which something may be overdue at a time.
	#[storage_alias]
	pub type DueAt<T: Config> =
		StorageMap<Pallet<T>, Twox64Concat, BlockNumber, BoundedVec<AssignmentId, ConstU32<128>>, ValueQuery>;

	/// Blocks after which an equivocation could no longer be reported.
	pub const REPORT_AGE: BlockNumber = 256;
}

impl<T: Config> UncheckedOnRuntimeUpgrade for UncheckedAuditsNoted<T> {
	fn on_runtime_upgrade() -> Weight {
		// Each at most a few for every result that stands.
		let dropped = v1::FullBefore::<T>::drain().count().saturating_add(v1::DueAt::<T>::drain().count()) as u64;
		DueFrom::<T>::put((Pallet::<T>::now(), 0));
		let mut noted: u64 = 0;
		for (id, demands) in Demands::<T>::iter() {
			for demand in demands {
				// Those that are over, too: some may have found no room.
				Pallet::<T>::look_at(id, demand.due.max(Pallet::<T>::now()).saturating_add(1));
				noted = noted.saturating_add(1);
			}
		}
		for id in AuditAt::<T>::iter_values().flatten() {
			let Some(result) = T::Results::standing(id) else { continue };
			Pallet::<T>::note_audit(id, result.took);
			noted = noted.saturating_add(1);
		}
		ReportsFrom::<T>::put(Pallet::<T>::height().saturating_sub(v1::REPORT_AGE));
		T::DbWeight::get().reads_writes(
			dropped.saturating_add(noted.saturating_mul(4)),
			dropped.saturating_add(noted.saturating_mul(2)).saturating_add(2),
		)
	}

	#[cfg(feature = "try-runtime")]
	fn post_upgrade(_: Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
		let left = v1::FullBefore::<T>::iter_keys().count().saturating_add(v1::DueAt::<T>::iter_keys().count());
		ensure!(left == 0, "what is no longer kept is forgotten");
		Ok(Pallet::<T>::do_try_state()?)
	}
}
