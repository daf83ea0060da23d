//! How the storage of older runtimes becomes that of this one.

use frame_support::{migrations::VersionedMigration, storage_alias, traits::UncheckedOnRuntimeUpgrade};

use super::*;

/// From version 1 to 2: spans say where they start, so that a result that falls is taken off the span it was counted in.
pub type SpansWithStarts<T> =
	VersionedMigration<1, 2, UncheckedSpansWithStarts<T>, Pallet<T>, <T as frame_system::Config>::DbWeight>;

/// [`SpansWithStarts`], if the storage is of version 1.
#[doc(hidden)]
pub struct UncheckedSpansWithStarts<T>(PhantomData<T>);

/// The storage of version 1.
// The macro makes a type that it does not document.
#[allow(missing_docs)]
pub mod v1 {
	use super::*;

	/// The spans, the current one at the end.
	#[storage_alias]
	pub type Spans<T: Config> = StorageValue<Pallet<T>, BoundedVec<Usefulness, ConstU32<SPANS>>, ValueQuery>;
}

impl<T: Config> UncheckedSpansWithStarts<T> {
	/// The last block that an older runtime executed: a runtime is upgraded before the number of the new block is set.
	fn last_block() -> BlockNumber {
		frame_system::Pallet::<T>::block_number().saturated_into()
	}

	/// Where the spans start, the current one first: version 1 ended one after every block whose number is a multiple of the length.
	fn starts() -> impl Iterator<Item = BlockNumber> {
		let length = T::SpanBlocks::get().max(1);
		let ended = Self::last_block().checked_div(length).unwrap_or(0);
		(0..=ended).rev().map(move |spans| spans.saturating_mul(length).saturating_add(1))
	}

	/// What the migration must keep: how many spans there are, and their sums.
	#[cfg(any(feature = "std", feature = "try-runtime"))]
	pub fn before() -> (u32, Usefulness) {
		let spans = v1::Spans::<T>::get();
		(spans.len() as u32, spans.iter().fold(Usefulness::default(), |sum, span| sum.plus(span)))
	}

	/// Checks that it is kept, and that each span starts after the one before and none in the future.
	#[cfg(any(feature = "std", feature = "try-runtime"))]
	pub fn check((count, sum): (u32, Usefulness)) -> Result<(), sp_runtime::DispatchError> {
		let next = Self::last_block().saturating_add(1);
		let spans = Spans::<T>::get();
		ensure!(spans.len() as u32 == count, "as many spans as before");
		ensure!(Pallet::<T>::recent() == sum, "the recent usefulness is as before");
		ensure!(spans.is_sorted_by(|a, b| a.start < b.start), "spans follow each other");
		ensure!(spans.last().is_none_or(|span| span.start <= next), "the current span has begun");
		Ok(())
	}
}

impl<T: Config> UncheckedOnRuntimeUpgrade for UncheckedSpansWithStarts<T> {
	fn on_runtime_upgrade() -> Weight {
		let old = v1::Spans::<T>::get();
		let starts = Self::starts();
		let mut spans: alloc::vec::Vec<_> =
			old.into_iter().rev().zip(starts).map(|(usefulness, start)| Span { start, usefulness }).collect();
		spans.reverse();
		Spans::<T>::put(BoundedVec::<_, ConstU32<SPANS>>::truncate_from(spans));
		T::DbWeight::get().reads_writes(2, 1)
	}

	#[cfg(feature = "try-runtime")]
	fn pre_upgrade() -> Result<alloc::vec::Vec<u8>, sp_runtime::TryRuntimeError> {
		Ok(Self::before().encode())
	}

	#[cfg(feature = "try-runtime")]
	fn post_upgrade(state: alloc::vec::Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
		use codec::DecodeAll;
		Self::check(DecodeAll::decode_all(&mut &state[..]).map_err(|_| "what stood before")?)
	}
}
