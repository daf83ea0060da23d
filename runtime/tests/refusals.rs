//! Bad input: each a named error, and nothing lost.

mod chain;

use chain::*;
use codec::Encode;
use frame_support::{assert_noop, assert_ok};
use labora_graph::{Graph, GraphError, Op, OpIndex, Value};
use labora_pouw::{TileIndex, UsefulProof};
use labora_primitives::{Assignment, AssignmentId, Job, TaskId, UnitKind, UnitResult, WorkProof};
use labora_runtime::{
	constants::{BLOCK_REWARD, CHILL_BLOCKS, MIN_PRICE, SLOT_BOND, UNBONDING_BLOCKS},
	Runtime, RuntimeEvent, RuntimeOrigin, System, Tasks, Workers,
};
use labora_tensor::Shape;
use sp_core::bounded::BoundedVec;

type WorkError = pallet_work::Error<Runtime>;
type TaskError = pallet_tasks::Error<Runtime>;
type WorkerError = pallet_workers::Error<Runtime>;

/// A chain in the middle of a block by the miner, with its assignment and a valid proof for it.
fn with_proof(test: impl FnOnce(Assignment, UsefulProof)) {
	new_chain().execute_with(|| {
		block(&OTHER, || {
			register_worker(&MINER, 1);
			register_task(training_spec(), 100 * PRICE)
		});
		let assignment = assignments(&MINER).pop().expect("a unit");
		begin(&MINER);
		let (_, proofs) = run(&training_spec(), &assignment, &[initial_parameter()]);
		test(assignment, proofs.into_iter().next().expect("every ticket wins"));
	});
}

/// A chain in a block, with an assignment that sealed one block and its result.
fn with_result(test: impl FnOnce(Assignment, UnitResult)) {
	with_proof(|assignment, proof| {
		assert_ok!(prove(WorkProof::Useful(proof)));
		end();
		let (output, _) = run(&training_spec(), &assignment, &[initial_parameter()]);
		let result = result_of(&training_spec(), &assignment, &output);
		begin(&OTHER);
		assert_ok!(prove(idle_proof()));
		test(assignment, result);
	});
}

#[test]
fn a_valid_proof_is_taken_once() {
	with_proof(|_, proof| {
		assert_ok!(prove(WorkProof::Useful(proof.clone())));
		assert_noop!(prove(WorkProof::Useful(proof)), WorkError::AlreadyProved);
		assert_noop!(prove(idle_proof()), WorkError::AlreadyProved);
		assert_eq!(held(&MINER), SLOT_BOND + BLOCK_REWARD);
		end();
	});
}

#[test]
fn a_proof_with_a_bit_changed_anywhere_is_refused() {
	with_proof(|_, proof| {
		let bytes = proof.encode();
		// Every byte of the head (assignment, op, tile, commitments), then a sample of strips and siblings.
		let head = 8 + 4 + 8 + 64;
		let positions = (0..head).chain((head..bytes.len()).step_by(97));
		for at in positions {
			for bit in [0, 7] {
				let mut forged = bytes.clone();
				forged[at] ^= 1 << bit;
				let Ok(forged) = <UsefulProof as codec::DecodeAll>::decode_all(&mut &forged[..]) else { continue };
				// With difficulty 1 every ticket wins, so an op or tile index may become another valid one only if its strips open too.
				let result = prove(WorkProof::Useful(forged));
				assert!(result.is_err(), "byte {at} bit {bit}");
			}
		}
		assert_ok!(prove(WorkProof::Useful(proof)));
	});
}

