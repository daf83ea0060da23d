//! Idle work: the product of two matrices of zeros, noise only.

use labora_pouw::{params::IDLE_DIMENSION, ticket::idle_target, Difficulty, IdleProof, IdleSeed, TileIndex};
use labora_tensor::BLOCK;
use parking_lot::Mutex;

use crate::{
	operand::Operand,
	product::{Finish, Job, Tickets},
	Engine,
};

/// Tiles of the idle product.
const TILES: usize = (IDLE_DIMENSION as usize / BLOCK) * (IDLE_DIMENSION as usize / BLOCK);

impl Engine {
	/// Computes the idle product of one nonce (the seed's): a winning ticket, if there is one. `cancelled` is asked
	/// between tiles.
	pub fn idle(
		&self,
		seed: &IdleSeed,
		difficulty: Difficulty,
		cancelled: &(dyn Fn() -> bool + Sync),
	) -> Option<IdleProof> {
		let target = idle_target(difficulty, IDLE_DIMENSION);
		let won: Mutex<Option<TileIndex>> = Mutex::new(None);
		let take = |tile, ticket| {
			if ticket <= target {
				won.lock().get_or_insert(tile);
				return false;
			}
			!cancelled()
		};
		let job = Job { product: IdleSeed::PRODUCT, left: Operand::ZEROS, right: Operand::ZEROS };
		let tickets = Tickets { seed: seed.seed(), take: &take };
		self.with_scratch(|scratch| self.product(job, Finish::Discard, Some(&tickets), scratch, &mut [0; TILES]));
		won.into_inner().map(|tile| IdleProof { nonce: seed.nonce, tile })
	}
}
