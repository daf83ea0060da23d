use labora_graph::MAX_PARAMETERS;
use labora_primitives::Recipe;

use super::{widths, ModelError};

/// Right shift that turns a master parameter into an operand.
const QUANTIZE: u8 = 16;
/// Learning rate as a left shift. The sum of a batch's gradients is applied, not their mean, so it fits any batch.
const RATE: i8 = 2;
/// `range * sqrt(inputs) / 2^shift` of a layer with ReLU: it keeps the spread of the activations from layer to layer.
const HIDDEN_GAIN: f64 = 0.88;
/// The same for the logits, which must spread more for the softmax to tell classes apart.
const LOGIT_GAIN: f64 = 1.77;
/// Smallest range of a layer with ReLU: below it, weights are too coarse.
const HIDDEN_RANGE: f64 = 10.0;
/// Smallest range of the logits' weights.
const LOGIT_RANGE: f64 = 16.0;
/// `sqrt(outputs) * range / 2^shift` of the gradient that comes from the logits.
const LOGIT_BACK: f64 = 1.98;
/// The same of the gradients further back: most of a hidden layer's gradients are small.
const HIDDEN_BACK: f64 = 3.54;

/// The numbers that make integer training of a perceptron work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MlpRecipe {
	/// Largest initial weight of each layer, as an operand.
	pub ranges: Vec<u16>,
	/// Right shift of each layer's product.
	pub forward: Vec<u8>,
	/// Right shift of each gradient on its way back: first from the logits to the last hidden layer.
	pub backward: Vec<u8>,
	/// Learning rate, a left shift.
	pub rate: i8,
	/// Right shift from a master parameter to an operand.
	pub quantize: u8,
}

impl MlpRecipe {
	/// A recipe for a perceptron with hidden layers of these widths.
	///
	/// Fitted to 784-512-512-10 on MNIST (ranges 16, 10, 20, forward shifts 9, 8, 8, backward shifts 5, 6; 96.5 % in six rounds of
	/// four units of 128 steps) and carried over to other widths by what sums of independent terms do: an output grows with the root
	/// of the number of inputs and with the weights' range. So each layer keeps `range * sqrt(inputs) / 2^shift` as it was, with the
	/// smallest shift that leaves weights of a usable range; and each gradient keeps `range * sqrt(outputs) / 2^shift`.
	pub fn for_widths(features: u32, layers: &[u32], classes: u32) -> Self {
		let widths = widths(features, layers, classes);
		let count = widths.len() - 1;
		let (mut ranges, mut forward) = (Vec::new(), Vec::new());
		for (layer, inputs) in widths.iter().take(count).enumerate() {
			let (gain, least) =
				if layer + 1 == count { (LOGIT_GAIN, LOGIT_RANGE) } else { (HIDDEN_GAIN, HIDDEN_RANGE) };
			let range = |shift: u8| (gain * f64::from(1u32 << shift) / f64::from((*inputs).max(1)).sqrt()).round();
			let shift = (0..=20).find(|shift| range(*shift) >= least).unwrap_or(20);
			forward.push(shift);
			ranges.push(range(shift).clamp(1.0, f64::from(labora_tensor::OPERAND_MAX)) as u16);
		}
		let backward = (1..count).rev().map(|layer| {
			let back = if layer + 1 == count { LOGIT_BACK } else { HIDDEN_BACK };
			let spread = f64::from(widths[layer + 1]).sqrt() * f64::from(ranges[layer]);
			(spread / back).log2().round().clamp(0.0, 24.0) as u8
		});
		let backward = backward.collect();
		Self { ranges, forward, backward, rate: RATE, quantize: QUANTIZE }
	}

	/// Checks that there are the right numbers for so many layers.
	pub(super) fn check(&self, layers: usize) -> Result<(), ModelError> {
		if layers > MAX_PARAMETERS as usize {
			return Err(ModelError::TooManyLayers(layers));
		}
		for (what, expected, found) in [
			("ranges", layers, self.ranges.len()),
			("forward shifts", layers, self.forward.len()),
			("backward shifts", layers - 1, self.backward.len()),
		] {
			if expected != found {
				return Err(ModelError::RecipeLength { what, expected, found });
			}
		}
		match self.ranges.iter().find(|range| !(1..=Recipe::MAX_RANGE).contains(range)) {
			Some(range) => Err(ModelError::BadRange(*range)),
			None => Ok(()),
		}
	}

	/// What a task says of how its parameters were drawn.
	pub fn with_seed(&self, seed: [u8; 32]) -> Result<Recipe, ModelError> {
		self.check(self.ranges.len())?;
		let ranges = self.ranges.clone().try_into().map_err(|_| ModelError::TooManyLayers(self.ranges.len()))?;
		Ok(Recipe { seed, ranges })
	}
}
