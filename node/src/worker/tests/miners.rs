//! Miners over a real socket: honest ones, and what others may try.

use codec::Encode;
use futures::{SinkExt, StreamExt};
use labora_engine::{NoMiner, UnitOutput};
use labora_graph::OpIndex;
use labora_miner::{
	address::{key, Connect, Listen, Listener},
	connection::{introduce, wire, Wire},
	protocol::{parts, Dismissal, End, Message, Order, Report, ToMiner, ToNode, Work},
	session::Miner,
};
use labora_pouw::{TileIndex, UsefulProof};
use sc_service::TaskManager;
use tokio::{io::AsyncWriteExt, net::UnixStream, runtime::Runtime, task::JoinHandle};

use super::*;
use crate::worker::miners;

/// A worker without threads of its own, that listens for miners.
struct Rig {
	bench: Bench,
	at: Connect,
	runtime: Runtime,
	tasks: Option<TaskManager>,
}

impl Rig {
	fn new(fixture: Fixture) -> Self {
		let bench = Bench::new(fixture, 0);
		let runtime = Runtime::new().unwrap();
		let listener = Listener::open(Listen::Unix, &bench._folder.path().join("miners"), None).unwrap();
		let at = listener.at.clone();
		let tasks = TaskManager::new(runtime.handle().clone(), None).unwrap();
		let spawn = tasks.spawn_handle();
		tasks.spawn_handle().spawn("miners", None, miners::run(listener, bench.shared.clone(), spawn));
		bench.upload(&[&bench.fixture.features.clone(), &bench.fixture.labels.clone()]);
		Self { bench, at, runtime, tasks: Some(tasks) }
	}

	/// Connects an honest miner.
	fn miner(&self) -> JoinHandle<()> {
		let at = self.at.clone();
		self.runtime.spawn(async move {
			let miner = Miner::new(1, 64 << 20, "honest".into());
			let wire = miner.connect(&at, &key(&at, None).unwrap()).await.unwrap();
			let _ = miner.work(wire).await;
		})
	}

	/// The draft of the fixture's unit as this process computes it.
	fn expected(&self) -> Draft {
		let origin = self.bench.fixture.origin();
		let program = origin.program().unwrap();
		Draft::of_steps(origin, &program, self.output())
	}

	fn output(&self) -> UnitOutput {
		Engine::best(1).run(&self.bench.fixture.plan(), &NoMiner).unwrap()
	}

	/// Connects something that only greets like a miner, and gives it the unit.
	fn hostile(&self) -> Hostile {
		let path = match &self.at {
			Connect::Unix(path) => path.clone(),
			Connect::Tcp(_) => unreachable!("it is a Unix socket"),
		};
		let key = key(&self.at, None).unwrap();
		self.runtime.block_on(async {
			let mut wire = wire(Box::new(UnixStream::connect(path).await.unwrap()));
			introduce(&mut wire, &key, 1, "hostile").await.unwrap();
			let mut hostile = Hostile { wire, job: 0 };
			hostile.job = loop {
				match hostile.next().await {
					Some(ToMiner::Lane { job, order: Order::Start(Work::Steps(_)), .. }) => break job,
					// The unit was not free yet, and it was given idle work.
					Some(ToMiner::Lane { job, order: Order::Cancel, .. }) => {
						hostile.job = job;
						hostile.say(Report::Ended(End::Cancelled)).await;
					}
					Some(_) => {}
					None => panic!("the node gives it no unit"),
				}
			};
			hostile
		})
	}
}

impl Drop for Rig {
	fn drop(&mut self) {
		self.bench.stop();
		drop(self.tasks.take());
	}
}

/// A peer that has been given a unit.
struct Hostile {
	wire: Wire,
	job: u64,
}

impl Hostile {
	async fn next(&mut self) -> Option<ToMiner> {
		let frame = self.wire.next().await?.ok()?;
		Some(ToMiner::read(&frame).expect("the node keeps to the protocol"))
	}

	async fn say(&mut self, report: Report) {
		let message = ToNode::Lane { lane: 0, job: self.job, report };
		// The node may have closed the connection already.
		let _ = self.wire.send(&message.encode()[..]).await;
	}

