//! The states that benchmarks start from, written directly.

use alloc::{vec, vec::Vec};
use codec::Encode;
use frame_support::traits::{
	fungible::{Mutate, MutateHold},
	Get,
};
use labora_graph::{trace_chunk, Activation, Graph, Op, OpIndex, Rounding, Value};
use labora_primitives::{
	limits::{MAX_SLOTS, MAX_UNITS},
	money::merge_price,
	Assignment, AssignmentId, Dataset, Job, Phase, ResultRecord, Seal, StandingResult, TaskId, TaskInfo, TaskSpec,
	UnitKind, UnitMetrics, UnitRef, UnitState, Worker,
};
use labora_tensor::{Commitment, Opening, Shape, CHUNK_BYTES};
use pallet_work::HeldReward;
use sp_core::bounded::BoundedVec;
use sp_runtime::{Digest, DigestItem};

use crate::{constants::*, AccountId, Balance, Balances, BlockNumber, Runtime, RuntimeHoldReason, System};

/// The block that a benchmark is in. A span ends with it.
pub const NOW: BlockNumber = 100 * SPAN_BLOCKS;
/// Ops of a step: as many as may be.
pub const OPS: u32 = labora_graph::MAX_OPS;
/// Parameters of a graph: as many as may be.
pub const PARAMETERS: u32 = labora_graph::MAX_PARAMETERS;
/// A tensor whose content is of no interest.
pub const SOME: Commitment = Commitment([7; 32]);
/// Price of a unit.
pub const PRICE: Balance = LAB;
/// Blocks that a unit took.
pub const TOOK: BlockNumber = 10;
/// What a unit puts at stake.
pub const STAKE: Balance = 100 * LAB;
/// The op of [`graph`] that is a mined product: features by a parameter.
pub const PRODUCT: u8 = 1;
/// An op of [`graph`] that is a product of the outputs of ops.
pub const INNER_PRODUCT: u8 = OPS as u8 - 2;

/// An account.
pub fn person(name: &'static str, index: u32) -> AccountId {
	frame_benchmarking::account(name, index, 0)
}

/// An account with money.
pub fn rich(name: &'static str, index: u32) -> AccountId {
	let who = person(name, index);
	let minted = Balances::mint_into(&who, 1_000_000 * LAB);
	assert!(minted.is_ok());
	who
}

/// Holds part of an account's money.
pub fn hold(reason: impl Into<RuntimeHoldReason>, who: &AccountId, amount: Balance) {
	let held = Balances::hold(&reason.into(), who, amount);
	assert!(held.is_ok());
}

/// The time in that block: one of those before it was full.
pub const CLOCK: BlockNumber = NOW - 1;

/// Begins the block [`NOW`] of an author.
pub fn begin(author: &AccountId) {
	pallet_disputes::FullBlocks::<Runtime>::put(NOW - CLOCK);
	pallet_disputes::DueFrom::<Runtime>::put((CLOCK, 0));
	let digest = Digest { logs: vec![DigestItem::PreRuntime(pallet_work::ENGINE_ID, author.encode())] };
	System::set_block_number(NOW - 1);
	System::initialize(&NOW, &[3; 32].into(), &digest);
	pallet_work::Author::<Runtime>::put(author);
	pallet_timestamp::Now::<Runtime>::put(1_700_000_000_000);
}

fn product(a: Value, b: Value, transpose_a: bool) -> Op {
	let (rounding, activation) = (Rounding::Stochastic, Activation::Relu);
	Op::MatMul { a, b, transpose_a, transpose_b: false, shift: 8, rounding, activation }
}

