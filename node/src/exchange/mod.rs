//! Tensors from peer to peer: what a unit needs and this node lacks comes from those who have it.
//!
//! A protocol of its own on the node's network (`protocol`): one question, one answer. The `server` answers from the store, within
//! limits (`rate`). The [`Fetcher`] is told what is wanted and how many bytes it has to have, asks the connected peers who has it, and
//! gets the groups of a tensor from several of them at a time; each group is verified before it is written, and whoever sent a wrong one
//! loses reputation (`book`). What live tasks need is pinned in the store (`pins`). What nobody serves the worker's `recompute` makes, if it
//! is an output of a unit.
//!
//! What it is not: it does not look beyond the connected peers, and it pushes nothing.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use labora_primitives::{Hash, UnitRef};
use labora_runtime::opaque::Block;
use labora_tensor::Commitment;
use sc_network::{
	request_responses::IncomingRequest, service::traits::NetworkService, IfDisconnected, NetworkBackend, PeerId,
	ProtocolName, ReputationChange, RequestFailure,
};
use sc_network_sync::SyncingService;

mod book;
mod fetcher;
mod metrics;
pub mod pins;
pub mod protocol;
mod rate;
pub mod server;
#[cfg(test)]
mod tests;

pub use fetcher::{Fetcher, WantState, WantStatus};
pub use metrics::Metrics;

/// Log target of the exchange.
const LOG_TARGET: &str = "labora::exchange";
/// How long a peer may take for an answer of at most 1 MiB.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Questions that may wait to be looked at. What does not fit is refused.
const QUEUE: usize = 256;

/// A tensor that is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wanted {
	/// Its commitment.
	pub commitment: Commitment,
	/// The bytes that it has to have, by its task. Another length is not taken.
	pub bytes: u64,
	/// The unit that it is an output of, if it is one: it can be computed again.
	pub made_by: Option<UnitRef>,
}

/// The peers, as the fetcher sees them.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
	/// The connected ones.
	async fn connected(&self) -> Vec<PeerId>;
	/// Asks one of them.
	async fn request(&self, peer: PeerId, question: Vec<u8>) -> Result<Vec<u8>, RequestFailure>;
	/// What one of them did.
	fn report(&self, peer: PeerId, change: ReputationChange);
}

/// Name of the protocol on a chain.
pub fn protocol_name(genesis: Hash, fork_id: Option<&str>) -> ProtocolName {
	let genesis = hex::encode(genesis);
	match fork_id {
		Some(fork_id) => format!("/{genesis}/{fork_id}/labora/tensor/1"),
		None => format!("/{genesis}/labora/tensor/1"),
	}
	.into()
}

/// The protocol for a network, and the questions that come in.
pub fn protocol<N: NetworkBackend<Block, Hash>>(
	name: ProtocolName,
) -> (N::RequestResponseProtocolConfig, async_channel::Receiver<IncomingRequest>) {
	let (sender, questions) = async_channel::bounded(QUEUE);
	let (question, answer) = (protocol::MAX_QUESTION_BYTES, protocol::MAX_ANSWER_BYTES);
	let config = N::request_response_config(name, Vec::new(), question, answer, REQUEST_TIMEOUT, Some(sender));
	(config, questions)
}

/// The peers of a running network.
pub struct NetworkPeers {
	/// The network.
	pub network: Arc<dyn NetworkService>,
	/// Knows who is connected, and on this chain.
	pub sync: Arc<SyncingService<Block>>,
	/// Name of the protocol.
	pub protocol: ProtocolName,
}

#[async_trait]
impl Peers for NetworkPeers {
	async fn connected(&self) -> Vec<PeerId> {
		// While the node stops nobody answers.
		let peers = self.sync.peers_info().await.unwrap_or_default();
		peers.into_iter().map(|(peer, _)| peer).collect()
	}

	async fn request(&self, peer: PeerId, question: Vec<u8>) -> Result<Vec<u8>, RequestFailure> {
		let protocol = self.protocol.clone();
		let answer = self.network.request(peer, protocol, question, None, IfDisconnected::ImmediateError).await?;
		Ok(answer.0)
	}

	fn report(&self, peer: PeerId, change: ReputationChange) {
		self.network.report_peer(peer, change);
	}
}
