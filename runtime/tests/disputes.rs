//! Audits, challenges and reports: what they cost whom, with real units and real openings.

mod chain;

use std::sync::Arc;

use chain::{units::*, *};
use frame_support::{assert_noop, assert_ok, traits::StorageVersion};
use labora_graph::{OpIndex, Trace};
use labora_primitives::{money::challenge_bond, Answer, Claim, Phase, UnitKind};
use labora_runtime::{
	constants::*, Balances, Disputes, Executive, Hash, Header, Runtime, RuntimeOrigin, System, Workers,
};
use labora_tensor::{BlockIndex, Commitment, Tensor};
use labora_witness::{next, MergeWitness, Next, Shown};
use pallet_disputes::{migrations, Fault};
use sp_core::Pair;
use sp_runtime::{traits::Header as _, DigestItem};

#[test]
fn an_honest_result_passes_its_audit_and_is_paid() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		block(&OTHER, || computed.submit());
		let id = units[0].id;
		assert!(demands(id).is_empty(), "drawn by the next block's hash");
		block(&OTHER, || ());
		block(&OTHER, || assert!(!demands(id).is_empty()));
		let asked = demands(id);
		assert!(asked.len() <= usize::from(AUDIT_STEPS) * usize::from(AUDIT_BLOCKS));
		block(&OTHER, || answer_all(&computed));
		assert!(demands(id).is_empty());
		let staked = || pallet_workers::Workers::<Runtime>::get(MINER).unwrap().staked;
		assert_eq!(staked(), 2 * unit_stake());
		blocks(RESULT_WINDOW + 2);
		assert!(standing(id).is_none());
		assert_eq!(staked(), unit_stake(), "of the other unit, which still runs");
	});
}

#[test]
fn an_audit_that_is_not_answered_costs_the_stake_and_opens_the_unit_again() {
	with_units(|task, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		block(&OTHER, || computed.submit());
		let bond = || pallet_workers::Workers::<Runtime>::get(MINER).unwrap().bond;
		let before = bond();
		blocks(1 + AUDIT_WINDOW);
		assert!(standing(units[0].id).is_some());
		blocks(2);
		assert!(standing(units[0].id).is_none());
		assert_eq!(before - bond(), unit_stake());
		let info = info(task);
		assert_eq!(info.accepted_macs, 0);
		// It was given out again in the same block.
		assert!(assignments(&MINER).iter().any(|other| other.unit == units[0].unit && other.id != units[0].id));
	});
}

#[test]
fn a_wrong_block_that_the_audit_asks_for_is_found() {
	// The worker says that all its outputs are something else: whatever the audit draws, it cannot show it.
	with_units(|_, units| {
		let mut computed = compute(&units[0], &[initial_parameter()]);
		let ops = training_graph().ops.len() * 2;
		computed.output.trace.0[..ops].fill(Commitment::of(&[7; 1024]));
		computed.output.parameters[0].0 = Commitment::of(&[7; 1024]);
		block(&OTHER, || computed.submit());
		blocks(1);
		block(&OTHER, || {
			for claim in demands(units[0].id) {
				let shown = computed.answer(&claim).expect("honest tensors, another trace");
				assert_noop!(answer(&MINER, units[0].id, claim, shown), DisputeError::BadOpening);
			}
		});
	});
}

/// Plays a dispute to its end: the challenger knows the right unit, the worker answers what it can, audits too. Gives the claims that
/// were made, and why the result fell.
fn dispute(right: &Computed, said: &Computed) -> (Vec<Claim>, Option<Fault>) {
	let spec = training_spec();
	let program = spec.check().unwrap();
	let id = said.assignment.id;
	let (mut shown, mut asked) = (Shown::new(), Vec::new());
	for _ in 0..40 {
		begin(&OTHER);
		assert_ok!(prove(idle_proof()));
		for claim in demands(id) {
			let Some(given) = said.answer(&claim) else { continue };
			if answer(&MINER, id, claim, given.clone()).is_ok() {
				shown.insert(claim, given);
			}
		}
		let fault = fell(id);
		if let (None, Some(result)) = (fault, standing(id)) {
			let Next::Ask(claim) = next(&spec, &program, &result, right, &shown) else { return (asked, None) };
			if !demands(id).contains(&claim) {
				assert_ok!(challenge(id, claim));
				asked.push(claim);
			}
		}
		end();
		if fault.is_some() {
			return (asked, fault);
		}
	}
	panic!("the search does not end: {asked:?}");
}