/// A graph of [`OPS`] ops, whose product [`PRODUCT`] has an inner dimension of `blocks` blocks and strips that are the whole
/// operands. A training graph has metrics.
pub fn graph(blocks: u32, batch: u32, parameters: u32, training: bool) -> Graph {
	let first = Shape { rows: blocks * 32, cols: 32 };
	let other = Shape { rows: 32, cols: 32 };
	let mut ops = vec![Op::Quantize { parameter: 0, shift: 16 }, product(Value::Features, Value::Op(0), false)];
	if training {
		let update = |parameter, a| {
			let (b, transpose_b) = (Value::Op(2), false);
			Op::SgdUpdate { parameter, a, b, transpose_a: true, transpose_b, rate: 2 }
		};
		ops.push(Op::SoftmaxGradient { logits: Value::Op(1) });
		ops.push(Op::Metrics { logits: Value::Op(1) });
		ops.push(update(0, Value::Features));
		ops.extend((1..parameters as u8).map(|parameter| update(parameter, Value::Op(1))));
	}
	// Whatever fills the step: products are the longest ops to check. A wide batch can be an inner dimension too.
	let filler = match batch <= labora_graph::MAX_K {
		true => product(Value::Op(1), Value::Op(1), true),
		false => Op::ReluMask { gradient: Value::Op(1), activation: Value::Op(1) },
	};
	ops.resize(OPS as usize - 1, filler);
	ops.push(if training { filler } else { Op::Argmax { logits: Value::Op(1) } });
	let parameters = core::iter::once(first).chain(core::iter::repeat(other)).take(parameters as usize).collect();
	Graph { batch, features: blocks * 32, parameters, ops }
}

fn spec(graph: Graph, job: Job, rows: u32) -> TaskSpec {
	let parameters = vec![SOME; graph.parameters.len()];
	TaskSpec {
		graph,
		job,
		dataset: Dataset { features: SOME, labels: Some(SOME), rows, examples: rows },
		parameters: BoundedVec::truncate_from(parameters),
		recipe: None,
		seed: [5; 32],
		price: PRICE,
		deadline: 100,
	}
}

/// A training task: as large a graph and as many steps as may be, `blocks` blocks of inner dimension.
pub fn training(blocks: u32, units: u16, parameters: u32) -> TaskSpec {
	let job = Job::Training {
		rounds: labora_primitives::limits::MAX_ROUNDS,
		units,
		steps: labora_primitives::limits::MAX_STEPS,
		rate_drops: BoundedVec::truncate_from((1..9).collect()),
	};
	spec(graph(blocks, 32, parameters, true), job, 32)
}

/// An inference task of one unit of `steps` steps, `batch` blocks of rows each.
pub fn inference(steps: u32, batch: u32) -> TaskSpec {
	let rows = steps * batch * 32;
	spec(graph(8, batch * 32, PARAMETERS, false), Job::Inference { units: 1, steps }, rows)
}

/// A registered task in round 1, with its escrow.
pub fn task(index: u32, spec: &TaskSpec, phase: Phase, states: Vec<UnitState>) -> (TaskId, TaskInfo) {
	let id = TaskId(index);
	let sponsor = rich("sponsor", index);
	let escrow = 100_000 * LAB;
	hold(pallet_tasks::HoldReason::Escrow, &sponsor, escrow);
	let info = TaskInfo {
		sponsor,
		phase,
		round: 1,
		units: BoundedVec::truncate_from(states),
		parameters: spec.parameters.clone(),
		escrow,
		unit_macs: 1 << 40,
		accepted_macs: 1 << 60,
		metrics: UnitMetrics::default(),
	};
	pallet_tasks::Specs::<Runtime>::insert(id, spec);
	pallet_tasks::Tasks::<Runtime>::insert(id, &info);
	pallet_tasks::RoundParameters::<Runtime>::insert(id, 1, &spec.parameters);
	(id, info)
}

/// Fills the list of open tasks, but for `room`. The tasks themselves are none.
pub fn fill_open_tasks(room: u32) {
	let all: u32 = <Runtime as pallet_tasks::Config>::MaxOpenTasks::get();
	let most = all.saturating_sub(room);
	let tasks: Vec<_> = (0..most).map(|index| (1_000, TaskId(1_000_000 + index))).collect();
	pallet_tasks::OpenTasks::<Runtime>::put(BoundedVec::truncate_from(tasks));
}

/// A unit of a task's round 1.
pub fn unit(task: TaskId, kind: UnitKind) -> UnitRef {
	UnitRef { task, round: 1, kind }
}

/// A bonded worker that has as much at stake as units that it may have.
pub fn worker(name: &'static str, index: u32) -> AccountId {
	let who = rich(name, index);
	let bond = 10_000 * LAB;
	hold(pallet_workers::HoldReason::Bond, &who, bond);
	let worker = Worker {
		slots: MAX_SLOTS,
		busy: 1,
		memory: u32::MAX,
		bond,
		staked: STAKE,
		missed: 2,
		chilled_until: 0,
		leaving: None,
		accepted: 0,
	};
	pallet_workers::Workers::<Runtime>::insert(&who, worker);
	who
}

