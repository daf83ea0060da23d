//! How features become operands: integers from 0 to 63.

use labora_tensor::OPERAND_MAX;
use serde::{Deserialize, Serialize};

use super::{DatasetError, Matrix, Values};

/// Largest operand.
const LEVELS: f64 = OPERAND_MAX as f64;
/// Added before rounding down, so that decimal fractions whose product with 63 ends in .5 round up although a float holds them
/// a little too low.
const HALF: f64 = 0.5 + 1e-9;

/// The rule that turns a feature into an operand from 0 to 63.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
	/// Bytes: `round(x * 63 / 255)`.
	Bytes,
	/// Numbers from 0 to 1: `round(x * 63)`.
	Unit,
	/// Any numbers: `round((x - min) * 63 / (max - min))`.
	MinMax {
		/// The smallest feature of the set.
		min: f64,
		/// The largest.
		max: f64,
	},
	/// Operands already.
	Levels,
}

impl Scale {
	/// The rule for these features: by their type, or by their range over the whole set.
	pub fn of(matrices: &[&Matrix]) -> Result<Self, DatasetError> {
		if matrices.iter().all(|matrix| matches!(matrix.values, Values::Bytes(_))) {
			return Ok(Self::Bytes);
		}
		let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
		for matrix in matrices {
			for index in 0..matrix.len() {
				let value = matrix.get(index);
				if !value.is_finite() {
					let (row, column) = (index / matrix.cols.max(1) + 1, index % matrix.cols.max(1) + 1);
					return Err(DatasetError::NotFinite { row, column, value });
				}
				min = min.min(value);
				max = max.max(value);
			}
		}
		Ok(if min >= 0.0 && max <= 1.0 { Self::Unit } else { Self::MinMax { min, max } })
	}

	/// The operand of a feature. What lies outside the rule's range is clamped.
	pub fn apply(&self, x: f64) -> i8 {
		let level = match *self {
			Self::Bytes => x * LEVELS / 255.0,
			Self::Unit => x * LEVELS,
			Self::MinMax { min, max } if max > min => (x - min) * LEVELS / (max - min),
			Self::MinMax { .. } => 0.0,
			Self::Levels => x,
		};
		(level + HALF).floor().clamp(0.0, LEVELS) as i8
	}

	/// The operands of a whole matrix.
	pub(crate) fn apply_all(&self, matrix: &Matrix) -> Vec<i8> {
		match &matrix.values {
			Values::Bytes(bytes) => {
				let table: Vec<i8> = (0..=u8::MAX).map(|byte| self.apply(f64::from(byte))).collect();
				bytes.iter().map(|byte| table[usize::from(*byte)]).collect()
			}
			Values::Floats(floats) => floats.iter().map(|x| self.apply(*x)).collect(),
		}
	}
}