#[test]
fn a_lie_about_any_op_is_found_by_a_challenge() {
	let ops = training_graph().ops.len() as u32;
	for op in 0..2 * ops {
		with_units(|_, units| {
			let right = compute(&units[0], &[initial_parameter()]);
			let mut said = compute(&units[0], &[initial_parameter()]).lie(op);
			// The last update is what the result says its parameters are.
			said.output.parameters[0].0 = said.output.trace.0[(2 * ops - 2) as usize];
			block(&OTHER, || said.submit());
			let (asked, fault) = dispute(&right, &said);
			assert_eq!(fault, Some(Fault::Silence), "there is no tensor with that commitment: {asked:?}");
			assert!(asked.len() <= 3, "{asked:?}");
			assert_eq!(held(&CHALLENGER), 0, "every bond returned");
			let bond = pallet_workers::Workers::<Runtime>::get(MINER).unwrap().bond;
			assert_eq!(4 * SLOT_BOND - bond, unit_stake());
		});
	}
}

#[test]
fn a_lie_about_the_metrics_is_shown_to_be_one() {
	with_units(|_, units| {
		let right = compute(&units[0], &[initial_parameter()]);
		let said = compute(&units[0], &[initial_parameter()]).lie_about_the_metrics();
		block(&OTHER, || said.submit());
		let (asked, fault) = dispute(&right, &said);
		assert_eq!(asked.last(), Some(&Claim::Metrics { step: 1 }));
		assert_eq!(fault, Some(Fault::WrongBlock), "its own answer proves it wrong");
	});
}

#[test]
fn a_false_challenge_pays_the_worker() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		block(&OTHER, || computed.submit());
		let id = units[0].id;
		let claim = Claim::Block { op: OpIndex(1), block: BlockIndex { row: 0, col: 0 } };
		block(&OTHER, || {
			assert_ok!(challenge(id, claim));
			assert_noop!(challenge(id, claim), DisputeError::AlreadyDemanded);
		});
		assert_eq!(held(&CHALLENGER), CHALLENGE_BOND);
		let (worker, issuance) = (free(&MINER), Balances::total_issuance());
		block(&SPONSOR, || {
			// Anyone may answer for it; the worker is paid, not who answered.
			let poor = free(&SPONSOR);
			assert_ok!(answer(&SPONSOR, id, claim, computed.answer(&claim).unwrap()));
			assert_eq!(free(&SPONSOR), poor);
			assert_eq!(free(&MINER) - worker, CHALLENGE_BOND / 2);
			assert_noop!(answer(&SPONSOR, id, claim, computed.answer(&claim).unwrap()), DisputeError::NoSuchDemand);
		});
		assert_eq!(held(&CHALLENGER), 0);
		assert_eq!(issuance + BLOCK_REWARD / 10 - Balances::total_issuance(), CHALLENGE_BOND / 2, "the rest is burned");
	});
}

#[test]
fn a_flood_of_challenges_costs_ever_more() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		block(&OTHER, || computed.submit());
		let id = units[0].id;
		let claim = |col| Claim::Block { op: OpIndex(0), block: BlockIndex { row: col, col: 0 } };
		block(&OTHER, || {
			let mut open = 0;
			while challenge(id, claim(open)).is_ok() {
				open += 1;
			}
			assert!(open < 16, "{open}");
			let bonds: labora_runtime::Balance = (0..open).map(|open| challenge_bond(CHALLENGE_BOND, open)).sum();
			assert_eq!(held(&CHALLENGER), bonds);
			assert!(bonds + free(&CHALLENGER) < 2 * ENDOWMENT);
		});
		block(&MINER, || answer_all(&computed));
		assert_eq!(held(&CHALLENGER), 0);
		assert!(free(&MINER) > ENDOWMENT, "the worker earns by it");
	});
}

