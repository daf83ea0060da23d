//! Chains whose every block the attacker's side makes: whole blocks with real proofs, seals and state roots, for real nodes to judge.
//!
//! The runtime runs natively on the state of a real node's genesis; a ticket is mined with the real engine. The clock is the
//! forger's: blocks lie a second apart and some hours back, so that a chain of a hundred blocks takes seconds, and a first pause
//! of two minutes lowers the difficulty as far as the rules let it. [`crate::real`] gives the blocks to real nodes, which check
//! all of it.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{ensure, Result};
use codec::{Decode, Encode};
use labora_engine::{Engine, MiningTarget};
use labora_pouw::{Difficulty, IdleProof, IdleSeed};
use labora_primitives::{AccountId, Balance, Hash, TaskId, Usefulness, WorkProof};
use labora_runtime::{
	signing::SigningContext, Address, Block, Disputes, Executive, Header, Runtime, RuntimeCall, RuntimeEvent,
	RuntimeOrigin, Signature, System, Tasks, Timestamp, UncheckedExtrinsic, Work, VERSION,
};
use sp_core::{sr25519, Pair};
use sp_io::TestExternalities;
use sp_runtime::{
	generic::{Digest, Era},
	traits::{BlakeTwo256, Hash as _, Header as _},
	DigestItem, DispatchError,
};

use crate::{
	agents::{Agent, Seen, View},
	real::Genesis,
	unit::{mine, Material},
};

/// What everyone starts with.
pub const PURSE: Balance = 1_000 * labora_runtime::constants::LAB;
/// How far back the forged chains lie, milliseconds.
const AGE: u64 = 6 * 3_600_000;
/// The pause after the first block, milliseconds: the difficulty falls to 2^-8 of the first.
const PAUSE: u64 = 121_000;
/// Time between blocks, milliseconds.
const PACE: u64 = 1_000;

/// A chain and its state.
pub struct Forge {
	ext: TestExternalities,
	genesis: Hash,
	head: Header,
	/// Time of the best block, milliseconds.
	pub time: u64,
	/// All blocks, from the first.
	pub blocks: Vec<Block>,
	engine: Arc<Engine>,
}

/// A place to come back to.
pub struct Mark {
	ext: TestExternalities,
	head: Header,
	time: u64,
	blocks: Vec<Block>,
}

/// What a dispatch ended with, by name.
fn name(error: DispatchError) -> String {
	match error {
		DispatchError::Module(error) => error.message.unwrap_or("a module's error").to_owned(),
		other => format!("{other:?}"),
	}
}

/// A pair from a secret.
#[allow(clippy::expect_used)]
pub fn pair(uri: &str) -> sr25519::Pair {
	sr25519::Pair::from_string(uri, None).expect("a valid derivation path")
}

fn pre_digest(author: &sr25519::Pair) -> DigestItem {
	DigestItem::PreRuntime(pallet_work::ENGINE_ID, author.public().encode())
}

/// Signs a block: its last digest.
pub fn seal(header: &mut Header, author: &sr25519::Pair) {
	let seal = author.sign(header.hash().as_bytes());
	header.digest.push(DigestItem::Seal(pallet_work::ENGINE_ID, seal.encode()));
}

/// Makes a changed block as good as its forger can: right extrinsics root, named author, his seal.
pub fn reseal(block: &mut Block, author: &sr25519::Pair) {
	let extrinsics = block.extrinsics.iter().map(Encode::encode).collect();
	block.header.extrinsics_root = BlakeTwo256::ordered_trie_root(extrinsics, sp_core::storage::StateVersion::V1);
	block.header.digest.logs = vec![pre_digest(author)];
	seal(&mut block.header, author);
}

/// Puts another inherent of the same pallet into a block.
pub fn replace(block: &mut Block, call: RuntimeCall) {
	let same =
		|extrinsic: &UncheckedExtrinsic| core::mem::discriminant(&extrinsic.function) == core::mem::discriminant(&call);
	if let Some(at) = block.extrinsics.iter().position(same) {
		block.extrinsics[at] = UncheckedExtrinsic::new_bare(call);
	}
}

