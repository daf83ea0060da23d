//! Whether this machine's clock agrees with those of the miners whose blocks arrive.
//!
//! A block is stamped when it is made and arrives a moment later. When the blocks of others are stamped far ahead of this machine's clock,
//! or long before they arrive, one of the clocks is wrong, and the operator is told. Nothing else depends on it: blocks stamped more than
//! half a minute ahead are refused, whatever is noted here.

use std::{
	collections::VecDeque,
	time::{Duration, Instant},
};

use codec::{Decode, Encode};
use labora_runtime::{opaque::UncheckedExtrinsic as OpaqueExtrinsic, RuntimeCall, UncheckedExtrinsic};

use super::LOG_TARGET;

/// Blocks by whose median the clock is judged.
const SAMPLES: usize = 5;
/// Difference that is no matter, milliseconds: blocks take a while to travel, and an author may be busy.
const TOLERANCE: i64 = 10_000;
/// How far ahead of this machine's clock a block may be stamped, milliseconds: what `pallet-timestamp` allows.
const FUTURE: u64 = 30_000;
/// How often the operator is told while the clock stays wrong.
const AGAIN: Duration = Duration::from_secs(300);

/// When a block was made, as its author says, milliseconds since 1970.
pub fn stamp(body: &[OpaqueExtrinsic]) -> Option<u64> {
	let first = UncheckedExtrinsic::decode(&mut &body.first()?.encode()[..]).ok()?;
	match first.function {
		RuntimeCall::Timestamp(pallet_timestamp::Call::set { now }) => Some(now),
		_ => None,
	}
}

/// Whether a block is to come yet, by this machine's clock, so that it is refused for now.
pub fn is_early(stamp: u64, now: u64) -> bool {
	stamp > now.saturating_add(FUTURE)
}

/// Compares the clock with the stamps of fresh blocks of others.
#[derive(Default)]
pub struct ClockWatch {
	/// Stamp less this machine's time at the arrival of the last blocks, milliseconds.
	offsets: VecDeque<i64>,
	/// When the operator was told last that the clock is wrong.
	told: Option<Instant>,
}

/// What is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
	/// So many milliseconds lie between the clocks: more than none where the others' are ahead.
	Apart(i64),
	/// The clocks agree again.
	Agreed,
}

impl ClockWatch {
	/// Notes when a block of somebody else was made and, by this machine's clock, arrived, and tells the operator if the clock is wrong.
	pub fn note(&mut self, stamp: u64, now: u64) {
		let ahead = "This machine's clock is behind, or theirs are ahead";
		let behind = "This machine's clock is ahead, or blocks take that long to come here";
		match self.judge(stamp, now, Instant::now()) {
			Some(Verdict::Apart(offset)) => {
				let (seconds, side, meaning) = match offset > 0 {
					true => (offset / 1_000, "after", ahead),
					false => (offset.saturating_neg() / 1_000, "before", behind),
				};
				log::warn!(
					target: LOG_TARGET,
					"⏰ Clock: the last {SAMPLES} blocks of others are stamped {seconds} s {side} they arrived by this machine's clock. \
					{meaning}. Blocks stamped more than {} s ahead are refused; set the clock by NTP",
					FUTURE / 1_000
				);
			}
			Some(Verdict::Agreed) => {
				log::info!(target: LOG_TARGET, "⏰ Clock: it agrees with the stamps of others' blocks again")
			}
			None => {}
		}
	}

	fn judge(&mut self, stamp: u64, now: u64, at: Instant) -> Option<Verdict> {
		let signed = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
		if self.offsets.len() == SAMPLES {
			self.offsets.pop_front();
		}
		self.offsets.push_back(signed(stamp).saturating_sub(signed(now)));
		if self.offsets.len() < SAMPLES {
			return None;
		}
		let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
		sorted.sort_unstable();
		let median = sorted[SAMPLES / 2];
		if median.saturating_abs() <= TOLERANCE {
			return self.told.take().map(|_| Verdict::Agreed);
		}
		if self.told.is_some_and(|told| at.duration_since(told) < AGAIN) {
			return None;
		}
		self.told = Some(at);
		Some(Verdict::Apart(median))
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use sp_runtime::traits::Block as _;

	const NOW: u64 = 1_700_000_000_000;

	/// What is told of blocks with these offsets, milliseconds, a second apart.
	fn told(offsets: &[i64]) -> Vec<Option<Verdict>> {
		let (mut watch, began) = (ClockWatch::default(), Instant::now());
		let judge = |(index, offset): (usize, &i64)| {
			watch.judge(NOW.saturating_add_signed(*offset), NOW, began + Duration::from_secs(index as u64))
		};
		offsets.iter().enumerate().map(judge).collect()
	}

	#[test]
	fn a_wrong_clock_is_told_once_and_so_is_that_it_agrees_again() {
		for offset in [30_000, -30_000] {
			let mut offsets = vec![offset; 8];
			offsets.extend([-100; 4]);
			let mut expected = vec![None; 12];
			expected[4] = Some(Verdict::Apart(offset));
			// Three of the last five.
			expected[10] = Some(Verdict::Agreed);
			assert_eq!(told(&offsets), expected);
		}
	}

	#[test]
	fn a_late_block_or_two_say_nothing() {
		assert!(told(&[-100, -60_000, -200, 25_000, -100, -300, -100, -40_000]).iter().all(Option::is_none));
		assert!(told(&[TOLERANCE; 6]).iter().all(Option::is_none));
	}

	#[test]
	fn while_the_clock_stays_wrong_it_is_told_every_few_minutes() {
		let count = told(&vec![-20_000; AGAIN.as_secs() as usize + SAMPLES + 1]).into_iter().flatten().count();
		assert_eq!(count, 2);
	}

	#[test]
	fn the_stamp_is_the_first_extrinsic() {
		let set = UncheckedExtrinsic::new_bare(RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: NOW }));
		let none = labora_runtime::Hash::zero;
		let header =
			<labora_runtime::Header as sp_runtime::traits::Header>::new(1, none(), none(), none(), Default::default());
		let block = labora_runtime::Block::new(header, vec![set]);
		let block = labora_runtime::opaque::Block::decode(&mut &block.encode()[..]).unwrap();
		assert_eq!(stamp(block.extrinsics()), Some(NOW));
		assert_eq!(stamp(&[]), None);
		assert!(!is_early(NOW + FUTURE, NOW) && is_early(NOW + FUTURE + 1, NOW));
	}
}
