//! The prover: shows what audits and challenges demand of this miner's results. It computes the steps in question again, from the
//! nearest checkpoint, on a thread of its own: lanes go on mining.

use std::{
	collections::BTreeMap,
	sync::{mpsc, Arc},
	thread::JoinHandle,
};

use labora_engine::{EngineError, NoMiner, UnitPlan};
use labora_graph::{Program, Trace};
use labora_primitives::{Answer, AssignmentId, Claim, SpecError, StandingResult};
use labora_tensor::Commitment;
use labora_witness::{MergeWitness, StepsWitness};
use tokio::sync::mpsc::UnboundedSender;

use super::{
	describe,
	inputs::{InputError, Inputs},
	lanes::Shared,
	unit::Origin,
	LOG_TARGET,
};

/// What is to be shown of a result.
pub(super) struct Request {
	pub(super) assignment: AssignmentId,
	pub(super) result: StandingResult,
	/// What the unit was computed from.
	pub(super) origin: Origin,
	/// Its trace, if it is still known.
	pub(super) trace: Option<Trace>,
	pub(super) claims: Vec<Claim>,
}

/// What was asked, and the answer. None: it cannot be given.
pub(super) struct Proved {
	pub(super) assignment: AssignmentId,
	pub(super) claim: Claim,
	pub(super) answer: Option<Answer>,
}

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
enum ProveError {
	#[error(transparent)]
	Inputs(#[from] InputError),
	#[error("the task is not well-formed: {0:?}")]
	Spec(SpecError),
	#[error(transparent)]
	Engine(#[from] EngineError),
	#[error("computing the unit again gives another result than the one submitted")]
	AnotherResult,
}

/// The running prover. Dropping it stops it.
pub(super) struct Prover {
	requests: Option<mpsc::Sender<Request>>,
	thread: Option<JoinHandle<()>>,
}

impl Prover {
	/// Starts it; what it proved goes to `proved`.
	pub(super) fn start(shared: Arc<Shared>, proved: UnboundedSender<Proved>) -> Self {
		let (requests, queue) = mpsc::channel::<Request>();
		let work = move || {
			for request in queue {
				if shared.is_closed() {
					return;
				}
				answer_all(&shared, &request, &proved);
			}
		};
		let thread = std::thread::Builder::new().name("labora-prover".into()).spawn(work);
		let thread =
			thread.map_err(|error| log::error!(target: LOG_TARGET, "The prover could not be started: {error}")).ok();
		Self { requests: Some(requests), thread }
	}

	/// Has something shown.
	pub(super) fn ask(&self, request: Request) {
		if let Some(requests) = &self.requests {
			// Without a receiver the node stops.
			let _ = requests.send(request);
		}
	}
}

impl Drop for Prover {
	fn drop(&mut self) {
		self.requests = None;
		if let Some(thread) = self.thread.take() {
			// A prover that panicked has nothing to say any more.
			let _ = thread.join();
		}
	}
}

fn answer_all(shared: &Shared, request: &Request, proved: &UnboundedSender<Proved>) {
	let name = describe(request.assignment, &request.result.unit);
	let answers = match prove(shared, request) {
		Ok(answers) => answers,
		Err(error) => {
			log::error!(target: LOG_TARGET, "What is demanded of {name} cannot be shown: {error}");
			BTreeMap::new()
		}
	};
	for claim in &request.claims {
		let answer = answers.get(claim).cloned();
		let _ = proved.send(Proved { assignment: request.assignment, claim: *claim, answer });
	}
}

/// Whether a trace says the same of a step.
pub(super) fn is_in_trace(trace: &Trace, program: &Program, step: u32, commitments: &[Commitment]) -> bool {
	let start = step as usize * program.ops() as usize;
	trace.0.get(start..start + program.ops() as usize) == Some(commitments)
}

/// The answers that can be given.
fn prove(shared: &Shared, request: &Request) -> Result<BTreeMap<Claim, Answer>, ProveError> {
	let Request { result, origin, .. } = request;
	let spec = &origin.spec;
	let program = origin.program().map_err(ProveError::Spec)?;
	let engine = &shared.engine;
	let mut answers = BTreeMap::new();
	match shared.tensors.inputs(origin, &program)? {
		Inputs::Merge(sets) => {
			let merged: Vec<_> = engine.merge(&sets)?.into_iter().map(|(_, tensor)| tensor).collect();
			let witness = MergeWitness { spec, program: &program, sets: &sets, merged: &merged };
			answers.extend(request.claims.iter().filter_map(|claim| Some((*claim, witness.answer(claim)?))));
		}
		Inputs::Steps(plan) => {
			let kept = request.trace.clone().filter(|trace| trace.root() == result.trace_root);
			let trace = match kept {
				Some(trace) => trace,
				None => engine.run(&plan, &NoMiner)?.trace,
			};
			if trace.root() != result.trace_root {
				return Err(ProveError::AnotherResult);
			}
			let witness = StepsWitness { spec, program: &program, unit: result.unit, plan: &plan, trace: &trace };
			// Claims about one step are answered together.
			let mut by_step = BTreeMap::<Option<u32>, Vec<Claim>>::new();
			for claim in &request.claims {
				by_step.entry(witness.step(claim)).or_default().push(*claim);
			}
			for (step, claims) in by_step {
				let tensors = step.map(|step| {
					let replay = |from, parameters| {
						let plan = UnitPlan { parameters, ..plan.clone() };
						engine.replay(&plan, from, step, &|| shared.is_closed())
					};
					if let Some((from, parameters)) = shared.checkpoints.before(&result.unit, &result.base, step) {
						let tensors = replay(from, parameters)?;
						// The checkpoint may be a miner's that computes this unit again right now, and wrongly.
						if is_in_trace(&trace, &program, step, &tensors.commitments) {
							return Ok(tensors);
						}
					}
					replay(0, plan.parameters.clone())
				});
				let tensors = tensors.transpose()?;
				answers
					.extend(claims.iter().filter_map(|claim| Some((*claim, witness.answer(claim, tensors.as_ref())?))));
			}
		}
	}
	Ok(answers)
}
