//! A lane's backend that is a miner in another process: one of its threads, over its connection.
//!
//! Nothing that it says is believed where looking is cheap. A ticket is verified as the chain verifies it. The commitments of the last
//! parameters are computed here, and the result must agree with itself as the chain checks it; checkpoints and the operands of
//! tickets must be what its trace says; and one step, at a checkpoint drawn at random, is computed again. A miner that fails is let go, and
//! the unit is started again elsewhere. What a miner forges beyond that shows only to who computes all of it again.

use std::{
	cell::Cell,
	sync::{
		mpsc::{Receiver, RecvTimeoutError},
		Arc,
	},
	time::{Duration, Instant},
};

use labora_engine::{EngineError, Miner, UnitOutput, UnitPlan};
use labora_graph::{OpIndex, Program, RunningMetrics, Trace};
use labora_miner::{
	connection::{Gone, Outgoing},
	protocol::{self, Dismissal, Idle, Order, Report, Steps, Target, ToMiner, Work},
};
use labora_pouw::{IdleProof, IdleSeed, UsefulProof, UsefulSeed};
use labora_primitives::{AccountId, Hash, UnitKind, UnitRef};
use labora_tensor::{Commitment, ElementType, Tensor};
use rand::Rng;

use super::{
	backend::{Backend, BackendError},
	checkpoints::Checkpoints,
	lanes::Shared,
	prover::is_in_trace,
	result::Draft,
	unit::Origin,
	LOG_TARGET,
};
use crate::mining::MiningJob;

/// How often a lane that waits for its miner looks whether there is something to tell it.
const POLL: Duration = Duration::from_millis(5);
/// A job may make no progress for so long,
const PATIENCE: Duration = Duration::from_secs(60);
/// and for each so many multiply-accumulates of a step a second longer: a tenth of what the slowest kernel does.
const SLOWEST_MACS: u64 = 1_000_000_000;

/// A thread of a miner.
pub(super) struct Remote {
	name: Arc<str>,
	lane: u16,
	outgoing: Outgoing<ToMiner>,
	inbox: Receiver<(u64, Report)>,
	shared: Arc<Shared>,
	/// The number of the last job.
	job: Cell<u64>,
	dismissed: Cell<bool>,
}

/// Why a job has no result.
enum Failure {
	Gone,
	Dismiss(Dismissal, &'static str),
	Cancelled,
	GivenBack(protocol::End),
}

impl From<Gone> for Failure {
	fn from(_: Gone) -> Self {
		Self::Gone
	}
}

const PROTOCOL: Failure = Failure::Dismiss(Dismissal::Protocol, "a report that is not its turn");
const HUNG: Failure = Failure::Dismiss(Dismissal::Hung, "its job makes no progress");

fn wrong(what: &'static str) -> Failure {
	Failure::Dismiss(Dismissal::Wrong, what)
}

impl Remote {
	/// The thread `lane` of a miner.
	pub(super) fn new(
		name: Arc<str>,
		lane: u16,
		outgoing: Outgoing<ToMiner>,
		inbox: Receiver<(u64, Report)>,
		shared: Arc<Shared>,
	) -> Self {
		Self { name, lane, outgoing, inbox, shared, job: Cell::new(0), dismissed: Cell::new(false) }
	}

	fn message(&self, order: Order) -> ToMiner {
		ToMiner::Lane { lane: self.lane, job: self.job.get(), order }
	}

	fn tell(&self, order: Order) -> Result<(), Gone> {
		self.outgoing.urgent(self.message(order))
	}

	fn start(&self, work: Work) -> Result<(), Gone> {
		self.job.set(self.job.get() + 1);
		self.tell(Order::Start(work))
	}

	/// The next report on the current job, if one comes soon.
	fn next(&self) -> Result<Option<Report>, Failure> {
		match self.inbox.recv_timeout(POLL) {
			Ok((job, report)) => Ok((job == self.job.get()).then_some(report)),
			Err(RecvTimeoutError::Timeout) => Ok(None),
			Err(RecvTimeoutError::Disconnected) => Err(Failure::Gone),
		}
	}

	/// Cancels the job, and waits until the miner obeys.
	fn cancel(&self, patience: Duration) -> Failure {
		if self.tell(Order::Cancel).is_err() {
			return Failure::Gone;
		}
		let began = Instant::now();
		while !self.shared.is_closed() {
			match self.next() {
				Ok(Some(Report::Ended(_) | Report::WonIdle(_) | Report::Result { .. })) => return Failure::Cancelled,
				Ok(_) if began.elapsed() > patience => return HUNG,
				Ok(_) => {}
				Err(failure) => return failure,
			}
		}
		Failure::Cancelled
	}

