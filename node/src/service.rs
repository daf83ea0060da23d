//! Puts the node together out of the SDK's parts and ours.
//!
//! [`new_partial`] makes what every subcommand needs (client, database, import queue, transaction pool), [`new_full`] adds the
//! network, finality, RPC, and, if asked for, mining.

use std::{path::PathBuf, sync::Arc};

use frame_support::dispatch::DispatchClass;
use labora_miner::address::{AddressError, Listener};
use labora_primitives::{AccountId, BlockNumber, Hash};
use labora_runtime::{configs::RuntimeBlockLength, opaque::Block, RuntimeApi};
use sc_basic_authorship::ProposerFactory;
use sc_consensus_grandpa::{warp_proof::NetworkProvider, FinalityProofProvider, SharedAuthoritySet, SharedVoterState};
use sc_network::{
	config::{FullNetworkConfiguration, SyncMode},
	request_responses::IncomingRequest,
	service::traits::NetworkService,
	NetworkBackend, ProtocolName,
};
use sc_network_sync::SyncingService;
use sc_service::{BuildNetworkParams, Configuration, PartialComponents, SpawnTasksParams, TaskManager, WarpSyncConfig};
use sc_telemetry::{Telemetry, TelemetryWorker};
use sp_blockchain::HeaderBackend;
use sp_core::sr25519;
use sp_keystore::KeystorePtr;
use sp_runtime::Percent;
use tokio::sync::{mpsc, watch};

use crate::{
	cli::{MiningConfig, NodeOptions},
	consensus::{
		algorithm::LaboraAlgorithm,
		authoring::{Author, JobPublisher},
		finality::{self, FinalityLink, VoteProtocol, Voter},
		journal::Journal,
		readiness::Readiness,
		seal::{self, MinerKeyError},
		LaboraBlockImport,
	},
	exchange::{self, Fetcher},
	metrics, rpc, startup,
	tensor_store::TensorStore,
	watcher::{self, WatchConfig},
	worker::{
		self,
		chain::RuntimeChain,
		recompute::{self, Recomputer},
		WorkerConfig, WorkerStatus,
	},
};

/// Executes the runtime. It needs no host functions but the SDK's.
pub type Executor = sc_executor::WasmExecutor<sp_io::SubstrateHostFunctions>;
/// The client.
pub type FullClient = sc_service::TFullClient<Block, RuntimeApi, Executor>;
/// Its database.
pub type FullBackend = sc_service::TFullBackend<Block>;
/// The transaction pool.
pub type FullPool = sc_transaction_pool::TransactionPoolHandle<Block, FullClient>;
/// The best chain is the one that block import marked as best: the one with the most work.
pub type FullSelectChain = sc_consensus::LongestChain<FullBackend, Block>;

/// What every subcommand needs.
pub type Partial = PartialComponents<
	FullClient,
	FullBackend,
	FullSelectChain,
	sc_consensus::DefaultImportQueue<Block>,
	FullPool,
	(LaboraBlockImport, FinalityLink, Option<Telemetry>),
>;

/// Folder of the tensor store, inside the chain's folder.
const TENSORS_FOLDER: &str = "tensors";
/// Folder where the worker keeps what it can compute again, inside the chain's folder.
const WORKER_FOLDER: &str = "worker";
/// Folder of the socket of miners, inside the chain's folder.
const MINERS_FOLDER: &str = "miners";
/// Folder of the blocks that this miner sealed last, inside the chain's folder.
const SEALED_FOLDER: &str = "sealed";
/// Memory of the watcher for tensors that units share, MiB.
const WATCHER_MEMORY: u32 = 512;
/// Messages to the telemetry servers that may wait to be sent.
const TELEMETRY_BUFFER: usize = 16;
/// Group of the mining tasks in the task metrics.
const MINING_TASKS: Option<&str> = Some("mining");
/// Group of the tensor exchange's tasks in the task metrics.
const TENSOR_TASKS: Option<&str> = Some("tensors");

