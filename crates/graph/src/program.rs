use alloc::vec::Vec;
use labora_tensor::{BlockIndex, ChunkSet, ElementType, Shape, BLOCK};

use crate::{
	graph::{MAX_OPS, MAX_PARAMETERS},
	Graph, GraphError, Op, OpIndex, Value,
};

/// Smallest inner dimension of a product that yields tickets.
pub const MIN_ELIGIBLE_K: u32 = 256;
/// Largest inner dimension of a product: the two opened strips of a proof hold `64 * k` bytes.
pub const MAX_K: u32 = 16_384;
/// Largest batch: a row fits 16 bits of a rounding position.
const MAX_BATCH: u32 = 65_536;
/// Largest batch of a graph with a metrics op: in a dispute its output, 128 bytes a row, is opened whole.
pub const MAX_METRICS_BATCH: u32 = 16_384;
/// Most classes: a label is at most 63.
const MAX_CLASSES: u32 = 64;
/// Largest right shift.
const MAX_SHIFT: u8 = 24;

/// The dimensions of a product, padded to multiples of 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Product {
	/// Rows of the result.
	pub m: u32,
	/// Inner dimension.
	pub k: u32,
	/// Columns of the result.
	pub n: u32,
}

impl Product {
	/// Multiply-accumulates of the product.
	pub const fn macs(&self) -> u64 {
		(self.m as u64).saturating_mul(self.k as u64).saturating_mul(self.n as u64)
	}

	/// Whether tiles of the product are tickets.
	pub const fn eligible(&self) -> bool {
		self.k >= MIN_ELIGIBLE_K
	}
}

/// What is known of an op's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpInfo {
	/// Shape of the output.
	pub shape: Shape,
	/// Element type of the output.
	pub element: ElementType,
	/// The product in the op, if there is one.
	pub product: Option<Product>,
}

/// Part of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Region {
	/// All blocks of a block row.
	Rows(u32),
	/// All blocks of a block column.
	Columns(u32),
	/// One block.
	Block(BlockIndex),
}

/// Input that one output block needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need {
	/// The tensor.
	pub value: Value,
	/// The part of it.
	pub region: Region,
}

/// A checked graph. Holding one proves that every rule of [`GraphError`] is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
	graph: Graph,
	infos: Vec<OpInfo>,
	macs: u64,
	training: bool,
}

fn shape(rows: u32, cols: u32) -> Result<Shape, GraphError> {
	Shape::new(rows, cols).map_err(|_| GraphError::BadShape)
}

/// Checks ops one after the other: only what was checked can be referred to.
struct Checker<'a> {
	graph: &'a Graph,
	infos: Vec<OpInfo>,
	updated: Vec<bool>,
}

