//! A network under faults, and what must hold of it whatever happens.
//!
//! - [`cluster`]: real nodes on loopback, all validators and miners, that can be killed, hung, damaged, separated and
//!   started again;
//! - [`link`]: what connects them, and can be cut and made slow;
//! - [`faults`]: what is done to them;
//! - [`observer`]: looks at all nodes all the time, and notes what must never be: two final blocks of one height, an accepted result
//!   that is gone;
//! - [`check`]: the invariants of a chain, from RPC alone: `labora-check` runs it on any node.

pub mod check;
pub mod cluster;
pub mod faults;
pub mod link;
pub mod observer;

use std::process::ExitCode;

/// How a program ends: well if all is as it must be, otherwise not, and by an error not without saying so.
pub fn exit(good: anyhow::Result<bool>) -> ExitCode {
	match good {
		Ok(true) => ExitCode::SUCCESS,
		Ok(false) => ExitCode::FAILURE,
		Err(error) => {
			eprintln!("error: {error:#}");
			ExitCode::FAILURE
		}
	}
}
