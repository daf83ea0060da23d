//! Openings of chunks and of nodes.

use labora_tensor::{BlockIndex, ChunkSet, Commitment, ElementType, NodeSet, Opening, Shape, Tensor, CHUNK_BYTES};

use crate::script::Script;

/// Most block rows and columns of the tensors that are opened.
const MOST_BLOCKS: u32 = 9;

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	match script.u8() & 3 {
		0 => foreign(&mut script),
		1 => nodes(&mut script),
		_ => chunks(&mut script),
	}
}

/// Bytes of a stranger, and sets of tensors of any size.
fn foreign(script: &mut Script) {
	let shape = Shape { rows: script.wild32(), cols: script.wild32() };
	let element = element(script);
	let set = set(script, shape, element, |script, _| script.wild32());
	let nodes = NodeSet::new(script.wild(), script.wild(), script.wild(), script.wild());
	let chunk = ChunkSet::chunk(script.wild(), script.wild());
	let run = ChunkSet::run(script.wild(), script.wild(), script.wild());
	// The right length, where that is possible, and then the bytes as siblings; or any.
	let fill = script.u8();
	let bytes = match script.u8() & 1 {
		0 => None,
		_ => set.map(|set| set.bytes()).or(nodes.map(|nodes| nodes.bytes())).filter(|bytes| *bytes < 1 << 17),
	};
	let opening = match bytes {
		Some(bytes) => {
			let siblings = script.rest().iter().map(|byte| [*byte; 32]).collect();
			Opening { data: vec![fill; bytes as usize], siblings }
		}
		None => script.decoded().unwrap_or_default(),
	};
	let commitment = Commitment([fill; 32]);
	for set in [set, chunk, run].into_iter().flatten() {
		assert!(set.bytes() > 0 && set.bytes() / CHUNK_BYTES as u64 <= set.total());
		assert!(opening.verify(&commitment, &set).is_err());
		if set.total().checked_mul(CHUNK_BYTES as u64) != Some(opening.data.len() as u64) {
			assert_eq!(Opening::of(&opening.data, &set), None);
		}
	}
	if let Some(nodes) = nodes {
		assert!(opening.verify_nodes(&commitment, &nodes).is_err());
	}
}

fn element(script: &mut Script) -> ElementType {
	match script.u8() & 1 {
		0 => ElementType::I8,
		_ => ElementType::I32,
	}
}

fn set(
	script: &mut Script,
	shape: Shape,
	element: ElementType,
	number: impl Fn(&mut Script, u32) -> u32,
) -> Option<ChunkSet> {
	let (rows, cols) = (shape.block_rows(), shape.block_cols());
	match script.u8() % 5 {
		0 => ChunkSet::all(shape, element),
		1 => ChunkSet::row_strip(shape, element, number(script, rows)),
		2 => {
			let (col, from) = (number(script, cols), number(script, rows));
			ChunkSet::column_strip(shape, element, col, from, number(script, rows + 1))
		}
		3 => ChunkSet::run(shape.chunks(element), number(script, rows).into(), number(script, cols).into()),
		_ => ChunkSet::block(shape, element, BlockIndex { row: number(script, rows), col: number(script, cols) }),
	}
}

/// A small tensor.
fn tensor(script: &mut Script) -> Tensor {
	let rows = 1 + script.below((MOST_BLOCKS * 32) as usize) as u32;
	let cols = 1 + script.below((MOST_BLOCKS * 32) as usize) as u32;
	let (shape, element) = (Shape { rows, cols }, element(script));
	let mut bytes = vec![0; shape.bytes(element) as usize];
	labora_tensor::keyed_stream(&[script.u8(); 32], b"fuzz", 0).fill(&mut bytes);
	Tensor::from_bytes(shape, element, bytes).expect("they are as many")
}

fn chunks(script: &mut Script) {
	let tensor = tensor(script);
	let (shape, element) = (tensor.shape(), tensor.element());
	let below = |script: &mut Script, most: u32| script.below(most as usize) as u32;
	// What a strip holds, block by block.
	let block = |row, col| tensor.block(BlockIndex { row, col }).expect("it lies in the tensor").to_vec();
	let (rows, cols) = (shape.block_rows(), shape.block_cols());
	let (kind, a, b) = (script.u8() & 3, below(script, rows), below(script, cols));
	let many = 1 + below(script, rows - a);
	let (set, shown) = match kind {
		0 => (ChunkSet::row_strip(shape, element, a), (0..cols).flat_map(|col| block(a, col)).collect()),
		1 => {
			let strip = (a..a + many).flat_map(|row| block(row, b)).collect();
			(ChunkSet::column_strip(shape, element, b, a, many), strip)
		}
		2 => (ChunkSet::block(shape, element, BlockIndex { row: a, col: b }), block(a, b)),
		_ => (ChunkSet::all(shape, element), tensor.bytes().to_vec()),
	};
	let set = set.expect("it lies in the tensor");
	let commitment = tensor.commitment();
	let honest = tensor.open(&set).expect("it is of this tensor");
	assert_eq!(honest.verify(&commitment, &set), Ok(&shown[..]));

	let other = self::set(script, shape, element, |script, most| script.below(most as usize + 1) as u32);
	if let Some(other) = other {
		assert_eq!(honest.verify(&commitment, &other).is_ok(), tensor.open(&other).as_ref() == Some(&honest));
	}
	if let Some(opening) = script.edited(&honest) {
		assert_eq!(opening.verify(&commitment, &set).is_ok(), opening == honest, "a forged opening");
	}
}

fn nodes(script: &mut Script) {
	let tensor = tensor(script);
	let total = tensor.shape().chunks(tensor.element());
	let mut set = || NodeSet::new(total, 1 << (script.u8() & 7), script.u8().into(), 1 + u64::from(script.u8()));
	let (set, other) = (set(), set());
	let Some(set) = set else { return };
	let commitment = tensor.commitment();
	let honest = Opening::of_nodes(tensor.bytes(), &set).expect("they are of this tensor");
	assert_eq!(honest.verify_nodes(&commitment, &set), Ok(&honest.data[..]));
	if let Some(other) = other {
		// A short last granule is the same node as a smaller one there.
		let same = Opening::of_nodes(tensor.bytes(), &other).as_ref() == Some(&honest);
		assert_eq!(honest.verify_nodes(&commitment, &other).is_ok(), same);
	}
	if let Some(opening) = script.edited(&honest) {
		assert_eq!(opening.verify_nodes(&commitment, &set).is_ok(), opening == honest, "forged nodes");
	}
}
