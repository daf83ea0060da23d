//! Tasks from registration to payment, mined and computed for real.

mod chain;

use std::sync::Arc;

use chain::*;
use frame_support::assert_ok;
use labora_primitives::{money::split_price, Phase, UnitKind, WorkProof};
use labora_runtime::{
	constants::{BLOCK_REWARD, RESULT_WINDOW, SLOT_BOND},
	Runtime, RuntimeEvent, RuntimeOrigin, Tasks,
};
use labora_tensor::Tensor;

/// Trains the task to its end: each unit seals one block, then its result is accepted. Gives the final parameters.
fn train(task: labora_primitives::TaskId) -> Vec<Tensor> {
	let spec = training_spec();
	let mut parameters = vec![initial_parameter()];
	for round in 0..2 {
		let mut sets = Vec::new();
		for unit in 0..2 {
			let assignment = assignments(&MINER)
				.into_iter()
				.find(|a| a.unit.round == round && a.unit.kind == UnitKind::Steps(unit))
				.expect("the unit was assigned when the round opened");
			begin(&MINER);
			let (output, proofs) = run(&spec, &assignment, &parameters);
			let first = proofs.into_iter().next().expect("every ticket wins");
			assert_ok!(prove(WorkProof::Useful(first)));
			assert_ok!(submit(&MINER, assignment.id, result_of(&spec, &assignment, &output)));
			end();
			sets.push(output.parameters.into_iter().map(|(_, tensor)| tensor).collect::<Vec<Arc<_>>>());
		}
		assert_eq!(info(task).phase, Phase::Merge);
		let assignment = assignments(&MINER).pop().expect("the merge was assigned in the same block");
		assert_eq!(assignment.unit.kind, UnitKind::Merge);
		let (merged, result) = merge(&sets);
		assert_ok!(block(&MINER, || submit(&MINER, assignment.id, result)));
		parameters = merged;
	}
	parameters
}

#[test]
fn a_model_is_trained_and_everyone_is_paid() {
	new_chain().execute_with(|| {
		let task = block(&OTHER, || {
			register_worker(&MINER, 2);
			register_task(training_spec(), 100 * PRICE)
		});
		let before = free(&MINER);
		let parameters = train(task);

		let done = info(task);
		assert_eq!((done.phase, done.round), (Phase::Completed, 2));
		assert!(done.escrow > 90 * PRICE, "it returns when nothing can be challenged any more");
		assert_eq!(done.parameters.as_slice(), [parameters[0].commitment()]);
		assert_eq!(
			pallet_tasks::RoundParameters::<Runtime>::get(task, 2).expect("the result").as_slice(),
			[parameters[0].commitment()]
		);
		assert!(done.metrics.correct > done.metrics.rows / 2, "it learned: {:?}", done.metrics);
		let usefulness = pallet_work::WorkTotals::<Runtime>::get();
		assert_eq!(usefulness.useful_blocks, 4);
		assert_eq!(usefulness.accepted, done.accepted_macs);
		assert_eq!(done.accepted_macs, 4 * done.unit_macs);

		// Rewards stay held until the window of the last result is over.
		assert_eq!(held(&MINER), 2 * SLOT_BOND + 4 * BLOCK_REWARD);
		audited_blocks(2 * RESULT_WINDOW);
		assert_eq!(held(&MINER), 2 * SLOT_BOND);
		assert_eq!(held(&SPONSOR), 0);
		let earned = free(&MINER) - before;
		// Four units, each a little below its full price for the blocks it took, two merges, and two idle blocks of the merges.
		let most = 4 * BLOCK_REWARD + 4 * split_price(PRICE).0 + 2 * BLOCK_REWARD / 10 + PRICE / 5;
		assert!(earned > 4 * BLOCK_REWARD + 3 * split_price(PRICE).0 && earned < most, "{earned}");
	});
}

