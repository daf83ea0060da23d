use parking_lot::Mutex;
use rayon::prelude::*;

use crate::{product::Scratch, Kernel};

/// Runs units: a kernel and the threads it may use. Shared by any number of units at once.
pub struct Engine {
	pub(crate) kernel: Kernel,
	/// None for a single thread: the caller's.
	pool: Option<rayon::ThreadPool>,
	/// Memory of products that are done, for those to come.
	spare: Mutex<Vec<Scratch>>,
}

impl Engine {
	/// An engine with a kernel and a number of threads. One thread (or none) means the caller's own; so does a system that
	/// refuses to start more.
	pub fn new(kernel: Kernel, threads: usize) -> Self {
		let pool = (threads > 1).then(|| {
			let name = |i| format!("labora-engine-{i}");
			rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build()
		});
		Self { kernel, pool: pool.and_then(Result::ok), spare: Mutex::default() }
	}

	/// An engine with the fastest kernel that this CPU has.
	pub fn best(threads: usize) -> Self {
		Self::new(Kernel::best(), threads)
	}

	/// The kernel.
	pub fn kernel(&self) -> Kernel {
		self.kernel
	}

	/// Threads that one op is spread over.
	pub fn threads(&self) -> usize {
		self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
	}

	/// Lends memory for products: as much is kept as was ever in use at once.
	pub(crate) fn with_scratch<T>(&self, f: impl FnOnce(&mut Scratch) -> T) -> T {
		let mut scratch = self.spare.lock().pop().unwrap_or_default();
		let result = f(&mut scratch);
		self.spare.lock().push(scratch);
		result
	}

	/// Calls a function for every `size` elements of a slice, with their number.
	pub(crate) fn each_chunk<T: Send>(&self, data: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
		match &self.pool {
			None => data.chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk)),
			Some(pool) => pool.install(|| data.par_chunks_mut(size).enumerate().for_each(|(i, chunk)| f(i, chunk))),
		}
	}
}
