//! `pallet-disputes`.

use alloc::{boxed::Box, vec, vec::Vec};
use codec::Encode;
use frame_benchmarking::v2::*;
use frame_support::{
	dispatch::DispatchClass,
	traits::{Hooks, OnInitialize},
	weights::Weight,
};
use labora_graph::{OpIndex, Program};
use labora_primitives::{
	answer_chunks,
	limits::{MAX_DEMANDS, MAX_SEALS, MAX_STANDING, MAX_UNITS},
	Answer, AssignmentId, Claim, Demand, Opened, Phase, TaskId, TaskSpec, UnitKind, UnitRef, UnitState, KEY_TYPE,
};
use labora_tensor::{BlockIndex, ChunkSet, Commitment, ElementType, Opening, CHUNK_BYTES};
use pallet_disputes::{
	AuditAt, Demands, Due, DueCount, Falling, FallingPlaces, FullBlocks, Reports, MAX_AUDITS_PER_BLOCK,
	MAX_DUE_PER_BLOCK, MAX_REPORTS_PER_HEIGHT,
};
use pallet_tasks::{Standing, StandingOf};
use pallet_work::ENGINE_ID;
use sp_core::bounded::BoundedVec;
use sp_runtime::{traits::Hash as _, Digest, DigestItem};

use super::setup::*;
use crate::{constants::*, AccountId, Disputes, Hash, Header, Runtime, RuntimeOrigin, System};

/// The pallet.
pub struct Pallet<T>(core::marker::PhantomData<T>);
/// Only this runtime.
pub trait Config: frame_system::Config<AccountId = AccountId> {}
impl Config for Runtime {}

const ID: AssignmentId = AssignmentId(0);
/// The last step of a unit.
const LAST: u32 = labora_primitives::limits::MAX_STEPS - 1;

/// A claim that nothing else is.
fn some_claim(number: u32) -> Claim {
	Claim::Trace { first: number, count: 1 }
}

/// A challenge of this account.
fn demand(claim: Claim, who: AccountId, due: u32) -> Demand {
	hold(pallet_disputes::HoldReason::Challenge, &who, CHALLENGE_BOND);
	Demand { claim, by: Some((who, CHALLENGE_BOND)), due, proven: false }
}

/// Demands on a result: as many as may be but for `room`, half of them challenges.
fn fill_demands(id: AssignmentId, room: u32, due: u32) -> Vec<Demand> {
	let challenges = (room..MAX_DEMANDS / 2).map(|number| demand(some_claim(number), rich("other", number), due));
	let audit =
		(MAX_DEMANDS / 2..MAX_DEMANDS).map(|number| Demand { claim: some_claim(number), by: None, due, proven: false });
	let demands: Vec<_> = challenges.chain(audit).collect();
	Demands::<Runtime>::insert(id, BoundedVec::truncate_from(demands.clone()));
	demands
}

/// Has the block look at a result.
fn note(id: AssignmentId) {
	let place = DueCount::<Runtime>::get(CLOCK);
	Due::<Runtime>::insert((CLOCK, place), id);
	DueCount::<Runtime>::insert(CLOCK, place + 1);
}

/// A standing result of the last unit of a task.
fn result(spec: &TaskSpec, kind: UnitKind, root: Commitment) -> (AccountId, TaskId) {
	let who = worker("worker", 0);
	begin(&who);
	let (task, _) = task(0, spec, Phase::Units, vec![UnitState::Accepted]);
	standing(ID.0, &who, UnitRef { task, round: 1, kind }, NOW, root);
	let all: Vec<_> = (0..u64::from(MAX_STANDING)).map(AssignmentId).collect();
	StandingOf::<Runtime>::insert(task, BoundedVec::truncate_from(all));
	(who, task)
}