/// An assignment of a worker that has as many as it may have.
pub fn assign(id: u64, who: &AccountId, unit: UnitRef) -> Assignment {
	let (assigned, deadline) = (NOW - TOOK, CLOCK + TOOK);
	let id = AssignmentId(id);
	let assignment = Assignment { id, unit, worker: who.clone(), assigned, deadline, stake: STAKE };
	pallet_workers::Assignments::<Runtime>::insert(id, &assignment);
	let others = (1..u64::from(MAX_SLOTS)).map(|other| AssignmentId(u64::MAX - other));
	let all: Vec<_> = others.chain([id]).collect();
	pallet_workers::AssignmentsOf::<Runtime>::insert(who, BoundedVec::truncate_from(all));
	assignment
}

/// A held reward under an assignment that sealed `seals` blocks by the op `op`.
pub fn reward(id: u64, who: &AccountId, seals: u32, op: OpIndex) {
	hold(pallet_work::HoldReason::Reward, who, BLOCK_REWARD);
	let seal = |block| Seal { block, op, a: SOME, b: SOME };
	let seals = BoundedVec::truncate_from((0..seals).map(seal).collect());
	let held = HeldReward { worker: who.clone(), amount: BLOCK_REWARD, seals };
	pallet_work::HeldRewards::<Runtime>::insert(AssignmentId(id), held);
}

/// A standing result.
pub fn standing(id: u64, who: &AccountId, unit: UnitRef, due: BlockNumber, trace_root: Commitment) -> StandingResult {
	let commitments = BoundedVec::truncate_from(vec![SOME; PARAMETERS as usize]);
	let result = StandingResult {
		unit,
		worker: who.clone(),
		accepted: NOW - 5,
		due,
		took: TOOK,
		price: PRICE,
		stake: STAKE,
		trace_root,
		metrics: UnitMetrics::default(),
		base: commitments.clone(),
		parameters: commitments,
		void: false,
	};
	pallet_tasks::Standing::<Runtime>::insert(AssignmentId(id), &result);
	result
}

/// The record of a unit's result.
pub fn record(task: TaskId, round: u32, number: u16) {
	let record = ResultRecord {
		worker: person("worker", 0),
		assignment: AssignmentId(0),
		block: NOW - 5,
		trace_root: SOME,
		parameters: BoundedVec::truncate_from(vec![SOME; PARAMETERS as usize]),
		metrics: UnitMetrics::default(),
	};
	pallet_tasks::Results::<Runtime>::insert(task, (round, number), record);
}

/// The records of all units of a round.
pub fn records(task: TaskId, round: u32) {
	(0..MAX_UNITS).for_each(|number| record(task, round, number));
}

/// A trace, as bytes: these entries, and [`SOME`] elsewhere.
pub struct Trace {
	bytes: Vec<u8>,
	entries: u32,
}

impl Trace {
	/// A trace of so many entries.
	pub fn new(entries: u32, set: &[(u32, Commitment)]) -> Self {
		let mut bytes = vec![7; (entries as usize * 32).next_multiple_of(CHUNK_BYTES)];
		for (index, commitment) in set {
			let at = *index as usize * 32;
			bytes[at..at + 32].copy_from_slice(commitment.as_ref());
		}
		Self { bytes, entries }
	}

	/// Its root.
	pub fn root(&self) -> Commitment {
		Commitment::of(&self.bytes)
	}

	/// The opening of an entry.
	pub fn open(&self, index: u32) -> Opening {
		let chunk = trace_chunk(self.entries, OpIndex(index));
		chunk.and_then(|chunk| Opening::of(&self.bytes, &chunk)).unwrap_or_default()
	}
}

/// What a round of a task needs.
pub fn round_price(units: u16) -> Balance {
	PRICE * Balance::from(units) + merge_price(PRICE)
}

/// Bytes of a tensor of so many chunks.
pub fn tensor_bytes(chunks: u32) -> Vec<u8> {
	(0..chunks * CHUNK_BYTES as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 64).collect()
}
