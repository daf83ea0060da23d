//! Units as their workers computed them, or say they did.

use std::{
	borrow::Cow,
	path::Path,
	sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use labora_cli::{
	dataset::Folder,
	tasks::{self, Draft, Terms, TrainingOptions},
};
use labora_engine::{Engine, Miner, MiningTarget, StepTensors, UnitOutput, UnitPlan};
use labora_graph::{left_strip, right_strip, Op, OpIndex, Program, RunningMetrics, Trace};
use labora_pouw::{proof::noised_ticket, ticket::target, TileIndex, UsefulProof, UsefulSeed};
use labora_primitives::{
	Answer, AssignmentId, Balance, BlockNumber, Claim, Seal, SealOpening, Source, TaskSpec, UnitKind, UnitMetrics,
	UnitRef, UnitResult,
};
use labora_tensor::{BlockIndex, Commitment, ElementType, Opening, Tensor};
use labora_witness::{Honest, StepsWitness};
use sp_core::bounded::BoundedVec;

/// Rows of a step.
pub const BATCH: u32 = 64;
/// Steps of a unit.
pub const STEPS: u32 = 16;
/// Rows of the table that tasks are made of: eight batches to train on.
const ROWS: u32 = 576;
/// Price of a unit in the smallest unit of money: 4 LAB.
pub const PRICE: Balance = 4_000_000_000_000;

/// A task with everything that a worker needs to compute its units.
pub struct Material {
	/// The task.
	pub spec: TaskSpec,
	/// What its sponsor sets aside.
	pub escrow: Balance,
	/// Its program.
	pub program: Arc<Program>,
	/// The dataset's features.
	pub features: Arc<Tensor>,
	/// The dataset's labels.
	pub labels: Arc<Tensor>,
	/// The initial parameters.
	pub parameters: Vec<Arc<Tensor>>,
}

/// What differs between the tasks of the table. All train for one round, from the initial parameters.
#[derive(Clone, Copy)]
pub struct Shape {
	/// Units.
	pub units: u16,
	/// Blocks that a worker has.
	pub deadline: BlockNumber,
	/// Widths of both hidden layers.
	pub width: u32,
	/// Steps of a unit.
	pub steps: u32,
	/// Price of a unit.
	pub price: Balance,
	/// Makes tasks differ.
	pub seed: u64,
}

impl Default for Shape {
	fn default() -> Self {
		Self { units: 1, deadline: 600, width: 256, steps: STEPS, price: PRICE, seed: 1 }
	}
}

/// The dataset of all tasks.
pub fn dataset(dir: &Path) -> Result<Folder> {
	labora_tests::small_dataset(dir, ROWS)
}

impl Material {
	/// A training task on the dataset.
	pub fn new(folder: &Folder, shape: Shape) -> Result<Self> {
		let options = TrainingOptions {
			layers: vec![shape.width; 2],
			recipe: None,
			batch: BATCH,
			units: shape.units,
			steps: shape.steps,
			rounds: 1,
			rate_drops: vec![],
			seed: shape.seed,
			terms: Terms { price: shape.price, deadline: shape.deadline, escrow: None },
		};
		Self::of_draft(tasks::training_spec(folder, &options)?)
	}

	fn of_draft(draft: Draft) -> Result<Self> {
		let program = draft.spec.check().map_err(|error| anyhow::anyhow!("{error:?}"))?;
		let mut tensors = draft.tensors.into_iter().map(|(_, tensor)| Arc::new(tensor));
		let features = tensors.next().context("features")?;
		let labels = tensors.next().context("labels")?;
		Ok(Self {
			spec: draft.spec,
			escrow: draft.escrow,
			program: Arc::new(program),
			features,
			labels,
			parameters: tensors.collect(),
		})
	}

	/// The same task with other parameters: a sponsor draws them as it likes.
	pub fn with_parameters(&self, parameters: Vec<Tensor>) -> Self {
		let mut spec = self.spec.clone();
		spec.recipe = None;
		spec.parameters = BoundedVec::truncate_from(parameters.iter().map(Tensor::commitment).collect());
		Self {
			spec,
			escrow: self.escrow,
			program: self.program.clone(),
			features: self.features.clone(),
			labels: self.labels.clone(),
			parameters: parameters.into_iter().map(Arc::new).collect(),
		}
	}

	/// All tensors that a worker needs, with their commitments.
	pub fn tensors(&self) -> Vec<(Commitment, &Tensor)> {
		let all = [&self.features, &self.labels].into_iter().chain(&self.parameters);
		all.map(|tensor| (tensor.commitment(), &**tensor)).collect()
	}

	/// What a unit of the first round is computed from.
	pub fn plan(&self, unit: u16) -> UnitPlan {
		UnitPlan {
			program: self.program.clone(),
			context: self.spec.context(0, unit),
			features: self.features.clone(),
			features_commitment: self.spec.dataset.features,
			labels: self.spec.dataset.labels.map(|_| self.labels.clone()),
			labels_commitment: self.spec.dataset.labels,
			parameters: self.parameters.clone(),
			batches: (0..self.spec.job.steps()).map(|step| self.spec.batch(0, unit, step)).collect(),
		}
	}
}

/// What a worker does instead of its unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
	/// Nothing: it computes the unit.
	None,
	/// No backward pass: every gradient is zero, no parameter changes.
	ZeroGradient,
	/// One element of one tensor of one step is another: which one, the assignment's number draws.
	OneElement,
	/// The first layer of every step is right, what follows is random.
	RandomActivations,
}