#[test]
fn a_proof_names_what_is_wrong_with_it() {
	with_proof(|_, proof| {
		let with = |change: &dyn Fn(&mut UsefulProof)| {
			let mut forged = proof.clone();
			change(&mut forged);
			WorkProof::Useful(forged)
		};
		assert_noop!(prove(with(&|p| p.assignment += 1)), WorkError::NoSuchAssignment);
		assert_noop!(prove(with(&|p| p.op = OpIndex(u32::MAX))), WorkError::NoSuchOp);
		assert_noop!(prove(with(&|p| p.op = OpIndex(0))), WorkError::NotEligible);
		assert_noop!(prove(with(&|p| p.op = OpIndex(3))), WorkError::NotEligible);
		assert_noop!(prove(with(&|p| p.tile = TileIndex { row: 1, col: 0 })), WorkError::NoSuchTile);
		assert_noop!(prove(with(&|p| p.tile = TileIndex { row: u32::MAX, col: u32::MAX })), WorkError::NoSuchTile);
		assert_noop!(prove(with(&|p| p.a.0[0] ^= 1)), WorkError::WrongOperand);
		assert_noop!(prove(with(&|p| p.b.0[0] ^= 1)), WorkError::BadRightStrip);
		assert_noop!(prove(with(&|p| p.strip_a.data.push(0))), WorkError::BadLeftStrip);
		assert_noop!(prove(with(&|p| p.strip_a.data.truncate(1_024))), WorkError::BadLeftStrip);
		assert_noop!(prove(with(&|p| p.strip_b.data.clear())), WorkError::BadRightStrip);
		assert_noop!(prove(with(&|p| p.strip_a = p.strip_b.clone())), WorkError::BadLeftStrip);
		assert_noop!(prove(with(&|p| p.strip_b.siblings.push([0; 32]))), WorkError::BadRightStrip);
	});
}

#[test]
fn a_proof_is_bound_to_worker_parent_and_chain() {
	with_proof(|assignment, proof| {
		// Another author.
		pallet_work::Author::<Runtime>::put(OTHER);
		assert_noop!(prove(WorkProof::Useful(proof.clone())), WorkError::NotTheAuthorsAssignment);
		pallet_work::Author::<Runtime>::kill();
		assert_noop!(prove(WorkProof::Useful(proof.clone())), WorkError::NoAuthor);
		pallet_work::Author::<Runtime>::put(MINER);
		// Another parent, another chain: at a difficulty where the ticket just wins, any other seed loses.
		let hard = |parent: u8, genesis: u8| {
			let ticket = ticket_of(&assignment, &proof, parent, genesis);
			ticket.expect("verifies at difficulty 1")
		};
		let real = hard(0, 0);
		assert_ne!(real, hard(1, 0));
		assert_ne!(real, hard(0, 1));
		pallet_work::NextDifficulty::<Runtime>::put(labora_pouw::Difficulty(u128::MAX));
		assert_noop!(prove(WorkProof::Useful(proof)), WorkError::TicketAboveTarget);
	});
}

/// The ticket that the runtime computes for a proof when the parent's or the genesis' hash is changed.
fn ticket_of(assignment: &Assignment, proof: &UsefulProof, parent: u8, genesis: u8) -> Option<sp_core::U256> {
	let spec = training_spec();
	let program = spec.check().ok()?;
	let UnitKind::Steps(unit) = assignment.unit.kind else { return None };
	let work = spec.resolve(&program, assignment.unit.round, unit, proof.op, proof.tile).ok()?;
	let (mut parent_hash, mut genesis_hash) = (System::parent_hash().0, System::block_hash(0).0);
	parent_hash[0] ^= parent;
	genesis_hash[0] ^= genesis;
	let seed = labora_pouw::UsefulSeed {
		genesis: &genesis_hash,
		parent: &parent_hash,
		assignment: proof.assignment,
		op: proof.op,
		a: &proof.a,
		b: &proof.b,
		product: work.product,
	};
	let sealed = proof.verify(&seed.seed(), &work.product, &work.a, &work.b, labora_pouw::Difficulty(1)).ok()?;
	Some(sealed.ticket())
}

#[test]
#[should_panic(expected = "a block must prove its work")]
fn a_block_without_a_proof_does_not_execute() {
	new_chain().execute_with(|| {
		begin(&MINER);
		end();
	});
}

