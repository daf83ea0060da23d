//! Models in files: safetensors with the integers as they are, and what they mean.
//!
//! Per layer `parameter.N` holds the master parameters (`i32`) and `weight.N` the operands that products use (`i8`), row-major and
//! unpadded, as other tools expect them. The metadata say what they are worth: a real number is the integer times
//! `2^-scale`. The graph is there twice: as JSON to read, and encoded, which is what counts.

use std::{collections::HashMap, fs, path::Path};

use codec::Encode;
use labora_graph::{arithmetic::quantize, Graph, GraphError, Op, Program};
use labora_primitives::TaskId;
use labora_tensor::{Commitment, I32Tensor, Shape, Tensor};
use safetensors::{tensor::TensorView, Dtype, SafeTensorError, SafeTensors};
use serde_json::{json, Value as Json};

use crate::{
	client::{Client, ClientError},
	dataset::Scale,
	hexes::{from_hex, parse_commitment, to_hex},
	models::layers,
	tasks::{self, TaskError},
};

/// Version of the layout.
const FORMAT: &str = "labora-model-1";
/// An activation's real number is the operand times `2^-6`, nearly 1 at most.
const ACTIVATION_SCALE: u8 = 6;
/// A logit counts eighths of an octave: probabilities are proportional to `2^(logit * 2^-3)`.
const LOGIT_SCALE: u8 = 3;

/// A model.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
	/// The graph that trained it, or one that classifies with it.
	pub graph: Graph,
	/// Its master parameters.
	pub parameters: Vec<Tensor>,
	/// The task that trained it.
	pub task: Option<TaskId>,
	/// The chain of that task: hash of its genesis block.
	pub genesis: Option<String>,
	/// How features became operands.
	pub scale: Option<Scale>,
}

