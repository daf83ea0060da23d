//! Tensor programs: the graph of one step, its shape rules, and the consensus definition of every op.
//!
//! A [`Graph`] is what a sponsor writes: ops in static single assignment form, integers only. [`Program`] is a
//! graph that was checked: every input exists, comes before its use and has the right type and shape. Every op
//! says which blocks one block of its output needs ([`Program::needs`]) and computes it from them
//! ([`Program::eval_block`]); that is the definition every engine must agree with, bit for bit.
//!
//! Operands are `i8` in `[-63, 63]`, products accumulate in `i32`, master parameters are `i32` fixed point.
//! No op can fail on any bytes: what a stranger wrote is clamped when read.
//!
//! What it is not: it does not know tasks, rounds or accounts, only steps; and it is not fast (see `labora-engine`).

#![cfg_attr(not(feature = "std"), no_std)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate alloc;

pub mod arithmetic;
mod eval;
mod graph;
mod product;
mod program;
mod trace;

pub use eval::{left_strip, right_strip, EvalError, OutputBlock};
pub use graph::{Activation, Graph, GraphError, Op, Parameters, Rounding, Value, MAX_OPS, MAX_PARAMETERS};
pub use product::add_products;
pub use program::{Need, OpInfo, Product, Program, Region, MAX_K, MAX_METRICS_BATCH, MIN_ELIGIBLE_K};
pub use trace::{trace_chunk, OpIndex, RoundingKey, RunningMetrics, StepContext, Trace, COMMITMENTS_PER_CHUNK};