#[test]
fn a_seal_is_limited_and_rewarded_once() {
	with_proof(|assignment, proof| {
		assert_ok!(prove(WorkProof::Useful(proof.clone())));
		end();
		pallet_work::HeldRewards::<Runtime>::mutate(assignment.id, |held| {
			let held = held.as_mut().expect("held");
			let seal = held.seals[0];
			while held.seals.try_push(seal).is_ok() {}
		});
		begin(&MINER);
		let (_, proofs) = run(&training_spec(), &assignment, &[initial_parameter()]);
		assert_noop!(prove(WorkProof::Useful(proofs[0].clone())), WorkError::TooManySeals);
		assert_eq!(held(&MINER), SLOT_BOND + BLOCK_REWARD, "one reward per assignment");
	});
}

#[test]
fn a_result_names_what_is_wrong_with_it() {
	with_result(|assignment, result| {
		let id = assignment.id;
		let with = |change: &dyn Fn(&mut UnitResult)| {
			let mut forged = result.clone();
			change(&mut forged);
			forged
		};
		assert_noop!(submit(&MINER, AssignmentId(99), result.clone()), TaskError::NoSuchAssignment);
		assert_noop!(submit(&OTHER, id, result.clone()), TaskError::NotTheWorker);
		assert_noop!(submit(&MINER, id, with(&|r| r.parameters.truncate(0))), TaskError::WrongResultSize);
		assert_noop!(submit(&MINER, id, with(&|r| r.metrics.rows += 1)), TaskError::WrongResultSize);
		assert_noop!(submit(&MINER, id, with(&|r| r.metrics.loss = u64::MAX)), TaskError::WrongResultSize);
		assert_noop!(submit(&MINER, id, with(&|r| r.outputs.truncate(0))), TaskError::WrongResultSize);
		assert_noop!(submit(&MINER, id, with(&|r| r.parameters[0].0[0] ^= 1)), TaskError::BadOutputOpening);
		assert_noop!(submit(&MINER, id, with(&|r| r.trace_root.0[0] ^= 1)), TaskError::BadOutputOpening);
		assert_noop!(submit(&MINER, id, with(&|r| r.outputs[0].data[5] ^= 1)), TaskError::BadOutputOpening);
		assert_noop!(submit(&MINER, id, with(&|r| r.seals.truncate(0))), TaskError::WrongSealCount);
		assert_noop!(submit(&MINER, id, with(&|r| r.seals[0].b = None)), TaskError::BadSealOpening);
		assert_noop!(submit(&MINER, id, with(&|r| r.seals[0].a = r.seals[0].b.clone())), TaskError::BadSealOpening);
		assert_ok!(submit(&MINER, id, result.clone()));
		assert_noop!(submit(&MINER, id, result), TaskError::NoSuchAssignment);
	});
}

#[test]
fn a_result_that_contradicts_its_sealed_block_is_refused() {
	with_result(|assignment, result| {
		// The block said something else about its right operand than the trace does.
		pallet_work::HeldRewards::<Runtime>::mutate(assignment.id, |held| {
			held.as_mut().expect("held").seals[0].b.0[0] ^= 1;
		});
		assert_noop!(submit(&MINER, assignment.id, result), TaskError::BadSealOpening);
	});
}

#[test]
fn a_late_result_is_refused_and_costs_bond_and_reward() {
	with_result(|assignment, result| {
		end();
		let issuance = pallet_balances::TotalIssuance::<Runtime>::get();
		while System::block_number() < assignment.deadline {
			block(&OTHER, || ());
		}
		block(&OTHER, || {
			assert_noop!(submit(&MINER, assignment.id, result.clone()), TaskError::TooLate);
		});
		assert!(pallet_workers::Assignments::<Runtime>::get(assignment.id).is_none());
		assert!(pallet_work::HeldRewards::<Runtime>::get(assignment.id).is_none());
		let worker = pallet_workers::Workers::<Runtime>::get(MINER).expect("a worker");
		assert_eq!(
			(worker.bond, worker.missed, worker.busy),
			(SLOT_BOND - assignment.stake / 10, 1, 1),
			"the unit was assigned again"
		);
		block(&OTHER, || {
			assert_noop!(submit(&MINER, assignment.id, result.clone()), TaskError::NoSuchAssignment);
		});
		// Idle rewards apart, what was slashed and burned is gone.
		let idle = u128::from(System::block_number() - 3) * BLOCK_REWARD / 10;
		let now = pallet_balances::TotalIssuance::<Runtime>::get();
		assert!(now < issuance + idle);
	});
}

