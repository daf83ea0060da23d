//! Pure rules of prices. Amounts are integers; every function is total.

use sp_runtime::{
	traits::{UniqueSaturatedInto, Zero},
	Permill, Perquintill,
};

use crate::{Balance, BlockNumber};

/// What is left of a unit's price at its deadline. It falls evenly from the assignment on, so that finishing beats
/// re-mining a unit on later parents.
pub const PRICE_AT_DEADLINE: Permill = Permill::from_percent(50);
/// Price of a merge unit, as a part of a unit's: it is elementwise and mines nothing.
pub const MERGE_PRICE: Permill = Permill::from_percent(5);
/// Part of every price that is burned: paying oneself is not free.
pub const BURNED_SHARE: Permill = Permill::from_percent(10);

/// The price of a unit that was assigned at `assigned`, is due at `deadline` and finished at `now`.
pub fn decayed_price(price: Balance, assigned: BlockNumber, deadline: BlockNumber, now: BlockNumber) -> Balance {
	let lost = Permill::one() - PRICE_AT_DEADLINE;
	let window = deadline.saturating_sub(assigned);
	if window.is_zero() {
		return price;
	}
	let elapsed = now.saturating_sub(assigned).min(window);
	price.saturating_sub(lost * Permill::from_rational(elapsed, window) * price)
}

/// The price of a merge unit.
pub fn merge_price(price: Balance) -> Balance {
	MERGE_PRICE * price
}

/// What a round of `units` units can cost at most.
pub fn round_budget(price: Balance, units: u16) -> Balance {
	let merge = if units > 1 { merge_price(price) } else { 0 };
	let units: Balance = units.unique_saturated_into();
	price.saturating_mul(units).saturating_add(merge)
}

/// A price as (paid to the worker, burned).
pub fn split_price(price: Balance) -> (Balance, Balance) {
	let burned = BURNED_SHARE * price;
	(price.saturating_sub(burned), burned)
}

/// Part of a slashed stake that goes to whoever proved the worker wrong.
pub const CHALLENGER_SHARE: Permill = Permill::from_percent(50);
/// Part of a lost challenge's bond that goes to the worker; the rest is burned, so that a worker who challenges itself, to keep
/// others from it, pays.
pub const DEFENDER_SHARE: Permill = Permill::from_percent(50);

/// Parts of a billion.
const BILLION: u64 = 1_000_000_000;

/// The probability that an op which is wrong in all steps is in none of `samples` draws among `ops`, in parts of a billion, rounded up:
/// `((ops - 1) / ops) ^ samples`.
pub fn miss_probability(ops: u32, samples: u32) -> u64 {
	let ops = u64::from(ops.max(1));
	(0..samples).fold(BILLION, |miss, _| miss.saturating_mul(ops.saturating_sub(1)).div_ceil(ops))
}

/// What of a worker's bond a unit puts at stake, so that leaving out one op in all steps does not pay even if nobody but the audit
/// looks: with `p` the probability to be found out, the cheat saves at most what honest work earns, `reward + price`, and loses
/// `reward + price + stake` with probability `p`. So `stake = (reward + price) * (1 - p) / p`, and never less than the reward.
pub fn stake(price: Balance, reward: Balance, ops: u32, samples: u32) -> Balance {
	let miss = Balance::from(miss_probability(ops, samples)).min(Balance::from(BILLION));
	let found = Balance::from(BILLION).saturating_sub(miss).max(1);
	let earned = price.saturating_add(reward);
	earned.saturating_mul(miss).div_ceil(found).max(reward)
}

/// The bond of a challenge on a result with so many open ones: each doubles it, so that nobody shuts others out cheaply.
pub fn challenge_bond(base: Balance, open: u32) -> Balance {
	base.saturating_mul(1u128.checked_shl(open).unwrap_or(Balance::MAX))
}

