//! The Labora node: full node, miner and worker.
//!
//! A block costs useful work, and the proof of it is an inherent that the runtime verifies; so the node's own consensus code
//! ([`consensus`]) is small: the author's signature, the fork choice by total difficulty, and the loop that turns a winning
//! ticket into a block. [`mining`] is the seam between that loop and the [`worker`], which computes the units that the chain
//! assigned to this miner and finds the tickets on the way. The [`watcher`] computes other workers' units again. [`tensor_store`] keeps the
//! tensors that this takes, the [`exchange`] gets from peers what it lacks, [`tensor_rpc`] lets clients put and get them.
//!
//! [`cli`] and [`command`] are the command line, [`chain_spec`] the built-in chains, [`service`] puts everything together, after a
//! quick [`startup`], with the log as [`logging`] has it.

// The SDK's error types are large, and every fallible function of the service returns one.
#![allow(clippy::result_large_err)]

pub mod chain_spec;
pub mod cli;
pub mod command;
pub mod consensus;
pub mod exchange;
pub mod logging;
pub mod metrics;
pub mod mining;
pub mod rpc;
pub mod service;
pub mod startup;
pub mod tensor_rpc;
pub mod tensor_store;
pub mod watcher;
pub mod worker;
