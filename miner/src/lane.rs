//! A lane of the miner: a thread that computes one job at a time.

use std::{
	sync::{
		atomic::{AtomicBool, Ordering},
		mpsc::{Receiver, RecvTimeoutError},
		Arc,
	},
	time::{Duration, Instant},
};

use labora_engine::{Engine, Miner, MiningTarget, UnitOutput, UnitPlan};
use labora_graph::{Program, RoundingKey, StepContext};
use labora_pouw::{IdleSeed, UsefulProof};
use labora_tensor::{ElementType, Shape, Tensor};
use parking_lot::Mutex;

use crate::{
	cache::{Cache, Key},
	connection::{Gone, Outgoing},
	protocol::{parts, End, Idle, Part, Report, Steps, Target, ToNode, Work},
};

/// How often a lane that waits for tensors looks whether its job is cancelled.
const POLL: Duration = Duration::from_millis(5);
/// Time between two reports of progress.
const REPORTS: Duration = Duration::from_millis(50);

/// A job, as far as it changes while it is computed.
#[derive(Debug, Default)]
pub struct Job {
	/// Its number.
	pub number: u64,
	/// Whether it is abandoned.
	pub cancelled: AtomicBool,
	/// What to draw tickets for.
	pub target: Mutex<Option<Target>>,
}

impl Job {
	fn is_cancelled(&self) -> bool {
		self.cancelled.load(Ordering::Relaxed)
	}
}

/// What a lane is given.
pub enum Input {
	/// A new job.
	Start(Arc<Job>, Work),
	/// Bytes of the tensors that a job needs.
	Part(u64, Part),
}

/// What the lanes of a miner share.
pub struct Shared {
	/// Computes; one thread: lanes are the threads.
	pub engine: Engine,
	/// Tensors of earlier jobs.
	pub cache: Cache,
}

