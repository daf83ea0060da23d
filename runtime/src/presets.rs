//! The genesis of the named chains.

use alloc::{vec, vec::Vec};
use frame_support::build_struct_json_patch;
use pallet_work::GenesisConfig as WorkConfig;
use serde_json::Value;
use sp_genesis_builder::{PresetId, DEV_RUNTIME_PRESET, LOCAL_TESTNET_RUNTIME_PRESET};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};

use crate::{
	constants::{DEV_SESSION_BLOCKS, LAB, MIN_VALIDATOR_BOND, SESSION_BLOCKS},
	AccountId, Balance, BalancesConfig, BlockNumber, Runtime, RuntimeGenesisConfig, SessionConfig, SessionKeys,
	SudoConfig, ValidatorsConfig,
};

/// What each well-known account of a test chain starts with.
const ENDOWMENT: Balance = 1_000_000 * LAB;

/// The development chain's miner: the public key of `//Miner`.
pub fn dev_miner() -> AccountId {
	AccountId::new(DEV_MINER)
}

/// Public key of `//Miner`; a test keeps it in step.
const DEV_MINER: [u8; 32] = [
	0x04, 0x13, 0x62, 0xab, 0x25, 0x13, 0xbf, 0xcf, 0x67, 0xcd, 0x18, 0x81, 0x55, 0xf9, 0x6e, 0xfb, 0xca, 0x67, 0xff,
	0x27, 0xbb, 0xe6, 0x6c, 0x1c, 0xf7, 0xb5, 0xb9, 0xba, 0x90, 0xff, 0xf0, 0x32,
];

fn endowed() -> Vec<(AccountId, Balance)> {
	let known = Sr25519Keyring::well_known().map(|key| key.to_account_id());
	known.chain([dev_miner()]).map(|account| (account, ENDOWMENT)).collect()
}

/// What a validator of a test chain's genesis has bonded.
const VALIDATOR_BOND: Balance = 10 * MIN_VALIDATOR_BOND;

/// The validators of a test chain's genesis: well-known accounts and their votes' keys of the same name.
const ALICE: (Sr25519Keyring, Ed25519Keyring) = (Sr25519Keyring::Alice, Ed25519Keyring::Alice);
const BOB: (Sr25519Keyring, Ed25519Keyring) = (Sr25519Keyring::Bob, Ed25519Keyring::Bob);

fn validators(all: &[(Sr25519Keyring, Ed25519Keyring)], session_length: BlockNumber) -> ValidatorsConfig {
	let candidates = all.iter().map(|(account, _)| (account.to_account_id(), VALIDATOR_BOND)).collect();
	ValidatorsConfig { candidates, session_length, _marker: Default::default() }
}

fn session(all: &[(Sr25519Keyring, Ed25519Keyring)]) -> SessionConfig {
	let keys = all.iter().map(|(account, key)| {
		let account = account.to_account_id();
		(account.clone(), account, SessionKeys { grandpa: key.public().into() })
	});
	SessionConfig { keys: keys.collect(), non_authority_keys: Vec::new() }
}

/// Blocks every second: for one machine.
fn development() -> Value {
	build_struct_json_patch!(RuntimeGenesisConfig {
		balances: BalancesConfig { balances: endowed() },
		sudo: SudoConfig { key: Some(Sr25519Keyring::Alice.to_account_id()) },
		work: WorkConfig::<Runtime> {
			block_time: 1_000,
			half_life: 15_000,
			difficulty_floor: 1 << 24,
			initial_difficulty: 1 << 34,
			max_lag: 120_000,
			_marker: Default::default(),
		},
		validators: validators(&[ALICE], DEV_SESSION_BLOCKS),
		session: session(&[ALICE]),
	})
}

/// The schedule of a public chain, for several machines.
fn local() -> Value {
	build_struct_json_patch!(RuntimeGenesisConfig {
		balances: BalancesConfig { balances: endowed() },
		work: WorkConfig::<Runtime> { ..Default::default() },
		validators: validators(&[ALICE, BOB], SESSION_BLOCKS),
		session: session(&[ALICE, BOB]),
	})
}

/// The JSON patch of a preset.
pub fn get_preset(id: &PresetId) -> Option<Vec<u8>> {
	let patch = match id.as_ref() {
		DEV_RUNTIME_PRESET => development(),
		LOCAL_TESTNET_RUNTIME_PRESET => local(),
		_ => return None,
	};
	serde_json::to_vec(&patch).ok()
}

/// The presets there are.
pub fn preset_names() -> Vec<PresetId> {
	vec![PresetId::from(DEV_RUNTIME_PRESET), PresetId::from(LOCAL_TESTNET_RUNTIME_PRESET)]
}

#[cfg(test)]
mod tests {
	use super::*;
	use sp_core::Pair;

	#[test]
	fn the_development_miner_is_the_one_the_node_uses() {
		let pair = sp_core::sr25519::Pair::from_string("//Miner", None).expect("a valid derivation path");
		assert_eq!(DEV_MINER, pair.public().0);
	}

	#[test]
	fn presets_build() {
		for name in preset_names() {
			let patch = get_preset(&name).expect("a preset of that name");
			let mut config = serde_json::to_value(RuntimeGenesisConfig::default()).expect("serializable");
			merge(&mut config, serde_json::from_slice(&patch).expect("JSON"));
			let config = serde_json::to_vec(&config).expect("serializable");
			sp_io::TestExternalities::default().execute_with(|| {
				frame_support::genesis_builder_helper::build_state::<RuntimeGenesisConfig>(config).expect("builds");
				assert!(pallet_work::NextDifficulty::<Runtime>::get().0 > 0);
				assert!(!crate::Grandpa::grandpa_authorities().is_empty());
				assert!(pallet_validators::SessionLength::<Runtime>::get() > 0);
			});
		}
	}

	fn merge(config: &mut Value, patch: Value) {
		match (config, patch) {
			(Value::Object(config), Value::Object(patch)) => {
				for (key, value) in patch {
					merge(config.entry(key).or_insert(Value::Null), value);
				}
			}
			(config, patch) => *config = patch,
		}
	}
}
