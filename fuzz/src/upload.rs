//! Tensors that arrive in parts, in the node's own store, against what it should hold.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::LazyLock};

use labora_tensor::Commitment;

use crate::{
	node::tensor_store::{TensorStore, UploadError, MAX_TENSOR_BYTES, MAX_UPLOADS},
	script::Script,
};

/// Tensors that are uploaded: more than may be at a time.
const TENSORS: u8 = MAX_UPLOADS as u8 + 4;
/// Most calls of one input.
const MOST_CALLS: usize = 40;

static FOLDER: LazyLock<PathBuf> =
	LazyLock::new(|| std::env::temp_dir().join(format!("labora-fuzz-{}", std::process::id())));

static TENSOR_BYTES: LazyLock<Vec<(Commitment, Vec<u8>)>> = LazyLock::new(|| {
	let tensor = |number: u8| {
		let bytes: Vec<_> = (0..number % 7 * 5 + 1).map(|at| at ^ number).collect();
		(Commitment::of(&bytes), bytes)
	};
	(0..TENSORS).map(tensor).collect()
});

/// An upload as it should be: its total, unless it was begun by a store that was closed since; and its bytes.
type Begun = (Option<u64>, Vec<u8>);

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	let _ = fs::remove_dir_all(&*FOLDER);
	let mut store = TensorStore::open(&FOLDER).expect("a folder of its own");
	let mut begun: BTreeMap<Commitment, Begun> = BTreeMap::new();
	let mut kept: Vec<Commitment> = Vec::new();
	for _ in 0..MOST_CALLS {
		if script.0.is_empty() {
			break;
		}
		let kind = script.u8();
		let (commitment, bytes) = &TENSOR_BYTES[script.below(TENSORS.into())];
		if kind & 31 == 0 {
			// The node starts again.
			store = TensorStore::open(&FOLDER).expect("it was open");
			begun.values_mut().for_each(|(total, _)| *total = None);
			continue;
		}
		let total = if kind & 32 == 0 { bytes.len() as u64 } else { script.wild() };
		let received = begun.get(commitment).map_or(0, |(_, received)| received.len() as u64);
		let offset = if kind & 64 == 0 { received } else { script.wild() };
		let len = script.below(bytes.len() + 3);
		let mut part: Vec<_> = bytes.iter().skip(offset as usize).take(len).copied().collect();
		if kind & 128 != 0 {
			script.edit(&mut part);
		}
		let before = (received, kept.contains(commitment));
		let expected = expect(&mut begun, &mut kept, commitment, bytes, total, offset, &part);
		let given =
			store.upload(commitment, total, offset, &part).map(|progress| (progress.received, progress.complete));
		match (given, expected) {
			(Ok(given), Ok(expected)) => assert_eq!(given, expected, "{before:?}"),
			(Err(given), Err(expected)) => assert!(expected(&given), "{given:?}, {before:?}"),
			(given, expected) => panic!("{given:?} and not {:?}, {before:?}", expected.ok()),
		}
		let shown = store.get(commitment).expect("it can be read");
		assert_eq!(shown.as_ref(), kept.contains(commitment).then_some(bytes));
	}
}

type Expected = Result<(u64, bool), fn(&UploadError) -> bool>;

/// What a call should give. The errors are told apart by their kind; what they say is checked where it is what a client goes on from.
fn expect(
	begun: &mut BTreeMap<Commitment, Begun>,
	kept: &mut Vec<Commitment>,
	commitment: &Commitment,
	bytes: &[u8],
	total: u64,
	offset: u64,
	part: &[u8],
) -> Expected {
	if total == 0 || total > MAX_TENSOR_BYTES {
		return Err(|error| matches!(error, UploadError::BadSize));
	}
	if kept.contains(commitment) && total == bytes.len() as u64 {
		return Ok((total, true));
	}
	let running = begun.values().filter(|(total, _)| total.is_some()).count();
	let known = begun.get(commitment).is_some_and(|(total, _)| total.is_some());
	if !known && running >= MAX_UPLOADS {
		return Err(|error| matches!(error, UploadError::TooMany));
	}
	let (first, received) = begun.entry(*commitment).or_default();
	if first.is_none() {
		*first = Some(total);
		if received.len() as u64 >= total {
			received.clear();
		}
	}
	if *first != Some(total) {
		return Err(|error| matches!(error, UploadError::TotalMismatch { .. }));
	}
	if offset != received.len() as u64 {
		return Err(|error| matches!(error, UploadError::OffsetMismatch { .. }));
	}
	if offset + part.len() as u64 > total {
		return Err(|error| matches!(error, UploadError::BeyondTotal { .. }));
	}
	received.extend(part);
	if (received.len() as u64) < total {
		return Ok((received.len() as u64, false));
	}
	let right = received == bytes;
	begun.remove(commitment);
	if !right {
		return Err(|error| matches!(error, UploadError::HashMismatch { .. }));
	}
	kept.push(*commitment);
	Ok((total, true))
}
