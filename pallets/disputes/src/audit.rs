//! Audits: what is drawn, and what a unit therefore puts at stake.

use labora_primitives::{money::stake, DisputeLedger};
use sp_io::hashing::blake2_256;

use super::*;

impl<T: Config> Pallet<T> {
	/// Draws the audit of a result from the ticket of the block after the one that took it. Whoever finds that ticket can only keep
	/// it to itself, and loses the block; a block's hash it could vary at will.
	pub(crate) fn draw(id: AssignmentId) {
		let Some(result) = T::Results::standing(id) else { return };
		let Some((spec, program)) = Self::task(&result) else { return };
		let seed = (b"labora/audit/1", T::Tickets::ticket(), id).using_encoded(blake2_256);
		let (steps, blocks) = (T::AuditSteps::get(), T::AuditBlocks::get());
		let claims = spec.audit(&program, result.unit.kind, &seed, steps, blocks);
		// No later than what its acceptance noted, so it is looked at when it is over.
		let due = Self::now().saturating_add(Self::showing(T::AuditWindow::get(), result.took));
		Demands::<T>::mutate(id, |demands| {
			for claim in &claims {
				// Asked for by a challenger already: it will be shown anyway.
				if demands.iter().all(|demand| demand.claim != *claim) {
					let added = demands.try_push(Demand { claim: *claim, by: None, due, proven: false });
					debug_assert!(added.is_ok(), "challenges fill at most half");
				}
			}
		});
		let due = Self::height_of(due);
		Self::deposit_event(Event::AuditDrawn { assignment: id, worker: result.worker, claims, due });
	}

	/// Notes a result whose audit is drawn in one of the next two blocks for when it will be over, whatever becomes of the clock until then.
	pub(crate) fn note_audit(id: AssignmentId, took: BlockNumber) {
		let due = Self::now().saturating_add(DRAWN_AFTER).saturating_add(Self::showing(T::AuditWindow::get(), took));
		Self::look_at(id, due.saturating_add(1));
	}
}

impl<T: Config> DisputeLedger for Pallet<T> {
	fn stake(price: Balance, ops: u32) -> Balance {
		// An op that is left out in all steps is in each of the audited ones.
		let draws = u32::from(T::AuditSteps::get()).saturating_mul(u32::from(T::AuditBlocks::get()));
		stake(price, T::BlockReward::get(), ops, draws)
	}

	fn opened(id: AssignmentId, took: BlockNumber) -> bool {
		Self::note_audit(id, took);
		AuditAt::<T>::try_append(Self::height().saturating_add(DRAWN_AFTER), id).is_ok()
	}

	fn closed(id: AssignmentId) {
		Self::refund(Demands::<T>::take(id));
	}

	fn open_until(id: AssignmentId) -> Option<BlockNumber> {
		let demands = Demands::<T>::get(id);
		let last = demands.iter().map(|demand| demand.due).max()?;
		// Overdue ones are found in the block after, or a little later if there are many.
		Some(last.saturating_add(1).max(Self::now()))
	}
}

impl<T: Config> Clock for Pallet<T> {
	/// The blocks so far that had room for one more answer.
	fn now() -> BlockNumber {
		Self::height().saturating_sub(FullBlocks::<T>::get())
	}

	fn height_of(time: BlockNumber) -> BlockNumber {
		time.saturating_add(FullBlocks::<T>::get())
	}
}
