//! Every kernel against the consensus definitions.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod emulator;
mod products;
mod reference;
mod units;

use labora_tensor::{ElementType, Shape, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Engine, Kernel};

/// The kernels that this CPU has, and that for AMX in any case, emulated if need be. Says which are missing.
fn kernels() -> Vec<Kernel> {
	let kernels: Vec<_> = Kernel::all().into_iter().chain(Kernel::emulated()).collect();
	for name in Kernel::names().filter(|name| kernels.iter().all(|kernel| kernel.name() != *name)) {
		eprintln!("SKIPPED: this CPU does not have the kernel {name}");
	}
	kernels
}

/// Engines of some kernels, with one thread and with two.
fn engines(kernels: Vec<Kernel>) -> Vec<Engine> {
	kernels.into_iter().flat_map(|kernel| [1, 2].map(|threads| Engine::new(kernel, threads))).collect()
}

fn name(engine: &Engine) -> String {
	format!("{} with {} threads", engine.kernel().name(), engine.threads())
}

/// What a tensor of a test holds.
#[derive(Clone, Copy, Debug)]
enum Fill {
	/// One byte everywhere, padding too.
	All(i8),
	/// Any bytes, padding too, as a stranger may write them.
	Random(u64),
}

const FILLS: [Fill; 5] = [Fill::All(63), Fill::All(-63), Fill::All(-128), Fill::All(127), Fill::Random(1)];

fn bytes(len: usize, fill: Fill) -> Vec<u8> {
	match fill {
		Fill::All(x) => vec![x as u8; len],
		Fill::Random(seed) => {
			let mut bytes = vec![0; len];
			ChaCha8Rng::seed_from_u64(seed).fill(&mut bytes[..]);
			bytes
		}
	}
}

fn tensor(rows: u32, cols: u32, element: ElementType, fill: Fill) -> Tensor {
	let shape = Shape::new(rows, cols).unwrap();
	Tensor::from_bytes(shape, element, bytes(shape.bytes(element) as usize, fill)).unwrap()
}
