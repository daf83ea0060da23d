//! Measures what verifying a work proof costs: in the runtime's Wasm, as a node imports blocks, and natively; and a proof's size. Then how
//! fast tensors travel between nodes.

use std::{hint::black_box, sync::Arc, sync::Mutex, time::Instant};

use anyhow::{Context, Result};
use codec::Encode;
use frame_support::traits::OnFinalize;
use labora_engine::{Engine, Miner, MiningTarget, UnitPlan};
use labora_graph::{Activation, Graph, Op, Rounding, Value};
use labora_pouw::{Difficulty, UsefulProof, UsefulSeed};
use labora_primitives::{AccountId, AssignmentId, AssignmentLedger, Dataset, Job, TaskSpec, UnitKind, WorkProof};
use labora_runtime::{constants::LAB, Runtime, RuntimeCall, RuntimeGenesisConfig, RuntimeOrigin, UncheckedExtrinsic};
use labora_tensor::{ElementType, I32Tensor, Shape, Tensor};
use sc_executor::{HeapAllocStrategy, WasmExecutor};
use sp_core::{
	bounded::BoundedVec,
	traits::{CallContext, CodeExecutor, Externalities, RuntimeCode, WrappedRuntimeCode},
};
use sp_io::SubstrateHostFunctions;
use sp_runtime::{BuildStorage, Digest, DigestItem};

const MINER: AccountId = AccountId::new([2; 32]);
const TIMES: usize = 25;

/// Keeps the first proof.
struct First {
	target: MiningTarget,
	proof: Mutex<Option<UsefulProof>>,
}

impl Miner for First {
	fn target(&self) -> Option<MiningTarget> {
		Some(self.target)
	}

	fn won(&self, _: &MiningTarget, proof: UsefulProof) {
		if let Ok(mut first) = self.proof.lock() {
			first.get_or_insert(proof);
		}
	}
}

fn spec(k: u32) -> TaskSpec {
	let ops = vec![
		Op::Quantize { parameter: 0, shift: 16 },
		Op::MatMul {
			a: Value::Features,
			b: Value::Op(0),
			transpose_a: false,
			transpose_b: false,
			shift: 10,
			rounding: Rounding::Nearest,
			activation: Activation::Relu,
		},
		Op::Quantize { parameter: 1, shift: 16 },
		Op::MatMul {
			a: Value::Op(1),
			b: Value::Op(2),
			transpose_a: false,
			transpose_b: false,
			shift: 10,
			rounding: Rounding::Nearest,
			activation: Activation::Identity,
		},
		Op::Argmax { logits: Value::Op(3) },
	];
	let shapes = vec![Shape { rows: k, cols: 256 }, Shape { rows: 256, cols: 10 }];
	let (features, parameters) = tensors(k);
	TaskSpec {
		graph: Graph { batch: 256, features: k, parameters: shapes, ops },
		job: Job::Inference { units: 1, steps: 1 },
		dataset: Dataset { features: features.commitment(), labels: None, rows: 256, examples: 256 },
		parameters: BoundedVec::truncate_from(parameters.iter().map(Tensor::commitment).collect()),
		recipe: None,
		seed: [0; 32],
		price: LAB,
		deadline: 100,
	}
}

fn tensors(k: u32) -> (Tensor, Vec<Tensor>) {
	let bytes: Vec<u8> = (0..256 * k).map(|i| (i.wrapping_mul(2_654_435_761) >> 25) as u8 % 64).collect();
	let features = Tensor::from_bytes(Shape { rows: 256, cols: k }, ElementType::I8, bytes);
	let parameter = |rows: u32, cols: u32| {
		let elements: Vec<i32> =
			(0..rows * cols).map(|i| ((i.wrapping_mul(40_503) >> 7) as i32 % 20 - 10) << 16).collect();
		I32Tensor::pack(Shape { rows, cols }, &elements)
	};
	let parameters = [parameter(k, 256), parameter(256, 10)];
	(features.unwrap_or_else(|_| unreachable!()), parameters.into_iter().flatten().collect())
}

/// A chain's state with one assigned unit, in the middle of a block by its worker, and a proof for that block.
fn prepare(k: u32) -> Result<(sp_io::TestExternalities, UsefulProof)> {
	let genesis = RuntimeGenesisConfig {
		balances: labora_runtime::BalancesConfig { balances: vec![(MINER, 1_000_000 * LAB)], ..Default::default() },
		work: pallet_work::GenesisConfig { initial_difficulty: 1, difficulty_floor: 1, ..Default::default() },
		..Default::default()
	};
	let mut chain: sp_io::TestExternalities = genesis.build_storage().map_err(anyhow::Error::msg)?.into();
	let spec = spec(k);
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
		let UnitKind::Steps(unit) = assignment.unit.kind else { anyhow::bail!("inference has no merge") };
		let (features, parameters) = tensors(k);
		let plan = UnitPlan {
			program: Arc::new(spec.check().map_err(|error| anyhow::anyhow!("{error:?}"))?),
			context: spec.context(0, unit),
			features_commitment: features.commitment(),
			features: Arc::new(features),
			labels: None,
			labels_commitment: None,
			parameters: parameters.into_iter().map(Arc::new).collect(),
			batches: vec![0],
		};
		let target = MiningTarget {
			genesis: System::block_hash(0).0,
			parent: System::parent_hash().0,
			assignment: assignment.id.0,
			difficulty: Difficulty(1),
		};
		let first = First { target, proof: Mutex::default() };
		Engine::best(1).run(&plan, &first)?;
		first.proof.into_inner().ok().flatten().context("every ticket wins at difficulty 1")
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
fn in_wasm(chain: &mut sp_io::TestExternalities, proof: &UsefulProof) -> Result<(f64, f64, f64)> {
	let wasm = labora_runtime::WASM_BINARY.context("the runtime was built without its Wasm blob")?;
	let executor: WasmExecutor<SubstrateHostFunctions> = WasmExecutor::builder()
		.with_onchain_heap_alloc_strategy(HeapAllocStrategy::Static { extra_pages: 2_048 })
		.build();
	let fetcher = WrappedRuntimeCode(wasm.into());
	let code =
		RuntimeCode { code_fetcher: &fetcher, heap_pages: None, hash: sp_io::hashing::blake2_256(wasm).to_vec() };
	let call = RuntimeCall::Work(pallet_work::Call::prove { proof: WorkProof::Useful(proof.clone()) });
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
	let spec = spec(k);
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

fn main() -> Result<()> {
	println!("| k | proof, bytes | Wasm, ms (least, most) | native, ms (least, most) |");
	println!("| --- | --- | --- | --- |");
	for k in [256, 1_024, 4_096, 16_384] {
		let (mut chain, proof) = prepare(k)?;
		let (wasm, native) = (in_wasm(&mut chain, &proof)?, natively(&proof, k)?);
		let size = proof.encoded_size();
		println!(
			"| {k} | {size} | {:.2} ({:.2}, {:.2}) | {:.2} ({:.2}, {:.2}) |",
			wasm.0, wasm.1, wasm.2, native.0, native.1, native.2
		);
	}
	tokio::runtime::Runtime::new()?.block_on(labora_tests::transfer::measure())
}