	/// How long the miner took to turn to a new parent.
	fn obeyed(&self, parent: Hash, what: &str) {
		let since = self.shared.jobs.borrow().as_ref().filter(|job| job.parent == parent).map(|job| job.since);
		if let Some(since) = since {
			let milliseconds = since.elapsed().as_secs_f64() * 1e3;
			log::debug!(target: LOG_TARGET, "{} obeys a new parent after {milliseconds:.1} ms ({what})", self.name);
		}
	}

	/// What a failure means for the lane. Lets the miner go if it is its fault.
	fn failed(&self, failure: Failure) -> BackendError {
		match failure {
			Failure::Cancelled => EngineError::Cancelled.into(),
			Failure::GivenBack(end) => BackendError::GivenBack(self.name.clone(), end),
			Failure::Gone => BackendError::Lost(self.name.clone()),
			Failure::Dismiss(dismissal, what) => {
				log::error!(target: LOG_TARGET, "🔗 {} is let go: {what}", self.name);
				self.dismissed.set(true);
				let _ = self.outgoing.urgent(ToMiner::Bye(dismissal));
				BackendError::Lost(self.name.clone())
			}
		}
	}

	fn run_idle(
		&self,
		job: &MiningJob,
		account: &AccountId,
		done: &dyn Fn(u32),
		cancelled: &dyn Fn() -> bool,
	) -> Result<Option<IdleProof>, Failure> {
		let (genesis, parent, difficulty) = (job.genesis.0, job.parent.0, job.difficulty);
		// Every lane, and every try, searches elsewhere.
		let nonce = rand::random();
		self.start(Work::Idle(Idle { genesis, parent, account: *account.as_ref(), difficulty, nonce }))?;
		let mut progress = Instant::now();
		loop {
			match self.next()? {
				Some(Report::Progress(nonces)) => {
					done(nonces);
					progress = Instant::now();
				}
				Some(Report::WonIdle(proof)) => {
					let seed =
						IdleSeed { genesis: &genesis, parent: &parent, account: account.as_ref(), nonce: proof.nonce };
					proof.verify(&seed, difficulty).map_err(|_| wrong("a ticket of idle work that does not win"))?;
					return Ok(Some(proof));
				}
				Some(_) => return Err(PROTOCOL),
				None => {}
			}
			if cancelled() {
				let now = self.shared.jobs.borrow().as_ref().map(|now| now.parent).filter(|now| *now != job.parent);
				return match self.cancel(PATIENCE) {
					Failure::Cancelled => {
						now.into_iter().for_each(|parent| self.obeyed(parent, "idle work"));
						Ok(None)
					}
					failure => Err(failure),
				};
			}
			if progress.elapsed() > PATIENCE {
				return Err(HUNG);
			}
		}
	}
}

impl Backend for Remote {
	fn name(&self) -> Option<&str> {
		Some(&self.name)
	}

	fn is_gone(&self) -> bool {
		// What came late of jobs that are over must not keep the connection waiting.
		while self.inbox.try_recv().is_ok() {}
		self.dismissed.get() || self.outgoing.is_gone()
	}

	fn run(&self, origin: &Origin, plan: &UnitPlan, miner: &dyn Miner) -> Result<UnitOutput, BackendError> {
		let unit = Unit::new(self, origin, plan, miner);
		unit.run().map_err(|failure| {
			if matches!(failure, Failure::Dismiss(..)) {
				self.shared.checkpoints.forget(&origin.unit, origin.base());
			}
			self.failed(failure)
		})
	}

