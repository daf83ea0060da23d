//! From what the engine computed to the result that the chain takes.

use codec::{Decode, Encode};
use labora_engine::UnitOutput;
use labora_graph::{OpIndex, Program, Trace};
use labora_primitives::{ResultError, Seal, SealOpening, SpecError, UnitKind, UnitMetrics, UnitResult};
use labora_tensor::{Commitment, Opening, Tensor};
use std::sync::Arc;

use super::unit::Origin;

/// A computed unit: everything of its result but the openings for the blocks that it sealed, which are known only when it is
/// submitted. The tensors themselves are in the store.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Draft {
	/// What it was computed from.
	pub origin: Origin,
	/// The commitments of all op outputs; of a merge, of the merged parameters.
	trace: Vec<Commitment>,
	/// The parameters after the last step, or merged; empty for inference.
	pub parameters: Vec<Commitment>,
	metrics: UnitMetrics,
	classes: Vec<u8>,
}

/// Why no result can be built. With a draft of this node's own engine that never happens.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
	/// The task is not one.
	#[error("the task is not well-formed: {0:?}")]
	Spec(SpecError),
	/// An op is outside the trace.
	#[error("op {} is outside the trace", .0 .0)]
	NoSuchOp(OpIndex),
	/// There is more in the result than the chain takes.
	#[error("the result is too large")]
	TooLarge,
	/// The chain would refuse the result.
	#[error("the result contradicts itself or the chain: {0:?}")]
	Refused(ResultError),
}

impl Draft {
	/// Of a unit of steps.
	pub fn of_steps(origin: Origin, program: &Program, output: UnitOutput) -> Self {
		let rows = u64::from(origin.spec.job.steps()) * u64::from(program.graph().batch);
		let metrics = match program.metrics_op() {
			Some(_) => UnitMetrics { loss: output.loss.try_into().unwrap_or(0), correct: output.correct, rows },
			None => UnitMetrics::default(),
		};
		let parameters = if program.is_training() { commitments(&output.parameters) } else { Vec::new() };
		Self { origin, trace: output.trace.0, parameters, metrics, classes: output.classes }
	}

	/// Of a merge unit.
	pub fn of_merge(origin: Origin, merged: &[(Commitment, Arc<Tensor>)]) -> Self {
		let parameters = commitments(merged);
		let (trace, metrics, classes) = (parameters.clone(), UnitMetrics::default(), Vec::new());
		Self { origin, trace, parameters, metrics, classes }
	}

	/// The commitments of all op outputs, and what follows them.
	pub fn trace(&self) -> Trace {
		Trace(self.trace.clone())
	}

	/// The result, given the blocks that the assignment sealed. Checked as the chain checks it.
	pub fn result(&self, seals: &[Seal]) -> Result<UnitResult, DraftError> {
		let spec = &self.origin.spec;
		let program = spec.check().map_err(DraftError::Spec)?;
		let trace = self.trace();
		let mut result = UnitResult {
			trace_root: trace.root(),
			parameters: bounded(self.parameters.clone())?,
			metrics: self.metrics,
			classes: bounded(self.classes.clone())?,
			outputs: Default::default(),
			seals: Default::default(),
		};
		let checked = match self.origin.unit.kind {
			UnitKind::Merge => spec.check_merge(&result),
			UnitKind::Steps(_) => {
				let outputs = spec.opened_entries(&program).into_iter().map(|op| open(&trace, op));
				result.outputs = bounded(outputs.collect::<Result<_, _>>()?)?;
				let seals_opened = seals.iter().map(|seal| self.open_seal(&program, &trace, seal));
				result.seals = bounded(seals_opened.collect::<Result<_, _>>()?)?;
				spec.check_result(&program, &result, seals)
			}
		};
		checked.map_err(DraftError::Refused)?;
		Ok(result)
	}