#[test]
fn what_was_built_on_a_wrong_result_is_void_and_the_task_goes_on_from_there() {
	new_chain().execute_with(|| {
		let spec = training_spec();
		let task = block(&OTHER, || {
			register_worker(&MINER, 8);
			register_worker(&SPONSOR, 8);
			register_task(spec.clone(), 100 * PRICE)
		});
		let of = |unit| {
			let all: Vec<_> = assignments(&MINER).into_iter().chain(assignments(&SPONSOR)).collect();
			all.into_iter().find(|assignment| assignment.unit.kind == unit).expect("assigned")
		};
		// Unit 0 lies about its parameters; unit 1, the merge and the next round build on them.
		let (first, second) = (of(UnitKind::Steps(0)), of(UnitKind::Steps(1)));
		let ops = training_graph().ops.len() as u32;
		let mut lie = compute(&first, &[initial_parameter()]);
		let wrong = initial_parameter();
		lie.output.parameters[0] = (wrong.commitment(), Arc::new(wrong));
		lie.output.trace.0[(2 * ops - 2) as usize] = lie.output.parameters[0].0;
		let right = compute(&first, &[initial_parameter()]);
		let other = compute(&second, &[initial_parameter()]);
		block(&OTHER, || {
			assert_ok!(submit(&first.worker, first.id, result_of(&spec, &first, &lie.output)));
			assert_ok!(submit(&second.worker, second.id, result_of(&spec, &second, &other.output)));
		});
		let sets: Vec<Vec<Arc<Tensor>>> =
			[&lie, &other].map(|unit| unit.output.parameters.iter().map(|(_, tensor)| tensor.clone()).collect()).into();
		let merge_unit = of(UnitKind::Merge);
		let (merged, result) = merge(&sets);
		assert_ok!(block(&OTHER, || submit(&merge_unit.worker, merge_unit.id, result)));
		let built = of(UnitKind::Steps(0));
		assert_eq!(built.unit.round, 1);
		let later = compute(&built, &merged);
		assert_ok!(block(&OTHER, || submit(&built.worker, built.id, result_of(&spec, &built, &later.output))));
		assert_eq!(info(task).round, 1);
		let running = of(UnitKind::Steps(1));

		// The lie is found. The unit's worker has the tensor that it lied with.
		let program = spec.check().unwrap();
		let position = OpIndex(2 * ops - 2);
		let result = standing(first.id).unwrap();
		let shown = Shown::new();
		assert!(matches!(next(&spec, &program, &result, &right, &shown), Next::Ask(Claim::Trace { .. })));
		let claim = Claim::Block { op: position, block: BlockIndex { row: 0, col: 0 } };
		block(&OTHER, || {
			assert_ok!(challenge(first.id, claim));
		});
		let issuance = Balances::total_issuance();
		block(&OTHER, || {
			let mut given = right.answer(&claim).unwrap().into_inner();
			let initial = initial_parameter();
			let opened = given.last_mut().unwrap();
			let chunks = labora_tensor::ChunkSet::block(
				PARAMETER,
				labora_tensor::ElementType::I32,
				BlockIndex { row: 0, col: 0 },
			);
			opened.data = initial.open(&chunks.unwrap()).unwrap();
			for (opened, op) in given.iter_mut().filter(|opened| opened.trace.is_some()).zip([5 + 2, 3, position.0]) {
				opened.trace = lie.output.trace.open(OpIndex(op));
			}
			assert_ok!(answer(&OTHER, first.id, claim, Answer::truncate_from(given)));
			let again = right.answer(&claim).unwrap();
			assert_noop!(answer(&OTHER, first.id, claim, again), DisputeError::TooLate);
		});
		block(&OTHER, || {
			assert_eq!(fell(first.id), Some(Fault::WrongBlock));
		});
		assert!(Balances::total_issuance() < issuance + BLOCK_REWARD);

		let now = info(task);
		assert_eq!((now.round, now.phase), (0, Phase::Units));
		assert_eq!(now.accepted_macs, now.unit_macs, "only the other unit's");
		assert!(standing(merge_unit.id).is_none(), "the merge is gone");
		assert!(standing(built.id).is_some_and(|result| result.void && result.price == 0));
		assert!(pallet_workers::Assignments::<Runtime>::get(running.id).is_none(), "nobody computes on it");
		assert!(pallet_tasks::RoundParameters::<Runtime>::get(task, 1).is_none());
		assert!(standing(second.id).is_some_and(|result| !result.void), "it did not build on the lie");

		// The task goes on to the same model that it would have got.
		let again = of(UnitKind::Steps(0));
		assert_eq!(again.unit.round, 0);
		let sets: Vec<Vec<Arc<Tensor>>> = [&right, &other]
			.map(|unit| unit.output.parameters.iter().map(|(_, tensor)| tensor.clone()).collect())
			.into();
		let (honest, honest_result) = merge(&sets);
		let output = compute(&again, &[initial_parameter()]).output;
		assert_ok!(block(&OTHER, || submit(&again.worker, again.id, result_of(&spec, &again, &output))));
		let merge_unit = of(UnitKind::Merge);
		assert_ok!(block(&OTHER, || submit(&merge_unit.worker, merge_unit.id, honest_result)));
		let now = info(task);
		assert_eq!((now.round, now.parameters.to_vec()), (1, vec![honest[0].commitment()]));
	});
}

