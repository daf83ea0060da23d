//! How good a model is: the share of test rows whose class is right.

use std::sync::Arc;

use labora_engine::{Engine, EngineError, NoMiner, UnitPlan};
use labora_graph::{GraphError, Program, RoundingKey, StepContext};
use labora_primitives::{Job, TaskId};
use labora_tensor::{I8Tensor, Tensor};

use crate::{
	client::{Client, ClientError},
	dataset::{DatasetError, Folder, Split},
	model_file::Model,
	models::{inference_graph_of, ModelError},
	tasks::{self, TaskError},
};

/// Why a model cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
	/// The dataset cannot be used.
	#[error(transparent)]
	Dataset(#[from] DatasetError),
	/// The graph is none that classifies.
	#[error(transparent)]
	Model(#[from] ModelError),
	/// The graph breaks a rule.
	#[error("the model's graph breaks a rule: {0:?}")]
	Graph(GraphError),
	/// The engine refused.
	#[error("the engine cannot run the model: {0}")]
	Engine(#[from] EngineError),
	/// The chain could not be asked.
	#[error(transparent)]
	Client(#[from] ClientError),
	/// The task cannot be shown.
	#[error(transparent)]
	Task(#[from] TaskError),
	/// The folder holds other data than the task or the model is for.
	#[error("the dataset folder does not hold the rows that the task classifies")]
	OtherDataset,
	/// The model takes other features.
	#[error("the dataset has {dataset} features, but the model takes {model}")]
	WrongColumns {
		/// Columns of the dataset.
		dataset: u32,
		/// Columns that the model takes.
		model: u32,
	},
	/// A unit is not done.
	#[error("unit {unit} of task {task} has no result yet")]
	NotDone {
		/// The task.
		task: TaskId,
		/// The unit.
		unit: u16,
	},
}

/// How many rows are right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluation {
	/// Rows, without padding.
	pub rows: u64,
	/// Rows whose class is right.
	pub correct: u64,
	/// Per class: rows of the class, and how many of them are right.
	pub classes: Vec<(u64, u64)>,
}

impl Evaluation {
	/// The share of rows whose class is right.
	pub fn accuracy(&self) -> f64 {
		if self.rows == 0 {
			0.0
		} else {
			self.correct as f64 / self.rows as f64
		}
	}

	/// Compares classes with labels, row by row.
	pub fn of(classes: &[u8], labels: &Tensor, examples: u32, count: u32) -> Self {
		let mut evaluation = Self { rows: 0, correct: 0, classes: vec![(0, 0); count as usize] };
		for (class, row) in classes.iter().zip(0..examples) {
			let label = I8Tensor::get(labels, row, 0);
			let right = u64::from(i16::from(label) == i16::from(*class));
			evaluation.rows += 1;
			evaluation.correct += right;
			if let Some((rows, correct)) =
				usize::try_from(label).ok().and_then(|label| evaluation.classes.get_mut(label))
			{
				*rows += 1;
				*correct += right;
			}
		}
		evaluation
	}
}

/// Classifies a split's rows with a model by the engine.
pub fn classify(model: &Model, folder: &Folder, split: &Split, threads: usize) -> Result<Vec<u8>, EvaluateError> {
	let batch = folder.manifest.batch;
	let graph = inference_graph_of(&model.graph, batch)?;
	if graph.features != folder.manifest.features {
		return Err(EvaluateError::WrongColumns { dataset: folder.manifest.features, model: graph.features });
	}
	let program = Arc::new(Program::new(graph).map_err(EvaluateError::Graph)?);
	let features = Arc::new(folder.load(&split.features)?);
	let plan = UnitPlan {
		program,
		// Nothing of an inference graph is rounded at random.
		context: StepContext { rounding: RoundingKey(0), rate_drops: 0 },
		features_commitment: features.commitment(),
		features,
		labels: None,
		labels_commitment: None,
		parameters: model.parameters.iter().cloned().map(Arc::new).collect(),
		batches: (0..split.rows / batch).collect(),
	};
	Ok(Engine::best(threads).run(&plan, &NoMiner)?.classes)
}

/// A model on a folder's test rows, computed here.
pub fn local(model: &Model, folder: &Folder, threads: usize) -> Result<Evaluation, EvaluateError> {
	let split = folder.test()?;
	let classes = classify(model, folder, split, threads)?;
	let labels = folder.load(&split.labels)?;
	Ok(Evaluation::of(&classes, &labels, split.examples, folder.manifest.classes))
}

/// An inference task's classes, as the chain keeps them, against a folder's labels.
pub async fn on_chain(client: &Client, task: TaskId, folder: &Folder) -> Result<Evaluation, EvaluateError> {
	let spec = tasks::spec(client, task).await?;
	let Job::Inference { units, .. } = spec.job else {
		return Err(TaskError::WrongKind { task, expected: "inference" }.into());
	};
	let split = folder.split_of(&spec.dataset).ok_or(EvaluateError::OtherDataset)?;
	let mut classes = Vec::new();
	for unit in 0..units {
		let output = client.task_output(None, task, unit).await?;
		classes.extend(output.ok_or(EvaluateError::NotDone { task, unit })?);
	}
	let labels = folder.load(&split.labels)?;
	Ok(Evaluation::of(&classes, &labels, split.examples, folder.manifest.classes))
}
