//! The folder of an imported dataset.

use std::{
	fs,
	path::{Path, PathBuf},
};

use labora_primitives::Dataset;
use labora_tensor::{Commitment, ElementType, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::{DatasetError, ImportOptions, Scale};
use crate::hexes::parse_commitment;

/// Name of the file that describes the others.
pub const MANIFEST: &str = "dataset.json";
/// Version of the folder's layout.
const FORMAT: &str = "labora-dataset-1";

/// What `dataset.json` says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
	/// Version of the layout.
	pub format: String,
	/// Names of the imported files.
	pub source: String,
	/// Seed of the shuffle.
	pub seed: u64,
	/// Rows that both splits are multiples of.
	pub batch: u32,
	/// Columns of the features.
	pub features: u32,
	/// Classes.
	pub classes: u32,
	/// How features became operands.
	pub scale: Scale,
	/// Rows to train on.
	pub train: Split,
	/// Rows to test on.
	pub test: Option<Split>,
}

/// Features and labels of some rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Split {
	/// Stored rows.
	pub rows: u32,
	/// Rows that are examples; what follows is padding.
	pub examples: u32,
	/// The features.
	pub features: StoredTensor,
	/// The labels.
	pub labels: StoredTensor,
}

/// A tensor in the folder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredTensor {
	/// Name of the file: raw tensor bytes in block order.
	pub file: String,
	/// Rows and columns.
	pub shape: [u32; 2],
	/// BLAKE3 of the file.
	pub commitment: String,
}

/// An imported dataset.
#[derive(Clone, PartialEq, Debug)]
pub struct Folder {
	/// Where it is.
	pub path: PathBuf,
	/// What it holds.
	pub manifest: Manifest,
}

type Tensors = ((Tensor, Tensor), usize);

pub(super) fn write(
	out: &Path,
	train: Tensors,
	test: Option<Tensors>,
	classes: u32,
	scale: Scale,
	source: String,
	options: &ImportOptions,
) -> Result<Folder, DatasetError> {
	fs::create_dir_all(out).map_err(DatasetError::io(out))?;
	let save = |tensor: Tensor, file: String| -> Result<StoredTensor, DatasetError> {
		let path = out.join(&file);
		fs::write(&path, tensor.bytes()).map_err(DatasetError::io(&path))?;
		let Shape { rows, cols } = tensor.shape();
		Ok(StoredTensor { file, shape: [rows, cols], commitment: tensor.commitment().to_string() })
	};
	let split = |((features, labels), examples): Tensors, name: &str| -> Result<Split, DatasetError> {
		Ok(Split {
			rows: features.shape().rows,
			examples: examples as u32,
			features: save(features, format!("{name}.features"))?,
			labels: save(labels, format!("{name}.labels"))?,
		})
	};
	let features = train.0 .0.shape().cols;
	let manifest = Manifest {
		format: FORMAT.into(),
		source,
		seed: options.seed,
		batch: options.batch,
		features,
		classes,
		scale,
		train: split(train, "train")?,
		test: test.map(|test| split(test, "test")).transpose()?,
	};
	let path = out.join(MANIFEST);
	let bad = |error: serde_json::Error| DatasetError::BadManifest { path: path.clone(), reason: error.to_string() };
	let mut json = serde_json::to_string_pretty(&manifest).map_err(bad)?;
	json.push('\n');
	fs::write(&path, json).map_err(DatasetError::io(&path))?;
	Ok(Folder { path: out.into(), manifest })
}

impl Folder {
	/// Opens a folder that [`super::import`] wrote.
	pub fn open(path: &Path) -> Result<Self, DatasetError> {
		let file = path.join(MANIFEST);
		let bad = |reason: String| DatasetError::BadManifest { path: file.clone(), reason };
		let json = fs::read(&file).map_err(DatasetError::io(&file))?;
		let manifest: Manifest = serde_json::from_slice(&json).map_err(|error| bad(error.to_string()))?;
		if manifest.format != FORMAT {
			return Err(bad(format!("its layout is `{}`, this program reads `{FORMAT}`", manifest.format)));
		}
		Ok(Self { path: path.into(), manifest })
	}

	/// The test rows.
	pub fn test(&self) -> Result<&Split, DatasetError> {
		self.manifest.test.as_ref().ok_or(DatasetError::NoTestRows)
	}

	/// Reads a tensor and checks it against its commitment.
	pub fn load(&self, stored: &StoredTensor) -> Result<Tensor, DatasetError> {
		let path = self.path.join(&stored.file);
		let [rows, cols] = stored.shape;
		let bad = |_| DatasetError::BadShape { rows: rows.into(), cols: cols.into() };
		let shape = Shape::new(rows, cols).map_err(bad)?;
		let bytes = fs::read(&path).map_err(DatasetError::io(&path))?;
		let (expected, found) = (shape.bytes(ElementType::I8), bytes.len() as u64);
		let length = |_| DatasetError::WrongLength { path: path.clone(), expected, found };
		let tensor = Tensor::from_bytes(shape, ElementType::I8, bytes).map_err(length)?;
		let found = tensor.commitment();
		if found != stored.commitment(&self.path)? {
			let expected = stored.commitment.clone();
			return Err(DatasetError::WrongCommitment { path, expected, found: found.to_string() });
		}
		Ok(tensor)
	}

	/// What a task says of its data.
	pub fn record(&self, split: &Split) -> Result<Dataset, DatasetError> {
		Ok(Dataset {
			features: split.features.commitment(&self.path)?,
			labels: Some(split.labels.commitment(&self.path)?),
			rows: split.rows,
			examples: split.examples,
		})
	}

	/// The split that a task's features are, if this folder holds it.
	pub fn split_of(&self, dataset: &Dataset) -> Option<&Split> {
		let features = dataset.features.to_string();
		let splits = [Some(&self.manifest.train), self.manifest.test.as_ref()];
		splits.into_iter().flatten().find(|split| split.features.commitment == features)
	}
}

impl StoredTensor {
	fn commitment(&self, folder: &Path) -> Result<Commitment, DatasetError> {
		parse_commitment(&self.commitment).map_err(|_| DatasetError::BadManifest {
			path: folder.join(MANIFEST),
			reason: format!("`{}` is not a commitment", self.commitment),
		})
	}
}
