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

	// Shown while nobody votes.
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

	// Shown to a node whose blocks were voted final.
	let shown = &public[..common + LONG.0];
	let (stores, honest_store) = (Store::with(&private)?, Store::with(shown)?);
	let node = honest_store.start_validator().await?;
	ensure!(node.best().await? == hash(shown), "not the honest chain");
	for _ in 0..300 {
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
		"where validators vote, a fork of {} blocks against {} changes nothing: it lacks the final block; while a third of them is \
		 away and nothing becomes final, {} replace {} honest ones, whose rewards ({:.0} LAB) are gone",
		LONG.1,
		LONG.0,
		SHORT.1,
		SHORT.0,
		lab(before) - lab(left),
	);
	let row = Row {
		attack: "51 % of the compute in private, then shown",
		on: "forged blocks, two real nodes over the network",
		outcome,
		attacker: lab(gained),
		honest: lab(left),
		usefulness,
		but: Some(
			"counted is what it gains while nothing becomes final: then the heavier chain counts, as in any proof of work without \
			 finality"
				.into(),
		),
	};
	ensure!(row.attacker > 1_000.0 && lab(before) > row.honest);
	Ok(row)
}
