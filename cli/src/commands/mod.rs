//! One module per group of commands.

pub mod dataset;
pub mod disputes;
pub mod model;
pub mod status;
pub mod task;
pub mod validator;
pub mod watch;
pub mod worker;

use std::{num::NonZeroUsize, process::ExitCode};

use labora_cli::{
	client::{Client, ClientError, Included},
	hexes::to_hex,
	signer,
};
use labora_primitives::UnitKind;
use serde_json::{json, Value};
use subxt_signer::sr25519::Keypair;

use crate::{args::Global, output::Output};

/// How a command ends.
pub type Outcome = anyhow::Result<ExitCode>;

/// What all commands share.
pub struct Context {
	pub output: Output,
	url: String,
	signer: Option<String>,
}

impl Context {
	pub fn new(global: &Global) -> Self {
		Self { output: Output::new(global.json), url: global.url.clone(), signer: global.signer.clone() }
	}

	pub async fn connect(&self) -> Result<Client, ClientError> {
		Client::connect(&self.url).await
	}

	pub fn signer(&self) -> anyhow::Result<Keypair> {
		match &self.signer {
			Some(secret) => Ok(signer::load(secret)?),
			None => anyhow::bail!("this needs a signature: give --signer, a secret such as //Alice or a file with one"),
		}
	}

	/// The command line that continues something, with this node's address if it is not the default one.
	pub fn command(&self, command: &str) -> String {
		if self.url == labora_cli::client::DEFAULT_URL {
			format!("labora {command}")
		} else {
			format!("labora {command} --url {}", self.url)
		}
	}

	/// Prints that a call is in the chain.
	pub fn included(&self, text: &str, included: &Included) -> Outcome {
		let json = json!({ "included": where_json(included) });
		self.output.print(&format!("{text} (block {})", included.height), &json);
		Ok(ExitCode::SUCCESS)
	}
}

/// Where a call was included.
pub fn where_json(included: &Included) -> Value {
	json!({ "block": to_hex(included.block), "height": included.height })
}

/// A unit of a round, in words.
pub fn unit_words(kind: UnitKind) -> String {
	match kind {
		UnitKind::Steps(unit) => format!("unit {unit}"),
		UnitKind::Merge => "merge".into(),
	}
}

/// Threads to use: those asked for, or all.
pub fn threads(wanted: Option<usize>) -> usize {
	wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get)).max(1)
}
