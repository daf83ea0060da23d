//! The scalar arithmetic of the ops: every function total, every result exact.

use labora_tensor::{operand, OPERAND_MAX};

use crate::{Activation, Rounding};

/// Entries of the softmax table: distances from the row's largest logit, 0 to 126.
const EXP2_ENTRIES: usize = 127;

/// `round(2^16 * 2^(-d/4))` for a distance `d` in quarters of an octave. With eighths, logits clamped to 63 cannot become confident
/// enough and training diverges.
const EXP2: [u32; EXP2_ENTRIES] = exp2_table();

/// `round(2^30 * 2^(-i/4))` for one octave; a further octave is a shift.
const OCTAVE: [u64; 4] = [1_073_741_824, 902_905_651, 759_250_125, 638_450_708];

const fn exp2_table() -> [u32; EXP2_ENTRIES] {
	let mut table = [0; EXP2_ENTRIES];
	let mut d = 0;
	while d < EXP2_ENTRIES {
		let shift = 14 + d / 4;
		table[d] = ((OCTAVE[d % 4] + (1 << (shift - 1))) >> shift) as u32;
		d += 1;
	}
	table
}

/// Mixes 32 bits; the finalizer "lowbias32" of Ellis' hash prospector.
#[inline(always)]
pub const fn mix32(mut x: u32) -> u32 {
	x ^= x >> 16;
	x = x.wrapping_mul(0x7feb_352d);
	x ^= x >> 15;
	x = x.wrapping_mul(0x846c_a68b);
	x ^ (x >> 16)
}

/// The pseudo-random bits that round the element at (row, column) of an op's output.
#[inline(always)]
pub const fn rounding_bits(key: u32, row: u32, col: u32) -> u32 {
	mix32(key ^ ((row << 16) ^ col))
}

/// Divides by `2^shift`: to the nearest, or up with the probability of the remainder.
#[inline(always)]
pub const fn scale(acc: i32, shift: u8, rounding: Rounding, bits: u32) -> i32 {
	if shift == 0 {
		return acc;
	}
	let up = match rounding {
		Rounding::Nearest => 1 << (shift - 1),
		Rounding::Stochastic => (bits & ((1 << shift) - 1)) as i32,
	};
	acc.saturating_add(up) >> shift
}

/// Fits a scaled accumulator into an operand.
#[inline(always)]
pub const fn activate(x: i32, activation: Activation) -> i8 {
	let low = match activation {
		Activation::Identity => -(OPERAND_MAX as i32),
		Activation::Relu => 0,
	};
	let high = OPERAND_MAX as i32;
	(if x < low {
		low
	} else if x > high {
		high
	} else {
		x
	}) as i8
}

/// An operand from a master parameter.
#[inline(always)]
pub const fn quantize(parameter: i32, shift: u8) -> i8 {
	activate(scale(parameter, shift, Rounding::Nearest, 0), Activation::Identity)
}

/// A master parameter after a step: `parameter - gradient * 2^rate`, saturating.
#[inline(always)]
pub const fn sgd(parameter: i32, gradient: i32, rate: i8) -> i32 {
	let change = if rate >= 0 {
		(gradient as i64) << rate
	} else {
		let shift = rate.unsigned_abs();
		(gradient as i64 + (1 << (shift - 1))) >> shift
	};
	let next = parameter as i64 - change;
	if next > i32::MAX as i64 {
		i32::MAX
	} else if next < i32::MIN as i64 {
		i32::MIN
	} else {
		next as i32
	}
}

/// The mean of one element of `count` (at least 1) parameter sets, rounded half up.
#[inline(always)]
pub const fn mean(sum: i64, count: u16) -> i32 {
	let count = if count == 0 { 1 } else { count as i64 };
	(sum + count / 2).div_euclid(count) as i32
}

/// The class with the largest logit, the first of several.
pub fn argmax(logits: &[i8]) -> u8 {
	let mut best = 0;
	let mut largest = i8::MIN;
	for (class, logit) in logits.iter().enumerate() {
		let logit = operand(*logit);
		if logit > largest {
			largest = logit;
			best = class;
		}
	}
	best as u8
}

/// The class of an example, if the byte is one.
pub fn label(byte: i8, classes: usize) -> Option<usize> {
	usize::try_from(byte).ok().filter(|class| *class < classes)
}

/// `2^((logit - largest) / 4)` in units of `2^-16`.
fn weight(largest: i8, logit: i8) -> u32 {
	let distance = i16::from(largest).saturating_sub(i16::from(operand(logit)));
	usize::try_from(distance).ok().and_then(|d| EXP2.get(d)).copied().unwrap_or(0)
}

fn largest(logits: &[i8]) -> i8 {
	logits.iter().map(|logit| operand(*logit)).max().unwrap_or(0)
}

