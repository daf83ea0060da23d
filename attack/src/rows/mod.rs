//! The rows that are played on forged chains, which a real node then checks block by block.

mod private;
mod proofs;
mod results;
mod sealing;
mod sponsor;
mod time;

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{ensure, Result};
use labora_primitives::AccountId;
use labora_runtime::Block;

pub use private::private_majority;
pub use proofs::{copies, random_operands, stale_parent};
pub use results::{confederate, full_blocks, one_element_by_audit_alone, random_activations, AuditAlone};
pub use sealing::{equivocation, re_mining, seal_and_abandon};
pub use sponsor::{degenerate_parameters, own_machines, tickets_a_second};
pub use time::timestamps;

use crate::{
	agents::{Agent, Still, Worker},
	forge::{Seal, World},
	real::{Genesis, Running, Store},
	row::{lab, ratio_since, Row},
	unit::{Material, Shape},
};

/// What most rows are played on.
const FORGED: &str = "forged blocks, checked by a real node";

/// The account of somebody with a name.
fn account(name: &'static str) -> AccountId {
	Agent::new(name, 0, Still).account()
}

/// The task that the keeper works on.
fn keepers(genesis: &Genesis) -> Result<Arc<Material>> {
	material(genesis, Shape { units: 64, deadline: 400, seed: 99, ..Shape::default() })
}

fn material(genesis: &Genesis, shape: Shape) -> Result<Arc<Material>> {
	Ok(Arc::new(Material::new(&genesis.folder, shape)?))
}

/// Tasks of one unit each.
fn single_units(genesis: &Genesis, count: u64, deadline: u32) -> Result<Vec<Arc<Material>>> {
	(0..count).map(|seed| material(genesis, Shape { deadline, seed: 10 + seed, ..Shape::default() })).collect()
}

/// A miner that finishes what it seals.
fn honest(genesis: &Genesis) -> Agent {
	Agent::new("honest", 1, Worker { after: Some(1), ..Worker::honest(&genesis.engine) })
}

/// A chain on which each worker has a unit for each of its slots, the keeper others.
fn world(genesis: &Genesis, agents: Vec<Agent>, deadline: u32) -> Result<World> {
	let units = agents.iter().map(|agent| u64::from(agent.slots)).sum();
	let mut world = World::new(genesis, agents)?;
	world.register(&single_units(genesis, units, deadline)?)?;
	let view = world.view();
	for agent in world.agents.iter().filter(|agent| agent.slots > 0 && agent.name != "keeper") {
		let given = view.assignments_of(&agent.account()).count();
		ensure!(given == usize::from(agent.slots), "{} has {given} units", agent.name);
	}
	world.start_keeper(keepers(genesis)?)?;
	Ok(world)
}

/// Goes on until somebody's units have sealed so many blocks each.
fn seal_units(world: &mut World, name: &'static str, each: usize) -> Result<()> {
	let account = world.agent(name).account();
	for _ in 0..40 {
		let view = world.view();
		let short = |id| view.seals.get(id).map_or(0, Vec::len) < each;
		if !view.assignments_of(&account).any(|assignment| short(&assignment.id)) {
			return Ok(());
		}
		world.block(Seal::Unit(name, each))?;
	}
	anyhow::bail!("{name} does not find tickets")
}

/// A winning ticket of somebody's unit on the best block, after as many blocks in which nobody acts as it takes.
fn ticket(world: &mut World, name: &'static str, most: usize) -> Result<labora_primitives::WorkProof> {
	for _ in 0..40 {
		if let Some(work) = world.mine_unit(name, most) {
			return Ok(work);
		}
		world.hold = true;
		world.block(Seal::Idle("keeper"))?;
	}
	anyhow::bail!("{name} does not find a ticket")
}

/// A good idle block of somebody on the best one, that the chain does not keep: to be made a bad one.
fn template(world: &mut World, name: &'static str) -> Result<Block> {
	let mark = world.forge.mark();
	let (pair, account) = (world.agent(name).pair.clone(), world.agent(name).account());
	let proof = labora_primitives::WorkProof::Idle(world.forge.mine_idle(&account));
	let time = world.forge.next_time();
	world.forge.block(&pair, proof, vec![], time)?;
	let block = world.forge.blocks.last().cloned();
	world.forge.rewind(&mark);
	block.ok_or_else(|| anyhow::anyhow!("a block"))
}

/// Has a real node check the chain, and what it says of the attacker and the honest miner.
async fn checked(world: &mut World, store: &Store, extra: &[Block]) -> Result<Running> {
	// Forks go in where their parents are known.
	let known: BTreeSet<_> = world.forge.blocks.iter().map(|block| block.header.parent_hash).collect();
	ensure!(extra.iter().all(|block| known.contains(&block.header.parent_hash)), "a fork of the chain");
	store.take(&world.forge.blocks, extra)?;
	store.verify(world.forge.hash()).await
}

/// The row that a real node's numbers make.
async fn row(attack: &'static str, outcome: String, world: &mut World, running: Running) -> Result<Row> {
	let attacker = running.balance(&world.agent("attacker").account()).await?;
	let honest = running.balance(&world.agent("honest").account()).await?;
	ensure!(attacker == world.balance("attacker") && honest == world.balance("honest"), "the node says the same");
	let usefulness = Some(ratio_since(&world.before, &running.usefulness().await?));
	running.node.stop()?;
	Ok(Row { attack, on: FORGED, outcome, attacker: lab(attacker), honest: lab(honest), usefulness, but: None })
}

/// Checks what every row without a reservation says.
fn poorer(row: Row) -> Result<Row> {
	ensure!(
		row.attacker < row.honest,
		"{}: the attacker has {}, the honest miner {}",
		row.attack,
		row.attacker,
		row.honest
	);
	Ok(row)
}
