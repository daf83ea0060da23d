//! Running a unit: its steps, one op after the other.

use labora_graph::{Op, OpIndex, OpInfo, Product, Program, RunningMetrics, Trace, Value};
use labora_pouw::{ticket::target, TileIndex, UsefulProof, UsefulSeed};
use labora_tensor::{BlockIndex, Commitment, ElementType, Shape, Tensor, BLOCK};
use parking_lot::Mutex;
use std::sync::Arc;

use crate::{
	kernel::elementwise::{Scaling, Update},
	operand::Operand,
	product::{Finish, Job, Scratch},
	rowwise, Engine, EngineError, Miner, MiningTarget, NoMiner, StepTensors, UnitOutput, UnitPlan,
};

/// Bytes of an output that one thread computes at a time in an elementwise op: some pages.
const ELEMENTWISE_CHUNK: usize = 16 << 10;

/// A tensor that the plan gave or that the unit computed.
enum Held {
	Given(Arc<Tensor>),
	Own(Tensor),
}

impl Held {
	fn tensor(&self) -> &Tensor {
		match self {
			Self::Given(tensor) => tensor,
			Self::Own(tensor) => tensor,
		}
	}

	/// A copy, where the tensor is the unit's own.
	fn to_arc(&self) -> Arc<Tensor> {
		match self {
			Self::Given(tensor) => tensor.clone(),
			Self::Own(tensor) => Arc::new(tensor.clone()),
		}
	}

	fn into_arc(self) -> Arc<Tensor> {
		match self {
			Self::Given(tensor) => tensor,
			Self::Own(tensor) => Arc::new(tensor),
		}
	}
}

/// A value as it is stored: the tensor that holds it, and which rows are the value's.
struct Stored<'a> {
	tensor: &'a Tensor,
	commitment: Commitment,
	/// Block row of the tensor where the value starts.
	offset: u32,
	/// Shape of the value.
	shape: Shape,
}

impl<'a> Stored<'a> {
	/// The value's blocks.
	fn bytes(&self) -> &'a [u8] {
		let element = self.tensor.element();
		let row = self.shape.block_cols() as usize * element.block_bytes();
		let start = self.offset as usize * row;
		&self.tensor.bytes()[start..start + self.shape.block_rows() as usize * row]
	}

	fn operand(&self, transposed: bool) -> Operand<'a> {
		Operand { bytes: self.bytes(), block_cols: self.shape.block_cols() as usize, transposed }
	}
}

/// Everything that an op of the current step can read.
struct Inputs<'a> {
	plan: &'a UnitPlan,
	parameters: &'a [Held],
	/// Outputs of the step's earlier ops.
	outputs: &'a [Tensor],
	/// Their commitments.
	commitments: &'a [Commitment],
	step: u32,
}

impl<'a> Inputs<'a> {
	/// A value that a checked program reads.
	fn get(&self, value: Value) -> Result<Stored<'a>, EngineError> {
		use crate::PlanError::{Labels, Parameters};
		let graph = self.plan.program.graph();
		let offset = self.plan.batches[self.step as usize] * (graph.batch / BLOCK as u32);
		Ok(match value {
			Value::Features => Stored {
				tensor: &self.plan.features,
				commitment: self.plan.features_commitment,
				offset,
				shape: Shape { rows: graph.batch, cols: graph.features },
			},
			Value::Labels => Stored {
				tensor: self.plan.labels.as_deref().ok_or(Labels)?,
				commitment: self.plan.labels_commitment.ok_or(Labels)?,
				offset,
				shape: Shape { rows: graph.batch, cols: 1 },
			},
			Value::Parameter(i) => {
				let tensor = self.parameters.get(usize::from(i)).ok_or(Parameters)?.tensor();
				// No op reads a parameter as an operand: its commitment is never asked for.
				Stored { tensor, commitment: Commitment::default(), offset: 0, shape: tensor.shape() }
			}
			Value::Op(i) => {
				let tensor = &self.outputs[usize::from(i)];
				Stored { tensor, commitment: self.commitments[usize::from(i)], offset: 0, shape: tensor.shape() }
			}
		})
	}
}

/// What a unit sums up on the way.
#[derive(Default)]
struct Totals {
	metrics: RunningMetrics,
	classes: Vec<u8>,
}

