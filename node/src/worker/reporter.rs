//! The worker's task on the node's side: takes jobs and computed units, and sees results through to their acceptance.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures::{
	stream::{SelectAll, Stream},
	StreamExt,
};
use labora_primitives::{
	AccountId, Assignment, AssignmentId, Balance, BlockNumber, Claim, Dispute, Hash, TaskId, UnitKind, UnitRef,
};
use labora_runtime::{opaque::Block, Nonce, RuntimeCall};
use sc_transaction_pool_api::{TransactionPool, TransactionStatus};
use sp_api::{Core, ProvideRuntimeApi};
use sp_blockchain::HeaderBackend;
use substrate_frame_rpc_system::AccountNonceApi;
use tokio::sync::{mpsc::UnboundedReceiver, watch};

use super::{
	chain::ChainError,
	describe,
	drafts::Drafts,
	lanes::Shared,
	prover::{Proved, Prover, Request},
	queue::{Gone, Queue, Stage, Worth},
	result::{Draft, DraftError},
	transactions::{Submitted, TransactionError, Transactions},
	unit::{Origin, OriginError},
	LOG_TARGET,
};
use crate::mining::{Jobs, MiningJob};

/// Blocks after which a result that is in no block counts as lost, if it does not wait in the pool either.
const PATIENCE: BlockNumber = 16;
/// Blocks after which an answer that is still demanded is given again, if it does not wait in the pool.
const SHOW_PATIENCE: BlockNumber = 3;
/// Blocks between two looks at whether the miner is registered.
const REGISTRATION_PAUSE: BlockNumber = 10;

/// Registers the miner as a worker.
pub(super) struct Registration {
	slots: u16,
	memory: u32,
	/// The bond to be raised to; none once that was done.
	bond: Option<Balance>,
	/// Height of the next look.
	next: BlockNumber,
	registered: bool,
}

impl Registration {
	/// With so many slots, of so much memory each (MiB), and a bond of at least so much.
	pub(super) fn new(slots: u16, memory: u32, bond: Option<Balance>) -> Self {
		Self { slots, memory, bond, next: 0, registered: false }
	}
}

/// What happened to a result's extrinsic.
struct Event {
	unit: UnitRef,
	/// The extrinsic.
	hash: Hash,
	status: TransactionStatus<Hash, Hash>,
}

/// Events of one submission after the other.
type Events = SelectAll<Pin<Box<dyn Stream<Item = Event> + Send>>>;

/// An answer under way.
struct Showing {
	/// Height when it was asked for or submitted.
	since: BlockNumber,
	/// Its extrinsic, once it was submitted.
	sent: Option<Hash>,
}

