use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, Input, MaxEncodedLen};
use labora_tensor::Shape;
use scale_info::TypeInfo;

/// Most ops of a graph.
pub const MAX_OPS: u32 = 64;
/// Most parameters of a graph.
pub const MAX_PARAMETERS: u32 = 16;

/// Where an op's input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Value {
	/// The step's rows of the dataset's features: `batch x features`, `i8`.
	Features,
	/// The step's rows of the dataset's labels: `batch x 1`, `i8`.
	Labels,
	/// A master parameter as it stands before the step, `i32`.
	Parameter(u8),
	/// The output of an earlier op of the step.
	Op(u8),
}

/// How a product is rounded when scaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Rounding {
	/// To the nearest, halves up.
	Nearest,
	/// Up with the probability of the remainder, by bits that are a function of task, round, unit, op and position.
	Stochastic,
}

/// What a product goes through when it becomes an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Activation {
	/// Clamped to `[-63, 63]`.
	Identity,
	/// Clamped to `[0, 63]`.
	Relu,
}

/// One op. It yields one tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum Op {
	/// `i8` operands from a master parameter: `clamp(round(parameter / 2^shift))`.
	Quantize {
		/// The master parameter.
		parameter: u8,
		/// Power of two to divide by, 1 to 24.
		shift: u8,
	},
	/// `activation(round(a * b / 2^shift))` of two `i8` matrices.
	MatMul {
		/// Left operand.
		a: Value,
		/// Right operand.
		b: Value,
		/// Whether the left operand is read transposed.
		transpose_a: bool,
		/// Whether the right operand is read transposed.
		transpose_b: bool,
		/// Power of two to divide by, 0 to 24.
		shift: u8,
		/// How.
		rounding: Rounding,
		/// Clamping.
		activation: Activation,
	},
	/// Gradient of the softmax cross-entropy of the labels with respect to logits, row by row.
	SoftmaxGradient {
		/// Logits, `batch x classes`, at most 64 classes.
		logits: Value,
	},
	/// `gradient` where `activation` is positive, else zero.
	ReluMask {
		/// What is masked.
		gradient: Value,
		/// A tensor of the same shape.
		activation: Value,
	},
	/// The parameter after the step: `parameter - (a * b) * 2^rate`, saturating. The gradient itself is never stored.
	SgdUpdate {
		/// The master parameter. Exactly one op updates each parameter of a training graph.
		parameter: u8,
		/// Left operand of the gradient.
		a: Value,
		/// Right operand of the gradient.
		b: Value,
		/// Whether the left operand is read transposed.
		transpose_a: bool,
		/// Whether the right operand is read transposed.
		transpose_b: bool,
		/// Learning rate as a power of two, -16 to 15, less the rate drops of the task so far.
		rate: i8,
	},
	/// Two `i32` columns per row: cross-entropy in 1/256 bit, and 1 where the largest logit is the label's.
	Metrics {
		/// Logits, `batch x classes`.
		logits: Value,
	},
	/// The class with the largest logit, one `i8` column: the output of an inference graph.
	Argmax {
		/// Logits, `batch x classes`.
		logits: Value,
	},
}

/// Shapes of the master parameters.
pub type Parameters = Vec<Shape>;

/// The program of one step.
#[derive(Clone, PartialEq, Eq, Debug, Encode, DecodeWithMemTracking, TypeInfo)]
pub struct Graph {
	/// Rows of a step, a multiple of 32; at most 65,536, with a metrics op at most 16,384.
	pub batch: u32,
	/// Columns of the dataset's features.
	pub features: u32,
	/// Shapes of the parameters, at most [`MAX_PARAMETERS`].
	pub parameters: Parameters,
	/// The ops, at most [`MAX_OPS`], each after its inputs.
	pub ops: Vec<Op>,
}

/// Refuses long lists before they are allocated.
fn decode_list<I: Input, T: Decode>(input: &mut I, most: u32) -> Result<Vec<T>, codec::Error> {
	let codec::Compact(len) = codec::Compact::<u32>::decode(input)?;
	if len > most {
		return Err("graph: list too long".into());
	}
	(0..len).map(|_| T::decode(input)).collect()
}

impl Decode for Graph {
	fn decode<I: Input>(input: &mut I) -> Result<Self, codec::Error> {
		Ok(Self {
			batch: u32::decode(input)?,
			features: u32::decode(input)?,
			parameters: decode_list(input, MAX_PARAMETERS)?,
			ops: decode_list(input, MAX_OPS)?,
		})
	}
}

impl MaxEncodedLen for Graph {
	fn max_encoded_len() -> usize {
		let list = |len: u32, item: usize| 4usize.saturating_add((len as usize).saturating_mul(item));
		8usize
			.saturating_add(list(MAX_PARAMETERS, Shape::max_encoded_len()))
			.saturating_add(list(MAX_OPS, Op::max_encoded_len()))
	}
}

/// Why a graph is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub enum GraphError {
	/// Not the encoding of a graph: an unknown op, a list too long, bytes missing or left over.
	Malformed,
	/// The batch is zero, not a multiple of 32, or above 65,536 (above 16,384 with a metrics op).
	BadBatch,
	/// A dimension is zero or above the limits.
	BadShape,
	/// More parameters than allowed.
	TooManyParameters,
	/// No ops, or more than allowed.
	BadOpCount,
	/// An input is a parameter or an op that the graph does not have.
	MissingInput,
	/// An input is the op itself or a later one: the graph has a cycle.
	Cycle,
	/// An input has the wrong element type.
	TypeMismatch,
	/// The inputs' shapes do not fit.
	ShapeMismatch,
	/// A shift or rate is out of its range.
	BadScale,
	/// More than 64 classes.
	TooManyClasses,
	/// A parameter is updated twice, or in a graph that trains not at all.
	BadUpdate,
	/// Neither every parameter updated (training) nor a last op that yields classes (inference).
	NoOutput,
	/// No product is large enough to be mined (`k` at least 256).
	NoEligibleProduct,
	/// The work of one step overflows the counter.
	TooMuchWork,
}

impl Graph {
	/// Decodes a whole graph: nothing may be left over.
	pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, GraphError> {
		let graph = Self::decode(&mut bytes).map_err(|_| GraphError::Malformed)?;
		bytes.is_empty().then_some(graph).ok_or(GraphError::Malformed)
	}
}
