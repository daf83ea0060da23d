//! Amounts as people write them.

use labora_primitives::Balance;

use crate::client::Token;

/// Text that is not an amount.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not an amount: write `2.5` or `2.5 LAB` for tokens, `2500 units` for the smallest unit")]
pub struct BadAmount(pub String);

/// Reads an amount of tokens (`2`, `2.5`, `2.5 LAB`), or of the smallest unit (`2500 units`).
pub fn parse(text: &str, token: &Token) -> Result<Balance, BadAmount> {
	let bad = || BadAmount(text.into());
	let plain: String = text.chars().filter(|c| !c.is_whitespace() && *c != '_').collect();
	if let Some(units) = plain.strip_suffix("units") {
		return units.parse().map_err(|_| bad());
	}
	let number = plain.strip_suffix(&token.symbol).unwrap_or(&plain);
	let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
	let decimals = usize::from(token.decimals);
	let no_number = whole.is_empty() && fraction.is_empty();
	if no_number || fraction.len() > decimals || !(whole.chars().chain(fraction.chars())).all(|c| c.is_ascii_digit()) {
		return Err(bad());
	}
	// The decimal point moves right: digits of the whole, of the fraction, and zeros up to the smallest unit.
	format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| bad())
}

/// Writes an amount in tokens, without trailing zeros.
pub fn format(amount: Balance, token: &Token) -> String {
	let decimals = usize::from(token.decimals);
	let digits = format!("{amount:0>width$}", width = decimals + 1);
	let (whole, fraction) = digits.split_at(digits.len() - decimals);
	match fraction.trim_end_matches('0') {
		"" => format!("{whole} {}", token.symbol),
		fraction => format!("{whole}.{fraction} {}", token.symbol),
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn amounts_are_read_and_written() {
		let token = Token { symbol: "LAB".into(), decimals: 12 };
		for (text, amount) in [
			("2", 2_000_000_000_000),
			("2.5 LAB", 2_500_000_000_000),
			("0.000000000001", 1),
			("1_000", 1_000_000_000_000_000),
			("2500units", 2_500),
			(".5", 500_000_000_000),
		] {
			assert_eq!(parse(text, &token), Ok(amount), "{text}");
		}
		for text in ["", "x", "-1", "0.0000000000001", "1.5 units", "1.2.3"] {
			assert_eq!(parse(text, &token), Err(BadAmount(text.into())), "{text}");
		}
		assert_eq!(format(2_500_000_000_000, &token), "2.5 LAB");
		assert_eq!(format(0, &token), "0 LAB");
		assert_eq!(format(7, &Token { symbol: "U".into(), decimals: 0 }), "7 U");
	}
}
