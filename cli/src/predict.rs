//! The class of one image or row, by the consensus definition.

use std::path::Path;

use image::imageops::FilterType;

use crate::{
	dataset::{read_row, DatasetError, Scale},
	model_file::Model,
	models::{classify, InferenceError},
};

/// Why there is no prediction.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
	/// The row cannot be read.
	#[error(transparent)]
	Row(#[from] DatasetError),
	/// The image cannot be read.
	#[error("{path}: {reason}")]
	Image {
		/// The file.
		path: String,
		/// What is wrong.
		reason: String,
	},
	/// The model takes no square images.
	#[error("the model takes {0} features, which is no square image: give a row of numbers (.csv)")]
	NoSquare(u32),
	/// The row does not fit the model.
	#[error(transparent)]
	Inference(#[from] InferenceError),
}

/// A prediction.
#[derive(Clone, PartialEq, Debug)]
pub struct Prediction {
	/// The class.
	pub class: u8,
	/// The logits.
	pub logits: Vec<i8>,
	/// How the features became operands.
	pub scale: Scale,
}

impl Prediction {
	/// Probabilities of the classes: a logit counts eighths of an octave.
	pub fn probabilities(&self) -> Vec<f64> {
		let largest = self.logits.iter().max().copied().unwrap_or(0);
		let weights: Vec<f64> =
			self.logits.iter().map(|logit| 2f64.powf((f64::from(*logit) - f64::from(largest)) / 8.0)).collect();
		let sum: f64 = weights.iter().sum();
		weights.into_iter().map(|weight| weight / sum).collect()
	}
}

/// Classifies a file: an image (scaled to the model's square, as shades of grey; `invert` for dark strokes on a light ground), or a row
/// of numbers. `scale` says how numbers become operands; without it, the model's own rule holds, or else the row's range tells.
pub fn predict(model: &Model, path: &Path, scale: Option<Scale>, invert: bool) -> Result<Prediction, PredictError> {
	let name = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
	let (numbers, scale) = if ["csv", "txt"].contains(&name.as_str()) {
		let row = read_row(path)?;
		let scale = scale.or(model.scale).unwrap_or_else(|| guess(&row));
		(row, scale)
	} else {
		// Pixels are bytes, whatever type the training features had.
		(pixels(path, model.graph.features, invert)?, Scale::Bytes)
	};
	let row = numbers.into_iter().map(|x| scale.apply(x)).collect();
	let mut classes = classify(&model.graph, &model.parameters, &[row])?;
	let (class, logits) = classes.remove(0);
	Ok(Prediction { class, logits, scale })
}

/// The rule that a row's range suggests.
fn guess(row: &[f64]) -> Scale {
	let largest = row.iter().copied().fold(0.0, f64::max);
	if largest <= 1.0 {
		Scale::Unit
	} else {
		Scale::Bytes
	}
}

fn pixels(path: &Path, features: u32, invert: bool) -> Result<Vec<f64>, PredictError> {
	let side = f64::from(features).sqrt().round() as u32;
	if side * side != features {
		return Err(PredictError::NoSquare(features));
	}
	let error = |reason: String| PredictError::Image { path: path.display().to_string(), reason };
	let image = image::open(path).map_err(|problem| error(problem.to_string()))?;
	let mut image = image.to_luma8();
	if image.dimensions() != (side, side) {
		image = image::imageops::resize(&image, side, side, FilterType::Triangle);
	}
	let shade = |byte: u8| f64::from(if invert { u8::MAX - byte } else { byte });
	Ok(image.into_raw().into_iter().map(shade).collect())
}
