//! The chain's clock: who fills blocks makes nobody late.

mod chain;

use chain::{units::*, *};
use codec::Encode;
use frame_support::{
	assert_noop,
	dispatch::{DispatchClass, GetDispatchInfo},
	weights::Weight,
};
use labora_primitives::{
	limits::{MAX_OUTPUT, MAX_SEALS},
	AssignmentId, Claim, Clock, UnitResult,
};
use labora_runtime::{
	constants::*,
	nonce::{CheckNonce, MAX_WAITING},
	Disputes, Runtime, RuntimeCall, RuntimeOrigin, System, Tasks,
};
use pallet_disputes::Fault;
use pallet_tasks::WeightInfo;
use pallet_transaction_payment::ChargeTransactionPayment;
use sp_runtime::{
	traits::DispatchTransaction,
	transaction_validity::{InvalidTransaction, TransactionSource},
	Perbill,
};

/// Fills the block, with answers or with what is as heavy.
fn fill() {
	System::register_extra_weight_unchecked(Weight::MAX, DispatchClass::Operational);
}

/// A block that somebody filled.
fn full_block() {
	block(&OTHER, fill);
}

#[test]
fn full_blocks_are_no_time_to_answer() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		let id = units[0].id;
		let result = block(&OTHER, || computed.submit());
		let claim = Claim::Trace { first: 0, count: 1 };
		block(&OTHER, || challenge(id, claim)).unwrap();
		let due = || Disputes::disputes(Some(&MINER))[0].demands[0].due;
		let asked = due();
		assert_eq!(asked, System::block_number() + ANSWER_WINDOW + result.took / 4);
		let full = 10 * (ANSWER_WINDOW + AUDIT_WINDOW + FOLLOW_UP_WINDOW);
		(0..full).for_each(|_| full_block());
		// Whatever the audit drew meanwhile has all its time too.
		assert!(demands(id).len() > 1);
		assert_eq!((fell(id), standing(id).map(|result| result.due)), (None, Some(result.due)));
		assert_eq!(due(), asked + full);
		assert_eq!(Tasks::standing_result(id).unwrap().due, result.due + full, "as it is reported");
		blocks(2);
		assert_eq!(due(), asked + full, "of these two, both had room");
		block(&OTHER, || answer_all(&computed));
		// When the answer came, it had been noted to be looked at again after the demand's end.
		for _ in 0..RESULT_WINDOW + result.took - 3 {
			assert_eq!((fell(id), standing(id).is_some()), (None, true));
			block(&OTHER, || ());
		}
		assert_eq!(standing(id), None, "paid");
	});
}

#[test]
fn full_blocks_end_no_window_for_challenges() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]).lie(1);
		let id = units[0].id;
		let result = block(&OTHER, || computed.submit());
		let window = RESULT_WINDOW + result.took;
		let full = || (0..2 * window).for_each(|_| full_block());
		full();
		let claim = Claim::Trace { first: 0, count: 1 };
		block(&OTHER, || challenge(id, claim)).unwrap();
		let shown = computed.answer(&claim).expect("a trace");
		block(&OTHER, || answer(&MINER, id, claim, shown)).unwrap();
		// The search that the challenge began is not over, though more blocks passed than one takes.
		full();
		block(&OTHER, || challenge(id, Claim::Metrics { step: 0 })).unwrap();
		assert_eq!(fell(id), None);
	});
}

#[test]
fn full_blocks_make_nobody_miss_a_deadline_or_part_of_the_price() {
	with_units(|_, units| {
		let [submitted, missed] = [&units[0], &units[1]];
		let computed = compute(submitted, &[initial_parameter()]);
		let full = 10 * training_spec().deadline;
		(0..full).for_each(|_| full_block());
		let listed = assignments(&MINER);
		assert_eq!(listed.iter().map(|unit| unit.deadline).collect::<Vec<_>>(), [submitted.deadline + full; 2]);
		let result = block(&OTHER, || computed.submit());
		let elapsed = Perbill::from_rational(1u32, training_spec().deadline);
		assert_eq!(result.price, PRICE - elapsed * PRICE / 2, "of all those blocks one counts");
		assert_eq!(result.took, full + 1, "others may need all of them");
		// The other unit is missed where there was room for its result.
		for _ in 0..training_spec().deadline {
			assert!(pallet_workers::Assignments::<Runtime>::contains_key(missed.id));
			block(&OTHER, || answer_all(&computed));
		}
		assert!(!pallet_workers::Assignments::<Runtime>::contains_key(missed.id));
	});
}

#[test]
fn results_that_are_proven_wrong_fall_one_in_a_block_full_or_not() {
	with_units(|_, units| {
		let said: Vec<_> =
			units.iter().map(|unit| compute(unit, &[initial_parameter()]).lie_about_the_metrics()).collect();
		let claim = Claim::Metrics { step: 1 };
		block(&OTHER, || said.iter().for_each(|unit| drop(unit.submit())));
		block(&OTHER, || said.iter().for_each(|unit| challenge(unit.assignment.id, claim).unwrap()));
		block(&OTHER, || {
			for unit in &said {
				let shown = unit.answer(&claim).expect("what it said");
				answer(&MINER, unit.assignment.id, claim, shown).unwrap();
			}
			fill();
		});
		for unit in &said {
			assert!(standing(unit.assignment.id).is_some());
			full_block();
			assert_eq!(fell(unit.assignment.id), Some(Fault::WrongBlock));
		}
	});
}

