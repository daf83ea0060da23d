//! How fast a new parent reaches a running product.

use labora_engine::{Engine, Miner, MiningTarget, UnitPlan};
use labora_graph::{Activation, Graph, Op, Program, Rounding, RoundingKey, StepContext, Value};
use labora_pouw::{Difficulty, UsefulProof};
use labora_tensor::{ElementType, Shape, Tensor};
use std::{
	sync::{
		atomic::{AtomicBool, Ordering},
		Arc, Mutex, PoisonError,
	},
	time::{Duration, Instant},
};

use crate::timing::Samples;

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

/// Mines in vain until there is a new parent, on which every ticket wins.
struct Switching {
	/// Whether a target was asked for: the product has begun.
	begun: AtomicBool,
	/// When the new parent came.
	switched: Mutex<Option<Instant>>,
	/// How long after it the first proof was there.
	won: Mutex<Option<Duration>>,
}

impl Miner for Switching {
	fn target(&self) -> Option<MiningTarget> {
		self.begun.store(true, Ordering::Relaxed);
		let switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner).is_some();
		let (parent, difficulty) = if switched { (3, 1) } else { (2, u128::MAX) };
		Some(MiningTarget { genesis: [1; 32], parent: [parent; 32], assignment: 3, difficulty: Difficulty(difficulty) })
	}

	fn won(&self, _: &MiningTarget, proof: UsefulProof) {
		std::hint::black_box(proof);
		let switched = *self.switched.lock().unwrap_or_else(PoisonError::into_inner);
		let mut won = self.won.lock().unwrap_or_else(PoisonError::into_inner);
		*won = won.or(switched.map(|switched| switched.elapsed()));
	}

	/// One proof is enough.
	fn cancelled(&self) -> bool {
		self.won.lock().unwrap_or_else(PoisonError::into_inner).is_some()
	}
}

/// Milliseconds by the clock from a new parent to a complete proof on it, at different moments of the product.
pub fn switches(engine: &Engine, times: u32) -> Samples {
	let plan = plan();
	let took = (0..times).filter_map(|number| {
		let miner = Switching { begun: AtomicBool::new(false), switched: Mutex::new(None), won: Mutex::new(None) };
		std::thread::scope(|scope| {
			scope.spawn(|| {
				while !miner.begun.load(Ordering::Relaxed) {
					std::thread::sleep(Duration::from_micros(100));
				}
				std::thread::sleep(Duration::from_millis(20 + 7 * u64::from(number)));
				*miner.switched.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
			});
			// Cancelled, after the proof.
			let _ = engine.run(&plan, &miner);
		});
		let won = *miner.won.lock().unwrap_or_else(PoisonError::into_inner);
		won.map(|took| took.as_secs_f64() * 1e3)
	});
	Samples(took.collect())
}
