//! The command line client, as a library.
//!
//! The functions behind the commands of `labora`: data become committed tensors ([`dataset`]), models become graphs ([`models`]),
//! tasks are registered and followed ([`tasks`]), miners bond ([`workers`]), and so do validators ([`validators`]), money moves
//! ([`accounts`]), results become files ([`model_file`]) and are tried
//! ([`predict`], [`evaluate`]), and whatever the chain says of a task can be computed again ([`replay`]). [`client`] is the
//! connection to a node. Everything takes and gives types; only the program parses arguments and prints.
//!
//! What it is not: it keeps no state but the files it is told to write, and it trusts a node with nothing that it can check.

pub mod accounts;
pub mod client;
pub mod dataset;
pub mod evaluate;
pub mod hexes;
pub mod model_file;
pub mod models;
pub mod money;
pub mod predict;
pub mod replay;
pub mod signer;
pub mod tasks;
pub mod validators;
pub mod workers;
