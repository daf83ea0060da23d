//! What can be asked to be shown of a result, how it is shown, and how that is judged: the one primitive of audits and challenges, *open
//! the inputs and the output of one block, and compute it again*.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use labora_graph::{arithmetic::mean, OpIndex, Program, Region, RunningMetrics, Trace, Value};
use labora_tensor::{BlockIndex, ChunkSet, Commitment, ElementType, NodeSet, Opening, Shape, CHUNK_BYTES};
use scale_info::TypeInfo;
use sp_core::bounded::BoundedVec;

use crate::{
	limits::{MaxOpened, MaxParameters, MAX_TRACE_CHUNKS},
	AccountId, AssignmentId, Balance, BlockNumber, TaskSpec, UnitKind, UnitMetrics, UnitRef,
};

/// Part of a result that is to be shown.
#[derive(
	Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Claim {
	/// One block of an op's output is what the op gives on its inputs.
	Block {
		/// The op of the unit.
		op: OpIndex,
		/// The block of its output.
		block: BlockIndex,
	},
	/// One block of a merged parameter is the mean of the round's results.
	Merged {
		/// The parameter.
		parameter: u8,
		/// The block of it.
		block: BlockIndex,
	},
	/// The running metrics after a step are those before it and the step's rows.
	Metrics {
		/// The step.
		step: u32,
	},
	/// Chaining values in the BLAKE3 tree of the trace. It judges nothing: it leads to the first wrong op of a long trace.
	TraceNodes {
		/// Chunks below each node: a power of two.
		granule: u64,
		/// First node.
		first: u64,
		/// Nodes, at most [`labora_tensor::MAX_NODES`].
		count: u64,
	},
	/// The commitments in chunks `first..first + count` of the trace. It shows them and judges nothing: who recomputes a unit
	/// finds the first wrong op with it.
	Trace {
		/// First chunk, of 32 commitments.
		first: u32,
		/// Chunks, at most [`MAX_TRACE_CHUNKS`].
		count: u32,
	},
	/// Chaining values in the BLAKE3 tree of a tensor of the trace. It judges nothing: it leads to the first wrong block.
	Nodes {
		/// The position in the trace.
		op: OpIndex,
		/// Chunks below each node: a power of two.
		granule: u64,
		/// First node.
		first: u64,
		/// Nodes, at most [`labora_tensor::MAX_NODES`].
		count: u64,
	},
}

impl Claim {
	/// Whether the answer decides if the result is right; else it only shows part of it.
	pub const fn is_decisive(&self) -> bool {
		matches!(self, Self::Block { .. } | Self::Merged { .. } | Self::Metrics { .. })
	}
}

/// An opened part of a tensor. If the chain does not know the tensor's commitment, it is opened too.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct Opened {
	/// Opening of the trace at the tensor's commitment, or at the entry that is asked for.
	pub trace: Option<Opening>,
	/// Opening of the tensor; empty if only the trace's entry is asked for.
	pub data: Opening,
}

/// The answer to a claim:
/// - `Block`: the inputs in the order of [`Program::needs`], then the output block;
/// - `Merged`: the block of the parameter in each of the round's results, then the merged block;
/// - `Metrics`: the whole metrics tensor of the step, the running entry after it, and after the first step the one before it;
/// - `TraceNodes`, `Trace`, `Nodes`: one opening.
pub type Answer = BoundedVec<Opened, MaxOpened>;

/// An accepted result whose window still runs.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct StandingResult {
	/// The unit.
	pub unit: UnitRef,
	/// Who computed it.
	pub worker: AccountId,
	/// When it was accepted, by the chain's [`Clock`](crate::Clock). The height is in its record.
	pub accepted: BlockNumber,
	/// The end of its window, the last time for a challenge: by the clock too. Where the runtime reports a result, the height, if no block
	/// until then is full.
	pub due: BlockNumber,
	/// Blocks, full ones too, that the worker took: others may need as long to compute it again.
	pub took: BlockNumber,
	/// What is owed for it, the burned share included; zero once it is void.
	pub price: Balance,
	/// What of the worker's bond is at stake.
	pub stake: Balance,
	/// Root of its trace.
	pub trace_root: Commitment,
	/// Its metrics.
	pub metrics: UnitMetrics,
	/// Commitments of the parameters that it was computed from; empty for a merge.
	pub base: BoundedVec<Commitment, MaxParameters>,
	/// Commitments of its parameters.
	pub parameters: BoundedVec<Commitment, MaxParameters>,
	/// A result that it was built on fell: it is no part of its task any more. Whether it is right is still to be seen.
	pub void: bool,
}