	/// The trace openings of the operands of a product that sealed a block.
	fn open_seal(&self, program: &Program, trace: &Trace, seal: &Seal) -> Result<SealOpening, DraftError> {
		let operands = self.origin.spec.operand_ops(program, seal.op).ok_or(DraftError::NoSuchOp(seal.op))?;
		let [a, b] = operands.map(|op| op.map(|op| open(trace, op)).transpose());
		Ok(SealOpening { a: a?, b: b? })
	}
}

fn commitments(tensors: &[(Commitment, Arc<Tensor>)]) -> Vec<Commitment> {
	tensors.iter().map(|(commitment, _)| *commitment).collect()
}

fn open(trace: &Trace, op: OpIndex) -> Result<Opening, DraftError> {
	trace.open(op).ok_or(DraftError::NoSuchOp(op))
}

fn bounded<T, B: TryFrom<Vec<T>>>(list: Vec<T>) -> Result<B, DraftError> {
	list.try_into().map_err(|_| DraftError::TooLarge)
}

#[cfg(test)]
mod tests {
	use super::{super::fixtures::Fixture, *};
	use labora_engine::{Engine, NoMiner};
	use labora_graph::OpIndex;

	/// A draft of the only unit's result, and the seal of a block that its op sealed.
	fn computed(fixture: &Fixture) -> (Draft, impl Fn(u32) -> Seal) {
		let origin = fixture.origin();
		let program = origin.program().unwrap();
		let output = Engine::best(1).run(&fixture.plan(), &NoMiner).unwrap();
		let (trace, operands) = (output.trace.clone(), origin.spec.clone());
		let seal_program = program.clone();
		let seal = move |op: u32| {
			let [a, b] = operands.operand_ops(&seal_program, OpIndex(op)).unwrap();
			let known = |op: Option<OpIndex>| op.map_or(operands.dataset.features, |op| trace.0[op.0 as usize]);
			Seal { block: 1, op: OpIndex(op), a: known(a), b: known(b) }
		};
		(Draft::of_steps(origin, &program, output), seal)
	}

	#[test]
	fn a_training_result_is_what_the_chain_checks() {
		let fixture = Fixture::training();
		let (draft, seal) = computed(&fixture);
		let program = draft.origin.program().unwrap();
		let product = fixture.product();
		let second = product + program.ops();
		for seals in [vec![], vec![seal(product)], vec![seal(second), seal(product)]] {
			let result = draft.result(&seals).unwrap();
			draft.origin.spec.check_result(&program, &result, &seals).unwrap();
			assert_eq!(result.seals.len(), seals.len());
			assert_eq!(result.metrics.rows, 2 * 32);
			assert!(result.classes.is_empty());
		}
	}

	#[test]
	fn an_inference_result_has_the_classes() {
		let fixture = Fixture::inference();
		let (draft, seal) = computed(&fixture);
		let result = draft.result(&[seal(fixture.product())]).unwrap();
		assert_eq!(result.classes.len(), 2 * 32);
		assert!(result.parameters.is_empty());
	}

	#[test]
	fn a_seal_of_something_else_is_refused_before_the_chain_does() {
		let fixture = Fixture::training();
		let (draft, seal) = computed(&fixture);
		let product = fixture.product();
		let forged = Seal { b: Commitment([1; 32]), ..seal(product) };
		assert!(matches!(draft.result(&[forged]), Err(DraftError::Refused(ResultError::BadSealOpening))));
		let outside = Seal { op: OpIndex(1_000 * 6 + product), ..seal(product) };
		assert!(matches!(draft.result(&[outside]), Err(DraftError::NoSuchOp(_))));
	}

	#[test]
	fn a_merge_result_is_the_list_of_its_parameters() {
		let fixture = Fixture::training();
		let sets = vec![fixture.parameters.clone(), fixture.parameters.clone()];
		let merged = Engine::best(1).merge(&sets).unwrap();
		let origin = fixture.merge_origin();
		let draft = Draft::of_merge(origin, &merged);
		let result = draft.result(&[]).unwrap();
		draft.origin.spec.check_merge(&result).unwrap();
		assert_eq!(result.parameters.to_vec(), commitments(&merged));
	}
}
