//! A unit of one mined product of any inner dimension, and proofs of it: what verification and import are measured with.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use labora_engine::{Engine, Miner, MiningTarget, UnitPlan};
use labora_graph::{Activation, Graph, Op, Rounding, Value};
use labora_pouw::UsefulProof;
use labora_primitives::{Assignment, Dataset, Job, TaskSpec, UnitKind};
use labora_tensor::{ElementType, I32Tensor, Shape, Tensor};
use sp_core::bounded::BoundedVec;

use crate::LAB;

/// Keeps the first proof.
struct First {
	target: MiningTarget,
	proof: Mutex<Option<UsefulProof>>,
}

impl Miner for First {
	fn target(&self) -> Option<MiningTarget> {
		Some(self.target)
	}

	fn won(&self, _: &MiningTarget, proof: UsefulProof) {
		if let Ok(mut first) = self.proof.lock() {
			first.get_or_insert(proof);
		}
	}
}

/// An inference task of one unit, whose first product has the inner dimension `k`.
pub fn spec(k: u32) -> TaskSpec {
	let ops = vec![
		Op::Quantize { parameter: 0, shift: 16 },
		Op::MatMul {
			a: Value::Features,
			b: Value::Op(0),
			transpose_a: false,
			transpose_b: false,
			shift: 10,
			rounding: Rounding::Nearest,
			activation: Activation::Relu,
		},
		Op::Quantize { parameter: 1, shift: 16 },
		Op::MatMul {
			a: Value::Op(1),
			b: Value::Op(2),
			transpose_a: false,
			transpose_b: false,
			shift: 10,
			rounding: Rounding::Nearest,
			activation: Activation::Identity,
		},
		Op::Argmax { logits: Value::Op(3) },
	];
	let shapes = vec![Shape { rows: k, cols: 256 }, Shape { rows: 256, cols: 10 }];
	let (features, parameters) = tensors(k);
	TaskSpec {
		graph: Graph { batch: 256, features: k, parameters: shapes, ops },
		job: Job::Inference { units: 1, steps: 1 },
		dataset: Dataset { features: features.commitment(), labels: None, rows: 256, examples: 256 },
		parameters: BoundedVec::truncate_from(parameters.iter().map(Tensor::commitment).collect()),
		recipe: None,
		seed: [0; 32],
		price: LAB,
		deadline: 100,
	}
}

fn tensors(k: u32) -> (Tensor, Vec<Tensor>) {
	let bytes: Vec<u8> = (0..256 * k).map(|i| (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 64).collect();
	let features = Tensor::from_bytes(Shape { rows: 256, cols: k }, ElementType::I8, bytes);
	let parameter = |rows: u32, cols: u32| {
		let elements: Vec<i32> =
			(0..rows * cols).map(|i| ((i.wrapping_mul(40_503) >> 7) as i32 % 20 - 10) << 16).collect();
		I32Tensor::pack(Shape { rows, cols }, &elements)
	};
	let parameters = [parameter(k, 256), parameter(256, 10)];
	(features.unwrap_or_else(|_| unreachable!()), parameters.into_iter().flatten().collect())
}

/// Computes the unit of such a task, and gives its first proof for a target that every ticket meets.
pub fn prove(spec: &TaskSpec, assignment: &Assignment, target: MiningTarget) -> Result<UsefulProof> {
	let UnitKind::Steps(unit) = assignment.unit.kind else { anyhow::bail!("inference has no merge") };
	let (features, parameters) = tensors(spec.graph.features);
	let plan = UnitPlan {
		program: Arc::new(spec.check().map_err(|error| anyhow::anyhow!("{error:?}"))?),
		context: spec.context(0, unit),
		features_commitment: features.commitment(),
		features: Arc::new(features),
		labels: None,
		labels_commitment: None,
		parameters: parameters.into_iter().map(Arc::new).collect(),
		batches: vec![0],
	};
	let first = First { target, proof: Mutex::default() };
	Engine::best(1).run(&plan, &first)?;
	first.proof.into_inner().ok().flatten().context("every ticket wins")
}