/// A unit with all that its worker says of it.
pub struct Computed {
	material: Arc<Material>,
	/// The assignment.
	pub id: AssignmentId,
	/// The unit.
	pub unit: UnitRef,
	plan: UnitPlan,
	/// The trace.
	pub trace: Trace,
	/// The tensors of every step, if they are not what the engine gives.
	steps: Option<Vec<StepTensors>>,
	metrics: RunningMetrics,
	parameters: Vec<Commitment>,
}

/// Random bytes that depend on a number only.
fn noise(seed: u32) -> impl FnMut() -> u32 {
	let mut state = seed | 1;
	move || {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		state
	}
}

/// A tensor of random operands.
pub fn random_operands(shape: labora_tensor::Shape, seed: u32) -> Tensor {
	let mut random = noise(seed);
	let mut tensor = Tensor::zeros(shape, ElementType::I8);
	tensor.bytes_mut().fill_with(|| ((random() >> 8) % 127) as u8);
	tensor.bytes_mut().iter_mut().for_each(|byte| *byte = (*byte as i8).wrapping_sub(63) as u8);
	tensor
}

/// Changes what the engine gave for a step into what a liar says.
fn twist(
	lie: Lie,
	material: &Material,
	id: AssignmentId,
	step: u32,
	parameters: &[Arc<Tensor>],
	outputs: &mut [Tensor],
) {
	let program = &*material.program;
	let is = |index: usize, wanted: fn(&Op) -> bool| program.op(index as u8).is_some_and(|(op, _)| wanted(op));
	let first = |wanted: fn(&Op) -> bool| (0..outputs.len()).find(|index| is(*index, wanted)).unwrap_or(0);
	let first_layer = first(|op| matches!(op, Op::MatMul { .. }));
	let backward = first(|op| matches!(op, Op::SoftmaxGradient { .. }));
	match lie {
		Lie::None => {}
		Lie::OneElement => {
			let mut random = noise((id.0 as u32).wrapping_mul(0x9E37_79B1));
			let mut draw = |below: usize| random() as usize % below;
			if draw(material.spec.job.steps() as usize) == step as usize {
				let bytes = outputs[draw(outputs.len())].bytes_mut();
				bytes[draw(bytes.len())] ^= 1;
			}
		}
		Lie::ZeroGradient | Lie::RandomActivations => {
			let from = if lie == Lie::ZeroGradient { backward } else { first_layer + 1 };
			for (index, output) in outputs.iter_mut().enumerate().skip(from) {
				let Some((op, info)) = program.op(index as u8) else { continue };
				match *op {
					// Nobody is helped by strange metrics; those of random logits are right for them.
					Op::Metrics { .. } => {}
					Op::SgdUpdate { parameter, .. } => *output = (*parameters[usize::from(parameter)]).clone(),
					_ if lie == Lie::ZeroGradient => output.bytes_mut().fill(0),
					_ => *output = random_operands(info.shape, step * 64 + index as u32 + 7),
				}
			}
		}
	}
}