/// Shares `amount` among claims, in proportion, to nobody more than it claims.
pub fn share_out(amount: Balance, claims: &[Balance]) -> alloc::vec::Vec<Balance> {
	let total = claims.iter().fold(0, |sum: Balance, claim| sum.saturating_add(*claim));
	let part = Perquintill::from_rational(amount.min(total), total.max(1));
	claims.iter().map(|claim| part.mul_floor(*claim)).collect()
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn the_audit_finds_an_op_as_often_as_the_formula_says() {
		assert_eq!(miss_probability(1, 1), 0);
		assert_eq!(miss_probability(0, 3), 0);
		assert_eq!(miss_probability(2, 1), BILLION / 2);
		assert_eq!(miss_probability(13, 0), BILLION);
		let exact = (12f64 / 13.0).powi(8) * 1e9;
		let found = miss_probability(13, 8) as f64;
		assert!(found >= exact && found < exact + 10.0, "{found} {exact}");
	}

	#[test]
	fn cheating_does_not_pay() {
		// Leaving out an op in a part of the steps saves at most that part of what the work earns, and is found with at least that
		// part of the probability (concave). So it is enough to look at all steps.
		for ops in 1..=64 {
			for samples in [1, 4, 8, 32] {
				for (price, reward) in [(0, 10u128), (1_000_000, 1_000_000), (1 << 60, 1 << 50), (7, 1 << 70)] {
					let (miss, found) = {
						let miss = Balance::from(miss_probability(ops, samples));
						(miss, Balance::from(BILLION) - miss)
					};
					let at_stake = stake(price, reward, ops, samples);
					let (gain, loss) = ((price + reward) * miss, at_stake * found);
					assert!(loss >= gain, "{ops} {samples} {price} {reward}: {loss} {gain}");
				}
			}
		}
		assert_eq!(stake(Balance::MAX, Balance::MAX, 64, 1), Balance::MAX);
	}

	#[test]
	fn shares_never_exceed_the_amount_or_the_claims() {
		for amount in [0u128, 1, 99, 100, 12_345_678_901, Balance::MAX] {
			for claims in [vec![], vec![0, 0], vec![1, 2, 3], vec![100], vec![Balance::MAX, 1], vec![7; 100]] {
				let shares = share_out(amount, &claims);
				assert!(shares.iter().zip(&claims).all(|(share, claim)| share <= claim));
				assert!(shares.iter().fold(0u128, |sum, share| sum.saturating_add(*share)) <= amount);
			}
		}
		assert_eq!(share_out(30, &[10, 20, 30]), [5, 10, 15]);
		assert_eq!(share_out(1_000, &[10, 20]), [10, 20]);
	}

	#[test]
	fn each_open_challenge_doubles_the_bond() {
		assert_eq!(challenge_bond(3, 0), 3);
		assert_eq!(challenge_bond(3, 4), 48);
		assert_eq!(challenge_bond(1, 127), 1 << 127);
		assert_eq!(challenge_bond(3, 500), Balance::MAX);
	}

	#[test]
	fn price_decays_to_half() {
		assert_eq!(decayed_price(1_000, 10, 20, 10), 1_000);
		assert_eq!(decayed_price(1_000, 10, 20, 15), 750);
		assert_eq!(decayed_price(1_000, 10, 20, 20), 500);
		assert_eq!(decayed_price(1_000, 10, 20, BlockNumber::MAX), 500);
		assert_eq!(decayed_price(1_000, 10, 10, 10), 1_000);
		assert!(decayed_price(Balance::MAX, 0, BlockNumber::MAX, 1) > Balance::MAX / 2);
	}

	#[test]
	fn split_loses_nothing() {
		for price in [0, 1, 9, 10, 12_345, Balance::MAX] {
			let (paid, burned) = split_price(price);
			assert_eq!(paid + burned, price);
		}
		assert_eq!(split_price(1_000), (900, 100));
		assert_eq!(round_budget(Balance::MAX, 64), Balance::MAX);
		assert_eq!(round_budget(1_000, 1), 1_000);
		assert_eq!(round_budget(1_000, 4), 4_050);
	}
}
