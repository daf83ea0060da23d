//! Whether the node's best block is the network's, as far as it can know.
//!
//! Until then it does not mine: a node that starts a chain of its own while its first connection is still being made works for
//! nothing.

use sp_consensus::SyncOracle;

/// What the node knows about itself and its peers.
#[derive(Clone)]
pub struct Readiness<O> {
	sync: O,
	needs_peers: bool,
}

impl<O: SyncOracle> Readiness<O> {
	/// The state of a sync. A node that `needs_peers` was told of others, so without any it does not know the best block; one that
	/// was told of none may be the first of its chain.
	pub fn new(sync: O, needs_peers: bool) -> Self {
		Self { sync, needs_peers }
	}

	/// Whether the best block can be built on.
	pub fn is_ready(&self) -> bool {
		let behind = self.sync.is_major_syncing();
		let alone = self.needs_peers && self.sync.is_offline();
		!behind && !alone
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	struct Sync {
		syncing: bool,
		offline: bool,
	}

	impl SyncOracle for Sync {
		fn is_major_syncing(&self) -> bool {
			self.syncing
		}

		fn is_offline(&self) -> bool {
			self.offline
		}
	}

	#[test]
	fn a_node_waits_for_the_peers_it_was_told_of_and_for_their_blocks() {
		let ready = |syncing, offline, needs_peers| Readiness::new(Sync { syncing, offline }, needs_peers).is_ready();
		assert!(ready(false, true, false), "the first node of a chain");
		assert!(ready(false, false, false));
		assert!(ready(false, false, true));
		assert!(!ready(false, true, true), "before the first connection");
		assert!(!ready(true, false, false), "catching up");
		assert!(!ready(true, false, true));
	}
}