#[test]
fn a_wrong_merge_falls_and_only_the_merge_is_done_again() {
	with_units(|task, units| {
		let spec = training_spec();
		let mut sets = Vec::new();
		for unit in &units {
			let computed = compute(unit, &[initial_parameter()]);
			block(&OTHER, || computed.submit());
			sets.push(computed.output.parameters.into_iter().map(|(_, tensor)| tensor).collect::<Vec<_>>());
		}
		let merge_unit = assignments(&MINER).into_iter().find(|other| other.unit.kind == UnitKind::Merge).unwrap();
		let (_, mut wrong) = merge(&[sets[0].clone()]);
		wrong.metrics = Default::default();
		assert_ok!(block(&OTHER, || submit(&MINER, merge_unit.id, wrong)));
		assert_eq!(info(task).round, 1);

		let program = spec.check().unwrap();
		let (merged, _) = merge(&sets);
		let right = (Trace(merged.iter().map(Tensor::commitment).collect()), merged.clone());
		let mut shown = Shown::new();
		let said: Vec<_> = sets[0].clone();
		let witness = MergeWitness { spec: &spec, program: &program, sets: &sets, merged: &said };
		let mut claims = Vec::new();
		while let Some(result) = standing(merge_unit.id) {
			let Next::Ask(claim) = next(&spec, &program, &result, &right, &shown) else { panic!("it is wrong") };
			claims.push(claim);
			block(&OTHER, || {
				assert_ok!(challenge(merge_unit.id, claim));
			});
			block(&OTHER, || {
				let given = witness.answer(&claim).unwrap();
				assert_ok!(answer(&MINER, merge_unit.id, claim, given.clone()));
				shown.insert(claim, given);
			});
			if claim.is_decisive() {
				blocks(1);
			}
		}
		assert!(matches!(claims[..], [Claim::Nodes { .. }, Claim::Merged { .. }]), "{claims:?}");
		let now = info(task);
		assert_eq!((now.round, now.phase, now.accepted_macs), (0, Phase::Merge, 2 * now.unit_macs));
	});
}

