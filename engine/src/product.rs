//! One product: packing, tiles, tickets and what becomes of a tile.

use labora_graph::{Product, MAX_K};
use labora_pouw::{
	noise::Side,
	ticket::{FoldState, TicketHasher},
	Seed, TileIndex,
};
use labora_tensor::{I32Block, BLOCK, BLOCK_ELEMENTS, CHUNK_BYTES};
use sp_core::U256;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
	kernel::elementwise::{Scaling, Update},
	noise::Noise,
	operand::Operand,
	pack::{PackJob, Step, StripLayout},
	Engine,
};

/// A product to compute.
pub(crate) struct Job<'a> {
	pub product: Product,
	pub left: Operand<'a>,
	pub right: Operand<'a>,
}

/// What becomes of a tile of the useful product.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
	/// A block of operands. The position in the scaling is set for each tile.
	Scale(Scaling),
	/// A block of master parameters after a step, from the one before.
	Update { update: Update, master: &'a [u8] },
	/// Nothing: the product of idle work is known.
	Discard,
}

impl Finish<'_> {
	/// Bytes of an output block. A discarded one still has a byte, as the output's parts are what threads share out.
	const fn block_bytes(&self) -> usize {
		match self {
			Self::Scale(_) => CHUNK_BYTES,
			Self::Update { .. } => 4 * CHUNK_BYTES,
			Self::Discard => 1,
		}
	}
}

/// Who takes the tickets of a product.
pub(crate) struct Tickets<'a> {
	pub seed: Seed,
	/// Takes every ticket; false means that no more are wanted (the useful product is still computed).
	pub take: &'a (dyn Fn(TileIndex, U256) -> bool + Sync),
}

/// Memory for packed operands, kept between products.
#[derive(Default)]
pub(crate) struct Scratch {
	left: Vec<Step>,
	right: Vec<Step>,
}

/// Bytes of packed left strips that one panel keeps in the second-level cache while right strips pass by.
const PANEL_BYTES: usize = 256 << 10;

impl Engine {
	/// Computes a product. With tickets, on noised operands; the output is the same.
	pub(crate) fn product(
		&self,
		job: &Job<'_>,
		finish: Finish<'_>,
		tickets: Option<&Tickets<'_>>,
		scratch: &mut Scratch,
		out: &mut [u8],
	) {
		let Product { m, k, n } = job.product;
		debug_assert!(k <= MAX_K);
		let noise = tickets.map(|tickets| Noise::new(&tickets.seed, &job.product));
		let peel = !matches!(finish, Finish::Discard);
		let rank = noise.as_ref().map(|noise| noise.rank as u32);
		let layout = StripLayout::new(k, self.kernel.per_step(), rank, peel);
		let (rows, cols) = (m as usize / BLOCK, n as usize / BLOCK);
		self.pack(Side::Left, job.left, rows, noise.as_ref(), layout, &mut scratch.left);
		self.pack(Side::Right, job.right, cols, noise.as_ref(), layout, &mut scratch.right);

		let hasher = tickets.map(|tickets| (TicketHasher::new(&tickets.seed), tickets.take));
		let wanted = AtomicBool::new(true);
		let steps = layout.steps();
		let (left, right) = (&scratch.left, &scratch.right);
		let block = finish.block_bytes();
		let panel_rows = self.panel_rows(rows, steps);
		self.each_chunk(&mut out[..rows * cols * block], panel_rows * cols * block, |panel, out| {
			let mut tile: I32Block = [0; BLOCK_ELEMENTS];
			for col in 0..cols {
				let right = &right[col * steps..(col + 1) * steps];
				for (i, out) in out.chunks_exact_mut(cols * block).enumerate() {
					if !peel && !wanted.load(Ordering::Relaxed) {
						return;
					}
					let row = panel * panel_rows + i;
					let left = &left[row * steps..(row + 1) * steps];
					let mut state = FoldState::default();
					self.kernel.tile(layout, left, right, &mut state, &mut tile);
					self.finish(finish, &tile, row, col, cols, &mut out[col * block..(col + 1) * block]);
					if let Some((hasher, take)) = &hasher {
						if wanted.load(Ordering::Relaxed) {
							let index = TileIndex { row: row as u32, col: col as u32 };
							if !take(index, hasher.ticket(index, &state.finish())) {
								wanted.store(false, Ordering::Relaxed);
							}
						}
					}
				}
			}
		});
	}

	/// Packs all strips of an operand.
	fn pack(
		&self,
		side: Side,
		operand: Operand<'_>,
		strips: usize,
		noise: Option<&Noise>,
		layout: StripLayout,
		packed: &mut Vec<Step>,
	) {
		let steps = layout.steps();
		if packed.len() < strips * steps {
			packed.resize(strips * steps, Step::ZERO);
		}
		self.each_chunk(&mut packed[..strips * steps], steps, |strip, packed| {
			self.kernel.pack(&PackJob { side, operand, strip, noise }, layout, packed);
		});
	}

	/// Tile rows of a panel: as many as fit the cache, few enough that every thread gets some.
	fn panel_rows(&self, rows: usize, steps: usize) -> usize {
		let fitting = PANEL_BYTES / (steps * core::mem::size_of::<Step>());
		let share = match self.threads() {
			1 => rows,
			threads => rows.div_ceil(threads * 2),
		};
		fitting.min(share).max(1)
	}

	fn finish(&self, finish: Finish<'_>, tile: &I32Block, row: usize, col: usize, cols: usize, out: &mut [u8]) {
		match finish {
			Finish::Scale(scaling) => {
				let (row, col) = ((row * BLOCK) as u32, (col * BLOCK) as u32);
				self.kernel.scale(&Scaling { row, col, ..scaling }, tile, out);
			}
			Finish::Update { update, master } => {
				let at = (row * cols + col) * 4 * CHUNK_BYTES;
				self.kernel.update(update, tile, &master[at..at + 4 * CHUNK_BYTES], out);
			}
			Finish::Discard => {}
		}
	}
}
