//! `pallet-tasks`.

use alloc::{vec, vec::Vec};
use frame_benchmarking::v2::*;
use frame_support::traits::OnInitialize;
use labora_graph::{OpIndex, RunningMetrics};
use labora_primitives::{
	limits::{MAX_INFERENCE_STEPS, MAX_SEALS, MAX_UNITS},
	AssignmentId, Phase, SealOpening, TaskId, TaskSpec, UnitKind, UnitMetrics, UnitRef, UnitResult, UnitState,
};
use labora_tensor::{I8Tensor, Shape};
use pallet_tasks::{MaturingAt, Standing, StandingOf, Tasks as Infos, MAX_MATURING_PER_BLOCK};
use sp_core::bounded::BoundedVec;

use super::setup::*;
use crate::{constants::LAB, AccountId, Runtime, RuntimeOrigin, Tasks};

/// The pallet.
pub struct Pallet<T>(core::marker::PhantomData<T>);
/// Only this runtime.
pub trait Config: frame_system::Config<AccountId = AccountId> {}
impl Config for Runtime {}

/// The only unit of a task, assigned to a worker, after it sealed `seals` blocks.
fn assigned(spec: &TaskSpec, seals: u32, op: OpIndex) -> (AccountId, TaskId) {
	let who = worker("worker", 0);
	begin(&who);
	let (task, _) = task(0, spec, Phase::Units, vec![UnitState::Assigned(AssignmentId(0))]);
	assign(0, &who, unit(task, UnitKind::Steps(0)));
	if seals > 0 {
		reward(0, &who, seals, op);
	}
	(who, task)
}

/// A result of a training unit, and its worker.
fn trained(seals: u32, outputs: u32) -> Result<(AccountId, UnitResult), BenchmarkError> {
	let spec = training(8, 1, outputs - 1);
	let program = spec.check().map_err(|_| "a good task")?;
	let entries = program.trace_entries(spec.job.steps());
	let sums = RunningMetrics { loss: 1, correct: 1 };
	let trace = Trace::new(entries, &[(entries - 1, sums.to_entry())]);
	let last_step = (spec.job.steps() - 1) * OPS;
	// The updates of the last step and the operands of its products lie in one chunk.
	let (chunk, tail) = (trace.open(last_step), trace.open(entries - 1));
	let op = OpIndex(last_step + u32::from(INNER_PRODUCT));
	let (who, _) = assigned(&spec, seals, op);
	let seal = SealOpening { a: Some(chunk.clone()), b: Some(chunk.clone()) };
	let outputs = core::iter::repeat_n(chunk, outputs as usize - 1).chain([tail]).collect();
	let rows = u64::from(spec.job.steps()) * u64::from(spec.graph.batch);
	let result = UnitResult {
		trace_root: trace.root(),
		parameters: spec.parameters.clone(),
		metrics: UnitMetrics { loss: 1, correct: 1, rows },
		classes: BoundedVec::new(),
		outputs: BoundedVec::truncate_from(outputs),
		seals: BoundedVec::truncate_from(vec![seal; seals as usize]),
	};
	Ok((who, result))
}

#[benchmarks]
mod benchmarks {
	use super::*;

	#[benchmark]
	fn register() -> Result<(), BenchmarkError> {
		let who = rich("sponsor", 0);
		begin(&who);
		fill_open_tasks(1);
		let spec = training(8, MAX_UNITS, PARAMETERS);
		let escrow = round_price(MAX_UNITS);
		#[block]
		{
			Tasks::register(RuntimeOrigin::signed(who), spec, escrow)?;
		}
		assert!(Infos::<Runtime>::contains_key(TaskId(0)));
		Ok(())
	}

	/// The money lets a round go on that was begun: some of its results are there.
	#[benchmark]
	fn fund() -> Result<(), BenchmarkError> {
		begin(&person("author", 0));
		let (task, info) = task(0, &training(8, MAX_UNITS, PARAMETERS), Phase::Unfunded, vec![]);
		(1..MAX_UNITS).for_each(|number| record(task, 1, number));
		#[block]
		{
			Tasks::fund(RuntimeOrigin::signed(info.sponsor), task, LAB)?;
		}
		assert_eq!(Infos::<Runtime>::get(task).map(|info| info.phase), Some(Phase::Units));
		Ok(())
	}

	#[benchmark]
	fn cancel() -> Result<(), BenchmarkError> {
		begin(&person("author", 0));
		fill_open_tasks(0);
		let states = vec![UnitState::Open; usize::from(MAX_UNITS)];
		let (task, info) = task(0, &training(8, MAX_UNITS, PARAMETERS), Phase::Units, states);
		#[block]
		{
			Tasks::cancel(RuntimeOrigin::signed(info.sponsor), task)?;
		}
		assert_eq!(Infos::<Runtime>::get(task).map(|info| info.escrow), Some(0));
		Ok(())
	}

	/// Of a training unit, the last of its round: `s` seals, `o` outputs.
	#[benchmark]
	fn submit_result(s: Linear<0, MAX_SEALS>, o: Linear<2, 17>) -> Result<(), BenchmarkError> {
		let (who, result) = trained(s, o)?;
		#[block]
		{
			Tasks::submit_result(RuntimeOrigin::signed(who), AssignmentId(0), result)?;
		}
		assert_eq!(Infos::<Runtime>::get(TaskId(0)).map(|info| info.round), Some(2));
		Ok(())
	}

