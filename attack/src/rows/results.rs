//! Results that are not what the unit gives.

use anyhow::{ensure, Context, Result};
use labora_graph::OpIndex;
use labora_primitives::{money::miss_probability, Claim, UnitKind, WorkProof};
use labora_runtime::{
	constants::{AUDIT_BLOCKS, AUDIT_STEPS, RESULT_WINDOW},
	Runtime, RuntimeCall,
};
use labora_tensor::BlockIndex;

use super::*;
use crate::{
	agents::{Answers, Filler, Watcher},
	unit::{Computed, Lie},
};

/// Seals a block with operands that a liar made up: those of the ops that `wanted` says.
fn seal_with_lie(world: &mut World, genesis: &Genesis, lie: Lie, wanted: fn(&Material, OpIndex) -> bool) -> Result<()> {
	for _ in 0..20 {
		let view = world.view();
		let unit = view.assignments_of(&account("attacker")).next().context("a unit")?.clone();
		let task = world.tasks.get(&unit.unit.task).context("its task")?.clone();
		let target = world.forge.target(unit.id.0);
		let computed = Computed::new(&task, unit.id, unit.unit, &genesis.engine, lie)?;
		if let Some(found) = computed.mine(&target, &genesis.engine, |op| !wanted(&task, op)) {
			return world.block(Seal::Proof("attacker", WorkProof::Useful(found)));
		}
		world.block(Seal::Keeper)?;
	}
	anyhow::bail!("no operands win")
}

/// Not the first layer, whose operands are right.
fn after_the_first_layer(task: &Material, op: OpIndex) -> bool {
	op.0 >= task.program.ops() && op.0 % task.program.ops() != task.parameters.len() as u32
}

/// Computes the first layer, makes up the rest, seals a block with that, and sends a result that agrees with it.
pub async fn random_activations(genesis: &Genesis) -> Result<Row> {
	let lying = Worker { after: Some(1), ..Worker::lying(&genesis.engine, Lie::RandomActivations) };
	let watched = [account("attacker"), account("honest")];
	let watcher = Agent::new("watcher", 0, Watcher::of(&genesis.engine, watched));
	let mut world = world(genesis, vec![Agent::new("attacker", 1, lying), honest(genesis), watcher], 80)?;
	seal_units(&mut world, "honest", 1)?;
	seal_with_lie(&mut world, genesis, Lie::RandomActivations, after_the_first_layer)?;
	world.settle(&["attacker", "honest"])?;
	let (fault, winner) = world.fall_of("attacker").context("the result falls")?;
	ensure!(world.fall_of("honest").is_none());
	ensure!(world.agent("attacker").count("Tasks.submit_result", Ok(())) == 1, "it agreed with itself");
	let burned = |event: &labora_runtime::RuntimeEvent| {
		matches!(event, labora_runtime::RuntimeEvent::Work(pallet_work::Event::RewardBurned { worker, .. })
			if *worker == account("attacker"))
	};
	ensure!(world.happened(burned), "the block's reward is burned");
	let by = if winner.is_some() { "a challenge" } else { "its audit" };
	let outcome = format!(
		"the block is taken, the result falls by {by} ({fault:?}): reward burned, stake slashed, unit open again"
	);
	let running = checked(&mut world, &Store::new()?, &[]).await?;
	poorer(row("right first layer, random activations", outcome, &mut world, running).await?)
}

/// Is caught by its audit, and has a confederate challenge it first, to save half of the stake.
pub async fn confederate(genesis: &Genesis) -> Result<Row> {
	let lying = Worker { after: Some(1), answers: Answers::All, ..Worker::lying(&genesis.engine, Lie::ZeroGradient) };
	let agents = vec![Agent::new("attacker", 1, lying), honest(genesis), Agent::new("confederate", 0, Still)];
	let mut world = world(genesis, agents, 80)?;
	seal_units(&mut world, "honest", 1)?;
	seal_with_lie(&mut world, genesis, Lie::ZeroGradient, |_, _| true)?;
	world.block(Seal::Keeper)?;
	let view = world.view();
	let mine = view.standing.iter().find(|(_, result)| result.worker == account("attacker"));
	let standing = mine.map(|(id, result)| (*id, result.clone())).context("the result is accepted")?;
	// With a gradient of zeros all that follows from it is right: one op of the step is wrong, the gradient itself. The audit is
	// drawn two blocks after the result; the challenge comes first.
	let (id, result) = standing;
	let task = world.tasks.get(&result.unit.task).context("its task")?.clone();
	let gradient = task.program.iter().position(|(op, _)| matches!(op, labora_graph::Op::SoftmaxGradient { .. }));
	let op = OpIndex(gradient.context("it trains")? as u32);
	let claim = Claim::Block { op, block: BlockIndex { row: 0, col: 0 } };
	let call = pallet_disputes::Call::challenge { assignment: id, claim };
	world.calls.push((world.agent("confederate").pair.clone(), RuntimeCall::Disputes(call)));
	world.block(Seal::Keeper)?;
	ensure!(world.called.iter().all(Result::is_ok), "{:?}", world.called);
	world.settle(&["attacker", "honest"])?;
	let (fault, winner) = world.fall_of("attacker").context("the result falls")?;
	// The audit was drawn meanwhile and is open: then nobody gets the challenger's half.
	ensure!(winner.is_none(), "{fault:?} {winner:?}");
	let back = lab(world.balance("confederate")) - 1_000.0;
	ensure!(back <= 0.0, "{back}");
	let lost = lab(result.stake);
	let running = checked(&mut world, &Store::new()?, &[]).await?;
	let mut row = row("a lie, challenged by a confederate", String::new(), &mut world, running).await?;
	row.attacker += back;
	row.outcome = format!(
		"falls ({fault:?}); the stake of {lost:.2} LAB is lost whole, as the audit was open: the confederate has {back:.2} more than \
		 before (attacker: both together)"
	);
	poorer(row)
}