#[test]
fn a_worker_that_misses_three_deadlines_is_chilled() {
	new_chain().execute_with(|| {
		block(&OTHER, || {
			register_worker(&MINER, 1);
			register_task(training_spec(), 100 * PRICE)
		});
		let mut chilled_at = None;
		for _ in 0..70 {
			block(&OTHER, || ());
			if happened(|e| matches!(e, RuntimeEvent::Workers(pallet_workers::Event::WorkerChilled { .. }))) {
				chilled_at = Some(System::block_number());
				break;
			}
		}
		let at = chilled_at.expect("three deadlines of 20 blocks");
		let worker = pallet_workers::Workers::<Runtime>::get(MINER).expect("a worker");
		assert_eq!((worker.busy, worker.chilled_until), (0, at + CHILL_BLOCKS));
		blocks(CHILL_BLOCKS);
		assert_eq!(assignments(&MINER).len(), 1, "it is given work again");
	});
}

#[test]
fn workers_register_once_within_their_means_and_leave_with_their_bond() {
	new_chain().execute_with(|| {
		block(&OTHER, || {
			let register = |who, slots| Workers::register(RuntimeOrigin::signed(who), slots, 64);
			assert_noop!(register(MINER, 0), WorkerError::BadSlots);
			assert_noop!(register(MINER, u16::MAX), WorkerError::BadSlots);
			assert_noop!(register(POOR, 1), WorkerError::BondTooSmall);
			assert_ok!(register(MINER, 2));
			assert_noop!(register(MINER, 2), WorkerError::AlreadyRegistered);
			assert_noop!(Workers::leave(RuntimeOrigin::signed(OTHER)), WorkerError::NotRegistered);
			assert_eq!(held(&MINER), 2 * SLOT_BOND);
			assert_ok!(Workers::leave(RuntimeOrigin::signed(MINER)));
			assert_noop!(Workers::leave(RuntimeOrigin::signed(MINER)), WorkerError::AlreadyLeaving);
			assert_noop!(Workers::withdraw(RuntimeOrigin::signed(MINER)), WorkerError::StillUnbonding);
		});
		blocks(UNBONDING_BLOCKS);
		block(&OTHER, || {
			assert_ok!(Workers::withdraw(RuntimeOrigin::signed(MINER)));
			assert_eq!(held(&MINER), 0);
			assert_noop!(Workers::withdraw(RuntimeOrigin::signed(MINER)), WorkerError::NotRegistered);
		});
	});
}

#[test]
fn a_worker_with_too_little_memory_gets_nothing() {
	new_chain().execute_with(|| {
		block(&OTHER, || {
			assert_ok!(Workers::register(RuntimeOrigin::signed(MINER), 1, 0));
			register_task(training_spec(), 100 * PRICE)
		});
		assert!(assignments(&MINER).is_empty());
	});
}

#[test]
fn tasks_that_nobody_can_take_keep_no_other_from_its_turn() {
	new_chain().execute_with(|| {
		let small = training_spec();
		let mut large = labora_primitives::TaskSpec { price: 5 * PRICE, ..training_spec() };
		(large.dataset.rows, large.dataset.examples) = (1 << 14, 1 << 14);
		block(&OTHER, || {
			assert_ok!(Workers::register(RuntimeOrigin::signed(MINER), 1, 1));
			// More of them than a block passes over.
			for _ in 0..2 * pallet_workers::MAX_UNTAKEN_TASKS {
				register_task(large.clone(), 20 * PRICE);
			}
		});
		let cheap = block(&OTHER, || register_task(small, 100 * PRICE));
		blocks(4);
		let given = assignments(&MINER);
		assert!(matches!(&given[..], [one] if one.unit.task == cheap), "{given:?}");
	});
}

