//! Claims about results, and answers to them.

use std::sync::LazyLock;

use labora_graph::OpIndex;
use labora_primitives::{answer_chunks, Answer, AnswerError, Claim, Opened, StandingResult, UnitKind};
use labora_tensor::{BlockIndex, Commitment, Shape, CHUNK_BYTES};

use crate::{fixture::Fixture, script::Script};

/// A standing result of a unit, and the results that it was merged from.
struct Case {
	fixture: Fixture,
	standing: StandingResult,
	sets: Vec<Vec<Commitment>>,
}

impl From<Fixture> for Case {
	fn from(fixture: Fixture) -> Self {
		let sets = if fixture.unit.kind == UnitKind::Merge { fixture.sets() } else { Vec::new() };
		Self { standing: fixture.standing(), sets, fixture }
	}
}

static CASES: LazyLock<[Case; 3]> =
	LazyLock::new(|| [Fixture::training(), Fixture::inference(), Fixture::merge()].map(Case::from));

impl Case {
	fn has(&self, claim: &Claim) -> bool {
		self.fixture.spec.has_part(&self.fixture.program, &self.fixture.unit, claim)
	}

	fn judge(&self, claim: &Claim, answer: &[Opened]) -> Result<bool, AnswerError> {
		self.fixture.spec.judge(&self.fixture.program, &self.standing, &self.sets, claim, answer)
	}

	/// A claim about a part that the unit has, mostly.
	fn claim(&self, script: &mut Script) -> Claim {
		let spec = &self.fixture.spec;
		let merge = self.fixture.unit.kind == UnitKind::Merge;
		let op = OpIndex(script.below(self.fixture.trace.0.len()) as u32);
		let traced = spec.traced(&self.fixture.program, self.fixture.unit.kind, op);
		let block = block(script, traced.map_or(Shape { rows: 1, cols: 1 }, |(shape, _)| shape));
		match script.u8() & 15 {
			0..4 if merge => Claim::Merged { parameter: op.0 as u8, block },
			0..4 => Claim::Block { op, block },
			4..6 => Claim::Metrics { step: script.below(9) as u32 },
			6 => Claim::TraceNodes {
				granule: 1 << script.below(3),
				first: script.below(4) as u64,
				count: script.below(4) as u64,
			},
			7 => Claim::Trace { first: script.below(4) as u32, count: script.below(4) as u32 },
			8..11 => Claim::Nodes {
				op,
				granule: 1 << script.below(8),
				first: script.below(64) as u64,
				count: script.u8().into(),
			},
			11 => Claim::TraceNodes { granule: script.wild(), first: script.wild(), count: script.wild() },
			12 => Claim::Trace { first: script.wild32(), count: script.wild32() },
			13 => Claim::Nodes {
				op: OpIndex(script.wild32()),
				granule: script.wild(),
				first: script.wild(),
				count: script.wild(),
			},
			14 => Claim::Block {
				op: OpIndex(script.wild32()),
				block: BlockIndex { row: script.wild32(), col: script.wild32() },
			},
			_ => Claim::Merged {
				parameter: script.u8(),
				block: BlockIndex { row: script.wild32(), col: script.wild32() },
			},
		}
	}
}

fn block(script: &mut Script, shape: Shape) -> BlockIndex {
	BlockIndex {
		row: script.below(shape.block_rows() as usize) as u32,
		col: script.below(shape.block_cols() as usize) as u32,
	}
}

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	let kind = script.u8();
	let case = &CASES[usize::from(kind >> 2) % 3];
	match kind & 3 {
		0 => {
			if let Some((claim, answer)) = script.decoded::<(Claim, Answer)>() {
				judged(case, &claim, &answer);
			}
		}
		1 => lie(case, &mut script),
		_ => {
			let claim = case.claim(&mut script);
			if !case.has(&claim) {
				judged(case, &claim, &[]);
				return;
			}
			let honest = case.fixture.answer(&claim);
			judged(case, &claim, &honest);
			let mut answer = honest.clone();
			// The openings as wholes, then their bytes.
			let len = answer.len();
			match script.u8() & 15 {
				0 => answer.as_mut().reverse(),
				1 => drop(answer.pop()),
				2 => drop(answer.try_push(honest[script.below(len)].clone())),
				3 => drop(answer.try_push(Opened::default())),
				4 => answer[script.below(len)].trace = None,
				5 => answer[script.below(len)].trace = Some(Default::default()),
				6 => answer[script.below(len)].data = Default::default(),
				7 => {
					let other = case.claim(&mut script);
					if case.has(&other) {
						answer = case.fixture.answer(&other);
					}
				}
				8 => {
					let (from, to) = (script.below(len), script.below(len));
					answer[to] = honest[from].clone();
				}
				_ => {}
			}
			if let Some(answer) = script.edited(&answer) {
				judged(case, &claim, &answer);
			}
		}
	}
}

/// Judges an answer about an honest result: one answer is right, and no other is one.
fn judged(case: &Case, claim: &Claim, answer: &[Opened]) {
	let data = answer.iter().map(|opened| opened.data.data.len()).sum::<usize>();
	assert!(answer_chunks(answer) as usize >= data / CHUNK_BYTES);
	let verdict = case.judge(claim, answer);
	if !case.has(claim) {
		assert!(verdict.is_err(), "{claim:?}");
		return;
	}
	match verdict {
		Ok(right) => assert!(right, "an honest result is judged wrong: {claim:?}"),
		Err(error) => {
			assert!(answer != &case.fixture.answer(claim)[..], "an honest answer is none: {error:?}, {claim:?}")
		}
	}
	if verdict.is_ok() {
		assert!(answer == &case.fixture.answer(claim)[..], "a forged answer: {claim:?}");
	}
}

/// Judges answers about a result with one wrong byte.
fn lie(case: &Case, script: &mut Script) {
	let op = OpIndex(script.below(case.fixture.trace.0.len()) as u32);
	let output = case.fixture.output(op);
	let at = script.below(output.map_or(32, |output| output.bytes().len()));
	let lie = Case::from(case.fixture.corrupt(op, at, 1 << (script.u8() & 7)));
	let claim = match output {
		Some(output) => {
			let number = (at / output.element().block_bytes()) as u32;
			let cols = output.shape().block_cols();
			let block = BlockIndex { row: number / cols, col: number % cols };
			match case.fixture.unit.kind {
				UnitKind::Merge => Claim::Merged { parameter: op.0 as u8, block },
				UnitKind::Steps(_) => Claim::Block { op, block },
			}
		}
		None => {
			let steps = case.fixture.spec.job.steps();
			Claim::Metrics { step: op.0 + steps - case.fixture.trace.0.len() as u32 }
		}
	};
	assert!(claim.is_decisive());
	let shown = lie.fixture.answer(&claim);
	assert_eq!(lie.judge(&claim, &shown), Ok(false), "a wrong byte is judged right: {claim:?}");
	if let Some(answer) = script.edited(&shown) {
		// Edited, it shows nothing.
		let verdict = lie.judge(&claim, &answer);
		assert!(if answer == shown { verdict == Ok(false) } else { verdict.is_err() }, "{verdict:?}: {claim:?}");
	}
}