/// A lane.
pub struct Lane {
	/// Its number.
	pub number: u16,
	/// What the lanes share.
	pub shared: Arc<Shared>,
	/// To the node.
	pub outgoing: Outgoing<ToNode>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum JobError {
	#[error(transparent)]
	Ended(#[from] End),
	#[error(transparent)]
	Gone(#[from] Gone),
}

impl Lane {
	/// Works on what comes from the node until the connection is gone.
	pub fn run(&self, inbox: &Receiver<Input>) {
		while let Ok(input) = inbox.recv() {
			// Parts of a job that is over.
			let Input::Start(job, work) = input else { continue };
			let (began, name) = (Instant::now(), describe(&work));
			log::debug!("Lane {}, job {}: {name}", self.number, job.number);
			let done = match work {
				Work::Steps(steps) => self.steps(&job, &steps, inbox),
				Work::Idle(idle) => self.idle(&job, &idle),
			};
			let seconds = began.elapsed().as_secs_f32();
			match done {
				Ok(()) if matches!(name, "idle work") => {}
				Ok(()) => log::info!("✅ Lane {} finished {name} in {seconds:.1} s", self.number),
				Err(JobError::Ended(end)) => {
					if end != End::Cancelled {
						log::warn!("Lane {} gives back {name}: {end}", self.number);
					}
					if self.report(&job, Report::Ended(end)).is_err() {
						return;
					}
				}
				Err(JobError::Gone(_)) => return,
			}
		}
	}

	fn message(&self, job: &Job, report: Report) -> ToNode {
		ToNode::Lane { lane: self.number, job: job.number, report }
	}

	fn report(&self, job: &Job, report: Report) -> Result<(), Gone> {
		self.outgoing.urgent(self.message(job, report))
	}

	/// Sends an announcement and the bytes that follow it.
	fn send(&self, job: &Job, what: Report, bytes: &[&[u8]]) -> Result<(), JobError> {
		self.outgoing.part(self.message(job, what))?;
		for part in bytes.iter().flat_map(|bytes| parts(bytes)) {
			if job.is_cancelled() {
				return Err(End::Cancelled.into());
			}
			self.outgoing.part(self.message(job, Report::Part(part)))?;
		}
		Ok(())
	}

	fn idle(&self, job: &Job, idle: &Idle) -> Result<(), JobError> {
		let Idle { genesis, parent, account, difficulty, mut nonce } = *idle;
		let cancelled = || job.is_cancelled();
		let (mut done, mut reported) = (0u32, Instant::now());
		while !cancelled() {
			let seed = IdleSeed { genesis: &genesis, parent: &parent, account: &account, nonce };
			if let Some(proof) = self.shared.engine.idle(&seed, difficulty, &cancelled) {
				return Ok(self.report(job, Report::WonIdle(proof))?);
			}
			nonce = nonce.wrapping_add(1);
			done = done.saturating_add(1);
			if reported.elapsed() >= REPORTS {
				self.report(job, Report::Progress(std::mem::take(&mut done)))?;
				reported = Instant::now();
			}
		}
		Err(End::Cancelled.into())
	}

	fn steps(&self, job: &Job, steps: &Steps, inbox: &Receiver<Input>) -> Result<(), JobError> {
		let plan = self.plan(job, steps, inbox)?;
		let training = plan.program.is_training();
		let miner = Hooks { lane: self, job, every: steps.checkpoint_every, told: Mutex::new((None, Instant::now())) };
		let output = self.shared.engine.run(&plan, &miner).map_err(|error| match error {
			labora_engine::EngineError::Cancelled => End::Cancelled,
			error => {
				log::warn!("The node's unit cannot be run: {error}");
				End::BadJob
			}
		})?;
		let UnitOutput { trace, parameters, classes, .. } = output;
		let trace: Vec<u8> = trace.0.iter().flat_map(|entry| entry.0).collect();
		let mut bytes = vec![&trace[..]];
		if training {
			bytes.extend(parameters.iter().map(|(_, tensor)| tensor.bytes()));
		}
		let classes = classes.try_into().map_err(|_| End::BadJob)?;
		self.send(job, Report::Result { classes }, &bytes)
	}

	/// What the engine runs. What is missing of it is asked of the node.
	fn plan(&self, job: &Job, steps: &Steps, inbox: &Receiver<Input>) -> Result<UnitPlan, JobError> {
		let program = Program::new(steps.graph.clone()).map_err(|_| End::BadJob)?;
		let keys = tensors(steps);
		let bytes = |key: &Key| key.1.bytes(key.2);
		let room = self.shared.cache.capacity() as u64;
		if keys.iter().map(bytes).fold(0, u64::saturating_add) > room {
			return Err(End::TooLarge.into());
		}
		let mut held: Vec<_> = keys.iter().map(|key| self.shared.cache.get(key)).collect();
		let needs: Vec<u8> = (0u8..).zip(&held).filter(|(_, tensor)| tensor.is_none()).map(|(i, _)| i).collect();
		let needs = needs.try_into().map_err(|_| End::BadJob)?;
		self.report(job, Report::Needs(needs))?;
		let mut parts = Parts { inbox, job, left: Vec::new() };
		for (key, tensor) in keys.iter().zip(&mut held) {
			if tensor.is_none() {
				let received = parts.tensor(key)?;
				self.shared.cache.insert(*key, received.clone());
				*tensor = Some(received);
			}
		}
		let mut held = held.into_iter().flatten();
		let mut next = || held.next().ok_or(End::BadJob);
		Ok(UnitPlan {
			context: StepContext { rounding: RoundingKey(steps.rounding), rate_drops: steps.rate_drops },
			features: next()?,
			features_commitment: steps.features,
			labels: steps.labels.map(|_| next()).transpose()?,
			labels_commitment: steps.labels,
			parameters: (0..steps.parameters.len()).map(|_| next()).collect::<Result<_, _>>()?,
			batches: steps.batches.to_vec(),
			program: Arc::new(program),
		})
	}
}

/// The tensors of a unit, in the order of [`Report::Needs`].
fn tensors(steps: &Steps) -> Vec<Key> {
	let data = |cols| Shape { rows: steps.rows, cols };
	let features = (steps.features, data(steps.graph.features), ElementType::I8);
	let labels = steps.labels.map(|labels| (labels, data(1), ElementType::I8));
	let parameters = steps.parameters.iter().zip(&steps.graph.parameters);
	let parameters = parameters.map(|(commitment, shape)| (*commitment, *shape, ElementType::I32));
	[features].into_iter().chain(labels).chain(parameters).collect()
}

fn describe(work: &Work) -> &'static str {
	match work {
		Work::Steps(_) => "a unit",
		Work::Idle(_) => "idle work",
	}
}

/// The bytes of tensors, as they come.
struct Parts<'a> {
	inbox: &'a Receiver<Input>,
	job: &'a Job,
	/// Of the last part.
	left: Vec<u8>,
}

impl Parts<'_> {
	fn next(&self) -> Result<Part, JobError> {
		loop {
			if self.job.is_cancelled() {
				return Err(End::Cancelled.into());
			}
			match self.inbox.recv_timeout(POLL) {
				Ok(Input::Part(job, part)) if job == self.job.number => return Ok(part),
				// Of a job that is over.
				Ok(Input::Part(..)) | Err(RecvTimeoutError::Timeout) => {}
				Ok(Input::Start(..)) => return Err(End::BadJob.into()),
				Err(RecvTimeoutError::Disconnected) => return Err(Gone.into()),
			}
		}
	}

