//! The tensors that a unit needs, from the store; what is missing there is asked of the peers.

use std::{io, sync::Arc};

use labora_engine::UnitPlan;
use labora_graph::Program;
use labora_primitives::{UnitKind, UnitRef};
use labora_tensor::{Commitment, ElementType, I32Tensor, Shape, Tensor};
use parking_lot::Mutex;

use super::{unit::Origin, LOG_TARGET};
use crate::{
	exchange::{Fetcher, Wanted},
	tensor_store::TensorStore,
};

/// What the engine is given.
pub enum Inputs {
	/// Steps of the graph.
	Steps(UnitPlan),
	/// The parameter sets to be averaged.
	Merge(Vec<Vec<Arc<Tensor>>>),
}

/// Why a unit's inputs are not complete.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
	/// Tensors are not in the store. They are being looked for.
	#[error("{} tensors are missing", .0.len())]
	Missing(Vec<Commitment>),
	/// A tensor is here, and is not of the shape that the task says.
	#[error("tensor {0} has not the size that the task says")]
	WrongSize(Commitment),
	/// The store cannot be read.
	#[error("the tensor store cannot be read: {0}")]
	Io(#[from] io::Error),
}

/// A tensor as a unit reads it.
type Key = (Commitment, Shape, ElementType);

/// Tensors in memory, the one used last at the end. Units of one task share them.
struct Cache {
	entries: Vec<(Key, Arc<Tensor>)>,
	capacity: usize,
}

impl Cache {
	fn get(&mut self, key: &Key) -> Option<Arc<Tensor>> {
		let index = self.entries.iter().position(|(other, _)| other == key)?;
		let entry = self.entries.remove(index);
		let tensor = entry.1.clone();
		self.entries.push(entry);
		Some(tensor)
	}

	/// Keeps a tensor, and lets go of those used the longest ago that are too much.
	fn insert(&mut self, key: Key, tensor: Arc<Tensor>) {
		self.entries.retain(|(other, _)| *other != key);
		self.entries.push((key, tensor));
		let mut size: usize = self.entries.iter().map(|(_, tensor)| tensor.bytes().len()).sum();
		while size > self.capacity && self.entries.len() > 1 {
			size -= self.entries.remove(0).1.bytes().len();
		}
	}
}

/// The store, and the tensors read last in memory.
pub struct Tensors {
	store: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
	/// Held while a tensor is read: two lanes that start units of one task read it once.
	cache: Mutex<Cache>,
}

impl Tensors {
	/// Tensors of a store, and of peers; about `capacity` bytes of them stay in memory.
	pub fn new(store: Arc<TensorStore>, fetcher: Arc<Fetcher>, capacity: usize) -> Self {
		Self { store, fetcher, cache: Mutex::new(Cache { entries: Vec::new(), capacity }) }
	}

	/// Keeps what a unit yields: on disk for others and later runs, in memory for the next unit.
	pub fn keep(&self, tensors: &[(Commitment, Arc<Tensor>)]) -> io::Result<()> {
		for (commitment, tensor) in tensors {
			self.store.put(tensor.bytes())?;
			self.cache.lock().insert((*commitment, tensor.shape(), tensor.element()), tensor.clone());
		}
		Ok(())
	}

	/// A tensor, if it is here.
	fn load(&self, key: &Key) -> Result<Option<Arc<Tensor>>, InputError> {
		let mut cache = self.cache.lock();
		if let Some(tensor) = cache.get(key) {
			return Ok(Some(tensor));
		}
		let (commitment, shape, element) = *key;
		let Some(bytes) = self.store.get(&commitment)? else { return Ok(None) };
		let tensor = Tensor::from_bytes(shape, element, bytes).map_err(|_| InputError::WrongSize(commitment))?;
		let tensor = Arc::new(tensor);
		cache.insert(*key, tensor.clone());
		Ok(Some(tensor))
	}

	/// All of a unit's inputs. Names everything that is missing, and has it fetched.
	pub fn inputs(&self, origin: &Origin, program: &Arc<Program>) -> Result<Inputs, InputError> {
		self.draw_missing(origin)?;
		let mut needs = Needs { tensors: self, missing: Vec::new() };
		let parameters = origin.parameters.iter().zip(origin.makers());
		let parameters = parameters.map(|(set, maker)| needs.parameters(origin, set, maker));
		let mut parameters = parameters.collect::<Result<Vec<_>, _>>()?;
		let UnitRef { round, kind, .. } = origin.unit;
		let UnitKind::Steps(unit) = kind else {
			return needs.complete(Inputs::Merge(parameters));
		};
		let spec = &origin.spec;
		let dataset = &spec.dataset;
		let features = needs.load((dataset.features, spec.features_shape(), ElementType::I8), None)?;
		let labels = dataset
			.labels
			.map(|labels| needs.load((labels, spec.labels_shape(), ElementType::I8), None))
			.transpose()?;
		needs.complete(Inputs::Steps(UnitPlan {
			program: program.clone(),
			context: spec.context(round, unit),
			features,
			features_commitment: dataset.features,
			labels,
			labels_commitment: dataset.labels,
			parameters: parameters.pop().unwrap_or_default(),
			batches: (0..spec.job.steps()).map(|step| spec.batch(round, unit, step)).collect(),
		}))
	}