#[test]
fn the_better_price_is_served_first() {
	new_chain().execute_with(|| {
		let cheap = training_spec();
		let dear = labora_primitives::TaskSpec { price: 5 * PRICE, ..training_spec() };
		let (_, second) = block(&OTHER, || {
			let tasks = (register_task(cheap, 100 * PRICE), register_task(dear, 100 * PRICE));
			register_worker(&MINER, 2);
			tasks
		});
		assert!(assignments(&MINER).iter().all(|assignment| assignment.unit.task == second));
	});
}

/// Registers a changed task and gives the error.
fn registering(change: impl FnOnce(&mut labora_primitives::TaskSpec)) -> sp_runtime::DispatchError {
	new_chain().execute_with(|| {
		let mut spec = training_spec();
		change(&mut spec);
		begin(&OTHER);
		let result = Tasks::register(RuntimeOrigin::signed(SPONSOR), spec, 100 * PRICE);
		assert_eq!(held(&SPONSOR), 0);
		result.expect_err("a bad task")
	})
}

#[test]
fn tasks_are_refused_by_name() {
	let cases: Vec<(sp_runtime::DispatchError, TaskError)> = vec![
		(registering(|s| s.graph.batch = 33), TaskError::BadBatch),
		(registering(|s| s.graph.batch = 0), TaskError::BadBatch),
		(registering(|s| s.graph.features = u32::MAX), TaskError::BadShape),
		(registering(|s| s.graph.parameters[0].rows = u32::MAX), TaskError::BadShape),
		(registering(|s| s.graph.parameters[0].rows = 255), TaskError::ShapeMismatch),
		(registering(|s| s.graph.ops.clear()), TaskError::BadGraphSize),
		(registering(|s| s.graph.ops = vec![s.graph.ops[0]; 65]), TaskError::BadGraphSize),
		(registering(|s| s.graph.parameters = vec![PARAMETER; 17]), TaskError::BadGraphSize),
		(registering(|s| s.graph.ops[2] = Op::SoftmaxGradient { logits: Value::Op(2) }), TaskError::GraphHasCycle),
		(registering(|s| s.graph.ops[2] = Op::SoftmaxGradient { logits: Value::Op(4) }), TaskError::GraphHasCycle),
		(registering(|s| s.graph.ops[2] = Op::SoftmaxGradient { logits: Value::Op(200) }), TaskError::MissingInput),
		(registering(|s| s.graph.ops[0] = Op::Quantize { parameter: 1, shift: 16 }), TaskError::MissingInput),
		(
			registering(|s| s.graph.ops[2] = Op::SoftmaxGradient { logits: Value::Parameter(0) }),
			TaskError::TypeMismatch,
		),
		(registering(|s| s.graph.ops[0] = Op::Quantize { parameter: 0, shift: 25 }), TaskError::BadScale),
		(registering(|s| s.graph.ops.push(s.graph.ops[3])), TaskError::BadUpdate),
		(
			registering(|s| {
				s.graph.ops.remove(3);
			}),
			TaskError::NoOutput,
		),
		(registering(|s| s.graph.ops[2] = Op::SoftmaxGradient { logits: Value::Features }), TaskError::TooManyClasses),
		(registering(|s| s.job = Job::Inference { units: 2, steps: 2 }), TaskError::WrongJob),
		(
			registering(|s| s.job = Job::Training { rounds: 0, units: 1, steps: 1, rate_drops: BoundedVec::new() }),
			TaskError::BadJob,
		),
		(
			registering(|s| s.job = Job::Training { rounds: 1, units: 65, steps: 1, rate_drops: BoundedVec::new() }),
			TaskError::BadJob,
		),
		(
			registering(|s| s.job = Job::Training { rounds: 1, units: 1, steps: 4_097, rate_drops: BoundedVec::new() }),
			TaskError::BadJob,
		),
		(
			registering(|s| {
				s.job =
					Job::Training { rounds: 2, units: 1, steps: 1, rate_drops: BoundedVec::truncate_from(vec![1, 1]) }
			}),
			TaskError::BadRateDrops,
		),
		(
			registering(|s| {
				s.job = Job::Training { rounds: 2, units: 1, steps: 1, rate_drops: BoundedVec::truncate_from(vec![2]) }
			}),
			TaskError::BadRateDrops,
		),
		(registering(|s| s.dataset.rows = 100), TaskError::BadDataset),
		(registering(|s| s.dataset.rows = u32::MAX - 31), TaskError::BadDataset),
		(registering(|s| s.dataset.examples = ROWS + 1), TaskError::BadDataset),
		(registering(|s| s.dataset.labels = None), TaskError::BadDataset),
		(
			registering(|s| {
				s.parameters.pop();
			}),
			TaskError::BadParameters,
		),
		(registering(|s| s.recipe.as_mut().expect("a recipe").ranges[0] = u16::MAX), TaskError::BadParameters),
		(registering(|s| s.price = MIN_PRICE - 1), TaskError::PriceTooLow),
		(registering(|s| s.price = u128::MAX), TaskError::EscrowTooSmall),
		(registering(|s| s.deadline = 0), TaskError::BadDeadline),
		(registering(|s| s.deadline = u32::MAX), TaskError::BadDeadline),
	];
	for (index, (error, expected)) in cases.into_iter().enumerate() {
		assert_eq!(error, expected.into(), "case {index}");
	}
}

