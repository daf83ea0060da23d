//! The open tasks, as the scheduler and the proofs see them.

use alloc::vec::Vec;
use labora_graph::{OpIndex, Program};
use labora_pouw::TileIndex;
use labora_primitives::{
	Assignment, AssignmentId, OpenUnit, ResolveError, ResolvedWork, TaskBoard, UnitRef, UnitResolver,
};

use super::*;

/// A price per multiply-accumulate, as an integer that keeps the order of prices from 1 unit per 2^64 on.
fn price_per_mac(price: Balance, macs: u128) -> Balance {
	price.min(u128::from(u64::MAX)).saturating_mul(1 << 64).checked_div(macs.max(1)).unwrap_or(0)
}

impl<T: Config> Pallet<T> {
	/// Puts a task among the open ones, by its price; of equal prices the older task first.
	pub(crate) fn open(task: TaskId, spec: &TaskSpec, unit_macs: u128) -> DispatchResult {
		let price = price_per_mac(spec.price, unit_macs);
		OpenTasks::<T>::try_mutate(|open| {
			let at = open.partition_point(|(other, id)| *other > price || (*other == price && *id < task));
			open.try_insert(at, (price, task)).map_err(|_| Error::<T>::TooManyTasks.into())
		})
	}

	/// Whether a task is among the open ones, or can be put there.
	pub(crate) fn is_open(task: TaskId, spec: &TaskSpec, info: &TaskInfo) -> bool {
		let listed = OpenTasks::<T>::get().iter().any(|(_, other)| *other == task);
		listed || Self::open(task, spec, info.unit_macs).is_ok()
	}

	/// Takes a task out of the open ones.
	pub(crate) fn close(task: TaskId) {
		OpenTasks::<T>::mutate(|open| open.retain(|(_, other)| *other != task));
	}

	/// The state of a unit, if it is one of the task's current phase.
	pub(crate) fn state_mut(info: &mut TaskInfo, unit: UnitRef) -> Option<&mut UnitState> {
		let index = match (unit.kind, info.phase) {
			(UnitKind::Steps(index), Phase::Units | Phase::Cancelled) => usize::from(index),
			(UnitKind::Merge, Phase::Merge | Phase::Cancelled) => 0,
			_ => return None,
		};
		if info.round != unit.round {
			return None;
		}
		info.units.get_mut(index)
	}
}

impl<T: Config> TaskBoard for Pallet<T> {
	fn open_tasks() -> Vec<TaskId> {
		OpenTasks::<T>::get().into_iter().map(|(_, task)| task).collect()
	}

	fn open_units(task: TaskId) -> Vec<OpenUnit> {
		let (Some(spec), Some(info)) = (Specs::<T>::get(task), Tasks::<T>::get(task)) else { return Vec::new() };
		// A result needs room among those whose windows run: else its unit would be computed for nothing.
		let standing = StandingOf::<T>::decode_len(task).unwrap_or(0);
		if standing.saturating_add(info.units.len()) > MAX_STANDING as usize {
			return Vec::new();
		}
		let open = info.units.iter().enumerate().filter(|(_, state)| **state == UnitState::Open);
		let open: Vec<_> = match info.phase {
			Phase::Units => open.map(|(unit, _)| UnitKind::Steps(unit as u16)).collect(),
			Phase::Merge => open.map(|_| UnitKind::Merge).collect(),
			Phase::Unfunded | Phase::Completed | Phase::Cancelled => Vec::new(),
		};
		// Most tasks have none most of the time, and the scheduler asks in every block.
		if open.is_empty() {
			return Vec::new();
		}
		// A registered graph was checked.
		let Ok(program) = Program::new(spec.graph.clone()) else { return Vec::new() };
		let memory = spec.unit_memory(&program);
		let stake = T::Disputes::stake(spec.price, spec.graph.ops.len() as u32);
		let unit = |kind| UnitRef { task, round: info.round, kind };
		open.into_iter().map(|kind| OpenUnit { unit: unit(kind), memory, deadline: spec.deadline, stake }).collect()
	}

	fn assigned(unit: UnitRef, assignment: AssignmentId) {
		Tasks::<T>::mutate_extant(unit.task, |info| {
			if let Some(state) = Self::state_mut(info, unit) {
				*state = UnitState::Assigned(assignment);
			}
		});
	}

	fn reopen(assignment: &Assignment) {
		let task = assignment.unit.task;
		Tasks::<T>::mutate_extant(task, |info| {
			if let Some(state) = Self::state_mut(info, assignment.unit) {
				if *state == UnitState::Assigned(assignment.id) {
					*state = UnitState::Open;
				}
			}
			Self::settle(task, info);
		});
	}
}

impl<T: Config> UnitResolver for Pallet<T> {
	fn resolve(unit: UnitRef, op: OpIndex, tile: TileIndex) -> Result<ResolvedWork, ResolveError> {
		let UnitKind::Steps(index) = unit.kind else { return Err(ResolveError::NotMineable) };
		let spec = Specs::<T>::get(unit.task).ok_or(ResolveError::NotMineable)?;
		let program = spec.check().map_err(|_| ResolveError::NotMineable)?;
		spec.resolve(&program, unit.round, index, op, tile)
	}
}
