//! Proofs of work that is not the author's unit: random operands, another's proof, another parent.

use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use labora_pouw::UsefulProof;
use labora_primitives::WorkProof;
use labora_runtime::RuntimeCall;

use super::*;
use crate::{
	agents::Watcher,
	forge::{proof, replace, reseal},
	unit::{random_operands as random_tensor, Computed, Lie},
};

/// Multiplies random matrices instead of the task's, and puts a winning tile into a block.
pub async fn random_operands(genesis: &Genesis) -> Result<Row> {
	let idle = Agent::new("attacker", 1, Worker { after: None, ..Worker::honest(&genesis.engine) });
	let mut world = world(genesis, vec![idle, honest(genesis)], 20)?;
	seal_units(&mut world, "honest", 1)?;

	let attacker = world.agent("attacker").pair.clone();
	let view = world.view();
	let who = world.agent("attacker").account();
	let unit = view.assignments_of(&who).next().context("a unit")?.clone();
	let task = world.tasks.get(&unit.unit.task).context("its task")?.clone();
	let target = world.forge.target(unit.id.0);
	// A free nonce: other random operands, until a tile wins.
	let found = (1..40).find_map(|seed| {
		let features = Arc::new(random_tensor(task.features.shape(), seed));
		let (spec, program, labels) = (task.spec.clone(), task.program.clone(), task.labels.clone());
		let parameters = task.parameters.clone();
		let other = Arc::new(Material { spec, escrow: task.escrow, program, features, labels, parameters });
		let computed = Computed::new(&other, unit.id, unit.unit, &genesis.engine, Lie::None).ok()?;
		let layers = task.parameters.len() as u32;
		computed.mine(&target, &genesis.engine, |op| op.0 % task.program.ops() != layers)
	});
	let found = found.context("some random operands win")?;
	let claimed = UsefulProof { a: task.spec.dataset.features, ..found.clone() };

	let store = Store::new()?;
	for (found, reason) in [(found, "WrongOperand"), (claimed, "BadLeftStrip")] {
		let work = WorkProof::Useful(found);
		let refusal = world.forge.refusal(&attacker, work.clone());
		ensure!(refusal.as_deref() == Some(reason), "{refusal:?}");
		let mut block = template(&mut world, "attacker")?;
		replace(&mut block, proof(work));
		reseal(&mut block, &attacker);
		store.refuses(reason, &world.forge.blocks, &block)?;
	}
	world.settle(&["attacker", "honest"])?;
	let outcome =
		"blocks refused: the operand is not the dataset's (WrongOperand), or does not open to it (BadLeftStrip); \
	               deadline missed";
	let running = checked(&mut world, &store, &[]).await?;
	poorer(row("random operands instead of the task's", outcome.into(), &mut world, running).await?)
}

/// Takes another miner's proof, then another miner's result.
pub async fn copies(genesis: &Genesis) -> Result<Row> {
	let thief = Agent::new("attacker", 1, Worker { copies: true, ..Worker::honest(&genesis.engine) });
	let watched = [account("attacker"), account("honest")];
	let watcher = Agent::new("watcher", 0, Watcher::of(&genesis.engine, watched));
	let mut world = world(genesis, vec![thief, honest(genesis), watcher], 60)?;
	let store = Store::new()?;
	let thief = world.agent("attacker").pair.clone();
	let work = ticket(&mut world, "honest", 1)?;
	let refusal = world.forge.refusal(&thief, work.clone());
	ensure!(refusal.as_deref() == Some("NotTheAuthorsAssignment"), "{refusal:?}");
	let mut block = template(&mut world, "attacker")?;
	replace(&mut block, proof(work.clone()));
	reseal(&mut block, &thief);
	store.refuses("another's proof", &world.forge.blocks, &block)?;
	world.block(Seal::Proof("honest", work))?;

	// The result that the honest miner is about to send, as it waits in the pool.
	let view = world.view();
	let unit = view.assignments_of(&account("honest")).next().context("still running")?.clone();
	let task = world.tasks.get(&unit.unit.task).context("its task")?;
	let computed = Computed::new(task, unit.id, unit.unit, &genesis.engine, Lie::None)?;
	let result = computed.result(view.seals.get(&unit.id).map_or(&[], Vec::as_slice));
	let call = pallet_tasks::Call::submit_result { assignment: unit.id, result };
	world.calls.push((thief, RuntimeCall::Tasks(call)));
	world.block(Seal::Keeper)?;
	ensure!(world.called == [Err("NotTheWorker".into())], "{:?}", world.called);

	world.settle(&["attacker", "honest"])?;
	let (fault, winner) = world.fall_of("attacker").context("the copied result falls")?;
	ensure!(world.fall_of("honest").is_none());
	let by = if winner.is_some() { "a watching client's challenge" } else { "its audit" };
	let outcome = format!(
		"the proof is refused (NotTheAuthorsAssignment), the result too (NotTheWorker); under its own assignment it falls by {by} \
		 ({fault:?})"
	);
	let running = checked(&mut world, &store, &[]).await?;
	poorer(row("copying another's proof or result", outcome, &mut world, running).await?)
}

/// Keeps a ticket until its parent is no longer the best block.
pub async fn stale_parent(genesis: &Genesis) -> Result<Row> {
	let attacker = Agent::new("attacker", 1, Worker::honest(&genesis.engine));
	let mut world = world(genesis, vec![attacker, honest(genesis)], 60)?;
	let (who, miner) = (world.agent("attacker").pair.clone(), world.agent("honest").pair.clone());
	let (work, won) = loop {
		let found = (world.mine_unit("attacker", 1), world.mine_unit("honest", 1));
		if let (Some(work), Some(won)) = found {
			break (work, won);
		}
		world.hold = true;
		world.block(Seal::Keeper)?;
	};
	// On its parent, but late: a block beside the honest one.
	let mark = world.forge.mark();
	let time = world.forge.next_time();
	world.forge.block(&who, work.clone(), vec![], time + 300)?;
	let late = world.forge.blocks.last().cloned().context("the late block")?;
	world.forge.rewind(&mark);
	world.forge.block(&miner, won, vec![], time)?;
	// Put into a block on the new parent.
	let refusal = world.forge.refusal(&who, work.clone());
	ensure!(refusal.as_deref() == Some("TicketAboveTarget"), "{refusal:?}");
	let mut block = template(&mut world, "attacker")?;
	replace(&mut block, proof(work));
	reseal(&mut block, &who);
	let store = Store::new()?;
	store.refuses("a ticket for another parent", &world.forge.blocks, &block)?;

	world.settle(&["attacker", "honest"])?;
	let outcome = "on a later parent the ticket is none (TicketAboveTarget); on its own the block stays beside the chain: no reward \
	               for it, the unit's price only";
	let running = checked(&mut world, &store, &[late]).await?;
	poorer(row("a proof for a stale parent", outcome.into(), &mut world, running).await?)
}