#[test]
fn answers_and_challenges_that_are_none_are_named() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		let id = units[0].id;
		block(&OTHER, || {
			let claim = Claim::Metrics { step: 0 };
			assert_noop!(challenge(id, claim), DisputeError::NoStandingResult);
			computed.submit();
			assert_noop!(challenge(id, Claim::Metrics { step: 2 }), DisputeError::NoSuchPart);
			assert_noop!(
				challenge(id, Claim::Merged { parameter: 0, block: BlockIndex { row: 0, col: 0 } }),
				DisputeError::NoSuchPart
			);
			let outside = BlockIndex { row: u32::MAX, col: u32::MAX };
			assert_noop!(
				challenge(id, Claim::Block { op: OpIndex(u32::MAX), block: outside }),
				DisputeError::NoSuchPart
			);
			assert_noop!(challenge(id, Claim::Block { op: OpIndex(0), block: outside }), DisputeError::NoSuchPart);
			for (first, count) in [(0, 0), (0, 65), (1, 1), (u32::MAX, u32::MAX)] {
				assert_noop!(challenge(id, Claim::Trace { first, count }), DisputeError::NoSuchPart);
			}
			for (granule, first, count) in
				[(0, 0, 1), (3, 0, 1), (1, 0, u64::MAX), (u64::MAX, u64::MAX, 1), (1 << 63, 0, 1)]
			{
				let nodes = Claim::Nodes { op: OpIndex(0), granule, first, count };
				assert_noop!(challenge(id, nodes), DisputeError::NoSuchPart);
			}
			assert_noop!(Disputes::challenge(RuntimeOrigin::signed(POOR), id, claim), DisputeError::BondTooSmall);
			assert_ok!(challenge(id, claim));
			let good = computed.answer(&claim).unwrap();
			let with = |change: &dyn Fn(&mut Vec<labora_primitives::Opened>)| {
				let mut forged = good.clone().into_inner();
				change(&mut forged);
				Answer::truncate_from(forged)
			};
			let refused = |forged: Answer, error: DisputeError| {
				assert_noop!(answer(&MINER, id, claim, forged), error);
			};
			refused(with(&|parts| parts.clear()), DisputeError::WrongCount);
			refused(with(&|parts| parts.push(Default::default())), DisputeError::WrongCount);
			refused(with(&|parts| parts[0].trace = None), DisputeError::WrongCount);
			refused(with(&|parts| parts[0].data.data[5] ^= 1), DisputeError::BadOpening);
			refused(with(&|parts| parts[0].data.data.truncate(8)), DisputeError::BadOpening);
			let changed = |parts: &mut Vec<labora_primitives::Opened>| parts[1].trace.as_mut().unwrap().data[0] ^= 1;
			refused(with(&changed), DisputeError::BadTraceOpening);
			refused(with(&|parts| parts[1].data.data.push(0)), DisputeError::WrongCount);
			assert_noop!(answer(&MINER, id, Claim::Metrics { step: 1 }, good.clone()), DisputeError::NoSuchDemand);
			assert_ok!(answer(&MINER, id, claim, good.clone()));
		});
		// When the window is over there is nothing to challenge.
		for _ in 0..RESULT_WINDOW + FOLLOW_UP_WINDOW + 2 {
			block(&OTHER, || answer_all(&computed));
		}
		block(&OTHER, || {
			assert_noop!(challenge(id, Claim::Metrics { step: 0 }), DisputeError::NoStandingResult);
		});
	});
}

#[test]
fn a_window_is_kept_open_no_longer_than_a_search_takes() {
	with_units(|_, units| {
		let computed = compute(&units[0], &[initial_parameter()]);
		let id = units[0].id;
		let result = block(&OTHER, || computed.submit());
		// Whoever asks again and again, for something that decides nothing, holds up the payment of the task's later results.
		let claim = Claim::Trace { first: 0, count: 1 };
		let (mut last, mut asked) = (result.due, 0);
		while let Some(standing) = standing(id) {
			last = standing.due;
			block(&OTHER, || asked += u32::from(challenge(id, claim).is_ok()));
			block(&OTHER, || answer_all(&computed));
		}
		let most = 6 * (ANSWER_WINDOW + result.took / 4 + FOLLOW_UP_WINDOW);
		assert_eq!(last, result.due + most, "{asked} challenges");
		// The last demand may be made in the last block; then it is paid, and this looks at every second block.
		assert!(System::block_number() <= last + ANSWER_WINDOW + result.took / 4 + 1 + 2);
		assert_eq!(fell(id), None);
	});
}