/// A unit on its way.
struct State<'a> {
	plan: &'a UnitPlan,
	/// The master parameters as the current step finds them.
	parameters: Vec<Held>,
	/// Outputs of the current step's ops; before it memory for them.
	outputs: Vec<Tensor>,
	totals: Totals,
}

impl<'a> State<'a> {
	fn new(plan: &'a UnitPlan) -> Self {
		let output = |info: &OpInfo| Tensor::zeros(info.shape, info.element);
		Self {
			plan,
			parameters: plan.parameters.iter().cloned().map(Held::Given).collect(),
			outputs: plan.program.iter().map(|(_, info)| output(info)).collect(),
			totals: Totals::default(),
		}
	}

	/// The updated parameters become those of the next step; the memory of the old ones takes the next update.
	fn advance(&mut self) {
		for (held, index) in self.parameters.iter_mut().zip(0u8..) {
			let Some(op) = self.plan.program.update_of(index) else { continue };
			let output = &mut self.outputs[usize::from(op)];
			match held {
				Held::Own(tensor) => core::mem::swap(tensor, output),
				Held::Given(_) => {
					let empty = Tensor::zeros(output.shape(), ElementType::I32);
					*held = Held::Own(core::mem::replace(output, empty));
				}
			}
		}
	}
}

impl Engine {
	/// Runs a unit. `miner` says what to mine on and takes the wins; the result does not depend on it.
	pub fn run(&self, plan: &UnitPlan, miner: &dyn Miner) -> Result<UnitOutput, EngineError> {
		plan.check()?;
		self.with_scratch(|scratch| self.steps(plan, miner, scratch, &|bytes| self.commit(bytes)))
	}

	/// Computes a unit without committing to anything or mining: its products and the other ops alone. For measuring what the rest
	/// costs.
	pub fn compute(&self, plan: &UnitPlan) -> Result<Vec<Arc<Tensor>>, EngineError> {
		plan.check()?;
		let output = self.with_scratch(|scratch| self.steps(plan, &NoMiner, scratch, &|_| Commitment::default()))?;
		Ok(output.parameters.into_iter().map(|(_, tensor)| tensor).collect())
	}

	/// Computes the steps `from..=step` of a unit again, mining nothing, and gives the tensors of the last one. The plan is
	/// the unit's, with all its batches, but its parameters are those at the start of step `from`. `cancelled` is asked
	/// between ops.
	pub fn replay(
		&self,
		plan: &UnitPlan,
		from: u32,
		step: u32,
		cancelled: &dyn Fn() -> bool,
	) -> Result<StepTensors, EngineError> {
		plan.check()?;
		if from > step || step as usize >= plan.batches.len() {
			return Err(EngineError::NoSuchStep);
		}
		// Parameters that no step changes are those of any step.
		let from = if plan.program.is_training() { from } else { step };
		let mut state = State::new(plan);
		self.with_scratch(|scratch| {
			// Nothing reads the commitments of the steps on the way when nothing is mined.
			for step in from..step {
				self.step(&mut state, step, &NoMiner, cancelled, scratch, &|_| Commitment::default())?;
				state.advance();
			}
			let commit = |bytes: &[u8]| self.commit(bytes);
			let commitments = self.step(&mut state, step, &NoMiner, cancelled, scratch, &commit)?;
			let State { parameters, outputs, .. } = state;
			let parameters = parameters.into_iter().map(Held::into_arc).collect();
			Ok(StepTensors { parameters, outputs, commitments })
		})
	}

