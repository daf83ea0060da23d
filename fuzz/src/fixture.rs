//! Whole units of two small tasks, computed by the consensus definition, and the honest openings of what is in them.

use labora_graph::{arithmetic::mean, Activation, Graph, Op, OpIndex, Program, Rounding, RunningMetrics, Trace, Value};
use labora_primitives::{
	trace_chunks, trace_nodes, AccountId, Answer, Claim, Dataset, Job, Opened, Place, Seal, SealOpening, Source,
	StandingResult, TaskId, TaskSpec, UnitKind, UnitMetrics, UnitRef, UnitResult,
};
use labora_tensor::{BlockIndex, ChunkSet, Commitment, ElementType, I8Tensor, Opening, Shape, Tensor};

const BATCH: u32 = 64;
const ROUND: u32 = 1;

/// A task, a unit of it, and all of its tensors.
pub struct Fixture {
	pub spec: TaskSpec,
	pub program: Program,
	pub unit: UnitRef,
	pub trace: Trace,
	pub metrics: UnitMetrics,
	/// The parameters that the unit begins with; of a merge, those of the round's results, one list each.
	sets: Vec<Vec<Tensor>>,
	features: Tensor,
	labels: Tensor,
	/// The outputs of the ops of all steps; of a merge, the merged parameters.
	outputs: Vec<Tensor>,
}

/// A tensor of pseudo-random bytes. Without the two highest bits of each, an `i32` keeps its size in a parameter's range.
fn tensor(shape: Shape, element: ElementType, key: u8) -> Tensor {
	let mut bytes = vec![0; shape.bytes(element) as usize];
	labora_tensor::keyed_stream(&[key; 32], b"fuzz", 0).fill(&mut bytes);
	if element == ElementType::I32 {
		for bytes in bytes.chunks_exact_mut(4) {
			let element = i32::from_le_bytes(bytes.try_into().unwrap()) >> 9;
			bytes.copy_from_slice(&element.to_le_bytes());
		}
	}
	Tensor::from_bytes(shape, element, bytes).unwrap()
}

fn commitments<T: FromIterator<Commitment>>(tensors: &[Tensor]) -> T {
	tensors.iter().map(Tensor::commitment).collect()
}

fn product(a: Value, b: Value, transpose_b: bool, shift: u8, rounding: Rounding, activation: Activation) -> Op {
	Op::MatMul { a, b, transpose_a: false, transpose_b, shift, rounding, activation }
}

fn update(parameter: u8, a: Value, b: Value) -> Op {
	Op::SgdUpdate { parameter, a, b, transpose_a: true, transpose_b: false, rate: 2 }
}

/// The task, and its dataset's tensors.
fn task(training: bool) -> (TaskSpec, Tensor, Tensor) {
	use Value::{Features, Op as Out};
	let (nearest, identity) = (Rounding::Nearest, Activation::Identity);
	let shapes = [Shape { rows: 256, cols: 64 }, Shape { rows: 64, cols: 10 }];
	let mut ops = vec![
		Op::Quantize { parameter: 0, shift: 16 },
		Op::Quantize { parameter: 1, shift: 16 },
		product(Features, Out(0), false, 9, nearest, Activation::Relu),
		product(Out(2), Out(1), false, 8, nearest, identity),
		Op::Metrics { logits: Out(3) },
	];
	if training {
		ops.extend([
			Op::SoftmaxGradient { logits: Out(3) },
			product(Out(5), Out(1), true, 5, Rounding::Stochastic, identity),
			Op::ReluMask { gradient: Out(6), activation: Out(2) },
			update(0, Features, Out(7)),
			update(1, Out(2), Out(5)),
		]);
	} else {
		ops.push(Op::Argmax { logits: Out(3) });
	}
	let (units, steps, batches) = if training { (2, 8, 4) } else { (1, 2, 2) };
	let job = match training {
		true => Job::Training { rounds: 4, units, steps, rate_drops: vec![1, 3].try_into().unwrap() },
		false => Job::Inference { units, steps },
	};
	let rows = batches * BATCH;
	let features = tensor(Shape { rows, cols: 256 }, ElementType::I8, 1);
	// Some are no classes.
	let labels: Vec<_> = (0..rows).map(|row| (row * 7 % 13) as i8 - 1).collect();
	let labels = I8Tensor::pack(Shape { rows, cols: 1 }, &labels).unwrap();
	let spec = TaskSpec {
		graph: Graph { batch: BATCH, features: 256, parameters: shapes.to_vec(), ops },
		job,
		dataset: Dataset {
			features: features.commitment(),
			labels: Some(labels.commitment()),
			rows,
			examples: rows - 3,
		},
		parameters: commitments::<Vec<_>>(&parameters(&shapes, 2)).try_into().unwrap(),
		recipe: None,
		seed: [6; 32],
		price: 1_000,
		deadline: 50,
	};
	(spec, features, labels)
}

