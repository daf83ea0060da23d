//! Both sides of a dispute about a unit, for whoever can compute it.
//!
//! - [`StepsWitness`] and [`MergeWitness`] show what an audit or a challenge demands: they build the [`Answer`] to a [`Claim`].
//! - [`next`] leads a challenger who computed the unit itself to the first wrong block of another's result, by as few claims as it takes:
//!   the first wrong entry of the trace (two claims at most), the first wrong chunk of that tensor (one or two), and the block.
//!
//! What it is not: it judges nothing (`labora-primitives`, `TaskSpec::judge`, does), and knows neither chain nor network.
//!
//! [`Answer`]: labora_primitives::Answer
//! [`Claim`]: labora_primitives::Claim

mod search;
mod show;

pub use search::{next, Honest, Next, Shown};
pub use show::{MergeWitness, StepsWitness};
