//! What makes a node's start quick: the runtime is compiled once, not three times at every start.
//!
//! A node that comes back has to answer audits within a few blocks. Compiling the runtime takes seconds, and more beside other nodes.

use std::sync::Arc;

use labora_runtime::opaque::Block;
use sc_client_api::Backend;
use sc_executor::{HeapAllocStrategy, DEFAULT_HEAP_ALLOC_STRATEGY};
use sc_service::{BuildGenesisBlock, ChainSpec, Configuration, GenesisBlockBuilder};

use crate::service::{Executor, FullBackend};

/// Folder of the compiled runtime, inside the chain's folder. It may be removed at any time.
const COMPILED_FOLDER: &str = "compiled";

/// The executor that the configuration asks for. It keeps the compiled runtime on disk.
pub fn executor(config: &Configuration) -> Executor {
	let executor = &config.executor;
	let heap = executor.default_heap_pages.map_or(DEFAULT_HEAP_ALLOC_STRATEGY, |pages| HeapAllocStrategy::Static {
		extra_pages: pages.try_into().unwrap_or(u32::MAX),
	});
	let compiled = config.data_path.join(COMPILED_FOLDER);
	Executor::builder()
		.with_execution_method(executor.wasm_method)
		.with_onchain_heap_alloc_strategy(heap)
		.with_offchain_heap_alloc_strategy(heap)
		.with_max_runtime_instances(executor.max_runtime_instances)
		.with_runtime_cache_size(executor.runtime_cache_size)
		// It takes absolute paths only. Where there is no current folder, nothing is kept.
		.with_cache_path(std::path::absolute(&compiled).unwrap_or(compiled))
		.build()
}

/// Builds the genesis block when there is none yet. The SDK's builder computes its state, in the runtime, at every start.
pub struct Genesis {
	spec: Box<dyn ChainSpec>,
	with_state: bool,
	backend: Arc<FullBackend>,
	executor: Executor,
}

impl Genesis {
	/// The genesis of the configured chain.
	pub fn new(config: &Configuration, backend: Arc<FullBackend>, executor: Executor) -> Self {
		Self { spec: config.chain_spec.cloned_box(), with_state: !config.no_genesis(), backend, executor }
	}
}

impl BuildGenesisBlock<Block> for Genesis {
	type BlockImportOperation = <FullBackend as Backend<Block>>::BlockImportOperation;

	fn build_genesis_block(self) -> sp_blockchain::Result<(Block, Self::BlockImportOperation)> {
		let Self { spec, with_state, backend, executor } = self;
		GenesisBlockBuilder::new(spec.as_storage_builder(), with_state, backend, executor)?.build_genesis_block()
	}
}