/// A runtime before this one noted an audit's end only when it drew the audit, in lists that could be full.
#[test]
fn an_upgrade_notes_the_ends_of_audits_and_demands_anew() {
	with_units(|_, units| {
		let said: Vec<_> = units.iter().map(|unit| compute(unit, &[initial_parameter()])).collect();
		let [challenged, fresh] = [units[0].id, units[1].id];
		block(&OTHER, || said[0].submit());
		blocks(2);
		block(&OTHER, || {
			answer_all(&said[0]);
			challenge(challenged, Claim::Trace { first: 0, count: 1 }).unwrap();
			said[1].submit();
		});
		let _ = pallet_disputes::Due::<Runtime>::clear(u32::MAX, None);
		let _ = pallet_disputes::DueCount::<Runtime>::clear(u32::MAX, None);
		pallet_disputes::DueFrom::<Runtime>::kill();
		migrations::v1::FullBefore::<Runtime>::insert(challenged, 3);
		migrations::v1::DueAt::<Runtime>::insert(7, frame_support::BoundedVec::truncate_from(vec![challenged]));
		StorageVersion::new(1).put::<Disputes>();
		assert_ne!(Executive::execute_on_runtime_upgrade(), Default::default());
		assert_eq!(StorageVersion::get::<Disputes>(), pallet_disputes::STORAGE_VERSION);
		assert_eq!(migrations::v1::FullBefore::<Runtime>::iter().count(), 0);
		assert_eq!(migrations::v1::DueAt::<Runtime>::iter().count(), 0);
		// Drawn, not answered, and found out: the invariants hold after each block.
		let mut fallen = Vec::new();
		for _ in 0..2 + ANSWER_WINDOW + 3 {
			block(&OTHER, || ());
			fallen.extend([challenged, fresh].into_iter().filter(|id| fell(*id) == Some(Fault::Silence)));
		}
		assert_eq!(fallen, [challenged, fresh]);
	});
}

#[test]
fn a_result_waits_for_an_older_one_of_its_task_and_is_paid_with_it() {
	with_units(|_, units| {
		let [one, other] = [0, 1].map(|unit| compute(&units[unit], &[initial_parameter()]));
		let ids = [units[0].id, units[1].id];
		let stand = || ids.map(|id| standing(id).is_some());
		block(&OTHER, || {
			one.submit();
			other.submit();
		});
		// The younger one is right, and nobody doubts it; the older one's window is kept open for as long as may be.
		let last = standing(ids[1]).unwrap().due;
		while standing(ids[0]).is_some() {
			block(&OTHER, || {
				let _ = challenge(ids[0], Claim::Trace { first: 0, count: 1 });
			});
			block(&OTHER, || [&one, &other].map(answer_all));
			assert_eq!(stand()[0], stand()[1], "paid in one block");
			assert!(pallet_tasks::MaturingAt::<Runtime>::iter_values().flatten().count() <= 1, "one is looked at");
		}
		assert!(System::block_number() > last + ANSWER_WINDOW);
	});
}

#[test]
fn a_bond_is_locked_while_something_is_at_stake_and_for_a_while_after() {
	with_units(|_, units| {
		type WorkerError = pallet_workers::Error<Runtime>;
		let origin = || RuntimeOrigin::signed(MINER);
		block(&OTHER, || {
			assert_noop!(Workers::withdraw(origin()), WorkerError::NotLeaving);
			assert_ok!(Workers::bond_more(origin(), LAB));
			assert_ok!(Workers::leave(origin()));
			assert_noop!(Workers::leave(origin()), WorkerError::AlreadyLeaving);
			assert_noop!(Workers::bond_more(origin(), LAB), WorkerError::AlreadyLeaving);
			assert_noop!(Workers::withdraw(origin()), WorkerError::StillUnbonding);
		});
		let computed = compute(&units[0], &[initial_parameter()]);
		block(&OTHER, || computed.submit());
		// The other unit is missed: until then it could seal blocks, and from then on the time counts.
		for _ in 0..UNBONDING_BLOCKS + 20 {
			block(&OTHER, || answer_all(&computed));
		}
		block(&OTHER, || {
			assert_ok!(Workers::withdraw(origin()));
		});
		assert_eq!(held(&MINER), 0);
		block(&OTHER, || register_worker(&MINER, 1));
	});
}

