//! A peer without a node behind it: the SDK's network on a database that somebody wrote by hand. It serves blocks that it never executed,
//! answers about tensors what it is told to, and sends anything at all as votes.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use anyhow::{anyhow, Context, Result};
use async_trait::async_trait;
use codec::{Decode, Encode};
use labora_node::{
	cli::Cli,
	consensus::finality,
	exchange::{
		self,
		protocol::{Question, MAX_QUESTION_BYTES},
		NetworkPeers, REQUEST_TIMEOUT,
	},
	service,
};
use labora_runtime::{opaque, Block};
use sc_cli::SubstrateCli;
use sc_consensus::{
	import_queue::{ImportQueue, ImportQueueService, IncomingBlock, Link, RuntimeOrigin},
	BlockImport, BlockImportParams, ForkChoiceStrategy, ImportResult, StateAction,
};
use sc_network::{
	config::FullNetworkConfiguration,
	request_responses::{IncomingRequest, OutgoingResponse},
	service::traits::{MessageSink, NetworkService, NotificationEvent, ValidationResult},
	Litep2pNetworkBackend, Multiaddr, NetworkBackend, ProtocolName,
};
use sc_network_sync::SyncingService;
use sc_service::{BuildNetworkParams, PartialComponents, TaskManager};
use sp_consensus::BlockOrigin;
use sp_core::H256;
use sp_runtime::{
	traits::{Block as _, Header},
	Justifications,
};
use tokio::sync::watch;

/// Largest answer about tensors that this peer can send: more than any node takes.
pub const LARGEST_ANSWER: u64 = 16 << 20;
/// How long it may take until the network listens, or a stream is open.
const START: Duration = Duration::from_secs(60);

/// A running peer. It ends when dropped.
pub struct Peer {
	/// Its network.
	pub network: Arc<dyn NetworkService>,
	/// What others ask of its tensors.
	pub questions: async_channel::Receiver<IncomingRequest>,
	sync: Arc<SyncingService<opaque::Block>>,
	tensors: ProtocolName,
	votes: ProtocolName,
	/// Where votes to the node go that it exchanges them with.
	votes_out: watch::Receiver<Option<Arc<dyn MessageSink>>>,
	tasks: TaskManager,
	/// Without these handles the network ends.
	_handles: Box<dyn Send>,
}

