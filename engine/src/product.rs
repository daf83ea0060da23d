//! One product: packing, tiles, tickets and what becomes of a tile.
//!
//! A product is computed in *panels* of tile rows, and a panel in *sections* of tile columns. Between two sections whoever runs it
//! can change what tickets are drawn for: the operands are packed again with other noise, and the sections that are left go on. What
//! is computed stays.

use labora_graph::{Product, MAX_K};
use labora_pouw::{noise::Side, params::noise_rank, ticket::FoldState, Seed, TileIndex};
use labora_tensor::{I32Block, BLOCK, BLOCK_ELEMENTS, CHUNK_BYTES};
use parking_lot::Mutex;
use sp_core::U256;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
	kernel::{
		elementwise::{Scaling, Update},
		ticket::{Folded, Hasher, LANES},
	},
	noise::Noise,
	operand::Operand,
	pack::{PackJob, Step, StripLayout},
	Engine,
};

/// A product to compute.
#[derive(Clone, Copy)]
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

	/// Whether the useful product is wanted.
	const fn peels(&self) -> bool {
		!matches!(self, Self::Discard)
	}
}

/// Takes every ticket; false means that no more are wanted (the useful product is still computed).
pub(crate) type Take<'a> = dyn Fn(TileIndex, U256) -> bool + Sync + 'a;

/// Memory for packed operands, kept between products.
#[derive(Default)]
pub(crate) struct Scratch {
	right: Vec<Step>,
	/// Left strips of a panel, for each thread at work.
	panels: Mutex<Vec<Vec<Step>>>,
}

/// Bytes of packed left strips that one panel keeps in the second-level cache while right strips pass by.
const PANEL_BYTES: usize = 640 << 10;

/// Multiply-accumulates of a section: below a millisecond.
const SECTION_MACS: usize = 1 << 28;

/// Some tile rows of a product that are not computed yet.
struct Panel<'a> {
	/// The first tile row.
	row: usize,
	/// The output blocks of the panel's rows.
	out: &'a mut [u8],
	/// Tile columns that are computed.
	computed: usize,
}

/// A product on its way.
pub(crate) struct Work<'a> {
	job: Job<'a>,
	finish: Finish<'a>,
	panels: Vec<Panel<'a>>,
	/// Most multiply-accumulates of a section of more than one tile column.
	pub section_macs: usize,
}

impl Work<'_> {
	/// Whether the whole product is computed.
	pub fn is_done(&self) -> bool {
		self.panels.is_empty()
	}

	/// Tile columns.
	fn cols(&self) -> usize {
		self.job.product.n as usize / BLOCK
	}
}

/// Packed right strips, and what the left ones are packed with. Noised if there is a seed.
pub(crate) struct Packed<'s> {
	noise: Option<Noise>,
	hasher: Option<Hasher>,
	layout: StripLayout,
	right: &'s [Step],
	panels: &'s Mutex<Vec<Vec<Step>>>,
}

/// Who takes the tickets of a product.
pub(crate) struct Tickets<'a> {
	pub seed: Seed,
	pub take: &'a Take<'a>,
}

impl Engine {
	/// Computes a whole product. With tickets, on noised operands; the output is the same.
	pub(crate) fn product(
		&self,
		job: Job<'_>,
		finish: Finish<'_>,
		tickets: Option<&Tickets<'_>>,
		scratch: &mut Scratch,
		out: &mut [u8],
	) {
		let mut work = self.start(job, finish, out);
		let packed = self.pack(&work, tickets.map(|tickets| &tickets.seed), scratch);
		self.advance(&mut work, &packed, tickets.map(|tickets| tickets.take), &|| true);
	}

