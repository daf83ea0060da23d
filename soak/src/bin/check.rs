//! `labora-check`: whether a chain's invariants hold, by what its nodes say over RPC.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use labora_cli::client::Client;
use labora_soak::{check::check, exit};

/// Checks the invariants of a chain by RPC alone: the same final blocks on all nodes, money that is somebody's, a usefulness that its
/// blocks add up to, results that are what their units give.
#[derive(Parser)]
struct Arguments {
	/// Addresses of the nodes, `ws://127.0.0.1:9944`.
	#[arg(required = true)]
	nodes: Vec<String>,
	/// Folder of the packed dataset that the chain's training tasks are on: then they are computed again.
	#[arg(long)]
	dataset: Option<PathBuf>,
}

async fn run(arguments: Arguments) -> Result<bool> {
	let mut clients = Vec::new();
	for url in &arguments.nodes {
		clients.push(Client::connect(url).await?);
	}
	let report = check(&clients, arguments.dataset.as_deref()).await?;
	report.print();
	Ok(report.is_good())
}

#[tokio::main]
async fn main() -> ExitCode {
	exit(run(Arguments::parse()).await)
}
