//! Small tasks for tests.

use std::sync::Arc;

use labora_engine::UnitPlan;
use labora_graph::{Activation, Graph, Op, Rounding, Value};
use labora_primitives::{Dataset, Job, Recipe, TaskId, TaskSpec, UnitKind, UnitRef};
use labora_tensor::{ElementType, I32Tensor, I8Tensor, Shape, Tensor};

use super::{result::Draft, unit::Origin};

const BATCH: u32 = 32;
const FEATURES: u32 = 256;
const CLASSES: u32 = 10;
const STEPS: u32 = 2;
const ROWS: u32 = 64;

/// A task with its tensors.
pub(super) struct Fixture {
	pub spec: TaskSpec,
	pub features: Arc<Tensor>,
	pub labels: Arc<Tensor>,
	pub parameters: Vec<Arc<Tensor>>,
}

fn ops(training: bool) -> Vec<Op> {
	let product = Op::MatMul {
		a: Value::Features,
		b: Value::Op(0),
		transpose_a: false,
		transpose_b: false,
		shift: 8,
		rounding: Rounding::Nearest,
		activation: Activation::Identity,
	};
	let quantize = Op::Quantize { parameter: 0, shift: 16 };
	let logits = Value::Op(1);
	if !training {
		return vec![quantize, product, Op::Argmax { logits }];
	}
	let update = Op::SgdUpdate {
		parameter: 0,
		a: Value::Features,
		b: Value::Op(2),
		transpose_a: true,
		transpose_b: false,
		rate: 0,
	};
	vec![quantize, product, Op::SoftmaxGradient { logits }, update, Op::Metrics { logits }]
}

/// Numbers that look random, the same each time.
fn noise(count: u32, modulus: u32) -> impl Iterator<Item = i8> {
	(0..count).map(move |i| (i.wrapping_mul(0x9E37_79B1) >> 16) % modulus).map(|x| x as i8)
}

impl Fixture {
	fn new(training: bool) -> Self {
		let shape = |rows, cols| Shape { rows, cols };
		let recipe = Recipe { seed: [5; 32], ranges: vec![20].try_into().unwrap() };
		let parameter = shape(FEATURES, CLASSES);
		let drawn = I32Tensor::pack(parameter, &recipe.draw(0, parameter)).unwrap();
		let features: Vec<i8> = noise(ROWS * FEATURES, 64).collect();
		let labels: Vec<i8> = noise(ROWS, CLASSES).collect();
		let features = Arc::new(I8Tensor::pack(shape(ROWS, FEATURES), &features).unwrap());
		let labels = Arc::new(I8Tensor::pack(shape(ROWS, 1), &labels).unwrap());
		let job = if training {
			Job::Training { rounds: 1, units: 1, steps: STEPS, rate_drops: Default::default() }
		} else {
			Job::Inference { units: 1, steps: STEPS }
		};
		let spec = TaskSpec {
			graph: Graph { batch: BATCH, features: FEATURES, parameters: vec![parameter], ops: ops(training) },
			job,
			dataset: Dataset {
				features: features.commitment(),
				labels: training.then(|| labels.commitment()),
				rows: ROWS,
				examples: ROWS,
			},
			parameters: vec![drawn.commitment()].try_into().unwrap(),
			recipe: Some(recipe),
			seed: [6; 32],
			price: 1,
			deadline: 10,
		};
		spec.check().unwrap();
		Self { spec, features, labels, parameters: vec![Arc::new(drawn)] }
	}

	/// A task that trains, with metrics.
	pub fn training() -> Self {
		Self::new(true)
	}

	/// A task that classifies.
	pub fn inference() -> Self {
		Self::new(false)
	}

	/// A task that trains in several rounds of several units.
	pub fn rounds(rounds: u32, units: u16) -> Self {
		let mut fixture = Self::new(true);
		fixture.spec.job = Job::Training { rounds, units, steps: STEPS, rate_drops: Default::default() };
		fixture.spec.check().unwrap();
		fixture
	}

	/// The op of the first step that can be mined.
	pub fn product(&self) -> u32 {
		1
	}

	/// The unit of the task.
	pub fn unit() -> UnitRef {
		UnitRef { task: TaskId(0), round: 0, kind: UnitKind::Steps(0) }
	}

	/// The origin of that unit.
	pub fn origin(&self) -> Origin {
		let parameters = vec![self.spec.parameters.to_vec()];
		Origin { unit: Self::unit(), spec: self.spec.clone(), parameters }
	}

	/// The origin of a merge of two results that changed nothing.
	pub fn merge_origin(&self) -> Origin {
		let set = self.spec.parameters.to_vec();
		let unit = UnitRef { kind: UnitKind::Merge, ..Self::unit() };
		Origin { unit, spec: self.spec.clone(), parameters: vec![set.clone(), set] }
	}

	/// The plan of that unit.
	pub fn plan(&self) -> UnitPlan {
		self.plan_of(0, 0, self.parameters.clone())
	}

	/// The plan of a unit of a round that starts from some parameters.
	pub fn plan_of(&self, round: u32, unit: u16, parameters: Vec<Arc<Tensor>>) -> UnitPlan {
		let labels = self.spec.dataset.labels;
		assert_eq!(self.parameters[0].element(), ElementType::I32);
		UnitPlan {
			program: Arc::new(self.spec.check().unwrap()),
			context: self.spec.context(round, unit),
			features: self.features.clone(),
			features_commitment: self.spec.dataset.features,
			labels: labels.map(|_| self.labels.clone()),
			labels_commitment: labels,
			parameters,
			batches: (0..STEPS).map(|step| self.spec.batch(round, unit, step)).collect(),
		}
	}
}

/// A draft of some unit of a task.
pub(super) fn draft(task: u32) -> Draft {
	let fixture = Fixture::training();
	let mut origin = fixture.merge_origin();
	origin.unit.task = TaskId(task);
	let merged: Vec<_> = fixture.parameters.iter().map(|tensor| (tensor.commitment(), tensor.clone())).collect();
	Draft::of_merge(origin, &merged)
}
