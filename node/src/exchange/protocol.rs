//! The messages: one question, one answer, each in a substream of its own, in SCALE.
//!
//! | question | bytes | answers |
//! | --- | --- | --- |
//! | `Size` | `0`, commitment | `Size`, `Absent`, `Busy` |
//! | `Nodes` | `1`, commitment | `Nodes`, `Absent`, `Busy` |
//! | `Group` | `2`, commitment, number of the group (`u32`) | `Group`, `Absent`, `Busy` |
//!
//! A group is 1 MiB of a tensor, fewer at its end: a node of its BLAKE3 tree. Who has the chaining values of all groups, which verify
//! against the commitment, verifies each group alone. Every length has a bound that is checked before anything is allocated.

use codec::{Decode, DecodeAll, Encode};
use labora_tensor::Commitment;
use sp_core::{bounded::BoundedVec, ConstU32};

use crate::tensor_store::{GROUP_BYTES, MAX_GROUPS};

/// Most bytes of a question.
pub const MAX_QUESTION_BYTES: u64 = 64;
/// Most bytes of an answer: a group, and what says that it is one.
pub const MAX_ANSWER_BYTES: u64 = GROUP_BYTES + 64;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Question {
	/// Bytes of a tensor.
	#[codec(index = 0)]
	Size(Commitment),
	/// The chaining values of the nodes above a tensor's groups; none if it is one group.
	#[codec(index = 1)]
	Nodes(Commitment),
	/// The bytes of a group.
	#[codec(index = 2)]
	Group(Commitment, u32),
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Answer {
	/// The tensor is here, and has so many bytes.
	#[codec(index = 0)]
	Size(u64),
	/// The chaining values of the nodes above its groups, in order.
	#[codec(index = 1)]
	Nodes(BoundedVec<[u8; 32], ConstU32<MAX_GROUPS>>),
	/// The bytes of the group.
	#[codec(index = 2)]
	Group(BoundedVec<u8, ConstU32<{ GROUP_BYTES as u32 }>>),
	/// The tensor is not here, or has no such group.
	#[codec(index = 3)]
	Absent,
	/// Not now: the one who asks has asked for too much, or the disk fails.
	#[codec(index = 4)]
	Busy,
}

impl Question {
	/// Reads a question. `None` if it is none, or something follows it.
	pub fn read(bytes: &[u8]) -> Option<Self> {
		let fits = bytes.len() as u64 <= MAX_QUESTION_BYTES;
		fits.then(|| Self::decode_all(&mut &bytes[..]).ok()).flatten()
	}
}

impl Answer {
	/// Reads an answer. `None` if it is none, or something follows it.
	pub fn read(bytes: &[u8]) -> Option<Self> {
		let fits = bytes.len() as u64 <= MAX_ANSWER_BYTES;
		fits.then(|| Self::decode_all(&mut &bytes[..]).ok()).flatten()
	}

	/// The bytes of a tensor's group as an answer.
	pub fn group(bytes: Vec<u8>) -> Self {
		BoundedVec::try_from(bytes).map_or(Self::Absent, Self::Group)
	}

	/// The chaining values above a tensor's groups as an answer.
	pub fn nodes(values: &[[u8; 32]]) -> Self {
		BoundedVec::try_from(values.to_vec()).map_or(Self::Absent, Self::Nodes)
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use codec::Compact;

	const NAME: Commitment = Commitment([7; 32]);

	#[test]
	fn messages_are_read_as_they_were_written() {
		for question in [Question::Size(NAME), Question::Nodes(NAME), Question::Group(NAME, u32::MAX)] {
			assert_eq!(Question::read(&question.encode()), Some(question));
		}
		assert_eq!(Question::Group(NAME, 1).encode(), [&[2][..], &[7; 32], &[1, 0, 0, 0]].concat());
		let group = vec![3; GROUP_BYTES as usize];
		let values = vec![[5; 32]; MAX_GROUPS as usize];
		let answers = [Answer::Size(9), Answer::nodes(&values), Answer::group(group), Answer::Absent, Answer::Busy];
		for answer in answers {
			let bytes = answer.encode();
			assert!(bytes.len() as u64 <= MAX_ANSWER_BYTES);
			assert_eq!(Answer::read(&bytes), Some(answer));
		}
		assert_eq!(Answer::group(vec![0; GROUP_BYTES as usize + 1]), Answer::Absent);
		assert_eq!(Answer::nodes(&vec![[0; 32]; MAX_GROUPS as usize + 1]), Answer::Absent);
	}

	#[test]
	fn cut_long_and_senseless_messages_are_none() {
		for message in [Question::Size(NAME).encode(), Question::Group(NAME, 1).encode()] {
			for len in 0..message.len() {
				assert_eq!(Question::read(&message[..len]), None);
			}
			assert_eq!(Question::read(&[&message[..], &[0]].concat()), None);
		}
		for message in
			[Answer::Size(9).encode(), Answer::nodes(&[[1; 32]]).encode(), Answer::group(vec![1; 9]).encode()]
		{
			for len in 0..message.len() {
				assert_eq!(Answer::read(&message[..len]), None);
			}
			assert_eq!(Answer::read(&[&message[..], &[0]].concat()), None);
		}
		for first in 3..=255 {
			assert_eq!(Question::read(&[&[first][..], &[7; 32]].concat()), None);
		}
		for first in 5..=255 {
			assert_eq!(Answer::read(&[first]), None);
		}
		assert_eq!(Question::read(&vec![0; 1 << 20]), None);
		assert_eq!(Answer::read(&vec![2; 2 << 20]), None);
	}

	#[test]
	fn lengths_beyond_the_bounds_are_refused_whatever_follows() {
		let long = |variant: u8, len: u64| [&[variant][..], &Compact(len).encode(), &[0; 4_096]].concat();
		for (variant, most) in [(1, u64::from(MAX_GROUPS)), (2, GROUP_BYTES)] {
			for len in [most + 1, u64::from(u32::MAX), u64::MAX] {
				assert_eq!(Answer::read(&long(variant, len)), None);
			}
			assert_eq!(Answer::read(&long(variant, most)), None, "said to be more than follows");
		}
	}
}
