//! Sponsors who register what suits them.

use std::{
	sync::atomic::{AtomicU32, Ordering},
	time::Instant,
};

use anyhow::{ensure, Result};
use frame_support::traits::{fungible::Mutate, OnFinalize};
use labora_engine::{Engine, Miner, MiningTarget};
use labora_pouw::{Difficulty, UsefulProof};
use labora_primitives::{money::split_price, AssignmentLedger, Balance, TaskBoard};
use labora_runtime::{constants::LAB, Balances, Runtime, RuntimeOrigin, System, Tasks, Workers};
use labora_tensor::{I32Tensor, Tensor};
use sp_runtime::Digest;

use super::*;
use crate::unit::{BATCH, PRICE};

/// Draws tickets for one block after the other, a unit each, and counts those that win.
struct Lottery {
	parent: u32,
	difficulty: Difficulty,
	won: AtomicU32,
}

impl Lottery {
	fn new(difficulty: u128) -> Self {
		Self { parent: 0, difficulty: Difficulty(difficulty), won: AtomicU32::new(0) }
	}
}

impl Miner for Lottery {
	fn target(&self) -> Option<MiningTarget> {
		let parent = sp_io::hashing::blake2_256(&self.parent.to_le_bytes());
		Some(MiningTarget { genesis: [1; 32], parent, assignment: 3, difficulty: self.difficulty })
	}

	fn won(&self, _: &MiningTarget, _: UsefulProof) {
		self.won.fetch_add(1, Ordering::Relaxed);
	}
}

/// Most that degenerate operands may be luckier, or faster.
const TOLERANCE: f64 = 0.02;
/// Blocks whose tickets are drawn for, to compare how many win.
const PARENTS: u32 = 1_000;
/// Runs of each kind, in turns, to compare how long they take.
const TURNS: usize = 200;

/// The same task with parameters of zeros, and with products of two vectors.
fn degenerate(task: &Material) -> Result<[Material; 2]> {
	let zeros = task.spec.graph.parameters.iter().map(|shape| Tensor::zeros(*shape, labora_tensor::ElementType::I32));
	let rank_one = task.spec.graph.parameters.iter().map(|shape| {
		let element = |row: u32, col: u32| (((row % 5) as i32 - 2) * ((col % 7) as i32 - 3)) << 16;
		let rows: Vec<i32> =
			(0..shape.rows).flat_map(|row| (0..shape.cols).map(move |col| element(row, col))).collect();
		I32Tensor::pack(*shape, &rows)
	});
	let rank_one: Result<Vec<_>, _> = rank_one.collect();
	let rank_one = rank_one.map_err(|error| anyhow::anyhow!("{error:?}"))?;
	Ok([task.with_parameters(zeros.collect()), task.with_parameters(rank_one)])
}

/// The honest task, and what its sponsor would make of it.
fn kinds(genesis: &Genesis) -> Result<[Arc<Material>; 3]> {
	let task = material(genesis, Shape { seed: 70, ..Shape::default() })?;
	let [zeros, rank_one] = degenerate(&task)?.map(Arc::new);
	Ok([task, zeros, rank_one])
}

/// Products of a unit of which a ticket wins, over all parents: at a difficulty that makes it about every other one.
fn winners(engine: &Engine, task: &Material) -> Result<f64> {
	let plan = task.plan(0);
	let macs = u128::from(BATCH) * u128::from(Shape::default().width).pow(2);
	let mut lottery = Lottery::new(macs);
	for parent in 0..PARENTS {
		lottery.parent = parent;
		engine.run(&plan, &lottery)?;
	}
	Ok(f64::from(lottery.won.into_inner()))
}

/// How fast tickets of parameters of zeros, and of rank 1, come beside those of honest ones: the median of the turns' ratios. Only a
/// machine with nothing else to do can tell them from equal ones.
pub fn tickets_a_second(genesis: &Genesis) -> Result<[f64; 2]> {
	let plans = kinds(genesis)?.map(|task| task.plan(0));
	let hopeless = Lottery::new(u128::MAX);
	let mut ratios = [Vec::new(), Vec::new()];
	for turn in 0..TURNS {
		let mut took = [0.0; 3];
		for kind in 0..3 {
			let kind = (kind + turn) % 3;
			let start = Instant::now();
			genesis.engine.run(&plans[kind], &hopeless)?;
			took[kind] = start.elapsed().as_secs_f64();
		}
		ratios[0].push(took[0] / took[1]);
		ratios[1].push(took[0] / took[2]);
	}
	let speed = ratios.map(|mut ratios| {
		ratios.sort_by(f64::total_cmp);
		ratios[TURNS / 2]
	});
	ensure!(
		speed.iter().all(|speed| (speed - 1.0).abs() < TOLERANCE),
		"tickets a second: {speed:?} of the honest task's"
	);
	Ok(speed)
}