/// Something that is to be shown of a standing result.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Demand {
	/// What.
	pub claim: Claim,
	/// Who asked and the bond on it; none for an audit.
	pub by: Option<(AccountId, Balance)>,
	/// The last time for the answer, by the chain's [`Clock`](crate::Clock). Where the runtime reports a dispute, the height, if no block
	/// until then is full.
	pub due: BlockNumber,
	/// An answer showed that the result is wrong: it falls with the next block, or when those have fallen that were found out before.
	pub proven: bool,
}

/// What is open about a standing result.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Dispute {
	/// The assignment that the result came from.
	pub assignment: AssignmentId,
	/// The result.
	pub result: StandingResult,
	/// What is to be shown.
	pub demands: Vec<Demand>,
}

/// Which tensor a value is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
	/// The dataset's features.
	Features,
	/// The dataset's labels.
	Labels,
	/// A parameter that the unit started from.
	Base(u8),
	/// The output at a position of the trace.
	Op(OpIndex),
}

/// Part of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
	/// The tensor.
	pub source: Source,
	/// The part.
	pub chunks: ChunkSet,
}

/// Why an answer is none. It is refused, and the demand stays open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerError {
	/// The unit has no such part.
	NoSuchPart,
	/// There are more or fewer openings than the claim asks for.
	WrongCount,
	/// A commitment does not open to the trace.
	BadTraceOpening,
	/// A tensor's part does not open to its commitment.
	BadOpening,
}

impl TaskSpec {
	/// Where a part of a value lies that a step of a unit reads or writes.
	pub(crate) fn place(
		&self,
		program: &Program,
		batch: u32,
		step: u32,
		value: Value,
		region: Region,
	) -> Option<Place> {
		let (shape, element) = program.value(value)?;
		let of_batch = || batch.checked_mul(shape.block_rows());
		let (stored, offset, source) = match value {
			Value::Features => (self.features_shape(), of_batch()?, Source::Features),
			Value::Labels => (self.labels_shape(), of_batch()?, Source::Labels),
			Value::Op(op) => (shape, 0, Source::Op(OpIndex::new(program, step, op)?)),
			Value::Parameter(index) => match (step.checked_sub(1), program.update_of(index)) {
				(Some(before), Some(update)) => (shape, 0, Source::Op(OpIndex::new(program, before, update)?)),
				_ => (shape, 0, Source::Base(index)),
			},
		};
		let chunks = region.chunks(stored, element, offset, shape.block_rows())?;
		Some(Place { source, chunks })
	}

	/// Where the inputs of one block of an op's output lie, in the order of [`Program::needs`], and at last the block itself.
	pub fn places(
		&self,
		program: &Program,
		round: u32,
		unit: u16,
		index: OpIndex,
		block: BlockIndex,
	) -> Option<Vec<Place>> {
		let (step, op) = index.split(program);
		if step >= self.job.steps() {
			return None;
		}
		let batch = self.batch(round, unit, step);
		let needs = program.needs(op, block)?;
		let inputs = needs.iter().map(|need| (need.value, need.region));
		inputs
			.chain([(Value::Op(op), Region::Block(block))])
			.map(|(value, region)| self.place(program, batch, step, value, region))
			.collect()
	}

	/// Shape and element type of the tensor at a position of a unit's trace.
	pub fn traced(&self, program: &Program, kind: UnitKind, op: OpIndex) -> Option<(Shape, ElementType)> {
		match kind {
			UnitKind::Merge => {
				let shape = self.graph.parameters.get(usize::try_from(op.0).ok()?)?;
				Some((*shape, ElementType::I32))
			}
			UnitKind::Steps(_) => {
				let (step, op) = op.split(program);
				let (_, info) = program.op(op).filter(|_| step < self.job.steps())?;
				Some((info.shape, info.element))
			}
		}
	}

	/// Entries of a unit's trace.
	pub fn trace_entries(&self, program: &Program, kind: UnitKind) -> u32 {
		match kind {
			UnitKind::Merge => u32::try_from(self.graph.parameters.len()).unwrap_or(u32::MAX),
			UnitKind::Steps(_) => program.trace_entries(self.job.steps()),
		}
	}

