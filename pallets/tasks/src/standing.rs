//! Results whose windows run: from their acceptance to their payment.

use frame_support::traits::tokens::{Fortitude, Restriction};
use labora_primitives::{money::split_price, Assignment};

use super::*;

/// Blocks that a result which cannot be looked at in its own block may be put off.
const SPREAD: u32 = 256;

impl<T: Config> Pallet<T> {
	/// A result was accepted: it stands until its window is over.
	pub(crate) fn stand(
		assignment: &Assignment,
		result: &UnitResult,
		price: Balance,
		now: BlockNumber,
	) -> DispatchResult {
		let unit = assignment.unit;
		let took = now.saturating_sub(assignment.assigned);
		let due = Self::window_end(now, took);
		let base = match unit.kind {
			UnitKind::Steps(_) => RoundParameters::<T>::get(unit.task, unit.round).unwrap_or_default(),
			UnitKind::Merge => BoundedVec::new(),
		};
		let standing = StandingResult {
			unit,
			worker: assignment.worker.clone(),
			accepted: now,
			due,
			took,
			price,
			stake: assignment.stake,
			trace_root: result.trace_root,
			metrics: result.metrics,
			base,
			parameters: result.parameters.clone(),
			void: false,
		};
		ensure!(Self::look_at(assignment.id, due.saturating_add(1), SPREAD), Error::<T>::TooManyResults);
		StandingOf::<T>::try_append(unit.task, assignment.id).map_err(|()| Error::<T>::TooManyResults)?;
		Standing::<T>::insert(assignment.id, standing);
		Ok(())
	}

	/// The last block of the window of a result that took so many blocks, if nobody extends it.
	pub(crate) fn window_end(accepted: BlockNumber, took: BlockNumber) -> BlockNumber {
		accepted.saturating_add(T::ResultWindow::get()).saturating_add(took)
	}

	/// Notes a result for a block, or for one soon after it that has room.
	fn look_at(id: AssignmentId, block: BlockNumber, spread: u32) -> bool {
		(block..=block.saturating_add(spread)).any(|block| MaturingAt::<T>::try_append(block, id).is_ok())
	}

	/// Looks at a result whose window may be over, and pays it if it is.
	pub(crate) fn mature(id: AssignmentId, now: BlockNumber) {
		// A result that fell is gone.
		let Some(result) = Standing::<T>::get(id) else { return };
		// What a task's earlier results are worth decides over the later ones: they are paid in order.
		let oldest = StandingOf::<T>::get(result.unit.task).first().copied().unwrap_or(id);
		let until = |id, due: BlockNumber| T::Disputes::open_until(id).unwrap_or(0).max(due);
		let mut open_until = until(id, result.due);
		if let Some(first) = Standing::<T>::get(oldest).filter(|_| oldest != id) {
			open_until = open_until.max(until(oldest, first.due)).max(now);
		}
		if open_until >= now {
			if !Self::look_at(id, open_until.saturating_add(1), BlockNumber::MAX) {
				log::error!(target: "runtime::tasks", "no block has room for the result of assignment {id}");
			}
			return;
		}
		Self::end(id, &result);
		Self::pay(id, &result);
		let task = result.unit.task;
		Tasks::<T>::mutate_extant(task, |info| Self::settle(task, info));
	}

	/// Takes a result out of the standing ones, and its stake off the worker.
	pub(crate) fn end(id: AssignmentId, result: &StandingResult) {
		Standing::<T>::remove(id);
		StandingOf::<T>::mutate(result.unit.task, |ids| ids.retain(|other| *other != id));
		T::Assignments::release(&result.worker, result.stake);
		T::Disputes::closed(id);
	}

	/// Pays a matured result from its sponsor's escrow, and vests the reward held under it.
	fn pay(id: AssignmentId, result: &StandingResult) {
		T::Rewards::vest(id);
		let (true, Some(info)) = (result.price > 0, Tasks::<T>::get(result.unit.task)) else { return };
		let (paid, burned) = split_price(result.price);
		let (reason, worker) = (HoldReason::Escrow.into(), &result.worker);
		let transferred = T::Currency::transfer_on_hold(
			&reason,
			&info.sponsor,
			worker,
			paid,
			Precision::BestEffort,
			Restriction::Free,
			Fortitude::Force,
		);
		let burnt = T::Currency::burn_held(&reason, &info.sponsor, burned, Precision::BestEffort, Fortitude::Force);
		if transferred != Ok(paid) || burnt != Ok(burned) {
			log::error!(target: "runtime::tasks", "escrow of assignment {id}: {transferred:?}, {burnt:?}");
		}
		Self::deposit_event(Event::ResultPaid {
			assignment: id,
			worker: worker.clone(),
			paid: transferred.unwrap_or(0),
			burned: burnt.unwrap_or(0),
		});
	}

	/// Returns the escrow of a task that has ended, once nothing can change any more: no unit is out, no result's window runs.
	pub(crate) fn settle(task: TaskId, info: &mut TaskInfo) {
		let ended = matches!(info.phase, Phase::Completed | Phase::Cancelled);
		let running = info.units.iter().any(|state| matches!(state, UnitState::Assigned(_)));
		if !ended || running || StandingOf::<T>::decode_len(task).unwrap_or(0) > 0 {
			return;
		}
		Self::close(task);
		let returned = core::mem::take(&mut info.escrow);
		let reason = HoldReason::Escrow.into();
		let released = T::Currency::release(&reason, &info.sponsor, returned, Precision::BestEffort);
		debug_assert!(released == Ok(returned), "escrow is this pallet's own hold");
		Self::deposit_event(Event::TaskSettled { task, returned });
	}
}