fn parameters(shapes: &[Shape], key: u8) -> Vec<Tensor> {
	shapes.iter().zip(key..).map(|(shape, key)| tensor(*shape, ElementType::I32, key)).collect()
}

fn blocks(shape: Shape) -> impl Iterator<Item = BlockIndex> {
	(0..shape.block_rows()).flat_map(move |row| (0..shape.block_cols()).map(move |col| BlockIndex { row, col }))
}

impl Fixture {
	/// A training unit, with every op but `Argmax`.
	pub fn training() -> Self {
		Self::computed(true)
	}

	/// An inference unit, with metrics.
	pub fn inference() -> Self {
		Self::computed(false)
	}

	fn computed(training: bool) -> Self {
		let (spec, features, labels) = task(training);
		let program = spec.check().expect("the fixture's task is right");
		let (round, number) = if training { (ROUND, 1) } else { (0, 0) };
		let base = parameters(&spec.graph.parameters, 2);
		let unit = UnitRef { task: TaskId(5), round, kind: UnitKind::Steps(number) };
		let outputs = Vec::new();
		let metrics = UnitMetrics::default();
		let mut fixture =
			Self { spec, program, unit, trace: Trace::default(), metrics, sets: vec![base], features, labels, outputs };
		let context = fixture.spec.context(round, number);
		for index in 0..fixture.spec.trace_len(&fixture.program) {
			let index = OpIndex(index);
			let (shape, element) = fixture.spec.traced(&fixture.program, unit.kind, index).unwrap();
			let mut bytes = Vec::new();
			for block in blocks(shape) {
				let places = fixture.places(index, block);
				let inputs: Vec<_> = places[..places.len() - 1].iter().map(|place| fixture.open(place).data).collect();
				let inputs: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
				bytes.extend(fixture.program.eval_block(index, block, &inputs, &context).unwrap().to_bytes());
			}
			fixture.outputs.push(Tensor::from_bytes(shape, element, bytes).unwrap());
		}
		fixture.commit();
		fixture
	}

	/// The merge unit of a round of three results (a mean of two would hide how halves are rounded).
	pub fn merge() -> Self {
		let (mut spec, features, labels) = task(true);
		if let Job::Training { units, .. } = &mut spec.job {
			*units = 3;
		}
		let program = spec.check().unwrap();
		let sets: Vec<_> = [10, 20, 30].map(|key| parameters(&spec.graph.parameters, key)).into();
		let mut outputs = Vec::new();
		for (index, shape) in spec.graph.parameters.iter().enumerate() {
			let element = |bytes: &[u8]| i64::from(i32::from_le_bytes(bytes.try_into().unwrap()));
			let mut bytes = Vec::new();
			for at in (0..shape.bytes(ElementType::I32) as usize).step_by(4) {
				let sum = sets.iter().map(|set| element(&set[index].bytes()[at..at + 4])).sum();
				bytes.extend(mean(sum, 3).to_le_bytes());
			}
			outputs.push(Tensor::from_bytes(*shape, ElementType::I32, bytes).unwrap());
		}
		let unit = UnitRef { task: TaskId(5), round: ROUND, kind: UnitKind::Merge };
		let metrics = UnitMetrics::default();
		let mut fixture =
			Self { spec, program, unit, trace: Trace::default(), metrics, sets, features, labels, outputs };
		fixture.commit();
		fixture
	}