/// A challenge of a product of the last step, and the answer, of about `chunks` chunks: the state in which it is right.
fn product_answer(chunks: u32) -> Result<(Claim, Answer), BenchmarkError> {
	let blocks = (chunks.saturating_sub(8) / 2).max(labora_graph::MIN_ELIGIBLE_K / 32);
	let mut spec = training(blocks, 1, PARAMETERS);
	let program: Program = spec.check().map_err(|_| "a good task")?;
	let (left, right) = (tensor_bytes(blocks), tensor_bytes(blocks));
	spec.dataset.features = Commitment::of(&left);
	let op = OpIndex(LAST * OPS + u32::from(PRODUCT));
	let block = BlockIndex { row: 0, col: 0 };
	let output = program.eval_block(op, block, &[&left, &right], &spec.context(1, 0)).map_err(|_| "a block")?;
	let output = output.to_bytes();
	let set = [(op.0 - 1, Commitment::of(&right)), (op.0, Commitment::of(&output))];
	let trace = Trace::new(program.trace_entries(spec.job.steps()), &set);
	let places = spec.places(&program, 1, 0, op, block).ok_or("a block")?;
	let opened = [(None, &left), (Some(op.0 - 1), &right), (Some(op.0), &output)];
	let answer = opened.iter().zip(&places).map(|((entry, bytes), place)| {
		let trace = entry.map(|entry| trace.open(entry));
		Opened { trace, data: Opening::of(bytes, &place.chunks).unwrap_or_default() }
	});
	let answer = Answer::truncate_from(answer.collect());
	let claim = Claim::Block { op, block };
	result(&spec, UnitKind::Steps(0), trace.root());
	let mut demands = fill_demands(ID, 1, CLOCK);
	demands.push(demand(claim, rich("challenger", 0), CLOCK));
	Demands::<Runtime>::insert(ID, BoundedVec::truncate_from(demands));
	Ok((claim, answer))
}

