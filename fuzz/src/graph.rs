//! Graphs and tasks as sponsors write them.

use std::sync::LazyLock;

use labora_graph::{Graph, Op, OpIndex, OutputBlock, Program, RoundingKey, StepContext, MAX_K, MAX_OPS};
use labora_pouw::TileIndex;
use labora_primitives::{limits, Claim, Job, TaskSpec, UnitKind, UnitRef};
use labora_tensor::{BlockIndex, Shape, BLOCK, CHUNK_BYTES, OPERAND_MAX};

use crate::{fixture::Fixture, script::Script};

static SPECS: LazyLock<[TaskSpec; 2]> = LazyLock::new(|| [Fixture::training().spec, Fixture::inference().spec]);

/// Most bytes that one output block is computed from: two strips and a block of a parameter.
const MOST_INPUT: usize = 2 * BLOCK * MAX_K as usize + 4 * CHUNK_BYTES;

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	let kind = script.u8();
	// What is done with the task comes before what it is, so that either changes alone.
	let choices = script.bytes::<48>();
	let mut choices = Script(&choices);
	let spec = &SPECS[usize::from(kind >> 2 & 1)];
	match kind & 3 {
		0 => {
			if let Some(graph) = script.decoded::<Graph>() {
				self::graph(&mut choices, graph);
			}
		}
		1 => {
			if let Some(graph) = script.edited(&spec.graph) {
				self::graph(&mut choices, graph);
			}
		}
		2 => {
			if let Some(spec) = script.decoded() {
				task(&mut choices, &spec);
			}
		}
		_ => {
			if let Some(spec) = script.edited(spec) {
				task(&mut choices, &spec);
			}
		}
	}
}

fn block(script: &mut Script, shape: Shape) -> BlockIndex {
	match script.u8() & 3 {
		0 => BlockIndex { row: script.wild32(), col: script.wild32() },
		_ => BlockIndex { row: script.wild32() % shape.block_rows(), col: script.wild32() % shape.block_cols() },
	}
}

fn graph(script: &mut Script, graph: Graph) {
	assert_eq!(Graph::from_bytes(&codec::Encode::encode(&graph)).as_ref(), Ok(&graph));
	let Ok(program) = Program::new(graph) else { return };
	assert!((1..=MAX_OPS).contains(&program.ops()) && program.macs() > 0);
	let op = script.below(program.ops() as usize + 1) as u8;
	let Some((definition, info)) = program.op(op) else {
		assert_eq!((u32::from(op), program.needs(op, BlockIndex { row: 0, col: 0 })), (program.ops(), None));
		return;
	};
	let block = block(script, info.shape);
	let needs = program.needs(op, block);
	assert_eq!(needs.is_some(), info.shape.contains(block));
	let context = StepContext { rounding: RoundingKey(script.u32()), rate_drops: script.u8() };
	let index = OpIndex::new(&program, script.wild32(), op).unwrap_or(OpIndex(op.into()));
	assert_eq!(index.split(&program).1, op);
	let Some(needs) = needs else {
		assert!(program.eval_block(index, block, &[], &context).is_err());
		return;
	};
	let mut inputs = Vec::new();
	for need in &needs {
		let (shape, element) = program.value(need.value).expect("a checked graph's values exist");
		let chunks = need.region.chunks(shape, element, 0, shape.block_rows()).expect("a part of the value");
		let bytes = chunks.bytes() as usize;
		assert!(bytes <= MOST_INPUT);
		let mut input = vec![0; bytes];
		match script.u8() {
			fill @ 0..128 => input.fill(fill.wrapping_mul(3)),
			key => labora_tensor::keyed_stream(&[key; 32], b"fuzz", 0).fill(&mut input),
		}
		inputs.push(input);
	}
	assert!(inputs.iter().map(Vec::len).sum::<usize>() <= MOST_INPUT);
	let slices: Vec<_> = inputs.iter().map(Vec::as_slice).collect();
	let computed = program.eval_block(index, block, &slices, &context).expect("no bytes can make an op fail");
	match &computed {
		OutputBlock::I8(block) => {
			let (least, most) = match definition {
				Op::Argmax { .. } | Op::MatMul { activation: labora_graph::Activation::Relu, .. } => (0, OPERAND_MAX),
				_ => (-OPERAND_MAX, OPERAND_MAX),
			};
			assert!(block.iter().all(|element| (least..=most).contains(element)), "{definition:?} leaves its range");
		}
		OutputBlock::I32(block) => {
			let rows = block.chunks(BLOCK).all(|row| row[0] >= 0 && (0..=1).contains(&row[1]));
			assert!(rows || !matches!(definition, Op::Metrics { .. }));
		}
	}
	assert_eq!(computed.to_bytes().len(), info.element.block_bytes());
	let short = [&slices[..slices.len() - 1], &[&inputs[0][1..]]].concat();
	assert!(program.eval_block(index, block, &short, &context).is_err());
	assert!(program.eval_block(index, block, &slices[1..], &context).is_err());
}

