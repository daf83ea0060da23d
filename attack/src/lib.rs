//! The table of attackers: what each gains and loses against real nodes.
//!
//! Every row is a function that plays an attack, checks what the chain did, and gives what attacker and honest miner have at the
//! end. All hostile behaviour is here, none of it in the node. Three stages:
//!
//! - [`live`]: a node mines; attackers are clients with accounts, bonds and engines of their own;
//! - [`rows`]: attackers who make blocks. The whole chain is made here ([`forge`]), with real proofs and seals, and given to real
//!   nodes ([`real`]) that check every block, refuse the bad ones by themselves and say the balances;
//! - a few rows measure the engine, or ask the runtime's scheduler.
//!
//! [`agents`] are those who take part, [`unit`] what they compute, or say they did; [`economy`] is the model that the
//! property tests hold to the runtime's constants.

pub mod agents;
pub mod economy;
pub mod forge;
pub mod live;
pub mod real;
pub mod row;
pub mod rows;
pub mod unit;
