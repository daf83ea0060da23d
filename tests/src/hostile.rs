//! A peer that serves blocks which it never executed: the SDK's network on a database that somebody wrote by hand.

use std::path::Path;

use anyhow::{anyhow, Context, Result};
use async_trait::async_trait;
use codec::{Decode, Encode};
use labora_node::{cli::Cli, service};
use labora_runtime::{opaque, Block};
use sc_cli::SubstrateCli;
use sc_consensus::{
	import_queue::{ImportQueue, ImportQueueService, IncomingBlock, Link, RuntimeOrigin},
	BlockImport, BlockImportParams, ForkChoiceStrategy, ImportResult, StateAction,
};
use sc_network::{config::FullNetworkConfiguration, Litep2pNetworkBackend, NetworkBackend};
use sc_service::{BuildNetworkParams, PartialComponents, TaskManager};
use sp_consensus::BlockOrigin;
use sp_core::H256;
use sp_runtime::{
	traits::{Block as _, Header},
	Justifications,
};

/// A running hostile peer. It ends when dropped.
pub struct Hostile {
	_tasks: TaskManager,
	/// Without its handles the network ends.
	_network: Box<dyn Send>,
}

impl Hostile {
	/// Starts a peer on the chain of a specification, whose best chain are these blocks, from height 1 on, with data in `base`. It calls
	/// on the node at `victim` again and again.
	pub async fn start(spec: &Path, base: &Path, blocks: &[Block], victim: &str) -> Result<Self> {
		let text = |path: &Path| path.to_str().map(str::to_owned).context("a path of text");
		let (spec, base) = (text(spec)?, text(base)?);
		let listen = ["--listen-addr", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--no-prometheus", "--no-telemetry"];
		let arguments = ["labora-node", "--chain", &spec, "--base-path", &base, "--reserved-nodes", victim];
		let cli = Cli::try_from_iter(arguments.into_iter().chain(listen))?;
		let config = cli.create_configuration(&cli.run, tokio::runtime::Handle::current())?;
		let PartialComponents { client, task_manager, transaction_pool, .. } = service::new_partial(&config)?;
		for block in blocks {
			let imported = BlockImport::import_block(&*client, unexecuted(block)?).await?;
			let ImportResult::Imported(_) = imported else { return Err(anyhow!("{imported:?}")) };
		}
		type Network = Litep2pNetworkBackend;
		let network = sc_service::build_network(BuildNetworkParams {
			config: &config,
			net_config: FullNetworkConfiguration::<_, _, Network>::new(&config.network, None),
			client,
			transaction_pool,
			spawn_handle: task_manager.spawn_handle(),
			spawn_essential_handle: task_manager.spawn_essential_handle(),
			import_queue: Deaf,
			block_announce_validator_builder: None,
			warp_sync_config: None,
			block_relay: None,
			metrics: <Network as NetworkBackend<opaque::Block, H256>>::register_notification_metrics(None),
			gap_sync_body_policy: None,
		})?;
		Ok(Self { _tasks: task_manager, _network: Box::new(network) })
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
