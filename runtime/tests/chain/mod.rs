//! A chain in memory: the real runtime, native, with real units computed by the real engine. Only the node is missing.
#![allow(dead_code)]

use std::sync::{Arc, Mutex};

use codec::Encode;
use frame_support::{
	assert_ok,
	dispatch::DispatchResult,
	traits::{fungible::InspectHold, OnFinalize, OnInitialize},
};
use labora_engine::{Engine, Miner, MiningTarget, UnitOutput, UnitPlan};
use labora_graph::{Activation, Graph, Op, OpIndex, Rounding, Value};
use labora_pouw::{Difficulty, IdleProof, TileIndex, UsefulProof};
use labora_primitives::{
	AccountId, Assignment, AssignmentId, Dataset, Job, Recipe, RewardLedger, SealOpening, TaskId, TaskSpec, UnitKind,
	UnitMetrics, UnitResult, WorkProof,
};
use labora_runtime::{
	constants::LAB, AllPalletsWithSystem, Balance, Balances, Disputes, Hash, Runtime, RuntimeEvent,
	RuntimeGenesisConfig, RuntimeHoldReason, RuntimeOrigin, System, Tasks, Timestamp, Validators, Work, Workers,
};
use labora_tensor::{Commitment, I32Tensor, I8Tensor, Shape, Tensor};
use sp_core::bounded::BoundedVec;
use sp_io::TestExternalities;
use sp_runtime::{generic::Digest, BuildStorage, DigestItem};

pub mod units;

pub const SPONSOR: AccountId = AccountId::new([1; 32]);
pub const MINER: AccountId = AccountId::new([2; 32]);
pub const OTHER: AccountId = AccountId::new([3; 32]);
pub const POOR: AccountId = AccountId::new([4; 32]);
pub const ENDOWMENT: Balance = 10_000 * LAB;
pub const PRICE: Balance = LAB;

pub const ROWS: u32 = 128;
pub const BATCH: u32 = 32;
pub const FEATURES: u32 = 256;
pub const CLASSES: u32 = 10;

/// A chain at its genesis, with difficulty 1: every ticket wins.
pub fn new_chain() -> TestExternalities {
	chain_of(genesis())
}

/// What it begins with. Nobody validates.
pub fn genesis() -> RuntimeGenesisConfig {
	RuntimeGenesisConfig {
		balances: labora_runtime::BalancesConfig {
			balances: [SPONSOR, MINER, OTHER].map(|who| (who, ENDOWMENT)).to_vec(),
			..Default::default()
		},
		work: pallet_work::GenesisConfig {
			block_time: 1_000,
			half_life: 1_000_000_000,
			difficulty_floor: 1,
			initial_difficulty: 1,
			max_lag: 1_000_000_000,
			_marker: Default::default(),
		},
		..Default::default()
	}
}

/// A chain at a genesis.
pub fn chain_of(genesis: RuntimeGenesisConfig) -> TestExternalities {
	let mut chain: TestExternalities = genesis.build_storage().expect("a valid genesis").into();
	chain.execute_with(|| System::set_block_number(0));
	chain
}

/// Opens a block by `author`: everything up to the inherents.
pub fn begin(author: &AccountId) {
	let number = System::block_number() + 1;
	let parent = Hash::from(sp_io::hashing::blake2_256(&number.to_le_bytes()));
	let digest = Digest { logs: vec![DigestItem::PreRuntime(pallet_work::ENGINE_ID, author.encode())] };
	System::reset_events();
	System::initialize(&number, &parent, &digest);
	AllPalletsWithSystem::on_initialize(number);
	Timestamp::set_timestamp(1_700_000_000_000 + u64::from(number) * 1_000);
}

/// Closes the block.
pub fn end() {
	AllPalletsWithSystem::on_finalize(System::block_number());
	check_invariants();
}

pub fn prove(proof: WorkProof) -> DispatchResult {
	Work::prove(RuntimeOrigin::none(), proof)
}

pub fn idle_proof() -> WorkProof {
	WorkProof::Idle(IdleProof { nonce: 7, tile: TileIndex { row: 0, col: 0 } })
}

/// A whole block of idle work with something in it.
pub fn block<R>(author: &AccountId, body: impl FnOnce() -> R) -> R {
	begin(author);
	prove(idle_proof()).expect("every ticket wins");
	let result = body();
	end();
	result
}

/// Blocks in which every audit counts as answered, for tests of something else.
pub fn audited_blocks(count: u32) {
	for _ in 0..count {
		block(&OTHER, || {
			let _ = pallet_disputes::Demands::<Runtime>::clear(u32::MAX, None);
		});
	}
}

/// Blocks in which nobody does anything.
pub fn blocks(count: u32) {
	for _ in 0..count {
		block(&OTHER, || ());
	}
}

