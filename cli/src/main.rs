//! `labora`: the command line client. It parses arguments, calls the library and prints.

mod args;
mod commands;
mod output;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use commands::{dataset, disputes, model, status, task, validator, worker, Context};

fn main() -> ExitCode {
	let arguments = Arguments::parse();
	let context = Context::new(&arguments.global);
	let run = async {
		match arguments.command {
			Command::Dataset { command } => dataset::run(&context, command),
			Command::Task { command } => task::run(&context, command).await,
			Command::Worker { command } => worker::run(&context, command).await,
			Command::Validator { command } => validator::run(&context, command).await,
			Command::Validators => validator::list(&context).await,
			Command::Model { command } => model::run(&context, command).await,
			Command::Disputes { worker } => disputes::run(&context, worker).await,
			Command::Status => status::run(&context).await,
		}
	};
	let result = match tokio::runtime::Runtime::new() {
		Ok(runtime) => runtime.block_on(run),
		Err(error) => Err(error.into()),
	};
	result.unwrap_or_else(|error| {
		context.output.error(&error);
		ExitCode::FAILURE
	})
}
