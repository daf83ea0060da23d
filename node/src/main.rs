//! The `labora-node` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
	match labora_node::command::run() {
		Ok(()) => ExitCode::SUCCESS,
		Err(error) => {
			eprintln!("Error: {error}");
			ExitCode::FAILURE
		}
	}
}