	fn idle(
		&self,
		job: &MiningJob,
		account: &AccountId,
		done: &dyn Fn(u32),
		cancelled: &(dyn Fn() -> bool + Sync),
	) -> Result<Option<IdleProof>, BackendError> {
		self.run_idle(job, account, done, cancelled).map_err(|failure| self.failed(failure))
	}
}

/// What the bytes that come now are.
enum Announced {
	Checkpoint(u32),
	Result(Vec<u8>),
}

/// Announced bytes on their way: blobs of known lengths.
struct Incoming {
	what: Announced,
	lengths: Vec<usize>,
	blobs: Vec<Vec<u8>>,
}

impl Incoming {
	/// Takes the next bytes, and says whether all are there. None: there are too many.
	fn take(&mut self, mut bytes: &[u8]) -> Option<bool> {
		while !bytes.is_empty() {
			if self.blobs.last().is_none_or(|blob| Some(&blob.len()) == self.lengths.get(self.blobs.len() - 1)) {
				self.blobs.push(Vec::new());
			}
			let length = *self.lengths.get(self.blobs.len() - 1)?;
			let blob = self.blobs.last_mut()?;
			let (these, rest) = bytes.split_at(bytes.len().min(length - blob.len()));
			blob.extend_from_slice(these);
			bytes = rest;
		}
		Some(self.blobs.iter().map(Vec::len).eq(self.lengths.iter().copied()))
	}
}

/// A unit that the miner computes.
struct Unit<'a> {
	remote: &'a Remote,
	origin: &'a Origin,
	plan: &'a UnitPlan,
	program: &'a Program,
	miner: &'a dyn Miner,
	/// What the miner was told to draw tickets for.
	target: Option<Target>,
	/// A parent that the miner has not turned to yet.
	unheard: Option<[u8; 32]>,
	/// Whether the miner said which tensors it lacks.
	fed: bool,
	/// Steps done.
	done: u32,
	progress: Instant,
	patience: Duration,
	incoming: Option<Incoming>,
	/// Commitments of the parameters at checkpoints.
	checkpoints: Vec<(u32, Vec<Commitment>)>,
	/// What the tickets said of their operands.
	won: Vec<(OpIndex, [Commitment; 2])>,
}

impl<'a> Unit<'a> {
	fn new(remote: &'a Remote, origin: &'a Origin, plan: &'a UnitPlan, miner: &'a dyn Miner) -> Self {
		let program = &*plan.program;
		Self {
			remote,
			origin,
			plan,
			program,
			miner,
			target: miner.target().map(Target::from),
			unheard: None,
			fed: false,
			done: 0,
			progress: Instant::now(),
			patience: PATIENCE + Duration::from_secs(program.macs() / SLOWEST_MACS),
			incoming: None,
			checkpoints: Vec::new(),
			won: Vec::new(),
		}
	}

	fn steps(&self) -> u32 {
		self.plan.batches.len() as u32
	}

	fn run(mut self) -> Result<UnitOutput, Failure> {
		let steps = self.work().ok_or(Failure::GivenBack(protocol::End::TooLarge))?;
		self.remote.start(Work::Steps(Box::new(steps)))?;
		loop {
			if let Some(report) = self.remote.next()? {
				if let Some(output) = self.on(report)? {
					return Ok(output);
				}
			}
			if self.miner.cancelled() {
				if self.incoming.as_ref().is_some_and(|incoming| matches!(incoming.what, Announced::Result(_))) {
					// The miner may be done with the job, and would not answer. What still comes of it is ignored.
					self.remote.tell(Order::Cancel)?;
					return Err(Failure::Cancelled);
				}
				return Err(self.remote.cancel(self.patience));
			}
			self.retarget()?;
			if self.progress.elapsed() > self.patience {
				return Err(HUNG);
			}
		}
	}

	/// The unit in the protocol's words. None: it is beyond the protocol's bounds, as no task of the chain is.
	fn work(&self) -> Option<Steps> {
		let plan = self.plan;
		Some(Steps {
			graph: self.program.graph().clone(),
			rounding: plan.context.rounding.0,
			rate_drops: plan.context.rate_drops,
			rows: plan.features.shape().rows,
			features: plan.features_commitment,
			labels: plan.labels_commitment,
			parameters: self.origin.base().to_vec().try_into().ok()?,
			batches: plan.batches.clone().try_into().ok()?,
			checkpoint_every: Checkpoints::every(self.steps()),
			target: self.target,
		})
	}

	/// Tells the miner what to draw tickets for, if that is something else now.
	fn retarget(&mut self) -> Result<(), Failure> {
		let target = self.miner.target().map(Target::from);
		if target != self.target {
			let parent = |target: Option<Target>| target.map(|target| target.parent);
			if parent(target) != parent(self.target) {
				self.unheard = parent(target);
			}
			self.target = target;
			self.remote.tell(Order::Target(target))?;
		}
		Ok(())
	}