/// Signs a call.
pub fn sign(pair: &sr25519::Pair, call: RuntimeCall, genesis: Hash, nonce: u32) -> UncheckedExtrinsic {
	let (spec, transaction) = (VERSION.spec_version, VERSION.transaction_version);
	let context = SigningContext { spec, transaction, genesis, era: Era::Immortal, birth: genesis, nonce };
	let payload = context.payload(call);
	let signature = Signature::Sr25519(payload.using_encoded(|bytes| pair.sign(bytes)));
	let (call, extension, _) = payload.deconstruct();
	let account = AccountId::from(pair.public());
	// Decoded from its bytes: it is then what a node reads.
	let signed = UncheckedExtrinsic::new_signed(call, Address::Id(account), signature, extension);
	#[allow(clippy::expect_used)]
	UncheckedExtrinsic::decode(&mut &signed.encode()[..]).expect("just encoded")
}

/// A timestamp inherent.
pub fn timestamp(now: u64) -> RuntimeCall {
	RuntimeCall::Timestamp(pallet_timestamp::Call::set { now })
}

/// A proof inherent.
pub fn proof(proof: WorkProof) -> RuntimeCall {
	RuntimeCall::Work(pallet_work::Call::prove { proof })
}

impl Forge {
	/// A chain at its genesis, then two blocks of `//Miner`: the difficulty is low from then on.
	pub fn new(genesis: &Genesis, engine: Arc<Engine>) -> Result<Self> {
		let mut ext = TestExternalities::new_empty();
		ext.state_version = sp_core::storage::StateVersion::V1;
		ext.backend = Default::default();
		ext.batch_insert(genesis.state.iter().cloned());
		ensure!(*ext.backend.root() == genesis.header.state_root, "the node's genesis state is another");
		let hash = genesis.header.hash();
		let time = genesis.now - AGE;
		let mut forge = Self { ext, genesis: hash, head: genesis.header.clone(), time, blocks: Vec::new(), engine };
		let known = genesis.first_blocks();
		if !known.is_empty() {
			known.into_iter().try_for_each(|block| forge.replay(block))?;
			return Ok(forge);
		}
		let miner = pair("//Miner");
		for after in [0, PAUSE] {
			let proof = forge.mine_idle(&miner.public().into());
			forge.block(&miner, WorkProof::Idle(proof), vec![], forge.time + after)?;
		}
		genesis.remember(forge.blocks.clone());
		Ok(forge)
	}

	/// Asks the state something.
	pub fn with<R>(&mut self, ask: impl FnOnce() -> R) -> R {
		self.ext.execute_with(ask)
	}

	/// Hash of the best block.
	pub fn hash(&self) -> Hash {
		self.head.hash()
	}

	/// Height of the best block.
	pub fn height(&self) -> u32 {
		self.head.number
	}

	/// The time of the next block.
	pub fn next_time(&self) -> u64 {
		self.time + PACE
	}

	/// Difficulty of the next block.
	pub fn difficulty(&mut self) -> Difficulty {
		self.with(Work::difficulty)
	}

	/// What an account owns, held or free.
	pub fn balance(&mut self, who: &AccountId) -> Balance {
		self.with(|| {
			let data = System::account(who).data;
			data.free + data.reserved
		})
	}

	/// How useful the chain's work was.
	pub fn usefulness(&mut self) -> Usefulness {
		self.with(pallet_work::WorkTotals::<Runtime>::get)
	}

	/// What tickets of an assignment are drawn for now.
	pub fn target(&mut self, assignment: u64) -> MiningTarget {
		let (genesis, parent) = (self.genesis.0, self.hash().0);
		MiningTarget { genesis, parent, assignment, difficulty: self.difficulty() }
	}

