//! What is final: GRANDPA, voted by the validators of the session (`pallet-validators`).
//!
//! Miners order blocks, validators finalize them: two thirds of the validators' votes make a block and its ancestors final for every
//! node that sees them. Without two thirds blocks go on, and nothing more becomes final until enough are back. Every node follows
//! the votes; one with the role of an authority casts them with the keys of type `gran` that it has.

use std::{sync::Arc, time::Duration};

use labora_primitives::Hash;
use labora_runtime::opaque::Block;
use sc_consensus_grandpa::{
	grandpa_peers_set_config, protocol_standard_name, Config, GrandpaBlockImport, GrandpaParams, LinkHalf,
	SharedVoterState, VotingRule, VotingRulesBuilder,
};
use sc_network::{
	config::FullNetworkConfiguration,
	service::traits::{NetworkService, NotificationService},
	types::ProtocolName,
	NetworkBackend, NotificationMetrics,
};
use sc_network_sync::SyncingService;
use sc_service::{Configuration, TaskManager};
use sc_telemetry::TelemetryHandle;
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_keystore::KeystorePtr;

use crate::service::{FullBackend, FullClient, FullPool, FullSelectChain};

/// Finality in front of the client's own import.
pub type FinalityBlockImport = GrandpaBlockImport<FullBackend, Block, FullClient, FullSelectChain>;
/// What the voter is told of imports by.
pub type FinalityLink = LinkHalf<Block, FullClient, FullSelectChain>;

/// Blocks after which a justification is kept, if none was for another reason: those of a change of validators always are.
pub const JUSTIFICATION_PERIOD: u32 = 512;
/// How long a vote is expected to travel, at most.
const GOSSIP_DURATION: Duration = Duration::from_millis(333);

/// Where votes travel.
pub struct VoteProtocol {
	/// Its name.
	pub name: ProtocolName,
	/// The messages that come and go.
	pub notifications: Box<dyn NotificationService>,
}

/// Adds the votes' protocol to the network.
pub fn add_protocol<N: NetworkBackend<Block, Hash>>(
	config: &Configuration,
	genesis: &Hash,
	network: &mut FullNetworkConfiguration<Block, Hash, N>,
	metrics: NotificationMetrics,
) -> VoteProtocol {
	let name = protocol_standard_name(genesis, &config.chain_spec);
	let (protocol, notifications) =
		grandpa_peers_set_config::<_, N>(name.clone(), metrics, network.peer_store_handle());
	network.add_notification_protocol(protocol);
	VoteProtocol { name, notifications }
}

/// What following the votes, and casting them, needs of the node.
pub struct Voter {
	/// The other end of the block import.
	pub link: FinalityLink,
	/// Where reports of equivocations are submitted.
	pub pool: Arc<FullPool>,
	/// The keys of the validator, if this is one.
	pub keystore: KeystorePtr,
	/// The network.
	pub network: Arc<dyn NetworkService>,
	/// Block requests.
	pub sync: Arc<SyncingService<Block>>,
	/// Where votes travel.
	pub protocol: VoteProtocol,
	/// Where the state of the current round is shown.
	pub state: SharedVoterState,
	/// The telemetry.
	pub telemetry: Option<TelemetryHandle>,
}

/// A voter that can be started.
pub type Prepared<Rule> =
	GrandpaParams<Block, FullClient, Arc<dyn NetworkService>, Arc<SyncingService<Block>>, FullSelectChain, Rule>;

impl Voter {
	/// Prepares it, unless the configuration does without.
	pub fn prepare(self, config: &Configuration) -> Option<Prepared<impl VotingRule<Block, FullClient> + Clone>> {
		let Self { link, pool, keystore, network, sync, protocol, state, telemetry } = self;
		let role = config.role;
		let grandpa = Config {
			gossip_duration: GOSSIP_DURATION,
			justification_generation_period: JUSTIFICATION_PERIOD,
			name: Some(config.network.node_name.clone()),
			observer_enabled: false,
			keystore: role.is_authority().then_some(keystore),
			local_role: role,
			telemetry: telemetry.clone(),
			protocol_name: protocol.name,
		};
		let prepared = GrandpaParams {
			config: grandpa,
			link,
			network,
			sync,
			notification_service: protocol.notifications,
			voting_rule: VotingRulesBuilder::default().build(),
			prometheus_registry: config.prometheus_registry().cloned(),
			shared_voter_state: state,
			telemetry,
			offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(pool),
		};
		(!config.disable_grandpa).then_some(prepared)
	}
}

/// Starts a voter. Which of its keys it votes with it decides when a round begins: they have to be in the keystore before.
pub fn start<Rule>(voter: Prepared<Rule>, task_manager: &TaskManager) -> Result<(), sc_service::Error>
where
	Rule: VotingRule<Block, FullClient> + Clone + 'static,
{
	let voter = sc_consensus_grandpa::run_grandpa_voter(voter)?;
	task_manager.spawn_essential_handle().spawn_blocking("grandpa-voter", None, voter);
	Ok(())
}