/// Why the node does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
	/// Something of the SDK failed.
	#[error(transparent)]
	Sdk(#[from] sc_service::Error),
	/// There is no key to mine with.
	#[error(transparent)]
	MinerKey(#[from] MinerKeyError),
	/// The tensor store cannot be opened.
	#[error("the tensor store {path} cannot be opened: {error}")]
	TensorStore {
		/// Where.
		path: PathBuf,
		/// Why.
		error: std::io::Error,
	},
	/// Miners cannot connect.
	#[error("miners cannot connect: {0}")]
	Miners(#[from] AddressError),
	/// The journal of sealed blocks cannot be opened.
	#[error("the journal of sealed blocks cannot be opened: {0}")]
	Journal(std::io::Error),
	/// A way to sync that would take blocks that are neither executed, which verifies their work, nor final.
	#[error(
		"only --sync full and --sync warp are possible: the proof of a block's work is verified by executing the block"
	)]
	SyncMode(SyncMode),
}

/// Client, database, import queue and transaction pool.
pub fn new_partial(config: &Configuration) -> Result<Partial, sc_service::Error> {
	let telemetry = telemetry_worker(config)?;
	let executor = startup::executor(config);
	let backend = sc_service::new_db_backend(config.db_config())?;
	let genesis = startup::Genesis::new(config, backend.clone(), executor.clone());
	let handle = telemetry.as_ref().map(|(_, telemetry)| telemetry.handle());
	let (client, backend, keystore_container, task_manager) =
		sc_service::new_full_parts_with_genesis_builder::<Block, RuntimeApi, _, _>(
			config, handle, executor, backend, genesis, false,
		)?;
	let client = Arc::new(client);
	let telemetry = telemetry.map(|(worker, telemetry)| {
		task_manager.spawn_handle().spawn("telemetry", None, worker.run());
		telemetry
	});
	let select_chain = sc_consensus::LongestChain::new(backend.clone());
	let transaction_pool = transaction_pool(config, &task_manager, client.clone());
	let (finality_import, finality_link) = sc_consensus_grandpa::block_import(
		client.clone(),
		finality::JUSTIFICATION_PERIOD,
		&client,
		select_chain.clone(),
		telemetry.as_ref().map(Telemetry::handle),
	)?;
	let justification_import = Box::new(finality_import.clone());
	let block_import = LaboraBlockImport::new(client.clone(), finality_import, select_chain.clone());
	let import_queue = sc_consensus_pow::import_queue(
		Box::new(block_import.clone()),
		Some(justification_import),
		LaboraAlgorithm::new(client.clone()),
		&task_manager.spawn_essential_handle(),
		config.prometheus_registry(),
	)?;
	Ok(PartialComponents {
		client,
		backend,
		task_manager,
		import_queue,
		keystore_container,
		select_chain,
		transaction_pool,
		other: (block_import, finality_link, telemetry),
	})
}