impl Checker<'_> {
	fn value(&self, value: Value) -> Result<(Shape, ElementType), GraphError> {
		match value {
			Value::Features => Ok((shape(self.graph.batch, self.graph.features)?, ElementType::I8)),
			Value::Labels => Ok((shape(self.graph.batch, 1)?, ElementType::I8)),
			Value::Parameter(i) => Ok((self.parameter(i)?, ElementType::I32)),
			Value::Op(i) => match self.infos.get(usize::from(i)) {
				Some(info) => Ok((info.shape, info.element)),
				None if usize::from(i) < self.graph.ops.len() => Err(GraphError::Cycle),
				None => Err(GraphError::MissingInput),
			},
		}
	}

	fn parameter(&self, index: u8) -> Result<Shape, GraphError> {
		self.graph.parameters.get(usize::from(index)).copied().ok_or(GraphError::MissingInput)
	}

	fn i8_value(&self, value: Value) -> Result<Shape, GraphError> {
		match self.value(value)? {
			(shape, ElementType::I8) => Ok(shape),
			_ => Err(GraphError::TypeMismatch),
		}
	}

	fn product(
		&self,
		a: Value,
		b: Value,
		transpose_a: bool,
		transpose_b: bool,
	) -> Result<(Shape, Product), GraphError> {
		let (a, b) = (self.i8_value(a)?, self.i8_value(b)?);
		let a = if transpose_a { a.transposed() } else { a };
		let b = if transpose_b { b.transposed() } else { b };
		if a.cols != b.rows {
			return Err(GraphError::ShapeMismatch);
		}
		if a.cols > MAX_K {
			return Err(GraphError::BadShape);
		}
		let product = Product { m: a.padded_rows(), k: a.padded_cols(), n: b.padded_cols() };
		Ok((shape(a.rows, b.cols)?, product))
	}

	fn logits(&self, value: Value) -> Result<Shape, GraphError> {
		let logits = self.i8_value(value)?;
		if logits.rows != self.graph.batch {
			return Err(GraphError::ShapeMismatch);
		}
		if logits.cols > MAX_CLASSES {
			return Err(GraphError::TooManyClasses);
		}
		Ok(logits)
	}

	fn op(&mut self, op: &Op) -> Result<OpInfo, GraphError> {
		let plain = |shape, element| OpInfo { shape, element, product: None };
		Ok(match *op {
			Op::Quantize { parameter, shift } => {
				if shift == 0 || shift > MAX_SHIFT {
					return Err(GraphError::BadScale);
				}
				plain(self.parameter(parameter)?, ElementType::I8)
			}
			Op::MatMul { a, b, transpose_a, transpose_b, shift, .. } => {
				if shift > MAX_SHIFT {
					return Err(GraphError::BadScale);
				}
				let (shape, product) = self.product(a, b, transpose_a, transpose_b)?;
				OpInfo { shape, element: ElementType::I8, product: Some(product) }
			}
			Op::SoftmaxGradient { logits } => plain(self.logits(logits)?, ElementType::I8),
			Op::ReluMask { gradient, activation } => {
				let gradient = self.i8_value(gradient)?;
				if gradient != self.i8_value(activation)? {
					return Err(GraphError::ShapeMismatch);
				}
				plain(gradient, ElementType::I8)
			}
			Op::SgdUpdate { parameter, a, b, transpose_a, transpose_b, rate } => {
				if !(-16..=15).contains(&rate) {
					return Err(GraphError::BadScale);
				}
				let (shape, product) = self.product(a, b, transpose_a, transpose_b)?;
				if shape != self.parameter(parameter)? {
					return Err(GraphError::ShapeMismatch);
				}
				match self.updated.get_mut(usize::from(parameter)) {
					Some(updated) if !*updated => *updated = true,
					_ => return Err(GraphError::BadUpdate),
				}
				OpInfo { shape, element: ElementType::I32, product: Some(product) }
			}
			Op::Metrics { logits } => plain(shape(self.logits(logits)?.rows, 2)?, ElementType::I32),
			Op::Argmax { logits } => plain(shape(self.logits(logits)?.rows, 1)?, ElementType::I8),
		})
	}
}

impl Program {
	/// Checks a graph. Time is linear in its length.
	pub fn new(graph: Graph) -> Result<Self, GraphError> {
		if graph.batch == 0 || !graph.batch.is_multiple_of(BLOCK as u32) || graph.batch > MAX_BATCH {
			return Err(GraphError::BadBatch);
		}
		if graph.batch > MAX_METRICS_BATCH && graph.ops.iter().any(|op| matches!(op, Op::Metrics { .. })) {
			return Err(GraphError::BadBatch);
		}
		shape(graph.batch, graph.features)?;
		if graph.parameters.len() > MAX_PARAMETERS as usize {
			return Err(GraphError::TooManyParameters);
		}
		for parameter in &graph.parameters {
			// Rows of a parameter are rows of an update's output: they must fit a rounding position too.
			if parameter.rows > MAX_BATCH || Shape::new(parameter.rows, parameter.cols).is_err() {
				return Err(GraphError::BadShape);
			}
		}
		if graph.ops.is_empty() || graph.ops.len() > MAX_OPS as usize {
			return Err(GraphError::BadOpCount);
		}
		let updated = alloc::vec![false; graph.parameters.len()];
		let mut checker = Checker { graph: &graph, infos: Vec::with_capacity(graph.ops.len()), updated };
		for op in &graph.ops {
			let info = checker.op(op)?;
			checker.infos.push(info);
		}
		let Checker { infos, updated, .. } = checker;

		let training = updated.iter().any(|updated| *updated);
		if training && !updated.iter().all(|updated| *updated) {
			return Err(GraphError::BadUpdate);
		}
		if !training && !matches!(graph.ops.last(), Some(Op::Argmax { .. })) {
			return Err(GraphError::NoOutput);
		}
		let eligible = infos.iter().filter_map(|info| info.product).filter(Product::eligible);
		let macs = eligible.map(|product| product.macs()).try_fold(0u64, u64::checked_add);
		match macs.ok_or(GraphError::TooMuchWork)? {
			0 => Err(GraphError::NoEligibleProduct),
			macs => Ok(Self { graph, infos, macs, training }),
		}
	}