impl Computed {
	/// Computes a unit of the first round, with a lie or without.
	pub fn new(material: &Arc<Material>, id: AssignmentId, unit: UnitRef, engine: &Engine, lie: Lie) -> Result<Self> {
		let UnitKind::Steps(number) = unit.kind else { anyhow::bail!("a merge") };
		let plan = material.plan(number);
		if lie == Lie::None {
			let UnitOutput { trace, parameters, loss, correct, .. } = engine.run(&plan, &labora_engine::NoMiner)?;
			return Ok(Self {
				material: material.clone(),
				id,
				unit,
				plan,
				trace,
				steps: None,
				metrics: RunningMetrics { loss: loss.unsigned_abs(), correct },
				parameters: parameters.into_iter().map(|(commitment, _)| commitment).collect(),
			});
		}
		let program = &*material.program;
		let mut current = plan.clone();
		let (mut trace, mut tail) = (Vec::new(), Vec::new());
		let mut metrics = RunningMetrics::default();
		let mut steps: Vec<StepTensors> = Vec::new();
		for step in 0..material.spec.job.steps() {
			let mut tensors = engine.replay(&current, step, step, &|| false)?;
			twist(lie, material, id, step, &current.parameters, &mut tensors.outputs);
			tensors.commitments = tensors.outputs.iter().map(Tensor::commitment).collect();
			trace.extend_from_slice(&tensors.commitments);
			if let Some(op) = program.metrics_op() {
				let rows = &tensors.outputs[usize::from(op)];
				metrics = metrics.add_tensor(rows.shape(), rows.bytes());
				tail.push(metrics.to_entry());
			}
			let updated = |index: usize| program.update_of(index as u8).map(usize::from);
			let next = (0..current.parameters.len()).filter_map(updated);
			current.parameters = next.map(|op| Arc::new(tensors.outputs[op].clone())).collect();
			steps.push(tensors);
		}
		trace.append(&mut tail);
		let parameters = current.parameters.iter().map(|tensor| tensor.commitment()).collect();
		let (material, trace) = (material.clone(), Trace(trace));
		Ok(Self { material, id, unit, plan, trace, steps: Some(steps), metrics, parameters })
	}

	fn program(&self) -> &Program {
		&self.material.program
	}

