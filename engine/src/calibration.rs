//! A product for measuring an engine: what a node reports as its speed, and what the benchmarks time.

use labora_graph::{Activation, Product, Rounding};
use labora_pouw::Seed;
use labora_tensor::CHUNK_BYTES;
#[cfg(target_arch = "x86_64")]
use std::time::{Duration, Instant};

use crate::{
	kernel::elementwise::Scaling,
	operand::Operand,
	product::{Finish, Job, Scratch, Tickets},
	Engine,
};

/// A cubic product with arbitrary operands and the memory that it needs.
pub struct Calibration {
	size: u32,
	left: Vec<u8>,
	right: Vec<u8>,
	out: Vec<u8>,
	scratch: Scratch,
}

impl Calibration {
	/// A product of two square matrices with `blocks * 32` rows (at least one block).
	pub fn new(blocks: u16) -> Self {
		let fill = |factor: usize| move |i: usize| (i.wrapping_mul(factor) >> 7) as i8;
		Self::with_operands(blocks, fill(0x9E37_79B1), fill(0x85EB_CA6B))
	}

	/// A product of two matrices whose stored bytes are those of functions of their position.
	pub fn with_operands(blocks: u16, left: impl Fn(usize) -> i8, right: impl Fn(usize) -> i8) -> Self {
		let blocks = usize::from(blocks.max(1));
		let bytes = blocks * blocks * CHUNK_BYTES;
		Self {
			size: blocks as u32 * 32,
			left: (0..bytes).map(|i| left(i) as u8).collect(),
			right: (0..bytes).map(|i| right(i) as u8).collect(),
			out: vec![0; bytes],
			scratch: Scratch::default(),
		}
	}

	/// Multiply-accumulates of the product.
	pub fn macs(&self) -> u64 {
		u64::from(self.size).pow(3)
	}

	/// Computes the product once: plainly, or on noised operands with all tickets drawn.
	pub fn run(&mut self, engine: &Engine, mined: bool) {
		let product = Product { m: self.size, k: self.size, n: self.size };
		let block_cols = self.size as usize / 32;
		let operand = |bytes| Operand { bytes, block_cols, transposed: false };
		let job = Job { product, left: operand(&self.left), right: operand(&self.right) };
		let scaling =
			Scaling { shift: 10, rounding: Rounding::Nearest, activation: Activation::Relu, key: 0, row: 0, col: 0 };
		let take = |_, ticket: sp_core::U256| !ticket.is_zero();
		let tickets = mined.then_some(Tickets { seed: Seed([1; 32]), take: &take });
		engine.product(job, Finish::Scale(scaling), tickets.as_ref(), &mut self.scratch, &mut self.out);
	}

	/// Of two kernels, the one that computes the mined product faster: by the least time of three, in turns on this thread, after one
	/// to warm up. The second if it takes no longer.
	#[cfg(target_arch = "x86_64")]
	pub(crate) fn faster(&mut self, kernels: [crate::Kernel; 2]) -> crate::Kernel {
		let engines = kernels.map(|kernel| Engine::new(kernel, 1));
		let mut least = [Duration::MAX; 2];
		for turn in 0..4 {
			for (engine, least) in engines.iter().zip(&mut least) {
				let start = Instant::now();
				self.run(engine, true);
				if turn > 0 {
					*least = start.elapsed().min(*least);
				}
			}
		}
		kernels[usize::from(least[1] <= least[0])]
	}
}