/// Why a model cannot be read, written or fetched.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
	/// The file cannot be read or written.
	#[error("{path}: {source}")]
	Io {
		/// The file.
		path: String,
		/// What the system said.
		source: std::io::Error,
	},
	/// The file is no safetensors file.
	#[error("not a safetensors file: {0}")]
	Format(#[from] SafeTensorError),
	/// The file is not one of Labora's.
	#[error("not a Labora model: {0}")]
	NotLabora(String),
	/// The graph breaks a rule.
	#[error("the model's graph breaks a rule: {0:?}")]
	Graph(GraphError),
	/// A tensor has the wrong shape or type.
	#[error("tensor {0} does not fit the graph")]
	WrongTensor(String),
	/// A tensor is not the one committed to.
	#[error("tensor {tensor} commits to {found}, but the file says {expected}: it was changed")]
	WrongCommitment {
		/// The tensor.
		tensor: String,
		/// What the file says.
		expected: String,
		/// What the bytes say.
		found: String,
	},
	/// The chain could not be asked.
	#[error(transparent)]
	Client(#[from] ClientError),
	/// The task has no result.
	#[error(transparent)]
	Task(#[from] TaskError),
}

impl Model {
	/// Commitments of the parameters.
	pub fn commitments(&self) -> Vec<Commitment> {
		self.parameters.iter().map(Tensor::commitment).collect()
	}

	/// Reads a completed task's result from the node and checks its commitments. `progress` is called with bytes done and to do.
	pub async fn fetch(client: &Client, task: TaskId, progress: impl Fn(u64, u64)) -> Result<Self, ModelFileError> {
		let (spec, commitments) = tasks::result(client, task).await?;
		let element = labora_tensor::ElementType::I32;
		let total: u64 = spec.graph.parameters.iter().map(|shape| shape.bytes(element)).sum();
		let (mut parameters, mut done) = (Vec::new(), 0);
		for (commitment, shape) in commitments.iter().zip(&spec.graph.parameters) {
			let size = shape.bytes(element);
			let bytes = client.download(commitment, |bytes, _| progress(done + bytes, total)).await?;
			done += size;
			let wrong = |_| ModelFileError::WrongTensor(commitment.to_string());
			parameters.push(Tensor::from_bytes(*shape, element, bytes).map_err(wrong)?);
		}
		let genesis = Some(to_hex(client.genesis()));
		Ok(Self { graph: spec.graph, parameters, task: Some(task), genesis, scale: None })
	}

	/// The model as the bytes of a safetensors file.
	pub fn to_bytes(&self) -> Result<Vec<u8>, ModelFileError> {
		let layers = layers(&self.graph);
		let mut tensors: Vec<(String, Dtype, Shape, Vec<u8>)> = Vec::new();
		for (index, tensor) in self.parameters.iter().enumerate() {
			let masters = unpack(tensor);
			let bytes = masters.iter().flat_map(|x| x.to_le_bytes()).collect();
			tensors.push((format!("parameter.{index}"), Dtype::I32, tensor.shape(), bytes));
			if let Some(layer) = layers.iter().find(|layer| usize::from(layer.parameter) == index) {
				let weights = masters.iter().map(|x| quantize(*x, layer.quantize) as u8).collect();
				tensors.push((format!("weight.{index}"), Dtype::I8, tensor.shape(), weights));
			}
		}
		let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
			let shape = vec![shape.rows as usize, shape.cols as usize];
			Ok((name.as_str(), TensorView::new(*dtype, shape, bytes)?))
		});
		let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
		Ok(safetensors::serialize(views, Some(self.metadata()))?)
	}

	fn metadata(&self) -> HashMap<String, String> {
		let mut scales = serde_json::Map::new();
		for layer in layers(&self.graph) {
			scales.insert(format!("weight.{}", layer.parameter), layer.forward.into());
			scales.insert(format!("parameter.{}", layer.parameter), (layer.forward + layer.quantize).into());
		}
		scales.insert("activation".into(), ACTIVATION_SCALE.into());
		scales.insert("logit".into(), LOGIT_SCALE.into());
		let commitments: Vec<String> = self.commitments().iter().map(ToString::to_string).collect();
		let mut metadata: HashMap<String, String> = [
			("labora.format", FORMAT.to_owned()),
			("labora.graph", graph_json(&self.graph).to_string()),
			("labora.graph_scale_codec", to_hex(self.graph.encode())),
			("labora.commitments", json!(commitments).to_string()),
			("labora.scales", Json::Object(scales).to_string()),
			("labora.meaning", "value = integer * 2^-scale; probabilities are proportional to 2^logit".to_owned()),
		]
		.into_iter()
		.map(|(key, value)| (key.to_owned(), value))
		.collect();
		metadata.extend(self.task.map(|task| ("labora.task".to_owned(), task.to_string())));
		metadata.extend(self.genesis.clone().map(|genesis| ("labora.genesis".to_owned(), genesis)));
		metadata.extend(self.scale.map(|scale| ("labora.features".to_owned(), json!(scale).to_string())));
		metadata
	}

	/// Reads the bytes of a safetensors file that [`Model::to_bytes`] wrote, and checks them against their commitments.
	pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelFileError> {
		let file = SafeTensors::deserialize(bytes)?;
		let (_, header) = SafeTensors::read_metadata(bytes)?;
		let metadata = header.metadata().clone().unwrap_or_default();
		let not = |reason: &str| ModelFileError::NotLabora(reason.into());
		let get = |key: &str| metadata.get(key).map(String::as_str).ok_or_else(|| not(&format!("no metadata `{key}`")));
		if get("labora.format")? != FORMAT {
			return Err(not(&format!("its layout is `{}`, this program reads `{FORMAT}`", get("labora.format")?)));
		}
		let encoded = from_hex(get("labora.graph_scale_codec")?);
		let graph = Graph::from_bytes(&encoded.map_err(|_| not("its graph is not hexadecimal"))?);
		let program = Program::new(graph.map_err(ModelFileError::Graph)?).map_err(ModelFileError::Graph)?;
		let graph = program.graph().clone();
		let commitments: Vec<String> =
			serde_json::from_str(get("labora.commitments")?).map_err(|_| not("its commitments are no list"))?;
		if commitments.len() != graph.parameters.len() {
			return Err(not("it has not one commitment per parameter"));
		}
		let layers = layers(&graph);
		let mut parameters = Vec::new();
		for (index, (shape, expected)) in graph.parameters.iter().zip(commitments).enumerate() {
			let name = format!("parameter.{index}");
			let masters = read(&file, &name, Dtype::I32, *shape)?;
			let masters: Vec<i32> =
				masters.chunks_exact(4).map(|x| i32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
			let tensor = I32Tensor::pack(*shape, &masters).map_err(|_| ModelFileError::WrongTensor(name.clone()))?;
			let found = tensor.commitment();
			if parse_commitment(&expected).ok() != Some(found) {
				return Err(ModelFileError::WrongCommitment { tensor: name, expected, found: found.to_string() });
			}
			if let Some(layer) = layers.iter().find(|layer| usize::from(layer.parameter) == index) {
				let name = format!("weight.{index}");
				let weights = read(&file, &name, Dtype::I8, *shape)?;
				if !weights.iter().zip(&masters).all(|(weight, x)| *weight as i8 == quantize(*x, layer.quantize)) {
					return Err(ModelFileError::WrongTensor(name));
				}
			}
			parameters.push(tensor);
		}
		let task = metadata.get("labora.task").and_then(|task| task.parse().ok()).map(TaskId);
		let scale = metadata.get("labora.features").and_then(|scale| serde_json::from_str(scale).ok());
		Ok(Self { graph, parameters, task, genesis: metadata.get("labora.genesis").cloned(), scale })
	}

	/// Writes a file.
	pub fn save(&self, path: &Path) -> Result<(), ModelFileError> {
		fs::write(path, self.to_bytes()?)
			.map_err(|source| ModelFileError::Io { path: path.display().to_string(), source })
	}

	/// Reads a file.
	pub fn load(path: &Path) -> Result<Self, ModelFileError> {
		let io = |source| ModelFileError::Io { path: path.display().to_string(), source };
		Self::from_bytes(&fs::read(path).map_err(io)?)
	}
}

/// The elements of an `i32` tensor, row-major.
fn unpack(tensor: &Tensor) -> Vec<i32> {
	let Shape { rows, cols } = tensor.shape();
	(0..rows).flat_map(|row| (0..cols).map(move |col| I32Tensor::get(tensor, row, col))).collect()
}

fn read<'a>(file: &SafeTensors<'a>, name: &str, dtype: Dtype, shape: Shape) -> Result<&'a [u8], ModelFileError> {
	let view = file.tensor(name)?;
	let fits = view.dtype() == dtype && view.shape() == [shape.rows as usize, shape.cols as usize];
	fits.then(|| view.data()).ok_or_else(|| ModelFileError::WrongTensor(name.into()))
}

