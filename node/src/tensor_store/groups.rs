//! Tensors in groups: parts that are verified alone.

use labora_tensor::{Commitment, NodeSet, Opening, CHUNK_BYTES};

/// BLAKE3 chunks of a group.
pub const GROUP_CHUNKS: u64 = 1 << 10;
/// Bytes of a group: 1 MiB. The last group of a tensor may be shorter.
pub const GROUP_BYTES: u64 = GROUP_CHUNKS * CHUNK_BYTES as u64;
/// Most groups of a tensor.
pub const MAX_GROUPS: u32 = (super::MAX_TENSOR_BYTES / GROUP_BYTES) as u32;

/// The nodes of a tensor's BLAKE3 tree above its groups, verified against its commitment: with it each group is verified alone,
/// whoever it comes from. A tensor of one group has none: the commitment says it all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupTree {
	commitment: Commitment,
	bytes: u64,
	nodes: Option<NodeSet>,
	values: Vec<[u8; 32]>,
}

/// The nodes above the groups of a tensor of so many bytes; none if it is one group. `None` if no tensor has so many.
fn nodes(bytes: u64) -> Option<Option<NodeSet>> {
	let chunks = bytes / CHUNK_BYTES as u64;
	let is_tensor = bytes > 0 && bytes.is_multiple_of(CHUNK_BYTES as u64) && bytes <= super::MAX_TENSOR_BYTES;
	match is_tensor && chunks > GROUP_CHUNKS {
		true => Some(Some(NodeSet::all(chunks, GROUP_CHUNKS)?)),
		false => is_tensor.then_some(None),
	}
}

/// Whether a tensor can have so many bytes: whole chunks, at least one and at most 1 GiB.
pub fn is_tensor(bytes: u64) -> bool {
	nodes(bytes).is_some()
}

impl GroupTree {
	/// Verifies the chaining values of the nodes above the groups of a tensor of `bytes` bytes. `None` if they are not those of
	/// the commitment, or if a tensor cannot have so many bytes.
	pub fn verify(commitment: Commitment, bytes: u64, values: Vec<[u8; 32]>) -> Option<Self> {
		let nodes = nodes(bytes)?;
		let right = match &nodes {
			None => values.is_empty(),
			Some(set) => {
				let opening = Opening { data: values.concat(), siblings: Vec::new() };
				opening.verify_nodes(&commitment, set).is_ok()
			}
		};
		right.then_some(Self { commitment, bytes, nodes, values })
	}

	/// The tree of a tensor of one group, for which nothing has to be known. `None` if it has more.
	pub fn of_one(commitment: Commitment, bytes: u64) -> Option<Self> {
		Self::verify(commitment, bytes, Vec::new())
	}

	/// The tensor.
	pub fn commitment(&self) -> Commitment {
		self.commitment
	}

	/// Its bytes.
	pub fn bytes(&self) -> u64 {
		self.bytes
	}

	/// The chaining values, empty for a tensor of one group.
	pub fn values(&self) -> &[[u8; 32]] {
		&self.values
	}

	/// Groups of the tensor: 1 to [`MAX_GROUPS`].
	pub fn groups(&self) -> u32 {
		self.nodes.map_or(1, |nodes| nodes.count() as u32)
	}

	/// Where a group begins, and its bytes. `None` if there is no such group.
	pub fn span(&self, group: u32) -> Option<(u64, u64)> {
		match &self.nodes {
			Some(nodes) => nodes.below(group.into()),
			None => (group == 0).then_some((0, self.bytes)),
		}
	}

	/// Whether these are the bytes of a group.
	pub fn takes(&self, group: u32, bytes: &[u8]) -> bool {
		match &self.nodes {
			Some(nodes) => {
				let value = nodes.value(group.into(), bytes);
				value.is_some() && value.as_ref() == self.values.get(group as usize)
			}
			None => group == 0 && bytes.len() as u64 == self.bytes && Commitment::of(bytes) == self.commitment,
		}
	}
}