	/// The graph.
	pub fn graph(&self) -> &Graph {
		&self.graph
	}

	/// Whether the graph updates its parameters.
	pub fn is_training(&self) -> bool {
		self.training
	}

	/// Multiply-accumulates of one step's eligible products: the tickets that one step is worth.
	pub fn macs(&self) -> u64 {
		self.macs
	}

	/// Ops of one step.
	pub fn ops(&self) -> u32 {
		self.graph.ops.len() as u32
	}

	/// An op and what is known of its output.
	pub fn op(&self, op: u8) -> Option<(&Op, &OpInfo)> {
		self.graph.ops.get(usize::from(op)).zip(self.infos.get(usize::from(op)))
	}

	/// Ops with what is known of their outputs, in order.
	pub fn iter(&self) -> impl Iterator<Item = (&Op, &OpInfo)> {
		self.graph.ops.iter().zip(&self.infos)
	}

	/// The op that yields a parameter's next value (training graphs only).
	pub fn update_of(&self, parameter: u8) -> Option<u8> {
		let of = |op: &Op| matches!(op, Op::SgdUpdate { parameter: p, .. } if *p == parameter);
		self.graph.ops.iter().position(of).and_then(|op| u8::try_from(op).ok())
	}

	/// The op that yields the metrics, if there is one.
	pub fn metrics_op(&self) -> Option<u8> {
		let of = |op: &Op| matches!(op, Op::Metrics { .. });
		self.graph.ops.iter().position(of).and_then(|op| u8::try_from(op).ok())
	}

	/// Entries of the trace of a unit of `steps` steps: the ops of every step, and a tail of one entry per step if there is a
	/// metrics op. Saturating.
	pub fn trace_entries(&self, steps: u32) -> u32 {
		self.ops().saturating_add(u32::from(self.metrics_op().is_some())).saturating_mul(steps)
	}

	/// The position in the trace of a unit of `steps` steps of the running metrics after step `step`. `None` if there is no
	/// metrics op, no such step, or the trace is longer than positions count.
	pub fn tail_entry(&self, steps: u32, step: u32) -> Option<OpIndex> {
		self.metrics_op().filter(|_| step < steps)?;
		self.ops().checked_mul(steps)?.checked_add(step).map(OpIndex)
	}

	/// Whether an op reads a value.
	pub fn uses(&self, value: Value) -> bool {
		let all = BlockIndex { row: 0, col: 0 };
		(0..self.graph.ops.len()).filter_map(|op| self.needs(op as u8, all)).flatten().any(|need| need.value == value)
	}

	/// Shape and element type of a value, for values that exist.
	pub fn value(&self, value: Value) -> Option<(Shape, ElementType)> {
		let batch = self.graph.batch;
		match value {
			Value::Features => Some((Shape { rows: batch, cols: self.graph.features }, ElementType::I8)),
			Value::Labels => Some((Shape { rows: batch, cols: 1 }, ElementType::I8)),
			Value::Parameter(i) => Some((*self.graph.parameters.get(usize::from(i))?, ElementType::I32)),
			Value::Op(i) => self.infos.get(usize::from(i)).map(|info| (info.shape, info.element)),
		}
	}

	/// The operands of the product in an op: value and whether it is read transposed, left and right.
	pub fn operands(&self, op: u8) -> Option<[(Value, bool); 2]> {
		match *self.graph.ops.get(usize::from(op))? {
			Op::MatMul { a, b, transpose_a, transpose_b, .. }
			| Op::SgdUpdate { a, b, transpose_a, transpose_b, .. } => Some([(a, transpose_a), (b, transpose_b)]),
			_ => None,
		}
	}