/// A dataset of two kinds of rows that a single layer can tell apart.
pub fn dataset() -> (Tensor, Tensor) {
	let label = |row: u32| (row % 7 % CLASSES) as i8;
	let feature = |row: u32, col: u32| {
		if col % CLASSES == label(row) as u32 {
			50 + (row * 31 % 13) as i8
		} else {
			(col * row % 5) as i8
		}
	};
	let features: Vec<i8> = (0..ROWS).flat_map(|row| (0..FEATURES).map(move |col| feature(row, col))).collect();
	let labels: Vec<i8> = (0..ROWS).map(label).collect();
	(
		I8Tensor::pack(Shape { rows: ROWS, cols: FEATURES }, &features).expect("fits"),
		I8Tensor::pack(Shape { rows: ROWS, cols: 1 }, &labels).expect("fits"),
	)
}

pub const PARAMETER: Shape = Shape { rows: FEATURES, cols: CLASSES };

pub fn recipe() -> Recipe {
	Recipe { seed: [9; 32], ranges: BoundedVec::truncate_from(vec![8]) }
}

pub fn initial_parameter() -> Tensor {
	I32Tensor::pack(PARAMETER, &recipe().draw(0, PARAMETER)).expect("fits")
}

fn forward() -> Vec<Op> {
	let matmul = Op::MatMul {
		a: Value::Features,
		b: Value::Op(0),
		transpose_a: false,
		transpose_b: false,
		shift: 9,
		rounding: Rounding::Nearest,
		activation: Activation::Identity,
	};
	vec![Op::Quantize { parameter: 0, shift: 16 }, matmul]
}

pub fn training_graph() -> Graph {
	let mut ops = forward();
	ops.push(Op::SoftmaxGradient { logits: Value::Op(1) });
	ops.push(Op::SgdUpdate {
		parameter: 0,
		a: Value::Features,
		b: Value::Op(2),
		transpose_a: true,
		transpose_b: false,
		rate: 2,
	});
	ops.push(Op::Metrics { logits: Value::Op(1) });
	Graph { batch: BATCH, features: FEATURES, parameters: vec![PARAMETER], ops }
}

/// A training task of two units of two steps a round, two rounds.
pub fn training_spec() -> TaskSpec {
	let (features, labels) = dataset();
	TaskSpec {
		graph: training_graph(),
		job: Job::Training { rounds: 2, units: 2, steps: 2, rate_drops: BoundedVec::truncate_from(vec![1]) },
		dataset: Dataset {
			features: features.commitment(),
			labels: Some(labels.commitment()),
			rows: ROWS,
			examples: ROWS,
		},
		parameters: BoundedVec::truncate_from(vec![initial_parameter().commitment()]),
		recipe: Some(recipe()),
		seed: [5; 32],
		price: PRICE,
		deadline: 20,
	}
}

/// An inference task of two units of two steps.
pub fn inference_spec() -> TaskSpec {
	let mut ops = forward();
	ops.push(Op::Argmax { logits: Value::Op(1) });
	let mut spec = training_spec();
	spec.graph.ops = ops;
	spec.job = Job::Inference { units: 2, steps: 2 };
	spec.dataset.labels = None;
	spec
}

pub fn register_task(spec: TaskSpec, escrow: Balance) -> TaskId {
	let task = pallet_tasks::NextTask::<Runtime>::get();
	Tasks::register(RuntimeOrigin::signed(SPONSOR), spec, escrow).expect("a good task");
	task
}

pub fn register_worker(who: &AccountId, slots: u16) {
	Workers::register(RuntimeOrigin::signed(who.clone()), slots, 64).expect("a good worker");
}

/// Keeps every winning proof.
struct Collector {
	target: MiningTarget,
	proofs: Mutex<Vec<UsefulProof>>,
}

impl Miner for Collector {
	fn target(&self) -> Option<MiningTarget> {
		Some(self.target)
	}

	fn won(&self, _: &MiningTarget, proof: UsefulProof) {
		self.proofs.lock().expect("no panic").push(proof);
	}
}

pub fn bytes(hash: Hash) -> [u8; 32] {
	hash.0
}

/// What a unit of steps is computed from.
pub fn plan(spec: &TaskSpec, assignment: &Assignment, parameters: &[Tensor]) -> UnitPlan {
	let UnitKind::Steps(unit) = assignment.unit.kind else { panic!("a unit of steps") };
	let (features, labels) = dataset();
	UnitPlan {
		program: Arc::new(spec.check().expect("a good task")),
		context: spec.context(assignment.unit.round, unit),
		features: Arc::new(features),
		features_commitment: spec.dataset.features,
		labels: spec.dataset.labels.map(|_| Arc::new(labels)),
		labels_commitment: spec.dataset.labels,
		parameters: parameters.iter().cloned().map(Arc::new).collect(),
		batches: (0..spec.job.steps()).map(|step| spec.batch(assignment.unit.round, unit, step)).collect(),
	}
}

/// Computes a unit of steps for a block on the current block's parent.
pub fn run(spec: &TaskSpec, assignment: &Assignment, parameters: &[Tensor]) -> (UnitOutput, Vec<UsefulProof>) {
	let plan = plan(spec, assignment, parameters);
	let target = MiningTarget {
		genesis: bytes(System::block_hash(0)),
		parent: bytes(System::parent_hash()),
		assignment: assignment.id.0,
		difficulty: Difficulty(1),
	};
	let collector = Collector { target, proofs: Mutex::default() };
	let output = Engine::best(1).run(&plan, &collector).expect("a good plan");
	(output, collector.proofs.into_inner().expect("no panic"))
}

