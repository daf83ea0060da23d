//! The RPC methods beside the SDK's own: account nonces, fees, finality, and tensors.

use std::sync::Arc;

use jsonrpsee::{server::RegisterMethodError, RpcModule};
use labora_primitives::{BlockNumber, Hash};
use labora_runtime::opaque::Block;
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use sc_consensus_grandpa::{FinalityProofProvider, GrandpaJustificationStream, SharedAuthoritySet, SharedVoterState};
use sc_consensus_grandpa_rpc::{Grandpa, GrandpaApiServer};
use sc_rpc::SubscriptionTaskExecutor;
use substrate_frame_rpc_system::{System, SystemApiServer};

use crate::{
	service::{FullBackend, FullClient, FullPool},
	tensor_rpc::{LaboraRpcServer, TensorRpc},
	tensor_store::TensorStore,
	worker::WorkerStatus,
};

/// What the methods on finality need.
pub struct FinalityDeps {
	/// The validators whose votes count.
	pub authorities: SharedAuthoritySet<Hash, BlockNumber>,
	/// The round that is being voted in.
	pub voter: SharedVoterState,
	/// New justifications.
	pub justifications: GrandpaJustificationStream<Block>,
	/// The kept ones.
	pub proofs: Arc<FinalityProofProvider<FullBackend, Block>>,
}

/// What the methods need.
pub struct Deps {
	/// The client.
	pub client: Arc<FullClient>,
	/// The transaction pool: a nonce counts what waits there.
	pub pool: Arc<FullPool>,
	/// The tensors.
	pub store: Arc<TensorStore>,
	/// What the worker is at, if this node mines.
	pub status: Option<Arc<WorkerStatus>>,
	/// Finality.
	pub finality: FinalityDeps,
}

/// All methods of this node that the SDK does not bring itself.
pub fn create(deps: &Deps, executor: SubscriptionTaskExecutor) -> Result<RpcModule<()>, RegisterMethodError> {
	let Deps { client, pool, store, status, finality } = deps;
	let FinalityDeps { authorities, voter, justifications, proofs } = finality;
	let mut module = RpcModule::new(());
	module.merge(System::<_, _, Block>::into_rpc(System::new(client.clone(), pool.clone())))?;
	module.merge(TransactionPayment::<_, Block>::into_rpc(TransactionPayment::new(client.clone())))?;
	let grandpa = Grandpa::new(executor, authorities.clone(), voter.clone(), justifications.clone(), proofs.clone());
	module.merge(grandpa.into_rpc())?;
	module.merge(TensorRpc::new(store.clone(), status.clone()).into_rpc())?;
	Ok(module)
}
