//! What the worker asks of the chain, as a trait: the lanes know neither client nor runtime, and tests need neither.

use std::{marker::PhantomData, sync::Arc};

use labora_primitives::{
	api::LaboraApi, AccountId, AssignmentId, Dispute, Hash, ResultRecord, Seal, TaskId, TaskSpec, Worker,
};
use labora_runtime::opaque::Block;
use labora_tensor::Commitment;
use sp_api::{ApiError, ProvideRuntimeApi};

/// The chain did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the chain's state cannot be read: {0}")]
pub struct ChainError(#[from] ApiError);

/// The chain's state as of a block.
pub trait Chain: Send + Sync {
	/// A task as registered.
	fn spec(&self, at: Hash, task: TaskId) -> Result<Option<TaskSpec>, ChainError>;
	/// The master parameters that a round starts from.
	fn round_parameters(&self, at: Hash, task: TaskId, round: u32) -> Result<Option<Vec<Commitment>>, ChainError>;
	/// The accepted result of a unit.
	fn unit_result(&self, at: Hash, task: TaskId, round: u32, unit: u16) -> Result<Option<ResultRecord>, ChainError>;
	/// The blocks that an assignment sealed.
	fn seals(&self, at: Hash, assignment: AssignmentId) -> Result<Vec<Seal>, ChainError>;
	/// A worker's results of which something is to be shown.
	fn disputes(&self, at: Hash, worker: AccountId) -> Result<Vec<Dispute>, ChainError>;
	/// Whether the result of an assignment stands: something may be demanded of it.
	fn stands(&self, at: Hash, assignment: AssignmentId) -> Result<bool, ChainError>;
	/// A bonded worker.
	fn worker(&self, at: Hash, account: &AccountId) -> Result<Option<Worker>, ChainError>;
}

/// The chain through its runtime API.
pub struct RuntimeChain<C>(Arc<C>, PhantomData<Block>);

impl<C> RuntimeChain<C> {
	/// The chain of a client.
	pub fn new(client: Arc<C>) -> Self {
		Self(client, PhantomData)
	}
}

impl<C> Chain for RuntimeChain<C>
where
	C: ProvideRuntimeApi<Block> + Send + Sync,
	C::Api: LaboraApi<Block>,
{
	fn spec(&self, at: Hash, task: TaskId) -> Result<Option<TaskSpec>, ChainError> {
		Ok(self.0.runtime_api().task_spec(at, task)?)
	}

	fn round_parameters(&self, at: Hash, task: TaskId, round: u32) -> Result<Option<Vec<Commitment>>, ChainError> {
		Ok(self.0.runtime_api().round_parameters(at, task, round)?)
	}

	fn unit_result(&self, at: Hash, task: TaskId, round: u32, unit: u16) -> Result<Option<ResultRecord>, ChainError> {
		Ok(self.0.runtime_api().unit_result(at, task, round, unit)?)
	}

	fn seals(&self, at: Hash, assignment: AssignmentId) -> Result<Vec<Seal>, ChainError> {
		Ok(self.0.runtime_api().seals(at, assignment)?)
	}

	fn stands(&self, at: Hash, assignment: AssignmentId) -> Result<bool, ChainError> {
		Ok(self.0.runtime_api().standing_result(at, assignment)?.is_some())
	}

	fn disputes(&self, at: Hash, worker: AccountId) -> Result<Vec<Dispute>, ChainError> {
		Ok(self.0.runtime_api().disputes(at, Some(worker))?)
	}

	fn worker(&self, at: Hash, account: &AccountId) -> Result<Option<Worker>, ChainError> {
		Ok(self.0.runtime_api().worker(at, account.clone())?)
	}
}
