//! What several tests need: small files, small datasets.
#![allow(dead_code)]

use std::{
	fs,
	io::Write,
	path::{Path, PathBuf},
};

use flate2::{write::GzEncoder, Compression};
use labora_cli::dataset::{import, Folder, Format, ImportOptions, Input};

/// The bytes of an IDX file.
pub fn idx(dimensions: &[u32], data: &[u8]) -> Vec<u8> {
	let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
	dimensions.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
	bytes.extend(data);
	bytes
}

/// Compressed bytes.
pub fn gz(bytes: &[u8]) -> Vec<u8> {
	let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
	encoder.write_all(bytes).unwrap();
	encoder.finish().unwrap()
}

/// Writes a file in a folder.
pub fn file(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
	let path = dir.join(name);
	fs::create_dir_all(path.parent().unwrap()).unwrap();
	fs::write(&path, bytes).unwrap();
	path
}

/// Bytes that look random and are always the same.
pub fn noise(len: usize, seed: u32) -> Vec<u8> {
	(0..len as u32).map(|i| (labora_graph::arithmetic::mix32(i ^ (seed << 20)) >> 13) as u8).collect()
}

/// A dataset of `rows` rows of `cols` features: noise around one bright column per class, so that it can be learned.
pub fn dataset(dir: &Path, rows: u32, cols: u32, classes: u8, options: ImportOptions) -> Folder {
	let labels: Vec<u8> = (0..rows).map(|row| (row % u32::from(classes)) as u8).collect();
	let mut features = noise((rows * cols) as usize, 1);
	for (row, label) in features.chunks_exact_mut(cols as usize).zip(&labels) {
		row.iter_mut().for_each(|x| *x /= 4);
		row[usize::from(*label) * 8..usize::from(*label) * 8 + 8].fill(255);
	}
	let input = Input::Pair {
		features: file(dir, "features.idx", idx(&[rows, cols], &features)),
		labels: file(dir, "labels.idx", idx(&[rows], &labels)),
		test: None,
	};
	import(&input, Format::Idx, &options, &dir.join("dataset")).unwrap()
}
