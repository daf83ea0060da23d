//! Models: multilayer perceptrons as graphs, and the parameters that they start from.
//!
//! [`MlpRecipe`] holds the numbers that make integer training work (ranges of the initial weights, shifts, the learning rate).
//! [`mlp_training_graph`] and [`mlp_inference_graph`] turn it into graphs; [`inference_graph_of`] cuts the part that classifies out of
//! any training graph. [`draw`] gives the initial parameters of a recipe, [`layers`] says what the weights of a graph mean.

mod infer;
mod recipe;

use labora_graph::{Activation, Graph, GraphError, Op, Program, Rounding, Value, MAX_PARAMETERS};
use labora_primitives::Recipe;
use labora_tensor::{ElementType, I32Tensor, Shape, Tensor};

pub use infer::{classify, InferenceError};
pub use recipe::MlpRecipe;

/// Why there is no model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelError {
	/// The graph breaks a rule of the chain.
	#[error("the chain would refuse the graph: {0:?}")]
	Graph(GraphError),
	/// The recipe has not one number per layer.
	#[error("{what}: {found} numbers, but the model has {expected}")]
	RecipeLength {
		/// Which numbers.
		what: &'static str,
		/// How many there should be.
		expected: usize,
		/// How many there are.
		found: usize,
	},
	/// A range is zero or above the largest.
	#[error("a range of {0} is not between 1 and {max}", max = Recipe::MAX_RANGE)]
	BadRange(u16),
	/// More layers than parameters fit a graph.
	#[error("{0} layers are more than {MAX_PARAMETERS}")]
	TooManyLayers(usize),
	/// The graph does not say what its logits are.
	#[error("the graph has no softmax: it cannot be turned into one that classifies")]
	NoLogits,
}

/// Widths of a perceptron: of its input, its hidden layers and its output.
fn widths(features: u32, layers: &[u32], classes: u32) -> Vec<u32> {
	[features].into_iter().chain(layers.iter().copied()).chain([classes]).collect()
}

/// The ops that all graphs of a perceptron begin with: quantized weights, then the layers. Gives the op of each layer's output.
fn forward(recipe: &MlpRecipe, layers: usize, ops: &mut Vec<Op>) -> Vec<u8> {
	for parameter in 0..layers as u8 {
		ops.push(Op::Quantize { parameter, shift: recipe.quantize });
	}
	let mut outputs = Vec::new();
	let mut input = Value::Features;
	for layer in 0..layers {
		let last = layer + 1 == layers;
		ops.push(Op::MatMul {
			a: input,
			b: Value::Op(layer as u8),
			transpose_a: false,
			transpose_b: false,
			shift: recipe.forward[layer],
			rounding: Rounding::Nearest,
			activation: if last { Activation::Identity } else { Activation::Relu },
		});
		let output = (ops.len() - 1) as u8;
		outputs.push(output);
		input = Value::Op(output);
	}
	outputs
}

fn graph(widths: &[u32], batch: u32, ops: Vec<Op>) -> Result<Graph, ModelError> {
	let parameters = widths.windows(2).map(|pair| Shape { rows: pair[0], cols: pair[1] }).collect();
	let graph = Graph { batch, features: widths[0], parameters, ops };
	Program::new(graph).map(|program| program.graph().clone()).map_err(ModelError::Graph)
}

/// The graph of one training step of a perceptron with hidden layers of these widths.
///
/// Hidden layers end in ReLU and round to the nearest; gradients on their way back are rounded at random, so that small ones
/// survive on average; every layer's weights lose the product of its input and its output's gradient.
pub fn mlp_training_graph(
	features: u32,
	layers: &[u32],
	classes: u32,
	batch: u32,
	recipe: &MlpRecipe,
) -> Result<Graph, ModelError> {
	let widths = widths(features, layers, classes);
	let count = widths.len() - 1;
	recipe.check(count)?;
	let mut ops = Vec::new();
	let outputs = forward(recipe, count, &mut ops);
	let logits = Value::Op(outputs[count - 1]);
	let last = |ops: &Vec<Op>| Value::Op((ops.len() - 1) as u8);
	ops.push(Op::Metrics { logits });
	ops.push(Op::SoftmaxGradient { logits });
	// Gradients of the layers' outputs, the last layer's first.
	let mut gradients = vec![last(&ops)];
	for (layer, shift) in (1..count).rev().zip(&recipe.backward) {
		ops.push(Op::MatMul {
			a: gradients[gradients.len() - 1],
			b: Value::Op(layer as u8),
			transpose_a: false,
			transpose_b: true,
			shift: *shift,
			rounding: Rounding::Stochastic,
			activation: Activation::Identity,
		});
		let (gradient, activation) = (last(&ops), Value::Op(outputs[layer - 1]));
		ops.push(Op::ReluMask { gradient, activation });
		gradients.push(last(&ops));
	}
	for (layer, gradient) in gradients.into_iter().rev().enumerate() {
		let input = if layer == 0 { Value::Features } else { Value::Op(outputs[layer - 1]) };
		ops.push(Op::SgdUpdate {
			parameter: layer as u8,
			a: input,
			b: gradient,
			transpose_a: true,
			transpose_b: false,
			rate: recipe.rate,
		});
	}
	graph(&widths, batch, ops)
}