/// Collects the chaining values of a tensor's groups from its bytes, group by group.
pub(super) struct Collect {
	nodes: Option<NodeSet>,
	values: Vec<[u8; 32]>,
}

impl Collect {
	/// Of a tensor of so many bytes. `None` if no tensor has so many.
	pub(super) fn new(bytes: u64) -> Option<Self> {
		Some(Self { nodes: nodes(bytes)?, values: Vec::new() })
	}

	/// Takes the next group. Whether it has the bytes that a group at its place has.
	pub(super) fn take(&mut self, group: &[u8]) -> bool {
		let Some(nodes) = &self.nodes else { return true };
		let value = nodes.value(self.values.len() as u64, group);
		self.values.extend(value);
		value.is_some()
	}

	/// The chaining values.
	pub(super) fn values(self) -> Vec<[u8; 32]> {
		self.values
	}
}

#[cfg(test)]
mod tests {
	use super::{super::tests::bytes, *};

	fn tree(tensor: &[u8]) -> Option<GroupTree> {
		let mut collect = Collect::new(tensor.len() as u64)?;
		assert!(tensor.chunks(GROUP_BYTES as usize).all(|group| collect.take(group)));
		GroupTree::verify(Commitment::of(tensor), tensor.len() as u64, collect.values())
	}

	#[test]
	fn each_group_is_verified_alone() {
		let group = GROUP_BYTES as usize;
		for len in [1_024, group - 1_024, group, group + 1_024, 2 * group, 3 * group + 5 * 1_024] {
			let tensor = bytes(len, 1);
			let tree = tree(&tensor).unwrap();
			assert_eq!(tree.groups() as usize, len.div_ceil(group));
			let mut end = 0;
			for number in 0..tree.groups() {
				let (offset, bytes) = tree.span(number).unwrap();
				assert_eq!(offset, end);
				end = offset + bytes;
				let right = tensor[offset as usize..end as usize].to_vec();
				assert!(tree.takes(number, &right));
				assert!(!tree.takes(number + 1, &right), "it is another group");
				assert!(!tree.takes(number, &right[1..]) && !tree.takes(number, &[&right[..], &[0]].concat()));
				let mut wrong = right;
				wrong[bytes as usize / 2] ^= 1;
				assert!(!tree.takes(number, &wrong));
			}
			assert_eq!((end, tree.span(tree.groups())), (len as u64, None));
		}
	}

	#[test]
	fn nodes_of_something_else_are_no_tree() {
		let tensor = bytes(3 * GROUP_BYTES as usize, 2);
		let (commitment, len) = (Commitment::of(&tensor), tensor.len() as u64);
		let right = tree(&tensor).unwrap().values().to_vec();
		let verify = |values: &[[u8; 32]], len| GroupTree::verify(commitment, len, values.to_vec());
		assert!(verify(&right, len).is_some());
		for at in 0..3 {
			let mut wrong = right.clone();
			wrong[at][7] ^= 1;
			assert_eq!(verify(&wrong, len), None);
		}
		let swapped = [right[1], right[0], right[2]];
		for (values, len) in [
			(&swapped[..], len),
			(&right[..2], len),
			(&[&right[..], &right[..1]].concat(), len),
			(&[], len),
			(&right, 4 * GROUP_BYTES),
			(&right, 2 * GROUP_BYTES),
			(&right, 1_024),
		] {
			assert_eq!(verify(values, len), None, "{} values, {len} bytes", values.len());
		}
	}

	#[test]
	fn lengths_that_no_tensor_has_are_refused() {
		for len in [0, 1, 1_023, 1_025, super::super::MAX_TENSOR_BYTES + 1_024, u64::MAX, u64::MAX - 1_023] {
			assert_eq!(GroupTree::of_one(Commitment::default(), len), None, "{len}");
			assert!(Collect::new(len).is_none());
		}
		assert_eq!(GroupTree::of_one(Commitment::default(), GROUP_BYTES + 1_024), None, "two groups");
		assert!(GroupTree::of_one(Commitment::default(), GROUP_BYTES).is_some());
		assert_eq!(MAX_GROUPS, 1_024);
	}
}