	/// Runs a checked plan.
	fn steps(
		&self,
		plan: &UnitPlan,
		miner: &dyn Miner,
		scratch: &mut Scratch,
		commit: &dyn Fn(&[u8]) -> Commitment,
	) -> Result<UnitOutput, EngineError> {
		let program = &*plan.program;
		let steps = plan.batches.len() as u32;
		let mut state = State::new(plan);
		let mut trace = Vec::with_capacity(program.trace_entries(steps) as usize);
		let mut tail = Vec::new();
		let mut outputs = Vec::new();
		let mut last = Vec::new();
		for step in 0..steps {
			if step > 0 && program.is_training() {
				state.advance();
				miner.entered(step, &|| state.parameters.iter().map(Held::to_arc).collect());
			}
			last = self.step(&mut state, step, miner, &|| miner.cancelled(), scratch, commit)?;
			trace.extend_from_slice(&last);
			if program.metrics_op().is_some() {
				tail.push(state.totals.metrics.to_entry());
			}
			if !program.is_training() {
				outputs.extend(last.last());
			}
			miner.progress(step + 1, steps);
		}
		trace.append(&mut tail);
		if program.is_training() {
			state.advance();
		}
		let parameters = state.parameters.into_iter().zip(0u8..).map(|(tensor, index)| {
			let commitment = match program.update_of(index) {
				Some(op) => last[usize::from(op)],
				None => commit(tensor.tensor().bytes()),
			};
			(commitment, tensor.into_arc())
		});
		let parameters = parameters.collect();
		let Totals { metrics: RunningMetrics { loss, correct }, classes } = state.totals;
		let loss = i64::try_from(loss).unwrap_or(i64::MAX);
		Ok(UnitOutput { trace: Trace(trace), parameters, loss, correct, classes, outputs })
	}

	/// Computes the ops of one step and gives what `commit` makes of their outputs.
	fn step(
		&self,
		state: &mut State<'_>,
		step: u32,
		miner: &dyn Miner,
		cancelled: &dyn Fn() -> bool,
		scratch: &mut Scratch,
		commit: &dyn Fn(&[u8]) -> Commitment,
	) -> Result<Vec<Commitment>, EngineError> {
		let State { plan, parameters, outputs, totals } = state;
		let mut commitments = Vec::with_capacity(outputs.len());
		for op in 0..outputs.len() {
			if cancelled() {
				return Err(EngineError::Cancelled);
			}
			let (before, rest) = outputs.split_at_mut(op);
			let inputs = Inputs { plan, parameters, outputs: before, commitments: &commitments, step };
			let out = rest[0].bytes_mut();
			self.op(&inputs, op as u8, miner, totals, scratch, out)?;
			commitments.push(commit(out));
		}
		Ok(commitments)
	}

	/// Computes one op.
	fn op(
		&self,
		inputs: &Inputs<'_>,
		number: u8,
		miner: &dyn Miner,
		totals: &mut Totals,
		scratch: &mut Scratch,
		out: &mut [u8],
	) -> Result<(), EngineError> {
		let program = &*inputs.plan.program;
		let Some((op, info)) = program.op(number) else { return Ok(()) };
		let index = OpIndex(inputs.step * program.ops() + u32::from(number));
		let classes = |logits: &Stored| logits.shape.cols as usize;
		match *op {
			Op::Quantize { parameter, shift } => {
				let master = inputs.get(Value::Parameter(parameter))?.bytes();
				self.each_chunk(out, ELEMENTWISE_CHUNK, |i, out| {
					let start = i * ELEMENTWISE_CHUNK * 4;
					self.kernel.quantize(shift, &master[start..start + out.len() * 4], out);
				});
			}
			Op::ReluMask { gradient, activation } => {
				let (gradient, activation) = (inputs.get(gradient)?.bytes(), inputs.get(activation)?.bytes());
				self.each_chunk(out, ELEMENTWISE_CHUNK, |i, out| {
					let range = i * ELEMENTWISE_CHUNK..i * ELEMENTWISE_CHUNK + out.len();
					self.kernel.relu_mask(&gradient[range.clone()], &activation[range], out);
				});
			}
			Op::MatMul { shift, rounding, activation, .. } => {
				let key = inputs.plan.context.rounding.of_op(index);
				let scaling = Scaling { shift, rounding, activation, key, row: 0, col: 0 };
				self.mine(inputs, index, info, Finish::Scale(scaling), miner, scratch, out)?;
			}
			Op::SgdUpdate { parameter, rate, .. } => {
				let rate = rate.saturating_sub_unsigned(inputs.plan.context.rate_drops).max(-16);
				let master = inputs.get(Value::Parameter(parameter))?.bytes();
				let update = Update { rate, k: info.product.map_or(0, |product| product.k) };
				self.mine(inputs, index, info, Finish::Update { update, master }, miner, scratch, out)?;
			}
			Op::SoftmaxGradient { logits } => {
				let (logits, labels) = (inputs.get(logits)?, inputs.get(Value::Labels)?);
				rowwise::softmax_gradients(logits.bytes(), labels.bytes(), classes(&logits), out);
			}
			Op::Metrics { logits } => {
				let (logits, labels) = (inputs.get(logits)?, inputs.get(Value::Labels)?);
				rowwise::all_metrics(logits.bytes(), labels.bytes(), classes(&logits), out);
				if program.metrics_op() == Some(number) {
					totals.metrics = totals.metrics.add_tensor(info.shape, out);
				}
			}
			Op::Argmax { logits } => {
				let logits = inputs.get(logits)?;
				let is_output = !program.is_training() && u32::from(number) + 1 == program.ops();
				let list = if is_output { &mut totals.classes } else { &mut Vec::new() };
				rowwise::all_classes(logits.bytes(), classes(&logits), out, list);
			}
		}
		Ok(())
	}