/// A graph to read. Values are written as `features`, `labels`, `parameter.N` and `op.N`.
pub fn graph_json(graph: &Graph) -> Json {
	use labora_graph::Value;
	let value = |value: Value| match value {
		Value::Features => "features".to_owned(),
		Value::Labels => "labels".to_owned(),
		Value::Parameter(index) => format!("parameter.{index}"),
		Value::Op(index) => format!("op.{index}"),
	};
	let op = |op: &Op| match *op {
		Op::Quantize { parameter, shift } => json!({"op": "quantize", "parameter": parameter, "shift": shift}),
		Op::MatMul { a, b, transpose_a, transpose_b, shift, rounding, activation } => json!({
			"op": "matmul", "a": value(a), "b": value(b), "transpose_a": transpose_a, "transpose_b": transpose_b, "shift": shift,
			"rounding": format!("{rounding:?}").to_lowercase(), "activation": format!("{activation:?}").to_lowercase(),
		}),
		Op::SoftmaxGradient { logits } => json!({"op": "softmax_gradient", "logits": value(logits)}),
		Op::ReluMask { gradient, activation } => {
			json!({"op": "relu_mask", "gradient": value(gradient), "activation": value(activation)})
		}
		Op::SgdUpdate { parameter, a, b, transpose_a, transpose_b, rate } => json!({
			"op": "sgd_update", "parameter": parameter, "a": value(a), "b": value(b), "transpose_a": transpose_a,
			"transpose_b": transpose_b, "rate": rate,
		}),
		Op::Metrics { logits } => json!({"op": "metrics", "logits": value(logits)}),
		Op::Argmax { logits } => json!({"op": "argmax", "logits": value(logits)}),
	};
	json!({
		"batch": graph.batch,
		"features": graph.features,
		"parameters": graph.parameters.iter().map(|shape| [shape.rows, shape.cols]).collect::<Vec<_>>(),
		"ops": graph.ops.iter().map(op).collect::<Vec<_>>(),
	})
}
