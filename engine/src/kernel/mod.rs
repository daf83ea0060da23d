//! Kernels: the code that depends on the instruction set, chosen once at run time.
//!
//! Every kernel gives the same bits. A kernel consists of a packer (one strip of 32 lines of an operand into steps, see
//! [`crate::pack`]), a tile (one 32x32 tile of a product from two packed strips, folded on the way), and the loops of [`elementwise`]
//! and [`ticket`], compiled for its instruction set.

pub(crate) mod elementwise;
pub(crate) mod portable;
pub(crate) mod ticket;

#[cfg(target_arch = "aarch64")]
#[macro_use]
mod tile128;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod tile256;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neondot;
#[cfg(target_arch = "aarch64")]
mod neoni8mm;
#[cfg(target_arch = "x86_64")]
mod shuffle;
#[cfg(target_arch = "aarch64")]
mod zip;

use labora_graph::MAX_K;
use labora_pouw::{
	params::{noise_rank, FOLD_LANES, FOLD_MULTIPLIER, FOLD_STATE_ROTATION},
	ticket::FoldState,
};
use labora_tensor::{I32Block, I8Block};
use sp_core::U256;
use std::sync::OnceLock;

use crate::pack::{PackJob, Step, StripLayout};
#[cfg(target_arch = "x86_64")]
use crate::Calibration;
use elementwise::{Scaling, Update};
use ticket::{Folded, Hasher};

/// A kernel chosen at run time. Holding one proves that the CPU has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel(Kind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
	Portable,
	#[cfg(target_arch = "x86_64")]
	Avx2,
	#[cfg(target_arch = "x86_64")]
	AvxVnni,
	#[cfg(target_arch = "x86_64")]
	Avx512Vnni,
	#[cfg(target_arch = "x86_64")]
	Amx,
	#[cfg(target_arch = "aarch64")]
	Neon,
	#[cfg(target_arch = "aarch64")]
	NeonDot,
	#[cfg(target_arch = "aarch64")]
	NeonI8mm,
}

impl Kind {
	/// Every kernel of this architecture, slowest first.
	const ALL: &'static [Self] = &[
		Self::Portable,
		#[cfg(target_arch = "x86_64")]
		Self::Avx2,
		#[cfg(target_arch = "x86_64")]
		Self::AvxVnni,
		#[cfg(target_arch = "x86_64")]
		Self::Avx512Vnni,
		#[cfg(target_arch = "x86_64")]
		Self::Amx,
		#[cfg(target_arch = "aarch64")]
		Self::Neon,
		#[cfg(target_arch = "aarch64")]
		Self::NeonDot,
		#[cfg(target_arch = "aarch64")]
		Self::NeonI8mm,
	];

	fn supported(self) -> bool {
		match self {
			Self::Portable => true,
			#[cfg(target_arch = "x86_64")]
			Self::Avx2 => avx2::supported(),
			#[cfg(target_arch = "x86_64")]
			Self::AvxVnni => avxvnni::supported(),
			#[cfg(target_arch = "x86_64")]
			Self::Avx512Vnni => avx512::supported(),
			#[cfg(target_arch = "x86_64")]
			Self::Amx => amx::supported(),
			#[cfg(target_arch = "aarch64")]
			Self::Neon => neon::supported(),
			#[cfg(target_arch = "aarch64")]
			Self::NeonDot => neondot::supported(),
			#[cfg(target_arch = "aarch64")]
			Self::NeonI8mm => neoni8mm::supported(),
		}
	}

	const fn name(self) -> &'static str {
		match self {
			Self::Portable => "portable",
			#[cfg(target_arch = "x86_64")]
			Self::Avx2 => "avx2",
			#[cfg(target_arch = "x86_64")]
			Self::AvxVnni => "avxvnni",
			#[cfg(target_arch = "x86_64")]
			Self::Avx512Vnni => "avx512vnni",
			#[cfg(target_arch = "x86_64")]
			Self::Amx => "amx",
			#[cfg(target_arch = "aarch64")]
			Self::Neon => "neon",
			#[cfg(target_arch = "aarch64")]
			Self::NeonDot => "neondot",
			#[cfg(target_arch = "aarch64")]
			Self::NeonI8mm => "neoni8mm",
		}
	}
}

