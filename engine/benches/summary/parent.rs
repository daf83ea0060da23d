//! How fast a new parent reaches a running product.

use labora_engine::{Engine, Miner, MiningTarget, UnitPlan};
use labora_graph::{Activation, Graph, Op, Program, Rounding, RoundingKey, StepContext, Value};
use labora_pouw::{Difficulty, UsefulProof};
use labora_tensor::{ElementType, Shape, Tensor};
use std::sync::{
	atomic::{AtomicU32, Ordering},
	Arc, Mutex, MutexGuard, PoisonError,
};

use crate::timing::{now, Samples};

const SIZE: u32 = 4096;

/// Inference whose first product is 4096^3.
fn plan() -> UnitPlan {
	let matmul = |a, b| Op::MatMul {
		a,
		b,
		transpose_a: false,
		transpose_b: false,
		shift: 10,
		rounding: Rounding::Nearest,
		activation: Activation::Relu,
	};
	let ops = vec![
		Op::Quantize { parameter: 0, shift: 16 },
		matmul(Value::Features, Value::Op(0)),
		Op::Quantize { parameter: 1, shift: 16 },
		matmul(Value::Op(1), Value::Op(2)),
		Op::Argmax { logits: Value::Op(3) },
	];
	let parameters = vec![Shape { rows: SIZE, cols: SIZE }, Shape { rows: SIZE, cols: 10 }];
	let program = Program::new(Graph { batch: SIZE, features: SIZE, parameters, ops }).expect("a graph");
	let tensor = |shape: Shape, element: ElementType| {
		let bytes = (0..shape.bytes(element) as usize).map(|i| (i.wrapping_mul(0x9E37_79B1) >> 9) as u8).collect();
		Tensor::from_bytes(shape, element, bytes).expect("as many bytes")
	};
	let features = tensor(Shape { rows: SIZE, cols: SIZE }, ElementType::I8);
	UnitPlan {
		context: StepContext { rounding: RoundingKey(1), rate_drops: 0 },
		features_commitment: features.commitment(),
		features: Arc::new(features),
		labels_commitment: None,
		labels: None,
		parameters: program.graph().parameters.iter().map(|shape| Arc::new(tensor(*shape, ElementType::I32))).collect(),
		batches: vec![0],
		program: Arc::new(program),
	}
}

/// Mines in vain until it was asked so often; then there is a new parent, on which every ticket wins.
struct Switching {
	asked: AtomicU32,
	/// The last question that is answered with the old parent.
	last: u32,
	/// When that was, in processor time of the thread, and how long after it the first proof was there.
	times: Mutex<(f64, Option<f64>)>,
}

impl Switching {
	fn times(&self) -> MutexGuard<'_, (f64, Option<f64>)> {
		self.times.lock().unwrap_or_else(PoisonError::into_inner)
	}
}

impl Miner for Switching {
	fn target(&self) -> Option<MiningTarget> {
		let asked = self.asked.fetch_add(1, Ordering::Relaxed);
		if asked == self.last {
			self.times().0 = now();
		}
		let (parent, difficulty) = if asked > self.last { (3, 1) } else { (2, u128::MAX) };
		Some(MiningTarget { genesis: [1; 32], parent: [parent; 32], assignment: 3, difficulty: Difficulty(difficulty) })
	}

	fn won(&self, _: &MiningTarget, proof: UsefulProof) {
		std::hint::black_box(proof);
		let mut times = self.times();
		let (switched, won) = *times;
		times.1 = won.or(Some(now() - switched));
	}

	/// One proof is enough.
	fn cancelled(&self) -> bool {
		self.times().1.is_some()
	}
}

/// Milliseconds from a new parent to a complete proof on it, at different moments of the product; each the worst of its section, just
/// after the engine asked. For an engine of one thread.
pub fn switches(engine: &Engine, times: u32) -> Samples {
	let plan = plan();
	let took = (0..times).filter_map(|number| {
		let miner = Switching { asked: AtomicU32::new(0), last: 20 + 23 * number, times: Mutex::new((0.0, None)) };
		// Cancelled, after the proof.
		let _ = engine.run(&plan, &miner);
		let (_, won) = *miner.times();
		won
	});
	Samples(took.collect())
}
