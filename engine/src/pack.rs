//! Packing: from stored blocks to what a tile kernel reads, with the noise added on the way.
//!
//! A *line* is a row of the left operand or a column of the right one; a *strip* is 32 lines over all inner indices. A packed
//! strip is a list of [`Step`]s, each holding one 32-bit word per line:
//!
//! 1. *main* steps: a word is four consecutive inner indices as bytes, or two as 16-bit integers ([`StripLayout::per_step`]).
//!    The left operand is biased by 128 (`U = A' + 128`).
//! 2. *wide* steps, if noised: the factors of the noise's product, as pairs of 16-bit integers. Depth `2r`: the left strip
//!    holds `A' * FL | -EL`, the right one `-FR | ER * B`, so that adding their product peels the noise off.
//! 3. one step of sums: 128 times the sum of each line of `B'`, which undoes the bias.
//!
//! The sparse factors hold +1 at `p[t]` and -1 at `p[t + 1]` for inner index `t` of a chunk. So adding noise is the difference
//! of two rows of the dense factor, and the product with a sparse factor adds `x[t] - x[t - 1]` to row `p[t]`, both for 32
//! lines at once: blocks are turned so that a row holds 32 lines.

use labora_pouw::noise::Side;
use labora_tensor::{operand, BLOCK, CHUNK_BYTES};

use crate::{kernel::Bytes, noise::Noise, operand::Operand};

/// One word of each of 32 lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Step(pub [u32; BLOCK]);

impl Step {
	pub const ZERO: Self = Self([0; BLOCK]);
}

/// What a packed strip consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StripLayout {
	/// Main steps.
	pub main: usize,
	/// Main steps between two folds; 0 if nothing is folded.
	pub fold: usize,
	/// Wide steps: 0 if there is no noise to peel off.
	pub wide: usize,
	/// Inner indices in one main step.
	pub per_step: usize,
}

impl StripLayout {
	/// Layout for inner dimension `k`, noised if a rank is given, peeled if the useful product is wanted.
	pub fn new(k: u32, per_step: usize, rank: Option<u32>, peel: bool) -> Self {
		let rank = rank.map_or(0, |rank| rank as usize);
		Self { main: k as usize / per_step, fold: rank / per_step, wide: if peel { rank } else { 0 }, per_step }
	}

	/// Steps of a strip.
	pub fn steps(&self) -> usize {
		self.main + self.wide + 1
	}

	/// Where the wide steps and the step of sums start.
	pub fn sums(&self) -> usize {
		self.main + self.wide
	}
}

/// One strip to pack.
pub(crate) struct PackJob<'a> {
	pub side: Side,
	pub operand: Operand<'a>,
	/// Number of the strip: tile row or tile column.
	pub strip: usize,
	pub noise: Option<&'a Noise>,
}

/// Rows of 32 lines that an inner index can be at.
pub(crate) type Rows<T, const R: usize> = [[T; BLOCK]; R];

/// The rows of a sparse factor that 32 inner indices load: inner index `t` +1 at `row(t)`, -1 at `row(t + 1)`.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a, const R: usize> {
	/// Where the 32 edges start.
	starts: &'a [u8; BLOCK],
	/// Where the last one ends.
	end: u8,
}

impl<'a, const R: usize> Path<'a, R> {
	/// The path of 32 inner indices, a part of a chunk's cycle. None without noise.
	#[inline(always)]
	fn new(permutations: &'a [u8], from: usize) -> Option<Self> {
		let starts = permutations.get(from..)?.first_chunk()?;
		// The cycle goes on in the same chunk, or back to the chunk's start.
		let next = from + BLOCK;
		let end = if next.checked_rem(R)? == 0 { next - R } else { next };
		Some(Self { starts, end: *permutations.get(end)? })
	}

	/// The row where edge `t` starts, for `t` up to 32: the end of the last.
	#[inline(always)]
	pub fn row(&self, t: usize) -> usize {
		let row = self.starts.get(t).copied().unwrap_or(self.end);
		// Always below the rank; saying so spares the check of the index.
		usize::from(row).checked_rem(R).unwrap_or(0)
	}
}

/// The two paths of a block.
#[derive(Clone, Copy)]
pub(crate) struct Paths<'a, const R: usize> {
	/// Of the side's own noise.
	pub own: Path<'a, R>,
	/// Of the other side's, which this side is gathered along.
	pub other: Path<'a, R>,
}

