//! Who gets a unit: a pure rule.

use codec::Encode;
use labora_primitives::{AccountId, UnitRef, Worker};
use sp_io::hashing::blake2_256;

use crate::MAX_CANDIDATES;

/// The free worker with the smallest hash of (draw, unit, worker), among at most [`MAX_CANDIDATES`] of the roster from a position
/// that the draw and the unit choose.
pub fn choose(
	draw: &[u8],
	unit: &UnitRef,
	roster: &[AccountId],
	free: impl Fn(&AccountId) -> Option<Worker>,
) -> Option<(AccountId, Worker)> {
	let [a, b, c, d, ..] = (draw, unit).using_encoded(blake2_256);
	let start = (u32::from_le_bytes([a, b, c, d]) as usize).checked_rem(roster.len())?;
	let candidates = roster.iter().cycle().skip(start).take(MAX_CANDIDATES.min(roster.len()));
	candidates
		.filter_map(|who| free(who).map(|worker| (who, worker)))
		.min_by_key(|(who, _)| (draw, unit, who).using_encoded(blake2_256))
		.map(|(who, worker)| (who.clone(), worker))
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_primitives::{TaskId, UnitKind};

	fn worker() -> Worker {
		Worker {
			slots: 1,
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
		assert_eq!(choose(&[0; 32], &unit(0), &[], |_| Some(worker())), None);
	}

	#[test]
	fn every_worker_gets_its_share_and_the_parent_decides() {
		let roster: Vec<_> = (0..100u8).map(|i| AccountId::new([i; 32])).collect();
		let mut shares = std::collections::BTreeMap::new();
		for block in 0..2_000u32 {
			let parent = blake2_256(&block.to_le_bytes());
			let (who, _) = choose(&parent, &unit(0), &roster, |_| Some(worker())).expect("all are free");
			*shares.entry(who).or_insert(0u32) += 1;
		}
		assert_eq!(shares.len(), 100);
		assert!(shares.values().all(|share| (2..60).contains(share)), "{shares:?}");
	}
}
