//! IDX, the format of the original MNIST files: a magic number, dimensions (big endian), bytes. Also compressed.

use std::{io::Read, path::Path};

use super::{DatasetError, Matrix, Values};

/// Third byte of the magic number: elements are unsigned bytes.
const UNSIGNED_BYTE: u8 = 0x08;

/// Reads a file, decompressing it where it is gzip: told by its first bytes, as downloads are often renamed.
pub(crate) fn read_maybe_gz(path: &Path) -> Result<Vec<u8>, DatasetError> {
	let bytes = std::fs::read(path).map_err(DatasetError::io(path))?;
	if !bytes.starts_with(&[0x1f, 0x8b]) {
		return Ok(bytes);
	}
	let mut plain = Vec::new();
	flate2::read::MultiGzDecoder::new(&bytes[..])
		.read_to_end(&mut plain)
		.map_err(|error| DatasetError::WrongFormat { path: path.into(), format: "gzip", reason: error.to_string() })?;
	Ok(plain)
}

/// Reads an IDX file: the first dimension is rows, the product of the others columns.
pub(crate) fn read(path: &Path) -> Result<Matrix, DatasetError> {
	let bytes = read_maybe_gz(path)?;
	let wrong = |reason: String| DatasetError::WrongFormat { path: path.into(), format: "IDX", reason };
	let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
		return Err(wrong("shorter than its magic number".into()));
	};
	let [0, 0, element, dimensions @ 1..=8] = *magic else {
		return Err(wrong(format!("its magic number is {}", hex::encode(magic))));
	};
	if element != UNSIGNED_BYTE {
		return Err(DatasetError::UnsupportedType { path: path.into(), element: format!("0x{element:02x}") });
	}
	let Some((sizes, data)) = rest.split_at_checked(4 * usize::from(dimensions)) else {
		return Err(wrong("shorter than its header".into()));
	};
	let mut sizes =
		sizes.chunks_exact(4).map(|size| u64::from(u32::from_be_bytes([size[0], size[1], size[2], size[3]])));
	let rows = sizes.next().unwrap_or(0);
	let cols = sizes.try_fold(1u64, u64::checked_mul).ok_or_else(|| wrong("its dimensions overflow".into()))?;
	let expected = rows.checked_mul(cols).ok_or_else(|| wrong("its dimensions overflow".into()))?;
	if data.len() as u64 != expected {
		return Err(DatasetError::WrongLength { path: path.into(), expected, found: data.len() as u64 });
	}
	Ok(Matrix { rows: rows as usize, cols: cols as usize, values: Values::Bytes(data.to_vec()) })
}