	/// Takes a report. Some: the unit is computed.
	fn on(&mut self, report: Report) -> Result<Option<UnitOutput>, Failure> {
		match report {
			Report::Needs(needs) if !self.fed => {
				self.fed = true;
				self.feed(&needs)?;
				self.progress = Instant::now();
			}
			Report::Ended(end) if end != protocol::End::Cancelled => return Err(Failure::GivenBack(end)),
			_ if !self.fed => return Err(PROTOCOL),
			Report::Drawing(parent) => {
				if self.unheard == Some(parent) {
					self.unheard = None;
					self.remote.obeyed(Hash::from(parent), "a unit");
				}
			}
			Report::Won { parent, proof } => self.on_won(parent, *proof)?,
			Report::Progress(done) => {
				if done <= self.done || done > self.steps() {
					return Err(PROTOCOL);
				}
				(self.done + 1..=done).for_each(|step| self.miner.progress(step, self.steps()));
				self.done = done;
				self.progress = Instant::now();
			}
			Report::Checkpoint(step) => self.announce_checkpoint(step)?,
			Report::Result { classes } => {
				let trace = self.program.trace_entries(self.steps()) as usize * 32;
				let training = self.program.is_training();
				let parameters = self.parameter_lengths().filter(|_| training);
				let lengths = [trace].into_iter().chain(parameters).collect();
				self.announce(Announced::Result(classes.into_inner()), lengths)?;
			}
			Report::Part(part) => return self.on_part(&part),
			Report::Needs(_) | Report::WonIdle(_) | Report::Ended(_) => return Err(PROTOCOL),
		}
		Ok(None)
	}

	/// Sends the tensors that the miner lacks.
	fn feed(&self, needs: &[u8]) -> Result<(), Failure> {
		let plan = self.plan;
		let tensors: Vec<_> = [&plan.features].into_iter().chain(&plan.labels).chain(&plan.parameters).collect();
		if !needs.is_sorted_by(|a, b| a < b) {
			return Err(PROTOCOL);
		}
		for need in needs {
			let tensor = tensors.get(usize::from(*need)).ok_or(PROTOCOL)?;
			for part in protocol::parts(tensor.bytes()) {
				if self.miner.cancelled() {
					// The caller cancels.
					return Ok(());
				}
				self.remote.outgoing.part(self.remote.message(Order::Part(part)))?;
			}
		}
		Ok(())
	}

	fn on_won(&mut self, parent: [u8; 32], proof: UsefulProof) -> Result<(), Failure> {
		// Too late: nobody builds on that parent any more, or another ticket on it became a block.
		let Some(target) = self.target.filter(|target| target.parent == parent) else { return Ok(()) };
		if !verify(self.origin, self.program, &target, &proof) {
			return Err(wrong("a ticket that does not win"));
		}
		self.won.push((proof.op, [proof.a, proof.b]));
		self.miner.won(&target.into(), proof);
		self.retarget()
	}

