//! Who gets a unit: a pure rule.

use alloc::vec::Vec;
use codec::{Decode, Encode};
use labora_primitives::{AccountId, UnitRef, Worker};
use sp_io::hashing::blake2_256;

use crate::MAX_CANDIDATES;

/// A free worker, among at most [`MAX_CANDIDATES`] of the roster from a position that the draw and the unit choose; each as likely as
/// it has free slots, so that slots earn alike however many accounts they are spread over.
pub fn choose(
	draw: &[u8],
	unit: &UnitRef,
	roster: &[AccountId],
	free: impl Fn(&AccountId) -> Option<Worker>,
) -> Option<(AccountId, Worker)> {
	let drawn = (draw, unit).using_encoded(blake2_256);
	let (start, slot) = <(u64, u64)>::decode(&mut &drawn[..]).ok()?;
	let start = start.checked_rem(roster.len() as u64)? as usize;
	let candidates = roster.iter().cycle().skip(start).take(MAX_CANDIDATES.min(roster.len()));
	let free: Vec<_> = candidates.filter_map(|who| free(who).map(|worker| (who, worker))).collect();
	let slots = |worker: &Worker| u64::from(worker.slots.saturating_sub(worker.busy));
	let all = free.iter().fold(0u64, |sum, (_, worker)| sum.saturating_add(slots(worker)));
	let mut slot = slot.checked_rem(all)?;
	let chosen = free.into_iter().find(|(_, worker)| match slot.checked_sub(slots(worker)) {
		Some(left) => {
			slot = left;
			false
		}
		None => true,
	});
	chosen.map(|(who, worker)| (who.clone(), worker))
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_primitives::{TaskId, UnitKind};

	fn worker(slots: u16) -> Worker {
		Worker {
			slots,
			busy: 0,
			memory: 1,
			bond: 0,
			staked: 0,
			missed: 0,
			chilled_until: 0,
			leaving: None,
			accepted: 0,
		}
	}

	fn unit(number: u16) -> UnitRef {
		UnitRef { task: TaskId(0), round: 0, kind: UnitKind::Steps(number) }
	}

	#[test]
	fn nobody_free_nobody_chosen() {
		let roster = [AccountId::new([1; 32])];
		assert_eq!(choose(&[0; 32], &unit(0), &roster, |_| None), None);
		assert_eq!(choose(&[0; 32], &unit(0), &[], |_| Some(worker(1))), None);
	}

	#[test]
	fn every_worker_gets_its_share_and_the_parent_decides() {
		let roster: Vec<_> = (0..100u8).map(|i| AccountId::new([i; 32])).collect();
		let mut shares = std::collections::BTreeMap::new();
		for block in 0..2_000u32 {
			let parent = blake2_256(&block.to_le_bytes());
			let (who, _) = choose(&parent, &unit(0), &roster, |_| Some(worker(1))).expect("all are free");
			*shares.entry(who).or_insert(0u32) += 1;
		}
		assert_eq!(shares.len(), 100);
		assert!(shares.values().all(|share| (2..60).contains(share)), "{shares:?}");
	}

	#[test]
	fn slots_earn_alike_in_one_account_or_in_many() {
		// A farm of sixteen slots, and a roster of 64 accounts with one each.
		let farm = AccountId::new([255; 32]);
		let roster: Vec<_> = (0..64u8).map(|i| AccountId::new([i; 32])).chain([farm.clone()]).collect();
		let free = |who: &AccountId| Some(worker(if *who == farm { 16 } else { 1 }));
		const DRAWS: u32 = 4_000;
		let draws = (0..DRAWS).map(|block| blake2_256(&block.to_le_bytes()));
		let won =
			draws.filter(|draw| choose(draw, &unit(0), &roster, free).is_some_and(|(who, _)| who == farm)).count();
		let share = won as f64 / f64::from(DRAWS);
		assert!((share - 16.0 / 80.0).abs() < 0.04, "{share}");
	}

	#[test]
	fn busy_slots_do_not_count() {
		let roster = [AccountId::new([1; 32]), AccountId::new([2; 32])];
		let free = |who: &AccountId| Some(Worker { busy: if *who == roster[0] { 4 } else { 1 }, ..worker(4) });
		let draws = (0..400u32).map(|block| blake2_256(&block.to_le_bytes()));
		assert!(draws.map(|draw| choose(&draw, &unit(0), &roster, free)).all(|chosen| chosen.unwrap().0 == roster[1]));
	}
}
