//! Computed units whose results the chain may still want, in memory and on disk: a node that is killed between a unit's last step
//! and the block that takes its result computes nothing twice.

use std::{
	collections::BTreeMap,
	fs, io,
	path::{Path, PathBuf},
};

use codec::{DecodeAll, Encode};
use labora_primitives::{AssignmentId, BlockNumber, UnitKind, UnitRef};

use super::{result::Draft, transactions::Sent, LOG_TARGET};

/// Blocks that a draft is kept after its assignment ended, and after its result stood: a reorganisation may open the unit again.
const KEPT_BLOCKS: BlockNumber = 64;
/// Bytes of the checksum in front of a draft on disk.
const CHECKSUM: usize = 32;

/// An extrinsic under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InFlight {
	/// The extrinsic.
	pub sent: Sent,
	/// Height of the best block when it was submitted.
	pub since: BlockNumber,
	/// Height of the block that took it.
	pub included: Option<BlockNumber>,
}

/// A draft, and how far its result is.
#[derive(Debug)]
pub(super) struct Pending {
	pub draft: Draft,
	/// The assignment in the last job that listed the unit.
	pub assignment: Option<AssignmentId>,
	/// The result's extrinsic.
	pub in_flight: Option<InFlight>,
	/// Submissions under this assignment.
	pub attempts: u32,
	/// Not to be submitted again before the best block is this high.
	pub retry_from: BlockNumber,
	/// The last assignment that ended.
	ended: Option<AssignmentId>,
	/// Height when the assignment was gone first, or the result was still seen to stand.
	gone: Option<BlockNumber>,
}

impl Pending {
	fn new(draft: Draft) -> Self {
		Self { draft, assignment: None, in_flight: None, attempts: 0, retry_from: 0, ended: None, gone: None }
	}

	/// The unit is assigned to this miner.
	pub(super) fn listed(&mut self, assignment: AssignmentId) {
		if self.assignment != Some(assignment) {
			let draft = self.draft.clone();
			*self = Self { assignment: Some(assignment), ..Self::new(draft) };
		}
		self.gone = None;
	}

	/// Whether the result should be submitted, now that the best block is at `height` and its assignment still runs. An
	/// extrinsic that was included by then has failed; one that nobody includes for `patience` blocks is lost, or to be replaced.
	pub(super) fn is_due(&self, height: BlockNumber, patience: BlockNumber) -> bool {
		let over = self.in_flight.is_none_or(|in_flight| {
			in_flight.included.is_some_and(|block| block <= height) || in_flight.since.saturating_add(patience) < height
		});
		over && self.retry_from <= height
	}

	/// A submission at a height, if the pool took it.
	pub(super) fn submitted(&mut self, height: BlockNumber, sent: Option<Sent>) {
		self.attempts = self.attempts.saturating_add(1);
		self.retry_from = height.saturating_add(self.attempts.min(MAX_PAUSE));
		self.in_flight = sent.map(|sent| InFlight { sent, since: height, included: None });
	}
}

/// Most blocks between two attempts. The first repetition follows with the next block.
const MAX_PAUSE: u32 = 8;

/// The drafts of this node.
pub(super) struct Drafts {
	folder: PathBuf,
	pending: BTreeMap<UnitRef, Pending>,
}

impl Drafts {
	/// The drafts that an earlier run left in a folder, as far as `usable` takes them.
	pub(super) fn open(folder: PathBuf, usable: impl Fn(&Draft) -> bool) -> Self {
		let mut pending = BTreeMap::new();
		let files = fs::create_dir_all(&folder).and_then(|()| fs::read_dir(&folder)).into_iter().flatten();
		for file in files.filter_map(Result::ok) {
			match read(&file.path()).filter(&usable) {
				Some(draft) => {
					pending.insert(draft.origin.unit, Pending::new(draft));
				}
				None => {
					// Cut short by a crash: the unit is computed again.
					let _ = fs::remove_file(file.path());
				}
			}
		}
		Self { folder, pending }
	}

	fn path(&self, unit: &UnitRef) -> PathBuf {
		let UnitRef { task, round, kind } = unit;
		self.folder.join(match kind {
			UnitKind::Steps(number) => format!("{task}-{round}-{number}"),
			UnitKind::Merge => format!("{task}-{round}-merge"),
		})
	}

	/// Whether a unit is computed.
	pub(super) fn contains(&self, unit: &UnitRef) -> bool {
		self.pending.contains_key(unit)
	}

	/// A draft.
	pub(super) fn get_mut(&mut self, unit: &UnitRef) -> Option<&mut Pending> {
		self.pending.get_mut(unit)
	}

	/// Keeps a new draft.
	pub(super) fn insert(&mut self, draft: Draft) {
		let unit = draft.origin.unit;
		if let Err(error) = write(&self.path(&unit), &draft) {
			log::warn!(target: LOG_TARGET, "A computed unit could not be written down, only kept in memory: {error}");
		}
		self.pending.insert(unit, Pending::new(draft));
	}

	/// Forgets a draft.
	pub(super) fn remove(&mut self, unit: &UnitRef) {
		self.pending.remove(unit);
		let _ = fs::remove_file(self.path(unit));
	}

