//! The kernel for AMX-INT8: a tile is four accumulators of 16 by 16 in the tile registers over the whole inner dimension. AVX-512 does
//! the rest: folds, and what is left of an inner dimension that is no multiple of [`depth`].
//!
//! Where it differs from the steps of [`crate::pack`]:
//!
//! 1. The main steps of a left strip are turned in groups, as AMX reads the left operand by rows: 32 lines of one group's inner
//!    indices each. Steps after the last whole group stay as they are.
//! 2. Wide steps are bytes, as AMX has no product of 16-bit integers: a gathered factor `g` is `256 high + low`, both signed, and the
//!    other factor fits a byte. The first half of the steps holds the low parts, the second half the high ones, each with the other
//!    factor beside it.

use core::{
	arch::{asm, x86_64::*},
	mem::MaybeUninit,
};
use labora_graph::MAX_K;
use labora_pouw::{
	noise::Side,
	params::{noise_rank, FOLD_GROUPS, FOLD_HALF_ROTATION, FOLD_MULTIPLIER, FOLD_ROWS, FOLD_STATE_ROTATION},
	ticket::FoldState,
};
use labora_tensor::{I32Block, BLOCK};

use super::avx512;
pub use super::avx512::{quantize, relu_mask, scale, tickets, update};
use crate::pack::{PackJob, Step, StripLayout};

/// Whether CPU and system let this process use AMX; asks the system for it.
pub fn supported() -> bool {
	avx512::supported() && has_amx() && permitted()
}

/// Whether the CPU has AMX-INT8 and the system keeps its registers.
fn has_amx() -> bool {
	const FEATURES: u32 = 7;
	const OSXSAVE: u32 = 1 << 27;
	const AMX: u32 = 1 << 24 | 1 << 25;
	const TILES: u64 = 1 << 17 | 1 << 18;

	#[target_feature(enable = "xsave")]
	fn kept() -> u64 {
		// SAFETY: called where the system has set OSXSAVE.
		unsafe { _xgetbv(0) }
	}
	__cpuid(0).eax >= FEATURES
		&& __cpuid(1).ecx & OSXSAVE != 0
		&& __cpuid_count(FEATURES, 0).edx & AMX == AMX
		// SAFETY: OSXSAVE says that the CPU has XGETBV.
		&& unsafe { kept() } & TILES == TILES
}

/// Linux gives a process the registers' 8 KiB only when asked.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
	const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
	const XFEATURE_XTILEDATA: libc::c_long = 18;
	// SAFETY: the call changes nothing but what the process may use.
	unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
	false
}

/// Rows of a tile register.
const ROWS: usize = 16;
/// Most bytes of its row.
const ROW_BYTES: usize = 64;

/// Shapes of the tile registers, as `ldtilecfg` reads them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct Config {
	palette: u8,
	start_row: u8,
	reserved: [u8; 14],
	row_bytes: [u16; 16],
	rows: [u8; 16],
}

impl Config {
	const NONE: Self = Self { palette: 0, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };

	/// Registers 0 to 3: accumulators. 4 and 5: `depth` words of 16 left lines. 6 and 7: `depth` steps of 16 right lines.
	const fn new(depth: usize) -> Self {
		let mut config = Self { palette: 1, ..Self::NONE };
		let mut register = 0;
		while register < 8 {
			config.rows[register] = if register < 6 { ROWS as u8 } else { depth as u8 };
			config.row_bytes[register] = if matches!(register, 4 | 5) { depth as u16 * 4 } else { ROW_BYTES as u16 };
			register += 1;
		}
		config
	}
}

/// Sets the registers' shapes, unless they are what they should be: asking is much cheaper than setting, for every tile.
fn configure(depth: usize) {
	const FULL: Config = Config::new(16);
	const HALF: Config = Config::new(8);
	let wanted = if depth == 8 { &HALF } else { &FULL };
	let mut config = Config::NONE;
	// SAFETY: writes 64 bytes.
	unsafe { asm!("sttilecfg [{config}]", config = in(reg) &mut config, options(nostack, preserves_flags)) };
	if config != *wanted {
		// SAFETY: reads 64 bytes, which describe tiles as AMX has them.
		unsafe { asm!("ldtilecfg [{config}]", config = in(reg) wanted, options(nostack, preserves_flags)) };
	}
}

/// Gives the registers back, so that the system need not keep them for this thread.
#[target_feature(enable = "avx512f")]
pub fn release() {
	// SAFETY: whoever computes a tile configures anew.
	unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}