	/// A winning idle ticket.
	pub fn mine_idle(&mut self, who: &AccountId) -> IdleProof {
		let (account, target) = (who.encode(), self.target(0));
		let of = |nonce| {
			let seed = IdleSeed { genesis: &target.genesis, parent: &target.parent, account: &account, nonce };
			self.engine.idle(&seed, target.difficulty, &|| false)
		};
		(0..).find_map(of).unwrap_or(IdleProof { nonce: 0, tile: labora_pouw::TileIndex { row: 0, col: 0 } })
	}

	/// Why the runtime refuses a proof in the next block by an author; none: it takes it.
	pub fn refusal(&mut self, author: &sr25519::Pair, proof: WorkProof) -> Option<String> {
		let header = self.open(author);
		let time = self.next_time();
		let refused = self.ext.execute_with(|| {
			Executive::initialize_block(&header);
			let _ = Timestamp::set(RuntimeOrigin::none(), time);
			Work::prove(RuntimeOrigin::none(), proof).err().map(name)
		});
		self.ext.reset_overlay();
		refused
	}

	fn open(&self, author: &sr25519::Pair) -> Header {
		let digest = Digest { logs: vec![pre_digest(author)] };
		Header::new(self.head.number + 1, Default::default(), Default::default(), self.hash(), digest)
	}

	/// Makes a block and builds on it. Gives what became of the calls.
	pub fn block(
		&mut self,
		author: &sr25519::Pair,
		work: WorkProof,
		calls: Vec<(sr25519::Pair, RuntimeCall)>,
		time: u64,
	) -> Result<Vec<Result<(), String>>> {
		let header = self.open(author);
		let genesis = self.genesis;
		let built = self.ext.execute_with(|| -> Result<_> {
			Executive::initialize_block(&header);
			let mut extrinsics = Vec::new();
			for inherent in [timestamp(time), proof(work)] {
				let extrinsic = UncheckedExtrinsic::new_bare(inherent);
				let applied = Executive::apply_extrinsic(extrinsic.clone());
				ensure!(matches!(applied, Ok(Ok(()))), "an inherent is refused: {applied:?}");
				extrinsics.push(extrinsic);
			}
			let mut results = Vec::new();
			for (signer, call) in calls {
				let nonce = System::account_nonce(AccountId::from(signer.public()));
				let extrinsic = sign(&signer, call, genesis, nonce);
				sp_io::storage::start_transaction();
				match Executive::apply_extrinsic(extrinsic.clone()) {
					Ok(result) => {
						sp_io::storage::commit_transaction();
						extrinsics.push(extrinsic);
						results.push(result.map_err(name));
					}
					Err(error) => {
						sp_io::storage::rollback_transaction();
						results.push(Err(format!("not taken: {error:?}")));
					}
				}
			}
			Ok((Executive::finalize_block(), extrinsics, results))
		});
		let (mut header, extrinsics, results) = match built {
			Ok(built) => built,
			Err(error) => {
				self.ext.reset_overlay();
				return Err(error);
			}
		};
		self.ext.commit_all().map_err(anyhow::Error::msg)?;
		ensure!(*self.ext.backend.root() == header.state_root, "the state's root");
		seal(&mut header, author);
		self.head = header.clone();
		self.time = time;
		self.blocks.push(Block { header, extrinsics });
		Ok(results)
	}

	/// A chain's state on its own.
	fn copy(ext: &TestExternalities) -> TestExternalities {
		let mut copy = TestExternalities::new_empty();
		copy.state_version = sp_core::storage::StateVersion::V1;
		copy.backend = ext.backend.clone();
		copy
	}

	/// Executes a block that was made before.
	fn replay(&mut self, block: Block) -> Result<()> {
		let header = self.ext.execute_with(|| {
			Executive::initialize_block(&block.header);
			for extrinsic in &block.extrinsics {
				let _ = Executive::apply_extrinsic(extrinsic.clone());
			}
			Executive::finalize_block()
		});
		self.ext.commit_all().map_err(anyhow::Error::msg)?;
		ensure!(header.state_root == block.header.state_root, "the same block, another state");
		self.time = self.with(Timestamp::get);
		self.head = block.header.clone();
		self.blocks.push(block);
		Ok(())
	}