	/// Draws initial parameters that are missing and that the sponsor drew by a recipe.
	fn draw_missing(&self, origin: &Origin) -> Result<(), InputError> {
		let Some(recipe) = &origin.spec.recipe else { return Ok(()) };
		if origin.unit.round > 0 || origin.unit.kind == UnitKind::Merge {
			return Ok(());
		}
		let shapes = &origin.spec.graph.parameters;
		for ((commitment, shape), index) in origin.spec.parameters.iter().zip(shapes).zip(0u8..) {
			if self.store.size(commitment)?.is_some() {
				continue;
			}
			let drawn = I32Tensor::pack(*shape, &recipe.draw(index, *shape));
			match drawn {
				Ok(drawn) if drawn.commitment() == *commitment => {
					self.store.put(drawn.bytes())?;
				}
				// Then only the sponsor has the parameters: they are missing like any tensor.
				_ => {
					log::debug!(target: LOG_TARGET, "Parameter {index} of task {} is not what its recipe gives", origin.unit.task)
				}
			}
		}
		Ok(())
	}
}

/// Loads tensors and notes those that are missing.
struct Needs<'a> {
	tensors: &'a Tensors,
	missing: Vec<Wanted>,
}

impl Needs<'_> {
	/// A tensor, which a unit may have made; a small stand-in if it is missing.
	fn load(&mut self, key: Key, made_by: Option<UnitRef>) -> Result<Arc<Tensor>, InputError> {
		Ok(self.tensors.load(&key)?.unwrap_or_else(|| {
			let (commitment, shape, element) = key;
			let wanted = Wanted { commitment, bytes: shape.bytes(element), made_by };
			if !self.missing.contains(&wanted) {
				self.missing.push(wanted);
			}
			Arc::new(Tensor::zeros(Shape { rows: 1, cols: 1 }, element))
		}))
	}

	/// A set of parameters.
	fn parameters(
		&mut self,
		origin: &Origin,
		set: &[Commitment],
		made_by: Option<UnitRef>,
	) -> Result<Vec<Arc<Tensor>>, InputError> {
		let set = set.iter().zip(&origin.spec.graph.parameters);
		set.map(|(commitment, shape)| self.load((*commitment, *shape, ElementType::I32), made_by)).collect()
	}

	/// The inputs, if nothing is missing.
	fn complete(self, inputs: Inputs) -> Result<Inputs, InputError> {
		if self.missing.is_empty() {
			Ok(inputs)
		} else {
			self.tensors.fetcher.want(&self.missing);
			Err(InputError::Missing(self.missing.into_iter().map(|wanted| wanted.commitment).collect()))
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	fn tensor(seed: u8) -> (Key, Arc<Tensor>) {
		let shape = Shape { rows: 32, cols: 32 };
		let tensor = Tensor::from_bytes(shape, ElementType::I8, vec![seed; 1_024]).unwrap();
		((tensor.commitment(), shape, ElementType::I8), Arc::new(tensor))
	}

	#[test]
	fn the_cache_keeps_what_was_used_last() {
		let mut cache = Cache { entries: Vec::new(), capacity: 2 * 1_024 };
		let tensors: Vec<_> = (0..3).map(tensor).collect();
		cache.insert(tensors[0].0, tensors[0].1.clone());
		cache.insert(tensors[1].0, tensors[1].1.clone());
		assert!(cache.get(&tensors[0].0).is_some());
		cache.insert(tensors[2].0, tensors[2].1.clone());
		assert!(cache.get(&tensors[1].0).is_none());
		assert!(cache.get(&tensors[0].0).is_some() && cache.get(&tensors[2].0).is_some());
	}

	#[test]
	fn one_tensor_is_kept_even_if_it_is_too_large() {
		let mut cache = Cache { entries: Vec::new(), capacity: 0 };
		let (key, value) = tensor(1);
		cache.insert(key, value);
		assert!(cache.get(&key).is_some());
	}
}
