//! Measures what importing a block costs a node, from the import queue's first look at it to its state in the database: a block that idle
//! work sealed, the emptiest that proof of work allows, one with a proof of a unit's product, and one that transfers fill beside such a proof.

use std::{path::Path, sync::Arc, time::SystemTime};

use anyhow::{ensure, Context, Result};
use codec::Encode;
use labora_engine::MiningTarget;
use labora_node::{
	cli::Cli,
	consensus::{algorithm::LaboraAlgorithm, seal, LaboraBlockImport},
	service::{self, FullClient},
};
use labora_pouw::{Difficulty, IdleProof, TileIndex};
use labora_primitives::{api::LaboraApi, AccountId, AssignmentId, TaskSpec, WorkProof};
use labora_runtime::{
	constants::EXISTENTIAL_DEPOSIT, opaque, signing::SigningContext, Address, Hash, Header, Nonce, RuntimeCall,
	Signature, UncheckedExtrinsic, VERSION,
};
use sc_cli::SubstrateCli;
use sc_consensus::{
	import_queue::{import_single_block, BlockImportStatus},
	IncomingBlock,
};
use sc_consensus_pow::PowVerifier;
use sc_service::{PartialComponents, TaskManager};
use sp_api::{ApiExt, Core, ProvideRuntimeApi, TransactionOutcome};
use sp_block_builder::BlockBuilder;
use sp_consensus::BlockOrigin;
use sp_core::{sr25519, Pair};
use sp_runtime::{
	generic::Era,
	traits::{Block as _, Header as _},
	transaction_validity::{InvalidTransaction, TransactionValidityError},
	Digest, DigestItem,
};

use crate::{forge, patched_specification, product, LAB};

/// Inner dimension of the proved product.
const K: u32 = 1_024;
/// Times that the first two kinds of blocks are imported, in turns, after one that warms up. One assignment seals at most 64.
const TURNS: usize = 25;
/// In how many of the turns there is a full one too.
const FULL_TURNS: usize = 5;
/// Milliseconds from block to block, by their own clock.
const BLOCK_TIME: u64 = 1_000;
/// How long before now that clock begins, milliseconds: blocks of the future are refused.
const BACK: u64 = 600_000;

/// A chain with one miner, in a database as a node has it.
struct Chain {
	client: Arc<FullClient>,
	import: LaboraBlockImport,
	miner: sr25519::Pair,
	parent: Hash,
	height: u32,
	time: u64,
	nonce: Nonce,
	_tasks: TaskManager,
}

impl Chain {
	fn open(dir: &Path) -> Result<Self> {
		let spec = patched_specification(dir, |genesis| {
			// Every ticket wins, and no session ends.
			genesis["work"]["initialDifficulty"] = 1.into();
			genesis["work"]["difficultyFloor"] = 1.into();
			genesis["validators"]["sessionLength"] = 1_000.into();
			Ok(())
		})?;
		let text = |path: &Path| path.to_str().map(str::to_owned).context("a path of text");
		let (spec, base) = (text(&spec)?, text(&dir.join("chain"))?);
		let arguments = ["labora-node", "--chain", &spec, "--base-path", &base, "--no-prometheus", "--no-telemetry"];
		let cli = Cli::try_from_iter(arguments)?;
		let config = cli.create_configuration(&cli.run, tokio::runtime::Handle::current())?;
		let PartialComponents { client, task_manager, other: (import, ..), .. } = service::new_partial(&config)?;
		let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
		Ok(Self {
			parent: client.chain_info().genesis_hash,
			client,
			import,
			miner: forge::pair("//Miner"),
			height: 0,
			time: u64::try_from(now)?.saturating_sub(BACK),
			nonce: 0,
			_tasks: task_manager,
		})
	}

	fn account(&self) -> AccountId {
		self.miner.public().into()
	}

	fn sign(&self, call: RuntimeCall) -> UncheckedExtrinsic {
		let genesis = self.client.chain_info().genesis_hash;
		let (spec, transaction) = (VERSION.spec_version, VERSION.transaction_version);
		let context =
			SigningContext { spec, transaction, genesis, era: Era::Immortal, birth: genesis, nonce: self.nonce };
		let payload = context.payload(call);
		let signature = Signature::Sr25519(payload.using_encoded(|bytes| self.miner.sign(bytes)));
		let (call, extension, _) = payload.deconstruct();
		UncheckedExtrinsic::new_signed(call, Address::Id(self.account()), signature, extension)
	}

