//! Timestamps as far off as the rules let them be.

use anyhow::{ensure, Result};
use labora_pouw::{
	difficulty::{Anchor, Schedule},
	Difficulty,
};

use super::*;
use crate::{
	forge::{replace, reseal, timestamp},
	real::now,
};

/// How far ahead of a node's clock a block's time may be, milliseconds.
const DRIFT: u64 = 30_000;

/// The schedules of the public and of the development chain.
const PUBLIC: Schedule =
	Schedule { block_time: 10_000, half_life: 1_800_000, floor: Difficulty(1 << 24), max_lag: 3_600_000 };
const DEVELOPMENT: Schedule =
	Schedule { block_time: 1_000, half_life: 15_000, floor: Difficulty(1 << 24), max_lag: 120_000 };

/// What the difficulty of the next block is worth if this one's time is so far ahead, of what it would be.
fn eased(schedule: &Schedule) -> f64 {
	let anchor = Anchor { height: 1, time: 1 << 40, difficulty: Difficulty(1 << 40) };
	let on_time = anchor.time + 999 * schedule.block_time;
	schedule.next(&anchor, 1_000, on_time + DRIFT).0 as f64 / schedule.next(&anchor, 1_000, on_time).0 as f64
}

/// Blocks of a chain in so many block times, all of its miners', and the attackers' share: `share` of the compute puts its times as
/// far ahead as it can (`ahead`), or as far back.
fn blocks(schedule: &Schedule, times: u64, share: f64, offset: i64) -> (u64, f64) {
	let anchor = Anchor { height: 0, time: 1 << 40, difficulty: Difficulty(1 << 40) };
	let per_ms = anchor.difficulty.0 as f64 / schedule.block_time as f64;
	let mut state = 0x9E37_79B9_7F4A_7C15u64;
	let mut random = || {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		(state >> 11) as f64 / (1u64 << 53) as f64
	};
	let (mut clock, mut stamp, mut height, mut own) = (anchor.time as f64, anchor.time, 0u64, 0u64);
	let end = anchor.time as f64 + (times * schedule.block_time) as f64;
	let mut difficulty = anchor.difficulty;
	while clock < end {
		clock += -(1.0 - random()).ln() * difficulty.0 as f64 / per_ms;
		let attacks = random() < share;
		let wanted = if attacks { (clock as u64).saturating_add_signed(offset) } else { clock as u64 };
		stamp = wanted.max(stamp + 1);
		height += 1;
		own += u64::from(attacks);
		difficulty = schedule.next(&anchor, height, stamp);
	}
	(height, own as f64 / height as f64)
}

/// Puts the time of its blocks as far off as it can.
pub async fn timestamps(genesis: &Genesis) -> Result<Row> {
	let attacker = Agent::new("attacker", 1, Worker { after: Some(1), ..Worker::honest(&genesis.engine) });
	let mut world = world(genesis, vec![attacker, honest(genesis)], 600)?;
	let sealed = |world: &mut World| {
		let view = world.view();
		let first = view.assignments_of(&account("attacker")).next().map(|unit| unit.id);
		first.is_none_or(|id| view.seals.contains_key(&id))
	};
	while !sealed(&mut world) {
		let time = world.forge.next_time() + DRIFT;
		world.block_at(Seal::Unit("attacker", 1), time)?;
	}
	seal_units(&mut world, "honest", 1)?;
	world.settle(&["attacker", "honest"])?;

	let store = Store::new()?;
	let pair = world.agent("attacker").pair.clone();
	let mut block = template(&mut world, "attacker")?;
	replace(&mut block, timestamp(world.forge.time));
	reseal(&mut block, &pair);
	store.refuses("the parent's time", &world.forge.blocks, &block)?;
	let mark = world.forge.mark();
	let proof = labora_primitives::WorkProof::Idle(world.forge.mine_idle(&account("attacker")));
	let mut at = |time: u64| -> Result<Block> {
		world.forge.rewind(&mark);
		let time = time.max(world.forge.time + 1);
		world.forge.block(&pair, proof.clone(), vec![], time)?;
		Ok(world.forge.blocks[world.forge.blocks.len() - 1].clone())
	};
	// The node's clock goes on meanwhile.
	let far = at(now() + DRIFT + 900_000)?;
	let earliest = at(0)?;
	let just = at(now() + DRIFT - 1_000)?;
	world.forge.rewind(&mark);
	store.take(&world.forge.blocks, &[just, earliest])?;
	store.refuses("too far ahead", &world.forge.blocks, &far)?;

	const TIMES: u64 = 20_000;
	let (honest_blocks, _) = blocks(&PUBLIC, TIMES, 0.3, 0);
	let (ahead, share) = blocks(&PUBLIC, TIMES, 0.3, DRIFT as i64);
	let (behind, _) = blocks(&PUBLIC, TIMES, 0.3, -3_600_000);
	let gained = ahead as f64 - honest_blocks as f64;
	ensure!(gained.abs() < 60.0 && (share - 0.3).abs() < 0.02, "{honest_blocks} {ahead} {behind} {share}");
	let outcome = format!(
		"refused: not after the parent, or over 30 s ahead; taken: from 1 ms after it to 30 s ahead, which eases the next block to {:.1} % \
		 (development chain: {:.0} %) for everyone; simulated with 30 % of the compute, {TIMES} block times: {ahead} blocks with times \
		 ahead, {behind} behind, {honest_blocks} honest, its share of them {:.1} %",
		eased(&PUBLIC) * 100.0,
		eased(&DEVELOPMENT) * 100.0,
		share * 100.0
	);
	let store = Store::new()?;
	let running = checked(&mut world, &store, &[]).await?;
	let mut row = row("timestamps at their limits", outcome, &mut world, running).await?;
	ensure!(row.attacker <= row.honest + 0.05, "{} {}", row.attacker, row.honest);
	row.but = Some(
		"it earns what anyone does: an easier next block is easier for all, and the schedule is absolute, so the chain takes the gain \
		 back; a node that refuses times ahead of its clock would leave nothing to try"
			.into(),
	);
	Ok(row)
}
