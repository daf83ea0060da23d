//! Accounts and their money.

use codec::{Decode, Encode};
use labora_primitives::{AccountId, Balance};
use sp_crypto_hashing::{blake2_128, twox_128};
use subxt::{rpcs::rpc_params, utils::H256};
use subxt_signer::sr25519::Keypair;

use crate::{
	client::{Call, Client, ClientError, Included},
	hexes::{from_hex, to_hex},
};

/// What an account has, in the smallest unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Funds {
	/// What it can spend.
	pub free: Balance,
	/// Bonds, escrows and rewards that wait.
	pub held: Balance,
}

impl Funds {
	/// Both.
	pub fn total(&self) -> Balance {
		self.free.saturating_add(self.held)
	}
}

/// What an account has, at a block or at the best one. Nothing, if there is no such account.
pub async fn balance(client: &Client, at: Option<H256>, who: &AccountId) -> Result<Funds, ClientError> {
	let id = who.encode();
	let key = [&twox_128(b"System")[..], &twox_128(b"Account"), &blake2_128(&id), &id].concat();
	let key = to_hex(key);
	let value: Option<String> = client.request("state_getStorage", rpc_params![key, at]).await?;
	let Some(value) = value else { return Ok(Funds::default()) };
	let bytes = from_hex(&value).unwrap_or_default();
	// nonce, consumers, providers, sufficients; free, reserved, frozen, flags
	let (_, free, held) = <([u32; 4], Balance, Balance)>::decode(&mut &bytes[..])
		.map_err(|error| ClientError::BadAnswer { method: "state_getStorage".into(), reason: error.to_string() })?;
	Ok(Funds { free, held })
}

/// Sends money of the signer's. The account may come into being or come to its end by it.
pub async fn transfer(
	client: &Client,
	signer: &Keypair,
	to: &AccountId,
	amount: Balance,
) -> Result<Included, ClientError> {
	// A destination is an enumeration, of which an account is the first kind.
	client.submit(signer, &Call::new("Balances", "transfer_allow_death", ((0u8, to), codec::Compact(amount)))).await
}