/// What packing a strip reads and sums up; `R` is the rank, 0 without noise.
pub(crate) struct Work<const R: usize> {
	/// The strip's dense factor: row `s` holds entry `s` of its 32 lines.
	pub dense: Rows<i8, R>,
	/// The strip times the other side's sparse factor: `A' * FL` or `ER * B`.
	pub gathered: Rows<i16, R>,
}

/// The parts of packing that kernels do in their own way.
pub(crate) trait Packer {
	/// Fetches a block that is packed soon into the cache, if the kernel can.
	#[inline(always)]
	fn fetch(_bytes: &Bytes) {}

	/// Turns a block: 32 rows of 32 bytes to 32 columns.
	fn turn(bytes: &Bytes, out: &mut Bytes);

	/// Packs 32 inner indices of a block whose rows are lines, without noise: clamps them, writes main steps.
	#[inline(always)]
	fn lines<const LEFT: bool>(lines: &Bytes, out: &mut [Step]) {
		let mut rows: Bytes = [0; CHUNK_BYTES];
		Self::turn(lines, &mut rows);
		Self::block::<0, LEFT>(&rows, &mut Work { dense: [], gathered: [] }, None, out);
	}

	/// Packs 32 inner indices, one row of 32 lines each: clamps them, adds noise and gathers along the paths if there are any
	/// (the left side gathers what is noised, the right side what is not), writes main steps.
	fn block<const R: usize, const LEFT: bool>(
		rows: &Bytes,
		work: &mut Work<R>,
		paths: Option<Paths<'_, R>>,
		out: &mut [Step],
	);

	/// Adds to each line's sum what some main steps of a right strip hold of it.
	fn add_sums(steps: &[Step], sums: &mut [i32; BLOCK]);

	/// A wide step of two rows.
	fn pairs(even: &[i16; BLOCK], odd: &[i16; BLOCK], out: &mut Step);
}

/// How many blocks before its turn a block is fetched. The blocks of a column of blocks lie far apart, which the CPU doesn't foresee.
const FETCH_AHEAD: usize = 4;

/// Packs a strip. Inlined into every kernel.
#[inline(always)]
pub(crate) fn pack_strip<P: Packer>(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	match (job.noise.map_or(0, |noise| noise.rank), job.side) {
		(0, Side::Left) => pack_ranked::<P, 0, true>(job, layout, strip),
		(0, Side::Right) => pack_ranked::<P, 0, false>(job, layout, strip),
		(32, Side::Left) => pack_ranked::<P, 32, true>(job, layout, strip),
		(32, Side::Right) => pack_ranked::<P, 32, false>(job, layout, strip),
		(64, Side::Left) => pack_ranked::<P, 64, true>(job, layout, strip),
		(64, Side::Right) => pack_ranked::<P, 64, false>(job, layout, strip),
		(_, Side::Left) => pack_ranked::<P, 128, true>(job, layout, strip),
		(_, Side::Right) => pack_ranked::<P, 128, false>(job, layout, strip),
	}
}

#[inline(always)]
fn pack_ranked<P: Packer, const R: usize, const LEFT: bool>(
	job: &PackJob<'_>,
	layout: StripLayout,
	strip: &mut [Step],
) {
	let PackJob { side, operand, strip: number, noise } = *job;
	let (main, rest) = strip.split_at_mut(layout.main);
	let (wide, last) = rest.split_at_mut(layout.wide);
	let mut work = Work::<R> { dense: [[0; BLOCK]; R], gathered: [[0; BLOCK]; R] };
	let mut sums = [0i32; BLOCK];
	if let Some(noise) = noise {
		noise.turned::<P, R>(side, number, &mut work.dense);
	}
	let blocks = layout.main * layout.per_step / BLOCK;
	let turn = operand.rows_are_lines(side);
	let mut rows: Bytes = [0; CHUNK_BYTES];
	for (index, steps) in main.chunks_exact_mut(BLOCK / layout.per_step).enumerate() {
		let path = |noise, side| Path::<R>::new(Noise::cycles(noise, side), index * BLOCK);
		let paths =
			noise.and_then(|noise| Some(Paths { own: path(noise, side)?, other: path(noise, opposite(side))? }));
		let ahead = index + FETCH_AHEAD;
		if let Some(ahead) = operand.block(side, number + ahead / blocks, ahead % blocks) {
			P::fetch(ahead);
		}
		match operand.block(side, number, index) {
			Some(bytes) if turn && R == 0 => P::lines::<LEFT>(bytes, steps),
			Some(bytes) if turn => {
				P::turn(bytes, &mut rows);
				P::block::<R, LEFT>(&rows, &mut work, paths, steps);
			}
			Some(bytes) => P::block::<R, LEFT>(bytes, &mut work, paths, steps),
			None => P::block::<R, LEFT>(&[0; CHUNK_BYTES], &mut work, paths, steps),
		}
		if !LEFT {
			P::add_sums(steps, &mut sums);
		}
	}
	if !wide.is_empty() {
		let (first, second) = wide.split_at_mut(R / 2);
		let (gathered, negated) = if LEFT { (first, second) } else { (second, first) };
		for (step, rows) in gathered.iter_mut().zip(work.gathered.chunks_exact(2)) {
			P::pairs(&rows[0], &rows[1], step);
		}
		for (step, rows) in negated.iter_mut().zip(work.dense.chunks_exact(2)) {
			let negative = |row: &[i8; BLOCK]| row.map(|x| -i16::from(x));
			P::pairs(&negative(&rows[0]), &negative(&rows[1]), step);
		}
	}
	for (word, sum) in last[0].0.iter_mut().zip(sums) {
		*word = (sum * 128) as u32;
	}
}

