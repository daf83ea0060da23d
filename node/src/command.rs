//! Runs what the command line asks for.

use std::path::PathBuf;

use labora_primitives::Hash;
use labora_runtime::opaque::Block;
use sc_cli::SubstrateCli;
use sc_network::config::NetworkBackendType;
use sc_service::{Configuration, PartialComponents, TaskManager};

use crate::{
	chain_spec::{self, ChainSpec},
	cli::{Cli, NodeOptions, Subcommand},
	logging::{self, LogFormat},
	service::{self, ServiceError},
};

impl SubstrateCli for Cli {
	fn impl_name() -> String {
		"Labora Node".into()
	}

	fn impl_version() -> String {
		env!("CARGO_PKG_VERSION").into()
	}

	fn description() -> String {
		env!("CARGO_PKG_DESCRIPTION").into()
	}

	fn author() -> String {
		env!("CARGO_PKG_AUTHORS").into()
	}

	fn support_url() -> String {
		env!("CARGO_PKG_REPOSITORY").into()
	}

	fn copyright_start_year() -> i32 {
		2026
	}

	fn load_spec(&self, id: &str) -> Result<Box<dyn sc_service::ChainSpec>, String> {
		Ok(Box::new(match id {
			"dev" => chain_spec::development().map_err(|error| error.to_string())?,
			"" | "local" => chain_spec::local_testnet().map_err(|error| error.to_string())?,
			path => ChainSpec::from_json_file(PathBuf::from(path))?,
		}))
	}
}

/// What is not logged unless asked for: two lines of the SDK's for each block that this node makes, beside our own and the import's.
const QUIET: &str = "sc_basic_authorship=warn";

/// Parses the command line and runs it.
pub fn run() -> sc_cli::Result<()> {
	let mut cli = Cli::from_args();
	// In front: what the operator says of the same target comes later, and counts.
	cli.run.shared_params.log.insert(0, QUIET.into());
	match &cli.subcommand {
		Some(subcommand) => run_subcommand(&cli, subcommand),
		None => run_node(&cli),
	}
}

fn run_node(cli: &Cli) -> sc_cli::Result<()> {
	let options = cli.options();
	let runner = match cli.log_format {
		LogFormat::Lines => cli.create_runner(&cli.run)?,
		LogFormat::Json => logging::json_runner(cli)?,
	};
	let ended = runner.run_node_until_exit(|config| async move { start_node(config, options) });
	ended.map_err(|error| match error {
		ServiceError::Sdk(error) => error.into(),
		error => sc_cli::Error::Application(error.into()),
	})
}

fn start_node(config: Configuration, options: NodeOptions) -> Result<TaskManager, ServiceError> {
	match config.network.network_backend {
		NetworkBackendType::Litep2p => service::new_full::<sc_network::Litep2pNetworkBackend>(config, options),
		NetworkBackendType::Libp2p => service::new_full::<sc_network::NetworkWorker<Block, Hash>>(config, options),
	}
}

fn run_subcommand(cli: &Cli, subcommand: &Subcommand) -> sc_cli::Result<()> {
	match subcommand {
		Subcommand::Key(cmd) => cmd.run(cli),
		Subcommand::ExportChainSpec(cmd) => cmd.run(cli.load_spec(&cmd.chain)?),
		Subcommand::CheckBlock(cmd) => cli.create_runner(cmd)?.async_run(|config| {
			let PartialComponents { client, task_manager, import_queue, .. } = service::new_partial(&config)?;
			Ok((cmd.run(client, import_queue), task_manager))
		}),
		Subcommand::ExportBlocks(cmd) => cli.create_runner(cmd)?.async_run(|config| {
			let PartialComponents { client, task_manager, .. } = service::new_partial(&config)?;
			Ok((cmd.run(client, config.database), task_manager))
		}),
		Subcommand::ImportBlocks(cmd) => cli.create_runner(cmd)?.async_run(|config| {
			let PartialComponents { client, task_manager, import_queue, .. } = service::new_partial(&config)?;
			Ok((cmd.run(client, import_queue), task_manager))
		}),
		Subcommand::PurgeChain(cmd) => cli.create_runner(cmd)?.sync_run(|config| cmd.run(config.database)),
		Subcommand::Revert(cmd) => cli.create_runner(cmd)?.async_run(|config| {
			let PartialComponents { client, task_manager, backend, .. } = service::new_partial(&config)?;
			let finality = Box::new(|client, _, blocks| Ok(sc_consensus_grandpa::revert(client, blocks)?));
			Ok((cmd.run(client, backend, Some(finality)), task_manager))
		}),
		Subcommand::ChainInfo(cmd) => cli.create_runner(cmd)?.sync_run(|config| cmd.run::<Block>(&config)),
	}
}
