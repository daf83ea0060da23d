//! What behaviours are worth, as a small model of one unit on the runtime's own rules. All amounts are in the smallest unit; all
//! results are expectations, `f64`.
//!
//! A unit is worth `price + reward` to its worker and costs it `cost` to compute, at most what it earns: else nobody would compute
//! it. Only the audit looks; that is the worst case, as every watching client adds to what is found.

use labora_primitives::{
	money::{decayed_price, miss_probability, split_price, stake, CHALLENGER_SHARE, DEFENDER_SHARE},
	Balance,
};
use labora_runtime::constants::{AUDIT_BLOCKS, AUDIT_STEPS, BLOCK_REWARD, CHALLENGE_BOND, SHOW_FEE};

/// A unit.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
	/// Its price.
	pub price: Balance,
	/// Ops of a step.
	pub ops: u32,
	/// What computing it costs, of what it earns.
	pub cost: f64,
}

/// Part of a unit's stake that a missed deadline costs: the runtime's `MissedSlash`.
pub const MISSED_SLASH: f64 = 0.1;

impl Unit {
	/// What the worker has at stake.
	pub fn stake(&self) -> f64 {
		stake(self.price, BLOCK_REWARD, self.ops, u32::from(AUDIT_STEPS) * u32::from(AUDIT_BLOCKS)) as f64
	}

	/// What an accepted result brings that sealed a block, if it is submitted after a part of its time.
	pub fn earned(&self, elapsed: f64) -> f64 {
		const WINDOW: u32 = 10_000;
		let price = decayed_price(self.price, 0, WINDOW, (elapsed.clamp(0.0, 1.0) * f64::from(WINDOW)) as u32);
		split_price(price).0 as f64 + BLOCK_REWARD as f64
	}

	/// What it costs to compute.
	pub fn costs(&self) -> f64 {
		self.cost * self.earned(0.0)
	}

	/// Income of computing it.
	pub fn honest(&self) -> f64 {
		self.earned(0.0) - self.costs()
	}

	/// The probability that the audit finds one op left out in a part of the steps: each of the audit's steps is one of those with
	/// probability `part`, and then each of its blocks is of the op with probability `1 / ops`.
	pub fn found(&self, part: f64) -> f64 {
		let drawn = 1.0 - miss_probability(self.ops, AUDIT_BLOCKS.into()) as f64 / 1e9;
		1.0 - (1.0 - part * drawn).powi(AUDIT_STEPS.into())
	}

	/// Expected income of leaving out an op in a part of the steps; `share` is the op's part of the cost.
	pub fn skipping(&self, part: f64, share: f64) -> f64 {
		let found = self.found(part);
		(1.0 - found) * self.earned(0.0) - found * self.stake() - self.costs() * (1.0 - part * share)
	}

	/// The same with a confederate who challenges what the audit has drawn before it is due, and so gets the challenger's share.
	pub fn skipping_with_confederate(&self, part: f64, share: f64) -> f64 {
		let back = self.stake() * f64::from(CHALLENGER_SHARE.deconstruct()) / 1e6;
		self.skipping(part, share) + self.found(part) * back
	}

	/// Income of sealing a block and abandoning the unit when a part of it is computed.
	pub fn abandoning(&self, part: f64) -> f64 {
		-part * self.costs() - MISSED_SLASH * self.stake()
	}

	/// Income of finishing it from there, later by so much of the time.
	pub fn finishing(&self, elapsed: f64) -> f64 {
		self.earned(elapsed) - self.costs()
	}

	/// Income of sealing `blocks` with this one unit, of which `worth` are a whole unit's work, and finishing at last.
	pub fn re_mining(&self, blocks: f64, worth: f64, elapsed: f64) -> f64 {
		self.earned(elapsed) - blocks / worth * self.costs()
	}

	/// Income of the same compute on one unit after the other.
	pub fn one_after_the_other(&self, blocks: f64, worth: f64) -> f64 {
		blocks / worth * self.honest()
	}
}

/// Income of so many challenges at a time on a right result, decisive ones or not.
pub fn false_challenges(count: u32, decisive: bool) -> f64 {
	let bond = |open| labora_primitives::money::challenge_bond(CHALLENGE_BOND, open) as f64;
	(0..count).map(|open| if decisive { -bond(open) } else { -(SHOW_FEE as f64) }).sum()
}

/// Income of a worker who challenges its own right result, to keep others out: half returns.
pub fn self_challenge(count: u32) -> f64 {
	false_challenges(count, true) * (1.0 - f64::from(DEFENDER_SHARE.deconstruct()) / 1e6)
}

/// Income of a sponsor per unit of its own task that its own workers compute, beside the blocks' rewards: what is burned.
pub fn paying_oneself(price: Balance) -> f64 {
	-(split_price(price).1 as f64)
}
