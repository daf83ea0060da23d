//! Tickets of 16 tiles at once: SHA-256 with a message in each lane, in plain Rust that the compiler vectorises for the
//! instruction set it is inlined into. One message at a time is a chain of 64 rounds that leaves a CPU waiting, between tiles that
//! could use it.

use labora_pouw::{ticket::FoldState, Seed, TileIndex};
use sp_core::U256;

/// Tickets computed at once.
pub(crate) const LANES: usize = 16;

/// A tile's folded accumulators, to become a ticket.
pub(crate) type Folded = (TileIndex, FoldState);

/// SHA-256's constants: the fractional parts of the cube roots of the first 64 primes.
const ROUNDS: [u32; 64] = [
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
	0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
	0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
	0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
];

/// SHA-256's first state: those of the square roots of the first eight.
const FIRST: [u32; 8] =
	[0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// One round, for all lanes.
macro_rules! round {
	($k:expr, $w:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident) => {
		for l in 0..N {
			let sum = $e[l].rotate_right(6) ^ $e[l].rotate_right(11) ^ $e[l].rotate_right(25);
			let choice = ($e[l] & $f[l]) ^ (!$e[l] & $g[l]);
			let t = $h[l].wrapping_add(sum).wrapping_add(choice).wrapping_add($k).wrapping_add($w[l]);
			let sum = $a[l].rotate_right(2) ^ $a[l].rotate_right(13) ^ $a[l].rotate_right(22);
			let majority = ($a[l] & $b[l]) ^ ($a[l] & $c[l]) ^ ($b[l] & $c[l]);
			$d[l] = $d[l].wrapping_add(t);
			$h[l] = t.wrapping_add(sum).wrapping_add(majority);
		}
	};
}

/// SHA-256's compression of a block in each lane.
#[inline(always)]
fn compress<const N: usize>(state: &[u32; 8], block: &[[u32; N]; 16]) -> [[u32; N]; 8] {
	let mut w = *block;
	let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state.map(|word| [word; N]);
	for (number, k) in ROUNDS.chunks_exact(16).enumerate() {
		if number > 0 {
			for i in 0..16 {
				let (w1, w9, w14) = (w[(i + 1) % 16], w[(i + 9) % 16], w[(i + 14) % 16]);
				for l in 0..N {
					let low = w1[l].rotate_right(7) ^ w1[l].rotate_right(18) ^ (w1[l] >> 3);
					let high = w14[l].rotate_right(17) ^ w14[l].rotate_right(19) ^ (w14[l] >> 10);
					w[i][l] = w[i][l].wrapping_add(low).wrapping_add(w9[l]).wrapping_add(high);
				}
			}
		}
		for (k, w) in k.chunks_exact(8).zip(w.chunks_exact(8)) {
			round!(k[0], w[0], a b c d e f g h);
			round!(k[1], w[1], h a b c d e f g);
			round!(k[2], w[2], g h a b c d e f);
			round!(k[3], w[3], f g h a b c d e);
			round!(k[4], w[4], e f g h a b c d);
			round!(k[5], w[5], d e f g h a b c);
			round!(k[6], w[6], c d e f g h a b);
			round!(k[7], w[7], b c d e f g h a);
		}
	}
	let mut out = [a, b, c, d, e, f, g, h];
	for (out, word) in out.iter_mut().zip(state) {
		for x in out {
			*x = x.wrapping_add(*word);
		}
	}
	out
}

/// Hashes tickets of one product: as `labora_pouw::ticket::TicketHasher`.
#[derive(Clone, Copy)]
pub(crate) struct Hasher([u32; 8]);

impl Hasher {
	/// A hasher keyed by the seed, which fills a block of its own.
	pub fn new(seed: &Seed) -> Self {
		let mut block = [[0]; 16];
		for (words, bytes) in block.iter_mut().zip(seed.0.chunks_exact(4)) {
			*words = [u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])];
		}
		Self(compress(&FIRST, &block).map(|[word]| word))
	}
}

/// The tickets of up to [`LANES`] tiles; what further places hold says nothing.
#[inline(always)]
pub(crate) fn tickets(hasher: &Hasher, tiles: &[Folded], out: &mut [U256; LANES]) {
	// Tile row and column, 32 bytes of state, the padding's bit and the length of both blocks' message.
	const BITS: u32 = (64 + 8 + 32) * 8;
	let mut block = [[0; LANES]; 16];
	for (lane, (tile, state)) in tiles.iter().enumerate().take(LANES) {
		block[0][lane] = tile.row.swap_bytes();
		block[1][lane] = tile.col.swap_bytes();
		for (words, bytes) in block[2..].iter_mut().zip(state.finish().chunks_exact(4)) {
			words[lane] = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
		}
	}
	block[10] = [1 << 31; LANES];
	block[15] = [BITS; LANES];
	let words = compress(&hasher.0, &block);
	for (lane, out) in out.iter_mut().enumerate() {
		let limb = |i: usize| u64::from(words[i][lane]) << 32 | u64::from(words[i + 1][lane]);
		*out = U256([limb(6), limb(4), limb(2), limb(0)]);
	}
}