/// Registers parameters that make the work look easy, and mines its own task.
pub async fn degenerate_parameters(genesis: &Genesis) -> Result<Row> {
	let [task, zeros, rank_one] = kinds(genesis)?;
	let [honest_wins, wins @ ..] =
		[winners(&genesis.engine, &task)?, winners(&genesis.engine, &zeros)?, winners(&genesis.engine, &rank_one)?];
	let luck = wins.map(|wins| wins / honest_wins);
	ensure!(
		luck.iter().all(|luck| (luck - 1.0).abs() < TOLERANCE),
		"winning tickets: {luck:?} of the honest task's {honest_wins}"
	);

	// The chain takes such a task. The sponsor is the only worker when it registers it: no luck is needed.
	let attacker = Agent::new("attacker", 1, Worker { after: Some(1), ..Worker::honest(&genesis.engine) });
	let honest = Agent { slots: 0, ..honest(genesis) };
	let mut world = World::new(genesis, vec![attacker, honest])?;
	let sponsor = world.agent("attacker").pair.clone();
	world.register_by(&sponsor, &[zeros])?;
	world.enlist("honest", 1);
	world.register(&[task])?;
	ensure!(world.view().assignments_of(&account("honest")).count() == 1);
	world.start_keeper(keepers(genesis)?)?;
	seal_units(&mut world, "attacker", 1)?;
	seal_units(&mut world, "honest", 1)?;
	world.settle(&["attacker", "honest"])?;
	let outcome = format!(
		"taken as a task, but its tickets win {:.3} (zeros) and {:.3} (rank 1) times as often as {honest_wins} honest ones; paying itself \
		 burns a tenth",
		luck[0], luck[1]
	);
	let running = checked(&mut world, &Store::new()?, &[]).await?;
	let mut row = row("a sponsor with zero or rank-1 parameters", outcome, &mut world, running).await?;
	row.on = "engine; forged blocks, checked by a real node";
	poorer(row)
}

/// Units that the sponsor's own workers got, of all.
fn share(world: &mut World, mine: &[u16], others: &[u16], task: &Material, blocks: u32) -> Result<f64> {
	let slots: Vec<u16> = mine.iter().chain(others).copied().collect();
	let who = |index: usize| AccountId::new([index as u8 + 1; 32]);
	world.forge.dry(|| {
		let failed = |error| anyhow::anyhow!("{error:?}");
		for (index, slots) in slots.iter().enumerate() {
			Balances::mint_into(&who(index), 100_000 * LAB).map_err(failed)?;
			Workers::register(RuntimeOrigin::signed(who(index)), *slots, 64).map_err(failed)?;
		}
		let (mut own, mut all) = (0u32, 0u32);
		let from = System::block_number();
		for number in from + 1..=from + blocks {
			let parent = sp_io::hashing::blake2_256(&number.to_le_bytes()).into();
			System::initialize(&number, &parent, &Digest::default());
			let next = pallet_tasks::NextTask::<Runtime>::get();
			Tasks::register(RuntimeOrigin::signed(who(0)), task.spec.clone(), task.escrow).map_err(failed)?;
			<Workers as OnFinalize<u32>>::on_finalize(number);
			let given: Vec<_> = pallet_workers::Assignments::<Runtime>::iter_values().collect();
			for assignment in given {
				all += 1;
				own += u32::from((0..mine.len()).any(|index| who(index) == assignment.worker));
				<Workers as AssignmentLedger>::cancel(assignment.id);
				<Tasks as TaskBoard>::reopen(&assignment);
			}
			Tasks::cancel(RuntimeOrigin::signed(who(0)), next).map_err(failed)?;
		}
		ensure!(all > 0, "no units were given out");
		Ok(f64::from(own) / f64::from(all))
	})
}

/// Pays its own machines for its own task, to take the block rewards without competition.
pub async fn own_machines(genesis: &Genesis) -> Result<Row> {
	let mut world = World::new(genesis, vec![])?;
	let task = material(genesis, Shape { units: 4, seed: 80, ..Shape::default() })?;
	// Five of its own slots of twenty-five: alike; the others' in workers of four slots, as the lot is by slots, not by accounts; with
	// more units than slots.
	let alike = share(&mut world, &[1; 5], &[1; 20], &task, 300)?;
	let split = share(&mut world, &[1; 5], &[4; 5], &task, 300)?;
	let many = material(genesis, Shape { units: 16, seed: 81, ..Shape::default() })?;
	let busy = share(&mut world, &[1; 2], &[4, 2], &many, 100)?;
	ensure!((alike - 0.2).abs() < 0.05, "a fifth of the slots gets {alike} of the units");
	ensure!((split - 0.2).abs() < 0.05, "spread over accounts, a fifth of the slots gets {split} of the units");
	ensure!((busy - 0.25).abs() < 0.01, "when all slots are busy, a quarter of them gets {busy}");
	// What a hundred units cost the sponsor, and bring its fifth of the machines; an honest worker with as many gets as much from others.
	let units: Balance = 100;
	let (paid, burned) = split_price(PRICE);
	let earned = lab(units * paid) * alike;
	let attacker = 1_000.0 - lab(units * (paid + burned)) + earned;
	let outcome = format!(
		"a fifth of the slots gets {:.0} % of the units ({:.0} % as one-slot accounts against four-slot ones), and of {:.0} LAB paid {:.0} are \
		 burned and {:.0} go to others",
		alike * 100.0,
		split * 100.0,
		lab(units * PRICE),
		lab(units * burned),
		lab(units * paid) - earned,
	);
	let row = Row {
		attack: "a sponsor's task on its own machines only",
		on: "runtime (the scheduler, 2,800 units)",
		outcome,
		attacker,
		honest: 1_000.0 + earned,
		usefulness: None,
		but: None,
	};
	ensure!(split < 0.65, "{split}");
	poorer(row)
}