/// The node: full node, and miner if the options say how.
pub fn new_full<N: NetworkBackend<Block, Hash>>(
	config: Configuration,
	options: NodeOptions,
) -> Result<TaskManager, ServiceError> {
	if !matches!(config.network.sync_mode, SyncMode::Full | SyncMode::Warp) {
		return Err(ServiceError::SyncMode(config.network.sync_mode));
	}
	let PartialComponents {
		client,
		backend,
		mut task_manager,
		import_queue,
		keystore_container,
		select_chain,
		transaction_pool,
		other: (block_import, finality_link, mut telemetry),
	} = new_partial(&config)?;
	let keystore = keystore_container.keystore();
	let miner =
		options.mining.map(|mining| seal::miner_key(&*keystore, &mining.key).map(|key| (mining, key))).transpose()?;
	let watcher = options.watching.map(|(share, key)| seal::miner_key(&*keystore, &key).map(|key| (share, key)));
	let watcher = watcher.transpose()?;
	let store = open_tensor_store(&config, options.tensor_quota)?;
	let finality = rpc::FinalityDeps {
		authorities: finality_link.shared_authority_set().clone(),
		voter: SharedVoterState::empty(),
		justifications: finality_link.justification_stream(),
		proofs: FinalityProofProvider::new_for_service(
			backend.clone(),
			Some(finality_link.shared_authority_set().clone()),
		),
	};
	let chain = Chain {
		client: client.clone(),
		backend: backend.clone(),
		pool: transaction_pool.clone(),
		import_queue,
		authorities: finality.authorities.clone(),
	};
	let (network, protocol) = start_network::<N>(&config, &task_manager, chain)?;
	let fetcher = start_exchange(&config, &task_manager, client.clone(), store.clone(), &network)?;

	let prometheus = config.prometheus_registry().cloned();
	let readiness = Readiness::new(network.sync.clone(), knows_of_peers(&config) && !options.without_peers);
	let voter = Voter {
		link: finality_link,
		pool: transaction_pool.clone(),
		keystore: keystore.clone(),
		network: network.service.clone(),
		sync: network.sync.clone(),
		protocol,
		state: finality.voter.clone(),
		telemetry: telemetry.as_ref().map(Telemetry::handle),
	};
	let voter = voter.prepare(&config);
	if let Some((share, key)) = watcher {
		let watching = WatchConfig { account: key.into(), share, memory_mib: WATCHER_MEMORY };
		let registry = prometheus.clone();
		let (client, pool) = (client.clone(), transaction_pool.clone());
		let tensors = (store.clone(), fetcher.clone());
		let watch = watcher::run(watching, client, pool, keystore.clone(), tensors, registry);
		task_manager.spawn_handle().spawn_blocking("watcher", None, watch);
	}
	let sealed = Journal::open(config.data_path.join(SEALED_FOLDER)).map_err(ServiceError::Journal)?;
	let status = miner.map(|(mining, key)| {
		Mining {
			journal: sealed,
			config: &config,
			task_manager: &task_manager,
			client: client.clone(),
			select_chain,
			pool: transaction_pool.clone(),
			keystore: keystore.clone(),
			key,
			store: store.clone(),
			fetcher: fetcher.clone(),
			readiness,
			import: block_import,
			telemetry: telemetry.as_ref(),
		}
		.start(mining)
	});
	let status = status.transpose()?;

	if let Some(registry) = prometheus {
		let sources = metrics::Sources { client: client.clone(), store: store.clone(), worker: status.clone() };
		task_manager.spawn_handle().spawn_blocking("labora-metrics", None, metrics::run(sources, registry));
	}

	let rpc_builder = {
		let deps =
			rpc::Deps { client: client.clone(), pool: transaction_pool.clone(), store, fetcher, status, finality };
		Box::new(move |executor| {
			rpc::create(&deps, executor).map_err(|error| sc_service::Error::Application(error.into()))
		})
	};
	sc_service::spawn_tasks(SpawnTasksParams {
		config,
		client,
		backend,
		task_manager: &mut task_manager,
		keystore,
		transaction_pool,
		rpc_builder,
		network: network.service,
		system_rpc_tx: network.system_rpc,
		tx_handler_controller: network.transactions,
		sync_service: network.sync,
		telemetry: telemetry.as_mut(),
		tracing_execute_block: None,
	})?;
	// After the tasks: they put the keys of --alice and the like into the keystore.
	if let Some(voter) = voter {
		finality::start(voter, &task_manager)?;
	}
	Ok(task_manager)
}

fn telemetry_worker(config: &Configuration) -> Result<Option<(TelemetryWorker, Telemetry)>, sc_telemetry::Error> {
	let endpoints = config.telemetry_endpoints.clone().filter(|endpoints| !endpoints.is_empty());
	endpoints
		.map(|endpoints| {
			let worker = TelemetryWorker::new(TELEMETRY_BUFFER)?;
			let telemetry = worker.handle().new_telemetry(endpoints);
			Ok((worker, telemetry))
		})
		.transpose()
}