fn task(script: &mut Script, spec: &TaskSpec) {
	let Ok(program) = spec.check() else { return };
	assert!(spec.unit_memory(&program) > 0);
	let steps = spec.job.steps();
	assert!(
		spec.job.rounds() <= limits::MAX_ROUNDS && spec.job.units() <= limits::MAX_UNITS && steps <= limits::MAX_STEPS
	);
	assert!(spec.unit_macs(&program) >= u128::from(steps));
	let round = script.wild32();
	let number = script.u16();
	let trace = spec.trace_len(&program);
	let op = match script.u8() & 1 {
		0 => OpIndex(script.wild32()),
		_ => OpIndex(script.wild32() % trace.max(1)),
	};
	// Of what the program has (of a merge, what the task has).
	let shape = program.op(op.split(&program).1).map_or(Shape { rows: 1, cols: 1 }, |(_, info)| info.shape);
	let block = block(script, shape);
	let inside = op.0 < trace && shape.contains(block);
	let places = spec.places(&program, round, number, op, block);
	assert_eq!(places.is_some(), inside, "{op:?} {block:?}");
	for place in places.into_iter().flatten() {
		assert!(place.chunks.bytes() as usize <= MOST_INPUT);
	}
	if let Ok(work) = spec.resolve(&program, round, number, op, TileIndex { row: block.row, col: block.col }) {
		assert!(inside && work.product.eligible() && work.product.k <= MAX_K);
		let strip = u64::from(work.product.k) * BLOCK as u64;
		assert_eq!((work.a.chunks.bytes(), work.b.chunks.bytes()), (strip, strip));
		assert!(block.row < work.product.m / BLOCK as u32 && block.col < work.product.n / BLOCK as u32);
	}
	assert!(spec.batch(round, number, script.wild32()) < spec.dataset.rows / spec.graph.batch);
	assert!(usize::from(spec.context(round, number).rate_drops) <= 8);
	if op.0 < trace {
		let operands = program.operands(op.split(&program).1);
		assert_eq!(spec.operand_ops(&program, op).is_some(), operands.is_some());
	}

	let kind = match (script.u8() & 1, &spec.job) {
		(0, Job::Training { .. }) => UnitKind::Merge,
		_ => UnitKind::Steps(number),
	};
	let unit = UnitRef { task: Default::default(), round, kind };
	let entries = spec.trace_entries(&program, kind);
	let (audited, blocks) = (script.u8() & 7, script.u8() & 15);
	let claims = spec.audit(&program, kind, &[script.u8(); 32], audited, blocks);
	let most = if kind == UnitKind::Merge { blocks.into() } else { usize::from(audited) * usize::from(blocks) };
	assert!(claims.len() <= most);
	for claim in &claims {
		assert!(spec.has_part(&program, &unit, claim), "an audit asks for {claim:?}");
	}
	let most = spec.graph.parameters.len().max(steps as usize) + 1;
	assert!(spec.opened_entries(&program).len() <= most);
	for entry in spec.opened_entries(&program) {
		assert!(entry.0 < spec.trace_entries(&program, UnitKind::Steps(number)));
	}
	let (granule, first, count) = (script.wild(), script.wild(), script.wild());
	for claim in [
		Claim::Nodes { op, granule, first, count },
		Claim::TraceNodes { granule, first, count },
		Claim::Trace { first: first as u32, count: count as u32 },
		Claim::Metrics { step: first as u32 },
	] {
		if spec.has_part(&program, &unit, &claim) {
			assert!(spec.traced(&program, kind, op).is_some() || !matches!(claim, Claim::Nodes { .. }));
			assert!(entries > 0);
		}
	}
}
