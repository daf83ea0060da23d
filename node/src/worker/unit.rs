//! What a unit is computed from: the task, and the commitments that the chain names.

use std::sync::Arc;

use codec::{Decode, Encode};
use labora_graph::Program;
use labora_primitives::{Hash, SpecError, StandingResult, TaskSpec, UnitKind, UnitRef};
use labora_tensor::Commitment;

use super::chain::{Chain, ChainError};

/// What a unit follows from, and nothing else: the same origin gives the same result, whatever the assignment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Origin {
	/// The unit.
	pub unit: UnitRef,
	/// The task.
	pub spec: TaskSpec,
	/// Commitments of the parameters: the round's, or for a merge one set for each of the round's results.
	pub parameters: Vec<Vec<Commitment>>,
}

/// Why a unit's origin is unknown.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
	/// The chain did not answer.
	#[error(transparent)]
	Chain(#[from] ChainError),
	/// The chain knows no such task, or not yet what the unit starts from.
	#[error("the chain does not say what the unit starts from")]
	Unknown,
}

impl Origin {
	/// What the chain says at a block.
	pub fn read(chain: &dyn Chain, at: Hash, unit: UnitRef) -> Result<Self, OriginError> {
		let spec = chain.spec(at, unit.task)?.ok_or(OriginError::Unknown)?;
		let parameters = match unit.kind {
			UnitKind::Steps(_) => {
				vec![chain.round_parameters(at, unit.task, unit.round)?.ok_or(OriginError::Unknown)?]
			}
			UnitKind::Merge => {
				let results = (0..spec.job.units()).map(|number| {
					let result = chain.unit_result(at, unit.task, unit.round, number)?.ok_or(OriginError::Unknown)?;
					Ok::<_, OriginError>(result.parameters.into_inner())
				});
				results.collect::<Result<_, _>>()?
			}
		};
		Ok(Self { unit, spec, parameters })
	}

	/// What a standing result was computed from. The same as [`Self::read`], but for what was rolled back since.
	pub fn of_result(chain: &dyn Chain, at: Hash, result: &StandingResult) -> Result<Self, OriginError> {
		let unit = result.unit;
		match unit.kind {
			UnitKind::Merge => Self::read(chain, at, unit),
			UnitKind::Steps(_) => {
				let spec = chain.spec(at, unit.task)?.ok_or(OriginError::Unknown)?;
				Ok(Self { unit, spec, parameters: vec![result.base.to_vec()] })
			}
		}
	}

	/// The units whose outputs the sets of parameters are; none for what a task starts from.
	pub fn makers(&self) -> Vec<Option<UnitRef>> {
		match self.unit.kind {
			UnitKind::Merge => {
				let made = |number| UnitRef { kind: UnitKind::Steps(number), ..self.unit };
				(0..self.spec.job.units()).map(|number| Some(made(number))).collect()
			}
			UnitKind::Steps(_) => {
				// The only unit of a round gives the next one's parameters.
				let kind = if self.spec.job.units() > 1 { UnitKind::Merge } else { UnitKind::Steps(0) };
				vec![self.unit.round.checked_sub(1).map(|round| UnitRef { round, kind, ..self.unit })]
			}
		}
	}

	/// The checked program of one step.
	pub fn program(&self) -> Result<Arc<Program>, SpecError> {
		self.spec.check().map(Arc::new)
	}

	/// Commitments of the parameters that steps start from.
	pub fn base(&self) -> &[Commitment] {
		self.parameters.first().map_or(&[], |base| base)
	}

	/// Steps of the unit; none if it is a merge.
	pub fn steps(&self) -> u32 {
		match self.unit.kind {
			UnitKind::Steps(_) => self.spec.job.steps(),
			UnitKind::Merge => 0,
		}
	}
}
