//! The lanes with a chain made of a few tables.

use std::{
	collections::BTreeMap,
	sync::Arc,
	time::{Duration, Instant},
};

use labora_engine::Engine;
use labora_pouw::{Difficulty, IdleSeed, UsefulSeed};
use labora_primitives::{
	AccountId, Assignment, AssignmentId, Hash, ResultRecord, Seal, TaskId, TaskSpec, UnitKind, UnitRef, WorkProof,
};
use labora_tensor::{Commitment, Tensor};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{mpsc, watch};

use super::{
	chain::{Chain, ChainError},
	fixtures::Fixture,
	inputs::Tensors,
	lanes::{Lanes, Shared},
	queue::Worth,
	result::Draft,
	status::WorkerStatus,
};
use crate::{
	exchange::Fetcher,
	mining::{Found, MiningJob},
	tensor_store::TensorStore,
};

mod miners;
mod recompute;

const GENESIS: Hash = Hash::repeat_byte(0xee);
const WAIT: Duration = Duration::from_secs(60);

struct Tables {
	spec: TaskSpec,
	/// What each round starts from.
	parameters: Vec<Vec<Commitment>>,
	/// What the accepted results of round and unit gave.
	results: BTreeMap<(u32, u16), Vec<Commitment>>,
}

impl Tables {
	/// Of a task that nothing was done for yet.
	fn new(spec: &TaskSpec) -> Self {
		Self { spec: spec.clone(), parameters: vec![spec.parameters.to_vec()], results: BTreeMap::new() }
	}
}

impl Chain for Tables {
	fn spec(&self, _: Hash, task: TaskId) -> Result<Option<TaskSpec>, ChainError> {
		Ok((task == TaskId(0)).then(|| self.spec.clone()))
	}

	fn round_parameters(&self, _: Hash, _: TaskId, round: u32) -> Result<Option<Vec<Commitment>>, ChainError> {
		Ok(self.parameters.get(round as usize).cloned())
	}

	fn unit_result(&self, _: Hash, _: TaskId, round: u32, unit: u16) -> Result<Option<ResultRecord>, ChainError> {
		Ok(self.results.get(&(round, unit)).map(|parameters| ResultRecord {
			worker: account(),
			assignment: AssignmentId(0),
			block: 1,
			trace_root: Commitment::default(),
			parameters: parameters.clone().try_into().unwrap(),
			metrics: Default::default(),
		}))
	}

	fn seals(&self, _: Hash, _: AssignmentId) -> Result<Vec<Seal>, ChainError> {
		Ok(Vec::new())
	}

	fn disputes(&self, _: Hash, _: AccountId) -> Result<Vec<labora_primitives::Dispute>, ChainError> {
		Ok(Vec::new())
	}

	fn stands(&self, _: Hash, _: AssignmentId) -> Result<bool, ChainError> {
		Ok(false)
	}

	fn worker(&self, _: Hash, _: &AccountId) -> Result<Option<labora_primitives::Worker>, ChainError> {
		Ok(None)
	}
}

/// Lanes at work.
struct Bench {
	fixture: Fixture,
	store: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
	shared: Arc<Shared>,
	jobs: watch::Sender<Option<Arc<MiningJob>>>,
	found: mpsc::UnboundedReceiver<Found>,
	drafts: mpsc::UnboundedReceiver<Draft>,
	lanes: Option<Lanes>,
	_folder: tempfile::TempDir,
}

fn account() -> AccountId {
	AccountId::new([3; 32])
}

impl Bench {
	fn new(fixture: Fixture, lanes: usize) -> Self {
		let folder = tempfile::tempdir().unwrap();
		let store = Arc::new(TensorStore::open(folder.path()).unwrap());
		let fetcher = Arc::new(Fetcher::new(store.clone()));
		let (jobs, receiver) = watch::channel(None);
		let (found_sender, found) = mpsc::unbounded_channel();
		let (draft_sender, drafts) = mpsc::unbounded_channel();
		let shared = Arc::new(Shared {
			account: account(),
			engine: Engine::best(1),
			chain: Arc::new(Tables::new(&fixture.spec)),
			tensors: Tensors::new(store.clone(), fetcher.clone(), 1 << 20),
			jobs: receiver,
			found: found_sender,
			drafts: draft_sender,
			status: Arc::new(WorkerStatus::new(account(), "some".into(), 2)),
			queue: Mutex::default(),
			wake: Condvar::new(),
			ready: Default::default(),
			claims: Default::default(),
			checkpoints: super::checkpoints::Checkpoints::new(1 << 20),
			closed: Default::default(),
			miners: Default::default(),
		});
		let lanes = Some(Lanes::start(shared.clone(), lanes));
		Self { fixture, store, fetcher, shared, jobs, found, drafts, lanes, _folder: folder }
	}

	/// Publishes a job, as the authoring loop and the worker's task do.
	fn job(&self, parent: u8, difficulty: u128, assignments: &[Assignment]) {
		let job = MiningJob {
			genesis: GENESIS,
			parent: Hash::repeat_byte(parent),
			parent_number: parent.into(),
			difficulty: Difficulty(difficulty),
			assignments: assignments.to_vec(),
			since: Instant::now(),
		};
		self.jobs.send_replace(Some(Arc::new(job)));
		self.shared.change(|queue| queue.update(assignments, |_| false, |_| Worth::default()));
	}