	fn parameter_lengths(&self) -> impl Iterator<Item = usize> + 'a {
		self.program.graph().parameters.iter().map(|shape| shape.bytes(ElementType::I32) as usize)
	}

	fn announce_checkpoint(&mut self, step: u32) -> Result<(), Failure> {
		let last = self.checkpoints.last().map_or(0, |(last, _)| *last);
		let due = Checkpoints::wants(self.steps(), step) && step > last && step < self.steps();
		if !due || !self.program.is_training() {
			return Err(PROTOCOL);
		}
		let lengths = self.parameter_lengths().collect();
		self.announce(Announced::Checkpoint(step), lengths)
	}

	fn announce(&mut self, what: Announced, lengths: Vec<usize>) -> Result<(), Failure> {
		if self.incoming.is_some() {
			return Err(PROTOCOL);
		}
		self.incoming = Some(Incoming { what, lengths, blobs: Vec::new() });
		self.progress = Instant::now();
		Ok(())
	}

	fn on_part(&mut self, part: &[u8]) -> Result<Option<UnitOutput>, Failure> {
		let mut incoming = self.incoming.take().filter(|_| !part.is_empty()).ok_or(PROTOCOL)?;
		self.progress = Instant::now();
		if !incoming.take(part).ok_or(PROTOCOL)? {
			self.incoming = Some(incoming);
			return Ok(None);
		}
		match incoming.what {
			Announced::Checkpoint(step) => {
				let parameters = self.parameters(incoming.blobs)?;
				self.checkpoints.push((step, parameters.iter().map(|(commitment, _)| *commitment).collect()));
				self.miner.entered(step, &|| parameters.iter().map(|(_, tensor)| tensor.clone()).collect());
				Ok(None)
			}
			Announced::Result(classes) => {
				let output = self.output(classes, incoming.blobs)?;
				self.check(&output)?;
				(self.done + 1..=self.steps()).for_each(|step| self.miner.progress(step, self.steps()));
				Ok(Some(output))
			}
		}
	}

	/// Parameters of their bytes.
	fn parameters(&self, blobs: Vec<Vec<u8>>) -> Result<Vec<(Commitment, Arc<Tensor>)>, Failure> {
		let tensors = blobs.into_iter().zip(&self.program.graph().parameters).map(|(bytes, shape)| {
			let tensor = Tensor::from_bytes(*shape, ElementType::I32, bytes).map_err(|_| PROTOCOL)?;
			Ok((tensor.commitment(), Arc::new(tensor)))
		});
		tensors.collect()
	}

	/// The unit's output: what the miner sent, and what follows from it.
	fn output(&self, classes: Vec<u8>, mut blobs: Vec<Vec<u8>>) -> Result<UnitOutput, Failure> {
		let parameters = blobs.split_off(1);
		let trace = protocol::commitments(&blobs.concat()).ok_or(PROTOCOL)?;
		let (training, ops) = (self.program.is_training(), self.program.ops() as usize);
		let parameters = match training {
			true => self.parameters(parameters)?,
			false => self.plan.parameters.iter().map(|tensor| (tensor.commitment(), tensor.clone())).collect(),
		};
		let metrics = match self.program.metrics_op() {
			Some(_) => trace.last().and_then(RunningMetrics::from_entry).ok_or(wrong("metrics that are none"))?,
			None => RunningMetrics::default(),
		};
		let outputs = match training {
			true => Vec::new(),
			false => {
				trace.chunks_exact(ops).take(self.plan.batches.len()).filter_map(|step| step.last().copied()).collect()
			}
		};
		let loss = i64::try_from(metrics.loss).map_err(|_| wrong("metrics that are none"))?;
		Ok(UnitOutput { trace: Trace(trace), parameters, loss, correct: metrics.correct, classes, outputs })
	}

	/// Looks at a result as far as that is cheap.
	fn check(&self, output: &UnitOutput) -> Result<(), Failure> {
		let draft = Draft::of_steps(self.origin.clone(), self.program, output.clone());
		draft.result(&[]).map_err(|_| wrong("a result that contradicts itself"))?;
		let trace = &output.trace;
		let said = |op: OpIndex| trace.0.get(op.0 as usize).copied();
		for (op, operands) in &self.won {
			let known = self.origin.spec.operand_ops(self.program, *op).ok_or(PROTOCOL)?;
			if known.iter().zip(operands).any(|(op, operand)| op.is_some_and(|op| said(op) != Some(*operand))) {
				return Err(wrong("a ticket whose operands are not in the trace"));
			}
		}
		for (step, parameters) in &self.checkpoints {
			let updated = |index: u8| OpIndex::new(self.program, step - 1, self.program.update_of(index)?);
			let agrees = |(index, parameter): (u8, &Commitment)| updated(index).and_then(said) == Some(*parameter);
			if !(0u8..).zip(parameters).all(agrees) {
				return Err(wrong("a checkpoint that is not in the trace"));
			}
		}
		self.spot_check(trace)
	}

	/// Computes a step again: the first one, or one at a checkpoint.
	fn spot_check(&self, trace: &Trace) -> Result<(), Failure> {
		let drawn = rand::thread_rng().gen_range(0..=self.checkpoints.len());
		let step = drawn.checked_sub(1).and_then(|index| self.checkpoints.get(index)).map_or(0, |(step, _)| *step);
		let kept = self.remote.shared.checkpoints.before(&self.origin.unit, self.origin.base(), step);
		let (step, parameters) = kept.unwrap_or_else(|| (0, self.plan.parameters.clone()));
		let plan = UnitPlan { parameters, ..self.plan.clone() };
		let cancelled = || self.miner.cancelled();
		let tensors =
			self.remote.shared.engine.replay(&plan, step, step, &cancelled).map_err(|_| Failure::Cancelled)?;
		match is_in_trace(trace, self.program, step, &tensors.commitments) {
			true => Ok(()),
			false => Err(wrong("a step that gives something else")),
		}
	}
}

/// Whether a ticket wins: as the chain verifies it.
fn verify(origin: &Origin, program: &Program, target: &Target, proof: &UsefulProof) -> bool {
	let UnitRef { round, kind: UnitKind::Steps(unit), .. } = origin.unit else { return false };
	let Ok(work) = origin.spec.resolve(program, round, unit, proof.op, proof.tile) else { return false };
	let known = [(work.known_a, proof.a), (work.known_b, proof.b)];
	if proof.assignment != target.assignment
		|| known.iter().any(|(known, said)| known.is_some_and(|known| known != *said))
	{
		return false;
	}
	let Target { genesis, parent, assignment, difficulty } = target;
	let (op, a, b) = (proof.op, &proof.a, &proof.b);
	let seed = UsefulSeed { genesis, parent, assignment: *assignment, op, a, b, product: work.product };
	proof.verify(&seed.seed(), &work.product, &work.a, &work.b, *difficulty).is_ok()
}
