//! Cheating is worth less than honest work, whatever the runtime lets a task be.

use labora_attack::economy::{false_challenges, paying_oneself, self_challenge, Unit};
use labora_graph::MAX_OPS;
use labora_primitives::{limits::MAX_DEMANDS, Balance};
use labora_runtime::constants::{BLOCK_REWARD, LAB, MIN_PRICE};
use proptest::prelude::*;

/// Amounts of a model in floating point: a millionth of a LAB is nothing.
const NOTHING: f64 = 1e6;

/// Any unit that the runtime allows, up to a price of a million LAB.
fn unit() -> impl Strategy<Value = Unit> {
	let price = prop_oneof![MIN_PRICE..=10 * LAB, MIN_PRICE..=1_000_000 * LAB];
	(price, 1..=MAX_OPS, 0.0..=1.0f64).prop_map(|(price, ops, cost)| Unit { price, ops, cost })
}

proptest! {
	#[test]
	fn leaving_out_a_part_of_an_op_does_not_pay(unit in unit(), part in 1e-6..=1.0f64, share in 0.0..=1.0f64) {
		prop_assert!(unit.skipping(part, share) <= unit.honest() + NOTHING);
	}

	/// With a confederate the stake counts half, and cheating is worth less than honesty only while the op costs less than this part of
	/// what the unit earns. (The formula of the stake would have to divide by the part that a confederate cannot get back.)
	#[test]
	fn a_confederate_saves_half_of_the_stake(unit in unit(), part in 1e-6..=1.0f64, share in 0.0..=1.0f64) {
		let found = unit.found(1.0);
		let enough = (found + found * unit.stake() / unit.earned(0.0) / 2.0).min(1.0);
		prop_assert!(enough >= 0.5);
		if unit.cost * share <= enough {
			prop_assert!(unit.skipping_with_confederate(part, share) <= unit.honest() + NOTHING);
		}
	}

	#[test]
	fn finishing_beats_abandoning(unit in unit(), part in 0.0..=1.0f64, elapsed in 0.0..=1.0f64) {
		// What is computed is spent either way; nobody takes a unit whose decayed price does not cover the rest.
		let rest = (1.0 - part) * unit.costs();
		prop_assume!(rest <= unit.earned(elapsed));
		prop_assert!(unit.abandoning(part) < unit.finishing(elapsed));
	}

	#[test]
	fn one_unit_after_the_other_beats_mining_one_again(
		unit in unit(), blocks in 1.0..=64.0f64, worth in 1.0..=64.0f64, elapsed in 0.0..=1.0f64,
	) {
		prop_assume!(blocks >= worth);
		prop_assert!(unit.re_mining(blocks, worth, elapsed) <= unit.one_after_the_other(blocks, worth) + NOTHING);
	}

	#[test]
	fn false_challenges_lose(count in 1..=MAX_DEMANDS / 2, decisive: bool) {
		prop_assert!(false_challenges(count, decisive) < 0.0);
		prop_assert!(self_challenge(count) < 0.0);
		prop_assert!(false_challenges(count, true) <= f64::from(count) * false_challenges(1, true));
	}

	#[test]
	fn paying_oneself_loses(price in MIN_PRICE..=1_000_000 * LAB) {
		prop_assert!(paying_oneself(price) < 0.0);
	}

	#[test]
	fn the_stake_is_never_less_than_the_reward(unit in unit()) {
		prop_assert!(unit.stake() >= BLOCK_REWARD as f64);
	}
}

/// The audit's probability as the model has it is the one in the formula of the stake.
#[test]
fn an_op_left_out_everywhere_is_found_as_the_formula_says() {
	for ops in 1..=MAX_OPS {
		let unit = Unit { price: LAB, ops, cost: 1.0 };
		let exact = 1.0 - (1.0 - 1.0 / f64::from(ops)).powi(8);
		assert!((unit.found(1.0) - exact).abs() < 1e-6, "{ops}");
		let at_stake = (unit.price + BLOCK_REWARD) as f64 * (1.0 - exact) / exact;
		assert!(unit.stake() >= at_stake - 1e6 || unit.stake() as Balance == BLOCK_REWARD);
	}
}