/// Calls a kernel's function.
macro_rules! dispatch {
	($kernel:expr, $function:ident($($argument:expr),*)) => {
		match $kernel.0 {
			Kind::Portable => portable::$function($($argument),*),
			// SAFETY: a `Kernel` of this kind is made by `Kernel::all` only, where the CPU has its instructions.
			#[cfg(target_arch = "x86_64")]
			Kind::Avx2 => unsafe { avx2::$function($($argument),*) },
			// SAFETY: as above.
			#[cfg(target_arch = "x86_64")]
			Kind::AvxVnni => unsafe { avxvnni::$function($($argument),*) },
			// SAFETY: as above.
			#[cfg(target_arch = "x86_64")]
			Kind::Avx512Vnni => unsafe { avx512::$function($($argument),*) },
			// SAFETY: as above.
			#[cfg(target_arch = "x86_64")]
			Kind::Amx => unsafe { amx::$function($($argument),*) },
			// SAFETY: as above.
			#[cfg(target_arch = "aarch64")]
			Kind::Neon => unsafe { neon::$function($($argument),*) },
			// SAFETY: as above.
			#[cfg(target_arch = "aarch64")]
			Kind::NeonDot => unsafe { neondot::$function($($argument),*) },
			// SAFETY: as above.
			#[cfg(target_arch = "aarch64")]
			Kind::NeonI8mm => unsafe { neoni8mm::$function($($argument),*) },
		}
	};
}

impl Kernel {
	/// Names of all kernels of this architecture, whether or not this CPU has them.
	pub fn names() -> impl Iterator<Item = &'static str> {
		Kind::ALL.iter().map(|kind| kind.name())
	}

	/// The kernels that this CPU has, slowest first; AMX last, measured or not.
	pub fn all() -> Vec<Self> {
		Kind::ALL.iter().copied().filter(|kind| kind.supported()).map(Self).collect()
	}

	/// The fastest kernel that this CPU has. Where it has AMX, that is measured, once in a process and for some ten milliseconds:
	/// its products are faster than any other, but what is folded has to leave the tile registers.
	pub fn best() -> Self {
		static BEST: OnceLock<Kernel> = OnceLock::new();
		*BEST.get_or_init(|| {
			let kernels = Self::all();
			#[cfg(target_arch = "x86_64")]
			if let [.., vectors, amx @ Self(Kind::Amx)] = kernels[..] {
				return Calibration::new(32).faster([vectors, amx]);
			}
			kernels.last().copied().unwrap_or(Self(Kind::Portable))
		})
	}

	/// The kernel for AMX on a CPU without it: the tests execute its instructions themselves. None if all else that it needs is not
	/// there either.
	#[cfg(test)]
	pub(crate) fn emulated() -> Option<Self> {
		#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
		if !amx::supported() && avx512::supported() && crate::tests::emulator::install() {
			return Some(Self(Kind::Amx));
		}
		None
	}

	/// The kernel of that name, if this CPU has it.
	pub fn from_name(name: &str) -> Option<Self> {
		Self::all().into_iter().find(|kernel| kernel.name() == name)
	}

	/// The kernel's name.
	pub const fn name(self) -> &'static str {
		self.0.name()
	}

	/// Inner indices in one 32-bit word of a step: four bytes or two 16-bit integers.
	pub(crate) const fn per_step(self) -> usize {
		match self.0 {
			Kind::Portable => 2,
			#[cfg(target_arch = "x86_64")]
			Kind::Avx2 => 2,
			#[cfg(target_arch = "x86_64")]
			Kind::AvxVnni | Kind::Avx512Vnni | Kind::Amx => 4,
			#[cfg(target_arch = "aarch64")]
			Kind::Neon => 2,
			#[cfg(target_arch = "aarch64")]
			Kind::NeonDot | Kind::NeonI8mm => 4,
		}
	}

	/// Packs one strip of an operand.
	pub(crate) fn pack(self, job: &PackJob<'_>, layout: StripLayout, strip: &mut [Step]) {
		dispatch!(self, pack(job, layout, strip))
	}

	/// One tile of the useful product. If the layout folds, `state`, a new one, takes the noised accumulators after every chunk.
	pub(crate) fn tile(
		self,
		layout: StripLayout,
		left: &[Step],
		right: &[Step],
		state: &mut FoldState,
		tile: &mut I32Block,
	) {
		debug_assert_eq!(*state, FoldState::default());
		dispatch!(self, tile(layout, left, right, state, tile))
	}

	/// Gives back what this thread holds for its tiles, as it computes no more of them now.
	pub(crate) fn release(self) {
		#[cfg(target_arch = "x86_64")]
		if self.0 == Kind::Amx {
			// SAFETY: as `dispatch` says.
			unsafe { amx::release() };
		}
	}

	/// The tickets of up to [`ticket::LANES`] tiles, in the first places.
	pub(crate) fn tickets(self, hasher: &Hasher, tiles: &[Folded], out: &mut [U256; ticket::LANES]) {
		dispatch!(self, tickets(hasher, tiles, out))
	}

	/// A tile as a block of operands.
	pub(crate) fn scale(self, scaling: &Scaling, tile: &I32Block, out: &mut [u8]) {
		dispatch!(self, scale(scaling, tile, out))
	}

	/// A block of master parameters after a step.
	pub(crate) fn update(self, update: Update, gradient: &I32Block, master: &[u8], out: &mut [u8]) {
		dispatch!(self, update(update, gradient, master, out))
	}

	/// Operands from master parameters.
	pub(crate) fn quantize(self, shift: u8, master: &[u8], out: &mut [u8]) {
		dispatch!(self, quantize(shift, master, out))
	}

	/// `gradient` where `activation` is positive.
	pub(crate) fn relu_mask(self, gradient: &[u8], activation: &[u8], out: &mut [u8]) {
		dispatch!(self, relu_mask(gradient, activation, out))
	}
}

