//! The built-in chains. Their genesis states are presets of the runtime.

use labora_runtime::WASM_BINARY;
use sc_service::{ChainType, Properties};
use sp_genesis_builder::{DEV_RUNTIME_PRESET, LOCAL_TESTNET_RUNTIME_PRESET};

/// A chain specification without extensions.
pub type ChainSpec = sc_service::GenericChainSpec;

/// Symbol of the token.
pub const TOKEN_SYMBOL: &str = "LAB";
/// Decimal places of the token.
pub const TOKEN_DECIMALS: u8 = 12;
/// Prefix of addresses: the generic Substrate format.
pub const SS58_FORMAT: u16 = 42;

/// Why a built-in chain cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ChainSpecError {
	/// The node was built with `SKIP_WASM_BUILD`.
	#[error("this node was built without the runtime's Wasm blob (SKIP_WASM_BUILD): give --chain a specification file that has one")]
	NoWasmBinary,
}

/// A chain of one node: fast blocks, endowed well-known accounts.
pub fn development() -> Result<ChainSpec, ChainSpecError> {
	built_in("Labora Development", "labora_dev", ChainType::Development, DEV_RUNTIME_PRESET)
}

/// A chain of a few nodes on one machine.
pub fn local_testnet() -> Result<ChainSpec, ChainSpecError> {
	built_in("Labora Local Testnet", "labora_local", ChainType::Local, LOCAL_TESTNET_RUNTIME_PRESET)
}

fn built_in(name: &str, id: &str, chain_type: ChainType, preset: &str) -> Result<ChainSpec, ChainSpecError> {
	let wasm = WASM_BINARY.ok_or(ChainSpecError::NoWasmBinary)?;
	Ok(ChainSpec::builder(wasm, None)
		.with_name(name)
		.with_id(id)
		.with_protocol_id(id)
		.with_chain_type(chain_type)
		.with_genesis_config_preset_name(preset)
		.with_properties(properties())
		.build())
}

fn properties() -> Properties {
	let mut properties = Properties::new();
	properties.insert("tokenSymbol".into(), TOKEN_SYMBOL.into());
	properties.insert("tokenDecimals".into(), TOKEN_DECIMALS.into());
	properties.insert("ss58Format".into(), SS58_FORMAT.into());
	properties
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn clients_are_told_the_token_and_the_address_format() {
		let properties = properties();
		assert_eq!(properties["tokenSymbol"], "LAB");
		assert_eq!(properties["tokenDecimals"], 12);
		assert_eq!(properties["ss58Format"], 42);
	}
}