	/// Whether a unit has the part that a claim is about.
	pub fn has_part(&self, program: &Program, unit: &UnitRef, claim: &Claim) -> bool {
		match (*claim, unit.kind) {
			(Claim::Block { op, block }, UnitKind::Steps(number)) => {
				self.places(program, unit.round, number, op, block).is_some()
			}
			(Claim::Merged { parameter, block }, UnitKind::Merge) => {
				self.graph.parameters.get(usize::from(parameter)).is_some_and(|shape| shape.contains(block))
			}
			(Claim::Metrics { step }, UnitKind::Steps(_)) => program.metrics_op().is_some() && step < self.job.steps(),
			(Claim::TraceNodes { granule, first, count }, kind) => {
				trace_nodes(self.trace_entries(program, kind), granule, first, count).is_some()
			}
			(Claim::Trace { first, count }, kind) => {
				trace_chunks(self.trace_entries(program, kind), first, count).is_some()
			}
			(Claim::Nodes { op, granule, first, count }, kind) => {
				self.nodes(program, kind, op, granule, first, count).is_some()
			}
			_ => false,
		}
	}

	/// The nodes that a claim asks for.
	pub fn nodes(
		&self,
		program: &Program,
		kind: UnitKind,
		op: OpIndex,
		granule: u64,
		first: u64,
		count: u64,
	) -> Option<NodeSet> {
		let (shape, element) = self.traced(program, kind, op)?;
		NodeSet::new(shape.chunks(element), granule, first, count)
	}

	/// What an audit asks for: `blocks` output blocks in each of `steps` steps, drawn from the stream keyed by `seed`. Every op of a
	/// step is as likely as the others, and every block of its output. (So an op that is left out in all steps is found
	/// with a probability that depends only on the number of ops, and the worker computes few steps again.) Of a merge, `blocks` blocks
	/// of merged parameters.
	pub fn audit(&self, program: &Program, kind: UnitKind, seed: &[u8; 32], steps: u8, blocks: u8) -> Vec<Claim> {
		let draw = |number: u32| {
			let mut stream = labora_tensor::keyed_stream(seed, b"labora/audit/1", number);
			move |below: u32| {
				let mut word = [0; 4];
				stream.fill(&mut word);
				(u64::from(u32::from_le_bytes(word)).saturating_mul(u64::from(below)) >> 32) as u32
			}
		};
		let block = |draw: &mut dyn FnMut(u32) -> u32, shape: Shape| BlockIndex {
			row: draw(shape.block_rows()),
			col: draw(shape.block_cols()),
		};
		let mut claims = Vec::new();
		match kind {
			UnitKind::Merge => {
				let mut draw = draw(0);
				for _ in 0..blocks {
					let parameter = draw(self.graph.parameters.len() as u32) as u8;
					let Some(shape) = self.graph.parameters.get(usize::from(parameter)) else { continue };
					claims.push(Claim::Merged { parameter, block: block(&mut draw, *shape) });
				}
			}
			UnitKind::Steps(_) => {
				for number in 0..steps {
					let mut draw = draw(u32::from(number));
					let step = draw(self.job.steps());
					for _ in 0..blocks {
						let op = draw(program.ops()) as u8;
						let (Some((_, info)), Some(index)) = (program.op(op), OpIndex::new(program, step, op)) else {
							continue;
						};
						claims.push(Claim::Block { op: index, block: block(&mut draw, info.shape) });
					}
				}
			}
		}
		claims.sort_unstable();
		claims.dedup();
		claims
	}

