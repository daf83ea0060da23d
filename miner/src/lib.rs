//! The miner protocol, and the miner's side of it: heavy computing in a process beside the node's.
//!
//! The node keeps everything that concerns the chain: which unit is computed, for which parent tickets are drawn, the tensors,
//! the results and the blocks. A miner is stateless. It connects over a socket of the same machine ([`address`]), both sides
//! prove that they know the same secret, and from then on the node gives each of the miner's lanes one job at a time
//! ([`protocol`], [`connection`]): steps of a unit, or idle work. The miner asks for the tensors that it does not hold, reports
//! progress and winning tickets, and sends what the unit yields. It verifies nothing about the chain.
//!
//! [`session`] is one connection from the miner's side; the executable `labora-miner` keeps one up. The node's side is
//! `labora_node::worker`. The protocol for those who write another miner stands in `docs/miner-protocol.md`.

pub mod address;
mod cache;
pub mod connection;
mod lane;
pub mod protocol;
pub mod session;
