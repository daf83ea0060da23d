//! Messages of the tensor exchange, and groups of tensors that a peer sends.

use std::sync::LazyLock;

use codec::Encode;
use labora_tensor::Commitment;

use crate::{
	node::{
		protocol::{Answer, Question},
		tensor_store::{GroupTree, GROUP_BYTES},
	},
	script::Script,
};

/// A tensor of two groups and a part of one, the chaining values above them, and its commitment.
static TENSOR: LazyLock<(Vec<u8>, Vec<[u8; 32]>, Commitment)> = LazyLock::new(|| {
	let bytes: Vec<u8> = (0..2 * GROUP_BYTES + 5 * 1_024).map(|at| (at / 1_024 ^ at) as u8).collect();
	let chunks = labora_tensor::NodeSet::all(bytes.len() as u64 / 1_024, GROUP_BYTES / 1_024).expect("a tensor");
	let group = |number| {
		let (from, len) = chunks.below(number).expect("a group");
		chunks.value(number, &bytes[from as usize..(from + len) as usize]).expect("its bytes")
	};
	let values = (0..chunks.count()).map(group).collect();
	let commitment = Commitment::of(&bytes);
	(bytes, values, commitment)
});

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	match script.u8() & 1 {
		0 => messages(script.0),
		_ => groups(&mut script),
	}
}

/// What is read is what was written, to the last byte.
fn messages(bytes: &[u8]) {
	if let Some(question) = Question::read(bytes) {
		assert_eq!(question.encode(), bytes);
	}
	if let Some(answer) = Answer::read(bytes) {
		assert_eq!(answer.encode(), bytes);
	}
}

/// A tree is taken if it is the tensor's, a group if it is the tensor's at its place; anything else is not.
fn groups(script: &mut Script) {
	let (bytes, values, commitment) = &*TENSOR;
	let total = if script.u8() & 3 == 0 { script.u64() } else { bytes.len() as u64 };
	let mut said = values.clone();
	match script.u8() & 3 {
		0 => said.truncate(script.below(4)),
		1 => said.push(script.bytes()),
		2 => said[script.below(3)][script.below(32)] ^= script.u8(),
		_ => {}
	}
	let right = said == *values;
	let tree = GroupTree::verify(*commitment, total, said);
	if total != bytes.len() as u64 {
		// A tree with as many groups, or of one, of which the commitment says it all: its last group can be none.
		if let Some(tree) = tree {
			let last = tree.groups() - 1;
			let (from, len) = tree.span(last).expect("a group");
			let group = bytes.get(from as usize..(from + len) as usize).unwrap_or_default();
			assert!(!tree.takes(last, group) && !tree.takes(last, &bytes[(from as usize).min(bytes.len())..]));
		}
		return;
	}
	assert_eq!(tree.is_some(), right);
	let Some(tree) = tree else { return };
	let number = script.below(5) as u32;
	let (from, len) = match tree.span(number) {
		Some(span) => span,
		None => return assert!(number >= tree.groups() && !tree.takes(number, bytes)),
	};
	let group = &bytes[from as usize..(from + len) as usize];
	let mut sent = group.to_vec();
	match script.u8() & 3 {
		0 => sent.truncate(script.u32() as usize % (sent.len() + 1)),
		1 => sent.push(script.u8()),
		2 => {
			let at = script.u32() as usize % sent.len();
			sent[at] ^= script.u8();
		}
		_ => {}
	}
	assert_eq!(tree.takes(number, &sent), sent == group);
}
