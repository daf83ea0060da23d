//! Who computes for a lane: the engine in this process, or a miner in another one ([`super::remote`]). Both are asked the same way.
//!
//! Only what is worth sending is asked for: steps of units and idle work. Merging, and replaying a few steps for an audit, cost less than
//! sending the tensors that they take, so the node does them itself.

use std::sync::Arc;

use labora_engine::{Engine, EngineError, Miner, UnitOutput, UnitPlan};
use labora_miner::protocol::End;
use labora_pouw::{IdleProof, IdleSeed};
use labora_primitives::AccountId;

use super::unit::Origin;
use crate::mining::MiningJob;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
	/// The engine has none.
	#[error(transparent)]
	Engine(#[from] EngineError),
	/// The miner is gone, or was let go.
	#[error("{0} is gone")]
	Lost(Arc<str>),
	/// The miner does not compute this.
	#[error("{0} gives it back: {1}")]
	GivenBack(Arc<str>, End),
}

/// Computes for one lane.
pub trait Backend {
	/// Its name, if it is not this process.
	fn name(&self) -> Option<&str> {
		None
	}

	/// Whether nothing can be asked of it any more. Asked now and then while there is nothing to do.
	fn is_gone(&self) -> bool {
		false
	}

	/// Runs the unit that starts from `origin`. `miner` is asked and told the same as by [`Engine::run`].
	fn run(&self, origin: &Origin, plan: &UnitPlan, miner: &dyn Miner) -> Result<UnitOutput, BackendError>;

	/// Does idle work until it wins or is cancelled. `done` is told of nonces that were tried.
	fn idle(
		&self,
		job: &MiningJob,
		account: &AccountId,
		done: &dyn Fn(u32),
		cancelled: &(dyn Fn() -> bool + Sync),
	) -> Result<Option<IdleProof>, BackendError>;
}

/// The engine of this process.
pub struct Local<'a>(pub &'a Engine);

impl Backend for Local<'_> {
	fn run(&self, _: &Origin, plan: &UnitPlan, miner: &dyn Miner) -> Result<UnitOutput, BackendError> {
		Ok(self.0.run(plan, miner)?)
	}

	fn idle(
		&self,
		job: &MiningJob,
		account: &AccountId,
		done: &dyn Fn(u32),
		cancelled: &(dyn Fn() -> bool + Sync),
	) -> Result<Option<IdleProof>, BackendError> {
		// Every lane, and every try, searches elsewhere.
		let mut nonce: u64 = rand::random();
		while !cancelled() {
			let seed = IdleSeed { genesis: &job.genesis.0, parent: &job.parent.0, account: account.as_ref(), nonce };
			let proof = self.0.idle(&seed, job.difficulty, cancelled);
			if proof.is_some() {
				return Ok(proof);
			}
			if !cancelled() {
				done(1);
			}
			nonce = nonce.wrapping_add(1);
		}
		Ok(None)
	}
}
