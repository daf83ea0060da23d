//! Test vectors for a second implementation: `docs/vectors/*.json`. The test computes them and fails when they differ from
//! the files; with `LABORA_BLESS=1` it writes them anew.
//!
//! Inputs are byte streams that are easy to make again: `stream(name, n)` is the first `n` bytes of BLAKE3's output stream over
//! the UTF-8 bytes of the name. Long outputs are given as their BLAKE3 hash.

use std::path::Path;

use labora_graph::{
	left_strip, right_strip, Activation, Graph, Op, OpIndex, Product, Program, Region, Rounding, RoundingKey,
	RunningMetrics, StepContext, Trace, Value,
};
use labora_pouw::{
	noise::{self, Side},
	params::noise_rank,
	proof::noised_ticket,
	ticket::{fold_tile, idle_target, target, TicketHasher},
	Difficulty, IdleSeed, Seed, TileIndex, UsefulSeed,
};
use labora_tensor::{BlockIndex, ChunkSet, Commitment, ElementType, NodeSet, Opening, Shape, Tensor};
use serde_json::{json, Value as Json};

fn stream(name: &str, bytes: usize) -> Vec<u8> {
	let mut out = vec![0; bytes];
	blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut out);
	out
}

fn digest(bytes: &[u8]) -> String {
	hex::encode(blake3::hash(bytes).as_bytes())
}

fn i8_digest(values: &[i8]) -> String {
	digest(&values.iter().map(|x| *x as u8).collect::<Vec<_>>())
}

fn tensor(name: &str, rows: u32, cols: u32, element: ElementType) -> Tensor {
	let shape = Shape::new(rows, cols).expect("within the limits");
	let bytes = stream(name, shape.bytes(element) as usize);
	Tensor::from_bytes(shape, element, bytes).expect("as many bytes as the shape has")
}

/// Compares with the file of that name, or writes it.
fn check(name: &str, vectors: Json) {
	// Cargo runs tests in their package's folder. The path at compile time may be that of another checkout.
	let path = Path::new("../../docs/vectors").join(name);
	let text = serde_json::to_string_pretty(&vectors).expect("plain values") + "\n";
	if std::env::var_os("LABORA_BLESS").is_some() {
		std::fs::write(&path, text).expect("a writable folder");
		return;
	}
	let kept = std::fs::read_to_string(&path).unwrap_or_default();
	assert!(kept == text, "{} differs; LABORA_BLESS=1 writes it anew", path.display());
}

#[test]
fn openings() {
	let cases = [
		("one chunk", 32, 32, ElementType::I8),
		("a row of chunks", 32, 96, ElementType::I8),
		("uneven tree", 160, 224, ElementType::I8),
		("words", 96, 64, ElementType::I32),
	];
	let vectors = cases.map(|(name, rows, cols, element)| {
		let tensor = tensor(name, rows, cols, element);
		let shape = tensor.shape();
		let (last_row, last_col) = (shape.block_rows() - 1, shape.block_cols() - 1);
		let last = BlockIndex { row: last_row, col: last_col };
		let sets = [
			("last row strip", ChunkSet::row_strip(shape, element, last_row)),
			("last column strip", ChunkSet::column_strip(shape, element, last_col, 0, shape.block_rows())),
			("last block", ChunkSet::block(shape, element, last)),
		];
		let openings = sets.map(|(region, set)| {
			let set = set.expect("inside the tensor");
			let opening = tensor.open(&set).expect("of this tensor");
			assert!(opening.verify(&tensor.commitment(), &set).is_ok());
			let siblings: Vec<_> = opening.siblings.iter().map(hex::encode).collect();
			json!({ "region": region, "data_blake3": digest(&opening.data), "siblings": siblings })
		});
		let total = shape.chunks(element);
		let node_sets = [(1, total - 1, 1), (4, 1, 2), (8, 0, total.div_ceil(8))];
		let node_openings = node_sets.into_iter().filter_map(|(granule, first, count)| {
			let set = NodeSet::new(total, granule, first, count)?;
			let opening = Opening::of_nodes(tensor.bytes(), &set).expect("of this tensor");
			assert!(opening.verify_nodes(&tensor.commitment(), &set).is_ok());
			let values: Vec<_> = opening.data.chunks(32).map(hex::encode).collect();
			let siblings: Vec<_> = opening.siblings.iter().map(hex::encode).collect();
			Some(json!({ "granule": granule, "first": first, "values": values, "siblings": siblings }))
		});
		json!({
			"stream": name, "rows": rows, "columns": cols, "element": format!("{element:?}"),
			"commitment": tensor.commitment().to_string(), "openings": openings,
			"nodes": node_openings.collect::<Vec<_>>(),
		})
	});
	let commitments: Vec<_> = (0..70u8).map(|i| Commitment([i; 32])).collect();
	let trace = Trace(commitments);
	let opening: Opening = trace.open(OpIndex(69)).expect("an op of the trace");
	let trace_vector = json!({
		"commitments": "70 commitments, number i of 32 bytes i",
		"root": trace.root().to_string(),
		"opening_of_op_69": { "data_blake3": digest(&opening.data), "siblings": opening.siblings.iter().map(hex::encode).collect::<Vec<_>>() },
	});
	check("openings.json", json!({ "tensors": vectors, "trace": trace_vector }));
}

