//! A row of the table.

use labora_primitives::{Balance, Usefulness};
use labora_runtime::constants::LAB;
use serde_json::json;

/// An attack and what came of it. Everyone starts with 1,000 LAB.
#[derive(Clone, Debug)]
pub struct Row {
	/// What the attacker does.
	pub attack: &'static str,
	/// What it was done to.
	pub on: &'static str,
	/// What the chain did.
	pub outcome: String,
	/// What the attacker has at the end, in LAB.
	pub attacker: f64,
	/// What an honest miner has that computed as much.
	pub honest: f64,
	/// How useful the chain's work was, if there was a chain.
	pub usefulness: Option<f64>,
	/// Why the attacker is not poorer, where it is not, and what would change that.
	pub but: Option<String>,
}

/// An amount in LAB.
pub fn lab(amount: Balance) -> f64 {
	amount as f64 / LAB as f64
}

/// A ratio as the chain reports it.
pub fn ratio(usefulness: &Usefulness) -> f64 {
	usefulness.ratio_ppm() as f64 / 1e6
}

/// The same of a part of the chain, from where the totals were `before`.
pub fn ratio_since(before: &Usefulness, usefulness: &Usefulness) -> f64 {
	ratio(&Usefulness {
		accepted: usefulness.accepted.saturating_sub(before.accepted),
		spent: usefulness.spent.saturating_sub(before.spent),
		..Usefulness::default()
	})
}

impl Row {
	/// As it stands in `attack-summary.json`.
	pub fn json(&self) -> serde_json::Value {
		json!({
			"attack": self.attack,
			"on": self.on,
			"outcome": self.outcome,
			"attacker_balance": self.attacker,
			"honest_balance": self.honest,
			"usefulness_ratio": self.usefulness,
			"not_poorer_because": self.but,
		})
	}

	/// Prints it.
	pub fn print(&self, number: usize) {
		let ratio = self.usefulness.map_or("-".into(), |ratio| format!("{ratio:.2}"));
		println!(
			"{number:>2}  {:<44} {:>9.2} {:>9.2} {:>6}  {}",
			self.attack, self.attacker, self.honest, ratio, self.on
		);
		println!("    {}", self.outcome);
		if let Some(but) = &self.but {
			println!("    not poorer: {but}");
		}
	}
}

/// Prints the table's head.
pub fn head() {
	println!("{:>2}  {:<44} {:>9} {:>9} {:>6}  on", "", "attack", "attacker", "honest", "useful");
}
