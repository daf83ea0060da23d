use labora_graph::{
	arithmetic::mean, Activation, Graph, Op, OpIndex, Program, Rounding, RoundingKey, RunningMetrics, StepContext,
	Value,
};
use labora_pouw::{Difficulty, UsefulProof};
use labora_tensor::{Commitment, ElementType, I32Tensor, I8Tensor, Shape, Tensor};
use parking_lot::Mutex;
use std::sync::{
	atomic::{AtomicU32, Ordering},
	Arc,
};

use super::{engines, name, reference, tensor, Fill, FILLS};
use crate::{Engine, EngineError, Kernel, Miner, MiningTarget, NoMiner, PlanError, StepTensors, UnitPlan};

fn matmul(a: Value, b: Value, transpose_a: bool, transpose_b: bool, shift: u8, rounding: Rounding) -> Op {
	let activation = if transpose_a { Activation::Identity } else { Activation::Relu };
	Op::MatMul { a, b, transpose_a, transpose_b, shift, rounding, activation }
}

/// A training graph with every op and every pair of transposes.
fn training(batch: u32, features: u32, hidden: u32, classes: u32) -> Program {
	use Rounding::{Nearest, Stochastic};
	use Value::{Features, Op as Out};
	let shape = |rows, cols| Shape { rows, cols };
	let parameters = vec![shape(features, hidden), shape(hidden, features), shape(hidden, classes)];
	let update = |parameter, a, b, transpose_a, transpose_b, rate| Op::SgdUpdate {
		parameter,
		a,
		b,
		transpose_a,
		transpose_b,
		rate,
	};
	let ops = vec![
		Op::Quantize { parameter: 0, shift: 16 },
		Op::Quantize { parameter: 1, shift: 24 },
		Op::Quantize { parameter: 2, shift: 1 },
		matmul(Features, Out(0), false, false, 9, Nearest),
		matmul(Features, Out(1), false, true, 8, Stochastic),
		Op::ReluMask { gradient: Out(3), activation: Out(4) },
		matmul(Out(5), Out(2), false, false, 6, Nearest),
		Op::SoftmaxGradient { logits: Out(6) },
		Op::Metrics { logits: Out(6) },
		matmul(Out(7), Out(2), false, true, 5, Stochastic),
		// features x batch times batch x hidden, its transpose, and hidden x batch times batch x classes.
		update(0, Features, Out(9), true, false, 2),
		update(1, Out(9), Features, true, false, -3),
		update(2, Out(3), Out(7), true, false, 15),
		Op::Argmax { logits: Out(6) },
	];
	// hidden x batch times features x hidden, both transposed: well formed only where batch = features.
	let square = (batch == features).then(|| matmul(Out(3), Out(1), true, true, 0, Nearest));
	let ops = ops.into_iter().chain(square).collect();
	Program::new(Graph { batch, features, parameters, ops }).unwrap()
}

fn inference(batch: u32, features: u32, classes: u32) -> Program {
	let ops = vec![
		Op::Quantize { parameter: 0, shift: 16 },
		matmul(Value::Features, Value::Op(0), false, true, 9, Rounding::Nearest),
		Op::Argmax { logits: Value::Op(1) },
	];
	let parameters = vec![Shape { rows: classes, cols: features }];
	Program::new(Graph { batch, features, parameters, ops }).unwrap()
}

fn plan(program: Program, batches: Vec<u32>, fill: Fill) -> UnitPlan {
	let graph = program.graph();
	let rows = graph.batch * (batches.iter().max().unwrap() + 1) + 1;
	let features = tensor(rows, graph.features, ElementType::I8, fill);
	let labels: Vec<_> = (0..rows).map(|row| (row % 12) as i8 - 1).collect();
	let labels = I8Tensor::pack(Shape { rows, cols: 1 }, &labels).unwrap();
	let parameters = graph.parameters.iter().zip(10..);
	let parameters =
		parameters.map(|(shape, seed)| Arc::new(tensor(shape.rows, shape.cols, ElementType::I32, Fill::Random(seed))));
	UnitPlan {
		context: StepContext { rounding: RoundingKey(12345), rate_drops: 1 },
		features_commitment: features.commitment(),
		features: Arc::new(features),
		labels_commitment: Some(labels.commitment()),
		labels: Some(Arc::new(labels)),
		parameters: parameters.collect(),
		batches,
		program: Arc::new(program),
	}
}