	/// Judges an answer: whether what it shows is right. `sets` are the parameters of the round's results, for a merge.
	///
	/// An answer that shows nothing (openings that do not verify, too many, too few) is an error: whoever sends it has proved nothing
	/// against the worker.
	pub fn judge(
		&self,
		program: &Program,
		result: &StandingResult,
		sets: &[Vec<Commitment>],
		claim: &Claim,
		answer: &[Opened],
	) -> Result<bool, AnswerError> {
		let kind = result.unit.kind;
		let opener = Opener { root: result.trace_root, entries: self.trace_entries(program, kind) };
		match (*claim, kind) {
			(Claim::Block { op, block }, UnitKind::Steps(unit)) => {
				self.judge_block(program, result, unit, op, block, &opener, answer)
			}
			(Claim::Merged { parameter, block }, UnitKind::Merge) => {
				self.judge_merged(result, sets, parameter, block, answer)
			}
			(Claim::Metrics { step }, UnitKind::Steps(_)) => self.judge_metrics(program, step, &opener, answer),
			(Claim::TraceNodes { granule, first, count }, _) => {
				let nodes = trace_nodes(opener.entries, granule, first, count).ok_or(AnswerError::NoSuchPart)?;
				let [Opened { trace: None, data }] = answer else { return Err(AnswerError::WrongCount) };
				data.verify_nodes(&opener.root, &nodes).map_err(|_| AnswerError::BadTraceOpening)?;
				Ok(true)
			}
			(Claim::Trace { first, count }, _) => {
				let chunks = trace_chunks(opener.entries, first, count).ok_or(AnswerError::NoSuchPart)?;
				let [Opened { trace: None, data }] = answer else { return Err(AnswerError::WrongCount) };
				data.verify(&opener.root, &chunks).map_err(|_| AnswerError::BadTraceOpening)?;
				Ok(true)
			}
			(Claim::Nodes { op, granule, first, count }, kind) => {
				let nodes = self.nodes(program, kind, op, granule, first, count).ok_or(AnswerError::NoSuchPart)?;
				let [opened] = answer else { return Err(AnswerError::WrongCount) };
				let commitment = opener.entry(op, opened)?;
				opened.data.verify_nodes(&commitment, &nodes).map_err(|_| AnswerError::BadOpening)?;
				Ok(true)
			}
			_ => Err(AnswerError::NoSuchPart),
		}
	}

	#[allow(clippy::too_many_arguments)]
	fn judge_block(
		&self,
		program: &Program,
		result: &StandingResult,
		unit: u16,
		op: OpIndex,
		block: BlockIndex,
		opener: &Opener,
		answer: &[Opened],
	) -> Result<bool, AnswerError> {
		let round = result.unit.round;
		let places = self.places(program, round, unit, op, block).ok_or(AnswerError::NoSuchPart)?;
		if places.len() != answer.len() {
			return Err(AnswerError::WrongCount);
		}
		let mut regions = Vec::with_capacity(places.len());
		for (place, opened) in places.iter().zip(answer) {
			let commitment = match (place.source, &opened.trace) {
				(Source::Op(op), Some(_)) => opener.entry(op, opened)?,
				(Source::Features, None) => self.dataset.features,
				(Source::Labels, None) => self.dataset.labels.ok_or(AnswerError::NoSuchPart)?,
				(Source::Base(index), None) => *result.base.get(usize::from(index)).ok_or(AnswerError::NoSuchPart)?,
				_ => return Err(AnswerError::WrongCount),
			};
			regions.push(opened.data.verify(&commitment, &place.chunks).map_err(|_| AnswerError::BadOpening)?);
		}
		let (shown, inputs) = regions.split_last().ok_or(AnswerError::WrongCount)?;
		let context = self.context(round, unit);
		let computed = program.eval_block(op, block, inputs, &context).map_err(|_| AnswerError::NoSuchPart)?;
		Ok(computed.to_bytes() == *shown)
	}

	fn judge_merged(
		&self,
		result: &StandingResult,
		sets: &[Vec<Commitment>],
		parameter: u8,
		block: BlockIndex,
		answer: &[Opened],
	) -> Result<bool, AnswerError> {
		let index = usize::from(parameter);
		let shape = *self.graph.parameters.get(index).ok_or(AnswerError::NoSuchPart)?;
		let chunks = ChunkSet::block(shape, ElementType::I32, block).ok_or(AnswerError::NoSuchPart)?;
		let merged = result.parameters.get(index).ok_or(AnswerError::NoSuchPart)?;
		let commitments = sets.iter().map(|set| set.get(index)).chain([Some(merged)]);
		if answer.len() != sets.len().saturating_add(1) || answer.iter().any(|opened| opened.trace.is_some()) {
			return Err(AnswerError::WrongCount);
		}
		let mut blocks = Vec::with_capacity(answer.len());
		for (commitment, opened) in commitments.zip(answer) {
			let commitment = commitment.ok_or(AnswerError::NoSuchPart)?;
			blocks.push(opened.data.verify(commitment, &chunks).map_err(|_| AnswerError::BadOpening)?);
		}
		let (shown, inputs) = blocks.split_last().ok_or(AnswerError::WrongCount)?;
		let count = u16::try_from(inputs.len()).map_err(|_| AnswerError::WrongCount)?;
		let mut sums = alloc::vec![0i64; shown.len() / 4];
		for input in inputs {
			for (sum, element) in sums.iter_mut().zip(elements(input)) {
				*sum = sum.saturating_add(i64::from(element));
			}
		}
		Ok(sums.iter().map(|sum| mean(*sum, count)).eq(elements(shown)))
	}

