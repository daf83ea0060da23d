//! Pure rules of prices. Amounts are integers; every function is total.

use sp_runtime::{
	traits::{UniqueSaturatedInto, Zero},
	Permill,
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

#[cfg(test)]
mod tests {
	use super::*;

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
