use alloc::vec::Vec;

use crate::{
	opening::{subtree_value, ChainingValue, Opened, Overlap},
	CHUNK_BYTES,
};

/// Most nodes that one opening shows.
pub const MAX_NODES: u64 = 2_048;

/// Nodes of a tensor's BLAKE3 tree: of the consecutive subtrees of `granule` chunks each (the last of the tensor may be
/// shorter), `count` from number `first` on.
///
/// BLAKE3 puts the largest power of two of chunks below the length into the left subtree, so every such granule is a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeSet {
	total: u64,
	granule: u64,
	first: u64,
	count: u64,
}

impl NodeSet {
	/// Nodes of a tensor of `total` chunks. `None` unless `granule` is a power of two below `total` (so no node is the root),
	/// `count` is at least 1 and at most [`MAX_NODES`], and the nodes lie in the tensor.
	pub fn new(total: u64, granule: u64, first: u64, count: u64) -> Option<Self> {
		let fits = granule.is_power_of_two()
			&& granule < total
			&& (1..=MAX_NODES).contains(&count)
			&& first.checked_add(count)? <= total.div_ceil(granule);
		fits.then_some(Self { total, granule, first, count })
	}

	/// All nodes of a tensor of `total` chunks over `granule` chunks each. `None` as for [`Self::new`].
	pub fn all(total: u64, granule: u64) -> Option<Self> {
		Self::new(total, granule, 0, total.div_ceil(granule.max(1)))
	}

	/// Nodes of the set.
	pub fn count(&self) -> u64 {
		self.count
	}

	/// Bytes of all chaining values of the set.
	pub fn bytes(&self) -> u64 {
		self.count.saturating_mul(size_of::<ChainingValue>() as u64)
	}

	/// Where the bytes below a node of the set begin in the tensor, and how many they are. `None` if there is no such node, or
	/// if they lie beyond what BLAKE3 hashes.
	pub fn below(&self, node: u64) -> Option<(u64, u64)> {
		let start = (node < self.count).then(|| self.first.checked_add(node))??.checked_mul(self.granule)?;
		let len = self.granule.min(self.total.checked_sub(start)?);
		let end = start.checked_add(len)?.checked_mul(CHUNK_BYTES as u64)?;
		let bytes = len.checked_mul(CHUNK_BYTES as u64)?;
		Some((end.checked_sub(bytes)?, bytes))
	}

	/// The chaining value of a node of the set, computed from the bytes below it. `None` if they are not as many as
	/// [`Self::below`] says.
	pub fn value(&self, node: u64, bytes: &[u8]) -> Option<[u8; 32]> {
		let (offset, len) = self.below(node)?;
		(bytes.len() as u64 == len).then(|| subtree_value(bytes, offset / CHUNK_BYTES as u64))
	}
}

impl Opened for NodeSet {
	fn total(&self) -> u64 {
		self.total
	}

	fn data_bytes(&self) -> u64 {
		self.bytes()
	}

	fn overlap(&self, start: u64, len: u64) -> Overlap {
		let from = self.first.saturating_mul(self.granule);
		// Past the tensor's end where its last granule is short: no subtree lies there.
		let to = self.first.saturating_add(self.count).saturating_mul(self.granule);
		if start >= to || start.saturating_add(len) <= from {
			Overlap::None
		} else if len > self.granule {
			Overlap::Part
		} else {
			Overlap::Whole
		}
	}

	fn put(subtree: &[u8], start: u64, data: &mut Vec<u8>) {
		data.extend_from_slice(&subtree_value(subtree, start));
	}