/// A header that its author sealed. The state's root is that of no state.
fn sealed_by(pair: &sp_core::sr25519::Pair, height: u32, parent: Hash, state: u8) -> Box<Header> {
	let author = labora_primitives::AccountId::from(pair.public());
	let logs = vec![DigestItem::PreRuntime(pallet_work::ENGINE_ID, codec::Encode::encode(&author))];
	let mut header =
		Header::new(height, Default::default(), [state; 32].into(), parent, sp_runtime::generic::Digest { logs });
	let seal = pair.sign(header.hash().as_bytes());
	header.digest_mut().push(DigestItem::Seal(pallet_work::ENGINE_ID, seal.0.to_vec()));
	Box::new(header)
}

#[test]
fn keys_that_cost_nothing_leave_a_height_room_for_reports_of_workers() {
	use frame_support::traits::fungible::Mutate;
	let key = |index: u8| sp_core::sr25519::Pair::from_seed(&[index; 32]);
	let account = |index| labora_primitives::AccountId::from(key(index).public());
	new_chain().execute_with(|| {
		const PLACES: u8 = pallet_disputes::MAX_REPORTS_PER_HEIGHT as u8 / 2;
		block(&OTHER, || {
			for index in 1..=PLACES + 1 {
				assert_ok!(<Balances as Mutate<_>>::mint_into(&account(index), LAB));
			}
			assert_ok!(<Balances as Mutate<_>>::mint_into(&account(100), ENDOWMENT));
			register_worker(&account(100), 1);
		});
		block(&OTHER, || {
			let parent = System::block_hash(1);
			let report = |index| {
				let [first, second] = [1, 2].map(|state| sealed_by(&key(index), 2, parent, state));
				Disputes::report_equivocation(RuntimeOrigin::signed(SPONSOR), first, second)
			};
			for index in 1..=PLACES {
				assert_ok!(report(index));
			}
			assert_noop!(report(PLACES + 1), DisputeError::TooManyReports);
			assert_ok!(report(100));
		});
	});
}

#[test]
fn two_sealed_headers_on_one_parent_are_punished_once() {
	let pair = sp_core::sr25519::Pair::from_seed(&[5; 32]);
	let author = labora_primitives::AccountId::from(pair.public());
	let header_on = |height: u32, parent: Hash, state: u8| sealed_by(&pair, height, parent, state);
	let header = |height: u32, state: u8| header_on(height, System::block_hash(height - 1), state);
	let report = |first, second| Disputes::report_equivocation(RuntimeOrigin::signed(SPONSOR), first, second);
	new_chain().execute_with(|| {
		blocks(1);
		block(&OTHER, || {
			use frame_support::traits::fungible::Mutate;
			assert_noop!(report(header(2, 1), header(2, 2)), DisputeError::NothingAtStake);
			assert_ok!(<Balances as Mutate<_>>::mint_into(&author, ENDOWMENT));
			register_worker(&author, 2);
		});
		block(&OTHER, || {
			let once = header(2, 1);
			assert_noop!(report(once.clone(), once), DisputeError::NoEquivocation);
			assert_noop!(report(header(2, 1), header_on(2, [9; 32].into(), 1)), DisputeError::NoEquivocation);
			assert_noop!(report(header(2, 1), header(3, 1)), DisputeError::NoEquivocation);
			let never = |state| header_on(2, [9; 32].into(), state);
			assert_noop!(report(never(1), never(2)), DisputeError::UnknownParent);
			assert_noop!(report(header(9, 1), header(9, 2)), DisputeError::UnknownParent);
			let mut unsealed = header(2, 2);
			unsealed.digest_mut().pop();
			assert_noop!(report(header(2, 1), unsealed), DisputeError::BadSeal);
			let mut forged = header(2, 2);
			forged.extrinsics_root = [9; 32].into();
			assert_noop!(report(header(2, 1), forged), DisputeError::BadSeal);
			let mut nobody = header(2, 2);
			nobody.digest_mut().logs.remove(0);
			assert_noop!(report(header(2, 1), nobody), DisputeError::NotOneAuthor);

			let (reporter, bond) = (free(&SPONSOR), held(&author));
			assert_ok!(report(header(2, 1), header(2, 2)));
			assert_eq!(bond - held(&author), EQUIVOCATION_SLASH);
			assert_eq!(free(&SPONSOR) - reporter, EQUIVOCATION_SLASH / 2);
			assert_noop!(report(header(2, 2), header(2, 1)), DisputeError::AlreadyReported);
			assert_noop!(report(header(2, 1), header(2, 3)), DisputeError::AlreadyReported);
			assert_ok!(report(header(3, 1), header(3, 2)));
			// Its bond is spent; what it has beside it is not.
			let before = free(&author);
			assert_ok!(report(header(1, 1), header(1, 2)));
			assert_eq!(before - free(&author), EQUIVOCATION_SLASH);
		});
		blocks(REPORT_AGE);
		block(&OTHER, || {
			assert_noop!(report(header(1, 1), header(1, 2)), DisputeError::TooOld);
		});
		assert_eq!(pallet_disputes::Reports::<Runtime>::iter().count(), 0, "they are forgotten");
	});
}