/// Why a result was not submitted.
#[derive(Debug, thiserror::Error)]
enum ReportError {
	#[error(transparent)]
	Chain(#[from] ChainError),
	#[error(transparent)]
	Origin(#[from] OriginError),
	#[error(transparent)]
	Draft(#[from] DraftError),
	#[error(transparent)]
	Transaction(#[from] TransactionError),
}

/// The worker's task.
pub(super) struct Reporter<C, P: TransactionPool<Block = Block, Hash = Hash>> {
	shared: Arc<Shared>,
	transactions: Transactions<C, P>,
	drafts: Drafts,
	registration: Option<Registration>,
	prover: Prover,
	/// What is being shown.
	showing: BTreeMap<(AssignmentId, Claim), Showing>,
	/// What the tasks of the last job pay.
	worths: BTreeMap<TaskId, Worth>,
	events: Events,
}

impl<C, P> Reporter<C, P>
where
	C: ProvideRuntimeApi<Block> + HeaderBackend<Block>,
	C::Api: Core<Block> + AccountNonceApi<Block, AccountId, Nonce>,
	P: TransactionPool<Block = Block, Hash = Hash> + 'static,
{
	pub(super) fn new(
		shared: Arc<Shared>,
		transactions: Transactions<C, P>,
		drafts: Drafts,
		registration: Option<Registration>,
		prover: Prover,
	) -> Self {
		let (worths, showing, events) = (BTreeMap::new(), BTreeMap::new(), SelectAll::new());
		Self { shared, transactions, drafts, registration, prover, showing, worths, events }
	}

	/// Works until no more jobs can come.
	pub(super) async fn run(
		mut self,
		mut jobs: Jobs,
		mut computed: UnboundedReceiver<Draft>,
		mut proved: UnboundedReceiver<Proved>,
		mut arrivals: watch::Receiver<u64>,
	) {
		// The first job may be there already.
		jobs.mark_changed();
		loop {
			tokio::select! {
				changed = jobs.changed() => {
					if changed.is_err() {
						return;
					}
					let job = jobs.borrow_and_update().clone();
					if let Some(job) = job {
						self.on_job(&job).await;
					}
				}
				Some(draft) = computed.recv() => {
					let job = jobs.borrow().clone();
					self.on_draft(draft, job.as_deref()).await;
				}
				Some(proved) = proved.recv() => {
					let height = jobs.borrow().as_ref().map_or(0, |job| job.parent_number);
					self.on_proved(proved, height).await;
				}
				Ok(()) = arrivals.changed() => self.shared.change(Queue::retry),
				Some(event) = self.events.next(), if !self.events.is_empty() => self.on_event(event),
			}
		}
	}

	async fn on_job(&mut self, job: &MiningJob) {
		self.appraise(job);
		let (done, worths) = (|unit: &UnitRef| self.drafts.contains(unit), &self.worths);
		let pay = |assignment: &Assignment| worths.get(&assignment.unit.task).copied().unwrap_or_default();
		let worth = |assignment: &Assignment| pay(assignment).of(assignment, job.parent_number);
		let gone = self.shared.change(|queue| queue.update(&job.assignments, done, worth));
		gone.iter().for_each(|gone| self.on_gone(gone));
		self.end_drafts(job);
		if let Err(error) = self.count_seals(job) {
			log::debug!(target: LOG_TARGET, "The seals cannot be counted: {error}");
		}
		for assignment in &job.assignments {
			self.report(assignment, job).await;
		}
		if let Err(error) = self.show(job) {
			log::warn!(target: LOG_TARGET, "What is to be shown of this miner's results is unknown: {error}");
		}
		self.register(job).await;
	}

	/// Has everything shown that is demanded of this miner's results.
	fn show(&mut self, job: &MiningJob) -> Result<(), ReportError> {
		let now = job.parent_number;
		let chain = self.shared.chain.clone();
		let disputes = chain.disputes(job.parent, self.shared.account.clone())?;
		let demanded = |key: &(AssignmentId, Claim)| {
			let of = |dispute: &Dispute| dispute.demands.iter().any(|demand| demand.claim == key.1);
			disputes.iter().any(|dispute| dispute.assignment == key.0 && of(dispute))
		};
		let transactions = &mut self.transactions;
		self.showing.retain(|key, showing| {
			let waits = showing.sent.is_some_and(|hash| transactions.is_waiting(&hash));
			let lost = !waits && showing.since.saturating_add(SHOW_PATIENCE) < now;
			if lost && showing.sent.is_some() {
				transactions.resync();
			}
			demanded(key) && !lost
		});
		for Dispute { assignment, result, demands } in disputes {
			let open = demands.into_iter().map(|demand| demand.claim);
			let claims: Vec<_> = open.filter(|claim| !self.showing.contains_key(&(assignment, *claim))).collect();
			if claims.is_empty() {
				continue;
			}
			self.showing.extend(claims.iter().map(|claim| ((assignment, *claim), Showing { since: now, sent: None })));
			let name = describe(assignment, &result.unit);
			log::info!(target: LOG_TARGET, "🔎 {} parts of {name} are to be shown", claims.len());
			let origin = Origin::of_result(&*chain, job.parent, &result)?;
			let trace = self.drafts.get_mut(&result.unit).map(|pending| pending.draft.trace());
			self.prover.ask(Request { assignment, result, origin, trace, claims });
		}
		Ok(())
	}

	/// Submits what the prover shows, at a height.
	async fn on_proved(&mut self, proved: Proved, height: BlockNumber) {
		let Proved { assignment, claim, answer } = proved;
		// It is asked for again if it is still demanded some blocks later.
		let Some(answer) = answer else { return };
		let call = pallet_disputes::Call::answer { assignment, claim, answer };
		match self.transactions.submit(RuntimeCall::Disputes(call)).await {
			Ok(submitted) => {
				if let Some(showing) = self.showing.get_mut(&(assignment, claim)) {
					*showing = Showing { since: height, sent: Some(submitted.hash) };
				}
			}
			Err(error) => {
				log::warn!(target: LOG_TARGET, "The answer to {claim:?} of assignment {assignment} was not submitted: {error}");
			}
		}
	}

	/// Learns what the tasks of a job pay. A task that the chain does not tell waits behind the others, and is asked for again.
	fn appraise(&mut self, job: &MiningJob) {
		self.worths.retain(|task, _| job.assignments.iter().any(|assignment| assignment.unit.task == *task));
		for task in job.assignments.iter().map(|assignment| assignment.unit.task) {
			if self.worths.contains_key(&task) {
				continue;
			}
			match self.shared.chain.spec(job.parent, task) {
				Ok(spec) => {
					let program = spec.as_ref().and_then(|spec| Some((spec, spec.check().ok()?)));
					let worth = program.map(|(spec, program)| Worth::new(spec.price, spec.unit_macs(&program)));
					self.worths.extend(worth.map(|worth| (task, worth)));
				}
				Err(error) => log::debug!(target: LOG_TARGET, "What task {task} pays is unknown: {error}"),
			}
		}
	}

	/// A unit is computed.
	async fn on_draft(&mut self, draft: Draft, job: Option<&MiningJob>) {
		let unit = draft.origin.unit;
		self.drafts.insert(draft);
		let Some(job) = job else { return };
		if let Some(assignment) = job.assignments.iter().find(|assignment| assignment.unit == unit) {
			self.report(assignment, job).await;
		}
	}

	/// A unit is no longer this miner's. If it is running, the lane says so when it stops; if it is computed, [`Self::end_drafts`] does.
	fn on_gone(&self, gone: &Gone) {
		self.shared.status.gone(&gone.unit);
		if matches!(gone.stage, Stage::Ready | Stage::Waiting) {
			log::info!(target: LOG_TARGET, "{} is no longer this miner's", describe(gone.assignment, &gone.unit));
		}
	}

	/// Says what became of computed units whose assignments ended.
	fn end_drafts(&mut self, job: &MiningJob) {
		let listed = |unit: &UnitRef| job.assignments.iter().any(|assignment| assignment.unit == *unit);
		for (unit, assignment) in self.drafts.ended(job.parent_number, listed) {
			let name = describe(assignment, &unit);
			match self.is_accepted(job.parent, &unit, assignment) {
				Ok(true) => log::info!(target: LOG_TARGET, "🎉 Accepted: {name}"),
				Ok(false) => log::warn!(target: LOG_TARGET, "{name} ended without our result"),
				Err(error) => log::warn!(target: LOG_TARGET, "{name} ended: {error}"),
			}
		}
		self.shared.claims.retain(|id| job.assignments.iter().any(|assignment| assignment.id == id));
	}

	fn is_accepted(&mut self, at: Hash, unit: &UnitRef, assignment: AssignmentId) -> Result<bool, ChainError> {
		let UnitRef { task, round, kind } = *unit;
		let chain = &self.shared.chain;
		Ok(match kind {
			UnitKind::Steps(number) => {
				chain.unit_result(at, task, round, number)?.is_some_and(|result| result.assignment == assignment)
			}
			UnitKind::Merge => {
				let merged = self.drafts.get_mut(unit).map(|pending| pending.draft.parameters.clone());
				merged == chain.round_parameters(at, task, round.saturating_add(1))?
			}
		})
	}

	/// Tickets that became no block may be drawn again.
	fn count_seals(&self, job: &MiningJob) -> Result<(), ChainError> {
		for id in self.shared.claims.to_ask() {
			let seals = self.shared.chain.seals(job.parent, id)?.len();
			self.shared.claims.sealed(id, u32::try_from(seals).unwrap_or(u32::MAX));
		}
		Ok(())
	}

	/// Submits the result of an assignment's unit, if it is computed and the time has come.
	async fn report(&mut self, assignment: &Assignment, job: &MiningJob) {
		let (unit, id) = (assignment.unit, assignment.id);
		let Some(pending) = self.drafts.get_mut(&unit) else { return };
		pending.listed(id);
		let transactions = &self.transactions;
		let due = pending.is_due(job.parent_number, PATIENCE, |hash| transactions.is_waiting(hash));
		// A ticket of this unit may become a block any moment, and the result has to open what it says.
		if !due || self.shared.claims.may_seal(id, job.parent) {
			return;
		}
		if pending.attempts > 0 {
			self.transactions.resync();
		}
		let hash = match self.submit(assignment, job).await {
			Ok(hash) => hash,
			Err(error) => {
				log::warn!(target: LOG_TARGET, "The result of {} was not submitted: {error}", describe(id, &unit));
				None
			}
		};
		if let Some(pending) = self.drafts.get_mut(&unit) {
			pending.submitted(job.parent_number, hash);
		}
	}

	/// Builds and submits a result, and gives the extrinsic's hash. None: it was computed from something else than what the chain
	/// says now, and is computed again.
	async fn submit(&mut self, assignment: &Assignment, job: &MiningJob) -> Result<Option<Hash>, ReportError> {
		let (unit, id) = (assignment.unit, assignment.id);
		let Some(pending) = self.drafts.get_mut(&unit) else { return Ok(None) };
		if Origin::read(&*self.shared.chain, job.parent, unit)? != pending.draft.origin {
			log::info!(target: LOG_TARGET, "{} starts from something else now: it is computed again", describe(id, &unit));
			self.drafts.remove(&unit);
			self.shared.change(|queue| queue.again(&unit));
			return Ok(None);
		}
		let seals = self.shared.chain.seals(job.parent, id)?;
		let result = pending.draft.result(&seals)?;
		let call = pallet_tasks::Call::submit_result { assignment: id, result };
		let Submitted { hash, progress } = self.transactions.submit(RuntimeCall::Tasks(call)).await?;
		self.events.push(progress.map(move |status| Event { unit, hash, status }).boxed());
		let name = describe(id, &unit);
		log::info!(target: LOG_TARGET, "📤 Submitted the result of {name}; blocks it sealed: {}", seals.len());
		Ok(Some(hash))
	}

	fn on_event(&mut self, event: Event) {
		let Event { unit, hash, status } = event;
		let Some(pending) = self.drafts.get_mut(&unit) else { return };
		// An event of an earlier one says nothing about the current one.
		let Some(in_flight) = pending.in_flight.as_mut().filter(|in_flight| in_flight.hash == hash) else { return };
		match status {
			TransactionStatus::InBlock((block, _)) => in_flight.included = self.transactions.height(block),
			TransactionStatus::Retracted(_) => in_flight.included = None,
			TransactionStatus::Invalid | TransactionStatus::Dropped | TransactionStatus::Usurped(_) => {
				log::debug!(target: LOG_TARGET, "The pool let go of the result of unit {unit:?}: {status:?}");
				pending.in_flight = None;
				self.transactions.resync();
			}
			_ => {}
		}
	}

	/// Registers the miner, if that is wanted and it is not.
	async fn register(&mut self, job: &MiningJob) {
		let Some(registration) = &mut self.registration else { return };
		if job.parent_number < registration.next {
			return;
		}
		registration.next = job.parent_number.saturating_add(REGISTRATION_PAUSE);
		let (slots, memory) = (registration.slots, registration.memory);
		let account = &self.shared.account;
		match self.shared.chain.worker(job.parent, account) {
			Ok(Some(worker)) => {
				if !registration.registered {
					log::info!(target: LOG_TARGET, "👷 {account} is registered as a worker");
				}
				registration.registered = true;
				let more = registration.bond.take().map_or(0, |bond| bond.saturating_sub(worker.bond));
				if more > 0 && worker.leaving.is_none() {
					let call = pallet_workers::Call::bond_more { amount: more };
					if let Err(error) = self.transactions.submit(RuntimeCall::Workers(call)).await {
						log::warn!(target: LOG_TARGET, "The bond of {account} cannot be raised: {error}");
					}
				}
				return;
			}
			Ok(None) => registration.registered = false,
			Err(error) => return log::debug!(target: LOG_TARGET, "Whether the miner is registered is unknown: {error}"),
		}
		let call = pallet_workers::Call::register { slots, memory };
		// The bond is looked at with the next block.
		registration.next = job.parent_number.saturating_add(2);
		match self.transactions.submit(RuntimeCall::Workers(call)).await {
			Ok(_) => log::info!(target: LOG_TARGET, "👷 Registering {account} as a worker with {slots} slots"),
			Err(error) => {
				log::warn!(target: LOG_TARGET, "{account} cannot be registered as a worker yet: {error}");
			}
		}
	}
}