	fn tensor(&mut self, key: &Key) -> Result<Arc<Tensor>, JobError> {
		let (commitment, shape, element) = *key;
		let wanted = shape.bytes(element) as usize;
		let mut bytes = std::mem::take(&mut self.left);
		while bytes.len() < wanted {
			bytes.extend_from_slice(&self.next()?);
		}
		self.left = bytes.split_off(wanted);
		let tensor = Tensor::from_bytes(shape, element, bytes).map_err(|_| End::BadJob)?;
		if tensor.commitment() != commitment {
			return Err(End::BadJob.into());
		}
		Ok(Arc::new(tensor))
	}
}

/// What the engine asks and tells.
struct Hooks<'a> {
	lane: &'a Lane,
	job: &'a Job,
	/// Steps between two checkpoints.
	every: u32,
	/// The parent that the node knows tickets are drawn for, and when progress was reported last.
	told: Mutex<(Option<[u8; 32]>, Instant)>,
}

impl Miner for Hooks<'_> {
	fn target(&self) -> Option<MiningTarget> {
		let target = *self.job.target.lock();
		if let Some(parent) = target.map(|target| target.parent) {
			let news = self.told.lock().0.replace(parent) != Some(parent);
			if news {
				// Without a connection the job is cancelled.
				let _ = self.lane.report(self.job, Report::Drawing(parent));
			}
		}
		target.map(MiningTarget::from)
	}

	fn won(&self, target: &MiningTarget, proof: UsefulProof) {
		log::info!("🏆 Lane {} won a ticket", self.lane.number);
		let _ = self.lane.report(self.job, Report::Won { parent: target.parent, proof: Box::new(proof) });
	}

	fn cancelled(&self) -> bool {
		self.job.is_cancelled() || self.lane.outgoing.is_gone()
	}

	fn progress(&self, done: u32, of: u32) {
		let mut told = self.told.lock();
		if done == of || told.1.elapsed() >= REPORTS {
			told.1 = Instant::now();
			let _ = self.lane.report(self.job, Report::Progress(done));
		}
	}

	fn entered(&self, step: u32, parameters: &dyn Fn() -> Vec<Arc<Tensor>>) {
		if step.checked_rem(self.every) == Some(0) {
			let parameters = parameters();
			let bytes: Vec<_> = parameters.iter().map(|tensor| tensor.bytes()).collect();
			let _ = self.lane.send(self.job, Report::Checkpoint(step), &bytes);
		}
	}
}
