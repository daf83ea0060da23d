//! The watcher: computes other workers' units again, and challenges what is wrong.
//!
//! It looks at every standing result, or at a random part of them, on a thread of its own. A result whose trace is the one that it computed
//! itself is right. Else it demands, one claim after the other, what leads to the first wrong block (`labora-witness`): a worker
//! that shows it proves itself wrong, one that does not is overdue.
//!
//! What it is told it reads from the blocks: everything but the honest computation follows from the chain, so a restart loses nothing.

use std::{
	collections::{BTreeMap, BTreeSet},
	sync::{mpsc, Arc},
};

use codec::{Decode, Encode};
use futures::StreamExt;
use labora_engine::{Engine, EngineError, NoMiner, UnitPlan};
use labora_graph::{OpIndex, Program, Trace};
use labora_primitives::{
	api::LaboraApi, AccountId, AssignmentId, BlockNumber, Claim, Dispute, Hash, SpecError, StandingResult,
};
use labora_runtime::{opaque::Block, Nonce, RuntimeCall, UncheckedExtrinsic};
use labora_tensor::Tensor;
use labora_witness::{next, Honest, Next, Shown};
use prometheus_endpoint::{register, Counter, PrometheusError, Registry, U64};
use sc_client_api::{BlockBackend, BlockchainEvents};
use sc_transaction_pool_api::TransactionPool;
use sp_api::{ApiError, Core, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;
use sp_keystore::KeystorePtr;
use substrate_frame_rpc_system::AccountNonceApi;

use crate::{
	exchange::Fetcher,
	tensor_store::TensorStore,
	worker::{
		chain::{Chain, RuntimeChain},
		inputs::{InputError, Inputs, Tensors},
		transactions::{Sent, Transactions},
		unit::Origin,
	},
};

/// Log target of the watcher.
const LOG_TARGET: &str = "labora::watcher";
/// Blocks after which a challenge that is not on chain is submitted again, in the place of the first if that still waits in the pool.
const PATIENCE: BlockNumber = 3;
/// Honest traces that are kept.
const MAX_TRACES: usize = 64;
/// Calls inside calls that are looked into for answers.
const MAX_NESTING: usize = 8;

/// How to watch.
#[derive(Clone, Debug)]
pub struct WatchConfig {
	/// The account that challenges. Its key is in the keystore.
	pub account: AccountId,
	/// Part of the results that is looked at, 0 to 1.
	pub share: f64,
	/// Memory for tensors that units share, MiB.
	pub memory_mib: u32,
}

/// What the thread is told.
struct Look {
	assignment: AssignmentId,
	result: StandingResult,
	origin: Origin,
	/// What was shown of it so far.
	shown: Shown,
}

/// What it found.
struct Finding {
	assignment: AssignmentId,
	next: Result<Next, WatchError>,
}

/// Why a result cannot be looked at.
#[derive(Debug, thiserror::Error)]
enum WatchError {
	#[error(transparent)]
	Inputs(#[from] InputError),
	#[error("its task is not well-formed: {0:?}")]
	Spec(SpecError),
	#[error(transparent)]
	Engine(#[from] EngineError),
}

struct Metrics {
	right: Counter<U64>,
	wrong: Counter<U64>,
	unknown: Counter<U64>,
}

impl Metrics {
	fn new(registry: Option<&Registry>) -> Result<Self, PrometheusError> {
		let counter = |name: &str, help: &str| {
			let counter = Counter::new(name, help)?;
			match registry {
				Some(registry) => register(counter, registry),
				None => Ok(counter),
			}
		};
		Ok(Self {
			right: counter("labora_watched_right", "Results that were computed again and are right")?,
			wrong: counter("labora_watched_wrong", "Results that were computed again and are wrong")?,
			unknown: counter("labora_watched_unknown", "Results that could not be computed again")?,
		})
	}
}

/// A result under watch.
enum State {
	/// The thread has it.
	Looking,
	/// It is right, or it cannot be told, or it was not drawn.
	Done,
	/// This is demanded of it, and was when the best block had this height, by this extrinsic if the pool took it.
	Asked(Claim, BlockNumber, Option<Sent>),
}

struct Watcher<C, P> {
	config: WatchConfig,
	client: Arc<C>,
	chain: RuntimeChain<C>,
	transactions: Transactions<C, P>,
	looks: mpsc::Sender<Look>,
	metrics: Metrics,
	/// Draws which results are looked at: nobody else can tell.
	secret: [u8; 32],
	states: BTreeMap<AssignmentId, State>,
	shown: BTreeMap<AssignmentId, Shown>,
}

/// Watches until the client stops.
#[allow(clippy::too_many_arguments)]
pub async fn run<C, P>(
	config: WatchConfig,
	client: Arc<C>,
	pool: Arc<P>,
	keystore: KeystorePtr,
	tensors: (Arc<TensorStore>, Arc<Fetcher>),
	registry: Option<Registry>,
) where
	C: ProvideRuntimeApi<Block>
		+ HeaderBackend<Block>
		+ BlockBackend<Block>
		+ BlockchainEvents<Block>
		+ Send
		+ Sync
		+ 'static,
	C::Api: Core<Block> + LaboraApi<Block> + AccountNonceApi<Block, AccountId, Nonce>,
	P: TransactionPool<Block = Block, Hash = Hash> + 'static,
{
	let metrics = match Metrics::new(registry.as_ref()) {
		Ok(metrics) => metrics,
		Err(error) => return log::error!(target: LOG_TARGET, "The watcher's metrics cannot be registered: {error}"),
	};
	let (looks, queue) = mpsc::channel();
	let (findings, mut found) = tokio::sync::mpsc::unbounded_channel();
	let (store, fetcher) = tensors;
	let tensors = Tensors::new(store, fetcher, (config.memory_mib as usize) << 20);
	let work = move || look_all(&tensors, &queue, &findings);
	if let Err(error) = std::thread::Builder::new().name("labora-watcher".into()).spawn(work) {
		return log::error!(target: LOG_TARGET, "The watcher cannot be started: {error}");
	}
	log::info!(target: LOG_TARGET, "👀 Watching {:.0} % of the results as {}", config.share * 100.0, config.account);
	let mut imports = client.import_notification_stream();
	let mut watcher = Watcher {
		transactions: Transactions::new(client.clone(), pool, keystore, config.account.clone()),
		chain: RuntimeChain::new(client.clone()),
		secret: rand::random(),
		config,
		client,
		looks,
		metrics,
		states: BTreeMap::new(),
		shown: BTreeMap::new(),
	};
	loop {
		tokio::select! {
			import = imports.next() => {
				let Some(import) = import else { return };
				watcher.read_answers(import.hash);
				if import.is_new_best {
					if let Err(error) = watcher.on_best(import.hash).await {
						log::warn!(target: LOG_TARGET, "The results cannot be read: {error}");
					}
				}
			}
			Some(finding) = found.recv() => watcher.on_finding(finding).await,
		}
	}
}

impl<C, P> Watcher<C, P>
where
	C: ProvideRuntimeApi<Block> + HeaderBackend<Block> + BlockBackend<Block> + Send + Sync,
	C::Api: Core<Block> + LaboraApi<Block> + AccountNonceApi<Block, AccountId, Nonce>,
	P: TransactionPool<Block = Block, Hash = Hash> + 'static,
{
	/// Whether a result is among those that are looked at.
	fn is_drawn(&self, assignment: AssignmentId) -> bool {
		let draw = (self.secret, assignment).using_encoded(sp_io::hashing::blake2_256);
		let [a, b, c, d, ..] = draw;
		f64::from(u32::from_le_bytes([a, b, c, d])) < self.config.share * (f64::from(u32::MAX) + 1.0)
	}

	/// Keeps what a block shows of results. Whether an answer was taken, [`Watcher::look`] judges.
	fn read_answers(&mut self, block: Hash) {
		let Ok(Some(body)) = self.client.block_body(block) else { return };
		for extrinsic in body {
			let Ok(extrinsic) = UncheckedExtrinsic::decode(&mut &extrinsic.encode()[..]) else { continue };
			let mut answers = Vec::new();
			find_answers(&extrinsic.function, 0, &mut answers);
			for (assignment, claim, answer) in answers {
				self.shown.entry(assignment).or_default().insert(claim, answer.clone());
			}
		}
	}

	async fn on_best(&mut self, best: Hash) -> Result<(), ApiError> {
		let height = self.client.number(best).ok().flatten().unwrap_or(0);
		let standing: BTreeSet<_> = self.client.runtime_api().standing_results(best)?.into_iter().collect();
		self.states.retain(|id, _| standing.contains(id));
		self.shown.retain(|id, _| standing.contains(id));
		let disputes = self.client.runtime_api().disputes(best, None)?;
		for id in standing {
			match self.states.get(&id) {
				None if self.is_drawn(id) => self.look(best, id)?,
				None => {
					self.states.insert(id, State::Done);
				}
				Some(State::Asked(claim, since, sent)) => {
					let (claim, since, sent) = (*claim, *since, *sent);
					let is_open = |dispute: &Dispute| {
						dispute.assignment == id && dispute.demands.iter().any(|demand| demand.claim == claim)
					};
					let shown = self.shown.get(&id).is_some_and(|shown| shown.contains_key(&claim));
					// A challenge that neither stands, nor is answered, nor waits was lost on the way.
					let waiting = sent.filter(|sent| self.transactions.is_waiting(sent));
					let late = since.saturating_add(PATIENCE) < height;
					if disputes.iter().any(is_open) {
						self.states.insert(id, State::Asked(claim, height, sent));
					} else if shown {
						self.look(best, id)?;
					} else if late && waiting.is_some() {
						self.demand(id, claim, waiting).await;
					} else if late {
						self.transactions.resync();
						self.look(best, id)?;
					}
				}
				Some(State::Looking | State::Done) => {}
			}
		}
		Ok(())
	}

	/// Gives a result to the thread.
	fn look(&mut self, best: Hash, assignment: AssignmentId) -> Result<(), ApiError> {
		let Some(result) = self.client.runtime_api().standing_result(best, assignment)? else { return Ok(()) };
		if result.worker == self.config.account {
			self.states.insert(assignment, State::Done);
			return Ok(());
		}
		let origin = match Origin::of_result(&self.chain as &dyn Chain, best, &result) {
			Ok(origin) => origin,
			Err(error) => {
				log::debug!(target: LOG_TARGET, "What assignment {assignment} starts from is unknown: {error}");
				return Ok(());
			}
		};
		let shown = self.taken(&origin, &result, assignment);
		self.states.insert(assignment, State::Looking);
		// Without a receiver the node stops.
		let _ = self.looks.send(Look { assignment, result, origin, shown });
		Ok(())
	}

	/// The answers that the chain took: those that verify. Others stood in blocks, too, and failed.
	fn taken(&self, origin: &Origin, result: &StandingResult, assignment: AssignmentId) -> Shown {
		let Ok(program) = origin.program() else { return Shown::new() };
		let shown = self.shown.get(&assignment).into_iter().flatten();
		let good = shown.filter(|(claim, answer)| {
			origin.spec.judge(&program, result, &origin.parameters, claim, answer).is_ok_and(|right| right)
		});
		good.map(|(claim, answer)| (*claim, answer.clone())).collect()
	}

	async fn on_finding(&mut self, finding: Finding) {
		let Finding { assignment, next } = finding;
		let claim = match next {
			Ok(Next::Right) => {
				self.metrics.right.inc();
				self.states.insert(assignment, State::Done);
				return;
			}
			Ok(Next::Ask(claim)) => claim,
			Ok(Next::Lost) => {
				self.metrics.unknown.inc();
				log::warn!(target: LOG_TARGET, "The result of assignment {assignment} is not ours, and where it differs cannot be found");
				self.states.insert(assignment, State::Done);
				return;
			}
			Err(WatchError::Inputs(InputError::Missing(missing))) => {
				// The peers are asked for them: it is looked at again with the next block.
				log::debug!(target: LOG_TARGET, "{} tensors are missing to check assignment {assignment}", missing.len());
				self.states.remove(&assignment);
				return;
			}
			Err(error) => {
				self.metrics.unknown.inc();
				log::warn!(target: LOG_TARGET, "The result of assignment {assignment} cannot be checked: {error}");
				self.states.insert(assignment, State::Done);
				return;
			}
		};
		let first = !self.shown.contains_key(&assignment);
		if first {
			self.metrics.wrong.inc();
		}
		log::warn!(target: LOG_TARGET, "🚨 The result of assignment {assignment} is wrong: demanding {claim:?}");
		self.demand(assignment, claim, None).await;
	}

	/// Submits a challenge, perhaps in the place of one that waits.
	async fn demand(&mut self, assignment: AssignmentId, claim: Claim, old: Option<Sent>) {
		let call = pallet_disputes::Call::challenge { assignment, claim };
		let submitted = self.transactions.send(RuntimeCall::Disputes(call), old).await;
		if let Err(error) = &submitted {
			log::warn!(target: LOG_TARGET, "The challenge was not submitted: {error}");
		}
		let sent = submitted.ok().map(|submitted| submitted.sent).or(old);
		let height = self.client.info().best_number;
		self.states.insert(assignment, State::Asked(claim, height, sent));
	}
}

/// Collects the answers in a call. A worker may hide them in a batch.
fn find_answers<'a>(
	call: &'a RuntimeCall,
	depth: usize,
	answers: &mut Vec<(AssignmentId, Claim, &'a labora_primitives::Answer)>,
) {
	if depth > MAX_NESTING {
		return;
	}
	match call {
		RuntimeCall::Disputes(pallet_disputes::Call::answer { assignment, claim, answer }) => {
			answers.push((*assignment, *claim, answer));
		}
		RuntimeCall::Utility(utility) => {
			use pallet_utility::Call;
			match utility {
				Call::batch { calls } | Call::batch_all { calls } | Call::force_batch { calls } => {
					calls.iter().for_each(|call| find_answers(call, depth + 1, answers));
				}
				Call::as_derivative { call, .. }
				| Call::dispatch_as { call, .. }
				| Call::dispatch_as_fallible { call, .. }
				| Call::with_weight { call, .. } => find_answers(call, depth + 1, answers),
				Call::if_else { main, fallback } => {
					find_answers(main, depth + 1, answers);
					find_answers(fallback, depth + 1, answers);
				}
				_ => {}
			}
		}
		_ => {}
	}
}

/// The honest computation of a unit of steps.
struct Steps<'a> {
	engine: &'a Engine,
	program: &'a Program,
	plan: &'a UnitPlan,
	trace: &'a Trace,
}

impl Honest for Steps<'_> {
	fn trace(&self) -> &Trace {
		self.trace
	}

	fn tensor(&self, op: OpIndex) -> Option<Tensor> {
		let (step, number) = op.split(self.program);
		let tensors = self.engine.replay(self.plan, 0, step, &|| false).ok()?;
		tensors.outputs.into_iter().nth(usize::from(number))
	}
}

fn look_all(tensors: &Tensors, looks: &mpsc::Receiver<Look>, found: &tokio::sync::mpsc::UnboundedSender<Finding>) {
	let engine = Engine::best(1);
	// Honest traces of results that were found wrong: they are asked for several times.
	let mut traces = BTreeMap::new();
	for look in looks {
		let assignment = look.assignment;
		let next = look_at(&engine, tensors, &look, &mut traces);
		if found.send(Finding { assignment, next }).is_err() {
			return;
		}
	}
}

fn look_at(
	engine: &Engine,
	tensors: &Tensors,
	look: &Look,
	traces: &mut BTreeMap<AssignmentId, Trace>,
) -> Result<Next, WatchError> {
	let Look { assignment, result, origin, shown } = look;
	let program = origin.program().map_err(WatchError::Spec)?;
	match tensors.inputs(origin, &program)? {
		Inputs::Merge(sets) => {
			let merged = engine.merge(&sets)?;
			let trace = Trace(merged.iter().map(|(commitment, _)| *commitment).collect());
			let honest = (trace, merged.into_iter().map(|(_, tensor)| (*tensor).clone()).collect());
			Ok(next(&origin.spec, &program, result, &honest, shown))
		}
		Inputs::Steps(plan) => {
			let trace = match traces.get(assignment) {
				Some(trace) => trace.clone(),
				None => {
					let output = engine.run(&plan, &NoMiner)?;
					if output.trace.root() != result.trace_root {
						if traces.len() >= MAX_TRACES {
							traces.pop_first();
						}
						traces.insert(*assignment, output.trace.clone());
					}
					output.trace
				}
			};
			let honest = Steps { engine, program: &program, plan: &plan, trace: &trace };
			Ok(next(&origin.spec, &program, result, &honest, shown))
		}
	}
}