fn header(author: sp_core::sr25519::Public, bytes: u32, number: u8) -> Result<Header, BenchmarkError> {
	let account: [u8; 32] = author.into();
	let mut logs = vec![DigestItem::PreRuntime(ENGINE_ID, account.to_vec())];
	// Many small logs: the dearest bytes.
	logs.extend((0..bytes / 2).map(|_| DigestItem::Other(Vec::new())));
	let mut header = Header {
		parent_hash: Hash::repeat_byte(3),
		number: NOW,
		state_root: Hash::repeat_byte(number),
		extrinsics_root: Hash::default(),
		digest: Digest { logs },
	};
	let sealed = sp_runtime::traits::BlakeTwo256::hash_of(&header);
	let seal = sp_io::crypto::sr25519_sign(KEY_TYPE, &author, sealed.as_ref()).ok_or("a key of the host")?;
	header.digest.push(DigestItem::Seal(ENGINE_ID, seal.encode()));
	Ok(header)
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn challenge() -> Result<(), BenchmarkError> {
		let (_, _) = result(&training(8, 1, PARAMETERS), UnitKind::Steps(0), SOME);
		fill_demands(ID, 1, CLOCK);
		let who = rich("challenger", 0);
		let claim = Claim::Block { op: OpIndex(LAST * OPS + u32::from(PRODUCT)), block: BlockIndex { row: 0, col: 0 } };
		#[block]
		{
			Disputes::challenge(RuntimeOrigin::signed(who), ID, claim)?;
		}
		assert_eq!(Demands::<Runtime>::decode_len(ID), Some(MAX_DEMANDS as usize));
		Ok(())
	}

	/// What was shown is right. Chunks of strips of a product cost most: they are hashed, and computed with.
	#[benchmark]
	fn answer(c: Linear<32, 1024>) -> Result<(), BenchmarkError> {
		let (claim, shown) = product_answer(c)?;
		assert!(answer_chunks(&shown) <= c);
		#[block]
		{
			Disputes::answer(RuntimeOrigin::signed(person("anyone", 0)), ID, claim, shown)?;
		}
		assert_eq!(Demands::<Runtime>::decode_len(ID), Some(MAX_DEMANDS as usize - 1));
		Ok(())
	}

	/// The last opening is wrong.
	#[benchmark(extra)]
	fn answer_refused(c: Linear<32, 1024>) -> Result<(), BenchmarkError> {
		let (claim, mut shown) = product_answer(c)?;
		if let Some(byte) = shown.last_mut().and_then(|opened| opened.data.data.last_mut()) {
			*byte ^= 1;
		}
		let answered;
		#[block]
		{
			answered = Disputes::answer(RuntimeOrigin::signed(person("anyone", 0)), ID, claim, shown);
		}
		assert!(answered.is_err());
		Ok(())
	}

	/// What was shown of a merge of as many results as may be is right: beside what its chunks cost, their records are read.
	#[benchmark]
	fn answer_merged() -> Result<(), BenchmarkError> {
		let mut spec = training(8, MAX_UNITS, PARAMETERS);
		// One block each, which is the whole parameter.
		let bytes = vec![0u8; 4 * CHUNK_BYTES];
		let index = PARAMETERS as u8 - 1;
		let shape = spec.graph.parameters[usize::from(index)];
		let block = BlockIndex { row: 0, col: 0 };
		let chunks = ChunkSet::block(shape, ElementType::I32, block).ok_or("a block")?;
		let opening = Opening::of(&bytes, &chunks).ok_or("a block")?;
		let commitment = Commitment::of(&bytes);
		let set = vec![commitment; PARAMETERS as usize];
		spec.parameters = BoundedVec::truncate_from(set.clone());
		let (_, task) = result(&spec, UnitKind::Merge, SOME);
		Standing::<Runtime>::mutate_extant(ID, |result| result.parameters = spec.parameters.clone());
		records(task, 1);
		for number in 0..MAX_UNITS {
			pallet_tasks::Results::<Runtime>::mutate(task, (1, number), |record| {
				record.iter_mut().for_each(|record| record.parameters = spec.parameters.clone());
			});
		}
		let claim = Claim::Merged { parameter: index, block };
		let mut demands = fill_demands(ID, 1, CLOCK);
		demands.push(demand(claim, rich("challenger", 0), CLOCK));
		Demands::<Runtime>::insert(ID, BoundedVec::truncate_from(demands));
		let opened = Opened { trace: None, data: opening };
		let shown = Answer::truncate_from(vec![opened; usize::from(MAX_UNITS) + 1]);
		#[block]
		{
			Disputes::answer(RuntimeOrigin::signed(person("anyone", 0)), ID, claim, shown)?;
		}
		assert_eq!(Demands::<Runtime>::decode_len(ID), Some(MAX_DEMANDS as usize - 1));
		Ok(())
	}

	/// A result falls, and with it `v` others that stood, and a round's running units.
	#[benchmark]
	fn fall(v: Linear<0, 511>) -> Result<(), BenchmarkError> {
		let spec = training(8, MAX_UNITS, PARAMETERS);
		let (who, task) = result(&spec, UnitKind::Steps(0), SOME);
		reward(ID.0, &who, MAX_SEALS, OpIndex(0));
		pallet_workers::Workers::<Runtime>::mutate_extant(&who, |worker| worker.staked = STAKE);
		let rounds = v.div_ceil(MAX_UNITS.into());
		records(task, 1);
		for other in 1..=v {
			let (round, number) = (2 + (other - 1) / u32::from(MAX_UNITS), (other - 1) % u32::from(MAX_UNITS));
			let kind = UnitKind::Steps(number as u16);
			standing(other.into(), &rich("victim", other), UnitRef { task, round, kind }, NOW + 1, SOME);
			record(task, round, number as u16);
		}
		(2..=rounds + 2).for_each(|round| {
			pallet_tasks::RoundParameters::<Runtime>::insert(task, round, &spec.parameters);
		});
		let ids: Vec<_> = (0..=u64::from(v)).map(AssignmentId).collect();
		StandingOf::<Runtime>::insert(task, BoundedVec::truncate_from(ids));
		let round = rounds + 2;
		let mut states = Vec::new();
		for number in 0..MAX_UNITS {
			let id = 10_000 + u64::from(number);
			let victim = worker("running", number.into());
			assign(id, &victim, UnitRef { task, round, kind: UnitKind::Steps(number) });
			reward(id, &victim, MAX_SEALS, OpIndex(0));
			states.push(UnitState::Assigned(AssignmentId(id)));
		}
		pallet_tasks::Tasks::<Runtime>::mutate_extant(task, |info| {
			info.round = round;
			info.units = BoundedVec::truncate_from(states);
		});
		fill_demands(ID, 0, CLOCK - 1);
		note(ID);
		#[block]
		{
			<Disputes as OnInitialize<_>>::on_initialize(NOW);
		}
		assert!(!Standing::<Runtime>::contains_key(ID));
		assert!(v == 0 || Standing::<Runtime>::get(AssignmentId(v.into())).is_some_and(|result| result.void));
		assert_eq!(pallet_workers::Assignments::<Runtime>::iter_keys().count(), 0);
		Ok(())
	}

	/// Of two headers of `b` bytes.
	#[benchmark]
	fn report_equivocation(b: Linear<400, 65_536>) -> Result<(), BenchmarkError> {
		let reporter = rich("reporter", 0);
		begin(&reporter);
		let key = sp_io::crypto::sr25519_generate(KEY_TYPE, None);
		let author = AccountId::from(key);
		let worker = pallet_workers::Workers::<Runtime>::get(worker("author", 0));
		assert!(worker.is_some());
		frame_support::assert_ok!(<crate::Balances as frame_support::traits::fungible::Mutate<_>>::mint_into(
			&author,
			100_000 * LAB
		));
		hold(pallet_workers::HoldReason::Bond, &author, 10_000 * LAB);
		pallet_workers::Workers::<Runtime>::set(&author, worker);
		let each = (b / 2).saturating_sub(210);
		let (first, second) = (Box::new(header(key, each, 1)?), Box::new(header(key, each, 2)?));
		let reports: Vec<_> = (1..MAX_REPORTS_PER_HEIGHT).map(|index| person("old", index)).collect();
		Reports::<Runtime>::insert(NOW, BoundedVec::truncate_from(reports));
		#[block]
		{
			Disputes::report_equivocation(RuntimeOrigin::signed(reporter), first, second)?;
		}
		assert!(Reports::<Runtime>::get(NOW).contains(&author));
		Ok(())
	}

	/// `d` results are found overdue, one of which is gone when it falls; `a` audits are drawn, `g` results are gone, and the block is full.
	#[benchmark]
	fn hooks(
		d: Linear<0, MAX_DUE_PER_BLOCK>,
		a: Linear<0, MAX_AUDITS_PER_BLOCK>,
		g: Linear<0, MAX_DUE_PER_BLOCK>,
	) -> Result<(), BenchmarkError> {
		begin(&person("author", 0));
		let demands = |due: u32, count: u32| {
			let demand = |number| Demand { claim: some_claim(number), by: None, due, proven: false };
			BoundedVec::truncate_from((0..count).map(demand).collect())
		};
		for index in 0..d {
			let id = AssignmentId(1_000 + u64::from(index));
			Demands::<Runtime>::insert(id, demands(CLOCK - 1, MAX_DEMANDS));
			note(id);
		}
		for place in 0..g {
			Falling::<Runtime>::insert(place, AssignmentId(2_000 + u64::from(place)));
		}
		FallingPlaces::<Runtime>::put((0, g));
		let spec = training(8, 1, PARAMETERS);
		for index in 0..a {
			let id = u64::from(index);
			let (task, _) = task(index, &spec, Phase::Units, vec![UnitState::Accepted]);
			standing(id, &person("worker", index), unit(task, UnitKind::Steps(0)), NOW + 10, SOME);
			Demands::<Runtime>::insert(AssignmentId(id), demands(CLOCK, MAX_DEMANDS / 2));
			assert!(AuditAt::<Runtime>::try_append(NOW, AssignmentId(id)).is_ok());
		}
		System::register_extra_weight_unchecked(Weight::MAX, DispatchClass::Operational);
		#[block]
		{
			<Disputes as Hooks<_>>::on_initialize(NOW);
			<Disputes as Hooks<_>>::on_finalize(NOW);
		}
		let (first, free) = FallingPlaces::<Runtime>::get();
		// A block that has found so many gone lets none fall.
		let falls = u32::from(d > 0 && g < MAX_DUE_PER_BLOCK);
		assert_eq!(free - first, d - falls);
		assert_eq!(FullBlocks::<Runtime>::get(), 2);
		Ok(())
	}
}
