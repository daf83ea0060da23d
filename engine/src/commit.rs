//! Commitments to what the engine computed, on all its threads.

use blake3::hazmat::{merge_subtrees_non_root, merge_subtrees_root, ChainingValue, Mode};
use labora_tensor::{Commitment, NodeSet, CHUNK_BYTES};

use crate::Engine;

/// Chunks that one thread hashes at a time.
const GRANULE: u64 = 256;

impl Engine {
	/// As `Commitment::of`, of a tensor's bytes.
	pub(crate) fn commit(&self, bytes: &[u8]) -> Commitment {
		let nodes = NodeSet::all((bytes.len() / CHUNK_BYTES) as u64, GRANULE).filter(|_| self.threads() > 1);
		let Some(nodes) = nodes else { return Commitment::of(bytes) };
		let mut values = vec![None; nodes.count() as usize];
		self.each_chunk(&mut values, 1, |node, values| {
			let granule = bytes.chunks(GRANULE as usize * CHUNK_BYTES).nth(node);
			values[0] = granule.and_then(|granule| nodes.value(node as u64, granule));
		});
		let values: Option<Vec<ChainingValue>> = values.into_iter().collect();
		match values.as_deref().and_then(halves) {
			Some((left, right)) => {
				Commitment(*merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes())
			}
			None => Commitment::of(bytes),
		}
	}
}

/// The nodes of the left subtree and of the right one: BLAKE3 puts the largest power of two below their number to the left.
fn halves(nodes: &[ChainingValue]) -> Option<(&[ChainingValue], &[ChainingValue])> {
	(nodes.len() > 1).then(|| nodes.split_at(nodes.len().next_power_of_two() / 2))
}

/// The chaining value of a subtree of at least one node.
fn subtree(nodes: &[ChainingValue]) -> ChainingValue {
	match halves(nodes) {
		Some((left, right)) => merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash),
		None => nodes.first().copied().unwrap_or_default(),
	}
}