/// Steps of a group, which one product of tile registers multiplies: 64 inner indices, or what is folded at once if that is less.
fn depth(layout: StripLayout) -> usize {
	match layout.fold {
		8 => 8,
		_ => 16,
	}
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub fn pack(job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
	avx512::pack(job, layout, strip);
	let (main, rest) = strip.split_at_mut(layout.main);
	let wide = &mut rest[..layout.wide];
	split_wide(job.side, wide);
	if job.side == Side::Left {
		match depth(layout) {
			8 => main.chunks_exact_mut(8).chain(wide.chunks_exact_mut(8)).for_each(|group| turn::<8>(group)),
			_ => main.chunks_exact_mut(16).chain(wide.chunks_exact_mut(16)).for_each(|group| turn::<16>(group)),
		}
	}
}

/// Makes bytes of the wide steps.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn split_wide(side: Side, wide: &mut [Step]) {
	/// The even bytes of two words.
	#[inline(always)]
	const fn even(words: [u32; 2]) -> u32 {
		let [a, b] = words;
		(a & 0xFF) | ((a >> 8) & 0xFF00) | ((b & 0xFF) << 16) | ((b & 0xFF_0000) << 8)
	}
	/// The high parts of 16-bit integers `256 high + low`, `low` from -128 to 127, in the even bytes.
	#[inline(always)]
	const fn high(pair: u32) -> u32 {
		(((pair & 0x7FFF_7FFF) + 0x0080_0080) ^ (pair & 0x8000_8000)) >> 8
	}
	const MOST: usize = noise_rank(MAX_K) as usize;

	let mut pairs = [Step::ZERO; MOST];
	let pairs = &mut pairs[..wide.len()];
	pairs.copy_from_slice(wide);
	let (low_steps, high_steps) = wide.split_at_mut(pairs.len() / 2);
	let steps = low_steps.iter_mut().zip(high_steps).zip(pairs.chunks_exact(2));
	let quarter = pairs.len() / 4;
	for (number, ((low_step, high_step), pairs)) in steps.enumerate() {
		// The left strip's gathered factor is the first half, the right one's the second.
		let first = number < quarter;
		let gathered = first == (side == Side::Left);
		for j in 0..BLOCK {
			let words = [pairs[0].0[j], pairs[1].0[j]];
			low_step.0[j] = even(words);
			high_step.0[j] = even(if gathered { words.map(high) } else { words });
		}
	}
}

/// Turns a group of steps, `DEPTH` words of 32 lines each, to 32 lines of `DEPTH` words: half of the lines at a time. Interleaving
/// register `i` with register `i + DEPTH / 2` moves a bit of the step's number into the lane and one of the line's out of it.
#[target_feature(enable = "avx512f")]
fn turn<const DEPTH: usize>(steps: &mut [Step]) {
	let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
	let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
	let mut halves = [[_mm512_setzero_si512(); DEPTH]; 2];
	for (half, x) in halves.iter_mut().enumerate() {
		for (x, step) in x.iter_mut().zip(steps.iter()) {
			*x = avx512::load(step, half);
		}
		for _ in 0..DEPTH.ilog2() {
			let y = *x;
			for i in 0..DEPTH / 2 {
				x[2 * i] = _mm512_permutex2var_epi32(y[i], low, y[i + DEPTH / 2]);
				x[2 * i + 1] = _mm512_permutex2var_epi32(y[i], high, y[i + DEPTH / 2]);
			}
		}
	}
	let out = steps.iter_mut().flat_map(|step| step.0.chunks_exact_mut(ROW_BYTES / 4));
	for (x, out) in halves.iter().flatten().zip(out) {
		// SAFETY: `out` is 64 bytes.
		unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), *x) };
	}
}

/// Accumulators in memory.
#[repr(C, align(64))]
struct Sums(I32Block);

impl Sums {
	/// Half a row, by its number.
	#[inline]
	#[target_feature(enable = "avx512f")]
	fn words(&self, number: usize) -> __m512i {
		let words = &self.0[number * (BLOCK / 2)..][..BLOCK / 2];
		// SAFETY: `words` is 16 i32.
		unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
	}
}

/// Bytes of a row of [`Sums`], and of a step.
const STRIDE: usize = BLOCK * 4;

