//! Tensors that earlier jobs left, by commitment: units of one task share them.

use std::sync::Arc;

use labora_tensor::{Commitment, ElementType, Shape, Tensor};
use parking_lot::Mutex;

/// A tensor as a unit reads it.
pub type Key = (Commitment, Shape, ElementType);

/// Tensors in memory, the one used last at the end.
pub struct Cache {
	entries: Mutex<Vec<(Key, Arc<Tensor>)>>,
	capacity: usize,
}

impl Cache {
	/// About so many bytes of them.
	pub fn new(capacity: usize) -> Self {
		Self { entries: Mutex::default(), capacity }
	}

	/// Bytes that it may hold.
	pub fn capacity(&self) -> usize {
		self.capacity
	}

	/// A tensor, if it is here.
	pub fn get(&self, key: &Key) -> Option<Arc<Tensor>> {
		let mut entries = self.entries.lock();
		let index = entries.iter().position(|(other, _)| other == key)?;
		let entry = entries.remove(index);
		let tensor = entry.1.clone();
		entries.push(entry);
		Some(tensor)
	}

	/// Keeps a tensor, and lets go of those used the longest ago that are too much.
	pub fn insert(&self, key: Key, tensor: Arc<Tensor>) {
		let mut entries = self.entries.lock();
		entries.retain(|(other, _)| *other != key);
		entries.push((key, tensor));
		let mut size: usize = entries.iter().map(|(_, tensor)| tensor.bytes().len()).sum();
		while size > self.capacity && entries.len() > 1 {
			size -= entries.remove(0).1.bytes().len();
		}
	}
}