	/// The inputs that one block of an op's output needs, in the order `eval_block` takes them.
	pub fn needs(&self, op: u8, block: BlockIndex) -> Option<Vec<Need>> {
		let (op_def, info) = self.op(op)?;
		if !info.shape.contains(block) {
			return None;
		}
		let of = |value, region| Need { value, region };
		let strips = || {
			let [(a, transpose_a), (b, transpose_b)] = self.operands(op)?;
			let a_region = if transpose_a { Region::Columns(block.row) } else { Region::Rows(block.row) };
			let b_region = if transpose_b { Region::Rows(block.col) } else { Region::Columns(block.col) };
			Some(alloc::vec![of(a, a_region), of(b, b_region)])
		};
		let row = Region::Rows(block.row);
		Some(match *op_def {
			Op::Quantize { parameter, .. } => alloc::vec![of(Value::Parameter(parameter), Region::Block(block))],
			Op::MatMul { .. } => strips()?,
			Op::SgdUpdate { parameter, .. } => {
				let mut needs = strips()?;
				needs.push(of(Value::Parameter(parameter), Region::Block(block)));
				needs
			}
			Op::SoftmaxGradient { logits } | Op::Metrics { logits } => {
				alloc::vec![of(logits, row), of(Value::Labels, row)]
			}
			Op::ReluMask { gradient, activation } => {
				alloc::vec![of(gradient, Region::Block(block)), of(activation, Region::Block(block))]
			}
			Op::Argmax { logits } => alloc::vec![of(logits, row)],
		})
	}
}

impl Region {
	/// The chunks of the region in a tensor that holds the value's rows from block row `offset` on (a dataset holds
	/// the rows of every step; every other tensor holds just its own). `rows` counts the value's block rows.
	pub fn chunks(&self, stored: Shape, element: ElementType, offset: u32, rows: u32) -> Option<ChunkSet> {
		match *self {
			Self::Rows(row) => ChunkSet::row_strip(stored, element, offset.checked_add(row)?),
			Self::Columns(col) => ChunkSet::column_strip(stored, element, col, offset, rows),
			Self::Block(block) => {
				let row = offset.checked_add(block.row)?;
				ChunkSet::block(stored, element, BlockIndex { row, col: block.col })
			}
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::{Activation, Rounding};

	/// An inference graph, with or without metrics.
	fn graph(batch: u32, metrics: bool) -> Graph {
		let product = Op::MatMul {
			a: Value::Features,
			b: Value::Op(0),
			transpose_a: false,
			transpose_b: false,
			shift: 8,
			rounding: Rounding::Nearest,
			activation: Activation::Identity,
		};
		let logits = Value::Op(1);
		let metrics = metrics.then_some(Op::Metrics { logits });
		let ops = [Op::Quantize { parameter: 0, shift: 16 }, product].into_iter().chain(metrics);
		let ops = ops.chain([Op::Argmax { logits }]).collect();
		Graph { batch, features: 256, parameters: alloc::vec![Shape { rows: 256, cols: 10 }], ops }
	}

	#[test]
	fn metrics_bound_the_batch() {
		let refused = |batch, metrics| Program::new(graph(batch, metrics)).err();
		assert_eq!(refused(MAX_METRICS_BATCH, true), None);
		assert_eq!(refused(MAX_METRICS_BATCH + 32, true), Some(GraphError::BadBatch));
		assert_eq!(refused(MAX_METRICS_BATCH + 32, false), None);
		assert_eq!(refused(MAX_BATCH, false), None);
		assert_eq!(refused(MAX_BATCH + 32, false), Some(GraphError::BadBatch));
		for batch in [0, 33] {
			assert_eq!(refused(batch, true), Some(GraphError::BadBatch));
		}
		let program = Program::new(graph(MAX_METRICS_BATCH, true)).unwrap();
		let (_, info) = program.op(program.metrics_op().unwrap()).unwrap();
		assert_eq!(info.shape.bytes(info.element), 2 << 20);
	}

	#[test]
	fn the_tail_has_an_entry_per_step() {
		let (with, without) = (Program::new(graph(32, true)).unwrap(), Program::new(graph(32, false)).unwrap());
		assert_eq!((with.trace_entries(0), with.trace_entries(1), with.trace_entries(7)), (0, 5, 35));
		assert_eq!((without.trace_entries(7), without.tail_entry(7, 0)), (21, None));
		assert_eq!(with.trace_entries(u32::MAX), u32::MAX);
		assert_eq!((with.tail_entry(7, 0), with.tail_entry(7, 6)), (Some(OpIndex(28)), Some(OpIndex(34))));
		assert_eq!((with.tail_entry(7, 7), with.tail_entry(u32::MAX, 0)), (None, None));
	}
}
