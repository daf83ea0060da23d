//! Finding the first wrong block of another's result, knowing the right one.

use std::collections::BTreeMap;

use labora_graph::{OpIndex, Program, Trace, COMMITMENTS_PER_CHUNK};
use labora_primitives::{limits::MAX_TRACE_CHUNKS, Answer, Claim, StandingResult, TaskSpec, UnitKind};
use labora_tensor::{BlockIndex, NodeSet, Opening, Tensor, CHUNK_BYTES, MAX_NODES};

/// What was shown of a result so far: the answers that the chain took.
pub type Shown = BTreeMap<Claim, Answer>;

/// The right computation of a unit.
pub trait Honest {
	/// The trace; of a merge, the commitments of the merged parameters.
	fn trace(&self) -> &Trace;
	/// The tensor at a position of the trace. None: it could not be computed.
	fn tensor(&self, op: OpIndex) -> Option<Tensor>;
}

/// What to do about a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
	/// Nothing: it is right.
	Right,
	/// Demand this. If it was demanded and is not answered yet: wait.
	Ask(Claim),
	/// The difference cannot be found: a tensor could not be computed, or what was shown contradicts the result.
	Lost,
}

/// What to do next about a result, given what was shown of it. A function of its arguments only: whoever starts it anew at
/// any time goes on where it was.
pub fn next(spec: &TaskSpec, program: &Program, result: &StandingResult, honest: &impl Honest, shown: &Shown) -> Next {
	let trace = honest.trace();
	if trace.root() == result.trace_root {
		// What a result says beside its trace, it opened from it.
		return Next::Right;
	}
	let search = Search { spec, program, kind: result.unit.kind, honest, shown };
	match result.unit.kind {
		UnitKind::Merge => {
			let mut pairs = trace.0.iter().zip(&result.parameters);
			pairs.position(|(right, said)| right != said).map_or(Next::Lost, |op| search.tensor(OpIndex(op as u32)))
		}
		UnitKind::Steps(_) => search.trace(),
	}
}

struct Search<'a, H> {
	spec: &'a TaskSpec,
	program: &'a Program,
	kind: UnitKind,
	honest: &'a H,
	shown: &'a Shown,
}

impl<H: Honest> Search<'_, H> {
	/// What was shown for a claim that asks for one opening.
	fn data(&self, claim: &Claim) -> Option<&[u8]> {
		self.shown.get(claim).and_then(|answer| answer.first()).map(|opened| &opened.data.data[..])
	}

	/// Looks for the first wrong entry of the trace.
	fn trace(&self) -> Next {
		let bytes = self.honest.trace().bytes();
		let total = (bytes.len() / CHUNK_BYTES) as u64;
		let (mut first, mut count) = (0, total);
		let ask = |granule, first, count| Claim::TraceNodes { granule, first, count };
		if let Err(next) = self.narrow(&bytes, &mut first, &mut count, u64::from(MAX_TRACE_CHUNKS), ask) {
			return next;
		}
		let claim = Claim::Trace { first: first as u32, count: count as u32 };
		let Some(said) = self.data(&claim) else { return Next::Ask(claim) };
		let right = bytes.chunks_exact(32).skip(first as usize * COMMITMENTS_PER_CHUNK as usize);
		match said.chunks_exact(32).zip(right).position(|(said, right)| said != right) {
			Some(at) => self.entry(OpIndex(first as u32 * COMMITMENTS_PER_CHUNK + at as u32)),
			None => Next::Lost,
		}
	}

	/// An entry of the trace is wrong, and all before it are right.
	fn entry(&self, op: OpIndex) -> Next {
		match op.0.checked_sub(self.spec.trace_len(self.program)) {
			None => self.tensor(op),
			Some(step) if step < self.spec.job.steps() && self.program.metrics_op().is_some() => {
				Next::Ask(Claim::Metrics { step })
			}
			// Padding after the last entry: nothing reads it. Only the root differs, and the chain cannot tell.
			Some(_) => Next::Lost,
		}
	}

	/// A tensor is wrong, and all that it follows from is right: looks for its first wrong block.
	fn tensor(&self, op: OpIndex) -> Next {
		let (Some(tensor), Some((shape, element))) =
			(self.honest.tensor(op), self.spec.traced(self.program, self.kind, op))
		else {
			return Next::Lost;
		};
		let (mut first, mut count) = (0, shape.chunks(element));
		let ask = |granule, first, count| Claim::Nodes { op, granule, first, count };
		if let Err(next) = self.narrow(tensor.bytes(), &mut first, &mut count, 1, ask) {
			return next;
		}
		let number = first / element.chunks_per_block();
		let cols = u64::from(shape.block_cols());
		let block = BlockIndex { row: (number / cols) as u32, col: (number % cols) as u32 };
		Next::Ask(match self.kind {
			UnitKind::Merge => Claim::Merged { parameter: op.0 as u8, block },
			UnitKind::Steps(_) => Claim::Block { op, block },
		})
	}

	/// Narrows a range of chunks down to at most `enough` that hold the first wrong one, or says what to ask for.
	fn narrow(
		&self,
		bytes: &[u8],
		first: &mut u64,
		count: &mut u64,
		enough: u64,
		ask: impl Fn(u64, u64, u64) -> Claim,
	) -> Result<(), Next> {
		let total = (bytes.len() / CHUNK_BYTES) as u64;
		while *count > enough {
			// The smallest nodes of which so many cover the range.
			let granule = count.div_ceil(MAX_NODES).next_power_of_two();
			let (from, nodes) = (*first / granule, count.div_ceil(granule));
			let claim = ask(granule, from, nodes);
			let set = NodeSet::new(total, granule, from, nodes).ok_or(Next::Lost)?;
			let right = Opening::of_nodes(bytes, &set).ok_or(Next::Lost)?.data;
			let Some(said) = self.data(&claim) else { return Err(Next::Ask(claim)) };
			let differ = said.chunks_exact(32).zip(right.chunks_exact(32)).position(|(said, right)| said != right);
			let node = from + differ.ok_or(Next::Lost)? as u64;
			*first = node * granule;
			*count = granule.min(total - *first);
		}
		Ok(())
	}
}

/// The right trace and tensors of a merge.
impl Honest for (Trace, Vec<Tensor>) {
	fn trace(&self) -> &Trace {
		&self.0
	}

	fn tensor(&self, op: OpIndex) -> Option<Tensor> {
		self.1.get(usize::try_from(op.0).ok()?).cloned()
	}
}