	/// The last opening is wrong.
	#[benchmark(extra)]
	fn submit_result_refused(s: Linear<1, MAX_SEALS>, o: Linear<2, 17>) -> Result<(), BenchmarkError> {
		let (who, mut result) = trained(s, o)?;
		if let Some(sibling) = result.seals.last_mut().and_then(|seal| seal.b.as_mut()?.siblings.last_mut()) {
			*sibling = [0; 32];
		}
		let submitted;
		#[block]
		{
			submitted = Tasks::submit_result(RuntimeOrigin::signed(who), AssignmentId(0), result);
		}
		let error = submitted.err().map(|error| error.error);
		assert_eq!(error, Some(pallet_tasks::Error::<Runtime>::BadSealOpening.into()));
		Ok(())
	}

	/// Of an inference unit: `s` seals, `o` outputs, about `c` blocks of 32 classes.
	#[benchmark]
	fn submit_classes(
		s: Linear<0, MAX_SEALS>,
		o: Linear<1, MAX_INFERENCE_STEPS>,
		c: Linear<32, 256>,
	) -> Result<(), BenchmarkError> {
		let batch = (c / o).max(1);
		let spec = inference(o, batch);
		let rows = batch * 32;
		let classes = I8Tensor::pack(Shape { rows, cols: 1 }, &vec![3; rows as usize]);
		let step_output = classes.map_err(|_| "a tensor")?.commitment();
		let outputs: Vec<u32> = (0..o).map(|step| step * OPS + OPS - 1).collect();
		let set: Vec<_> = outputs.iter().map(|output| (*output, step_output)).collect();
		let trace = Trace::new(o * OPS, &set);
		let (who, task) = assigned(&spec, s, OpIndex(INNER_PRODUCT.into()));
		let chunk = trace.open(u32::from(PRODUCT));
		let seal = SealOpening { a: Some(chunk.clone()), b: Some(chunk) };
		let result = UnitResult {
			trace_root: trace.root(),
			parameters: BoundedVec::new(),
			metrics: UnitMetrics::default(),
			classes: BoundedVec::truncate_from(vec![3; (rows * o) as usize]),
			outputs: BoundedVec::truncate_from(outputs.into_iter().map(|output| trace.open(output)).collect()),
			seals: BoundedVec::truncate_from(vec![seal; s as usize]),
		};
		#[block]
		{
			Tasks::submit_result(RuntimeOrigin::signed(who), AssignmentId(0), result)?;
		}
		assert_eq!(Infos::<Runtime>::get(task).map(|info| info.phase), Some(Phase::Completed));
		Ok(())
	}

	/// Of a merge of as many results as may be.
	#[benchmark]
	fn submit_merge() -> Result<(), BenchmarkError> {
		let spec = training(8, MAX_UNITS, PARAMETERS);
		let who = worker("worker", 0);
		begin(&who);
		let (task, _) = task(0, &spec, Phase::Merge, vec![UnitState::Assigned(AssignmentId(0))]);
		records(task, 1);
		assign(0, &who, UnitRef { task, round: 1, kind: UnitKind::Merge });
		let result = UnitResult {
			trace_root: labora_graph::Trace(spec.parameters.to_vec()).root(),
			parameters: spec.parameters.clone(),
			metrics: UnitMetrics::default(),
			classes: BoundedVec::new(),
			outputs: BoundedVec::new(),
			seals: BoundedVec::new(),
		};
		#[block]
		{
			Tasks::submit_result(RuntimeOrigin::signed(who), AssignmentId(0), result)?;
		}
		assert_eq!(Infos::<Runtime>::get(task).map(|info| info.round), Some(2));
		Ok(())
	}

	/// `r` results are paid, each the last of its task, which ends.
	#[benchmark]
	fn mature(r: Linear<0, MAX_MATURING_PER_BLOCK>) -> Result<(), BenchmarkError> {
		begin(&person("author", 0));
		let spec = training(8, 1, PARAMETERS);
		for index in 0..r {
			let who = worker("worker", index);
			let (task, _) = task(index, &spec, Phase::Completed, vec![]);
			let id = u64::from(index);
			standing(id, &who, unit(task, UnitKind::Steps(0)), CLOCK - 1, SOME);
			StandingOf::<Runtime>::insert(task, BoundedVec::truncate_from(vec![AssignmentId(id)]));
			reward(id, &who, MAX_SEALS, OpIndex(0));
			assert!(MaturingAt::<Runtime>::try_append(CLOCK, AssignmentId(id)).is_ok());
		}
		fill_open_tasks(0);
		#[block]
		{
			<Tasks as OnInitialize<_>>::on_initialize(NOW);
		}
		assert_eq!(Standing::<Runtime>::iter_keys().count(), 0);
		assert!(r == 0 || Infos::<Runtime>::get(TaskId(0)).is_some_and(|info| info.escrow == 0));
		Ok(())
	}
}
