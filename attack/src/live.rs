//! The rows that are played on a live node: it mines, serves its own units and watches the results of others (`--watch`); everyone else
//! is a client with an account, a bond and an engine. All rows share one node and a minute or two.

use std::{
	collections::{BTreeMap, BTreeSet},
	sync::Arc,
	time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use codec::{Decode, Encode};
use labora_cli::{
	client::Client,
	hexes::{from_hex, to_hex},
};
use labora_demo::node::Node;
use labora_primitives::{AccountId, Balance, BlockNumber, Hash, TaskId};
use labora_runtime::{constants::LAB, Runtime, RuntimeCall, RuntimeEvent, UncheckedExtrinsic};
use pallet_disputes::Fault;
use sp_core::{sr25519, Pair};
use sp_runtime::DispatchError;
use subxt::rpcs::rpc_params;

use crate::{
	agents::{Agent, Answers, Flooder, Impostor, Said, Seen, Still, View, Worker},
	forge::{pair, sign, PURSE},
	real::{balance, Genesis},
	row::{lab, ratio, Row},
	rows::one_element_by_audit_alone,
	unit::{Lie, Material, Shape},
};

/// What these rows are played on.
const LIVE: &str = "live node";
/// Memory that the clients offer, MiB: the tasks of the rows fit, those that the node's own miner works on do not.
const MEMORY: u32 = 8;
/// Slots of the node's own miner.
const SLOTS: usize = 6;
/// Units in which one element is changed, each in another place.
const CHANGED: u16 = 8;
/// Longest that the rows may take.
const LIMIT: Duration = Duration::from_secs(420);

/// A live node and those who talk to it.
struct Live {
	client: Client,
	genesis: Hash,
	agents: Vec<Agent>,
	tasks: BTreeMap<TaskId, Arc<Material>>,
	seen: Seen,
	events: Vec<RuntimeEvent>,
	height: u64,
	/// Calls on their way, by the hash of their extrinsic.
	waiting: BTreeMap<Hash, (Option<usize>, String)>,
	/// Failures of calls that are no agent's.
	failed: Vec<String>,
}

/// The name of a module's error.
fn name(error: &DispatchError) -> String {
	let DispatchError::Module(module) = error else { return format!("{error:?}") };
	let mut code = &module.error[..];
	let name = match module.index {
		11 => pallet_tasks::Error::<Runtime>::decode(&mut code).map(|error| format!("{error:?}")),
		12 => pallet_workers::Error::<Runtime>::decode(&mut code).map(|error| format!("{error:?}")),
		13 => pallet_disputes::Error::<Runtime>::decode(&mut code).map(|error| format!("{error:?}")),
		_ => Ok(format!("{module:?}")),
	};
	name.unwrap_or_else(|_| format!("{module:?}"))
}

type Events = Vec<frame_system::EventRecord<RuntimeEvent, Hash>>;

impl Live {
	async fn new(node: &Node, agents: Vec<Agent>) -> Result<Self> {
		let client = Client::connect(node.url()).await?;
		let genesis = Hash::from(client.genesis().0);
		let (tasks, seen, waiting) = (BTreeMap::new(), Seen::default(), BTreeMap::new());
		Ok(Self { client, genesis, agents, tasks, seen, events: vec![], height: 0, waiting, failed: vec![] })
	}

	/// Signs and sends calls of one account.
	async fn send(&mut self, by: Option<usize>, signer: &sr25519::Pair, calls: Vec<RuntimeCall>) -> Result<()> {
		use frame_support::traits::GetCallMetadata;
		let account = AccountId::from(signer.public()).to_string();
		let mut nonce: u32 = self.client.request("system_accountNextIndex", rpc_params![account]).await?;
		for call in calls {
			let meta = call.get_call_metadata();
			let call_name = format!("{}.{}", meta.pallet_name, meta.function_name);
			let extrinsic = sign(signer, call, self.genesis, nonce).encode();
			let hash = Hash::from(sp_io::hashing::blake2_256(&extrinsic));
			let text = to_hex(&extrinsic);
			match self.client.request::<String>("author_submitExtrinsic", rpc_params![text]).await {
				Ok(_) => {
					nonce += 1;
					self.waiting.insert(hash, (by, call_name));
				}
				Err(error) => self.note(by, call_name, Err(error.to_string())),
			}
		}
		Ok(())
	}

	fn note(&mut self, by: Option<usize>, call: String, result: Result<(), String>) {
		match (by, result) {
			(Some(index), result) => self.agents[index].said.push(Said { call, result }),
			(None, Err(error)) => self.failed.push(format!("{call}: {error}")),
			(None, Ok(())) => {}
		}
	}

	/// Reads the blocks up to the best one. Says whether there was one.
	async fn read(&mut self) -> Result<bool> {
		let best = self.client.best().await?.height;
		let before = self.height;
		while self.height < best {
			let next = self.height + 1;
			let hash: String = self.client.request("chain_getBlockHash", rpc_params![next]).await?;
			let block: serde_json::Value = self.client.request("chain_getBlock", rpc_params![&hash]).await?;
			let extrinsics = block["block"]["extrinsics"].as_array().context("a block's extrinsics")?;
			let encoded: Vec<Vec<u8>> = extrinsics
				.iter()
				.map(|text| Ok(from_hex(text.as_str().unwrap_or_default())?))
				.collect::<Result<_>>()?;
			let key = [sp_io::hashing::twox_128(b"System"), sp_io::hashing::twox_128(b"Events")].concat();
			let key = to_hex(key);
			let stored: String = self.client.request("state_getStorage", rpc_params![key, &hash]).await?;
			let events = Events::decode(&mut &from_hex(&stored)?[..])?;
			let ended = |index: usize| {
				let of = |phase: &frame_system::Phase| *phase == frame_system::Phase::ApplyExtrinsic(index as u32);
				events.iter().filter(|record| of(&record.phase)).find_map(|record| match &record.event {
					RuntimeEvent::System(frame_system::Event::ExtrinsicFailed { dispatch_error, .. }) => {
						Some(name(dispatch_error))
					}
					_ => None,
				})
			};
			let mut good = Vec::new();
			for (index, bytes) in encoded.iter().enumerate() {
				let error = ended(index);
				if error.is_none() {
					good.push(UncheckedExtrinsic::decode(&mut &bytes[..])?);
				}
				if let Some((by, call)) = self.waiting.remove(&Hash::from(sp_io::hashing::blake2_256(bytes))) {
					self.note(by, call, error.map_or(Ok(()), Err));
				}
			}
			self.seen.read(&good);
			self.events.extend(events.into_iter().map(|record| record.event));
			self.height = next;
		}
		ensure!(self.failed.is_empty(), "{:?}", self.failed);
		Ok(self.height > before)
	}

	/// What everyone can see at the last block that was read.
	async fn view(&self) -> Result<View> {
		let hash: String = self.client.request("chain_getBlockHash", rpc_params![self.height]).await?;
		let at = Some(subxt::utils::H256::from_slice(&from_hex(&hash)?));
		let mut view = View {
			height: self.height as BlockNumber,
			// What does not fit a block waits in the pool.
			patience: 12,
			tasks: self.tasks.clone(),
			seen: self.seen.clone(),
			disputes: self.client.disputes(at, None).await?,
			..View::default()
		};
		for agent in self.agents.iter().filter(|agent| agent.slots > 0) {
			view.assignments.extend(self.client.mining_context(at, agent.account()).await?.assignments);
		}
		for id in self.client.standing_results(at).await? {
			view.standing.extend(self.client.standing_result(at, id).await?.map(|result| (id, result)));
		}
		Ok(view)
	}

	/// Waits until all calls on their way are in blocks.
	async fn arrive(&mut self) -> Result<()> {
		let start = Instant::now();
		while !self.waiting.is_empty() {
			ensure!(start.elapsed() < LIMIT, "calls wait in vain: {:?}", self.waiting);
			self.read().await?;
			tokio::time::sleep(Duration::from_millis(200)).await;
		}
		Ok(())
	}

	/// Alice registers tasks.
	async fn register(&mut self, materials: Vec<Arc<Material>>) -> Result<()> {
		let mut calls = Vec::new();
		let first = self.client.task_count(None).await?;
		for (id, material) in (first..).zip(materials) {
			for (commitment, tensor) in material.tensors() {
				self.client.upload(&commitment, tensor.bytes(), |_| ()).await?;
			}
			let call = pallet_tasks::Call::register { spec: material.spec.clone(), escrow: material.escrow };
			calls.push(RuntimeCall::Tasks(call));
			self.tasks.insert(TaskId(id), material);
		}
		self.send(None, &pair("//Alice"), calls).await?;
		self.arrive().await
	}

	/// Everyone acts in a new block. Says what they saw.
	async fn act(&mut self) -> Result<Option<View>> {
		if !self.read().await? {
			tokio::time::sleep(Duration::from_millis(150)).await;
			return Ok(None);
		}
		let view = self.view().await?;
		for index in 0..self.agents.len() {
			let agent = &mut self.agents[index];
			let (account, pair) = (agent.account(), agent.pair.clone());
			let calls = agent.behaviour.act(&account, &view);
			if !calls.is_empty() {
				self.send(Some(index), &pair, calls).await?;
			}
		}
		Ok(Some(view))
	}

	fn agent(&self, name: &str) -> Result<&Agent> {
		self.agents.iter().find(|agent| agent.name == name).context("one of those who take part")
	}

	async fn balance(&self, name: &str) -> Result<Balance> {
		balance(&self.client, &self.agent(name)?.account()).await
	}

	/// How results of somebody fell.
	fn falls_of(&self, name: &str) -> Result<Vec<(Fault, Option<AccountId>)>> {
		let account = self.agent(name)?.account();
		let falls = self.events.iter().filter_map(|event| match event {
			RuntimeEvent::Disputes(pallet_disputes::Event::ResultFell { worker, fault, winner, .. })
				if *worker == account =>
			{
				Some((*fault, winner.clone()))
			}
			_ => None,
		});
		Ok(falls.collect())
	}
}

/// The account of the node, which mines and watches.
fn miner() -> AccountId {
	pair("//Miner").public().into()
}

/// Who takes part.
fn agents(genesis: &Genesis) -> Vec<Agent> {
	let engine = &genesis.engine;
	let account = |name| Agent::new(name, 0, Still).account();
	let changing = Worker { most: Some(CHANGED.into()), ..Worker::lying(engine, Lie::OneElement) };
	vec![
		Agent::new("live honest", 1, Worker::honest(engine)),
		Agent::new("no backward pass", 1, Worker::lying(engine, Lie::ZeroGradient)),
		Agent::new("one element", CHANGED, changing),
		Agent::new("silent", 1, Worker { answers: Answers::Audits, ..Worker::honest(engine) }),
		Agent::new("flooded", 1, Worker::honest(engine)),
		Agent::new("challenger", 0, Flooder::new(account("silent"), PURSE, 1)),
		Agent::new("flooder", 0, Flooder::new(account("flooded"), PURSE - LAB, 32)),
		Agent::new("impostor", 0, Impostor::new(account("silent"))),
	]
}

/// Skipped backward pass, one changed element, silence, a flood of challenges, answers for somebody else.
pub async fn rows(genesis: &Genesis) -> Result<Vec<Row>> {
	let dir = tempfile::tempdir()?;
	let slots = SLOTS.to_string();
	let arguments = ["--dev", "--mine", "--mining-threads", "1", "--slots", &slots, "--watch"];
	let node = Node::start(&dir.path().join("live"), &arguments)?;
	let rows = play(genesis, &node).await;
	if let Err(error) = &rows {
		eprintln!("live rows: {error:?}\nthe end of the node's log:\n{}", node.end_of_log());
	}
	node.stop()?;
	rows
}

async fn play(genesis: &Genesis, node: &Node) -> Result<Vec<Row>> {
	let mut live = Live::new(node, agents(genesis)).await?;
	// Work for the node's own miner, larger than the clients take.
	let long = Shape { units: 64, deadline: 2_000, width: 1_024, steps: 4_096, price: LAB, seed: 7 };
	live.register(vec![Arc::new(Material::new(&genesis.folder, long)?)]).await?;
	let funding = live.agents.iter().map(|agent| {
		let call = pallet_balances::Call::transfer_allow_death { dest: agent.account().into(), value: PURSE };
		RuntimeCall::Balances(call)
	});
	let funding = funding.collect();
	live.send(None, &pair("//Alice"), funding).await?;
	live.arrive().await?;
	let workers = live.agents.iter().filter(|agent| agent.slots > 0).map(|agent| (agent.pair.clone(), agent.slots));
	for (worker, slots) in workers.collect::<Vec<_>>() {
		let call = pallet_workers::Call::register { slots, memory: MEMORY };
		live.send(None, &worker, vec![RuntimeCall::Workers(call)]).await?;
	}
	live.arrive().await?;
	let miner = miner();
	let start = Instant::now();
	while live.client.mining_context(None, miner.clone()).await?.assignments.len() < SLOTS {
		ensure!(start.elapsed() < LIMIT, "the node's own miner gets no units");
		live.read().await?;
		tokio::time::sleep(Duration::from_millis(200)).await;
	}

	let mut seeds = 20u64..;
	let mut given = BTreeMap::<_, BTreeSet<_>>::new();
	let mut registered = 0;
	loop {
		ensure!(start.elapsed() < LIMIT, "after {} s something is still open", LIMIT.as_secs());
		let Some(view) = live.act().await? else { continue };
		for agent in live.agents.iter().filter(|agent| agent.slots > 0) {
			let account = agent.account();
			let units = view.assignments_of(&account).map(|assignment| assignment.id);
			given.entry(agent.name).or_default().extend(units);
		}
		// Somebody may have more: it leaves by a call that may wait a block longer than its result.
		let lacks =
			|agent: &Agent| usize::from(agent.slots).saturating_sub(given.get(agent.name).map_or(0, BTreeSet::len));
		let missing: usize = live.agents.iter().map(lacks).sum();
		// Two after two, so that their audits do not crowd the blocks. The node's own miner may draw some of the units: until
		// everyone has its own, there are more.
		if missing > 0 && live.height >= registered + 3 {
			let shapes = seeds.by_ref().take(missing.min(2)).map(|seed| Shape { seed, ..Shape::default() });
			let materials = shapes.map(|shape| Material::new(&genesis.folder, shape).map(Arc::new));
			live.register(materials.collect::<Result<_>>()?).await?;
			registered = live.height;
		}
		let open = |agent: &Agent| {
			let account = agent.account();
			let standing = view.standing.values().any(|result| result.worker == account);
			agent.slots > 0 && (standing || view.assignments_of(&account).next().is_some())
		};
		if missing == 0 && !live.agents.iter().any(open) {
			break;
		}
	}
	judge(genesis, &live).await
}

/// Checks what came of it, and makes the rows.
async fn judge(genesis: &Genesis, live: &Live) -> Result<Vec<Row>> {
	let honest = live.balance("live honest").await?;
	ensure!(honest > PURSE, "the honest worker earned something: {honest}");
	ensure!(live.falls_of("live honest")?.is_empty() && live.falls_of("flooded")?.is_empty());
	let usefulness = Some(ratio(&live.client.usefulness(None).await?));
	let miner = miner();
	let how = |fall: &(Fault, Option<AccountId>)| match fall {
		(fault, Some(_)) => format!("the watching node has it fall ({fault:?}) and gets half of the stake"),
		(fault, None) => format!("it falls by its audit ({fault:?})"),
	};
	let fell = |name| live.falls_of(name)?.pop().with_context(|| format!("{name}: the result stands"));
	let row = |attack, outcome: String, attacker: Balance| {
		ensure!(attacker < honest, "{attack}: {attacker} {honest}");
		let (attacker, honest) = (lab(attacker), lab(honest));
		Ok(Row { attack, on: LIVE, outcome, attacker, honest, usefulness, but: None })
	};

	let skipped = how(&fell("no backward pass")?);
	let falls = live.falls_of("one element")?;
	let submitted = live.agent("one element")?.count("Tasks.submit_result", Ok(()));
	ensure!(submitted >= usize::from(CHANGED) && falls.len() == submitted, "{submitted} results, {} fell", falls.len());
	ensure!(falls.iter().all(|(fault, _)| *fault == Fault::WrongBlock), "{falls:?}");
	let watched = falls.iter().filter(|(_, winner)| *winner == Some(miner.clone())).count();
	ensure!(watched > 0, "the watching node won nothing: {falls:?}");
	let task = Material::new(&genesis.folder, Shape::default())?;
	let alone = one_element_by_audit_alone(&task)?;
	let changed = format!(
		"all {submitted} units with another element each fall, {watched} by the watching node; the audit alone finds {} of {} such units (expected {:.1} %), and {} of {} that leave an op out (expected {:.1} %)",
		alone.element_found,
		alone.units,
		alone.element_expected * 100.0,
		alone.op_found,
		alone.units,
		alone.op_expected * 100.0
	);
	let (fault, winner) = fell("silent")?;
	ensure!(fault == Fault::Silence && winner == Some(live.agent("challenger")?.account()), "{fault:?} {winner:?}");
	let challenger = lab(live.balance("challenger").await?) - lab(PURSE);

	let flooder = live.agent("flooder")?;
	let made = flooder.count("Disputes.challenge", Ok(()));
	ensure!(made >= 3, "{:?}", flooder.said);
	let flooded = live.balance("flooded").await?;
	ensure!(flooded > honest, "whoever is flooded with false challenges earns by it: {flooded} {honest}");
	let flood = format!(
		"{made} false challenges: all answered, every bond lost, half of them to the worker, who ends with {:.2}",
		lab(flooded)
	);

	let impostor = live.agent("impostor")?;
	ensure!(!impostor.said.is_empty() && impostor.said.iter().all(|said| said.result.is_err()), "{:?}", impostor.said);
	let reasons: BTreeSet<_> = impostor.said.iter().filter_map(|said| said.result.clone().err()).collect();
	let reasons = reasons.into_iter().collect::<Vec<_>>().join(", ");
	let posing = format!("{} answers refused ({reasons}), paid for, and nobody is worse off", impostor.said.len());

	Ok(vec![
		row("skipped backward pass, zero gradient", skipped, live.balance("no backward pass").await?)?,
		row("one element changed in one tensor", changed, live.balance("one element").await?)?,
		row(
			"a challenge and no answer",
			format!("the result falls (Silence), though it was right: the challenger gets {challenger:.2} LAB"),
			live.balance("silent").await?,
		)?,
		row("a flood of false challenges", flood, live.balance("flooder").await?)?,
		row("answering for someone else", posing, live.balance("impostor").await?)?,
	])
}