	fn take(data: &mut &[u8], _: u64, _: u64) -> Option<ChainingValue> {
		let (value, rest) = data.split_first_chunk()?;
		*data = rest;
		Some(*value)
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::{Commitment, Opening, OpeningError};
	use blake3::hazmat::{merge_subtrees_non_root, Mode};
	use proptest::prelude::*;

	fn bytes(chunks: u64, seed: u64) -> Vec<u8> {
		let mut bytes = alloc::vec![0; chunks as usize * CHUNK_BYTES];
		blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
		bytes
	}

	/// The chaining values of a tensor's granules, built up chunk by chunk: while more than one value of a granule is left,
	/// neighbours are merged; an odd last one stays as it is.
	fn values(bytes: &[u8], granule: u64) -> Vec<ChainingValue> {
		let chunks: Vec<_> =
			bytes.chunks(CHUNK_BYTES).zip(0..).map(|(chunk, number)| subtree_value(chunk, number)).collect();
		let node = |granule: &[ChainingValue]| {
			let mut row = granule.to_vec();
			while row.len() > 1 {
				let merged = row.chunks(2).map(|pair| match pair {
					[left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
					odd => odd[0],
				});
				row = merged.collect();
			}
			row[0]
		};
		chunks.chunks(granule as usize).map(node).collect()
	}

	fn any_nodes() -> impl Strategy<Value = (u64, u64, u64, u64)> {
		(2u64..70, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(total, a, b, c)| {
			let granules = (0..7).map(|shift| 1 << shift).filter(|granule| *granule < total).count() as u64;
			let granule = 1 << (a % granules);
			let nodes = total.div_ceil(granule);
			let first = b % nodes;
			(total, granule, first, 1 + c % (nodes - first))
		})
	}

	proptest! {
		#[test]
		fn nodes_open_to_their_chaining_values((total, granule, first, count) in any_nodes(), seed: u64) {
			let tensor = bytes(total, seed);
			let set = NodeSet::new(total, granule, first, count).unwrap();
			let opening = Opening::of_nodes(&tensor, &set).unwrap();
			let expected = values(&tensor, granule)[first as usize..][..count as usize].concat();
			prop_assert_eq!(opening.verify_nodes(&Commitment::of(&tensor), &set), Ok(&expected[..]));
			prop_assert_eq!(set.bytes(), expected.len() as u64);
		}

		#[test]
		fn any_change_is_refused((total, granule, first, count) in any_nodes(), at: usize, bit in 0u8..8) {
			let tensor = bytes(total, 1);
			let commitment = Commitment::of(&tensor);
			let set = NodeSet::new(total, granule, first, count).unwrap();
			let opening = Opening::of_nodes(&tensor, &set).unwrap();
			let with = |change: &dyn Fn(&mut Opening)| {
				let mut forged = opening.clone();
				change(&mut forged);
				forged.verify_nodes(&commitment, &set).map(<[u8]>::len)
			};
			let at = at % (opening.data.len() + 32 * opening.siblings.len());
			let changed = with(&|o| match at.checked_sub(o.data.len()) {
				None => o.data[at] ^= 1 << bit,
				Some(at) => o.siblings[at / 32][at % 32] ^= 1 << bit,
			});
			prop_assert_eq!(changed, Err(OpeningError::Mismatch));
			prop_assert_eq!(with(&|o| { o.data.pop(); }), Err(OpeningError::DataLength));
			prop_assert_eq!(with(&|o| o.data.push(0)), Err(OpeningError::DataLength));
			prop_assert_eq!(with(&|o| o.data.extend([0; 32])), Err(OpeningError::DataLength));
			prop_assert_eq!(with(&|o| o.siblings.push([0; 32])), Err(OpeningError::SiblingCount));
			if !opening.siblings.is_empty() {
				prop_assert_eq!(with(&|o| { o.siblings.pop(); }), Err(OpeningError::SiblingCount));
			}
			let other = Commitment::of(&bytes(total, 2));
			prop_assert_eq!(opening.verify_nodes(&other, &set), Err(OpeningError::Mismatch));
			prop_assert_eq!(Opening::of_nodes(&tensor[1..], &set), None);
			prop_assert_eq!(Opening::of_nodes(&bytes(total + 1, 1), &set), None);
		}

		#[test]
		fn nodes_do_not_open_as_others((total, granule, first, count) in any_nodes(), (other_granule, other_first) in (0u32..7, 0u64..70)) {
			let tensor = bytes(total, 1);
			let set = NodeSet::new(total, granule, first, count).unwrap();
			let opening = Opening::of_nodes(&tensor, &set).unwrap();
			let other = NodeSet::new(total, 1 << other_granule, other_first, count);
			if let Some(other) = other.filter(|other| *other != set) {
				let shown = opening.verify_nodes(&Commitment::of(&tensor), &other);
				// A short last granule is the same node as a smaller one there: then the values are the same too.
				if shown.is_ok() {
					prop_assert_eq!(shown, Ok(&Opening::of_nodes(&tensor, &other).unwrap().data[..]));
					prop_assert!(count == 1 && first + 1 == total.div_ceil(granule));
				}
			}
		}

		#[test]
		fn no_bytes_and_no_set_can_stop_a_verifier(total: u64, shift in 0u32..64, first: u64, count in 0..MAX_NODES + 2, data in 0usize..70, siblings in 0usize..140) {
			let nodes = total.div_ceil(1 << shift).max(1);
			for first in [first % nodes, 0, nodes - 1, first] {
				let Some(set) = NodeSet::new(total, 1 << shift, first, count) else { continue };
				let opening = Opening { data: alloc::vec![7; data * 32], siblings: alloc::vec![[7; 32]; siblings] };
				prop_assert!(opening.verify_nodes(&Commitment::default(), &set).is_err());
				let opening = Opening { data: alloc::vec![7; set.bytes() as usize], ..opening };
				prop_assert!(opening.verify_nodes(&Commitment::default(), &set).is_err());
				prop_assert_eq!(Opening::of_nodes(&opening.data, &set), None);
			}
		}
	}

	#[test]
	fn a_node_is_computed_from_the_bytes_below_it() {
		for total in [2, 3, 4, 5, 9, 69] {
			for granule in [1, 2, 4].into_iter().filter(|granule| *granule < total) {
				let tensor = bytes(total, 3);
				let set = NodeSet::all(total, granule).unwrap();
				let opening = Opening::of_nodes(&tensor, &set).unwrap();
				assert_eq!((set.count(), opening.siblings.len()), (total.div_ceil(granule), 0));
				let mut end = 0;
				for (node, expected) in opening.data.chunks(32).enumerate() {
					let (offset, len) = set.below(node as u64).unwrap();
					assert_eq!(offset, end);
					end = offset + len;
					let below = &tensor[offset as usize..end as usize];
					assert_eq!(set.value(node as u64, below).unwrap(), expected);
					assert_eq!(set.value(node as u64, &below[1..]), None);
				}
				assert_eq!(end, total * CHUNK_BYTES as u64);
				assert_eq!(set.below(set.count()), None);
			}
		}
		assert_eq!(NodeSet::all(4, 0), None);
		assert_eq!(NodeSet::all(1 << 40, 1), None);
		assert_eq!(NodeSet::new(u64::MAX, 1 << 63, 1, 1).unwrap().below(0), None);
	}

	#[test]
	fn sets_outside_the_tree_are_not_made() {
		assert!(NodeSet::new(10, 4, 0, 3).is_some() && NodeSet::new(10, 4, 2, 1).is_some());
		for (total, granule, first, count) in [
			(10, 0, 0, 1),
			(10, 3, 0, 1),
			(10, 16, 0, 1),
			(8, 8, 0, 1),
			(1, 1, 0, 1),
			(0, 1, 0, 1),
			(10, 4, 0, 0),
			(10, 4, 0, 4),
			(10, 4, 3, 1),
			(10, 4, u64::MAX, 1),
			(1 << 40, 1, 0, MAX_NODES + 1),
			(1 << 40, 1, u64::MAX, MAX_NODES),
		] {
			assert_eq!(NodeSet::new(total, granule, first, count), None, "{total} {granule} {first} {count}");
		}
		assert!(NodeSet::new(1 << 40, 1, 0, MAX_NODES).is_some());
		assert!(NodeSet::new(u64::MAX, 1 << 63, 1, 1).is_some());
	}

	#[test]
	fn bisection_finds_the_first_differing_chunk() {
		let mine = bytes(5_000, 1);
		for at in [0, 1, 2_047, 2_048, 4_097, 4_999] {
			let mut theirs = mine.clone();
			theirs[at as usize * CHUNK_BYTES + 17] ^= 1;
			let (mut from, mut granule, mut count) = (0, 1_024, 5);
			while granule >= 1 {
				let set = NodeSet::new(5_000, granule, from / granule, count).unwrap();
				let opening = Opening::of_nodes(&theirs, &set).unwrap();
				let shown = opening.verify_nodes(&Commitment::of(&theirs), &set).unwrap();
				let known = Opening::of_nodes(&mine, &set).unwrap().data;
				let first = shown.chunks(32).zip(known.chunks(32)).position(|(a, b)| a != b).unwrap();
				from += first as u64 * granule;
				count = 32.min((5_000 - from).div_ceil((granule / 32).max(1)));
				granule /= 32;
			}
			assert_eq!(from, at);
		}
	}
}