#[test]
fn results_that_come_while_blocks_are_full_are_not_more_than_one_time_can_end() {
	with_units(|_, units| {
		let results = units.iter().map(|unit| {
			let computed = compute(unit, &[initial_parameter()]);
			(unit.id, result_of(&training_spec(), unit, &computed.output))
		});
		let [one, other] = results.collect::<Vec<_>>().try_into().expect("two units");
		let send = |(id, result): &(_, UnitResult)| submit(&MINER, *id, result.clone());
		block(&OTHER, || {
			pallet_disputes::Accepted::<Runtime>::put((Disputes::now(), pallet_disputes::MAX_AUDITS_PER_BLOCK - 1));
			send(&one).unwrap();
			fill();
		});
		block(&OTHER, || {
			assert_noop!(send(&other), pallet_tasks::Error::<Runtime>::TooManyResults);
		});
		block(&OTHER, || send(&other)).unwrap();
	});
}

#[test]
fn silence_is_guilt_where_there_was_room() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		let id = units[0].id;
		let result = block(&OTHER, || computed.submit());
		block(&OTHER, || challenge(id, Claim::Trace { first: 0, count: 1 })).unwrap();
		block(&OTHER, || ());
		// The challenge was first, but the audit, drawn one block later, ends earlier.
		let window = AUDIT_WINDOW + result.took / 4;
		for _ in 0..window {
			full_block();
			assert_eq!((fell(id), standing(id).is_some()), (None, true));
			block(&OTHER, || ());
			assert_eq!((fell(id), standing(id).is_some()), (None, true));
		}
		// The last block had room, and what it could have taken did not come.
		full_block();
		assert_eq!(fell(id), Some(Fault::Silence));
	});
}

#[test]
fn a_block_is_full_when_the_largest_answer_does_not_fit() {
	let limits = <Runtime as frame_system::Config>::BlockWeights::get();
	let lengths = <Runtime as frame_system::Config>::BlockLength::get();
	let full = |used: &[(Weight, DispatchClass)], bytes: u32| {
		let before = pallet_disputes::FullBlocks::<Runtime>::get();
		block(&OTHER, || {
			System::set_block_consumed_resources(Weight::zero(), bytes as usize);
			used.iter().for_each(|(weight, class)| System::register_extra_weight_unchecked(*weight, *class));
		});
		pallet_disputes::FullBlocks::<Runtime>::get() > before
	};
	new_chain().execute_with(|| {
		let normal = (limits.get(DispatchClass::Normal).max_total.unwrap(), DispatchClass::Normal);
		let reserved = limits.get(DispatchClass::Operational).reserved.unwrap();
		let bytes = *lengths.max.get(DispatchClass::Normal);
		assert!(!full(&[], 0));
		assert!(!full(&[normal], bytes), "normal calls leave room for an answer");
		assert!(!full(&[normal, (limits.max_block, DispatchClass::Mandatory)], 0), "and hooks do");
		assert!(!full(&[(reserved, DispatchClass::Operational)], 0), "answers may use what normal calls do not");
		assert!(full(&[normal, (reserved, DispatchClass::Operational)], 0));
		assert!(full(&[(limits.max_block, DispatchClass::Operational)], 0));
		assert!(full(&[], *lengths.max.get(DispatchClass::Operational) - (1 << 20)));
	});
}

#[test]
fn where_the_largest_answer_has_room_the_heaviest_result_has() {
	type Weights = <Runtime as pallet_tasks::Config>::WeightInfo;
	let heaviest = [
		Weights::submit_result(MAX_SEALS, 33),
		Weights::submit_classes(MAX_SEALS, 32, MAX_OUTPUT.div_ceil(32)),
		Weights::submit_merge(),
	];
	assert!(heaviest.iter().all(|weight| weight.all_lte(Disputes::largest_answer())));
}

#[test]
fn pools_keep_what_may_not_be_kept_out_and_few_of_one_account() {
	let valid = |call: RuntimeCall, nonce: u32, tip: u128| {
		let (info, length) = (call.get_dispatch_info(), call.encoded_size());
		let extension = (CheckNonce::from(nonce), ChargeTransactionPayment::<Runtime>::from(tip));
		let origin = RuntimeOrigin::signed(MINER);
		extension.validate_only(origin, &call, &info, length, TransactionSource::External, 0).map(|(valid, ..)| valid)
	};
	new_chain().execute_with(|| {
		blocks(1);
		let claim = Claim::Trace { first: 0, count: 1 };
		let challenge = pallet_disputes::Call::challenge { assignment: AssignmentId(0), claim };
		let remark = frame_system::Call::remark { remark: vec![] };
		let urgent = valid(RuntimeCall::from(challenge.clone()), 0, 0).unwrap();
		let tipped_urgent = valid(RuntimeCall::from(challenge.clone()), 0, LAB).unwrap();
		assert!(tipped_urgent.priority > urgent.priority && urgent.priority > 0);
		assert!(urgent.priority > valid(RuntimeCall::from(remark), 0, 1_000 * LAB).unwrap().priority);
		let waiting = |nonce| valid(RuntimeCall::from(challenge.clone()), nonce, 0);
		assert_eq!(waiting(MAX_WAITING - 1).unwrap().requires, [(MINER, MAX_WAITING - 2).encode()]);
		assert_eq!(waiting(MAX_WAITING), Err(InvalidTransaction::Future.into()));
	});
}
