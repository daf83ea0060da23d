use std::path::PathBuf;

/// Why data cannot be imported, or a dataset folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
	/// A file cannot be read or written.
	#[error("{}: {source}", .path.display())]
	Io {
		/// The file.
		path: PathBuf,
		/// What the system said.
		source: std::io::Error,
	},
	/// The extension names no format.
	#[error("{}: cannot tell the format from the name; give --format idx, npy, npz, csv or mnist-json", .path.display())]
	UnknownFormat {
		/// The file.
		path: PathBuf,
	},
	/// Options that a format needs are missing, or do not belong to it.
	#[error("{0}")]
	BadOptions(&'static str),
	/// The file is not what its format says.
	#[error("{}: not a {format} file: {reason}", .path.display())]
	WrongFormat {
		/// The file.
		path: PathBuf,
		/// What was expected.
		format: &'static str,
		/// What is wrong.
		reason: String,
	},
	/// The elements have a type that cannot be read.
	#[error("{}: element type {element} is not supported", .path.display())]
	UnsupportedType {
		/// The file.
		path: PathBuf,
		/// The type.
		element: String,
	},
	/// The file ends too early, or goes on after its end.
	#[error("{}: {expected} bytes expected, {found} found: the file is damaged", .path.display())]
	WrongLength {
		/// The file.
		path: PathBuf,
		/// Bytes that the header announces.
		expected: u64,
		/// Bytes that there are.
		found: u64,
	},
	/// An archive lacks an array.
	#[error("{}: no array `{key}`; it has {}", .path.display(), .found.join(", "))]
	MissingArray {
		/// The file.
		path: PathBuf,
		/// What was looked for.
		key: String,
		/// What there is.
		found: Vec<String>,
	},
	/// A table lacks the column of the labels.
	#[error("{}: no column `{column}`", .path.display())]
	MissingColumn {
		/// The file.
		path: PathBuf,
		/// What was looked for.
		column: String,
	},
	/// A cell is not a number.
	#[error("{}: row {row}, column {column}: `{cell}` is not a number", .path.display())]
	NotANumber {
		/// The file.
		path: PathBuf,
		/// Row, counted from 1, without the header.
		row: u64,
		/// Column, counted from 1.
		column: usize,
		/// What stands there.
		cell: String,
	},
	/// Rows of a table differ in length.
	#[error("{}: row {row} has {found} columns, the rows before have {expected}", .path.display())]
	RaggedRow {
		/// The file.
		path: PathBuf,
		/// Row, counted from 1.
		row: u64,
		/// Columns of the rows before.
		expected: usize,
		/// Columns of this one.
		found: usize,
	},
	/// A label is not a class.
	#[error("row {row}: label {label} is outside 0 to {}", .classes - 1)]
	LabelOutOfRange {
		/// Row, counted from 1.
		row: usize,
		/// The label.
		label: f64,
		/// Classes.
		classes: u32,
	},
	/// Features and labels have different numbers of rows.
	#[error("{features} rows of features, but {labels} labels")]
	RowCountMismatch {
		/// Rows of features.
		features: usize,
		/// Labels.
		labels: usize,
	},
	/// Training and test data have different numbers of columns.
	#[error("{train} columns of training features, but {test} of test features")]
	ColumnCountMismatch {
		/// Columns of the training features.
		train: usize,
		/// Columns of the test features.
		test: usize,
	},
	/// There is not one whole batch to train on.
	#[error("{rows} rows to train on are less than one batch of {batch}")]
	TooFewRows {
		/// Rows.
		rows: usize,
		/// Rows of a batch.
		batch: u32,
	},
	/// More rows are asked for than there are.
	#[error("{wanted} rows wanted, but there are {rows}")]
	TooManyWanted {
		/// Rows asked for.
		wanted: usize,
		/// Rows that there are.
		rows: usize,
	},
	/// A feature is not a finite number.
	#[error("row {row}, column {column}: {value} is not finite")]
	NotFinite {
		/// Row, counted from 1.
		row: usize,
		/// Column, counted from 1.
		column: usize,
		/// The value.
		value: f64,
	},
	/// The batch is zero or not a multiple of 32.
	#[error("a batch of {0} rows is not a multiple of 32")]
	BadBatch(u32),
	/// More classes than the chain's labels can name.
	#[error("{0} classes are not between 1 and 64")]
	BadClasses(u32),
	/// The tensor is larger than the chain allows.
	#[error("{rows} x {cols} is empty or above the chain's limits")]
	BadShape {
		/// Rows.
		rows: u64,
		/// Columns.
		cols: u64,
	},
	/// `dataset.json` is not what it should be.
	#[error("{}: {reason}", .path.display())]
	BadManifest {
		/// The file.
		path: PathBuf,
		/// What is wrong.
		reason: String,
	},
	/// The folder has no test data.
	#[error("the dataset has no test rows: import it with --test N")]
	NoTestRows,
	/// A tensor's bytes are not the ones committed to.
	#[error("{}: commitment {found}, but dataset.json says {expected}: the file was changed", .path.display())]
	WrongCommitment {
		/// The file.
		path: PathBuf,
		/// What the manifest says.
		expected: String,
		/// What the bytes say.
		found: String,
	},
}

impl DatasetError {
	/// Wraps an error of the system with the file it is about.
	pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
		let path = path.into();
		|source| Self::Io { path, source }
	}
}
