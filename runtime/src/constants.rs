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
/// Least bond of a worker's slot: fifty idle blocks earn one. A unit of the demonstration puts two fifths to a half of it at stake.
pub const SLOT_BOND: Balance = 50 * LAB;
/// Lowest price of a unit.
pub const MIN_PRICE: Balance = MILLILAB;
/// Fee of one byte of an extrinsic: a block full of bytes costs as much as one full of weight, half a LAB.
pub const BYTE_FEE: Balance = LAB / 10_000_000;
/// How long a result must stand before it is paid: blocks that had room, as all windows (`Clock`).
pub const RESULT_WINDOW: BlockNumber = 16;
/// Steps of a unit that its audit looks at.
pub const AUDIT_STEPS: u8 = 2;
/// Blocks that it has shown in each of them.
pub const AUDIT_BLOCKS: u8 = 4;
/// Blocks in which an audit is to be answered. It is drawn two blocks after the result.
pub const AUDIT_WINDOW: BlockNumber = 10;
/// Blocks in which a challenge is to be answered.
pub const ANSWER_WINDOW: BlockNumber = 12;
/// Blocks that remain at least for the next challenge after an answer.
pub const FOLLOW_UP_WINDOW: BlockNumber = 8;
/// Bond of the first open challenge on a result.
pub const CHALLENGE_BOND: Balance = 5 * LAB;
/// What a worker is paid for showing something that decides nothing.
pub const SHOW_FEE: Balance = LAB / 2;
/// What an equivocation costs: the reward of five blocks.
pub const EQUIVOCATION_SLASH: Balance = 50 * LAB;
/// Blocks after which an equivocation can no longer be reported: to fill them all would cost more than a worker's usual bond.
pub const REPORT_AGE: BlockNumber = 2_048;
/// Blocks between a worker's leaving and the return of its bond: equivocations can be reported as long.
pub const UNBONDING_BLOCKS: BlockNumber = REPORT_AGE;
/// Least bond of a validator candidate: the rewards of a hundred useful blocks.
pub const MIN_VALIDATOR_BOND: Balance = 1_000 * LAB;
/// Most validator candidates at a time.
pub const MAX_CANDIDATES: u32 = 256;
/// Most validators of a session.
pub const MAX_VALIDATORS: u32 = 32;
/// Sessions in which an offence of a validator can be reported, and its bond is kept: a week of the public chain's.
pub const BONDING_SESSIONS: u32 = 168;
/// Deposit for an account's session keys.
pub const KEY_DEPOSIT: Balance = LAB;
/// Blocks of a session of the public chain: an hour.
pub const SESSION_BLOCKS: BlockNumber = 360;
/// Blocks of a session of the development chain: a minute.
pub const DEV_SESSION_BLOCKS: BlockNumber = 60;
/// Blocks of a span in which the recent usefulness is counted; sixteen spans are looked back on.
pub const SPAN_BLOCKS: BlockNumber = 64;
/// Fewest and most blocks that a worker may be given for a unit.
pub const DEADLINE_RANGE: (BlockNumber, BlockNumber) = (10, 14_400);
/// Blocks that a worker is given nothing after it missed three deadlines in a row.
pub const CHILL_BLOCKS: BlockNumber = 120;
