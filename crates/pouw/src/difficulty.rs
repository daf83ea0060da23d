//! Difficulty: the expected multiply-accumulates of a block, set by ASERT (absolutely scheduled exponentially rising targets).
//!
//! `D(h) = D_anchor * 2^((ideal elapsed - elapsed) / half life)`: the difficulty is a function of how far the chain is ahead of
//! its schedule, so errors do not accumulate and no past block's timing can be gamed twice.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Multiply-accumulates.
pub type Macs = u128;

/// Expected multiply-accumulates of a block.
#[derive(
	Clone,
	Copy,
	PartialEq,
	Eq,
	PartialOrd,
	Ord,
	Debug,
	Default,
	Encode,
	Decode,
	DecodeWithMemTracking,
	MaxEncodedLen,
	TypeInfo,
)]
pub struct Difficulty(pub u128);

/// Parameters of the schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Schedule {
	/// Target block time, milliseconds.
	pub block_time: u64,
	/// The difficulty doubles when the chain is this far ahead of its schedule, milliseconds.
	pub half_life: u64,
	/// The difficulty never falls below.
	pub floor: Difficulty,
	/// A chain further behind its schedule than this (it was stopped) moves its schedule instead of making up for all of the
	/// lost time, milliseconds.
	pub max_lag: u64,
}

/// Where the schedule starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Anchor {
	/// Height of the anchor block.
	pub height: u64,
	/// Its timestamp, milliseconds.
	pub time: u64,
	/// The difficulty at the anchor.
	pub difficulty: Difficulty,
}

/// Fraction bits of the exponent.
const FRACTION_BITS: u32 = 16;
/// The difficulty never rises above: its idle handicap and sums of many blocks still fit.
const CEILING: Difficulty = Difficulty(1 << 100);

/// `2^fraction` for `fraction` in units of `2^-16`, in the same units: a cubic, off by less than 0.013 % (the polynomial of
/// Bitcoin Cash's aserti3-2d).
const fn exp2_fraction(fraction: u64) -> u64 {
	let f = fraction as u128;
	let cubic = 195_766_423_245_049 * f + 971_821_376 * f * f + 5_127 * f * f * f + (1 << 47);
	(1 << FRACTION_BITS) + (cubic >> 48) as u64
}

impl Schedule {
	/// How far the chain is ahead of its schedule at a block, milliseconds; negative if behind.
	fn ahead(&self, anchor: &Anchor, height: u64, time: u64) -> i128 {
		let blocks = i128::from(height).saturating_sub(i128::from(anchor.height));
		let ideal = blocks.saturating_mul(i128::from(self.block_time));
		ideal.saturating_sub(i128::from(time).saturating_sub(i128::from(anchor.time)))
	}

	/// Difficulty of the block after the one at `height` with timestamp `time`.
	pub fn next(&self, anchor: &Anchor, height: u64, time: u64) -> Difficulty {
		let half_life = i128::from(self.half_life.max(1));
		// Two extreme u64 timestamps and heights stay far inside i128 here.
		let exponent = self.ahead(anchor, height, time).saturating_mul(1 << FRACTION_BITS).div_euclid(half_life);
		let whole = exponent >> FRACTION_BITS;
		let fraction = (exponent & ((1 << FRACTION_BITS) - 1)) as u64;
		let scaled = anchor.difficulty.0.min(CEILING.0).saturating_mul(u128::from(exp2_fraction(fraction)));
		let difficulty = match u32::try_from(whole.unsigned_abs()) {
			Ok(shift) if whole >= 0 => shift_left(scaled, shift) >> FRACTION_BITS,
			Ok(shift) => scaled.checked_shr(shift.saturating_add(FRACTION_BITS)).unwrap_or(0),
			Err(_) if whole >= 0 => CEILING.0,
			Err(_) => 0,
		};
		Difficulty(difficulty).clamp(self.floor, CEILING.max(self.floor))
	}

	/// The anchor, moved so that the chain is at most `max_lag` behind its schedule.
	pub fn caught_up(&self, mut anchor: Anchor, height: u64, time: u64) -> Anchor {
		let lag = self.ahead(&anchor, height, time).saturating_neg();
		if let Ok(excess) = u64::try_from(lag.saturating_sub(i128::from(self.max_lag))) {
			anchor.time = anchor.time.saturating_add(excess);
		}
		anchor
	}
}

fn shift_left(x: u128, shift: u32) -> u128 {
	if x == 0 {
		0
	} else if shift > x.leading_zeros() {
		u128::MAX
	} else {
		x << shift
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	const SCHEDULE: Schedule =
		Schedule { block_time: 1_000, half_life: 60_000, floor: Difficulty(1_000), max_lag: 600_000 };
	const ANCHOR: Anchor = Anchor { height: 1, time: 1_700_000_000_000, difficulty: Difficulty(1 << 40) };

	#[test]
	fn on_schedule_the_difficulty_stays() {
		for height in [1, 2, 1_000, 1_000_000] {
			assert_eq!(SCHEDULE.next(&ANCHOR, height, ANCHOR.time + (height - 1) * 1_000), ANCHOR.difficulty);
		}
	}

	#[test]
	fn a_half_life_ahead_doubles_and_behind_halves() {
		assert_eq!(SCHEDULE.next(&ANCHOR, 61, ANCHOR.time), Difficulty(1 << 41));
		assert_eq!(SCHEDULE.next(&ANCHOR, 1, ANCHOR.time + 60_000), Difficulty(1 << 39));
	}

	#[test]
	fn a_stopped_chain_moves_its_schedule() {
		let day = ANCHOR.time + 86_400_000;
		let moved = SCHEDULE.caught_up(ANCHOR, 2, day);
		assert_eq!(SCHEDULE.next(&moved, 2, day), Difficulty(1 << 30));
		assert_eq!(SCHEDULE.caught_up(ANCHOR, 2, ANCHOR.time + 2_000), ANCHOR);
	}

	#[test]
	fn the_cubic_is_close() {
		for fraction in 0..1 << 16 {
			let exact = 65536.0 * 2f64.powf(fraction as f64 / 65536.0);
			assert!((exp2_fraction(fraction) as f64 / exact - 1.0).abs() < 0.000_13);
		}
	}

	proptest! {
		#[test]
		fn always_within_bounds_and_monotonic(height: u64, time: u64, anchor_time: u64, anchor_height: u64, difficulty: u128, half_life: u64) {
			let schedule = Schedule { half_life, ..SCHEDULE };
			let anchor = Anchor { height: anchor_height, time: anchor_time, difficulty: Difficulty(difficulty) };
			let next = schedule.next(&anchor, height, time);
			prop_assert!(next >= schedule.floor && next <= CEILING);
			prop_assert!(schedule.next(&anchor, height, time.saturating_add(1_000)) <= next);
			prop_assert!(schedule.next(&anchor, height.saturating_add(1), time) >= next);
			schedule.caught_up(anchor, height, time);
		}
	}
}