/// Gradient of the cross-entropy of a base-2 softmax with respect to one row of logits, in units of 1/63 per
/// class. The label's entry is set so that the row sums to zero (rows that do not let the logits drift).
/// A row without a valid label has no gradient.
pub fn softmax_gradient(logits: &[i8], label_byte: i8, gradient: &mut [i8]) {
	gradient.fill(0);
	let Some(target) = label(label_byte, logits.len()) else { return };
	let largest = largest(logits);
	let sum: u32 = logits.iter().map(|logit| weight(largest, *logit)).sum::<u32>().max(1);
	let mut others = 0i32;
	for (class, (logit, out)) in logits.iter().zip(gradient.iter_mut()).enumerate() {
		if class != target {
			// At most 63, as a weight is at most the sum.
			let probability = (weight(largest, *logit) * 63 + sum / 2) / sum;
			others += probability as i32;
			*out = probability as i8;
		}
	}
	if let Some(out) = gradient.get_mut(target) {
		// Rounding can push the sum of the others past 63: the target's entry then stays an operand.
		*out = -(others.min(OPERAND_MAX as i32) as i8);
	}
}

/// Bound of a row's loss in 1/256 bit: 126 quarter octaves and the logarithm of 64 classes.
pub const MAX_ROW_LOSS: u64 = 256 * 38;

/// Cross-entropy of one row in 1/256 bit, and whether the largest logit is the label's. Zero without a valid label.
pub fn metrics(logits: &[i8], label_byte: i8) -> (i32, i32) {
	let Some(target) = label(label_byte, logits.len()) else { return (0, 0) };
	let largest = largest(logits);
	let sum: u32 = logits.iter().map(|logit| weight(largest, *logit)).sum();
	let distance = i32::from(largest) - i32::from(operand(logits.get(target).copied().unwrap_or(0)));
	let loss = log2_q8(sum) - (16 << 8) + distance * 64;
	(loss.max(0), i32::from(usize::from(argmax(logits)) == target))
}

/// `floor(256 * log2(x))`, 0 for 0: one bit at a time, by squaring.
pub const fn log2_q8(x: u32) -> i32 {
	if x == 0 {
		return 0;
	}
	let whole = 31 - x.leading_zeros();
	let mut log = whole as i32;
	// x / 2^whole in units of 2^-31, in [1, 2).
	let mut fraction = (x as u64) << (31 - whole);
	let mut bit = 0;
	while bit < 8 {
		fraction = (fraction * fraction) >> 31;
		log <<= 1;
		if fraction >= 1 << 32 {
			fraction >>= 1;
			log |= 1;
		}
		bit += 1;
	}
	log
}

#[cfg(test)]
mod tests {
	use super::*;
	use proptest::prelude::*;

	#[test]
	fn table_is_the_rounded_exponential() {
		for (d, entry) in EXP2.iter().enumerate() {
			let exact = 65536.0 * 2f64.powf(-(d as f64) / 4.0);
			assert!((f64::from(*entry) - exact).abs() <= 0.5 + 1e-6, "{d}: {entry} {exact}");
		}
	}

	#[test]
	fn logarithm_is_within_a_unit() {
		for x in (1..100_000).chain([u32::MAX, u32::MAX / 3]) {
			let exact = 256.0 * f64::from(x).log2();
			assert!((f64::from(log2_q8(x)) - exact).abs() < 1.01, "{x}");
		}
	}

	proptest! {
		#[test]
		fn gradient_rows_sum_to_zero_up_to_the_clamp(logits in proptest::collection::vec(any::<i8>(), 2..64), label: i8) {
			let mut gradient = vec![0; logits.len()];
			softmax_gradient(&logits, label, &mut gradient);
			let sum: i32 = gradient.iter().map(|g| i32::from(*g)).sum();
			let target = super::label(label, logits.len());
			prop_assert!(sum == 0 || (sum > 0 && target.is_some_and(|t| gradient[t] == -OPERAND_MAX)));
			prop_assert!(gradient.iter().all(|g| (-OPERAND_MAX..=OPERAND_MAX).contains(g)));
			let (loss, correct) = metrics(&logits, label);
			prop_assert!((0..=MAX_ROW_LOSS as i32).contains(&loss) && (0..=1).contains(&correct));
		}

		#[test]
		fn scalars_are_total(a: i32, b: i32, shift in 0u8..=24, rate in -16i8..=15, bits: u32, count: u16, sum in i64::from(i32::MIN) * 64..=i64::from(i32::MAX) * 64) {
			for rounding in [Rounding::Nearest, Rounding::Stochastic] {
				let scaled = scale(a, shift, rounding, bits);
				prop_assert!((f64::from(scaled) - f64::from(a) / f64::from(1 << shift)).abs() <= 1.0);
			}
			let exact = i64::from(a) - if rate >= 0 { i64::from(b) << rate } else { (i64::from(b) + (1 << (-rate - 1))) >> -rate };
			prop_assert_eq!(i64::from(sgd(a, b, rate)), exact.clamp(i64::from(i32::MIN), i64::from(i32::MAX)));
			mean(sum, count.max(64));
		}
	}
}