	fn judge_metrics(
		&self,
		program: &Program,
		step: u32,
		opener: &Opener,
		answer: &[Opened],
	) -> Result<bool, AnswerError> {
		let op = program.metrics_op().filter(|_| step < self.job.steps()).ok_or(AnswerError::NoSuchPart)?;
		let index = OpIndex::new(program, step, op).ok_or(AnswerError::NoSuchPart)?;
		let (_, info) = program.op(op).ok_or(AnswerError::NoSuchPart)?;
		let (tensor, after, before) = match (answer, step) {
			([tensor, after], 0) => (tensor, after, None),
			([tensor, after, before], 1..) => (tensor, after, Some(before)),
			_ => return Err(AnswerError::WrongCount),
		};
		let chunks = ChunkSet::all(info.shape, info.element).ok_or(AnswerError::NoSuchPart)?;
		let commitment = opener.entry(index, tensor)?;
		let rows = tensor.data.verify(&commitment, &chunks).map_err(|_| AnswerError::BadOpening)?;
		let running = |step: u32, opened: &Opened| {
			if opened.data != Opening::default() {
				return Err(AnswerError::WrongCount);
			}
			let index = program.tail_entry(self.job.steps(), step).ok_or(AnswerError::NoSuchPart)?;
			let entry = opener.entry(index, opened)?;
			Ok(RunningMetrics::from_entry(&entry))
		};
		let before = match before {
			None => Some(RunningMetrics::default()),
			Some(before) => running(step.saturating_sub(1), before)?,
		};
		// An entry that is none is wrong, whatever comes before it.
		let after = running(step, after)?;
		Ok(match (before, after) {
			(Some(before), Some(after)) => before.add_tensor(info.shape, rows) == after,
			_ => false,
		})
	}
}

/// Opens a trace.
struct Opener {
	root: Commitment,
	entries: u32,
}

impl Opener {
	/// The entry at a position, according to an opening.
	fn entry(&self, op: OpIndex, opened: &Opened) -> Result<Commitment, AnswerError> {
		let opening = opened.trace.as_ref().ok_or(AnswerError::WrongCount)?;
		Trace::verify(&self.root, self.entries, op, opening).map_err(|_| AnswerError::BadTraceOpening)
	}
}

/// Nodes in the tree of a trace of so many entries.
pub fn trace_nodes(entries: u32, granule: u64, first: u64, count: u64) -> Option<NodeSet> {
	NodeSet::new(u64::from(entries.div_ceil(labora_graph::COMMITMENTS_PER_CHUNK)), granule, first, count)
}

/// Chunks `first..first + count` of a trace of so many entries.
pub fn trace_chunks(entries: u32, first: u32, count: u32) -> Option<ChunkSet> {
	if count > MAX_TRACE_CHUNKS {
		return None;
	}
	let total = entries.div_ceil(labora_graph::COMMITMENTS_PER_CHUNK);
	ChunkSet::run(u64::from(total), u64::from(first), u64::from(count))
}

/// The `i32` elements of a block's bytes.
fn elements(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
	bytes.chunks_exact(4).map(|bytes| match *bytes {
		[a, b, c, d] => i32::from_le_bytes([a, b, c, d]),
		_ => 0,
	})
}

/// Bytes that an answer opens, in chunks: what its judgement costs grows with them.
pub fn answer_chunks(answer: &[Opened]) -> u32 {
	let bytes = |opening: &Opening| opening.data.len().saturating_add(opening.siblings.len().saturating_mul(64));
	let all = answer.iter().map(|opened| {
		opened.trace.as_ref().map_or(0, bytes).saturating_add(bytes(&opened.data)).saturating_add(CHUNK_BYTES)
	});
	u32::try_from(all.fold(0, usize::saturating_add).div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX)
}
