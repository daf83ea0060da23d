//! Units as their workers compute them, or say they did, and what is demanded of them.

use frame_support::{assert_ok, dispatch::DispatchResult};
use labora_engine::{Engine, UnitOutput};
use labora_graph::{OpIndex, RunningMetrics, Trace};
use labora_primitives::{money::stake, AccountId, Answer, Assignment, AssignmentId, Claim, StandingResult, TaskId};
use labora_runtime::{constants::*, Balance, Disputes, Runtime, RuntimeEvent, RuntimeOrigin};
use labora_tensor::{Commitment, Tensor};
use labora_witness::{Honest, StepsWitness};
use pallet_disputes::Fault;

use super::*;

pub type DisputeError = pallet_disputes::Error<Runtime>;
pub type DisputeEvent = pallet_disputes::Event<Runtime>;

pub const CHALLENGER: AccountId = OTHER;

/// A unit as its worker computed it, or says it did.
pub struct Computed {
	pub assignment: Assignment,
	pub parameters: Vec<Tensor>,
	pub output: UnitOutput,
}

pub fn compute(assignment: &Assignment, parameters: &[Tensor]) -> Computed {
	let (output, _) = run(&training_spec(), assignment, parameters);
	Computed { assignment: assignment.clone(), parameters: parameters.to_vec(), output }
}

impl Computed {
	/// Says something else about the output of an op.
	pub fn lie(mut self, op: u32) -> Self {
		self.output.trace.0[op as usize] = Commitment::of(&[7; 1024]);
		self
	}

	/// Says that nothing was lost on any row.
	pub fn lie_about_the_metrics(mut self) -> Self {
		let better = RunningMetrics { loss: 0, correct: self.output.correct };
		if let Some(last) = self.output.trace.0.last_mut() {
			*last = better.to_entry();
		}
		self.output.loss = 0;
		self
	}

	/// Submits the result and gives what stands.
	pub fn submit(&self) -> StandingResult {
		let spec = training_spec();
		assert_ok!(submit(&MINER, self.assignment.id, result_of(&spec, &self.assignment, &self.output)));
		standing(self.assignment.id).expect("accepted")
	}

	/// The answer to a claim, as far as the worker has what it says it has.
	pub fn answer(&self, claim: &Claim) -> Option<Answer> {
		let spec = training_spec();
		let program = spec.check().unwrap();
		let plan = plan(&spec, &self.assignment, &self.parameters);
		let unit = self.assignment.unit;
		let witness = StepsWitness { spec: &spec, program: &program, unit, plan: &plan, trace: &self.output.trace };
		let tensors = witness.step(claim).map(|step| Engine::best(1).replay(&plan, 0, step, &|| false).unwrap());
		witness.answer(claim, tensors.as_ref())
	}
}

impl Honest for Computed {
	fn trace(&self) -> &Trace {
		&self.output.trace
	}

	fn tensor(&self, op: OpIndex) -> Option<Tensor> {
		let spec = training_spec();
		let (step, number) = op.split(&spec.check().ok()?);
		let plan = plan(&spec, &self.assignment, &self.parameters);
		let tensors = Engine::best(1).replay(&plan, 0, step, &|| false).ok()?;
		tensors.outputs.into_iter().nth(usize::from(number))
	}
}

pub fn standing(id: AssignmentId) -> Option<StandingResult> {
	pallet_tasks::Standing::<Runtime>::get(id)
}

pub fn demands(id: AssignmentId) -> Vec<Claim> {
	pallet_disputes::Demands::<Runtime>::get(id).into_iter().map(|demand| demand.claim).collect()
}

pub fn challenge(id: AssignmentId, claim: Claim) -> DispatchResult {
	Disputes::challenge(RuntimeOrigin::signed(CHALLENGER), id, claim)
}

pub fn answer(who: &AccountId, id: AssignmentId, claim: Claim, answer: Answer) -> DispatchResult {
	let answered = Disputes::answer(RuntimeOrigin::signed(who.clone()), id, claim, answer);
	answered.map(|_| ()).map_err(|error| error.error)
}

pub fn fell(id: AssignmentId) -> Option<Fault> {
	System::events().into_iter().find_map(|record| match record.event {
		RuntimeEvent::Disputes(DisputeEvent::ResultFell { assignment, fault, .. }) if assignment == id => Some(fault),
		_ => None,
	})
}

pub fn unit_stake() -> Balance {
	let ops = training_graph().ops.len() as u32;
	stake(PRICE, BLOCK_REWARD, ops, u32::from(AUDIT_STEPS) * u32::from(AUDIT_BLOCKS))
}

/// A task with a worker that has its two units.
pub fn with_units(test: impl FnOnce(TaskId, Vec<Assignment>)) {
	new_chain().execute_with(|| {
		let task = block(&OTHER, || {
			register_worker(&MINER, 4);
			register_task(training_spec(), 100 * PRICE)
		});
		let units = assignments(&MINER);
		assert_eq!(units.len(), 2);
		test(task, units);
	});
}

/// Answers everything that is demanded of a unit.
pub fn answer_all(computed: &Computed) {
	let id = computed.assignment.id;
	for claim in demands(id) {
		let shown = computed.answer(&claim).expect("the worker has computed it");
		assert_ok!(answer(&MINER, id, claim, shown));
	}
}