/// The graph that classifies with the weights of [`mlp_training_graph`].
pub fn mlp_inference_graph(
	features: u32,
	layers: &[u32],
	classes: u32,
	batch: u32,
	recipe: &MlpRecipe,
) -> Result<Graph, ModelError> {
	let widths = widths(features, layers, classes);
	recipe.check(widths.len() - 1)?;
	let mut ops = Vec::new();
	let outputs = forward(recipe, widths.len() - 1, &mut ops);
	ops.push(Op::Argmax { logits: Value::Op(outputs[outputs.len() - 1]) });
	graph(&widths, batch, ops)
}

/// The inputs of an op, to be looked at or changed.
fn inputs(op: &mut Op) -> Vec<&mut Value> {
	match op {
		Op::Quantize { .. } => Vec::new(),
		Op::MatMul { a, b, .. } | Op::SgdUpdate { a, b, .. } => vec![a, b],
		Op::SoftmaxGradient { logits } | Op::Metrics { logits } | Op::Argmax { logits } => vec![logits],
		Op::ReluMask { gradient, activation } => vec![gradient, activation],
	}
}

/// The graph that classifies with the parameters of a training graph: what its logits need, and their largest. An inference graph is
/// taken as it is.
pub fn inference_graph_of(training: &Graph, batch: u32) -> Result<Graph, ModelError> {
	let logits = training.ops.iter().find_map(|op| match op {
		Op::SoftmaxGradient { logits } | Op::Argmax { logits } => Some(*logits),
		_ => None,
	});
	let Some(Value::Op(last)) = logits else { return Err(ModelError::NoLogits) };
	let mut needed = vec![false; usize::from(last) + 1];
	needed[usize::from(last)] = true;
	for index in (0..needed.len()).rev() {
		if !needed[index] {
			continue;
		}
		for input in inputs(&mut training.ops[index].clone()) {
			if let Value::Op(input) = *input {
				needed[usize::from(input)] = true;
			}
		}
	}
	let mut ops = Vec::new();
	// Where each op went.
	let mut places = vec![0u8; needed.len()];
	for (index, op) in training.ops.iter().enumerate().take(needed.len()).filter(|(index, _)| needed[*index]) {
		let mut op = *op;
		for input in inputs(&mut op) {
			if let Value::Op(input) = input {
				*input = places[usize::from(*input)];
			}
		}
		places[index] = ops.len() as u8;
		ops.push(op);
	}
	ops.push(Op::Argmax { logits: Value::Op(places[usize::from(last)]) });
	let graph = Graph { batch, ops, ..training.clone() };
	Program::new(graph).map(|program| program.graph().clone()).map_err(ModelError::Graph)
}

/// The initial parameters that a recipe draws for a graph.
pub fn draw(recipe: &Recipe, graph: &Graph) -> Vec<Tensor> {
	let shapes = graph.parameters.iter().zip(0u8..);
	shapes
		.map(|(shape, index)| {
			let elements = recipe.draw(index, *shape);
			// A recipe draws as many elements as the shape has.
			I32Tensor::pack(*shape, &elements).unwrap_or_else(|_| Tensor::zeros(*shape, ElementType::I32))
		})
		.collect()
}

/// What the weights of one layer mean as real numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layer {
	/// The master parameter.
	pub parameter: u8,
	/// The weight as an operand is the master divided by `2^quantize` and rounded.
	pub quantize: u8,
	/// A real weight is the operand times `2^-forward`: the product's shift.
	pub forward: u8,
}

/// The layers of a graph: parameters that are quantized and then the right operand of a product.
pub fn layers(graph: &Graph) -> Vec<Layer> {
	let quantized = graph.ops.iter().enumerate().filter_map(|(op, definition)| match *definition {
		Op::Quantize { parameter, shift } => Some((op as u8, parameter, shift)),
		_ => None,
	});
	let product = |weights: u8| {
		graph.ops.iter().find_map(|op| match *op {
			Op::MatMul { b, transpose_b: false, shift, .. } if b == Value::Op(weights) => Some(shift),
			_ => None,
		})
	};
	quantized
		.filter_map(|(op, parameter, quantize)| Some(Layer { parameter, quantize, forward: product(op)? }))
		.collect()
}
