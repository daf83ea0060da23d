//! What the fuzz targets do: bytes in, and a panic if a rule does not hold. See `docs/fuzzing.md`.
//!
//! Each target reads its input as a script: it chooses a case, and edits something valid, so that few bytes get deep; or gives the
//! bytes of the thing itself. What must hold is stated by [`fixture`], which computes whole units by the consensus definition alone.

pub mod bound;
pub mod dispute;
pub mod exchange;
pub mod fixture;
pub mod graph;
pub mod header;
pub mod opening;
pub mod proof;
pub mod result;
pub mod script;
pub mod upload;

/// The node's files that need nothing of the node: compiled here as they are.
#[allow(dead_code, unused_imports, missing_docs)]
#[path = "../../node/src"]
mod node {
	#[path = "exchange/protocol.rs"]
	pub mod protocol;
	#[path = "consensus/seal.rs"]
	pub mod seal;
	pub mod tensor_store;
}

/// Where the node's files look for it.
use node::tensor_store;

/// What the node's seal names of its command line.
#[allow(dead_code)]
mod cli {
	pub enum MinerKey {
		Suri(String),
		Keystore,
		KeystoreOr(String),
	}
}

#[global_allocator]
static ALLOCATOR: bound::Bounded = bound::Bounded;