	/// Says which tensors it lacks: none.
	async fn begin(&mut self) {
		self.say(Report::Needs(Default::default())).await;
	}

	/// Sends a result.
	async fn result(&mut self, output: &UnitOutput) {
		self.begin().await;
		self.say(Report::Result { classes: Default::default() }).await;
		let trace: Vec<u8> = output.trace.0.iter().flat_map(|entry| entry.0).collect();
		let parameters = output.parameters.iter().map(|(_, tensor)| tensor.bytes());
		for bytes in [&trace[..]].into_iter().chain(parameters) {
			for part in parts(bytes) {
				self.say(Report::Part(part)).await;
			}
		}
	}

	/// How the connection ends.
	async fn end(mut self) -> Option<Dismissal> {
		let ends = async {
			loop {
				match self.next().await {
					Some(ToMiner::Bye(dismissal)) => return Some(dismissal),
					Some(_) => {}
					None => return None,
				}
			}
		};
		tokio::time::timeout(WAIT, ends).await.expect("the connection ends")
	}
}

#[test]
fn a_miner_computes_what_the_node_does_and_wins_blocks() {
	let mut rig = Rig::new(Fixture::training());
	rig.bench.job(1, 1, &[assignment(7, Fixture::unit())]);
	let miner = rig.miner();
	let draft = receive(&mut rig.bench.drafts);
	assert_eq!(draft, rig.expected());
	let WorkProof::Useful(proof) = receive(&mut rig.bench.found).proof else { panic!("a unit comes before idle work") };
	assert_eq!(proof.assignment, 7);
	let status = rig.bench.shared.status.snapshot();
	assert_eq!(status.threads, 2 + 1, "those that the bench says it has, and the miner's");
	assert!(status.useful_macs > 0);
	let base = rig.bench.fixture.spec.parameters.to_vec();
	let checkpoint = rig.bench.shared.checkpoints.before(&Fixture::unit(), &base, 1);
	assert_eq!(checkpoint.map(|(step, _)| step), Some(1), "the prover has where to start from");
	miner.abort();
	until(|| rig.bench.shared.status.snapshot().threads == 2);
}

#[test]
fn a_miner_classifies() {
	let mut rig = Rig::new(Fixture::inference());
	rig.bench.job(1, u128::MAX, &[assignment(7, Fixture::unit())]);
	rig.miner();
	assert_eq!(receive(&mut rig.bench.drafts), rig.expected());
}

#[test]
fn a_miner_does_idle_work_on_the_current_parent() {
	let mut rig = Rig::new(Fixture::training());
	rig.bench.job(1, u128::MAX, &[]);
	rig.miner();
	until(|| rig.bench.shared.status.snapshot().idle_macs > 0);
	rig.bench.job(2, 1, &[]);
	let Found { parent, proof } = receive(&mut rig.bench.found);
	let WorkProof::Idle(proof) = proof else { panic!("there is no unit") };
	assert_eq!(parent, Hash::repeat_byte(2));
	let account = account();
	let seed = IdleSeed { genesis: &GENESIS.0, parent: &parent.0, account: account.as_ref(), nonce: proof.nonce };
	proof.verify(&seed, Difficulty(1)).unwrap();
}

#[test]
fn a_unit_that_is_no_longer_wanted_is_cancelled() {
	let rig = Rig::new(Fixture::training());
	rig.bench.job(1, u128::MAX, &[assignment(7, Fixture::unit())]);
	let mut hostile = rig.hostile();
	rig.bench.job(2, u128::MAX, &[]);
	let job = hostile.job;
	let cancelled = rig.runtime.block_on(async {
		loop {
			if hostile.next().await.expect("it stays connected")
				== (ToMiner::Lane { lane: 0, job, order: Order::Cancel })
			{
				break true;
			}
		}
	});
	assert!(cancelled);
	// The lane goes on when the miner says so.
	rig.runtime.block_on(hostile.say(Report::Ended(End::Cancelled)));
	let next = rig.runtime.block_on(async {
		loop {
			if let ToMiner::Lane { job, order: Order::Start(Work::Idle(_)), .. } = hostile.next().await.unwrap() {
				break job;
			}
		}
	});
	assert!(next > job);
}

