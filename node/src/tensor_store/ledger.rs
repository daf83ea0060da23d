//! What the store holds and may hold: sizes, pins, the quota.

use std::{
	collections::{HashMap, HashSet},
	time::{Duration, SystemTime},
};

use labora_tensor::Commitment;

/// What was used so lately is not removed: a dataset is uploaded before its task is registered, a result is stored before the
/// chain knows it.
pub const YOUNG: Duration = Duration::from_secs(3_600);

/// A tensor that is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
	bytes: u64,
	used: SystemTime,
}

/// What the store holds, and may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
	/// Tensors on disk.
	pub tensors: u64,
	/// Their bytes.
	pub bytes: u64,
	/// Bytes that they may take.
	pub quota: u64,
	/// Those of them that must stay.
	pub pinned: u64,
	/// Bytes of those.
	pub pinned_bytes: u64,
}

/// What a reservation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
	Upload,
	Download,
}

/// The tensors on disk, the room that arriving ones will take, and what must stay. It touches no file.
#[derive(Debug)]
pub(super) struct Ledger {
	quota: u64,
	kept: HashMap<Commitment, Kept>,
	/// Bytes of all kept tensors.
	total: u64,
	reserved: HashMap<Commitment, (Purpose, u64)>,
	/// What live tasks need. None while it is not known: then nothing is removed.
	pinned: Option<HashSet<Commitment>>,
}

impl Ledger {
	/// Of an empty store without a quota.
	pub(super) fn new() -> Self {
		let (kept, reserved) = (HashMap::new(), HashMap::new());
		Self { quota: u64::MAX, kept, total: 0, reserved, pinned: None }
	}

	pub(super) fn set_quota(&mut self, quota: u64) {
		self.quota = quota;
	}

	pub(super) fn quota(&self) -> u64 {
		self.quota
	}

	pub(super) fn pin(&mut self, pinned: HashSet<Commitment>) {
		self.pinned = Some(pinned);
	}

	pub(super) fn usage(&self) -> Usage {
		let pinned = self.pinned.iter().flatten().filter_map(|commitment| self.kept.get(commitment));
		let (pinned, pinned_bytes) =
			pinned.fold((0, 0), |(count, bytes), kept| (count + 1, kept.bytes.saturating_add(bytes)));
		let tensors = self.kept.len() as u64;
		Usage { tensors, bytes: self.total, quota: self.quota, pinned, pinned_bytes }
	}

	/// A tensor is on disk now.
	pub(super) fn keep(&mut self, commitment: Commitment, bytes: u64, used: SystemTime) {
		self.reserved.remove(&commitment);
		let before = self.kept.insert(commitment, Kept { bytes, used });
		self.total = self.total.saturating_sub(before.map_or(0, |before| before.bytes)).saturating_add(bytes);
	}

	/// A tensor is no longer on disk.
	pub(super) fn forget(&mut self, commitment: &Commitment) {
		if let Some(kept) = self.kept.remove(commitment) {
			self.total = self.total.saturating_sub(kept.bytes);
		}
	}

	/// A tensor was read.
	pub(super) fn used(&mut self, commitment: &Commitment, now: SystemTime) {
		if let Some(kept) = self.kept.get_mut(commitment) {
			kept.used = now;
		}
	}

	/// Lets go of reservations that nobody will use.
	pub(super) fn release(&mut self, free: impl Fn(&Commitment, Purpose) -> bool) {
		self.reserved.retain(|commitment, (purpose, _)| !free(commitment, *purpose));
	}

	/// Room for a tensor that arrives. Gives what has to be removed for it, already forgotten; `Err` if that is not enough.
	pub(super) fn reserve(
		&mut self,
		commitment: Commitment,
		bytes: u64,
		purpose: Purpose,
		now: SystemTime,
	) -> Result<Vec<Commitment>, ()> {
		if self.reserved.contains_key(&commitment) {
			return Ok(Vec::new());
		}
		let removed = self.make_room(bytes, now)?;
		self.reserved.insert(commitment, (purpose, bytes));
		Ok(removed)
	}

	/// Room for so many bytes. Gives what has to be removed for them, already forgotten; `Err` if that is not enough.
	pub(super) fn make_room(&mut self, bytes: u64, now: SystemTime) -> Result<Vec<Commitment>, ()> {
		let (removed, short) = self.choose(self.over(bytes), now);
		if short > 0 {
			return Err(());
		}
		removed.iter().for_each(|commitment| self.forget(commitment));
		Ok(removed)
	}

	/// What is too much, as far as it may be removed; already forgotten.
	pub(super) fn collect(&mut self, now: SystemTime) -> Vec<Commitment> {
		let (removed, _) = self.choose(self.over(0), now);
		removed.iter().for_each(|commitment| self.forget(commitment));
		removed
	}

	/// What has to go for so many bytes, the longest unused first, and the bytes for which there is not enough.
	fn choose(&self, mut bytes: u64, now: SystemTime) -> (Vec<Commitment>, u64) {
		let mut chosen = Vec::new();
		if bytes > 0 {
			for (commitment, freed) in self.removable(now) {
				chosen.push(commitment);
				bytes = bytes.saturating_sub(freed);
				if bytes == 0 {
					break;
				}
			}
		}
		(chosen, bytes)
	}