#[test]
fn a_bond_that_is_at_stake_cannot_be_saved_by_a_friends_report() {
	let pair = sp_core::sr25519::Pair::from_seed(&[5; 32]);
	let author = labora_primitives::AccountId::from(pair.public());
	new_chain().execute_with(|| {
		block(&OTHER, || {
			use frame_support::traits::fungible::Mutate;
			assert_ok!(<Balances as Mutate<_>>::mint_into(&author, ENDOWMENT));
			register_worker(&author, 2);
			register_task(training_spec(), 100 * PRICE)
		});
		let units = assignments(&author);
		assert_eq!(units.len(), 2);
		let staked: labora_runtime::Balance = units.iter().map(|unit| unit.stake).sum();
		let unstaked = 2 * SLOT_BOND - staked;
		assert!(0 < unstaked - EQUIVOCATION_SLASH && unstaked - EQUIVOCATION_SLASH < EQUIVOCATION_SLASH);
		block(&OTHER, || {
			let report = |height: u32| {
				let parent = System::block_hash(height - 1);
				let [first, second] = [1, 2].map(|state| sealed_by(&pair, height, parent, state));
				let before = free(&CHALLENGER);
				assert_ok!(Disputes::report_equivocation(RuntimeOrigin::signed(CHALLENGER), first, second));
				free(&CHALLENGER) - before
			};
			assert_eq!(report(1), EQUIVOCATION_SLASH / 2);
			assert_eq!(report(2), (unstaked - EQUIVOCATION_SLASH) / 2);
			assert_eq!(pallet_workers::Workers::<Runtime>::get(&author).unwrap().bond, 0);
		});
	});
}

/// An audit alone finds a lie about one op's output in all steps as often as the formula of the stake says, and one changed element
/// of one tensor as often as its block is drawn.
#[test]
fn the_audit_finds_as_often_as_the_formula_says() {
	let spec = training_spec();
	let program = spec.check().unwrap();
	let ops = program.ops();
	let (mut op_found, mut block_found) = (0u32, 0u32);
	const UNITS: u32 = 20_000;
	let target = Claim::Block { op: OpIndex(0), block: BlockIndex { row: 3, col: 0 } };
	for unit in 0..UNITS {
		let seed = sp_io::hashing::blake2_256(&unit.to_le_bytes());
		let claims = spec.audit(&program, UnitKind::Steps(0), &seed, AUDIT_STEPS, AUDIT_BLOCKS);
		let of_op = |claim: &Claim| matches!(claim, Claim::Block { op, .. } if op.0 % ops == 1);
		op_found += u32::from(claims.iter().any(of_op));
		block_found += u32::from(claims.contains(&target));
	}
	let draws = u32::from(AUDIT_STEPS) * u32::from(AUDIT_BLOCKS);
	let expected = 1.0 - labora_primitives::money::miss_probability(ops, draws) as f64 / 1e9;
	let found = f64::from(op_found) / f64::from(UNITS);
	assert!((found - expected).abs() < 0.015, "{found} {expected}");
	// One block of eight, of one op of five, in one step of two: a draw hits it once in 80.
	let in_step = 1.0 - (1.0 - 1.0 / 40.0f64).powi(AUDIT_BLOCKS.into());
	let expected = 1.0 - (1.0 - in_step / 2.0).powi(AUDIT_STEPS.into());
	let found = f64::from(block_found) / f64::from(UNITS);
	assert!((found - expected).abs() < 0.01, "{found} {expected}");
}