/// Names another parent every time it is asked, and once none. Half of the tickets win.
struct Fickle {
	asked: AtomicU32,
	won: Mutex<Vec<(MiningTarget, UsefulProof)>>,
}

impl Miner for Fickle {
	fn target(&self) -> Option<MiningTarget> {
		let asked = self.asked.fetch_add(1, Ordering::Relaxed);
		let (parent, difficulty) = ([asked as u8; 32], Difficulty(1024 * 2048 * 2));
		(asked != 4).then_some(MiningTarget { genesis: [1; 32], parent, assignment: 7, difficulty })
	}

	fn won(&self, target: &MiningTarget, proof: UsefulProof) {
		self.won.lock().push((*target, proof));
	}
}

#[test]
fn new_targets_go_on_with_the_same_product() {
	// Eight sections: two threads compute at most two in a turn, and of four turns at least two have tickets.
	let plan = plan(inference(2048, 2048, 40), vec![0], Fill::Random(11));
	let (trace, _) = reference::run(&plan);
	for engine in engines(Kernel::all()) {
		let miner = Fickle { asked: AtomicU32::new(0), won: Mutex::default() };
		assert_eq!(engine.run(&plan, &miner).unwrap().trace, trace, "{}", name(&engine));
		let won = miner.won.into_inner();
		for (target, proof) in &won {
			assert!(reference::verify(&plan, &trace, target, proof).is_ok(), "{}", name(&engine));
		}
		// Each target has tickets of other tiles.
		let tiles: std::collections::BTreeSet<_> = won.iter().map(|(_, proof)| proof.tile).collect();
		assert_eq!(tiles.len(), won.len());
		assert!(won.len() >= 2 && tiles.iter().any(|tile| tile.row > 0), "{}: {}", name(&engine), won.len());
	}
}

struct Recorder {
	target: MiningTarget,
	won: Mutex<Vec<UsefulProof>>,
	steps: AtomicU32,
}

impl Recorder {
	fn new(difficulty: u128) -> Self {
		let difficulty = Difficulty(difficulty);
		let target = MiningTarget { genesis: [1; 32], parent: [2; 32], assignment: 7, difficulty };
		Self { target, won: Mutex::default(), steps: AtomicU32::new(0) }
	}
}

impl Miner for Recorder {
	fn target(&self) -> Option<MiningTarget> {
		Some(self.target)
	}

	fn won(&self, target: &MiningTarget, proof: UsefulProof) {
		assert_eq!(*target, self.target);
		self.won.lock().push(proof);
	}

	fn progress(&self, done: u32, _: u32) {
		assert_eq!(self.steps.swap(done, Ordering::Relaxed) + 1, done);
	}
}

