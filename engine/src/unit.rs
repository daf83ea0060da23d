//! Running a unit: its steps, one op after the other.

use labora_graph::{Op, OpIndex, OpInfo, Product, Program, Trace, Value};
use labora_pouw::{ticket::target, TileIndex, UsefulProof, UsefulSeed};
use labora_tensor::{BlockIndex, Commitment, ElementType, Shape, Tensor, BLOCK};
use parking_lot::Mutex;
use std::sync::Arc;

use crate::{
	kernel::elementwise::{Scaling, Update},
	operand::Operand,
	product::{Finish, Job, Scratch, Tickets},
	rowwise, Engine, EngineError, Miner, MiningTarget, UnitOutput, UnitPlan,
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
	step: usize,
}

impl<'a> Inputs<'a> {
	/// A value that a checked program reads.
	fn get(&self, value: Value) -> Result<Stored<'a>, EngineError> {
		use crate::PlanError::{Labels, Parameters};
		let graph = self.plan.program.graph();
		let offset = self.plan.batches[self.step] * (graph.batch / BLOCK as u32);
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
	loss: i64,
	correct: u64,
	classes: Vec<u8>,
	outputs: Vec<Commitment>,
}

impl Engine {
	/// Runs a unit. `miner` says what to mine on and takes the wins; the result does not depend on it.
	pub fn run(&self, plan: &UnitPlan, miner: &dyn Miner) -> Result<UnitOutput, EngineError> {
		plan.check()?;
		self.with_scratch(|scratch| self.steps(plan, miner, scratch))
	}

	/// Runs a checked plan.
	fn steps(&self, plan: &UnitPlan, miner: &dyn Miner, scratch: &mut Scratch) -> Result<UnitOutput, EngineError> {
		let program = &*plan.program;
		let steps = plan.batches.len();
		let mut outputs: Vec<_> = program.iter().map(|(_, info)| Tensor::zeros(info.shape, info.element)).collect();
		let mut parameters: Vec<_> = plan.parameters.iter().cloned().map(Held::Given).collect();
		let mut trace = Vec::with_capacity(steps * program.ops() as usize);
		let mut totals = Totals::default();
		for step in 0..steps {
			let first = trace.len();
			for op in 0..outputs.len() {
				if miner.cancelled() {
					return Err(EngineError::Cancelled);
				}
				let (before, rest) = outputs.split_at_mut(op);
				let commitments = &trace[first..];
				let inputs = Inputs { plan, parameters: &parameters, outputs: before, commitments, step };
				let out = rest[0].bytes_mut();
				self.op(&inputs, op as u8, miner, &mut totals, scratch, out)?;
				trace.push(Commitment::of(out));
			}
			if program.is_training() {
				advance(program, &mut parameters, &mut outputs);
			} else {
				totals.outputs.extend(trace.last());
			}
			miner.progress(step as u32 + 1, steps as u32);
		}
		let last = trace.len() - outputs.len();
		let parameters = parameters.into_iter().zip(0u8..).map(|(tensor, index)| {
			let commitment = match program.update_of(index) {
				Some(op) => trace[last + usize::from(op)],
				None => Commitment::of(tensor.tensor().bytes()),
			};
			(commitment, tensor.into_arc())
		});
		let parameters = parameters.collect();
		let Totals { loss, correct, classes, outputs } = totals;
		Ok(UnitOutput { trace: Trace(trace), parameters, loss, correct, classes, outputs })
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
		let index = OpIndex(inputs.step as u32 * program.ops() + u32::from(number));
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
				let (loss, correct) = rowwise::all_metrics(logits.bytes(), labels.bytes(), classes(&logits), out);
				if program.metrics_op() == Some(number) {
					totals.loss += loss;
					totals.correct += correct;
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

	/// Computes the product of an op, on noised operands if there is something to mine.
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
		let Some(mining) = product.eligible().then(|| miner.target()).flatten() else {
			self.product(&job, finish, None, scratch, out);
			return Ok(());
		};
		let largest = target(mining.difficulty, product.k);
		let won: Mutex<Option<TileIndex>> = Mutex::new(None);
		let take = |tile, ticket| {
			let wins = ticket <= largest;
			if wins {
				won.lock().get_or_insert(tile);
			}
			!wins
		};
		let seed = seed(&mining, index, &a, &b, product);
		self.product(&job, finish, Some(&Tickets { seed, take: &take }), scratch, out);
		if let Some(proof) = won.into_inner().and_then(|tile| prove(program, &mining, index, tile, &a, &b)) {
			miner.won(&mining, proof);
		}
		Ok(())
	}
}

/// The updated parameters become those of the next step; the memory of the old ones takes the next update.
fn advance(program: &Program, parameters: &mut [Held], outputs: &mut [Tensor]) {
	for (held, index) in parameters.iter_mut().zip(0u8..) {
		let Some(op) = program.update_of(index) else { continue };
		let output = &mut outputs[usize::from(op)];
		match held {
			Held::Own(tensor) => core::mem::swap(tensor, output),
			Held::Given(_) => {
				let empty = Tensor::zeros(output.shape(), ElementType::I32);
				*held = Held::Own(core::mem::replace(output, empty));
			}
		}
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
