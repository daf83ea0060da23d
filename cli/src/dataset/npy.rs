//! NumPy's formats: one array (`.npy`) or an archive of named ones (`.npz`).

use std::{
	io::{self, Read},
	path::Path,
};

use npyz::{npz::NpzArchive, NpyFile, Order, TypeChar};

use super::{idx::read_maybe_gz, DatasetError, Matrix, Pair, Source, Values};

fn wrong(path: &Path, format: &'static str) -> impl Fn(io::Error) -> DatasetError {
	let path = path.to_path_buf();
	move |error| DatasetError::WrongFormat { path: path.clone(), format, reason: error.to_string() }
}

/// Reads a `.npy` file: the first dimension is rows, the product of the others columns.
pub(crate) fn read(path: &Path) -> Result<Matrix, DatasetError> {
	let bytes = read_maybe_gz(path)?;
	let file = NpyFile::new(&bytes[..]).map_err(wrong(path, "npy"))?;
	array(file, path, "npy")
}

/// Reads an array, whatever its element type.
fn array<R: Read>(file: NpyFile<R>, path: &Path, format: &'static str) -> Result<Matrix, DatasetError> {
	let error = wrong(path, format);
	let unsupported = |element: String| DatasetError::UnsupportedType { path: path.into(), element };
	let element = match file.dtype() {
		npyz::DType::Plain(element) => element,
		other => return Err(unsupported(other.descr())),
	};
	let shape = file.shape().to_vec();
	let (rows, cols) = match shape.split_first() {
		Some((rows, rest)) => (*rows, rest.iter().try_fold(1u64, |a, b| a.checked_mul(*b))),
		None => return Err(error(io::Error::other("a single number has no rows"))),
	};
	let cols = cols.filter(|cols| rows.checked_mul(*cols).is_some());
	let cols = cols.ok_or_else(|| error(io::Error::other("its dimensions overflow")))?;
	// The last axis must be the fastest for a row to be a row.
	if shape.len() > 1 && file.order() != Order::C {
		return Err(unsupported(format!("{element} in Fortran order")));
	}
	macro_rules! floats {
		($from:ty) => {
			Values::Floats(file.into_vec::<$from>().map_err(&error)?.into_iter().map(|x| x as f64).collect())
		};
	}
	let values = match (element.type_char(), element.size_field()) {
		(TypeChar::Uint, 1) => Values::Bytes(file.into_vec::<u8>().map_err(&error)?),
		(TypeChar::Bool, 1) => {
			Values::Floats(file.into_vec::<bool>().map_err(&error)?.into_iter().map(f64::from).collect())
		}
		(TypeChar::Uint, 2) => floats!(u16),
		(TypeChar::Uint, 4) => floats!(u32),
		(TypeChar::Uint, 8) => floats!(u64),
		(TypeChar::Int, 1) => floats!(i8),
		(TypeChar::Int, 2) => floats!(i16),
		(TypeChar::Int, 4) => floats!(i32),
		(TypeChar::Int, 8) => floats!(i64),
		(TypeChar::Float, 4) => floats!(f32),
		(TypeChar::Float, 8) => floats!(f64),
		_ => return Err(unsupported(element.to_string())),
	};
	Ok(Matrix { rows: rows as usize, cols: cols as usize, values })
}

/// Reads an archive: the arrays of those names, or `x` and `y`, or (as Keras stores MNIST) `x_train`, `y_train`, `x_test`, `y_test`.
pub(crate) fn read_archive(path: &Path, features: Option<&str>, labels: Option<&str>) -> Result<Source, DatasetError> {
	let file = std::fs::File::open(path).map_err(DatasetError::io(path))?;
	let mut archive = NpzArchive::new(io::BufReader::new(file)).map_err(wrong(path, "npz"))?;
	let names: Vec<String> = archive.array_names().map(Into::into).collect();
	let split = features.is_none() && labels.is_none() && !names.iter().any(|name| name == "x");
	let mut read = |key: &str| -> Result<Matrix, DatasetError> {
		match archive.by_name(key).map_err(wrong(path, "npz"))? {
			Some(file) => array(file, path, "npz"),
			None => Err(DatasetError::MissingArray { path: path.into(), key: key.into(), found: names.clone() }),
		}
	};
	if split && names.iter().any(|name| name == "x_train") {
		let train = Pair { features: read("x_train")?, labels: read("y_train")? };
		let test = Pair { features: read("x_test")?, labels: read("y_test")? };
		return Ok(Source { train, test: Some(test) });
	}
	let features = read(features.unwrap_or("x"))?;
	let labels = read(labels.unwrap_or("y"))?;
	Ok(Source { train: Pair { features, labels }, test: None })
}