#[test]
fn noise_and_tickets() {
	let cases = [256u32, 800, 2_048, 8_192];
	let tickets = cases.map(|k| {
		let product = Product { m: 64, k, n: 96 };
		let useful = UsefulSeed {
			genesis: &[1; 32],
			parent: &[2; 32],
			assignment: 3,
			op: OpIndex(4),
			a: &Commitment([5; 32]),
			b: &Commitment([6; 32]),
			product,
		};
		let seed = useful.seed();
		let rank = noise_rank(k);
		let tile = TileIndex { row: 1, col: 2 };
		let mut left = left_strip(&stream(&format!("left {k}"), 32 * k as usize), false);
		let mut right = right_strip(&stream(&format!("right {k}"), 32 * k as usize), true);
		let plain = (i8_digest(&left), i8_digest(&right));
		let ticket = noised_ticket(&seed, tile, &mut left, &mut right);
		let state = fold_tile(&left, &right).finish();
		assert_eq!(ticket, TicketHasher::new(&seed).ticket(tile, &state));
		json!({
			"k": k, "m": product.m, "n": product.n, "rank": rank,
			"seed": hex::encode(seed.0),
			"el_rows_32_to_63_blake3": i8_digest(&noise::dense(&seed, Side::Left, rank, 32, 32)),
			"fr_columns_64_to_95_blake3": i8_digest(&noise::dense(&seed, Side::Right, rank, 64, 32)),
			"er_permutations_blake3": digest(&noise::cycles(&seed, Side::Left, rank, k)),
			"fl_permutations_blake3": digest(&noise::cycles(&seed, Side::Right, rank, k)),
			"left_strip_blake3": plain.0, "right_strip_blake3": plain.1,
			"noised_left_blake3": i8_digest(&left), "noised_right_blake3": i8_digest(&right),
			"state": hex::encode(state), "tile": [tile.row, tile.col], "ticket": format!("{ticket:064x}"),
		})
	});
	let idle = IdleSeed { genesis: &[1; 32], parent: &[2; 32], account: &[7; 32], nonce: 8 };
	let targets = [1u128, 1 << 40, u128::MAX].map(|difficulty| {
		json!({
			"difficulty": difficulty.to_string(),
			"target_k_1024": format!("{:064x}", target(Difficulty(difficulty), 1_024)),
			"idle_target_k_1024": format!("{:064x}", idle_target(Difficulty(difficulty), 1_024)),
		})
	});
	let first_cycle = noise::cycles(&Seed([9; 32]), Side::Left, 32, 32);
	check(
		"tickets.json",
		json!({
			"useful": tickets, "idle_seed": hex::encode(idle.seed().0), "targets": targets,
			"first_permutation_of_seed_9": first_cycle,
		}),
	);
}