/// The result of a unit of steps, with the openings that its sealed blocks ask for.
pub fn result_of(spec: &TaskSpec, assignment: &Assignment, output: &UnitOutput) -> UnitResult {
	let program = spec.check().expect("a good task");
	let training = program.is_training();
	let open = |op: OpIndex| output.trace.open(op).expect("an op of the unit");
	let seals: Vec<_> = <Work as RewardLedger>::seals(assignment.id)
		.iter()
		.map(|seal| {
			let [a, b] = spec.operand_ops(&program, seal.op).expect("a product");
			SealOpening { a: a.map(open), b: b.map(open) }
		})
		.collect();
	let rows = u64::from(spec.job.steps()) * u64::from(spec.graph.batch);
	let metrics = UnitMetrics { loss: output.loss as u64, correct: output.correct, rows };
	let parameters = output.parameters.iter().map(|(commitment, _)| *commitment).collect();
	UnitResult {
		trace_root: output.trace.root(),
		parameters: BoundedVec::truncate_from(if training { parameters } else { vec![] }),
		metrics: if training { metrics } else { UnitMetrics::default() },
		classes: BoundedVec::truncate_from(output.classes.clone()),
		outputs: BoundedVec::truncate_from(spec.opened_entries(&program).into_iter().map(open).collect()),
		seals: BoundedVec::truncate_from(seals),
	}
}

/// The merged parameters of results, and the merge unit's result.
pub fn merge(sets: &[Vec<Arc<Tensor>>]) -> (Vec<Tensor>, UnitResult) {
	let merged = Engine::best(1).merge(sets).expect("sets that fit");
	let commitments: Vec<Commitment> = merged.iter().map(|(commitment, _)| *commitment).collect();
	let result = UnitResult {
		trace_root: labora_graph::Trace(commitments.clone()).root(),
		parameters: BoundedVec::truncate_from(commitments),
		metrics: UnitMetrics::default(),
		classes: BoundedVec::new(),
		outputs: BoundedVec::new(),
		seals: BoundedVec::new(),
	};
	(merged.into_iter().map(|(_, tensor)| (*tensor).clone()).collect(), result)
}

pub fn submit(who: &AccountId, id: AssignmentId, result: UnitResult) -> DispatchResult {
	let submitted = Tasks::submit_result(RuntimeOrigin::signed(who.clone()), id, result);
	submitted.map(|_| ()).map_err(|error| error.error)
}

pub fn assignments(who: &AccountId) -> Vec<Assignment> {
	Workers::assignments_of(who)
}

pub fn info(task: TaskId) -> labora_primitives::TaskInfo {
	pallet_tasks::Tasks::<Runtime>::get(task).expect("a task")
}

pub fn free(who: &AccountId) -> Balance {
	System::account(who).data.free
}

pub fn held(who: &AccountId) -> Balance {
	System::account(who).data.reserved
}

pub fn happened(wanted: impl Fn(&RuntimeEvent) -> bool) -> bool {
	System::events().iter().any(|record| wanted(&record.event))
}

/// What must hold after every block: money is somewhere, holds are accounted for.
pub fn check_invariants() {
	let sum: Balance = frame_system::Account::<Runtime>::iter().map(|(_, a)| a.data.free + a.data.reserved).sum();
	assert_eq!(sum, pallet_balances::TotalIssuance::<Runtime>::get(), "issuance is the sum of all accounts");
	assert_ok!(Work::do_try_state());
	assert_ok!(Tasks::do_try_state());
	assert_ok!(Workers::do_try_state());
	assert_ok!(Disputes::do_try_state());
	assert_ok!(Validators::do_try_state());
	for who in [SPONSOR, MINER, OTHER, POOR] {
		let of = |reason: RuntimeHoldReason| Balances::balance_on_hold(&reason, &who);
		let known = of(pallet_work::HoldReason::Reward.into())
			+ of(pallet_tasks::HoldReason::Escrow.into())
			+ of(pallet_workers::HoldReason::Bond.into())
			+ of(pallet_disputes::HoldReason::Challenge.into())
			+ of(pallet_validators::HoldReason::Bond.into())
			+ of(pallet_session::HoldReason::Keys.into());
		assert_eq!(held(&who), known, "every hold has its reason");
	}
	for (who, worker) in pallet_workers::Workers::<Runtime>::iter() {
		let running = pallet_workers::Assignments::<Runtime>::iter_values().filter(|other| other.worker == who);
		let results = pallet_tasks::Standing::<Runtime>::iter_values().filter(|result| result.worker == who);
		let staked: Balance = running.map(|other| other.stake).chain(results.map(|result| result.stake)).sum();
		assert_eq!(worker.staked, staked, "every stake has its unit");
	}
}
