//! The `labora-node` executable.

fn main() -> sc_cli::Result<()> {
	labora_node::command::run()
}
