//! Measures what verifying a work proof costs: in the runtime's Wasm, as a node imports blocks, and natively; and a proof's size. Then what
//! importing a block costs, and how fast tensors travel between nodes.

use std::{hint::black_box, time::Instant};

use anyhow::{Context, Result};
use codec::Encode;
use frame_support::traits::OnFinalize;
use labora_engine::MiningTarget;
use labora_pouw::{Difficulty, IdleProof, IdleSeed, TileIndex, UsefulProof, UsefulSeed};
use labora_primitives::{AccountId, AssignmentId, AssignmentLedger, WorkProof};
use labora_runtime::{constants::LAB, Runtime, RuntimeCall, RuntimeGenesisConfig, RuntimeOrigin, UncheckedExtrinsic};
use labora_tests::{import, product, transfer};
use sc_executor::{HeapAllocStrategy, WasmExecutor};
use sp_core::traits::{CallContext, CodeExecutor, Externalities, RuntimeCode, WrappedRuntimeCode};
use sp_io::SubstrateHostFunctions;
use sp_runtime::{BuildStorage, Digest, DigestItem};

const MINER: AccountId = AccountId::new([2; 32]);
const TIMES: usize = 25;

/// A chain's state with one assigned unit, in the middle of a block by its worker, and a proof for that block.
fn prepare(k: u32) -> Result<(sp_io::TestExternalities, UsefulProof)> {
	let genesis = RuntimeGenesisConfig {
		balances: labora_runtime::BalancesConfig { balances: vec![(MINER, 1_000_000 * LAB)], ..Default::default() },
		work: pallet_work::GenesisConfig { initial_difficulty: 1, difficulty_floor: 1, ..Default::default() },
		..Default::default()
	};
	let mut chain: sp_io::TestExternalities = genesis.build_storage().map_err(anyhow::Error::msg)?.into();
	let spec = product::spec(k);
	let proof = chain.execute_with(|| -> Result<UsefulProof> {
		use labora_runtime::{System, Tasks, Workers};
		let digest = Digest { logs: vec![DigestItem::PreRuntime(pallet_work::ENGINE_ID, MINER.encode())] };
		System::initialize(&1, &Default::default(), &digest);
		let failed = |error: sp_runtime::DispatchError| anyhow::anyhow!("{error:?}");
		Workers::register(RuntimeOrigin::signed(MINER), 1, 4_096).map_err(failed)?;
		Tasks::register(RuntimeOrigin::signed(MINER), spec.clone(), 100 * LAB).map_err(failed)?;
		<Workers as OnFinalize<u32>>::on_finalize(1);
		System::initialize(&2, &Default::default(), &digest);
		pallet_work::Author::<Runtime>::put(MINER);
		let assignment = <Workers as AssignmentLedger>::get(AssignmentId(0)).context("the unit was assigned")?;
		let target = MiningTarget {
			genesis: System::block_hash(0).0,
			parent: System::parent_hash().0,
			assignment: assignment.id.0,
			difficulty: Difficulty(1),
		};
		product::prove(&spec, &assignment, target)
	})?;
	Ok((chain, proof))
}

/// Median and spread of the times of `f`, milliseconds. The first call, which compiles the Wasm, is not counted.
fn time(mut f: impl FnMut()) -> (f64, f64, f64) {
	f();
	let mut times: Vec<f64> = (0..TIMES)
		.map(|_| {
			let start = Instant::now();
			f();
			start.elapsed().as_secs_f64() * 1e3
		})
		.collect();
	times.sort_by(f64::total_cmp);
	(times[TIMES / 2], times[0], times[TIMES - 1])
}

/// Time of applying the inherent in the Wasm runtime, on a warm instance as when importing blocks.
fn in_wasm(chain: &mut sp_io::TestExternalities, proof: WorkProof) -> Result<(f64, f64, f64)> {
	let wasm = labora_runtime::WASM_BINARY.context("the runtime was built without its Wasm blob")?;
	let executor: WasmExecutor<SubstrateHostFunctions> = WasmExecutor::builder()
		.with_onchain_heap_alloc_strategy(HeapAllocStrategy::Static { extra_pages: 2_048 })
		.build();
	let fetcher = WrappedRuntimeCode(wasm.into());
	let code =
		RuntimeCode { code_fetcher: &fetcher, heap_pages: None, hash: sp_io::hashing::blake2_256(wasm).to_vec() };
	let call = RuntimeCall::Work(pallet_work::Call::prove { proof });
	let extrinsic = UncheckedExtrinsic::new_bare(call).encode();
	let mut failed = None;
	let times = time(|| {
		let mut externalities = chain.ext();
		externalities.storage_start_transaction();
		let (result, _) = executor.call(
			&mut externalities,
			&code,
			"BlockBuilder_apply_extrinsic",
			&extrinsic,
			CallContext::Onchain { import: false },
		);
		// Ok(Ok(())): applied, and its dispatch succeeded.
		if result.as_deref().map_or(true, |bytes| bytes != [0, 0]) {
			failed = Some(format!("{result:?}"));
		}
		let _ = externalities.storage_rollback_transaction();
	});
	failed.map_or(Ok(times), |why| Err(anyhow::anyhow!("the runtime refused the proof: {why}")))
}

/// Time of the verification itself, natively.
fn natively(proof: &UsefulProof, k: u32) -> Result<(f64, f64, f64)> {
	let spec = product::spec(k);
	let program = spec.check().map_err(|error| anyhow::anyhow!("{error:?}"))?;
	let work = spec.resolve(&program, 0, 0, proof.op, proof.tile).map_err(|error| anyhow::anyhow!("{error:?}"))?;
	let seed = UsefulSeed {
		genesis: &[0; 32],
		parent: &[0; 32],
		assignment: proof.assignment,
		op: proof.op,
		a: &proof.a,
		b: &proof.b,
		product: work.product,
	};
	Ok(time(|| {
		let sealed = proof.verify(&seed.seed(), &work.product, &work.a, &work.b, Difficulty(1));
		black_box(sealed.is_ok());
	}))
}

/// Time of the verification of idle work, natively.
fn idle_natively(proof: &IdleProof) -> (f64, f64, f64) {
	let seed = IdleSeed { genesis: &[0; 32], parent: &[0; 32], account: &MINER.encode(), nonce: proof.nonce };
	time(|| {
		black_box(proof.verify(&seed, Difficulty(1)).is_ok());
	})
}

fn row(name: &str, bytes: usize, wasm: (f64, f64, f64), native: (f64, f64, f64)) {
	let spread = |(median, least, most)| format!("{median:.2} ({least:.2}, {most:.2})");
	println!("| {name} | {bytes} | {} | {} |", spread(wasm), spread(native));
}

fn main() -> Result<()> {
	println!("| k | proof, bytes | Wasm, ms (least, most) | native, ms (least, most) |");
	println!("| --- | --- | --- | --- |");
	for k in [256, 1_024, 4_096, 16_384] {
		let (mut chain, proof) = prepare(k)?;
		let native = natively(&proof, k)?;
		let proof = WorkProof::Useful(proof);
		row(&k.to_string(), proof.encoded_size(), in_wasm(&mut chain, proof)?, native);
	}
	let (mut chain, _) = prepare(256)?;
	let proof = IdleProof { nonce: 7, tile: TileIndex { row: 0, col: 0 } };
	let native = idle_natively(&proof);
	row("idle", WorkProof::Idle(proof).encoded_size(), in_wasm(&mut chain, WorkProof::Idle(proof))?, native);
	let runtime = tokio::runtime::Runtime::new()?;
	runtime.block_on(import::measure())?;
	runtime.block_on(transfer::measure())
}