/// The reference, a plain run and mined runs agree on every engine, and every proof verifies.
fn check(plan: &UnitPlan) {
	let program = &*plan.program;
	let (trace, parameters) = reference::run(plan);
	for engine in engines(Kernel::all()) {
		let plain = engine.run(plan, &NoMiner).unwrap();
		for (at, (expected, actual)) in trace.0.iter().zip(&plain.trace.0).enumerate() {
			let (step, op) = OpIndex(at as u32).split(program);
			assert_eq!(expected, actual, "{}: step {step}, {:?}", name(&engine), program.op(op).unwrap());
		}
		assert_eq!(plain.trace, trace);
		for ((commitment, tensor), expected) in plain.parameters.iter().zip(&parameters) {
			assert_eq!((tensor, *commitment), (expected, expected.commitment()));
		}
		assert_eq!(plain.parameters.len(), parameters.len());
		assert!(engine.compute(plan).unwrap().iter().eq(parameters.iter()));

		let recorder = Recorder::new(1);
		assert_eq!(engine.run(plan, &recorder).unwrap(), plain, "{}", name(&engine));
		assert_eq!(recorder.steps.into_inner() as usize, plan.batches.len());
		let proofs = recorder.won.into_inner();
		let eligible = program.iter().filter(|(_, info)| info.product.is_some_and(|product| product.eligible()));
		assert_eq!(proofs.len(), eligible.count() * plan.batches.len());
		for proof in proofs {
			assert!(
				reference::verify(plan, &trace, &recorder.target, &proof).is_ok(),
				"{} {:?}",
				name(&engine),
				proof.op
			);
			let mut forged = proof.clone();
			let at = (proof.op.0 as usize * 97) % forged.strip_b.data.len();
			forged.strip_b.data[at] ^= 1;
			assert!(reference::verify(plan, &trace, &recorder.target, &forged).is_err());
			let mut forged = proof.clone();
			forged.strip_a.siblings[0][3] ^= 128;
			assert!(reference::verify(plan, &trace, &recorder.target, &forged).is_err());
		}

		// About one tile in twenty wins.
		let recorder = Recorder::new(1024 * 256 * 20);
		assert_eq!(engine.run(plan, &recorder).unwrap().trace, trace);
		for proof in recorder.won.into_inner() {
			assert!(reference::verify(plan, &trace, &recorder.target, &proof).is_ok());
		}
	}
}

#[test]
fn training_units_agree_with_the_definition() {
	check(&plan(training(256, 784, 256, 10), vec![1, 0, 2], Fill::Random(6)));
	check(&plan(training(256, 256, 96, 10), vec![1], Fill::Random(5)));
	check(&plan(training(288, 300, 70, 40), vec![2, 2], Fill::Random(7)));
}

#[test]
fn extreme_features_agree_with_the_definition() {
	for fill in FILLS {
		check(&plan(training(32, 256, 64, 10), vec![1], fill));
	}
}

#[test]
fn inference_agrees_with_the_definition() {
	let plan = plan(inference(64, 2100, 33), vec![3, 0], Fill::Random(8));
	check(&plan);
	let output = Engine::best(1).run(&plan, &NoMiner).unwrap();
	assert_eq!(output.classes.len(), 128);
	assert_eq!(output.outputs, [output.trace.0[2], output.trace.0[5]]);
	let mut classes = Tensor::zeros(Shape { rows: 64, cols: 1 }, ElementType::I8);
	for (row, class) in output.classes[..64].iter().enumerate() {
		classes.bytes_mut()[row * 32] = *class;
	}
	assert_eq!(classes.commitment(), output.outputs[0]);
}

#[test]
fn totals_are_those_of_the_metrics() {
	let plan = plan(training(32, 256, 64, 10), vec![0, 1], Fill::Random(9));
	let output = Engine::best(1).run(&plan, &NoMiner).unwrap();
	assert!(output.loss > 0 && output.correct <= 64);
	let program = &*plan.program;
	assert_eq!(output.trace.0.len() as u32, program.trace_entries(2));
	let entry = |step| output.trace.0[program.tail_entry(2, step).unwrap().0 as usize];
	let sums = |step| RunningMetrics::from_entry(&entry(step)).unwrap();
	assert_eq!(sums(1), RunningMetrics { loss: output.loss as u64, correct: output.correct });
	let mut sum = RunningMetrics::default();
	for step in 0..2 {
		let tensors = Engine::best(1).replay(&plan, 0, step, &|| false).unwrap();
		let metrics = &tensors.outputs[usize::from(program.metrics_op().unwrap())];
		sum = sum.add_tensor(metrics.shape(), metrics.bytes());
		assert_eq!(sums(step), sum);
	}
	assert!(output.classes.is_empty() && output.outputs.is_empty());
}

