use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use labora_graph::{Op, OpIndex, Product, Program, RunningMetrics, Trace, Value};
use labora_pouw::{proof::Operand, TileIndex};
use labora_tensor::{BlockIndex, Commitment, ElementType, I8Tensor, Opening, Shape};
use scale_info::TypeInfo;
use sp_core::bounded::BoundedVec;

use crate::{
	limits::{MaxOutput, MaxOutputOpenings, MaxParameters, MaxSeals},
	AccountId, AssignmentId, Balance, BlockNumber, Job, Place, Seal, Source, TaskId, TaskSpec,
};

/// What a worker is given.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum UnitKind {
	/// Unit of this number: steps of the graph.
	Steps(u16),
	/// Average the round's results.
	Merge,
}

/// A unit of a task.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct UnitRef {
	/// The task.
	pub task: TaskId,
	/// The round.
	pub round: u32,
	/// Which unit of the round.
	pub kind: UnitKind,
}

/// A unit given to a worker.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Assignment {
	/// Its number.
	pub id: AssignmentId,
	/// What is to be done.
	pub unit: UnitRef,
	/// By whom.
	pub worker: AccountId,
	/// The block that assigned it.
	pub assigned: BlockNumber,
	/// The last time for the result, by the chain's [`Clock`](crate::Clock). Where the runtime reports an assignment, the height, if no block
	/// until then is full.
	pub deadline: BlockNumber,
	/// What of the worker's bond is at stake until the result has outlived its window.
	pub stake: Balance,
}

/// Sums over the rows of a unit, or of all units of a round.
#[derive(
	Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct UnitMetrics {
	/// Cross-entropy, in 1/256 bit.
	pub loss: u64,
	/// Rows whose largest logit is the label's.
	pub correct: u64,
	/// Rows.
	pub rows: u64,
}

/// The trace openings of the operands of a product that sealed a block. `None` where the operand is not an op's output.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct SealOpening {
	/// Of the left operand.
	pub a: Option<Opening>,
	/// Of the right operand.
	pub b: Option<Opening>,
}

/// A worker's result of a unit.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct UnitResult {
	/// Root of the list of all op-output commitments. Of a merge unit: of the list of the merged parameters.
	pub trace_root: Commitment,
	/// The parameters after the last step, or merged. Empty for inference.
	pub parameters: BoundedVec<Commitment, MaxParameters>,
	/// Sums over all rows of all steps, zero if the graph has no metrics.
	pub metrics: UnitMetrics,
	/// Inference: the class of every row of every step.
	pub classes: BoundedVec<u8, MaxOutput>,
	/// Trace openings of the outputs: of each parameter's last update, or of each step's classes; then, if the graph has metrics, of the
	/// running metrics after the last step. Empty for a merge.
	pub outputs: BoundedVec<Opening, MaxOutputOpenings>,
	/// One per block that the unit sealed, in the order of the blocks.
	pub seals: BoundedVec<SealOpening, MaxSeals>,
}

/// What stays on chain of an accepted result.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ResultRecord {
	/// Who computed it.
	pub worker: AccountId,
	/// Under which assignment.
	pub assignment: AssignmentId,
	/// In which block it was accepted.
	pub block: BlockNumber,
	/// Root of its trace.
	pub trace_root: Commitment,
	/// Its parameters.
	pub parameters: BoundedVec<Commitment, MaxParameters>,
	/// Its metrics.
	pub metrics: UnitMetrics,
}

/// What a proof's op and tile mean in an assigned unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResolvedWork {
	/// Dimensions of the product.
	pub product: Product,
	/// The opened strip of the left operand.
	pub a: Operand,
	/// The opened strip of the right operand.
	pub b: Operand,
	/// The left operand's commitment, where the chain knows it.
	pub known_a: Option<Commitment>,
	/// The right operand's commitment, where the chain knows it.
	pub known_b: Option<Commitment>,
}

/// Why an op and tile are no ticket of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResolveError {
	/// The task is gone, or the unit is a merge.
	NotMineable,
	/// The op is outside the unit.
	NoSuchOp,
	/// The op is no product, or too small a one.
	NotEligible,
	/// The tile is outside the product.
	NoSuchTile,
}

