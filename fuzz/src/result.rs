//! Results of units.

use std::sync::LazyLock;

use labora_graph::{OpIndex, Trace};
use labora_primitives::{Seal, UnitKind, UnitResult};
use labora_tensor::Commitment;

use crate::{fixture::Fixture, script::Script};

/// The unit, what blocks said of it, and its result.
struct Case {
	fixture: Fixture,
	seals: Vec<Seal>,
	honest: UnitResult,
}

static CASES: LazyLock<[Case; 3]> = LazyLock::new(|| {
	[Fixture::training(), Fixture::inference(), Fixture::merge()].map(|fixture| {
		let seals = match fixture.unit.kind {
			// Products of two steps; the operands of the second product of a step are both outputs of ops.
			UnitKind::Steps(_) => [2, 3].map(|op| fixture.seal(OpIndex(fixture.program.ops() + op))).into(),
			UnitKind::Merge => Vec::new(),
		};
		let honest = fixture.result(&seals);
		assert!(accepted(&fixture, &honest, &seals));
		Case { fixture, seals, honest }
	})
});

fn accepted(fixture: &Fixture, result: &UnitResult, seals: &[Seal]) -> bool {
	match fixture.unit.kind {
		UnitKind::Merge => fixture.spec.check_merge(result).is_ok(),
		UnitKind::Steps(_) => fixture.spec.check_result(&fixture.program, result, seals).is_ok(),
	}
}

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	let kind = script.u8();
	let case = &CASES[usize::from(kind >> 3) % 3];
	let (result, seals) = match kind & 7 {
		0 => (script.decoded(), case.seals.clone()),
		// What the chain holds of the blocks, edited: it agrees only if it is the same in all that a result shows.
		1 => {
			let Some(seals) = script.edited(&case.seals) else { return };
			if !accepted(&case.fixture, &case.honest, &seals) {
				return;
			}
			(Some(case.honest.clone()), seals)
		}
		// The fields alone: few bytes of an encoding are theirs.
		2 => {
			let mut result = case.honest.clone();
			match script.u8() & 7 {
				0 => result.metrics.loss = script.wild(),
				1 => result.metrics.correct = script.wild(),
				2 => result.metrics.rows = script.wild(),
				3 => result.outputs.as_mut().reverse(),
				4 => result.parameters.as_mut().reverse(),
				5 => drop(result.seals.pop()),
				6 => drop(result.outputs.pop()),
				_ => drop(result.parameters.pop()),
			}
			(Some(result), case.seals.clone())
		}
		// A list of parameters of one's own, and its root, is a merge that agrees with itself, if it is as long as it should be.
		3 => {
			let mut result = case.honest.clone();
			let parameters = (0..script.below(17)).map(|_| Commitment([script.u8(); 32])).collect::<Vec<_>>();
			result.trace_root = Trace(parameters.clone()).root();
			let right = parameters.len() == case.fixture.spec.graph.parameters.len();
			result.parameters = parameters.try_into().expect("at most 16");
			assert_eq!(
				accepted(&case.fixture, &result, &case.seals),
				right && case.fixture.unit.kind == UnitKind::Merge
			);
			return;
		}
		_ => (script.edited(&case.honest), case.seals.clone()),
	};
	if let Some(result) = result.filter(|result| accepted(&case.fixture, result, &seals)) {
		// Of this trace there is no other result; nobody has another trace whose openings agree.
		assert_eq!(result.trace_root, case.honest.trace_root);
		assert_eq!((&result.parameters, &result.classes), (&case.honest.parameters, &case.honest.classes));
		assert_eq!((&result.outputs, &result.metrics), (&case.honest.outputs, &case.honest.metrics));
		assert_eq!(result.seals, case.honest.seals);
		let said = |seals: &[Seal]| seals.iter().map(|seal| seal.b).collect::<Vec<_>>();
		assert_eq!(said(&seals), said(&case.seals));
	}
}
