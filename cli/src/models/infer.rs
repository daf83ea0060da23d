//! Classifying by the consensus definition alone: slow, short, and the last word.

use labora_graph::{EvalError, OpIndex, Program, RoundingKey, StepContext, Value};
use labora_tensor::{BlockIndex, I8Tensor, Shape, Tensor, BLOCK};

use super::{inference_graph_of, ModelError};

/// Why rows cannot be classified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InferenceError {
	/// The graph is none that classifies.
	#[error(transparent)]
	Model(#[from] ModelError),
	/// The rows have not the columns that the model takes.
	#[error("{found} features, but the model takes {expected}")]
	WrongColumns {
		/// Columns that the model takes.
		expected: u32,
		/// Columns that there are.
		found: usize,
	},
	/// The parameters are not the graph's.
	#[error("the parameters do not fit the graph")]
	WrongParameters,
	/// The definition refused the input.
	#[error("the graph cannot be evaluated: {0:?}")]
	Eval(EvalError),
}

/// Classifies rows of operands with a model's master parameters, by [`Program::eval_block`]. Gives the class and the logits of each row.
pub fn classify(
	graph: &labora_graph::Graph,
	parameters: &[Tensor],
	rows: &[Vec<i8>],
) -> Result<Vec<(u8, Vec<i8>)>, InferenceError> {
	let batch = rows.len().max(1).next_multiple_of(BLOCK) as u32;
	let graph = inference_graph_of(graph, batch)?;
	let program = Program::new(graph).map_err(ModelError::Graph)?;
	let graph = program.graph();
	let fits = |(tensor, shape): (&Tensor, &Shape)| tensor.shape() == *shape;
	if parameters.len() != graph.parameters.len() || !parameters.iter().zip(&graph.parameters).all(fits) {
		return Err(InferenceError::WrongParameters);
	}
	let mut elements = Vec::new();
	for row in rows {
		if row.len() != graph.features as usize {
			return Err(InferenceError::WrongColumns { expected: graph.features, found: row.len() });
		}
		elements.extend_from_slice(row);
	}
	let shape = Shape { rows: batch, cols: graph.features };
	elements.resize(batch as usize * graph.features as usize, 0);
	let features = I8Tensor::pack(shape, &elements).map_err(|_| InferenceError::Eval(EvalError::BadInput))?;
	// Nothing of an inference graph is rounded at random.
	let context = StepContext { rounding: RoundingKey(0), rate_drops: 0 };
	let outputs = evaluate(&program, &features, parameters, &context).map_err(InferenceError::Eval)?;
	let [.., logits, classes] = &outputs[..] else { return Err(InferenceError::Model(ModelError::NoLogits)) };
	let of = |row: u32| {
		let logits = (0..logits.shape().cols).map(|col| I8Tensor::get(logits, row, col)).collect();
		(I8Tensor::get(classes, row, 0).unsigned_abs(), logits)
	};
	Ok((0..rows.len() as u32).map(of).collect())
}

/// The outputs of all ops of one step, from the step's features and the master parameters.
fn evaluate(
	program: &Program,
	features: &Tensor,
	parameters: &[Tensor],
	context: &StepContext,
) -> Result<Vec<Tensor>, EvalError> {
	let mut outputs: Vec<Tensor> = Vec::new();
	for (op, (_, info)) in (0u8..).zip(program.iter()) {
		let mut output = Tensor::zeros(info.shape, info.element);
		let index = OpIndex::new(program, 0, op).ok_or(EvalError::NoSuchOp)?;
		let (block_rows, block_cols) = (info.shape.block_rows(), info.shape.block_cols());
		let blocks = (0..block_rows).flat_map(|row| (0..block_cols).map(move |col| BlockIndex { row, col }));
		for (block, out) in blocks.zip(output.bytes_mut().chunks_exact_mut(info.element.block_bytes())) {
			let needs = program.needs(op, block).ok_or(EvalError::NoSuchBlock)?;
			let inputs = needs.iter().map(|need| {
				let tensor = match need.value {
					Value::Features => features,
					Value::Parameter(index) => parameters.get(usize::from(index))?,
					Value::Op(index) => outputs.get(usize::from(index))?,
					// No op of an inference graph reads labels.
					Value::Labels => return None,
				};
				region(tensor, need.region)
			});
			let inputs: Vec<Vec<u8>> = inputs.collect::<Option<_>>().ok_or(EvalError::BadInput)?;
			let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
			out.copy_from_slice(&program.eval_block(index, block, &inputs, context)?.to_bytes());
		}
		outputs.push(output);
	}
	Ok(outputs)
}

/// The bytes of part of a tensor.
fn region(tensor: &Tensor, region: labora_graph::Region) -> Option<Vec<u8>> {
	let shape = tensor.shape();
	let blocks: Vec<BlockIndex> = match region {
		labora_graph::Region::Rows(row) => (0..shape.block_cols()).map(|col| BlockIndex { row, col }).collect(),
		labora_graph::Region::Columns(col) => (0..shape.block_rows()).map(|row| BlockIndex { row, col }).collect(),
		labora_graph::Region::Block(block) => vec![block],
	};
	let bytes: Option<Vec<&[u8]>> = blocks.into_iter().map(|block| tensor.block(block)).collect();
	bytes.map(|bytes| bytes.concat())
}