	/// A product of which nothing is computed yet.
	pub(crate) fn start<'a>(&self, job: Job<'a>, finish: Finish<'a>, out: &'a mut [u8]) -> Work<'a> {
		let Product { m, k, n } = job.product;
		debug_assert!(k <= MAX_K);
		let (rows, cols) = (m as usize / BLOCK, n as usize / BLOCK);
		let row_bytes = cols * finish.block_bytes();
		// Panels as noised ones: the noise may come later.
		let layout = StripLayout::new(k, self.kernel.per_step(), Some(noise_rank(k)), finish.peels());
		let panel_rows = self.panel_rows(rows, layout.steps());
		let panels = out[..rows * row_bytes].chunks_mut(panel_rows * row_bytes).enumerate();
		let panels = panels.map(|(number, out)| Panel { row: number * panel_rows, out, computed: 0 });
		Work { job, finish, panels: panels.collect(), section_macs: SECTION_MACS }
	}

	/// Packs the right operand of a product, and makes the noise of both.
	pub(crate) fn pack<'s>(&self, work: &Work<'_>, seed: Option<&Seed>, scratch: &'s mut Scratch) -> Packed<'s> {
		let Job { product, right: operand, .. } = work.job;
		let noise = seed.map(|seed| Noise::new(seed, &product));
		let rank = noise.as_ref().map(|noise| noise.rank as u32);
		let layout = StripLayout::new(product.k, self.kernel.per_step(), rank, work.finish.peels());
		let (steps, len) = (layout.steps(), layout.steps() * work.cols());
		let Scratch { right, panels } = scratch;
		if right.len() < len {
			right.resize(len, Step::ZERO);
		}
		self.each_chunk(&mut right[..len], steps, |strip, packed| {
			self.kernel.pack(&PackJob { side: Side::Right, operand, strip, noise: noise.as_ref() }, layout, packed);
		});
		Packed { noise, hasher: seed.map(Hasher::new), layout, right: &right[..len], panels }
	}

	/// Computes a product from packed operands, its tickets too if they are noised and somebody takes them. After every section
	/// `go_on` is asked; false leaves the rest for another call, which computes at least one section more.
	pub(crate) fn advance(
		&self,
		work: &mut Work<'_>,
		packed: &Packed<'_>,
		take: Option<&Take<'_>>,
		go_on: &(dyn Fn() -> bool + Sync),
	) {
		let cols = work.cols();
		let Work { job, finish, panels, section_macs } = work;
		let (wanted, stopped) = (AtomicBool::new(true), AtomicBool::new(false));
		self.each_chunk(panels, 1, |_, panels| {
			for panel in panels {
				let rows = panel.out.len() / (cols * finish.block_bytes());
				let section = *section_macs / (rows * BLOCK_ELEMENTS * job.product.k as usize);
				let draw = packed.hasher.as_ref().zip(take);
				let mut draw = draw.map(|(hasher, take)| Draw::new(self, hasher, take, &wanted));
				let mut left = Vec::new();
				while panel.computed < cols && !stopped.load(Ordering::Relaxed) {
					if left.is_empty() {
						left = self.pack_left(job.left, packed, panel.row, rows);
					}
					let to = cols.min(panel.computed + section.max(1));
					self.section(*finish, packed, &left, panel, to, &mut draw);
					panel.computed = to;
					if !go_on() {
						stopped.store(true, Ordering::Relaxed);
					}
				}
				packed.panels.lock().push(left);
			}
			self.kernel.release();
		});
		panels.retain(|panel| panel.computed < cols);
	}

	/// Packs the left strips of a panel.
	fn pack_left(&self, operand: Operand<'_>, packed: &Packed<'_>, row: usize, rows: usize) -> Vec<Step> {
		let steps = packed.layout.steps();
		let mut strips = packed.panels.lock().pop().unwrap_or_default();
		strips.resize(rows * steps, Step::ZERO);
		for (number, strip) in strips.chunks_exact_mut(steps).enumerate() {
			let job = PackJob { side: Side::Left, operand, strip: row + number, noise: packed.noise.as_ref() };
			self.kernel.pack(&job, packed.layout, strip);
		}
		strips
	}

	/// Computes a panel's tile columns up to `to`.
	fn section(
		&self,
		finish: Finish<'_>,
		packed: &Packed<'_>,
		left: &[Step],
		panel: &mut Panel<'_>,
		to: usize,
		draw: &mut Option<Draw<'_>>,
	) {
		let (layout, steps, block) = (packed.layout, packed.layout.steps(), finish.block_bytes());
		let cols = packed.right.len() / steps;
		let (mut tile, mut discarded): (I32Block, _) = ([0; BLOCK_ELEMENTS], None);
		for (col, right) in packed.right.chunks_exact(steps).enumerate().take(to).skip(panel.computed) {
			for (row, (left, out)) in left.chunks_exact(steps).zip(panel.out.chunks_exact_mut(cols * block)).enumerate()
			{
				let row = panel.row + row;
				if !finish.peels() && draw.as_ref().is_some_and(|draw| !draw.wanted()) {
					return;
				}
				let state = match draw {
					Some(draw) => draw.place(TileIndex { row: row as u32, col: col as u32 }),
					None => discarded.insert(FoldState::default()),
				};
				self.kernel.tile(layout, left, right, state, &mut tile);
				self.finish(finish, &tile, row, col, cols, &mut out[col * block..(col + 1) * block]);
			}
		}
		if let Some(draw) = draw {
			draw.flush();
		}
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

/// Draws the tickets of a panel, some tiles at a time.
struct Draw<'a> {
	engine: &'a Engine,
	hasher: &'a Hasher,
	take: &'a Take<'a>,
	/// Whether more tickets of the product are wanted.
	wanted: &'a AtomicBool,
	tiles: Vec<Folded>,
}

impl<'a> Draw<'a> {
	fn new(engine: &'a Engine, hasher: &'a Hasher, take: &'a Take<'a>, wanted: &'a AtomicBool) -> Self {
		Self { engine, hasher, take, wanted, tiles: Vec::with_capacity(LANES) }
	}

	fn wanted(&self) -> bool {
		self.wanted.load(Ordering::Relaxed)
	}

	/// Where a tile is folded to. Once enough tiles wait, their tickets are drawn before.
	fn place(&mut self, tile: TileIndex) -> &mut FoldState {
		if self.tiles.len() == LANES {
			self.flush();
		}
		let place = self.tiles.len();
		self.tiles.push((tile, FoldState::default()));
		&mut self.tiles[place].1
	}

	/// Draws the tickets of all that wait.
	fn flush(&mut self) {
		if self.wanted() && !self.tiles.is_empty() {
			let mut tickets = [U256::zero(); LANES];
			self.engine.kernel.tickets(self.hasher, &self.tiles, &mut tickets);
			for ((tile, _), ticket) in self.tiles.iter().zip(tickets) {
				if self.wanted() && !(self.take)(*tile, ticket) {
					self.wanted.store(false, Ordering::Relaxed);
				}
			}
		}
		self.tiles.clear();
	}
}