/// Keeps the parameters of some steps, as a worker does.
struct Keeper {
	kept: Mutex<Vec<(u32, Vec<Arc<Tensor>>)>>,
	steps: AtomicU32,
}

impl Miner for Keeper {
	fn target(&self) -> Option<MiningTarget> {
		None
	}

	fn won(&self, _: &MiningTarget, _: UsefulProof) {}

	fn progress(&self, done: u32, _: u32) {
		self.steps.store(done, Ordering::Relaxed);
	}

	fn entered(&self, step: u32, parameters: &dyn Fn() -> Vec<Arc<Tensor>>) {
		assert_eq!(step, self.steps.load(Ordering::Relaxed));
		self.kept.lock().push((step, parameters()));
	}
}

#[test]
fn replayed_steps_are_those_of_the_unit() {
	let batches = vec![1, 0, 2, 2, 1];
	let steps = batches.len() as u32;
	let plan = plan(training(32, 256, 64, 10), batches, Fill::Random(6));
	let ops = plan.program.ops() as usize;
	let unit = Engine::best(1).run(&plan, &NoMiner).unwrap();
	let check = |tensors: &StepTensors, step: u32| {
		assert_eq!(tensors.commitments, unit.trace.0[step as usize * ops..][..ops]);
		assert_eq!(tensors.outputs.len(), ops);
		assert!(tensors.outputs.iter().zip(&tensors.commitments).all(|(tensor, known)| tensor.commitment() == *known));
	};
	for engine in engines(Kernel::all()) {
		let keeper = Keeper { kept: Mutex::default(), steps: AtomicU32::new(0) };
		assert_eq!(engine.run(&plan, &keeper).unwrap(), unit);
		let entered = keeper.kept.into_inner();
		assert!(entered.iter().map(|(step, _)| *step).eq(1..steps));
		let mut starts = vec![(0, plan.parameters.clone())];
		starts.extend(entered);
		for (from, parameters) in &starts {
			let later = UnitPlan { parameters: parameters.clone(), ..plan.clone() };
			for step in *from..steps {
				let tensors = engine.replay(&later, *from, step, &|| false).unwrap();
				check(&tensors, step);
				assert_eq!(tensors.parameters, starts[step as usize].1, "{}", name(&engine));
			}
		}
	}
	let engine = Engine::best(1);
	for (from, step) in [(0, steps), (steps, steps), (2, 1), (0, u32::MAX), (u32::MAX, u32::MAX)] {
		assert_eq!(engine.replay(&plan, from, step, &|| false), Err(EngineError::NoSuchStep));
	}
	assert_eq!(engine.replay(&plan, 0, 1, &|| true), Err(EngineError::Cancelled));
	let empty = UnitPlan { batches: Vec::new(), ..plan };
	assert_eq!(engine.replay(&empty, 0, 0, &|| false), Err(PlanError::NoSteps.into()));
}

#[test]
fn replayed_inference_is_that_of_the_unit() {
	struct Never;
	impl Miner for Never {
		fn target(&self) -> Option<MiningTarget> {
			None
		}
		fn won(&self, _: &MiningTarget, _: UsefulProof) {}
		fn entered(&self, step: u32, _: &dyn Fn() -> Vec<Arc<Tensor>>) {
			panic!("step {step}: nothing to keep");
		}
	}
	let plan = plan(inference(64, 300, 33), vec![3, 0, 1], Fill::Random(8));
	let engine = Engine::best(1);
	let unit = engine.run(&plan, &Never).unwrap();
	for (from, step) in [(0, 0), (0, 2), (1, 1), (1, 2)] {
		let tensors = engine.replay(&plan, from, step, &|| false).unwrap();
		assert_eq!(tensors.commitments, unit.trace.0[step as usize * 3..][..3]);
		assert_eq!(tensors.parameters, plan.parameters);
	}
}