#[test]
fn ops() {
	let shapes = vec![Shape { rows: 288, cols: 64 }, Shape { rows: 64, cols: 40 }];
	let matmul = |a, b, transpose_b, shift, rounding, activation| Op::MatMul {
		a,
		b,
		transpose_a: false,
		transpose_b,
		shift,
		rounding,
		activation,
	};
	let update = |parameter, a, b| Op::SgdUpdate { parameter, a, b, transpose_a: true, transpose_b: false, rate: 3 };
	let ops = vec![
		Op::Quantize { parameter: 0, shift: 20 },
		Op::Quantize { parameter: 1, shift: 24 },
		matmul(Value::Features, Value::Op(0), false, 10, Rounding::Nearest, Activation::Relu),
		matmul(Value::Op(2), Value::Op(1), false, 8, Rounding::Nearest, Activation::Identity),
		Op::SoftmaxGradient { logits: Value::Op(3) },
		matmul(Value::Op(4), Value::Op(1), true, 5, Rounding::Stochastic, Activation::Identity),
		Op::ReluMask { gradient: Value::Op(5), activation: Value::Op(2) },
		update(0, Value::Features, Value::Op(6)),
		update(1, Value::Op(2), Value::Op(4)),
		Op::Metrics { logits: Value::Op(3) },
		Op::Argmax { logits: Value::Op(3) },
	];
	let graph = Graph { batch: 64, features: 288, parameters: shapes, ops };
	let program = Program::new(graph).expect("a good graph");
	let context = StepContext { rounding: RoundingKey::of_unit(&[1; 32], 2, 3), rate_drops: 1 };
	let inputs = |value: Value| match value {
		Value::Features => tensor("features", 64, 288, ElementType::I8),
		Value::Labels => tensor("labels", 64, 1, ElementType::I8),
		Value::Parameter(i) => {
			let shape = program.graph().parameters[usize::from(i)];
			tensor(&format!("parameter {i}"), shape.rows, shape.cols, ElementType::I32)
		}
		Value::Op(_) => unreachable!("computed"),
	};
	let mut outputs: Vec<Tensor> = Vec::new();
	for op in 0..program.ops() as u8 {
		let (_, info) = program.op(op).expect("an op of the graph");
		let mut bytes = Vec::new();
		for row in 0..info.shape.block_rows() {
			for col in 0..info.shape.block_cols() {
				let block = BlockIndex { row, col };
				let needs = program.needs(op, block).expect("inside the output");
				let regions: Vec<Vec<u8>> = needs
					.iter()
					.map(|need| {
						let tensor = match need.value {
							Value::Op(i) => outputs[usize::from(i)].clone(),
							value => inputs(value),
						};
						region(&tensor, need.region)
					})
					.collect();
				let regions: Vec<&[u8]> = regions.iter().map(Vec::as_slice).collect();
				let out = program.eval_block(OpIndex(u32::from(op)), block, &regions, &context);
				bytes.extend(out.expect("total").to_bytes());
			}
		}
		outputs.push(Tensor::from_bytes(info.shape, info.element, bytes).expect("all blocks"));
	}
	let vectors: Vec<_> = program
		.iter()
		.zip(&outputs)
		.map(|((op, _), output)| json!({ "op": format!("{op:?}"), "commitment": output.commitment().to_string() }))
		.collect();
	let metrics = usize::from(program.metrics_op().expect("a metrics op"));
	let (shape, bytes) = (outputs[metrics].shape(), outputs[metrics].bytes());
	let once = RunningMetrics::default().add_tensor(shape, bytes);
	let twice = once.add_tensor(shape, bytes);
	check(
		"ops.json",
		json!({
			"inputs": "features, labels, parameter 0, parameter 1: streams of those names",
			"rounding_key_of_unit": { "seed": "32 bytes 1", "round": 2, "unit": 3, "key": context.rounding.0 },
			"rate_drops": 1, "ops": vectors,
			"running_metrics": {
				"entries": "tail of the trace had the metrics op yielded the same in two steps",
				"loss": [once.loss, twice.loss], "correct": [once.correct, twice.correct],
				"tail": [once.to_entry().to_string(), twice.to_entry().to_string()],
			},
		}),
	);
}

fn region(tensor: &Tensor, region: Region) -> Vec<u8> {
	let set = region.chunks(tensor.shape(), tensor.element(), 0, tensor.shape().block_rows());
	tensor.open(&set.expect("inside the tensor")).expect("of this tensor").data
}
