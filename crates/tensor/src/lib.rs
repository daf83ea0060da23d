//! Integer tensors, their commitments and openings.
//!
//! A matrix is padded with zeros to multiples of 32 and stored as 32x32 blocks: row-major inside a block,
//! and block by block in row-major order of blocks. An `i8` block is 1,024 bytes, exactly one BLAKE3 chunk;
//! an `i32` block (little endian) is four. So the commitment of a tensor *is* the plain BLAKE3 hash of its bytes, and
//! a row strip, a column strip or a single block is a set of chunks, opened by their bytes and the
//! chaining values of the subtrees beside them (the tree of the BLAKE3 paper, section 2.1; verified
//! streaming as in bao). Nodes of the tree open the same way, so that two parties find the first chunk in which their
//! tensors differ without showing either whole.
//!
//! What it is not: it knows no operations (that is `labora-graph`) and stores nothing.
//! Everything here is `no_std`, integer only, and never panics on foreign bytes.

#![cfg_attr(not(feature = "std"), no_std)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate alloc;

mod commitment;
mod nodes;
mod opening;
mod shape;
mod tensor;

pub use commitment::Commitment;
pub use nodes::{NodeSet, MAX_NODES};
pub use opening::{ChunkSet, Opening, OpeningError};
pub use shape::{BlockIndex, ElementType, Shape, ShapeError};
pub use tensor::{I32Tensor, I8Tensor, Tensor, TensorError};

/// Rows and columns of a block.
pub const BLOCK: usize = 32;
/// Elements of a block.
pub const BLOCK_ELEMENTS: usize = BLOCK * BLOCK;
/// Bytes of a BLAKE3 chunk, and of an `i8` block.
pub const CHUNK_BYTES: usize = 1024;
/// Largest magnitude of an operand: `i8` operands are read clamped to `[-63, 63]`, so that noise of the same
/// magnitude added to them still fits an `i8` (protocol, section 5).
pub const OPERAND_MAX: i8 = 63;

/// An `i8` block, row-major.
pub type I8Block = [i8; BLOCK_ELEMENTS];
/// An `i32` block, row-major.
pub type I32Block = [i32; BLOCK_ELEMENTS];

/// Reads an operand: bytes that a stranger wrote are clamped, so that every tensor is usable
/// and no dataset can make a product overflow.
#[inline(always)]
pub const fn operand(x: i8) -> i8 {
	if x > OPERAND_MAX {
		OPERAND_MAX
	} else if x < -OPERAND_MAX {
		-OPERAND_MAX
	} else {
		x
	}
}

/// A BLAKE3 output stream: keyed by `key`, over `context | index` (little-endian).
pub fn keyed_stream(key: &[u8; 32], context: &[u8], index: u32) -> blake3::OutputReader {
	blake3::Hasher::new_keyed(key).update(context).update(&index.to_le_bytes()).finalize_xof()
}
