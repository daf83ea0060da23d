//! Merging: the mean of the parameter sets that a round's units yield.

use labora_graph::arithmetic::mean;
use labora_tensor::{Commitment, ElementType, Tensor};
use std::sync::Arc;

use crate::{Engine, EngineError, PlanError};

/// Bytes that one thread merges at a time: some pages.
const CHUNK: usize = 64 << 10;

impl Engine {
	/// The elementwise mean of parameter sets, with commitments. All sets must have the same tensors of `i32`.
	pub fn merge(&self, sets: &[Vec<Arc<Tensor>>]) -> Result<Vec<(Commitment, Arc<Tensor>)>, EngineError> {
		let count = u16::try_from(sets.len()).map_err(|_| PlanError::Sets)?;
		let (first, rest) = sets.split_first().ok_or(PlanError::Sets)?;
		let alike = |a: &Tensor, b: &Tensor| a.shape() == b.shape() && a.element() == b.element();
		let fits = first.iter().all(|tensor| tensor.element() == ElementType::I32)
			&& rest.iter().all(|set| set.len() == first.len() && set.iter().zip(first).all(|(a, b)| alike(a, b)));
		if !fits {
			return Err(PlanError::Sets.into());
		}
		let merged = first.iter().enumerate().map(|(index, tensor)| {
			let mut out = Tensor::zeros(tensor.shape(), ElementType::I32);
			self.each_chunk(out.bytes_mut(), CHUNK, |chunk, out| {
				let mut sums = vec![0i64; out.len() / 4];
				for set in sets {
					let bytes = &set[index].bytes()[chunk * CHUNK..];
					for (sum, bytes) in sums.iter_mut().zip(bytes.chunks_exact(4)) {
						*sum += i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
					}
				}
				for (out, sum) in out.chunks_exact_mut(4).zip(&sums) {
					out.copy_from_slice(&mean(*sum, count).to_le_bytes());
				}
			});
			(self.commit(out.bytes()), Arc::new(out))
		});
		Ok(merged.collect())
	}
}
