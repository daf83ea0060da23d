//! Validators: who votes on what is final.

use labora_primitives::{Balance, CandidateInfo};
use serde::Deserialize;
use subxt::rpcs::rpc_params;
use subxt_signer::sr25519::Keypair;

use crate::{
	client::{account_of, bytes, Call, Client, ClientError, Included},
	hexes::to_hex,
};

/// Session keys that a node made, as it gives them: hexadecimal.
#[derive(Deserialize)]
struct Generated {
	keys: String,
	proof: String,
}

/// Everyone with a bond as a validator or to become one, highest score first.
pub async fn all(client: &Client) -> Result<Vec<CandidateInfo>, ClientError> {
	let mut all = client.candidates(None).await?;
	all.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.account.cmp(&b.account)));
	Ok(all)
}

/// Has the node make session keys, which stay in its keystore, and registers them for the signer.
pub async fn set_keys(client: &Client, signer: &Keypair) -> Result<Included, ClientError> {
	const METHOD: &str = "author_rotateKeysWithOwner";
	let owner = to_hex(account_of(signer));
	let generated: Generated = client.request(METHOD, rpc_params![owner]).await?;
	let keys: [u8; 32] = bytes(METHOD, &generated.keys)?
		.try_into()
		.map_err(|_| ClientError::BadAnswer { method: METHOD.into(), reason: "not one key of 32 bytes".into() })?;
	client.submit(signer, &Call::new("Session", "set_keys", (keys, bytes(METHOD, &generated.proof)?))).await
}

/// Bonds the signer as a candidate.
pub async fn join(client: &Client, signer: &Keypair, bond: Balance) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Validators", "declare_candidacy", (bond,))).await
}

/// Raises the signer's bond.
pub async fn bond_more(client: &Client, signer: &Keypair, amount: Balance) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Validators", "bond_more", (amount,))).await
}

/// Is elected no more; the bond can be withdrawn some sessions later.
pub async fn leave(client: &Client, signer: &Keypair) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Validators", "leave", ())).await
}

/// Takes back the bond of a candidate that left.
pub async fn withdraw(client: &Client, signer: &Keypair) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Validators", "withdraw", ())).await
}
