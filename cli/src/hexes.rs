//! Hexadecimal, as the chain's interfaces write it.

use labora_tensor::Commitment;

/// Text that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not 32 bytes of hexadecimal")]
pub struct BadHex(pub String);

/// 32 bytes, with or without `0x`.
pub fn parse_bytes32(text: &str) -> Result<[u8; 32], BadHex> {
	let mut bytes = [0; 32];
	let digits = text.strip_prefix("0x").unwrap_or(text);
	hex::decode_to_slice(digits, &mut bytes).map_err(|_| BadHex(text.into()))?;
	Ok(bytes)
}

/// A commitment, with or without `0x`.
pub fn parse_commitment(text: &str) -> Result<Commitment, BadHex> {
	parse_bytes32(text).map(Commitment)
}

/// Bytes, with or without `0x`.
pub fn from_hex(text: &str) -> Result<Vec<u8>, hex::FromHexError> {
	hex::decode(text.strip_prefix("0x").unwrap_or(text))
}

/// Bytes with `0x`.
pub fn to_hex(bytes: impl AsRef<[u8]>) -> String {
	format!("0x{}", hex::encode(bytes))
}