#[test]
fn the_same_task_trains_to_the_same_commitment_on_any_chain() {
	let run = |idle_before: u32| {
		new_chain().execute_with(|| {
			blocks(idle_before);
			let task = block(&OTHER, || {
				register_worker(&MINER, 2);
				register_task(training_spec(), 100 * PRICE)
			});
			train(task)[0].commitment()
		})
	};
	assert_eq!(run(0), run(5));
}

#[test]
fn inference_puts_its_classes_on_chain() {
	new_chain().execute_with(|| {
		let spec = inference_spec();
		let task = block(&OTHER, || {
			register_worker(&MINER, 4);
			register_task(spec.clone(), 100 * PRICE)
		});
		let parameters = [initial_parameter()];
		for assignment in assignments(&MINER) {
			begin(&MINER);
			let (output, proofs) = run(&spec, &assignment, &parameters);
			assert_ok!(prove(WorkProof::Useful(proofs.into_iter().last().expect("every ticket wins"))));
			assert_ok!(submit(&MINER, assignment.id, result_of(&spec, &assignment, &output)));
			end();
			let UnitKind::Steps(unit) = assignment.unit.kind else { panic!("inference has no merge") };
			let classes = pallet_tasks::Outputs::<Runtime>::get(task, unit).expect("an output");
			assert_eq!(classes.as_slice(), output.classes);
			assert_eq!(classes.len() as u32, 2 * BATCH);
		}
		assert_eq!(info(task).phase, Phase::Completed);
	});
}

#[test]
fn a_task_pauses_when_its_escrow_is_spent_and_goes_on_when_funded() {
	new_chain().execute_with(|| {
		let budget = labora_primitives::money::round_budget(PRICE, 2);
		let task = block(&OTHER, || {
			register_worker(&MINER, 2);
			register_task(training_spec(), budget)
		});
		let spec = training_spec();
		let mut sets = Vec::new();
		for assignment in assignments(&MINER) {
			let (output, _) = run(&spec, &assignment, &[initial_parameter()]);
			assert_ok!(block(&OTHER, || submit(&MINER, assignment.id, result_of(&spec, &assignment, &output))));
			sets.push(output.parameters.into_iter().map(|(_, tensor)| tensor).collect::<Vec<_>>());
		}
		let assignment = assignments(&MINER).pop().expect("the merge");
		assert_ok!(block(&OTHER, || submit(&MINER, assignment.id, merge(&sets).1)));
		assert_eq!(info(task).phase, Phase::Unfunded);
		assert!(assignments(&MINER).is_empty());
		block(&OTHER, || {
			assert_ok!(Tasks::fund(RuntimeOrigin::signed(SPONSOR), task, budget));
			assert!(happened(|event| matches!(event, RuntimeEvent::Tasks(pallet_tasks::Event::TaskFunded { .. }))));
		});
		assert_eq!(info(task).phase, Phase::Units);
		assert_eq!(assignments(&MINER).len(), 2);
	});
}

#[test]
fn a_cancelled_task_still_takes_what_is_being_computed_and_returns_the_rest() {
	new_chain().execute_with(|| {
		let task = block(&OTHER, || {
			register_worker(&MINER, 1);
			register_task(training_spec(), 100 * PRICE)
		});
		let assignment = assignments(&MINER).pop().expect("one slot, one unit");
		assert_ok!(block(&OTHER, || Tasks::cancel(RuntimeOrigin::signed(SPONSOR), task)));
		assert_eq!(held(&SPONSOR), 100 * PRICE, "a unit is still out");
		let spec = training_spec();
		let (output, _) = run(&spec, &assignment, &[initial_parameter()]);
		assert_ok!(block(&OTHER, || submit(&MINER, assignment.id, result_of(&spec, &assignment, &output))));
		assert_eq!(info(task).phase, Phase::Cancelled);
		assert_eq!(held(&SPONSOR), 100 * PRICE, "its result may still fall");
		audited_blocks(2 * RESULT_WINDOW);
		assert_eq!(held(&SPONSOR), 0);
		assert!(assignments(&MINER).is_empty());
	});
}
