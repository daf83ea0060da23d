//! The RPC methods beside the SDK's own: account nonces, fees, and tensors.

use std::sync::Arc;

use jsonrpsee::{server::RegisterMethodError, RpcModule};
use labora_runtime::opaque::Block;
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use substrate_frame_rpc_system::{System, SystemApiServer};

use crate::{
	exchange::Fetcher,
	service::{FullClient, FullPool},
	tensor_rpc::{LaboraRpcServer, TensorRpc},
	tensor_store::TensorStore,
	worker::WorkerStatus,
};

/// What the methods need.
pub struct Deps {
	/// The client.
	pub client: Arc<FullClient>,
	/// The transaction pool: a nonce counts what waits there.
	pub pool: Arc<FullPool>,
	/// The tensors.
	pub store: Arc<TensorStore>,
	/// What is fetched from peers.
	pub fetcher: Arc<Fetcher>,
	/// What the worker is at, if this node mines.
	pub status: Option<Arc<WorkerStatus>>,
}

/// All methods of this node that the SDK does not bring itself.
pub fn create(deps: &Deps) -> Result<RpcModule<()>, RegisterMethodError> {
	let Deps { client, pool, store, fetcher, status } = deps;
	let mut module = RpcModule::new(());
	module.merge(System::<_, _, Block>::into_rpc(System::new(client.clone(), pool.clone())))?;
	module.merge(TransactionPayment::<_, Block>::into_rpc(TransactionPayment::new(client.clone())))?;
	module.merge(TensorRpc::new(store.clone(), fetcher.clone(), status.clone()).into_rpc())?;
	Ok(module)
}