	/// The drafts whose assignment just ended, given the units that are assigned at a height. Forgets those that ended long ago, but for those
	/// that `stands` says something may still be demanded of: to compute a unit again takes longer than there is for an answer.
	pub(super) fn ended(
		&mut self,
		height: BlockNumber,
		is_listed: impl Fn(&UnitRef) -> bool,
		stands: impl Fn(&UnitRef, Option<AssignmentId>) -> bool,
	) -> Vec<(UnitRef, AssignmentId)> {
		let mut ended = Vec::new();
		let mut old = Vec::new();
		for (unit, pending) in self.pending.iter_mut().filter(|(unit, _)| !is_listed(unit)) {
			if let Some(assignment) = pending.assignment.take() {
				pending.ended = Some(assignment);
				ended.push((*unit, assignment));
			}
			let gone = *pending.gone.get_or_insert(height);
			if gone.saturating_add(KEPT_BLOCKS) < height {
				match stands(unit, pending.ended) {
					true => pending.gone = Some(height),
					false => old.push(*unit),
				}
			}
		}
		old.iter().for_each(|unit| self.remove(unit));
		ended
	}
}

fn read(path: &Path) -> Option<Draft> {
	let bytes = fs::read(path).ok()?;
	let (checksum, draft) = bytes.split_at_checked(CHECKSUM)?;
	if blake3::hash(draft).as_bytes()[..] != *checksum {
		return None;
	}
	Draft::decode_all(&mut &*draft).ok()
}

fn write(path: &Path, draft: &Draft) -> io::Result<()> {
	let draft = draft.encode();
	let mut bytes = blake3::hash(&draft).as_bytes().to_vec();
	bytes.extend_from_slice(&draft);
	// A file that a crash cuts short is known by its checksum.
	fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
	use super::{super::fixtures::draft, *};

	fn folder() -> tempfile::TempDir {
		tempfile::tempdir().unwrap()
	}

	#[test]
	fn drafts_outlive_the_node_and_damaged_ones_do_not() {
		let folder = folder();
		let mut drafts = Drafts::open(folder.path().into(), |_| true);
		let (one, two) = (draft(1), draft(2));
		drafts.insert(one.clone());
		drafts.insert(two.clone());
		let damaged = drafts.path(&two.origin.unit);
		fs::write(&damaged, &fs::read(&damaged).unwrap()[..100]).unwrap();
		let mut drafts = Drafts::open(folder.path().into(), |_| true);
		assert_eq!(drafts.get_mut(&one.origin.unit).unwrap().draft, one);
		assert!(!drafts.contains(&two.origin.unit) && !damaged.exists());
		assert!(!Drafts::open(folder.path().into(), |_| false).contains(&one.origin.unit));
	}

	#[test]
	fn a_draft_is_kept_for_a_while_after_its_assignment() {
		let folder = folder();
		let mut drafts = Drafts::open(folder.path().into(), |_| true);
		let unit = draft(1).origin.unit;
		drafts.insert(draft(1));
		drafts.get_mut(&unit).unwrap().listed(AssignmentId(5));
		let ended = |drafts: &mut Drafts, height| drafts.ended(height, |_| false, |_, _| false);
		assert!(drafts.ended(10, |_| true, |_, _| false).is_empty());
		assert_eq!(ended(&mut drafts, 11), [(unit, AssignmentId(5))]);
		assert!(ended(&mut drafts, 12).is_empty(), "it ends once");
		drafts.get_mut(&unit).unwrap().listed(AssignmentId(6));
		assert_eq!(ended(&mut drafts, 100), [(unit, AssignmentId(6))]);
		ended(&mut drafts, 100 + KEPT_BLOCKS);
		assert!(drafts.contains(&unit));
		drafts.ended(101 + KEPT_BLOCKS, |_| false, |_, id| id == Some(AssignmentId(6)));
		assert!(drafts.contains(&unit), "its result stands");
		ended(&mut drafts, 101 + 2 * KEPT_BLOCKS);
		assert!(drafts.contains(&unit));
		ended(&mut drafts, 102 + 2 * KEPT_BLOCKS);
		assert!(!drafts.contains(&unit) && !drafts.path(&unit).exists());
	}

	#[test]
	fn a_result_is_submitted_again_when_it_failed_or_is_lost() {
		let mut pending = Pending::new(draft(1));
		pending.listed(AssignmentId(1));
		let sent = Sent { hash: labora_primitives::Hash::repeat_byte(1), nonce: 1, tip: 0 };
		assert!(pending.is_due(10, 16));
		pending.submitted(10, Some(sent));
		assert!(!pending.is_due(11, 16) && !pending.is_due(26, 16));
		assert!(pending.is_due(27, 16), "lost");
		pending.in_flight = Some(InFlight { sent, since: 10, included: Some(12) });
		assert!(!pending.is_due(11, 16), "this job may be older than the block that took it");
		assert!(pending.is_due(12, 16), "failed");
	}

	#[test]
	fn attempts_become_rarer() {
		let mut pending = Pending::new(draft(1));
		pending.listed(AssignmentId(1));
		let mut heights = Vec::new();
		for height in 0..40 {
			if pending.is_due(height, 16) {
				pending.submitted(height, None);
				heights.push(height);
			}
		}
		assert_eq!(heights, [0, 1, 3, 6, 10, 15, 21, 28, 36]);
		pending.listed(AssignmentId(1));
		assert!(!pending.is_due(40, 16));
		pending.listed(AssignmentId(2));
		assert!(pending.is_due(40, 16), "another assignment is another matter");
	}
}