/// Submits a lie, and has a confederate fill blocks until every window would be over: nobody can challenge it, and nobody answer.
pub async fn full_blocks(genesis: &Genesis) -> Result<Row> {
	const FILLED: u32 = 80;
	let lying = Worker { after: Some(1), ..Worker::lying(&genesis.engine, Lie::RandomActivations) };
	let watcher = Agent::new("watcher", 0, Watcher::of(&genesis.engine, [account("attacker")]));
	let filler = Agent::new("confederate", 0, Filler { after: account("attacker"), blocks: FILLED });
	// The last one's calls come first in a block.
	let mut world = world(genesis, vec![Agent::new("attacker", 1, lying), honest(genesis), watcher, filler], 80)?;
	seal_units(&mut world, "honest", 1)?;
	seal_with_lie(&mut world, genesis, Lie::RandomActivations, after_the_first_layer)?;
	let full = |world: &mut World| world.forge.with(pallet_disputes::FullBlocks::<Runtime>::get);
	for _ in 0..2 * FILLED {
		if full(&mut world) < FILLED {
			world.block(Seal::Keeper)?;
		}
	}
	ensure!(full(&mut world) == FILLED, "{} blocks are full", full(&mut world));
	let view = world.view();
	for name in ["attacker", "honest"] {
		let result = view.standing.values().find(|result| result.worker == account(name)).context("it stands")?;
		let window = RESULT_WINDOW + result.took;
		ensure!(window < FILLED, "the window of {name} is {window} blocks");
	}
	let asked = |dispute: &labora_primitives::Dispute| dispute.result.worker == account("honest");
	ensure!(view.disputes.iter().any(asked), "the honest one's audit is open");
	world.settle(&["attacker", "honest"])?;
	let (fault, _) = world.fall_of("attacker").context("the result falls")?;
	ensure!(world.fall_of("honest").is_none(), "nobody falls by silence that was forced on it");
	let cost = 1_000.0 - lab(world.balance("confederate"));
	let running = checked(&mut world, &Store::new()?, &[]).await?;
	let outcome = format!(
		"after {FILLED} full blocks, {:.2} LAB each, the clock goes on: the lie falls ({fault:?}), the honest result is answered for and paid (attacker: both together)",
		cost / f64::from(FILLED)
	);
	let mut row = row("blocks filled to keep answers out", outcome, &mut world, running).await?;
	row.attacker -= cost;
	poorer(row)
}

/// How often the audit alone finds one changed element, and one op left out in all steps.
pub struct AuditAlone {
	/// Units.
	pub units: u32,
	/// Of them found that changed one element.
	pub element_found: u32,
	/// As the draws say, in parts of one.
	pub element_expected: f64,
	/// Of them found that left out an op.
	pub op_found: u32,
	/// As the formula of the stake says.
	pub op_expected: f64,
}

/// Draws the audits of 1,000 units.
pub fn one_element_by_audit_alone(material: &Material) -> Result<AuditAlone> {
	const UNITS: u32 = 1_000;
	let (spec, program) = (&material.spec, &material.program);
	let ops = program.ops();
	let first_layer = material.parameters.len() as u32;
	let changed = Claim::Block { op: OpIndex(3 * ops + first_layer), block: BlockIndex { row: 0, col: 0 } };
	let (mut element_found, mut op_found) = (0, 0);
	for unit in 0..UNITS {
		let seed = sp_io::hashing::blake2_256(&unit.to_le_bytes());
		let claims = spec.audit(program, UnitKind::Steps(0), &seed, AUDIT_STEPS, AUDIT_BLOCKS);
		element_found += u32::from(claims.contains(&changed));
		op_found +=
			u32::from(claims.iter().any(|claim| matches!(claim, Claim::Block { op, .. } if op.0 % ops == first_layer)));
	}
	let (_, info) = program.op(first_layer as u8).context("the first layer")?;
	let of_step = 1.0 - (1.0 - 1.0 / (f64::from(ops) * info.shape.blocks() as f64)).powi(AUDIT_BLOCKS.into());
	let element_expected = 1.0 - (1.0 - of_step / f64::from(spec.job.steps())).powi(AUDIT_STEPS.into());
	let draws = u32::from(AUDIT_STEPS) * u32::from(AUDIT_BLOCKS);
	let op_expected = 1.0 - miss_probability(ops, draws) as f64 / 1e9;
	// Four standard deviations.
	let close = |found: u32, expected: f64| {
		let (found, n) = (f64::from(found) / f64::from(UNITS), f64::from(UNITS));
		(found - expected).abs() < 4.0 * (expected * (1.0 - expected) / n).sqrt() + 1e-9
	};
	ensure!(close(op_found, op_expected), "{op_found} of {UNITS}, expected {op_expected}");
	ensure!(close(element_found, element_expected), "{element_found} of {UNITS}, expected {element_expected}");
	Ok(AuditAlone { units: UNITS, element_found, element_expected, op_found, op_expected })
}