	/// Where the chain is.
	pub fn mark(&self) -> Mark {
		Mark { ext: Self::copy(&self.ext), head: self.head.clone(), time: self.time, blocks: self.blocks.clone() }
	}

	/// Goes back there.
	pub fn rewind(&mut self, mark: &Mark) {
		self.ext = Self::copy(&mark.ext);
		self.head = mark.head.clone();
		self.time = mark.time;
		self.blocks = mark.blocks.clone();
	}

	/// Tries something out: the state stays as it is.
	pub fn dry<R>(&mut self, what: impl FnOnce() -> R) -> R {
		let result = self.ext.execute_with(what);
		self.ext.reset_overlay();
		result
	}
}

/// Who seals a block, with what.
pub enum Seal {
	/// The honest miner that keeps the chain going, with a unit of its own.
	Keeper,
	/// Somebody's idle work.
	Idle(&'static str),
	/// Somebody's unit that has sealed fewer blocks than this, computed honestly; the keeper seals if no ticket of it wins.
	Unit(&'static str, usize),
	/// Somebody, with this.
	Proof(&'static str, WorkProof),
}

/// A forged chain with those who take part in it.
pub struct World {
	/// The chain.
	pub forge: Forge,
	/// Who takes part; the keeper is the first.
	pub agents: Vec<Agent>,
	/// The tasks.
	pub tasks: BTreeMap<TaskId, Arc<Material>>,
	/// What was read in blocks.
	pub seen: Seen,
	/// Calls for the next block, beside those of the agents.
	pub calls: Vec<(sr25519::Pair, RuntimeCall)>,
	/// What became of those for the last block.
	pub called: Vec<Result<(), String>>,
	/// The pallets' events so far.
	pub events: Vec<RuntimeEvent>,
	/// The work of the first blocks, whose difficulty is another.
	pub before: Usefulness,
	/// Nobody acts in the next block.
	pub hold: bool,
	/// The engine that everyone computes with.
	pub engine: Arc<Engine>,
}

/// Slots of the keeper.
const KEEPER_SLOTS: u16 = 6;
/// Blocks that a unit's work is worth at the difficulty of forged chains, rounded down.
pub const SEALS_PER_UNIT: usize = 3;

/// Most blocks until everything that two workers did is settled.
const MOST_BLOCKS: u32 = 400;

impl World {
	/// A chain on which everyone has a purse and its slots, and the keeper its units.
	pub fn new(genesis: &Genesis, mut agents: Vec<Agent>) -> Result<Self> {
		let engine = genesis.engine.clone();
		let keeper =
			crate::agents::Worker { after: Some(SEALS_PER_UNIT), most: None, ..crate::agents::Worker::honest(&engine) };
		let mut all =
			vec![Agent { uri: "//Miner".into(), pair: pair("//Miner"), ..Agent::new("keeper", KEEPER_SLOTS, keeper) }];
		all.append(&mut agents);
		let mut forge = Forge::new(genesis, engine.clone())?;
		let before = forge.usefulness();
		let (tasks, seen, calls) = (BTreeMap::new(), Seen::default(), Vec::new());
		let (called, events) = (Vec::new(), Vec::new());
		let mut world = Self { forge, agents: all, tasks, seen, calls, called, events, before, hold: false, engine };
		for agent in &world.agents[1..] {
			let call = pallet_balances::Call::transfer_allow_death { dest: agent.account().into(), value: PURSE };
			world.calls.push((pair("//Alice"), RuntimeCall::Balances(call)));
		}
		world.block(Seal::Idle("keeper"))?;
		for agent in world.agents.iter().filter(|agent| agent.slots > 0 && agent.name != "keeper") {
			let call = pallet_workers::Call::register { slots: agent.slots, memory: 64 };
			world.calls.push((agent.pair.clone(), RuntimeCall::Workers(call)));
		}
		world.block(Seal::Idle("keeper"))?;
		ensure!(world.called.iter().all(Result::is_ok), "{:?}", world.called);
		Ok(world)
	}

	/// Somebody becomes a worker in the next block.
	pub fn enlist(&mut self, name: &str, slots: u16) {
		let call = pallet_workers::Call::register { slots, memory: 64 };
		self.calls.push((self.agent(name).pair.clone(), RuntimeCall::Workers(call)));
	}

	/// Lets the keeper work, after everyone has the units that it is to have.
	pub fn start_keeper(&mut self, material: Arc<Material>) -> Result<()> {
		self.enlist("keeper", KEEPER_SLOTS);
		self.register(&[material]).map(|_| ())
	}

	/// Alice registers tasks, in one block.
	pub fn register(&mut self, materials: &[Arc<Material>]) -> Result<Vec<TaskId>> {
		self.register_by(&pair("//Alice"), materials)
	}

	/// Somebody registers tasks, in one block.
	pub fn register_by(&mut self, sponsor: &sr25519::Pair, materials: &[Arc<Material>]) -> Result<Vec<TaskId>> {
		let first = self.forge.with(pallet_tasks::NextTask::<Runtime>::get).0;
		let ids: Vec<_> = (first..).map(TaskId).take(materials.len()).collect();
		for (id, material) in ids.iter().zip(materials) {
			self.tasks.insert(*id, material.clone());
			let call = pallet_tasks::Call::register { spec: material.spec.clone(), escrow: material.escrow };
			self.calls.push((sponsor.clone(), RuntimeCall::Tasks(call)));
		}
		self.hold = true;
		self.block(Seal::Idle("keeper"))?;
		ensure!(self.called.iter().all(Result::is_ok), "{:?}", self.called);
		Ok(ids)
	}

	/// Somebody who takes part.
	#[allow(clippy::expect_used)]
	pub fn agent(&self, name: &str) -> &Agent {
		self.agents.iter().find(|agent| agent.name == name).expect("one of those who take part")
	}

	/// Whether something happened so far.
	pub fn happened(&self, wanted: impl Fn(&RuntimeEvent) -> bool) -> bool {
		self.events.iter().any(wanted)
	}

	/// How a result of somebody fell: the fault, and who proved it.
	pub fn fall_of(&self, name: &str) -> Option<(pallet_disputes::Fault, Option<AccountId>)> {
		let account = self.agent(name).account();
		self.events.iter().find_map(|event| match event {
			RuntimeEvent::Disputes(pallet_disputes::Event::ResultFell { worker, fault, winner, .. })
				if *worker == account =>
			{
				Some((*fault, winner.clone()))
			}
			_ => None,
		})
	}

	/// What somebody owns.
	pub fn balance(&mut self, name: &str) -> Balance {
		let account = self.agent(name).account();
		self.forge.balance(&account)
	}

	/// What everyone can see at the best block.
	pub fn view(&mut self) -> View {
		let height = self.forge.height();
		let (tasks, seen) = (self.tasks.clone(), self.seen.clone());
		self.forge.with(|| View {
			height,
			// What did not fit a block is sent again for the next.
			patience: 1,
			assignments: pallet_workers::Assignments::<Runtime>::iter_values().collect(),
			seals: pallet_work::HeldRewards::<Runtime>::iter()
				.map(|(id, held)| (id, held.seals.into_inner()))
				.collect(),
			disputes: Disputes::disputes(None),
			standing: pallet_tasks::Standing::<Runtime>::iter_keys()
				.filter_map(|id| Some((id, Tasks::standing_result(id)?)))
				.collect(),
			tasks,
			seen,
		})
	}

	/// A winning ticket of one of somebody's units: of the one with the fewest blocks that has less than `most`.
	pub fn mine_unit(&mut self, name: &str, most: usize) -> Option<WorkProof> {
		let account = self.agent(name).account();
		let view = self.view();
		let sealed = |id| view.seals.get(id).map_or(0, Vec::len);
		let mut units: Vec<_> = view.assignments_of(&account).filter(|unit| sealed(&unit.id) < most).collect();
		units.sort_by_key(|unit| (sealed(&unit.id), unit.id));
		units.into_iter().find_map(|assignment| {
			let labora_primitives::UnitKind::Steps(unit) = assignment.unit.kind else { return None };
			let plan = self.tasks.get(&assignment.unit.task)?.plan(unit);
			let target = self.forge.target(assignment.id.0);
			mine(&plan, target, &self.engine).map(WorkProof::Useful)
		})
	}

	/// The proof and the author of a block.
	fn work(&mut self, seal: Seal) -> (sr25519::Pair, WorkProof) {
		let found = match seal {
			Seal::Proof(name, proof) => Some((name, proof)),
			Seal::Idle(name) => {
				let account = self.agent(name).account();
				Some((name, WorkProof::Idle(self.forge.mine_idle(&account))))
			}
			Seal::Unit(name, most) => self.mine_unit(name, most).map(|proof| (name, proof)),
			Seal::Keeper => None,
		};
		let (name, proof) = match found {
			Some(found) => found,
			None => match self.mine_unit("keeper", SEALS_PER_UNIT) {
				Some(proof) => ("keeper", proof),
				None => {
					let account = self.agent("keeper").account();
					("keeper", WorkProof::Idle(self.forge.mine_idle(&account)))
				}
			},
		};
		(self.agent(name).pair.clone(), proof)
	}

	/// Makes a block in which everyone does what it wants to.
	pub fn block(&mut self, seal: Seal) -> Result<()> {
		let time = self.forge.next_time();
		self.block_at(seal, time)
	}

	/// The same, with a time.
	pub fn block_at(&mut self, seal: Seal, time: u64) -> Result<()> {
		use frame_support::traits::GetCallMetadata;
		let mut calls = std::mem::take(&mut self.calls);
		let mut by: Vec<Option<usize>> = vec![None; calls.len()];
		if !std::mem::take(&mut self.hold) {
			let view = self.view();
			// The keeper last: its answers must not take the room of the others'.
			for (index, agent) in self.agents.iter_mut().enumerate().rev() {
				let account = agent.account();
				for call in agent.behaviour.act(&account, &view) {
					calls.push((agent.pair.clone(), call));
					by.push(Some(index));
				}
			}
		}
		let (author, proof) = self.work(seal);
		let names: Vec<_> = calls
			.iter()
			.map(|(_, call)| call.get_call_metadata())
			.map(|meta| format!("{}.{}", meta.pallet_name, meta.function_name))
			.collect();
		let results = self.forge.block(&author, proof, calls, time)?;
		self.called.clear();
		for ((by, call), result) in by.into_iter().zip(names).zip(results) {
			match by {
				Some(index) => self.agents[index].said.push(crate::agents::Said { call, result }),
				None => self.called.push(result),
			}
		}
		let events = self.forge.with(|| System::events().into_iter().map(|record| record.event).collect::<Vec<_>>());
		self.events.extend(events);
		if let Some(block) = self.forge.blocks.last() {
			self.seen.read(&block.extrinsics);
		}
		Ok(())
	}

	/// Goes on until nothing is open about these any more.
	pub fn settle(&mut self, names: &[&str]) -> Result<()> {
		let accounts: Vec<_> = names.iter().map(|name| self.agent(name).account()).collect();
		// A window is as long as the unit took, and 16 blocks more.
		for _ in 0..MOST_BLOCKS {
			let view = self.view();
			let open = |who: &AccountId| {
				view.assignments_of(who).next().is_some() || view.standing.values().any(|result| result.worker == *who)
			};
			if !accounts.iter().any(open) {
				return Ok(());
			}
			self.block(Seal::Keeper)?;
		}
		anyhow::bail!("after {MOST_BLOCKS} blocks something is open about {names:?}")
	}
}