fn transaction_pool(config: &Configuration, task_manager: &TaskManager, client: Arc<FullClient>) -> Arc<FullPool> {
	let pool = sc_transaction_pool::Builder::new(
		task_manager.spawn_essential_handle(),
		client,
		config.role.is_authority().into(),
	)
	.with_options(config.transaction_pool.clone())
	.with_prometheus(config.prometheus_registry())
	.build();
	Arc::new(pool)
}

/// Whether the node was told of other nodes.
fn knows_of_peers(config: &Configuration) -> bool {
	let network = &config.network;
	!network.boot_nodes.is_empty() || !network.default_peers_set.reserved_nodes.is_empty()
}

fn open_tensor_store(config: &Configuration, quota: u64) -> Result<Arc<TensorStore>, ServiceError> {
	let path = config.data_path.join(TENSORS_FOLDER);
	match TensorStore::open(&path) {
		Ok(store) => Ok(Arc::new(store.with_quota(quota))),
		Err(error) => Err(ServiceError::TensorStore { path, error }),
	}
}

/// The running network.
struct Network {
	service: Arc<dyn NetworkService>,
	system_rpc: sc_utils::mpsc::TracingUnboundedSender<sc_rpc::system::Request<Block>>,
	transactions: sc_network_transactions::TransactionsHandlerController<Hash>,
	sync: Arc<SyncingService<Block>>,
	/// The protocol of the tensor exchange, and what peers ask.
	tensors: (ProtocolName, async_channel::Receiver<IncomingRequest>),
}

/// What the network serves and fills.
struct Chain {
	client: Arc<FullClient>,
	backend: Arc<FullBackend>,
	pool: Arc<FullPool>,
	import_queue: sc_consensus::DefaultImportQueue<Block>,
	authorities: SharedAuthoritySet<Hash, BlockNumber>,
}

fn start_network<N: NetworkBackend<Block, Hash>>(
	config: &Configuration,
	task_manager: &TaskManager,
	chain: Chain,
) -> Result<(Network, VoteProtocol), sc_service::Error> {
	let Chain { client, backend, pool, import_queue, authorities } = chain;
	let registry = config.prometheus_registry();
	let metrics = N::register_notification_metrics(registry);
	let mut net_config = FullNetworkConfiguration::<_, _, N>::new(&config.network, registry.cloned());
	let protocol = finality::add_protocol(config, &client.info().genesis_hash, &mut net_config, metrics.clone());
	let tensors = exchange::protocol_name(client.info().genesis_hash, config.chain_spec.fork_id());
	let (exchange, questions) = exchange::protocol::<N>(tensors.clone());
	net_config.add_request_response_protocol(exchange);
	let warp_sync = Arc::new(NetworkProvider::new(backend, authorities, Vec::new()));
	let (service, system_rpc, transactions, sync, _) = sc_service::build_network(BuildNetworkParams {
		config,
		net_config,
		client,
		transaction_pool: pool,
		spawn_handle: task_manager.spawn_handle(),
		spawn_essential_handle: task_manager.spawn_essential_handle(),
		import_queue,
		block_announce_validator_builder: None,
		warp_sync_config: Some(WarpSyncConfig::WithProvider(warp_sync)),
		block_relay: None,
		metrics,
		gap_sync_body_policy: None,
	})?;
	Ok((Network { service, system_rpc, transactions, sync, tensors: (tensors, questions) }, protocol))
}