#[test]
fn bad_plans_and_cancelled_units_are_refused() {
	struct Tired;
	impl Miner for Tired {
		fn target(&self) -> Option<MiningTarget> {
			None
		}
		fn won(&self, _: &MiningTarget, _: UsefulProof) {}
		fn cancelled(&self) -> bool {
			true
		}
	}
	let engine = Engine::best(1);
	let good = plan(training(32, 256, 64, 10), vec![0, 1], Fill::Random(9));
	assert_eq!(engine.run(&good, &Tired), Err(EngineError::Cancelled));
	let refused = |change: &dyn Fn(&mut UnitPlan)| {
		let mut plan = good.clone();
		change(&mut plan);
		match engine.run(&plan, &NoMiner) {
			Err(EngineError::BadPlan(error)) => error,
			_ => panic!("accepted"),
		}
	};
	assert_eq!(refused(&|plan| plan.batches.clear()), PlanError::NoSteps);
	assert_eq!(refused(&|plan| plan.batches.push(2)), PlanError::Features);
	assert_eq!(refused(&|plan| plan.batches.push(u32::MAX)), PlanError::Features);
	assert_eq!(refused(&|plan| plan.labels = None), PlanError::Labels);
	assert_eq!(refused(&|plan| plan.labels = Some(plan.features.clone())), PlanError::Labels);
	assert_eq!(refused(&|plan| drop(plan.parameters.pop())), PlanError::Parameters);
	assert_eq!(refused(&|plan| plan.parameters.swap(0, 1)), PlanError::Parameters);
}

#[test]
fn commitments_are_those_of_the_bytes() {
	for engine in engines(Kernel::all()) {
		for blocks in [1, 255, 256, 257, 512, 513, 768, 1025, 1300] {
			let bytes = super::bytes(blocks * 1024, Fill::Random(blocks as u64));
			assert_eq!(engine.commit(&bytes), Commitment::of(&bytes), "{} {blocks}", name(&engine));
		}
	}
}

#[test]
fn merging_is_the_mean() {
	let shapes = [(33, 65), (320, 256)];
	for count in [1, 2, 3, 7] {
		let sets: Vec<Vec<_>> = (0..count)
			.map(|set| {
				let tensors = shapes.iter().zip(100..);
				let tensors = tensors.map(|((rows, cols), seed)| {
					Arc::new(tensor(*rows, *cols, ElementType::I32, Fill::Random(set * 10 + seed)))
				});
				tensors.collect()
			})
			.collect();
		for engine in engines(Kernel::all()) {
			let merged = engine.merge(&sets).unwrap();
			assert_eq!(merged.len(), shapes.len());
			for (index, (commitment, tensor)) in merged.iter().enumerate() {
				assert_eq!(*commitment, tensor.commitment());
				let Shape { rows, cols } = tensor.shape();
				for at in 0..rows * cols {
					let (row, col) = (at / cols, at % cols);
					let sum = sets.iter().map(|set| i64::from(I32Tensor::get(&set[index], row, col))).sum();
					assert_eq!(I32Tensor::get(tensor, row, col), mean(sum, count as u16));
				}
			}
		}
	}
	let engine = Engine::best(1);
	let one = vec![Arc::new(tensor(32, 32, ElementType::I32, Fill::All(1)))];
	let other = vec![Arc::new(tensor(32, 64, ElementType::I32, Fill::All(1)))];
	let narrow = vec![Arc::new(tensor(32, 32, ElementType::I8, Fill::All(1)))];
	for sets in [vec![], vec![one.clone(), other], vec![one.clone(), vec![]], vec![narrow]] {
		assert_eq!(engine.merge(&sets).unwrap_err(), EngineError::BadPlan(PlanError::Sets));
	}
	assert!(engine.merge(&[one]).is_ok());
}