	/// Computes the product of an op, on noised operands while there is something to mine.
	#[allow(clippy::too_many_arguments)]
	fn mine(
		&self,
		inputs: &Inputs<'_>,
		index: OpIndex,
		info: &OpInfo,
		finish: Finish<'_>,
		miner: &dyn Miner,
		scratch: &mut Scratch,
		out: &mut [u8],
	) -> Result<(), EngineError> {
		let program = &*inputs.plan.program;
		let (_, number) = index.split(program);
		let (Some(product), Some([(a, transpose_a), (b, transpose_b)])) = (info.product, program.operands(number))
		else {
			return Ok(());
		};
		let (a, b) = (inputs.get(a)?, inputs.get(b)?);
		let job = Job { product, left: a.operand(transpose_a), right: b.operand(transpose_b) };
		let eligible = product.eligible();
		let target_now = || if eligible { miner.target() } else { None };
		let mut work = self.start(job, finish, out);
		while !work.is_done() {
			let Some(mining) = target_now() else {
				let packed = self.pack(&work, None, scratch);
				self.advance(&mut work, &packed, None, &|| target_now().is_none());
				continue;
			};
			let same = || target_now() == Some(mining);
			let largest = target(mining.difficulty, product.k);
			let won: Mutex<Option<TileIndex>> = Mutex::new(None);
			let take = |tile, ticket| {
				let wins = ticket <= largest;
				if wins {
					won.lock().get_or_insert(tile);
				}
				!wins
			};
			let packed = self.pack(&work, Some(&seed(&mining, index, &a, &b, product)), scratch);
			self.advance(&mut work, &packed, Some(&take), &|| won.lock().is_none() && same());
			if let Some(tile) = won.into_inner() {
				if let Some(proof) = prove(program, &mining, index, tile, &a, &b) {
					miner.won(&mining, proof);
				}
				// One is enough. The rest needs no other packing until there is something else to mine on.
				self.advance(&mut work, &packed, None, &same);
			}
		}
		Ok(())
	}
}

fn seed(mining: &MiningTarget, op: OpIndex, a: &Stored<'_>, b: &Stored<'_>, product: Product) -> labora_pouw::Seed {
	let MiningTarget { genesis, parent, assignment, .. } = mining;
	let (a, b) = (&a.commitment, &b.commitment);
	UsefulSeed { genesis, parent, assignment: *assignment, op, a, b, product }.seed()
}

/// Opens the strips of a tile.
fn prove(
	program: &Program,
	mining: &MiningTarget,
	op: OpIndex,
	tile: TileIndex,
	a: &Stored<'_>,
	b: &Stored<'_>,
) -> Option<UsefulProof> {
	let (_, number) = op.split(program);
	let needs = program.needs(number, BlockIndex { row: tile.row, col: tile.col })?;
	let open = |stored: &Stored<'_>, at: usize| {
		let tensor = stored.tensor;
		let region = needs.get(at)?.region;
		tensor.open(&region.chunks(tensor.shape(), tensor.element(), stored.offset, stored.shape.block_rows())?)
	};
	Some(UsefulProof {
		assignment: mining.assignment,
		op,
		tile,
		a: a.commitment,
		b: b.commitment,
		strip_a: open(a, 0)?,
		strip_b: open(b, 1)?,
	})
}