/// Stores one of the accumulators at a byte of the sums.
macro_rules! store {
	($register:literal, $offset:literal) => {
		concat!("tilestored [{sums} + 1 * {stride} + ", $offset, "], tmm", $register, "\n")
	};
}

/// One product of four pairs of tile registers; before each of them may come another instruction. The loads lie between the products,
/// as both take their time.
macro_rules! products {
	($dot:literal, $before0:expr, $before1:expr, $before2:expr, $before3:expr) => {
		concat!(
			"tileloadd tmm4, [{left} + 1 * {row}]\n",
			"tileloadd tmm6, [{right} + 1 * {stride}]\n",
			$before0,
			$dot,
			" tmm0, tmm4, tmm6\n",
			"tileloadd tmm7, [{right} + 1 * {stride} + 64]\n",
			$before1,
			$dot,
			" tmm1, tmm4, tmm7\n",
			"tileloadd tmm5, [{lower} + 1 * {row}]\n",
			$before2,
			$dot,
			" tmm2, tmm5, tmm6\n",
			$before3,
			$dot,
			" tmm3, tmm5, tmm7\n",
		)
	};
}

/// The products of a group. The compiler knows nothing of the tile registers and uses none of them, so they keep what they hold from
/// one `asm!` to the next.
macro_rules! multiply {
	($left:ident, $right:ident, $products:expr $(, $sums:ident)?) => {
		let depth = $left.len();
		assert!(matches!(depth, 8 | 16) && $right.len() == depth);
		let row = depth * 4;
		// SAFETY: the registers are configured for this depth (`tile`): 32 lines of `depth` words are read, and `depth` steps. What is
		// stored are 32 rows of sums.
		unsafe {
			asm!(
				$products,
				left = in(reg) $left.as_ptr(),
				lower = in(reg) $left.as_ptr().cast::<u8>().add(ROWS * row),
				right = in(reg) $right.as_ptr(),
				row = in(reg) row,
				stride = in(reg) STRIDE,
				$(sums = in(reg) $sums,)?
				options(nostack, preserves_flags),
			);
		}
	};
}

/// Adds the products of a group, unsigned by signed bytes, to the accumulators.
#[inline(always)]
fn add(left: &[Step], right: &[Step]) {
	multiply!(left, right, products!("tdpbusd", "", "", "", ""));
}

/// As [`add`], of signed by signed bytes.
#[inline(always)]
fn add_signed(left: &[Step], right: &[Step]) {
	multiply!(left, right, products!("tdpbssd", "", "", "", ""));
}

/// As [`add`], after storing the accumulators: each just before its next product, as right after its last one the store would wait.
#[inline(always)]
fn store_and_add<'a>(sums: &'a mut MaybeUninit<Sums>, left: &[Step], right: &[Step]) -> &'a Sums {
	let into = sums.as_mut_ptr();
	multiply!(left, right, products!("tdpbusd", store!(0, 0), store!(1, 64), store!(2, 2048), store!(3, 2112)), into);
	// SAFETY: all rows were stored.
	unsafe { sums.assume_init_ref() }
}

/// Sets the accumulators to zero.
#[inline(always)]
fn zero() {
	// SAFETY: the registers are configured.
	unsafe {
		asm!(
			"tilezero tmm0",
			"tilezero tmm1",
			"tilezero tmm2",
			"tilezero tmm3",
			options(nomem, nostack, preserves_flags)
		);
	}
}

/// Stores the accumulators.
#[inline(always)]
fn store(sums: &mut MaybeUninit<Sums>) -> &mut Sums {
	// SAFETY: the registers are configured: 32 rows of sums.
	unsafe {
		asm!(
			store!(0, 0), store!(1, 64), store!(2, 2048), store!(3, 2112),
			sums = in(reg) sums.as_mut_ptr(),
			stride = in(reg) STRIDE,
			options(nostack, preserves_flags),
		);
		sums.assume_init_mut()
	}
}

/// Loads the accumulators.
#[inline(always)]
fn load(sums: &Sums) {
	// SAFETY: as above.
	unsafe {
		asm!(
			"tileloadd tmm0, [{sums} + 1 * {stride}]",
			"tileloadd tmm1, [{sums} + 1 * {stride} + 64]",
			"tileloadd tmm2, [{sums} + 1 * {stride} + 2048]",
			"tileloadd tmm3, [{sums} + 1 * {stride} + 2112]",
			sums = in(reg) sums,
			stride = in(reg) STRIDE,
			options(nostack, readonly, preserves_flags),
		);
	}
}

