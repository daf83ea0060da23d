//! The ops on rows of logits. Their cost is that of a few products' rows: plain Rust on the consensus definitions.

use labora_graph::arithmetic::{argmax, metrics, softmax_gradient};
use labora_tensor::{BLOCK, CHUNK_BYTES};

/// Most classes of a graph, in whole blocks.
const MAX_CLASSES: usize = 2 * BLOCK;

/// Calls a function for every row of the logits with its number, in order.
fn each_row(logits: &[u8], classes: usize, mut f: impl FnMut(usize, &[i8])) {
	let strip = classes.div_ceil(BLOCK) * CHUNK_BYTES;
	let mut row = [0i8; MAX_CLASSES];
	for (number, strip) in logits.chunks_exact(strip).enumerate() {
		for i in 0..BLOCK {
			for (block, row) in strip.chunks_exact(CHUNK_BYTES).zip(row.chunks_exact_mut(BLOCK)) {
				for (x, byte) in row.iter_mut().zip(&block[i * BLOCK..]) {
					*x = *byte as i8;
				}
			}
			f(number * BLOCK + i, &row[..classes]);
		}
	}
}

/// Where a row of a matrix with that many block columns starts, in elements.
const fn row_start(row: usize, block_cols: usize) -> usize {
	row / BLOCK * block_cols * CHUNK_BYTES + row % BLOCK * BLOCK
}

pub(crate) fn softmax_gradients(logits: &[u8], labels: &[u8], classes: usize, out: &mut [u8]) {
	let mut gradient = [0i8; MAX_CLASSES];
	let block_cols = classes.div_ceil(BLOCK);
	out.fill(0);
	each_row(logits, classes, |row, logits| {
		softmax_gradient(logits, labels[row_start(row, 1)] as i8, &mut gradient[..classes]);
		for (block, gradient) in gradient[..classes].chunks(BLOCK).enumerate() {
			let start = row_start(row, block_cols) + block * CHUNK_BYTES;
			for (out, x) in out[start..].iter_mut().zip(gradient) {
				*out = *x as u8;
			}
		}
	});
}

pub(crate) fn all_metrics(logits: &[u8], labels: &[u8], classes: usize, out: &mut [u8]) {
	out.fill(0);
	each_row(logits, classes, |row, logits| {
		let (loss, correct) = metrics(logits, labels[row_start(row, 1)] as i8);
		let start = row_start(row, 1) * 4;
		out[start..start + 4].copy_from_slice(&loss.to_le_bytes());
		out[start + 4..start + 8].copy_from_slice(&correct.to_le_bytes());
	});
}

/// Writes the class of every row and adds it to a list.
pub(crate) fn all_classes(logits: &[u8], classes: usize, out: &mut [u8], list: &mut Vec<u8>) {
	out.fill(0);
	each_row(logits, classes, |row, logits| {
		let class = argmax(logits);
		out[row_start(row, 1)] = class;
		list.push(class);
	});
}
