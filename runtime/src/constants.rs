//! The chain's constants, with their units.

use crate::{Balance, BlockNumber};

/// One LAB, in the smallest unit.
pub const LAB: Balance = 1_000_000_000_000;
/// A thousandth of a LAB.
pub const MILLILAB: Balance = LAB / 1_000;
/// Accounts with less do not exist.
pub const EXISTENTIAL_DEPOSIT: Balance = MILLILAB;
/// Reward of a block sealed by useful work.
pub const BLOCK_REWARD: Balance = 10 * LAB;
/// Bond of a worker's slot: ten idle blocks earn one.
pub const SLOT_BOND: Balance = 10 * LAB;
/// Lowest price of a unit.
pub const MIN_PRICE: Balance = MILLILAB;
/// Fee of one byte of an extrinsic.
pub const BYTE_FEE: Balance = LAB / 1_000_000_000;
/// Blocks that a result must outlive before it is paid.
pub const RESULT_WINDOW: BlockNumber = 10;
/// Fewest and most blocks that a worker may be given for a unit.
pub const DEADLINE_RANGE: (BlockNumber, BlockNumber) = (10, 14_400);
/// Blocks that a worker is given nothing after it missed three deadlines in a row.
pub const CHILL_BLOCKS: BlockNumber = 100;