/// Bytes of an operand block, as the packers take them.
pub(crate) type Bytes = [u8; core::mem::size_of::<I8Block>()];

/// Most folds of a tile.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) const MAX_FOLDS: usize = (MAX_K / noise_rank(MAX_K)) as usize;

/// Mixes what a group adds to the XOR of every chunk into its lanes, as `FoldState::fold` does.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(crate) fn mix(lanes: &mut [u32; FOLD_LANES], folds: &[[u32; FOLD_LANES]]) {
	for fold in folds {
		for (lane, x) in lanes.iter_mut().zip(fold) {
			*lane = (lane.rotate_left(FOLD_STATE_ROTATION) ^ x).wrapping_mul(FOLD_MULTIPLIER);
		}
	}
}

/// The functions of a kernel that are plain Rust, compiled for its instruction set.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! plain_for {
	($features:literal) => {
		#[target_feature(enable = $features)]
		pub fn tickets(
			hasher: &$crate::kernel::ticket::Hasher,
			tiles: &[$crate::kernel::ticket::Folded],
			out: &mut [sp_core::U256; $crate::kernel::ticket::LANES],
		) {
			$crate::kernel::ticket::tickets(hasher, tiles, out);
		}

		#[target_feature(enable = $features)]
		pub fn scale(scaling: &Scaling, tile: &I32Block, out: &mut [u8]) {
			elementwise::scale_tile(scaling, tile, out);
		}

		#[target_feature(enable = $features)]
		pub fn update(update: Update, gradient: &I32Block, master: &[u8], out: &mut [u8]) {
			elementwise::update_tile(update, gradient, master, out);
		}

		#[target_feature(enable = $features)]
		pub fn quantize(shift: u8, master: &[u8], out: &mut [u8]) {
			elementwise::quantize_all(shift, master, out);
		}

		#[target_feature(enable = $features)]
		pub fn relu_mask(gradient: &[u8], activation: &[u8], out: &mut [u8]) {
			elementwise::relu_mask_all(gradient, activation, out);
		}
	};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use plain_for;