	/// Bytes beyond the quota, with so many more.
	fn over(&self, bytes: u64) -> u64 {
		let reserved = self.reserved.values().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
		self.total.saturating_add(reserved).saturating_add(bytes).saturating_sub(self.quota)
	}

	/// What may be removed, the longest unused first.
	fn removable(&self, now: SystemTime) -> Vec<(Commitment, u64)> {
		let Some(pinned) = &self.pinned else { return Vec::new() };
		// A clock that was set back makes tensors young, not old.
		let old = |kept: &Kept| now.duration_since(kept.used).is_ok_and(|age| age >= YOUNG);
		let removable = self.kept.iter().filter(|(commitment, kept)| !pinned.contains(commitment) && old(kept));
		let mut removable: Vec<_> = removable.map(|(commitment, kept)| (kept.used, *commitment, kept.bytes)).collect();
		removable.sort();
		removable.into_iter().map(|(_, commitment, bytes)| (commitment, bytes)).collect()
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	fn name(number: u8) -> Commitment {
		Commitment([number; 32])
	}

	/// A ledger with a quota of 1,000 and tensors of 300 bytes: number 3 is the oldest, 1 the youngest of the old ones.
	fn ledger() -> (Ledger, SystemTime) {
		let now = SystemTime::now();
		let mut ledger = Ledger::new();
		ledger.set_quota(1_000);
		for number in 1..=3 {
			ledger.keep(name(number), 300, now - YOUNG * u32::from(number));
		}
		(ledger, now)
	}

	#[test]
	fn the_oldest_that_nobody_needs_goes_first() {
		let (mut ledger, now) = ledger();
		ledger.pin(HashSet::from([name(2)]));
		assert_eq!(ledger.reserve(name(8), 100, Purpose::Upload, now), Ok(vec![]));
		assert_eq!(ledger.reserve(name(9), 100, Purpose::Upload, now), Ok(vec![name(3)]));
		assert_eq!(ledger.usage().bytes, 600);
		assert_eq!(ledger.reserve(name(10), 400, Purpose::Download, now), Ok(vec![name(1)]));
		assert_eq!(ledger.reserve(name(11), 400, Purpose::Download, now), Err(()), "the pinned one stays");
		assert_eq!(ledger.usage().bytes, 300);
	}

	#[test]
	fn pinned_tensors_count_when_they_are_here() {
		let (mut ledger, _) = ledger();
		let usage = Usage { tensors: 3, bytes: 900, quota: 1_000, pinned: 0, pinned_bytes: 0 };
		assert_eq!(ledger.usage(), usage);
		ledger.pin(HashSet::from([name(2), name(9)]));
		assert_eq!(ledger.usage(), Usage { pinned: 1, pinned_bytes: 300, ..usage });
	}

	#[test]
	fn nothing_goes_for_what_does_not_fit_anyway() {
		let (mut ledger, now) = ledger();
		ledger.pin(HashSet::new());
		assert_eq!(ledger.reserve(name(9), 1_001, Purpose::Upload, now), Err(()));
		assert_eq!(ledger.usage().bytes, 900);
		assert_eq!(ledger.reserve(name(9), 1_000, Purpose::Upload, now), Ok(vec![name(3), name(2), name(1)]));
	}

	#[test]
	fn before_pins_are_known_and_while_it_is_young_nothing_goes() {
		let (mut ledger, now) = ledger();
		assert_eq!(ledger.reserve(name(9), 200, Purpose::Upload, now), Err(()));
		ledger.pin(HashSet::new());
		(1..=3).for_each(|number| ledger.used(&name(number), now));
		assert_eq!(ledger.reserve(name(9), 200, Purpose::Upload, now), Err(()));
		assert_eq!(ledger.reserve(name(9), 200, Purpose::Upload, now - YOUNG), Err(()), "the clock was set back");
	}

	#[test]
	fn a_reservation_counts_once_and_until_it_is_used_or_released() {
		let (mut ledger, now) = ledger();
		ledger.pin((1..=3).map(name).collect());
		for _ in 0..3 {
			assert_eq!(ledger.reserve(name(9), 100, Purpose::Upload, now), Ok(vec![]));
		}
		assert_eq!(ledger.reserve(name(8), 1, Purpose::Download, now), Err(()));
		ledger.release(|commitment, purpose| *commitment == name(9) && purpose == Purpose::Upload);
		assert_eq!(ledger.reserve(name(8), 100, Purpose::Download, now), Ok(vec![]));
		ledger.keep(name(8), 100, now);
		ledger.keep(name(8), 100, now);
		assert_eq!(ledger.usage().bytes, 1_000);
		ledger.forget(&name(8));
		ledger.forget(&name(8));
		assert_eq!(ledger.usage().bytes, 900);
	}

	#[test]
	fn what_was_kept_beyond_the_quota_goes_as_soon_as_it_may() {
		let (mut ledger, now) = ledger();
		ledger.keep(name(4), 650, now);
		assert!(ledger.collect(now).is_empty());
		ledger.pin(HashSet::from([name(3)]));
		assert_eq!(ledger.collect(now), [name(2), name(1)]);
		assert!(ledger.collect(now).is_empty());
	}
}
