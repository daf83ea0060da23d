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
		let due = Self::clock().saturating_add(T::AuditWindow::get()).saturating_add(result.took / SHOWING);
		Demands::<T>::mutate(id, |demands| {
			for claim in &claims {
				// Asked for by a challenger already: it will be shown anyway.
				if demands.iter().all(|demand| demand.claim != *claim) {
					let added = demands.try_push(Demand { claim: *claim, by: None, due, proven: false });
					debug_assert!(added.is_ok(), "challenges fill at most half");
				}
			}
		});
		if !Self::look_at(id, due.saturating_add(1)) {
			log::error!(target: "runtime::disputes", "no block has room for the audit of assignment {id}");
		}
		let due = Self::height_of(due);
		Self::deposit_event(Event::AuditDrawn { assignment: id, worker: result.worker, claims, due });
	}
}

impl<T: Config> DisputeLedger for Pallet<T> {
	fn stake(price: Balance, ops: u32) -> Balance {
		// An op that is left out in all steps is in each of the audited ones.
		let draws = u32::from(T::AuditSteps::get()).saturating_mul(u32::from(T::AuditBlocks::get()));
		stake(price, T::BlockReward::get(), ops, draws)
	}

	fn opened(id: AssignmentId) -> bool {
		let full = FullBlocks::<T>::get();
		if full > 0 {
			FullBefore::<T>::insert(id, full);
		}
		// The ticket of the next block draws: it is known in the one after that.
		AuditAt::<T>::try_append(Self::now().saturating_add(2), id).is_ok()
	}

	fn closed(id: AssignmentId) {
		FullBefore::<T>::remove(id);
		Self::refund(Demands::<T>::take(id));
	}

	fn open_until(id: AssignmentId) -> Option<BlockNumber> {
		let demands = Demands::<T>::get(id);
		let last = demands.iter().map(|demand| demand.due).max()?;
		// Overdue ones are found in the block after, or a little later if there are many.
		Some(Self::height_of(last.saturating_add(1).max(Self::clock())))
	}
}
