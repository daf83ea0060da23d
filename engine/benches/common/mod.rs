//! What the benchmarks share.

use labora_engine::{Miner, MiningTarget, UnitPlan};
use labora_graph::{Activation, Graph, Op, Program, Rounding, RoundingKey, StepContext, Value};
use labora_pouw::{Difficulty, UsefulProof};
use labora_tensor::{ElementType, Shape, Tensor};
use std::{hint::black_box, sync::Arc};

/// Mines without ever winning.
pub struct Hopeless;

impl Miner for Hopeless {
	fn target(&self) -> Option<MiningTarget> {
		let difficulty = Difficulty(u128::MAX);
		Some(MiningTarget { genesis: [1; 32], parent: [2; 32], assignment: 3, difficulty })
	}

	fn won(&self, _: &MiningTarget, proof: UsefulProof) {
		black_box(proof);
	}
}

/// A perceptron with two hidden layers for digits of 784 pixels, eight steps.
pub fn perceptron(batch: u32, hidden: u32) -> UnitPlan {
	use Value::{Features, Op as Out};
	let forward = |a, b, shift, activation| Op::MatMul {
		a,
		b: Out(b),
		transpose_a: false,
		transpose_b: false,
		shift,
		rounding: Rounding::Nearest,
		activation,
	};
	let backward = |a, b, shift| Op::MatMul {
		a: Out(a),
		b: Out(b),
		transpose_a: false,
		transpose_b: true,
		shift,
		rounding: Rounding::Stochastic,
		activation: Activation::Identity,
	};
	let update =
		|parameter, a, b| Op::SgdUpdate { parameter, a, b: Out(b), transpose_a: true, transpose_b: false, rate: 2 };
	let ops = vec![
		Op::Quantize { parameter: 0, shift: 16 },
		Op::Quantize { parameter: 1, shift: 16 },
		Op::Quantize { parameter: 2, shift: 16 },
		forward(Features, 0, 9, Activation::Relu),
		forward(Out(3), 1, 8, Activation::Relu),
		forward(Out(4), 2, 8, Activation::Identity),
		Op::SoftmaxGradient { logits: Out(5) },
		Op::Metrics { logits: Out(5) },
		backward(6, 2, 5),
		Op::ReluMask { gradient: Out(8), activation: Out(4) },
		backward(9, 1, 6),
		Op::ReluMask { gradient: Out(10), activation: Out(3) },
		update(0, Features, 11),
		update(1, Out(3), 9),
		update(2, Out(4), 6),
	];
	let parameters = vec![(784, hidden), (hidden, hidden), (hidden, 10)];
	let parameters: Vec<_> = parameters.into_iter().map(|(rows, cols)| Shape { rows, cols }).collect();
	let program = Program::new(Graph { batch, features: 784, parameters, ops }).expect("a graph");
	let batches: Vec<u32> = (0..8).collect();
	let rows = batch * 8;
	let arbitrary = |shape: Shape, element: ElementType, mask: usize| {
		let bytes = shape.bytes(element) as usize;
		let bytes = (0..bytes).map(|i| ((i.wrapping_mul(0x9E37_79B1) >> 9) & mask) as u8).collect();
		Tensor::from_bytes(shape, element, bytes).expect("as many bytes")
	};
	let features = arbitrary(Shape { rows, cols: 784 }, ElementType::I8, 63);
	let labels = arbitrary(Shape { rows, cols: 1 }, ElementType::I8, 7);
	let parameters = program.graph().parameters.iter().map(|shape| arbitrary(*shape, ElementType::I32, 255));
	UnitPlan {
		context: StepContext { rounding: RoundingKey(1), rate_drops: 0 },
		features_commitment: features.commitment(),
		features: Arc::new(features),
		labels_commitment: Some(labels.commitment()),
		labels: Some(Arc::new(labels)),
		parameters: parameters.map(Arc::new).collect(),
		batches,
		program: Arc::new(program),
	}
}
