//! Puts the node together out of the SDK's parts and ours.
//!
//! [`new_partial`] makes what every subcommand needs (client, database, import queue, transaction pool), [`new_full`] adds the
//! network, finality, RPC, and, if asked for, mining.

use std::{path::PathBuf, sync::Arc};

use labora_primitives::{AccountId, BlockNumber, Hash};
use labora_runtime::{opaque::Block, RuntimeApi};
use sc_basic_authorship::ProposerFactory;
use sc_consensus_grandpa::{warp_proof::NetworkProvider, FinalityProofProvider, SharedAuthoritySet, SharedVoterState};
use sc_network::{
	config::{FullNetworkConfiguration, SyncMode},
	service::traits::NetworkService,
	NetworkBackend,
};
use sc_network_sync::SyncingService;
use sc_service::{BuildNetworkParams, Configuration, PartialComponents, SpawnTasksParams, TaskManager, WarpSyncConfig};
use sc_telemetry::{Telemetry, TelemetryWorker};
use sp_blockchain::HeaderBackend;
use sp_core::sr25519;
use sp_keystore::KeystorePtr;
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
	metrics, rpc,
	tensor_store::TensorStore,
	watcher::{self, WatchConfig},
	worker::{self, WorkerConfig, WorkerStatus},
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
/// Folder of the blocks that this miner sealed last, inside the chain's folder.
const SEALED_FOLDER: &str = "sealed";
/// Memory of the watcher for tensors that units share, MiB.
const WATCHER_MEMORY: u32 = 512;
/// Messages to the telemetry servers that may wait to be sent.
const TELEMETRY_BUFFER: usize = 16;
/// Group of the mining tasks in the task metrics.
const MINING_TASKS: Option<&str> = Some("mining");

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
	let executor: Executor = sc_service::new_wasm_executor(&config.executor);
	let (client, backend, keystore_container, task_manager) = sc_service::new_full_parts::<Block, RuntimeApi, _>(
		config,
		telemetry.as_ref().map(|(_, telemetry)| telemetry.handle()),
		executor,
		Vec::new(),
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
	let store = open_tensor_store(&config)?;
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
		let (client, pool, store) = (client.clone(), transaction_pool.clone(), store.clone());
		let watch = watcher::run(watching, client, pool, keystore.clone(), store, registry);
		task_manager.spawn_handle().spawn_blocking("watcher", None, watch);
	}
	if let Some(registry) = prometheus {
		task_manager.spawn_handle().spawn("labora-metrics", None, metrics::run(client.clone(), registry));
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
			readiness,
			import: block_import,
			telemetry: telemetry.as_ref(),
		}
		.start(mining)
	});

	let rpc_builder = {
		let deps = rpc::Deps { client: client.clone(), pool: transaction_pool.clone(), store, status, finality };
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

fn open_tensor_store(config: &Configuration) -> Result<Arc<TensorStore>, ServiceError> {
	let path = config.data_path.join(TENSORS_FOLDER);
	match TensorStore::open(&path) {
		Ok(store) => Ok(Arc::new(store)),
		Err(error) => Err(ServiceError::TensorStore { path, error }),
	}
}

/// The running network.
struct Network {
	service: Arc<dyn NetworkService>,
	system_rpc: sc_utils::mpsc::TracingUnboundedSender<sc_rpc::system::Request<Block>>,
	transactions: sc_network_transactions::TransactionsHandlerController<Hash>,
	sync: Arc<SyncingService<Block>>,
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
	Ok((Network { service, system_rpc, transactions, sync }, protocol))
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
	readiness: Readiness<Arc<SyncingService<Block>>>,
	import: LaboraBlockImport,
	telemetry: Option<&'a Telemetry>,
}

impl Mining<'_> {
	/// Starts the worker, what tells it what to mine on, and the author. A miner whose mining stopped is no miner: the tasks are
	/// essential.
	fn start(self, mining: MiningConfig) -> Arc<WorkerStatus> {
		let (job_sender, jobs) = watch::channel(None);
		let (found, tickets) = mpsc::unbounded_channel();
		let account = AccountId::from(self.key);
		log::info!("⛏️  Mining as {account} with {} threads", mining.threads);

		let essential = self.task_manager.spawn_essential_handle();
		let publisher = JobPublisher::new(
			self.client.clone(),
			self.select_chain.clone(),
			self.readiness,
			account.clone(),
			job_sender,
		);
		essential.spawn_blocking("mining-jobs", MINING_TASKS, publisher.run());
		let proposers = ProposerFactory::new(
			self.task_manager.spawn_handle(),
			self.client.clone(),
			self.pool.clone(),
			self.config.prometheus_registry(),
			self.telemetry.map(Telemetry::handle),
		);
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
			threads: mining.threads.get(),
			slots: mining.slots,
			bond: mining.bond,
			memory_mib: mining.memory_mib,
			cache_dir: self.config.data_path.join(WORKER_FOLDER),
		};
		let spawn = self.task_manager.spawn_handle();
		worker::spawn(spawn, worker, self.client, self.pool, self.keystore, self.store, jobs, found)
	}
}