	/// The tensors of a step.
	fn step(&self, step: u32, engine: &Engine) -> Option<Cow<'_, StepTensors>> {
		match &self.steps {
			Some(steps) => steps.get(step as usize).map(Cow::Borrowed),
			None => engine.replay(&self.plan, 0, step, &|| false).ok().map(Cow::Owned),
		}
	}

	/// The result, with the openings that the blocks it sealed ask for.
	pub fn result(&self, seals: &[Seal]) -> UnitResult {
		let spec = &self.material.spec;
		let open = |op: OpIndex| self.trace.open(op).unwrap_or_default();
		let opened = |seal: &Seal| {
			let [a, b] = spec.operand_ops(self.program(), seal.op).unwrap_or_default();
			SealOpening { a: a.map(open), b: b.map(open) }
		};
		let rows = u64::from(spec.job.steps()) * u64::from(spec.graph.batch);
		let RunningMetrics { loss, correct } = self.metrics;
		UnitResult {
			trace_root: self.trace.root(),
			parameters: BoundedVec::truncate_from(self.parameters.clone()),
			metrics: UnitMetrics { loss, correct, rows },
			classes: BoundedVec::new(),
			outputs: BoundedVec::truncate_from(spec.opened_entries(self.program()).into_iter().map(open).collect()),
			seals: BoundedVec::truncate_from(seals.iter().map(opened).collect()),
		}
	}

	/// The answer to a claim, from what the worker says it computed.
	pub fn answer(&self, claim: &Claim, engine: &Engine) -> Option<Answer> {
		let witness = StepsWitness {
			spec: &self.material.spec,
			program: self.program(),
			unit: self.unit,
			plan: &self.plan,
			trace: &self.trace,
		};
		let tensors = match witness.step(claim) {
			Some(step) => Some(self.step(step, engine)?),
			None => None,
		};
		witness.answer(claim, tensors.as_deref())
	}

	/// A winning ticket of what the worker says are the operands, found tile by tile as the definition says; `skip` says which
	/// ops to leave out.
	pub fn mine(&self, on: &MiningTarget, engine: &Engine, skip: impl Fn(OpIndex) -> bool) -> Option<UsefulProof> {
		let spec = &self.material.spec;
		for step in 0..spec.job.steps() {
			let tensors = self.step(step, engine)?;
			for number in 0..self.program().ops() as u8 {
				let Some(index) = OpIndex::new(self.program(), step, number).filter(|op| !skip(*op)) else { continue };
				if let Some(proof) = self.mine_op(on, index, &tensors) {
					return Some(proof);
				}
			}
		}
		None
	}

	fn mine_op(&self, on: &MiningTarget, op: OpIndex, tensors: &StepTensors) -> Option<UsefulProof> {
		let UnitKind::Steps(unit) = self.unit.kind else { return None };
		let (_, number) = op.split(self.program());
		let product = self.program().op(number)?.1.product.filter(labora_graph::Product::eligible)?;
		for row in 0..product.m / 32 {
			for col in 0..product.n / 32 {
				let tile = TileIndex { row, col };
				let work = self.material.spec.resolve(self.program(), 0, unit, op, tile).ok()?;
				let places = self.material.spec.places(self.program(), 0, unit, op, BlockIndex { row, col })?;
				let [a, b, ..] = places.as_slice() else { return None };
				let strip = |source: Source, chunks| {
					let tensor = self.tensor(source, op, tensors)?;
					Some((tensor.commitment(), Opening::of(tensor.bytes(), chunks)?))
				};
				let (a, strip_a) = strip(a.source, &work.a.chunks)?;
				let (b, strip_b) = strip(b.source, &work.b.chunks)?;
				let MiningTarget { genesis, parent, assignment, .. } = on;
				let (assignment, left) = (*assignment, &mut left_strip(&strip_a.data, work.a.transposed));
				let seed = UsefulSeed { genesis, parent, assignment, op, a: &a, b: &b, product }.seed();
				let right = &mut right_strip(&strip_b.data, work.b.transposed);
				if noised_ticket(&seed, tile, left, right) <= target(on.difficulty, product.k) {
					return Some(UsefulProof { assignment, op, tile, a, b, strip_a, strip_b });
				}
			}
		}
		None
	}

	fn tensor<'a>(&'a self, source: Source, op: OpIndex, tensors: &'a StepTensors) -> Option<&'a Tensor> {
		match source {
			Source::Features => Some(&self.plan.features),
			Source::Labels => self.plan.labels.as_deref(),
			Source::Base(index) => self.plan.parameters.get(usize::from(index)).map(Arc::as_ref),
			Source::Op(of) if of.split(self.program()).0 == op.split(self.program()).0 => {
				tensors.outputs.get(usize::from(of.split(self.program()).1))
			}
			Source::Op(_) => None,
		}
	}
}

/// The right computation of a unit, for a watching client.
pub struct Right<'a>(pub &'a Computed, pub &'a Engine);

impl Honest for Right<'_> {
	fn trace(&self) -> &Trace {
		&self.0.trace
	}

	fn tensor(&self, op: OpIndex) -> Option<Tensor> {
		let (step, number) = op.split(self.0.program());
		self.0.step(step, self.1)?.outputs.get(usize::from(number)).cloned()
	}
}

/// Takes the first winning ticket and then stops.
struct First {
	target: MiningTarget,
	proof: Mutex<Option<UsefulProof>>,
}

impl First {
	fn has_won(&self) -> bool {
		self.proof.lock().is_ok_and(|proof| proof.is_some())
	}
}

impl Miner for First {
	fn target(&self) -> Option<MiningTarget> {
		(!self.has_won()).then_some(self.target)
	}

	fn won(&self, _: &MiningTarget, proof: UsefulProof) {
		if let Ok(mut first) = self.proof.lock() {
			first.get_or_insert(proof);
		}
	}

	fn cancelled(&self) -> bool {
		self.has_won()
	}
}

/// Computes a unit until a ticket wins, as an honest miner does.
pub fn mine(plan: &UnitPlan, target: MiningTarget, engine: &Engine) -> Option<UsefulProof> {
	let first = First { target, proof: Mutex::default() };
	// Abandoned once a ticket has won.
	let _ = engine.run(plan, &first);
	first.proof.into_inner().ok().flatten()
}
