//! The count of what was spent and what of it was accepted: over all time, and over the last spans of blocks.

use super::*;

/// A span of blocks, and what is counted of it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Span {
	/// Its first block.
	pub start: BlockNumber,
	/// The work spent on its blocks, and that of the results that they accepted and that did not fall since.
	pub usefulness: Usefulness,
}

impl<T: Config> Pallet<T> {
	/// Counts a block.
	pub(crate) fn count(difficulty: Difficulty, useful: bool) {
		let now = frame_system::Pallet::<T>::block_number().saturated_into();
		Self::tally(now, |totals| {
			let (blocks, spent) = if useful {
				(&mut totals.useful_blocks, difficulty.0)
			} else {
				(&mut totals.idle_blocks, difficulty.0.saturating_mul(u128::from(IDLE_HANDICAP)))
			};
			*blocks = blocks.saturating_add(1);
			totals.spent = totals.spent.saturating_add(spent);
		});
	}

	/// Changes the totals of all time, and those of the span that a block is in, if it is one of the last.
	pub(crate) fn tally(block: BlockNumber, change: impl Fn(&mut Usefulness)) {
		WorkTotals::<T>::mutate(&change);
		Spans::<T>::mutate(|spans| {
			if spans.is_empty() {
				let _ = spans.try_push(Span { start: block, usefulness: Usefulness::default() });
			}
			if let Some(span) = spans.iter_mut().rev().find(|span| span.start <= block) {
				change(&mut span.usefulness);
			}
		});
	}

	/// How useful the work of the last [`SPANS`] spans was, the current one included.
	pub fn recent() -> Usefulness {
		Spans::<T>::get().iter().fold(Usefulness::default(), |sum, span| sum.plus(&span.usefulness))
	}

	/// Ends a span of blocks every [`Config::SpanBlocks`] blocks.
	pub(crate) fn turn_span(height: BlockNumber) {
		if !height.is_multiple_of(T::SpanBlocks::get().max(1)) {
			return;
		}
		let recent = Self::recent();
		Self::deposit_event(Event::UsefulnessCounted { recent, total: WorkTotals::<T>::get() });
		Spans::<T>::mutate(|spans| {
			if spans.is_full() {
				spans.remove(0);
			}
			let _ = spans.try_push(Span { start: height.saturating_add(1), usefulness: Usefulness::default() });
		});
	}
}
