//! Proof of useful work: what a ticket is, what proves one, and what it is worth.
//!
//! Every 32x32 output tile of an eligible product in an assigned unit is one lottery ticket per parent block. Its
//! number is a hash of the tile's partial sums, computed on operands that carry noise seeded by the parent, so it
//! cannot be known before the product is computed on that parent; the useful product is recovered from the noised one
//! exactly. The design follows cuPOW (arXiv 2504.09971), bound to registered tasks.
//!
//! Modules in the order of the computation: [`Seed`], [`noise`], [`ticket`], [`proof`] (an unverified proof and a verified
//! one are different types), [`difficulty`] (ASERT). Constants stand in [`params`]. Everything is `no_std`, integer only and
//! never panics. What it is not: it knows no accounts or tasks, and it is not fast (see `labora-engine`).

#![cfg_attr(not(feature = "std"), no_std)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate alloc;

pub mod difficulty;
pub mod noise;
pub mod params;
pub mod proof;
mod seed;
pub mod ticket;

pub use difficulty::{Difficulty, Macs};
pub use proof::{IdleProof, ProofError, SealedTile, TileIndex, UsefulProof};
pub use seed::{IdleSeed, Seed, UsefulSeed};