#[test]
fn shapes_that_overflow_are_refused() {
	let huge = Shape { rows: 65_536, cols: 65_536 };
	let graph = Graph {
		batch: 65_536,
		features: 65_536,
		parameters: vec![huge],
		ops: vec![Op::Quantize { parameter: 0, shift: 16 }, Op::Argmax { logits: Value::Op(0) }],
	};
	assert_eq!(labora_graph::Program::new(graph), Err(GraphError::TooManyClasses));
	assert!(Shape::new(u32::MAX, u32::MAX).is_err());
	let nothing = Graph::from_bytes(&[0xff; 64]);
	assert_eq!(nothing, Err(GraphError::Malformed));
	let mut unknown_op = training_graph().encode();
	let last_ops = unknown_op.len() - 3;
	unknown_op[last_ops] = 99;
	assert_eq!(Graph::from_bytes(&unknown_op), Err(GraphError::Malformed));
}

#[test]
fn only_the_sponsor_ends_a_task_and_only_once() {
	new_chain().execute_with(|| {
		let task = block(&OTHER, || register_task(training_spec(), 100 * PRICE));
		block(&OTHER, || {
			assert_noop!(Tasks::cancel(RuntimeOrigin::signed(OTHER), task), TaskError::NotTheSponsor);
			assert_noop!(Tasks::cancel(RuntimeOrigin::signed(SPONSOR), TaskId(7)), TaskError::NoSuchTask);
			assert_noop!(Tasks::fund(RuntimeOrigin::signed(SPONSOR), task, u128::MAX), TaskError::InsufficientBalance);
			assert_ok!(Tasks::cancel(RuntimeOrigin::signed(SPONSOR), task));
			assert_eq!(free(&SPONSOR), ENDOWMENT, "nothing was computed, all returns");
			assert_noop!(Tasks::cancel(RuntimeOrigin::signed(SPONSOR), task), TaskError::TaskEnded);
		});
	});
}

#[test]
fn escrow_beyond_the_means_is_refused() {
	new_chain().execute_with(|| {
		begin(&OTHER);
		let register = |escrow| Tasks::register(RuntimeOrigin::signed(SPONSOR), training_spec(), escrow);
		assert_noop!(register(PRICE), TaskError::EscrowTooSmall);
		assert_noop!(register(ENDOWMENT + 1), TaskError::InsufficientBalance);
		assert_noop!(register(u128::MAX), TaskError::InsufficientBalance);
	});
}
