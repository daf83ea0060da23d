//! Building answers.

use std::sync::Arc;

use labora_engine::{StepTensors, UnitPlan};
use labora_graph::{OpIndex, Program, Trace};
use labora_primitives::{trace_chunks, trace_nodes, Answer, Claim, Opened, Source, TaskSpec, UnitKind, UnitRef};
use labora_tensor::{ChunkSet, ElementType, Opening, Tensor};

/// A unit of steps, as whoever computed it can show it.
pub struct StepsWitness<'a> {
	/// The task.
	pub spec: &'a TaskSpec,
	/// Its program.
	pub program: &'a Program,
	/// The unit.
	pub unit: UnitRef,
	/// What it was computed from.
	pub plan: &'a UnitPlan,
	/// Its trace.
	pub trace: &'a Trace,
}

impl StepsWitness<'_> {
	/// The step whose tensors an answer needs; none if the trace is enough.
	pub fn step(&self, claim: &Claim) -> Option<u32> {
		match *claim {
			Claim::Block { op, .. } | Claim::Nodes { op, .. } => Some(op.split(self.program).0),
			Claim::Metrics { step } => Some(step),
			Claim::Merged { .. } | Claim::TraceNodes { .. } | Claim::Trace { .. } => None,
		}
	}

	/// The answer to a claim, given the tensors of its step. None: the unit has no such part, or they are another step's.
	pub fn answer(&self, claim: &Claim, tensors: Option<&StepTensors>) -> Option<Answer> {
		let entries = self.spec.trace_entries(self.program, self.unit.kind);
		let opened = match *claim {
			Claim::Block { op, block } => {
				let UnitKind::Steps(unit) = self.unit.kind else { return None };
				let places = self.spec.places(self.program, self.unit.round, unit, op, block)?;
				let show = |place: &labora_primitives::Place| {
					let tensor = self.tensor(place.source, op, tensors?)?;
					let trace = match place.source {
						Source::Op(op) => Some(self.trace.open(op)?),
						_ => None,
					};
					Some(Opened { trace, data: Opening::of(tensor.bytes(), &place.chunks)? })
				};
				places.iter().map(show).collect::<Option<Vec<_>>>()?
			}
			Claim::Metrics { step } => {
				let number = self.program.metrics_op()?;
				let op = OpIndex::new(self.program, step, number)?;
				let tensor = tensors?.outputs.get(usize::from(number))?;
				let all = ChunkSet::all(tensor.shape(), tensor.element())?;
				let steps = self.spec.job.steps();
				let entry = |step: u32| {
					let trace = Some(self.trace.open(self.program.tail_entry(steps, step)?)?);
					Some(Opened { trace, data: Opening::default() })
				};
				let data = Opening::of(tensor.bytes(), &all)?;
				let mut opened = vec![Opened { trace: Some(self.trace.open(op)?), data }, entry(step)?];
				if step > 0 {
					opened.push(entry(step - 1)?);
				}
				opened
			}
			Claim::TraceNodes { granule, first, count } => {
				let nodes = trace_nodes(entries, granule, first, count)?;
				vec![Opened { trace: None, data: Opening::of_nodes(&self.trace.bytes(), &nodes)? }]
			}
			Claim::Trace { first, count } => {
				let chunks = trace_chunks(entries, first, count)?;
				vec![Opened { trace: None, data: Opening::of(&self.trace.bytes(), &chunks)? }]
			}
			Claim::Nodes { op, granule, first, count } => {
				let (_, number) = op.split(self.program);
				let nodes = self.spec.nodes(self.program, self.unit.kind, op, granule, first, count)?;
				let tensor = tensors?.outputs.get(usize::from(number))?;
				let data = Opening::of_nodes(tensor.bytes(), &nodes)?;
				vec![Opened { trace: Some(self.trace.open(op)?), data }]
			}
			Claim::Merged { .. } => return None,
		};
		opened.try_into().ok()
	}

	/// The tensor that an op of a step reads from or writes to.
	fn tensor<'a>(&'a self, source: Source, op: OpIndex, tensors: &'a StepTensors) -> Option<&'a Tensor> {
		let (step, _) = op.split(self.program);
		match source {
			Source::Features => Some(&self.plan.features),
			Source::Labels => self.plan.labels.as_deref(),
			Source::Base(index) => self.plan.parameters.get(usize::from(index)).map(Arc::as_ref),
			Source::Op(op) => {
				let (of, number) = op.split(self.program);
				if of == step {
					return tensors.outputs.get(usize::from(number));
				}
				// An update of the step before: a parameter of this one.
				let updated = |index: &u8| self.program.update_of(*index) == Some(number);
				let index = (0..tensors.parameters.len() as u8).find(updated)?;
				tensors.parameters.get(usize::from(index)).map(Arc::as_ref)
			}
		}
	}
}

/// A merge unit, as whoever computed it can show it.
pub struct MergeWitness<'a> {
	/// The task.
	pub spec: &'a TaskSpec,
	/// Its program.
	pub program: &'a Program,
	/// The parameters of the round's results.
	pub sets: &'a [Vec<Arc<Tensor>>],
	/// Their mean.
	pub merged: &'a [Arc<Tensor>],
}

impl MergeWitness<'_> {
	/// The answer to a claim. None: the unit has no such part.
	pub fn answer(&self, claim: &Claim) -> Option<Answer> {
		let trace = Trace(self.merged.iter().map(|tensor| tensor.commitment()).collect());
		let entries = self.spec.trace_entries(self.program, UnitKind::Merge);
		let opened = match *claim {
			Claim::Merged { parameter, block } => {
				let index = usize::from(parameter);
				let chunks = ChunkSet::block(*self.spec.graph.parameters.get(index)?, ElementType::I32, block)?;
				let show = |tensor: Option<&Arc<Tensor>>| {
					Some(Opened { trace: None, data: Opening::of(tensor?.bytes(), &chunks)? })
				};
				let sets = self.sets.iter().map(|set| set.get(index));
				sets.chain([self.merged.get(index)]).map(show).collect::<Option<Vec<_>>>()?
			}
			Claim::TraceNodes { granule, first, count } => {
				let nodes = trace_nodes(entries, granule, first, count)?;
				vec![Opened { trace: None, data: Opening::of_nodes(&trace.bytes(), &nodes)? }]
			}
			Claim::Trace { first, count } => {
				let chunks = trace_chunks(entries, first, count)?;
				vec![Opened { trace: None, data: Opening::of(&trace.bytes(), &chunks)? }]
			}
			Claim::Nodes { op, granule, first, count } => {
				let nodes = self.spec.nodes(self.program, UnitKind::Merge, op, granule, first, count)?;
				let tensor = self.merged.get(usize::try_from(op.0).ok()?)?;
				let data = Opening::of_nodes(tensor.bytes(), &nodes)?;
				vec![Opened { trace: Some(trace.open(op)?), data }]
			}
			Claim::Block { .. } | Claim::Metrics { .. } => return None,
		};
		opened.try_into().ok()
	}
}
