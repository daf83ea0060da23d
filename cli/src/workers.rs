//! Workers: bonded miners.

use labora_primitives::{AccountId, Assignment, Balance, Worker};
use subxt_signer::sr25519::Keypair;

use crate::client::{Call, Client, ClientError, Included};

/// A worker and what it is at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerStatus {
	/// The account.
	pub account: AccountId,
	/// The worker, if the account is one.
	pub worker: Option<Worker>,
	/// Its assignments.
	pub assignments: Vec<Assignment>,
}

/// Bonds the signer as a worker: it takes so many units at a time, each of at most so many MiB.
pub async fn register(client: &Client, signer: &Keypair, slots: u16, memory: u32) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Workers", "register", (slots, memory))).await
}

/// Raises the signer's bond.
pub async fn bond_more(client: &Client, signer: &Keypair, amount: Balance) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Workers", "bond_more", (amount,))).await
}

/// Takes back the bond of a worker that left.
pub async fn withdraw(client: &Client, signer: &Keypair) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Workers", "withdraw", ())).await
}

/// Takes no more units; the bond can be withdrawn some time later.
pub async fn leave(client: &Client, signer: &Keypair) -> Result<Included, ClientError> {
	client.submit(signer, &Call::new("Workers", "leave", ())).await
}

/// What the chain knows of an account's work.
pub async fn status(client: &Client, account: AccountId) -> Result<WorkerStatus, ClientError> {
	let at = Some(client.best().await?.hash);
	let worker = client.worker(at, account.clone()).await?;
	let assignments = client.mining_context(at, account.clone()).await?.assignments;
	Ok(WorkerStatus { account, worker, assignments })
}
