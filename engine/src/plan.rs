use labora_graph::{Op, Program, StepContext, Trace, Value};
use labora_pouw::{Difficulty, UsefulProof};
use labora_tensor::{Commitment, ElementType, Shape, Tensor};
use std::sync::Arc;

/// What a unit computes.
#[derive(Clone)]
pub struct UnitPlan {
	/// The program of one step.
	pub program: Arc<Program>,
	/// Rounding bits and rate drops.
	pub context: StepContext,
	/// The features of the whole dataset, `i8`.
	pub features: Arc<Tensor>,
	/// Their commitment.
	pub features_commitment: Commitment,
	/// The labels of the whole dataset, one `i8` column; needed if an op reads them.
	pub labels: Option<Arc<Tensor>>,
	/// Their commitment.
	pub labels_commitment: Option<Commitment>,
	/// The master parameters before the first step, `i32`.
	pub parameters: Vec<Arc<Tensor>>,
	/// The batch of every step.
	pub batches: Vec<u32>,
}

/// What tickets are drawn for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MiningTarget {
	/// Hash of the genesis block.
	pub genesis: [u8; 32],
	/// Hash of the parent of the block to be made.
	pub parent: [u8; 32],
	/// Number of the unit's assignment.
	pub assignment: u64,
	/// Difficulty of the block to be made.
	pub difficulty: Difficulty,
}

/// Who is told of tickets. Called from the thread that runs the unit, but for `target`.
pub trait Miner: Sync {
	/// What to mine on right now. None: compute plainly, draw no tickets. Asked often, by all threads of the engine: before each
	/// eligible product and after every section of it, about a millisecond. If it changes, the rest of the product goes on with the new
	/// target's noise; what is computed stays.
	fn target(&self) -> Option<MiningTarget>;

	/// A winning ticket, at most one a product and target: a complete proof for `target`.
	fn won(&self, target: &MiningTarget, proof: UsefulProof);

	/// Asked between ops: true abandons the unit.
	fn cancelled(&self) -> bool {
		false
	}

	/// Called after each step with the steps done and the steps of the unit.
	fn progress(&self, _done: u32, _of: u32) {}

	/// Called when a training unit enters a step, of every step but the first (0), before its first op. The function gives
	/// the master parameters as the step finds them, a copy each time: what [`Engine::replay`](crate::Engine::replay) can
	/// start from.
	fn entered(&self, _step: u32, _parameters: &dyn Fn() -> Vec<Arc<Tensor>>) {}
}

/// Mines nothing: for replaying a unit.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoMiner;

impl Miner for NoMiner {
	fn target(&self) -> Option<MiningTarget> {
		None
	}

	fn won(&self, _: &MiningTarget, _: UsefulProof) {}
}

/// What a unit yields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitOutput {
	/// The commitments of all op outputs, and the running metrics of every step if there is a metrics op.
	pub trace: Trace,
	/// The master parameters after the last step (an inference graph leaves them as they were).
	pub parameters: Vec<(Commitment, Arc<Tensor>)>,
	/// Sum of the loss of all rows of all steps, in 1/256 bit: that of the trace's last entry, 0 without a metrics op.
	pub loss: i64,
	/// Rows whose largest logit is the label's: those of the trace's last entry, 0 without a metrics op.
	pub correct: u64,
	/// Inference: the class of every row of every step, in order.
	pub classes: Vec<u8>,
	/// Inference: the commitment of the last op's output of each step.
	pub outputs: Vec<Commitment>,
}

/// The tensors of one step, as they stand in a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepTensors {
	/// The master parameters when the step began, `i32`.
	pub parameters: Vec<Arc<Tensor>>,
	/// The output of each op, in order.
	pub outputs: Vec<Tensor>,
	/// Their commitments: the step's part of the trace.
	pub commitments: Vec<Commitment>,
}

/// Why there is no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EngineError {
	/// The miner abandoned the unit.
	#[error("the unit was abandoned")]
	Cancelled,
	/// The inputs do not fit together.
	#[error("the plan cannot be run: {0}")]
	BadPlan(#[from] PlanError),
	/// A step to replay is not one of the unit, or comes before the one to start from.
	#[error("the unit has no such steps")]
	NoSuchStep,
}

/// What is wrong with a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
	/// No steps.
	#[error("no steps")]
	NoSteps,
	/// More entries in the trace than an index counts.
	#[error("too many steps")]
	TooManySteps,
	/// The features have the wrong type or shape, or too few rows.
	#[error("the features do not fit")]
	Features,
	/// An op reads labels, and they are missing or do not fit.
	#[error("the labels do not fit")]
	Labels,
	/// A parameter is missing, left over, or does not fit.
	#[error("the parameters do not fit")]
	Parameters,
	/// Parameter sets to merge are missing or differ in shape.
	#[error("the parameter sets do not fit together")]
	Sets,
}

/// Whether an op of the program reads labels.
fn reads_labels(program: &Program) -> bool {
	program.iter().any(|(op, _)| match *op {
		Op::SoftmaxGradient { .. } | Op::Metrics { .. } => true,
		Op::MatMul { a, b, .. } | Op::SgdUpdate { a, b, .. } => a == Value::Labels || b == Value::Labels,
		Op::ReluMask { gradient, activation } => gradient == Value::Labels || activation == Value::Labels,
		Op::Argmax { logits } => logits == Value::Labels,
		Op::Quantize { .. } => false,
	})
}

impl UnitPlan {
	/// Rows of the dataset that the steps need.
	fn rows(&self) -> u64 {
		let last = self.batches.iter().copied().max().unwrap_or(0);
		(u64::from(last) + 1) * u64::from(self.program.graph().batch)
	}

	/// Checks that the inputs fit the program.
	pub(crate) fn check(&self) -> Result<(), PlanError> {
		let graph = self.program.graph();
		let dataset = |tensor: &Tensor, cols: u32| {
			let Shape { rows, cols: actual } = tensor.shape();
			tensor.element() == ElementType::I8 && actual == cols && u64::from(rows) >= self.rows()
		};
		if self.batches.is_empty() {
			return Err(PlanError::NoSteps);
		}
		let steps = u32::try_from(self.batches.len()).map_err(|_| PlanError::TooManySteps)?;
		if self.program.trace_entries(steps) == u32::MAX {
			return Err(PlanError::TooManySteps);
		}
		if !dataset(&self.features, graph.features) {
			return Err(PlanError::Features);
		}
		match (&self.labels, self.labels_commitment) {
			(Some(labels), Some(_)) if dataset(labels, 1) => {}
			(None, None) if !reads_labels(&self.program) => {}
			_ => return Err(PlanError::Labels),
		}
		let fits =
			|(tensor, shape): (&Arc<Tensor>, &Shape)| tensor.element() == ElementType::I32 && tensor.shape() == *shape;
		let parameters = self.parameters.iter().zip(&graph.parameters);
		if self.parameters.len() != graph.parameters.len() || !parameters.into_iter().all(fits) {
			return Err(PlanError::Parameters);
		}
		Ok(())
	}
}