	/// A block on the best one: the time, the proof, then the miner's calls as long as they fit. Sealed, not imported.
	fn build(&mut self, proof: WorkProof, calls: impl IntoIterator<Item = RuntimeCall>) -> Result<opaque::Block> {
		self.time += BLOCK_TIME;
		let digest = Digest { logs: vec![seal::pre_digest(&self.account())] };
		let header = Header::new(self.height + 1, Hash::zero(), Hash::zero(), self.parent, digest);
		let (client, parent) = (self.client.clone(), self.parent);
		let api = client.runtime_api();
		api.initialize_block(parent, &header)?;
		let time = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: self.time });
		let mut body = Vec::new();
		for inherent in [time, RuntimeCall::Work(pallet_work::Call::prove { proof })] {
			let inherent = opaque::UncheckedExtrinsic::from(UncheckedExtrinsic::new_bare(inherent));
			let applied = api.apply_extrinsic(parent, inherent.clone())?;
			ensure!(applied == Ok(Ok(())), "{applied:?}");
			body.push(inherent);
		}
		for call in calls {
			let extrinsic = opaque::UncheckedExtrinsic::from(self.sign(call));
			let applied = api.execute_in_transaction(|api| match api.apply_extrinsic(parent, extrinsic.clone()) {
				Ok(Ok(Ok(()))) => TransactionOutcome::Commit(Ok(Ok(Ok(())))),
				other => TransactionOutcome::Rollback(other),
			})?;
			if applied == Err(TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources)) {
				break;
			}
			ensure!(applied == Ok(Ok(())), "{applied:?}");
			self.nonce += 1;
			body.push(extrinsic);
		}
		let mut header = api.finalize_block(parent)?;
		let signature = self.miner.sign(header.hash().as_bytes());
		header.digest_mut().push(DigestItem::Seal(pallet_work::ENGINE_ID, signature.encode()));
		Ok(opaque::Block::new(header, body))
	}

	/// Milliseconds of the processor that the import of a block takes, as the import queue does it, on this thread.
	async fn import(&mut self, block: opaque::Block) -> Result<f64> {
		let (header, body) = block.deconstruct();
		let (hash, height) = (header.hash(), header.number);
		let block = IncomingBlock {
			hash,
			header: Some(header),
			body: Some(body),
			indexed_body: None,
			justifications: None,
			origin: None,
			allow_missing_state: false,
			skip_execution: false,
			import_existing: false,
			state: None,
		};
		let verifier = PowVerifier::new(LaboraAlgorithm::new(self.client.clone()));
		let began = processor_time()?;
		let imported = import_single_block(&mut self.import, BlockOrigin::File, block, &verifier).await?;
		let took = processor_time()? - began;
		ensure!(
			matches!(&imported, BlockImportStatus::ImportedUnknown(_, imported, _) if imported.is_new_best),
			"{imported:?}"
		);
		(self.parent, self.height) = (hash, height);
		Ok(took)
	}

	/// A proof of idle work for the next block.
	fn idle(&self) -> WorkProof {
		WorkProof::Idle(IdleProof { nonce: 7, tile: TileIndex { row: 0, col: 0 } })
	}

	/// A proof of the unit's product for the next block.
	fn useful(&self, spec: &TaskSpec) -> Result<WorkProof> {
		let assignment = self.client.runtime_api().assignment(self.parent, AssignmentId(0))?;
		let target = MiningTarget {
			genesis: self.client.chain_info().genesis_hash.0,
			parent: self.parent.0,
			assignment: 0,
			difficulty: Difficulty(1),
		};
		let assignment = assignment.context("the unit is assigned to the only worker")?;
		product::prove(spec, &assignment, target).map(WorkProof::Useful)
	}
}

/// Milliseconds that this thread has run.
fn processor_time() -> Result<f64> {
	let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
	// SAFETY: `time` is a timespec to write to.
	let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
	ensure!(failed == 0, "Linux has this clock");
	Ok(time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6)
}

/// Transfers of the smallest amount to accounts that do not exist yet: each makes one.
fn transfers(turn: usize) -> impl Iterator<Item = RuntimeCall> {
	(0u32..).map(move |number| {
		let dest = AccountId::new(sp_io::hashing::blake2_256(&(turn as u32, number).encode()));
		let value = EXISTENTIAL_DEPOSIT;
		RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest: Address::Id(dest), value })
	})
}

/// A kind of block: its bytes, its extrinsics and the time of each import.
#[derive(Default)]
struct Kind {
	bytes: usize,
	extrinsics: usize,
	times: Vec<f64>,
}

impl Kind {
	async fn import(&mut self, chain: &mut Chain, block: opaque::Block) -> Result<()> {
		(self.bytes, self.extrinsics) = (block.encoded_size(), block.extrinsics().len());
		self.times.push(chain.import(block).await?);
		Ok(())
	}

	fn row(&self, name: &str, idle: &Self) {
		let counted = |times: &[f64]| times.iter().skip(1).copied().collect::<Vec<_>>();
		let ratios = self.times.iter().zip(&idle.times).map(|(own, idle)| own / idle).collect::<Vec<_>>();
		let spread = |mut values: Vec<f64>| {
			values.sort_by(f64::total_cmp);
			format!("{:.2} ({:.2}, {:.2})", values[values.len() / 2], values[0], values[values.len() - 1])
		};
		let (times, ratios) = (spread(counted(&self.times)), spread(counted(&ratios)));
		println!("| {name} | {} | {} | {times} | {ratios} |", self.bytes, self.extrinsics);
	}
}

/// Prints a row for each kind of block.
pub async fn measure() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let mut chain = Chain::open(dir.path())?;
	let spec = product::spec(K);
	let register = RuntimeCall::Workers(pallet_workers::Call::register { slots: 1, memory: 4_096 });
	let task = RuntimeCall::Tasks(pallet_tasks::Call::register { spec: spec.clone(), escrow: 100 * LAB });
	let first = chain.build(chain.idle(), [register, task])?;
	chain.import(first).await?;

	let (mut idle, mut useful, mut full) = (Kind::default(), Kind::default(), Kind::default());
	for turn in 0..=TURNS {
		let block = chain.build(chain.idle(), [])?;
		idle.import(&mut chain, block).await?;
		let proof = chain.useful(&spec)?;
		let block = chain.build(proof, [])?;
		useful.import(&mut chain, block).await?;
		if turn <= FULL_TURNS {
			let proof = chain.useful(&spec)?;
			let block = chain.build(proof, transfers(turn))?;
			full.import(&mut chain, block).await?;
		}
	}
	println!("\n| block | bytes | extrinsics | import, ms (least, most) | by an idle one's in turns (least, most) |");
	println!("| --- | --- | --- | --- | --- |");
	idle.row("idle block", &idle);
	useful.row(&format!("useful block, k = {K}"), &idle);
	full.row("useful block full of transfers", &idle);
	Ok(())
}