const fn opposite(side: Side) -> Side {
	match side {
		Side::Left => Side::Right,
		Side::Right => Side::Left,
	}
}

/// The portable way, with `PER` inner indices in a step: two 16-bit integers or four bytes.
pub(crate) struct Plain<const PER: usize>;

impl<const PER: usize> Packer for Plain<PER> {
	#[inline(always)]
	fn turn(bytes: &Bytes, out: &mut Bytes) {
		for (i, row) in out.chunks_exact_mut(BLOCK).enumerate() {
			for (j, x) in row.iter_mut().enumerate() {
				*x = bytes[j * BLOCK + i];
			}
		}
	}

	#[inline(always)]
	fn block<const R: usize, const LEFT: bool>(
		rows: &Bytes,
		work: &mut Work<R>,
		paths: Option<Paths<'_, R>>,
		out: &mut [Step],
	) {
		let mut noised = [[0i16; BLOCK]; BLOCK];
		let mut previous = [0i16; BLOCK];
		for (t, (row, noised)) in rows.chunks_exact(BLOCK).zip(&mut noised).enumerate() {
			for (x, byte) in noised.iter_mut().zip(row) {
				*x = i16::from(operand(*byte as i8));
			}
			let Some(Paths { own, other }) = paths else { continue };
			let mut gather = |row: &[i16; BLOCK]| {
				let gathered = &mut work.gathered[other.row(t)];
				for j in 0..BLOCK {
					gathered[j] += row[j] - previous[j];
				}
				previous = *row;
			};
			if !LEFT {
				gather(noised);
			}
			let (plus, minus) = (&work.dense[own.row(t)], &work.dense[own.row(t + 1)]);
			for j in 0..BLOCK {
				noised[j] += i16::from(plus[j]) - i16::from(minus[j]);
			}
			if LEFT {
				gather(noised);
			}
		}
		if let Some(Paths { other, .. }) = paths {
			let gathered = &mut work.gathered[other.row(BLOCK)];
			for j in 0..BLOCK {
				gathered[j] -= previous[j];
			}
		}
		let bias = if LEFT { 128 } else { 0 };
		for (step, rows) in out.iter_mut().zip(noised.chunks_exact(PER)) {
			let row = |i: usize| rows[i % PER].map(|x| x + bias);
			if PER == 4 {
				let (a, b, c, d) = (row(0), row(1), row(2), row(3));
				for (j, word) in step.0.iter_mut().enumerate() {
					*word = u32::from_le_bytes([a[j] as u8, b[j] as u8, c[j] as u8, d[j] as u8]);
				}
			} else {
				Self::pairs(&row(0), &row(1), step);
			}
		}
	}

	#[inline(always)]
	fn add_sums(steps: &[Step], sums: &mut [i32; BLOCK]) {
		for step in steps {
			for (sum, word) in sums.iter_mut().zip(step.0) {
				let bytes = word.to_le_bytes().map(|x| i32::from(x as i8));
				let pair = [word as i16, (word >> 16) as i16].map(i32::from);
				*sum += if PER == 4 { bytes.iter().sum::<i32>() } else { pair.iter().sum() };
			}
		}
	}

	#[inline(always)]
	fn pairs(even: &[i16; BLOCK], odd: &[i16; BLOCK], out: &mut Step) {
		for (word, (even, odd)) in out.0.iter_mut().zip(even.iter().zip(odd)) {
			*word = u32::from(*even as u16) | u32::from(*odd as u16) << 16;
		}
	}
}