impl Peer {
	/// Starts a peer on the chain of a specification, whose best chain are these blocks, from height 1 on, with data in `base`. If it
	/// `calls` on a node, it does so again and again.
	pub async fn start(spec: &Path, base: &Path, blocks: &[Block], calls: Option<&str>) -> Result<Self> {
		let text = |path: &Path| path.to_str().map(str::to_owned).context("a path of text");
		let (spec, base) = (text(spec)?, text(base)?);
		let listen = ["--listen-addr", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--no-prometheus", "--no-telemetry"];
		let arguments = ["labora-node", "--chain", &spec, "--base-path", &base];
		let calls = calls.into_iter().flat_map(|node| ["--reserved-nodes", node]);
		let cli = Cli::try_from_iter(arguments.into_iter().chain(listen).chain(calls))?;
		let config = cli.create_configuration(&cli.run, tokio::runtime::Handle::current())?;
		let PartialComponents { client, task_manager, transaction_pool, .. } = service::new_partial(&config)?;
		for block in blocks {
			let imported = BlockImport::import_block(&*client, unexecuted(block)?).await?;
			let ImportResult::Imported(_) = imported else { return Err(anyhow!("{imported:?}")) };
		}
		type Network = Litep2pNetworkBackend;
		let mut net_config = FullNetworkConfiguration::<_, _, Network>::new(&config.network, None);
		let metrics = <Network as NetworkBackend<opaque::Block, H256>>::register_notification_metrics(None);
		let genesis = client.chain_info().genesis_hash;
		let mut votes = finality::add_protocol::<Network>(&config, &genesis, &mut net_config, metrics.clone());
		let (votes_name, (sinks, votes_out)) = (votes.name.clone(), watch::channel(None));
		task_manager.spawn_handle().spawn("votes", None, async move {
			while let Some(event) = votes.notifications.next_event().await {
				match event {
					NotificationEvent::ValidateInboundSubstream { result_tx, .. } => {
						let _ = result_tx.send(ValidationResult::Accept);
					}
					NotificationEvent::NotificationStreamOpened { peer, .. } => {
						sinks.send_replace(votes.notifications.message_sink(&peer).map(Arc::from));
					}
					NotificationEvent::NotificationStreamClosed { .. } => {
						sinks.send_replace(None);
					}
					NotificationEvent::NotificationReceived { .. } => {}
				}
			}
		});
		let tensors = exchange::protocol_name(genesis, config.chain_spec.fork_id());
		let (sender, questions) = async_channel::bounded(64);
		net_config.add_request_response_protocol(
			<Network as NetworkBackend<opaque::Block, H256>>::request_response_config(
				tensors.clone(),
				Vec::new(),
				MAX_QUESTION_BYTES,
				LARGEST_ANSWER,
				REQUEST_TIMEOUT,
				Some(sender),
			),
		);
		let (network, system_rpc, transactions, sync, bitswap) = sc_service::build_network(BuildNetworkParams {
			config: &config,
			net_config,
			client,
			transaction_pool,
			spawn_handle: task_manager.spawn_handle(),
			spawn_essential_handle: task_manager.spawn_essential_handle(),
			import_queue: Deaf,
			block_announce_validator_builder: None,
			warp_sync_config: None,
			block_relay: None,
			metrics,
			gap_sync_body_policy: None,
		})?;
		let handles = Box::new((system_rpc, transactions, bitswap));
		let (votes, tasks) = (votes_name, task_manager);
		Ok(Self { network, questions, sync, tensors, votes, votes_out, tasks, _handles: handles })
	}

	/// Opens a stream of votes to the node of an address, and gives where they go.
	pub async fn votes(&self, node: &str) -> Result<Arc<dyn MessageSink>> {
		let address: Multiaddr = node.parse().context("an address")?;
		let added = self.network.add_peers_to_reserved_set(self.votes.clone(), HashSet::from([address]));
		added.map_err(|error| anyhow!(error))?;
		let mut sinks = self.votes_out.clone();
		let open = sinks.wait_for(Option::is_some);
		let sink = tokio::time::timeout(START, open).await.context("the node takes no votes")??.clone();
		sink.context("a stream of votes")
	}

	/// Its address.
	pub async fn address(&self) -> Result<String> {
		let listen = async {
			loop {
				let address = self.network.listen_addresses().into_iter().map(|address| address.to_string());
				match address.into_iter().find(|address| address.contains("/ip4/127.0.0.1/tcp/")) {
					Some(address) => return address,
					None => tokio::time::sleep(Duration::from_millis(10)).await,
				}
			}
		};
		let address = tokio::time::timeout(START, listen).await.context("the network listens")?;
		let own = format!("/p2p/{}", self.network.local_peer_id());
		Ok(if address.ends_with(&own) { address } else { address + &own })
	}

	/// Those whom it is connected to, as a fetcher asks them.
	pub fn peers(&self) -> NetworkPeers {
		let (network, sync, protocol) = (self.network.clone(), self.sync.clone(), self.tensors.clone());
		NetworkPeers { network, sync, protocol }
	}

	/// Answers questions about tensors as somebody likes. `None`: not at all.
	pub fn answer(&self, answer: impl Fn(&Question) -> Option<Vec<u8>> + Send + 'static) {
		let questions = self.questions.clone();
		self.tasks.spawn_handle().spawn("answers", None, async move {
			while let Ok(IncomingRequest { payload, pending_response, .. }) = questions.recv().await {
				let result = Question::read(&payload).and_then(|question| answer(&question)).ok_or(());
				let _ =
					pending_response.send(OutgoingResponse { result, reputation_changes: vec![], sent_feedback: None });
			}
		});
	}
}

/// A block for the database as it is: the best one, its state unknown.
fn unexecuted(block: &Block) -> Result<BlockImportParams<opaque::Block>> {
	let (mut header, body) = opaque::Block::decode(&mut &block.encode()[..])?.deconstruct();
	let seal = header.digest_mut().pop().context("a sealed block")?;
	let mut import = BlockImportParams::new(BlockOrigin::File, header);
	import.post_digests.push(seal);
	import.body = Some(body);
	import.state_action = StateAction::Skip;
	import.fork_choice = Some(ForkChoiceStrategy::Custom(true));
	Ok(import)
}

/// An import queue that takes nothing, so that the peer stays with its own chain.
struct Deaf;

impl ImportQueueService<opaque::Block> for Deaf {
	fn import_blocks(&mut self, _: BlockOrigin, _: Vec<IncomingBlock<opaque::Block>>) {}

	fn import_justifications(&mut self, _: RuntimeOrigin, _: H256, _: u32, _: Justifications) {}
}

#[async_trait]
impl ImportQueue<opaque::Block> for Deaf {
	fn service(&self) -> Box<dyn ImportQueueService<opaque::Block>> {
		Box::new(Self)
	}

	fn service_ref(&mut self) -> &mut dyn ImportQueueService<opaque::Block> {
		self
	}

	fn poll_actions(&mut self, _: &mut std::task::Context, _: &dyn Link<opaque::Block>) {}

	async fn run(self, _: &dyn Link<opaque::Block>) {
		std::future::pending().await
	}
}
