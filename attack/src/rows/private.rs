//! The majority of the compute on a chain of its own.

use std::time::Duration;

use anyhow::{ensure, Result};

use super::*;

/// Mines alone, a little faster than everyone else together, and shows its chain when it is longer.
pub async fn private_majority(genesis: &Genesis) -> Result<Row> {
	const SHORT: (usize, usize) = (20, 22);
	const LONG: (usize, usize) = (40, 44);
	let agents = vec![Agent::new("attacker", 0, Still), Agent::new("honest", 0, Still)];
	let mut world = World::new(genesis, agents)?;
	let common = world.forge.blocks.len();
	let fork = world.forge.mark();
	let mut branch = |name: &'static str, length: usize| -> Result<Vec<Block>> {
		world.forge.rewind(&fork);
		for _ in 0..length {
			world.block(Seal::Idle(name))?;
		}
		Ok(world.forge.blocks.clone())
	};
	let public = branch("honest", LONG.0)?;
	let private = branch("attacker", LONG.1)?;
	let hash = |blocks: &[Block]| blocks[blocks.len() - 1].header.hash();
	let (attacker, miner) = (account("attacker"), account("honest"));

	// Released below the finality depth of 30 blocks.
	let (shown, hidden) = (&public[..common + SHORT.0], &private[..common + SHORT.1]);
	let (stores, honest_store) = (Store::with(hidden)?, Store::with(shown)?);
	let node = honest_store.verify(hash(shown)).await?;
	let before = node.balance(&miner).await?;
	let address = node.address().await?;
	let other = stores.start(&["--bootnodes", &address]).await?;
	ensure!(node.reaches(hash(hidden), 60).await?, "the node does not change to the heavier chain");
	let (gained, left) = (node.balance(&attacker).await?, node.balance(&miner).await?);
	let usefulness = Some(ratio_since(&world.before, &node.usefulness().await?));
	other.node.stop()?;
	node.node.stop()?;

	// Released above it.
	let shown = &public[..common + LONG.0];
	let (stores, honest_store) = (Store::with(&private)?, Store::with(shown)?);
	let node = honest_store.verify(hash(shown)).await?;
	for _ in 0..100 {
		if node.finalized().await? as usize > common {
			break;
		}
		tokio::time::sleep(Duration::from_millis(100)).await;
	}
	let final_height = node.finalized().await?;
	ensure!(final_height as usize > common, "nothing is final");
	let address = node.address().await?;
	let other = stores.start(&["--bootnodes", &address]).await?;
	ensure!(!node.reaches(hash(&private), 8).await?, "a node gave up what it had finalized");
	ensure!(node.best().await? == hash(shown));
	other.node.stop()?;
	node.node.stop()?;

	let outcome = format!(
		"a fork of {} blocks replaces {} honest ones, whose rewards ({:.0} LAB) are gone; one that forks off below a node's last final \
		 block (30 deep, by itself) does not: {} blocks change nothing there",
		SHORT.1,
		SHORT.0,
		lab(before) - lab(left),
		LONG.1
	);
	let row = Row {
		attack: "51 % of the compute in private, then shown",
		on: "forged blocks, two real nodes over the network",
		outcome,
		attacker: lab(gained),
		honest: lab(left),
		usefulness,
		but: Some(
			"the heavier chain counts, as in any proof of work without finality; votes of validators on final blocks, a few blocks \
			 deep, would end it"
				.into(),
		),
	};
	ensure!(row.attacker > 1_000.0 && lab(before) > row.honest);
	Ok(row)
}