	/// Makes the trace from the outputs.
	fn commit(&mut self) {
		let mut entries: Vec<_> = commitments(&self.outputs);
		if let (UnitKind::Steps(_), Some(op)) = (self.unit.kind, self.program.metrics_op()) {
			let mut sums = RunningMetrics::default();
			for step in self.outputs.chunks(self.program.ops() as usize) {
				let rows = &step[usize::from(op)];
				sums = sums.add_tensor(rows.shape(), rows.bytes());
				entries.push(sums.to_entry());
			}
			let rows = u64::from(self.spec.job.steps() * BATCH);
			self.metrics = UnitMetrics { loss: sums.loss, correct: sums.correct, rows };
		}
		self.trace = Trace(entries);
	}

	/// The same unit with one byte of one output, or of one entry of the trace's tail, changed. All that follows was computed from what
	/// it should be.
	pub fn corrupt(&self, op: OpIndex, at: usize, mask: u8) -> Self {
		let mut corrupt = Self {
			spec: self.spec.clone(),
			program: self.program.clone(),
			trace: self.trace.clone(),
			sets: self.sets.clone(),
			features: self.features.clone(),
			labels: self.labels.clone(),
			outputs: self.outputs.clone(),
			..*self
		};
		let entry = &mut corrupt.trace.0[op.0 as usize];
		match corrupt.outputs.get_mut(op.0 as usize) {
			Some(output) => {
				output.bytes_mut()[at] ^= mask;
				*entry = output.commitment();
			}
			None => entry.0[at] ^= mask,
		}
		corrupt
	}

	pub fn output(&self, op: OpIndex) -> Option<&Tensor> {
		self.outputs.get(op.0 as usize)
	}

	fn number(&self) -> u16 {
		match self.unit.kind {
			UnitKind::Steps(number) => number,
			UnitKind::Merge => 0,
		}
	}

	pub fn places(&self, op: OpIndex, block: BlockIndex) -> Vec<Place> {
		self.spec.places(&self.program, self.unit.round, self.number(), op, block).unwrap()
	}

	pub fn source(&self, source: Source) -> &Tensor {
		match source {
			Source::Features => &self.features,
			Source::Labels => &self.labels,
			Source::Base(index) => &self.sets[0][usize::from(index)],
			Source::Op(op) => &self.outputs[op.0 as usize],
		}
	}

	pub fn open(&self, place: &Place) -> Opening {
		self.source(place.source).open(&place.chunks).unwrap()
	}

	pub fn standing(&self) -> StandingResult {
		let (base, parameters): (Vec<_>, Vec<_>) = match self.unit.kind {
			UnitKind::Merge => (Vec::new(), commitments(&self.outputs)),
			UnitKind::Steps(_) => (commitments(&self.sets[0]), self.result(&[]).parameters.into()),
		};
		StandingResult {
			unit: self.unit,
			worker: AccountId::new([1; 32]),
			accepted: 20,
			took: 10,
			due: 30,
			price: 1_000,
			stake: 10_000,
			trace_root: self.trace.root(),
			metrics: self.metrics,
			base: base.try_into().unwrap(),
			parameters: parameters.try_into().unwrap(),
			void: false,
		}
	}

	/// The commitments of the round's results, for a merge.
	pub fn sets(&self) -> Vec<Vec<Commitment>> {
		self.sets.iter().map(|set| commitments(set)).collect()
	}

	/// What a block says that a product of the unit sealed.
	pub fn seal(&self, op: OpIndex) -> Seal {
		let places = self.places(op, BlockIndex { row: 0, col: 0 });
		let [a, b] = [0, 1].map(|operand: usize| self.source(places[operand].source).commitment());
		Seal { block: 21, op, a, b }
	}