/// Serves tensors to peers, and fetches from them, or makes again, what is asked of the fetcher.
fn start_exchange(
	config: &Configuration,
	task_manager: &TaskManager,
	client: Arc<FullClient>,
	store: Arc<TensorStore>,
	network: &Network,
) -> Result<Arc<Fetcher>, sc_service::Error> {
	let metrics = exchange::Metrics::new(config.prometheus_registry());
	let metrics = metrics.map_err(|error| sc_service::Error::Application(error.into()))?;
	let fetcher = Arc::new(Fetcher::new(store.clone()));
	let (protocol, questions) = network.tensors.clone();
	let peers = exchange::NetworkPeers { network: network.service.clone(), sync: network.sync.clone(), protocol };
	let spawn = task_manager.spawn_handle();
	let (chain, best) = (Arc::new(RuntimeChain::new(client.clone())), client.clone());
	let recomputer = Recomputer {
		chain,
		best: move || best.info().best_hash,
		store: store.clone(),
		fetcher: fetcher.clone(),
		units: metrics.recomputed.clone(),
		patience: recompute::PATIENCE,
	};
	spawn.spawn("tensor-recompute", TENSOR_TASKS, recompute::run(recomputer));
	spawn.spawn("tensor-fetcher", TENSOR_TASKS, fetcher.clone().run(Arc::new(peers), metrics.clone()));
	spawn.spawn("tensor-server", TENSOR_TASKS, exchange::server::run(store.clone(), questions, metrics));
	spawn.spawn_blocking("tensor-pins", TENSOR_TASKS, exchange::pins::run(client, store));
	Ok(fetcher)
}

/// What mining needs of the node.
struct Mining<'a> {
	config: &'a Configuration,
	task_manager: &'a TaskManager,
	client: Arc<FullClient>,
	select_chain: FullSelectChain,
	pool: Arc<FullPool>,
	keystore: KeystorePtr,
	key: sr25519::Public,
	journal: Journal,
	store: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
	readiness: Readiness<Arc<SyncingService<Block>>>,
	import: LaboraBlockImport,
	telemetry: Option<&'a Telemetry>,
}

impl Mining<'_> {
	/// Starts the worker, what tells it what to mine on, and the author. A miner whose mining stopped is no miner: the tasks are
	/// essential.
	fn start(self, mining: MiningConfig) -> Result<Arc<WorkerStatus>, ServiceError> {
		let (job_sender, jobs) = watch::channel(None);
		let (found, tickets) = mpsc::unbounded_channel();
		let account = AccountId::from(self.key);
		log::info!("⛏️  Mining as {account} with {} threads", mining.threads);
		let folder = self.config.data_path.join(MINERS_FOLDER);
		let open = |(listen, secret): (_, Option<PathBuf>)| Listener::open(listen, &folder, secret.as_deref());
		let miners = mining.miners.map(open).transpose()?;

		let essential = self.task_manager.spawn_essential_handle();
		let publisher = JobPublisher::new(
			self.client.clone(),
			self.select_chain.clone(),
			self.readiness,
			account.clone(),
			job_sender,
		);
		essential.spawn_blocking("mining-jobs", MINING_TASKS, publisher.run());
		let mut proposers = ProposerFactory::new(
			self.task_manager.spawn_handle(),
			self.client.clone(),
			self.pool.clone(),
			self.config.prometheus_registry(),
			self.telemetry.map(Telemetry::handle),
		);
		// The SDK's defaults end a block before its limits do: answers would find no room in blocks that count as having some.
		let length = RuntimeBlockLength::get();
		proposers.set_default_block_size_limit(*length.max.get(DispatchClass::Operational) as usize);
		proposers.set_soft_deadline(Percent::one());
		let author = Author::new(
			self.client.clone(),
			self.select_chain,
			proposers,
			self.import,
			self.keystore.clone(),
			self.key,
			self.journal,
		);
		essential.spawn_blocking("block-author", MINING_TASKS, author.run(tickets));

		let worker = WorkerConfig {
			account,
			threads: mining.threads,
			slots: mining.slots,
			bond: mining.bond,
			memory_mib: mining.memory_mib,
			cache_dir: self.config.data_path.join(WORKER_FOLDER),
		};
		let spawn = self.task_manager.spawn_handle();
		let Self { client, pool, keystore, store, fetcher, .. } = self;
		Ok(worker::spawn(spawn, worker, client, pool, keystore, store, fetcher, jobs, found, miners))
	}
}