/// The lanes of all groups.
type Lanes = [__m512i; FOLD_GROUPS];

/// As `FoldState::fold`.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(lanes: &mut Lanes, sums: &Sums) {
	for (group, lanes) in lanes.iter_mut().enumerate() {
		let mut x = [_mm512_setzero_si512(); 2];
		for row in group * FOLD_ROWS..(group + 1) * FOLD_ROWS {
			for (half, x) in x.iter_mut().enumerate() {
				*x = _mm512_xor_si512(*x, sums.words(row * 2 + half));
			}
		}
		let high = _mm512_rol_epi32::<{ FOLD_HALF_ROTATION as i32 }>(x[1]);
		let mixed =
			_mm512_xor_si512(_mm512_rol_epi32::<{ FOLD_STATE_ROTATION as i32 }>(*lanes), _mm512_xor_si512(x[0], high));
		*lanes = _mm512_mullo_epi32(mixed, _mm512_set1_epi32(FOLD_MULTIPLIER as i32));
	}
}

/// Adds the products of steps that are no group.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn add_rest(left: &[Step], right: &[Step], sums: &mut Sums) {
	for (group, rows) in sums.0.chunks_exact_mut(FOLD_ROWS * BLOCK).enumerate() {
		let mut acc: avx512::Accumulators = [[_mm512_setzero_si512(); 2]; FOLD_ROWS];
		avx512::add_bytes(left, right, group, 0, &mut acc);
		for (acc, out) in acc.iter().flatten().zip(rows.chunks_exact_mut(BLOCK / 2)) {
			// SAFETY: `out` is 16 i32.
			let sum = _mm512_add_epi32(*acc, unsafe { _mm512_loadu_si512(out.as_ptr().cast()) });
			// SAFETY: as above.
			unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
		}
	}
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub fn tile(layout: StripLayout, left: &[Step], right: &[Step], state: &mut FoldState, tile: &mut I32Block) {
	let depth = depth(layout);
	let groups = layout.main / depth;
	let rest = groups * depth..layout.main;
	// Groups between two folds, and whether the last of them is complete without the rest.
	let per_fold = if layout.fold == 0 { groups.max(1) } else { layout.fold / depth };
	let complete = rest.is_empty() || groups.is_multiple_of(per_fold);
	let folds = layout.fold > 0;
	let pairs = |from: usize, to: usize| left[from..to].chunks_exact(depth).zip(right[from..to].chunks_exact(depth));

	let (mut low, mut high) = (MaybeUninit::uninit(), MaybeUninit::uninit());
	// SAFETY: lanes are 16 u32.
	let mut lanes: Lanes = state.0.map(|lanes| unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) });
	configure(depth);
	zero();
	for (number, (left, right)) in pairs(0, rest.start).enumerate() {
		if folds && number > 0 && number.is_multiple_of(per_fold) {
			fold(&mut lanes, store_and_add(&mut low, left, right));
		} else {
			add(left, right);
		}
	}
	if folds && complete && groups > 0 {
		fold(&mut lanes, store(&mut low));
	}
	if !rest.is_empty() {
		let sums = store(&mut low);
		add_rest(&left[rest.clone()], &right[rest], sums);
		if folds {
			fold(&mut lanes, sums);
		}
		load(sums);
	}
	for (state, lanes) in state.0.iter_mut().zip(lanes) {
		// SAFETY: `state` is 16 u32.
		unsafe { _mm512_storeu_si512(state.as_mut_ptr().cast(), lanes) };
	}
	let middle = layout.main + layout.wide / 2;
	pairs(layout.main, middle).for_each(|(left, right)| add_signed(left, right));
	let low: &Sums = store(&mut low);
	let high: Option<&Sums> = (layout.wide > 0).then(|| {
		zero();
		pairs(middle, layout.sums()).for_each(|(left, right)| add_signed(left, right));
		&*store(&mut high)
	});
	let bias = [0, 1].map(|half| avx512::load(&right[layout.sums()], half));
	for (at, out) in tile.chunks_exact_mut(BLOCK / 2).enumerate() {
		let mut sum = low.words(at);
		if let Some(high) = high {
			sum = _mm512_add_epi32(sum, _mm512_slli_epi32::<8>(high.words(at)));
		}
		// SAFETY: `out` is 16 i32.
		unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_sub_epi32(sum, bias[at % 2])) };
	}
}