/// Why a result contradicts itself or the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResultError {
	/// The number of parameters, classes, openings or rows is not the unit's.
	WrongCount,
	/// An output does not open to the trace.
	BadOutputOpening,
	/// The metrics are not the running metrics at the trace's end.
	BadMetrics,
	/// The number of seal openings is not that of the blocks that the unit sealed.
	WrongSealCount,
	/// A seal's operand does not open to the trace, or differs from what the block said.
	BadSealOpening,
}

impl TaskSpec {
	/// What a ticket of a unit is made of: a function of the chain's own records and two indices.
	pub fn resolve(
		&self,
		program: &Program,
		round: u32,
		unit: u16,
		op: OpIndex,
		tile: TileIndex,
	) -> Result<ResolvedWork, ResolveError> {
		let (step, op) = op.split(program);
		if step >= self.job.steps() {
			return Err(ResolveError::NoSuchOp);
		}
		let (_, info) = program.op(op).ok_or(ResolveError::NoSuchOp)?;
		let product = info.product.filter(Product::eligible).ok_or(ResolveError::NotEligible)?;
		let [left, right] = program.operands(op).ok_or(ResolveError::NotEligible)?;
		let block = BlockIndex { row: tile.row, col: tile.col };
		let needs = program.needs(op, block).ok_or(ResolveError::NoSuchTile)?;
		let batch = self.batch(round, unit, step);
		let operand = |(value, transposed): (Value, bool), region: labora_graph::Region| {
			let Place { source, chunks } = self.place(program, batch, step, value, region)?;
			let known = match source {
				Source::Features => Some(self.dataset.features),
				Source::Labels => self.dataset.labels,
				Source::Base(_) | Source::Op(_) => None,
			};
			Some((Operand { chunks, transposed }, known))
		};
		match needs.as_slice() {
			[a, b, ..] => {
				let (a, known_a) = operand(left, a.region).ok_or(ResolveError::NoSuchTile)?;
				let (b, known_b) = operand(right, b.region).ok_or(ResolveError::NoSuchTile)?;
				Ok(ResolvedWork { product, a, b, known_a, known_b })
			}
			_ => Err(ResolveError::NotEligible),
		}
	}

	/// Ops in the trace of a unit of steps.
	pub fn trace_len(&self, program: &Program) -> u32 {
		program.ops().saturating_mul(self.job.steps())
	}

	/// The positions in the trace of what a result opens: each parameter's last update or each step's classes, then the last
	/// running metrics.
	pub fn opened_entries(&self, program: &Program) -> Vec<OpIndex> {
		let mut entries = self.output_ops(program);
		entries.extend(self.last_metrics(program));
		entries
	}

	/// The position in the trace of the running metrics after a unit's last step, if the graph has metrics.
	fn last_metrics(&self, program: &Program) -> Option<OpIndex> {
		let steps = self.job.steps();
		program.tail_entry(steps, steps.checked_sub(1)?)
	}

	/// The positions in the trace of a unit's outputs: of each parameter's last update, or of each step's classes.
	pub fn output_ops(&self, program: &Program) -> Vec<OpIndex> {
		let steps = self.job.steps();
		match self.job {
			Job::Training { .. } => (0..self.graph.parameters.len())
				.filter_map(|parameter| program.update_of(u8::try_from(parameter).ok()?))
				.filter_map(|op| OpIndex::new(program, steps.checked_sub(1)?, op))
				.collect(),
			Job::Inference { .. } => {
				let last = program.ops().saturating_sub(1) as u8;
				(0..steps).filter_map(|step| OpIndex::new(program, step, last)).collect()
			}
		}
	}

	/// The positions in the trace of the operands of an op, where they are outputs of ops.
	pub fn operand_ops(&self, program: &Program, op: OpIndex) -> Option<[Option<OpIndex>; 2]> {
		let (step, op) = op.split(program);
		let position = |(value, _): (Value, bool)| match value {
			Value::Op(op) => OpIndex::new(program, step, op),
			_ => None,
		};
		program.operands(op).map(|operands| operands.map(position))
	}

