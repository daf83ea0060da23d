//! The chain's clock: who fills blocks makes nobody late.

mod chain;

use chain::{units::*, *};
use codec::Encode;
use frame_support::{
	dispatch::{DispatchClass, GetDispatchInfo},
	traits::fungible::Mutate,
	weights::Weight,
};
use labora_primitives::{
	limits::{MAX_OUTPUT, MAX_SEALS},
	AccountId, Assignment, AssignmentId, Claim, Clock, StandingResult,
};
use labora_runtime::{
	constants::*,
	nonce::{CheckNonce, MAX_WAITING},
	Balances, Disputes, Runtime, RuntimeCall, RuntimeOrigin, System, Tasks, TransactionPayment,
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

/// A unit whose result was accepted in a block, and challenged in the next: what stands, and what is demanded.
fn challenged(unit: &Assignment) -> (Computed, StandingResult, Claim) {
	let computed = compute(unit, &[initial_parameter()]);
	let result = block(&OTHER, || computed.submit());
	let claim = Claim::Trace { first: 0, count: 1 };
	block(&OTHER, || challenge(unit.id, claim)).unwrap();
	(computed, result, claim)
}

#[test]
fn full_blocks_are_no_time_to_answer() {
	with_units(|_, units| {
		let (computed, result, _) = challenged(&units[0]);
		let id = units[0].id;
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

/// However much ends at one time, nothing is refused for it, and nothing forgotten.
#[test]
fn what_ends_at_one_time_is_looked_at_one_block_after_the_other() {
	with_units(|_, units| {
		let (_, result, claim) = challenged(&units[0]);
		let id = units[0].id;
		let due = Disputes::now() + ANSWER_WINDOW + result.took / 4 + 1;
		// Others that are answered long since, before it in the queue.
		let others = 3 * pallet_disputes::MAX_DUE_PER_BLOCK;
		for place in 0..others {
			pallet_disputes::Due::<Runtime>::insert((due - 1, place), AssignmentId(1_000_000 + u64::from(place)));
		}
		pallet_disputes::DueCount::<Runtime>::insert(due - 1, others);
		blocks(1);
		// The audit's are shown.
		pallet_disputes::Demands::<Runtime>::mutate(id, |demands| demands.retain(|demand| demand.claim == claim));
		let mut late = 0;
		while fell(id).is_none() {
			block(&OTHER, || ());
			assert!(standing(id).is_some() || fell(id) == Some(Fault::Silence), "not paid meanwhile");
			late = Disputes::now() - due;
		}
		assert_eq!(late, 2);
	});
}

#[test]
fn silence_is_guilt_where_there_was_room() {
	with_units(|_, units| {
		let (_, result, _) = challenged(&units[0]);
		let id = units[0].id;
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
	let valid = |who: AccountId, call: RuntimeCall, nonce: u32, tip: u128| {
		let (info, length) = (call.get_dispatch_info(), call.encoded_size());
		let extension = (CheckNonce::from(nonce), ChargeTransactionPayment::<Runtime>::from(tip));
		let origin = RuntimeOrigin::signed(who);
		extension.validate_only(origin, &call, &info, length, TransactionSource::External, 0).map(|(valid, ..)| valid)
	};
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		let assignment = units[0].id;
		let result = result_of(&training_spec(), &units[0], &computed.output);
		let submission = RuntimeCall::from(pallet_tasks::Call::submit_result { assignment, result });
		let remark = RuntimeCall::from(frame_system::Call::remark { remark: vec![] });
		let priority = |who, call: &RuntimeCall, nonce| valid(who, call.clone(), nonce, 0).unwrap().priority;
		let others = valid(OTHER, remark.clone(), 0, LAB).unwrap().priority;
		assert!(priority(MINER, &submission, 0) > others);
		assert!(priority(OTHER, &submission, 0) < others, "it would be refused");
		block(&OTHER, || computed.submit());
		assert!(priority(MINER, &submission, 0) < others, "once is enough");

		let claim = Claim::Trace { first: 0, count: 1 };
		let asking = RuntimeCall::from(pallet_disputes::Call::challenge { assignment, claim });
		assert!(priority(OTHER, &asking, 0) > others);
		assert!(priority(OTHER, &asking, 1) < others, "what comes before may leave nothing for its bond");
		block(&OTHER, || challenge(assignment, claim)).unwrap();
		let answer = |answer| RuntimeCall::from(pallet_disputes::Call::answer { assignment, claim, answer });
		let (good, none) = (answer(computed.answer(&claim).unwrap()), answer(Default::default()));
		assert!(priority(MINER, &good, 0) > valid(OTHER, asking, 0, LAB).unwrap().priority);
		assert!(priority(MINER, &none, 0) < others && priority(OTHER, &good, 0) < others);
		// A pool holds one answer to it of this account.
		let tags = |nonce| valid(MINER, good.clone(), nonce, 0).unwrap().provides;
		assert_eq!((tags(0)[0].clone(), tags(0)[1].clone()), ((MINER, 0u32).encode(), tags(1)[1].clone()));

		assert_eq!(
			valid(MINER, good.clone(), MAX_WAITING, 0).map(|valid| valid.provides.len()),
			Ok(2),
			"it may not wait"
		);
		let waiting = |nonce| valid(MINER, remark.clone(), nonce, 0);
		assert_eq!(waiting(MAX_WAITING - 1).unwrap().requires, [(MINER, MAX_WAITING - 2).encode()]);
		assert_eq!(waiting(MAX_WAITING), Err(InvalidTransaction::Future.into()));
		// Before the last there are as many as can be paid for.
		let fee = TransactionPayment::compute_fee(remark.encoded_size() as u32, &remark.get_dispatch_info(), 0);
		Balances::set_balance(&MINER, 3 * fee + EXISTENTIAL_DEPOSIT);
		assert_eq!(waiting(3).map(|valid| valid.provides), Ok(vec![(MINER, 3u32).encode()]));
		assert_eq!(waiting(4), Err(InvalidTransaction::Payment.into()));
	});
}