	fn upload(&self, tensors: &[&Tensor]) {
		tensors.iter().for_each(|tensor| {
			self.store.put(tensor.bytes()).unwrap();
		});
	}

	fn stop(&mut self) {
		drop(self.lanes.take());
	}
}

fn assignment(id: u64, unit: UnitRef) -> Assignment {
	Assignment { id: AssignmentId(id), unit, worker: account(), assigned: 0, deadline: 100, stake: 0 }
}

/// What arrives within a while.
fn receive<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
	let began = Instant::now();
	loop {
		match receiver.try_recv() {
			Ok(received) => return received,
			Err(_) => assert!(began.elapsed() < WAIT, "nothing arrives"),
		}
		std::thread::sleep(Duration::from_millis(1));
	}
}

fn until(condition: impl Fn() -> bool) {
	let began = Instant::now();
	while !condition() {
		assert!(began.elapsed() < WAIT, "it does not happen");
		std::thread::sleep(Duration::from_millis(1));
	}
}

#[test]
fn a_unit_is_computed_and_its_tickets_prove_themselves() {
	// One lane: a second one would do idle work, and win the block first.
	let mut bench = Bench::new(Fixture::training(), 1);
	bench.upload(&[&bench.fixture.features.clone(), &bench.fixture.labels.clone()]);
	bench.job(1, 1, &[assignment(7, Fixture::unit())]);
	let draft = receive(&mut bench.drafts);
	bench.stop();
	let spec = &bench.fixture.spec;
	let program = spec.check().unwrap();
	let useful = std::iter::from_fn(|| bench.found.try_recv().ok()).find_map(|found| match found.proof {
		WorkProof::Useful(proof) => Some(proof),
		WorkProof::Idle(_) => None,
	});
	let proof = useful.expect("at this difficulty every ticket wins");
	let resolved = spec.resolve(&program, 0, 0, proof.op, proof.tile).unwrap();
	let seed = UsefulSeed {
		genesis: &GENESIS.0,
		parent: &[1; 32],
		assignment: 7,
		op: proof.op,
		a: &proof.a,
		b: &proof.b,
		product: resolved.product,
	};
	proof.verify(&seed.seed(), &resolved.product, &resolved.a, &resolved.b, Difficulty(1)).unwrap();
	// The result opens what the block said, and its parameters are in the store.
	let seal = Seal { block: 2, op: proof.op, a: proof.a, b: proof.b };
	let result = draft.result(&[seal]).unwrap();
	assert!(bench.store.get(&result.parameters[0]).unwrap().is_some());
	assert!(bench.shared.status.snapshot().useful_macs > 0);
}

#[test]
fn missing_tensors_are_named_and_waited_for() {
	let mut bench = Bench::new(Fixture::training(), 2);
	bench.upload(&[&bench.fixture.labels.clone()]);
	let assignments = [assignment(1, Fixture::unit())];
	bench.job(1, u128::MAX, &assignments);
	let features = bench.fixture.spec.dataset.features.to_string();
	until(|| bench.shared.status.snapshot().waiting_for == [features.clone()]);
	assert!(bench.drafts.try_recv().is_err());
	let wanted = bench.fetcher.wanted();
	let asked: Vec<_> = wanted.iter().map(|want| (want.commitment.clone(), want.bytes)).collect();
	assert_eq!(asked, [(features, bench.fixture.features.bytes().len() as u64)], "the peers are asked for it");
	bench.upload(&[&bench.fixture.features.clone()]);
	bench.job(2, u128::MAX, &assignments);
	receive(&mut bench.drafts);
	assert!(bench.shared.status.snapshot().waiting_for.is_empty());
}

#[test]
fn lanes_without_units_do_idle_work() {
	let mut bench = Bench::new(Fixture::training(), 2);
	bench.job(1, 1, &[]);
	let Found { parent, proof } = receive(&mut bench.found);
	let WorkProof::Idle(proof) = proof else { panic!("there is no unit") };
	let account = account();
	let seed = IdleSeed { genesis: &GENESIS.0, parent: &parent.0, account: account.as_ref(), nonce: proof.nonce };
	proof.verify(&seed, Difficulty(1)).unwrap();
	bench.job(2, u128::MAX, &[]);
	until(|| bench.shared.status.snapshot().idle_macs > 0);
}

#[test]
fn a_merge_waits_for_results_that_the_chain_does_not_have() {
	let mut bench = Bench::new(Fixture::training(), 2);
	let merge = UnitRef { kind: UnitKind::Merge, ..Fixture::unit() };
	bench.job(1, u128::MAX, &[assignment(1, merge)]);
	until(|| bench.shared.status.snapshot().idle_macs > 0);
	assert!(bench.drafts.try_recv().is_err());
}

#[test]
fn stopping_does_not_wait_for_units() {
	let mut bench = Bench::new(Fixture::training(), 2);
	bench.job(1, u128::MAX, &[]);
	let began = Instant::now();
	bench.stop();
	assert!(began.elapsed() < WAIT);
}