	/// Checks that the result of a unit of steps agrees with itself, with the unit, and with the blocks that the unit sealed.
	/// (Whether it is *right* is for audits and challenges.)
	pub fn check_result(&self, program: &Program, result: &UnitResult, seals: &[Seal]) -> Result<(), ResultError> {
		let training = program.is_training();
		let rows = u64::from(self.job.steps()).saturating_mul(u64::from(self.graph.batch));
		let counts = if training { (self.graph.parameters.len(), 0) } else { (0, rows as usize) };
		if (result.parameters.len(), result.classes.len()) != counts {
			return Err(ResultError::WrongCount);
		}
		let metrics_rows = if program.metrics_op().is_some() { rows } else { 0 };
		let most_loss = metrics_rows.saturating_mul(labora_graph::arithmetic::MAX_ROW_LOSS);
		if result.metrics.rows != metrics_rows
			|| result.metrics.correct > metrics_rows
			|| result.metrics.loss > most_loss
		{
			return Err(ResultError::WrongCount);
		}
		let output_ops = self.output_ops(program);
		let last_metrics = self.last_metrics(program);
		if result.outputs.len() != output_ops.len().saturating_add(usize::from(last_metrics.is_some())) {
			return Err(ResultError::WrongCount);
		}
		let entries = program.trace_entries(self.job.steps());
		let committed = |op, opening: &Opening| Trace::verify(&result.trace_root, entries, op, opening);
		if let Some((index, opening)) = last_metrics.zip(result.outputs.last()) {
			let entry = committed(index, opening);
			let entry = entry.map_err(|_| ResultError::BadOutputOpening)?;
			let UnitMetrics { loss, correct, .. } = result.metrics;
			if entry != (RunningMetrics { loss, correct }).to_entry() {
				return Err(ResultError::BadMetrics);
			}
		}
		for (index, (op, opening)) in output_ops.into_iter().zip(&result.outputs).enumerate() {
			let claimed = if training {
				result.parameters.get(index).copied()
			} else {
				let batch = self.graph.batch as usize;
				let from = index.saturating_mul(batch);
				let classes = result.classes.get(from..from.saturating_add(batch));
				classes.and_then(|classes| classes_commitment(classes, program))
			};
			let opened = committed(op, opening).map_err(|_| ResultError::BadOutputOpening)?;
			if claimed != Some(opened) {
				return Err(ResultError::BadOutputOpening);
			}
		}
		if result.seals.len() != seals.len() {
			return Err(ResultError::WrongSealCount);
		}
		for (opening, seal) in result.seals.iter().zip(seals) {
			let [a, b] = self.operand_ops(program, seal.op).ok_or(ResultError::BadSealOpening)?;
			for (op, opening, said) in [(a, &opening.a, seal.a), (b, &opening.b, seal.b)] {
				let agrees = match (op, opening) {
					// A dataset operand was compared with the chain's own record when the block was made.
					(None, None) => true,
					(Some(op), Some(opening)) => committed(op, opening) == Ok(said),
					_ => false,
				};
				if !agrees {
					return Err(ResultError::BadSealOpening);
				}
			}
		}
		Ok(())
	}

	/// Checks the result of a merge unit: as many parameters as the graph has, and the trace is their list.
	pub fn check_merge(&self, result: &UnitResult) -> Result<(), ResultError> {
		let empty = result.classes.is_empty() && result.outputs.is_empty() && result.metrics == UnitMetrics::default();
		if result.parameters.len() != self.graph.parameters.len() || !empty {
			return Err(ResultError::WrongCount);
		}
		if !result.seals.is_empty() {
			return Err(ResultError::WrongSealCount);
		}
		if Trace(result.parameters.to_vec()).root() != result.trace_root {
			return Err(ResultError::BadOutputOpening);
		}
		Ok(())
	}
}

/// Commitment of one step's classes as the tensor that the last op of an inference graph yields.
fn classes_commitment(classes: &[u8], program: &Program) -> Option<Commitment> {
	let (op, info) = program.op(u8::try_from(program.ops().checked_sub(1)?).ok()?)?;
	debug_assert!(matches!(op, Op::Argmax { .. }) && info.element == ElementType::I8);
	let elements: Vec<i8> = classes.iter().map(|class| *class as i8).collect();
	I8Tensor::pack(Shape { rows: info.shape.rows, cols: 1 }, &elements).ok().map(|tensor| tensor.commitment())
}
