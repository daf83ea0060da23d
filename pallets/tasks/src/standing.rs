//! Results whose windows run: from their acceptance to their payment.

use frame_support::traits::tokens::{Fortitude, Restriction};
use labora_primitives::{money::split_price, Assignment};

use super::*;

impl<T: Config> Pallet<T> {
	/// A result was accepted, after so many blocks: it stands until its window is over.
	pub(crate) fn stand(
		assignment: &Assignment,
		result: &UnitResult,
		price: Balance,
		took: BlockNumber,
	) -> DispatchResult {
		let unit = assignment.unit;
		let accepted = T::Clock::now();
		let due = Self::window_end(accepted, took);
		let base = match unit.kind {
			UnitKind::Steps(_) => RoundParameters::<T>::get(unit.task, unit.round).unwrap_or_default(),
			UnitKind::Merge => BoundedVec::new(),
		};
		let standing = StandingResult {
			unit,
			worker: assignment.worker.clone(),
			accepted,
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
		// A later one is looked at when those before it have ended.
		if StandingOf::<T>::decode_len(unit.task).unwrap_or(0) == 0 {
			Self::note(assignment.id, due);
		}
		StandingOf::<T>::try_append(unit.task, assignment.id).map_err(|()| Error::<T>::TooManyResults)?;
		Standing::<T>::insert(assignment.id, standing);
		Ok(())
	}

	/// The end of the window of a result that took so many blocks, if nobody extends it.
	pub(crate) fn window_end(accepted: BlockNumber, took: BlockNumber) -> BlockNumber {
		accepted.saturating_add(T::ResultWindow::get()).saturating_add(took)
	}

	/// Pays a task's oldest result, if its window is over, and those after it: `most` at most. What a task's earlier results are worth
	/// decides over the later ones, so they are paid in order, and only the oldest is looked at. Says how many were paid.
	pub(crate) fn mature(id: AssignmentId, now: BlockNumber, most: u32) -> u32 {
		// A result that fell is gone.
		let Some(first) = Standing::<T>::get(id) else { return 0 };
		let task = first.unit.task;
		let mut paid: u32 = 0;
		while let Some((id, result)) = Self::oldest(task).filter(|(oldest, _)| paid > 0 || *oldest == id) {
			let until = Self::open_until(id, &result);
			if until >= now || paid >= most {
				Self::note(id, until.max(now));
				break;
			}
			Self::remove(id, &result);
			Self::pay(id, &result);
			paid = paid.saturating_add(1);
		}
		if paid > 0 {
			Tasks::<T>::mutate_extant(task, |info| Self::settle(task, info));
		}
		paid
	}

	/// A task's oldest standing result.
	fn oldest(task: TaskId) -> Option<(AssignmentId, StandingResult)> {
		let id = StandingOf::<T>::get(task).first().copied()?;
		Some((id, Standing::<T>::get(id)?))
	}

	/// Until when a result cannot be paid.
	fn open_until(id: AssignmentId, result: &StandingResult) -> BlockNumber {
		T::Disputes::open_until(id).unwrap_or(0).max(result.due)
	}

	/// Notes a task's oldest result for the time after `until`, or the first after it whose list has room: one of the next
	/// `n / MAX_MATURING_PER_BLOCK`, if results of `n` tasks stand.
	fn note(id: AssignmentId, until: BlockNumber) {
		let mut times = until.saturating_add(1)..=BlockNumber::MAX;
		if !times.any(|time| MaturingAt::<T>::try_append(time, id).is_ok()) {
			log::error!(target: "runtime::tasks", "no time has room for the result of assignment {id}");
		}
	}

	/// A standing result, as the runtime reports it: its window's end is a height.
	pub fn standing_result(id: AssignmentId) -> Option<StandingResult> {
		let mut result = Standing::<T>::get(id)?;
		result.due = T::Clock::height_of(result.due);
		Some(result)
	}

	/// Takes a result out of the standing ones, and its stake off the worker. The next is then its task's oldest.
	pub(crate) fn end(id: AssignmentId, result: &StandingResult) {
		let task = result.unit.task;
		let was_oldest = Self::oldest(task).is_some_and(|(oldest, _)| oldest == id);
		Self::remove(id, result);
		if let Some((next, result)) = Self::oldest(task).filter(|_| was_oldest) {
			Self::note(next, Self::open_until(next, &result).max(T::Clock::now()));
		}
	}

	fn remove(id: AssignmentId, result: &StandingResult) {
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
