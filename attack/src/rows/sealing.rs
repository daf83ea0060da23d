//! Blocks sealed twice, for nothing, or too often.

use anyhow::{ensure, Context, Result};
use labora_primitives::{limits::MAX_SEALS, WorkProof};
use labora_runtime::{constants::EQUIVOCATION_SLASH, RuntimeCall, RuntimeEvent};

use super::*;
use crate::forge::{proof, replace, reseal, SEALS_PER_UNIT};

/// Seals two blocks on one parent with one ticket.
pub async fn equivocation(genesis: &Genesis) -> Result<Row> {
	let attacker = Agent::new("attacker", 1, Worker { after: Some(1), ..Worker::honest(&genesis.engine) });
	let agents = vec![attacker, honest(genesis), Agent::new("reporter", 0, Still)];
	let mut world = world(genesis, agents, 80)?;
	let work = ticket(&mut world, "attacker", 1)?;
	let mark = world.forge.mark();
	let (pair, time) = (world.agent("attacker").pair.clone(), world.forge.next_time());
	world.forge.block(&pair, work.clone(), vec![], time + 300)?;
	let second = world.forge.blocks.last().cloned().context("a block")?;
	world.forge.rewind(&mark);
	world.forge.block(&pair, work, vec![], time)?;
	let first = world.forge.blocks.last().cloned().context("a block")?;

	let (a, b) = (Box::new(first.header), Box::new(second.header.clone()));
	let call = pallet_disputes::Call::report_equivocation { first: a, second: b };
	world.calls.push((world.agent("reporter").pair.clone(), RuntimeCall::Disputes(call)));
	seal_units(&mut world, "honest", 1)?;
	ensure!(world.happened(|event| matches!(event,
		RuntimeEvent::Disputes(pallet_disputes::Event::Equivocation { author, slashed, .. })
			if *author == account("attacker") && *slashed == EQUIVOCATION_SLASH)));
	world.settle(&["attacker", "honest"])?;
	let outcome = format!(
		"both blocks are good, one stays; two sealed headers prove it: {:.0} LAB of the bond, half of it to the reporter",
		lab(EQUIVOCATION_SLASH)
	);
	let running = checked(&mut world, &Store::new()?, &[second]).await?;
	poorer(row("equivocation: two blocks on one parent", outcome, &mut world, running).await?)
}

/// Seals a block with each of three units, and finishes none.
pub async fn seal_and_abandon(genesis: &Genesis) -> Result<Row> {
	let attacker = Agent::new("attacker", 3, Worker { after: None, ..Worker::honest(&genesis.engine) });
	let honest = Agent::new("honest", 3, Worker { after: Some(1), ..Worker::honest(&genesis.engine) });
	let mut world = world(genesis, vec![attacker, honest], 24)?;
	seal_units(&mut world, "attacker", 1)?;
	seal_units(&mut world, "honest", 1)?;
	world.settle(&["attacker", "honest"])?;
	let mine = account("attacker");
	let missed = world.events.iter().filter(|event| {
		matches!(event, RuntimeEvent::Workers(pallet_workers::Event::DeadlineMissed { worker, .. }) if *worker == mine)
	});
	ensure!(missed.count() == 3);
	ensure!(world.happened(
		|event| matches!(event, RuntimeEvent::Workers(pallet_workers::Event::WorkerChilled { worker, .. }) if *worker == mine)
	));
	let outcome =
		"three blocks, three deadlines missed: rewards burned, a tenth of each stake lost, no units for 100 blocks";
	let running = checked(&mut world, &Store::new()?, &[]).await?;
	poorer(row("sealing a block, never finishing the unit", outcome.into(), &mut world, running).await?)
}

/// Mines one unit again on every parent, as often as the chain lets it; an honest miner seals as many blocks and finishes its units.
pub async fn re_mining(genesis: &Genesis) -> Result<Row> {
	let most = MAX_SEALS as usize;
	let attacker = Agent::new("attacker", 1, Worker { after: Some(most), ..Worker::honest(&genesis.engine) });
	let finishing = Worker { after: Some(SEALS_PER_UNIT), most: None, ..Worker::honest(&genesis.engine) };
	let agents = vec![attacker, Agent::new("honest", 1, finishing)];
	let mut world = World::new(genesis, agents)?;
	let task = Shape { units: 64, deadline: 190, seed: 50, ..Shape::default() };
	world.register(&[material(genesis, task)?])?;
	let unit = world.view().assignments_of(&account("attacker")).next().context("a unit")?.id;
	let sealed = |world: &mut World| world.view().seals.get(&unit).map_or(0, Vec::len);
	let honest = account("honest");
	let mut honest_blocks = 0;
	for _ in 0..2 * most {
		world.block(Seal::Unit("attacker", most))?;
		// With the next block the attacker's result would come.
		if sealed(&mut world) == most {
			break;
		}
		if honest_blocks < most {
			world.block(Seal::Unit("honest", SEALS_PER_UNIT))?;
			honest_blocks += usize::from(world.forge.with(|| {
				matches!(pallet_work::Last::<labora_runtime::Runtime>::get(),
					Some(labora_primitives::LastSeal::Useful { author, .. }) if author == honest)
			}));
		}
	}
	// The block after the last that one unit may seal.
	let pair = world.agent("attacker").pair.clone();
	let work: WorkProof = ticket(&mut world, "attacker", usize::MAX)?;
	let refusal = world.forge.refusal(&pair, work.clone());
	ensure!(refusal.as_deref() == Some("TooManySeals"), "{refusal:?}");
	let mut block = template(&mut world, "attacker")?;
	replace(&mut block, proof(work));
	reseal(&mut block, &pair);
	let store = Store::new()?;
	store.refuses("a block too many", &world.forge.blocks, &block)?;

	// Both stop here; what they sealed is finished and paid.
	let leave = RuntimeCall::Workers(pallet_workers::Call::leave {});
	world.calls.push((world.agent("honest").pair.clone(), leave));
	world.block(Seal::Idle("keeper"))?;
	seal_units(&mut world, "honest", SEALS_PER_UNIT)?;
	world.settle(&["attacker", "honest"])?;
	let finished = world.forge.with(|| pallet_workers::Workers::<labora_runtime::Runtime>::get(&honest));
	let finished = finished.map_or(0, |worker| worker.accepted);
	let outcome = format!(
		"{most} blocks from one unit, one reward, a decayed price, then TooManySeals; an honest miner of {honest_blocks} blocks meanwhile \
		 finishes {finished} units"
	);
	let running = checked(&mut world, &store, &[]).await?;
	poorer(row("re-mining one unit on every parent", outcome, &mut world, running).await?)
}