	/// The result that an honest worker sends.
	pub fn result(&self, seals: &[Seal]) -> UnitResult {
		if self.unit.kind == UnitKind::Merge {
			return UnitResult {
				trace_root: self.trace.root(),
				parameters: commitments::<Vec<_>>(&self.outputs).try_into().unwrap(),
				metrics: UnitMetrics::default(),
				classes: Default::default(),
				outputs: Default::default(),
				seals: Default::default(),
			};
		}
		let opened = self.spec.opened_entries(&self.program);
		let last = self.spec.output_ops(&self.program);
		let outputs = last.iter().map(|op| &self.outputs[op.0 as usize]);
		let (parameters, classes): (Vec<_>, Vec<_>) = match self.program.is_training() {
			true => (outputs.map(Tensor::commitment).collect(), Vec::new()),
			false => {
				let rows = |tensor| (0..BATCH).map(move |row| I8Tensor::get(tensor, row, 0) as u8);
				(Vec::new(), outputs.flat_map(rows).collect())
			}
		};
		let seal = |seal: &Seal| {
			let ops = self.spec.operand_ops(&self.program, seal.op).unwrap();
			let [a, b] = ops.map(|op| op.map(|op| self.trace.open(op).unwrap()));
			SealOpening { a, b }
		};
		UnitResult {
			trace_root: self.trace.root(),
			parameters: parameters.try_into().unwrap(),
			metrics: self.metrics,
			classes: classes.try_into().unwrap(),
			outputs: opened.iter().map(|op| self.trace.open(*op).unwrap()).collect::<Vec<_>>().try_into().unwrap(),
			seals: seals.iter().map(seal).collect::<Vec<_>>().try_into().unwrap(),
		}
	}

	/// The answer of an honest worker to a claim that the unit has the part of.
	pub fn answer(&self, claim: &Claim) -> Answer {
		let entries = self.trace.0.len() as u32;
		let whole = |data| Opened { trace: None, data };
		let entry = |op| self.trace.open(op).unwrap();
		let answer = match *claim {
			Claim::Block { op, block } => {
				let opened = |place: &Place| {
					let trace = match place.source {
						Source::Op(op) => Some(entry(op)),
						_ => None,
					};
					Opened { trace, data: self.open(place) }
				};
				self.places(op, block).iter().map(opened).collect()
			}
			Claim::Merged { parameter, block } => {
				let index = usize::from(parameter);
				let chunks = ChunkSet::block(self.spec.graph.parameters[index], ElementType::I32, block).unwrap();
				let tensors = self.sets.iter().map(|set| &set[index]).chain([&self.outputs[index]]);
				tensors.map(|tensor| whole(tensor.open(&chunks).unwrap())).collect()
			}
			Claim::Metrics { step } => {
				let op = OpIndex::new(&self.program, step, self.program.metrics_op().unwrap()).unwrap();
				let rows = &self.outputs[op.0 as usize];
				let all = ChunkSet::all(rows.shape(), rows.element()).unwrap();
				let tail = self.outputs.len() as u32;
				let running = |step| Opened { trace: Some(entry(OpIndex(tail + step))), data: Opening::default() };
				let tensor = Opened { trace: Some(entry(op)), data: rows.open(&all).unwrap() };
				[tensor, running(step)].into_iter().chain(step.checked_sub(1).map(running)).collect()
			}
			Claim::TraceNodes { granule, first, count } => {
				let nodes = trace_nodes(entries, granule, first, count).unwrap();
				vec![whole(Opening::of_nodes(&self.trace.bytes(), &nodes).unwrap())]
			}
			Claim::Trace { first, count } => {
				let chunks = trace_chunks(entries, first, count).unwrap();
				vec![whole(Opening::of(&self.trace.bytes(), &chunks).unwrap())]
			}
			Claim::Nodes { op, granule, first, count } => {
				let nodes = self.spec.nodes(&self.program, self.unit.kind, op, granule, first, count).unwrap();
				let data = Opening::of_nodes(self.outputs[op.0 as usize].bytes(), &nodes).unwrap();
				vec![Opened { trace: Some(entry(op)), data }]
			}
		};
		answer.try_into().unwrap()
	}
}