#[test]
fn whatever_a_miner_does_its_unit_is_computed_elsewhere() {
	let mut rig = Rig::new(Fixture::training());
	rig.bench.job(1, u128::MAX, &[assignment(7, Fixture::unit())]);
	let honest = rig.output();
	let end = |rig: &Rig, act: &dyn Fn(&Rig, &mut Hostile)| {
		let mut hostile = rig.hostile();
		act(rig, &mut hostile);
		rig.runtime.block_on(hostile.end())
	};

	// It goes without a word.
	drop(rig.hostile());
	let garbage = |rig: &Rig, hostile: &mut Hostile| {
		rig.runtime.block_on(hostile.wire.send(&[0xff; 100][..])).unwrap();
	};
	assert_eq!(end(&rig, &garbage), None);
	let oversize = |rig: &Rig, hostile: &mut Hostile| {
		let length = (labora_miner::protocol::MAX_FRAME as u32 + 1).to_le_bytes();
		rig.runtime.block_on(hostile.wire.get_mut().write_all(&length)).unwrap();
	};
	assert_eq!(end(&rig, &oversize), None);

	let protocol = [
		Report::Progress(1),
		Report::Needs(vec![1, 0].try_into().unwrap()),
		Report::Needs(vec![9].try_into().unwrap()),
	];
	for report in protocol {
		let act = |rig: &Rig, hostile: &mut Hostile| rig.runtime.block_on(hostile.say(report.clone()));
		assert_eq!(end(&rig, &act), Some(Dismissal::Protocol), "{report:?}");
	}
	let part = || labora_miner::protocol::Part::truncate_from(vec![1]);
	let begun = [Report::Progress(3), Report::Checkpoint(0), Report::Checkpoint(2), Report::Part(part())];
	for report in begun {
		let act = |rig: &Rig, hostile: &mut Hostile| {
			rig.runtime.block_on(hostile.begin());
			rig.runtime.block_on(hostile.say(report.clone()));
		};
		assert_eq!(end(&rig, &act), Some(Dismissal::Protocol), "{report:?}");
	}

	let false_proof = |rig: &Rig, hostile: &mut Hostile| {
		let proof = UsefulProof {
			assignment: 7,
			op: OpIndex(rig.bench.fixture.product()),
			tile: TileIndex { row: 0, col: 0 },
			a: rig.bench.fixture.spec.dataset.features,
			b: Default::default(),
			strip_a: Default::default(),
			strip_b: Default::default(),
		};
		rig.runtime.block_on(hostile.begin());
		rig.runtime.block_on(hostile.say(Report::Won { parent: [1; 32], proof: Box::new(proof) }));
	};
	assert_eq!(end(&rig, &false_proof), Some(Dismissal::Wrong));
	assert!(rig.bench.found.try_recv().is_err(), "no block is built on it");

	// Parameters that the trace does not end with.
	let mut torn = honest.clone();
	Arc::make_mut(&mut torn.parameters[0].1).bytes_mut()[0] ^= 1;
	// A result that agrees with itself, of other data.
	let mut plan = rig.bench.fixture.plan();
	Arc::make_mut(&mut plan.features).bytes_mut()[0] ^= 3;
	let forged = Engine::best(1).run(&plan, &NoMiner).unwrap();
	assert_ne!(forged.trace, honest.trace);
	for output in [torn, forged] {
		let act = |rig: &Rig, hostile: &mut Hostile| rig.runtime.block_on(hostile.result(&output));
		assert_eq!(end(&rig, &act), Some(Dismissal::Wrong));
	}
	assert!(rig.bench.drafts.try_recv().is_err(), "nothing of it is submitted");

	rig.miner();
	assert_eq!(receive(&mut rig.bench.drafts), rig.expected());
}

#[test]
fn a_silent_miner_loses_its_unit() {
	let mut rig = Rig::new(Fixture::training());
	rig.bench.job(1, u128::MAX, &[assignment(7, Fixture::unit())]);
	let silent = rig.hostile();
	rig.miner();
	assert_eq!(receive(&mut rig.bench.drafts), rig.expected());
	drop(silent);
}
