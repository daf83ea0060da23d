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
	transactions::{Sent, Submitted, TransactionError, Transactions},
	unit::{Origin, OriginError},
	LOG_TARGET,
};
use crate::mining::{Jobs, MiningJob};

/// Blocks after which a result that is in no block counts as lost; if it still waits in the pool, it is replaced.
const PATIENCE: BlockNumber = 16;
/// Blocks after which an answer that is still demanded is given again. If it still waits in the pool, it is replaced, once so many blocks had
/// room for it.
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
#[derive(Clone, Copy)]
enum Showing {
	/// The prover has it.
	Asked {
		/// What waits, and is to be replaced.
		old: Option<Sent>,
		/// Blocks that were left for it at the last job.
		left: BlockNumber,
	},
	/// It was submitted.
	Sent {
		sent: Sent,
		/// Height when it was.
		since: BlockNumber,
		/// Blocks that were left for it then.
		left: BlockNumber,
	},
	/// It could not be shown, or not be submitted, at this height.
	Failed(BlockNumber),
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
	/// Height of the last job's parent.
	height: BlockNumber,
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
		Self { shared, transactions, drafts, registration, prover, showing, height: 0, worths, events }
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
				Some(proved) = proved.recv() => self.on_proved(proved).await,
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
		self.showing.retain(|key, _| demanded(key));
		self.height = now;
		for Dispute { assignment, result, demands } in disputes {
			let mut asked = Vec::new();
			for demand in demands {
				let key = (assignment, demand.claim);
				let left = demand.due.saturating_sub(now);
				if let Some(Showing::Asked { left: before, .. }) = self.showing.get_mut(&key) {
					*before = left;
				} else if let Some(showing) = self.ask(self.showing.get(&key).copied(), left) {
					asked.push((key, showing));
				}
			}
			if asked.is_empty() {
				continue;
			}
			let name = describe(assignment, &result.unit);
			log::info!(target: LOG_TARGET, "🔎 {} parts of {name} are to be shown", asked.len());
			// If that fails it is tried again with the next job.
			let origin = Origin::of_result(&*chain, job.parent, &result)?;
			let claims = asked.iter().map(|((_, claim), _)| *claim).collect();
			self.showing.extend(asked);
			let trace = self.drafts.get_mut(&result.unit).map(|pending| pending.draft.trace());
			self.prover.ask(Request { assignment, result, origin, trace, claims });
		}
		Ok(())
	}

	/// Whether to have something shown, given how far that is and how many blocks are left for it.
	fn ask(&mut self, showing: Option<Showing>, left: BlockNumber) -> Option<Showing> {
		let asked = |old| Showing::Asked { old, left };
		let is_over = |since: BlockNumber| since.saturating_add(SHOW_PATIENCE) < self.height;
		match showing {
			None => Some(asked(None)),
			Some(Showing::Asked { .. }) => None,
			Some(Showing::Failed(since)) => is_over(since).then_some(asked(None)),
			Some(Showing::Sent { sent, left: then, .. }) if self.transactions.is_waiting(&sent) => {
				// Full blocks leave as much as before.
				(then.saturating_sub(left) > SHOW_PATIENCE).then_some(asked(Some(sent)))
			}
			Some(Showing::Sent { since, .. }) => is_over(since).then(|| {
				self.transactions.resync();
				asked(None)
			}),
		}
	}

	/// Submits what the prover shows.
	async fn on_proved(&mut self, proved: Proved) {
		let Proved { assignment, claim, answer } = proved;
		let key = (assignment, claim);
		// What is no longer demanded has been shown.
		let Some(Showing::Asked { old, left }) = self.showing.get(&key).copied() else { return };
		let since = self.height;
		// What waits still may be taken.
		let mut showing = old.map_or(Showing::Failed(since), |sent| Showing::Sent { sent, since, left });
		if let Some(answer) = answer {
			let call = RuntimeCall::Disputes(pallet_disputes::Call::answer { assignment, claim, answer });
			match self.transactions.send(call, old).await {
				Ok(submitted) => showing = Showing::Sent { sent: submitted.sent, since, left },
				Err(error) => {
					log::warn!(target: LOG_TARGET, "The answer to {claim:?} of assignment {assignment} was not submitted: {error}");
				}
			}
		}
		self.showing.insert(key, showing);
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
		let (chain, account) = (self.shared.chain.clone(), &self.shared.account);
		let stands = |unit: &UnitRef, ended: Option<AssignmentId>| {
			let recorded = || match unit.kind {
				UnitKind::Steps(number) => chain.unit_result(job.parent, unit.task, unit.round, number).ok().flatten(),
				UnitKind::Merge => None,
			};
			// After a restart only the record knows it.
			let id =
				ended.or_else(|| recorded().filter(|result| result.worker == *account).map(|result| result.assignment));
			// What cannot be asked is kept.
			id.is_some_and(|id| chain.stands(job.parent, id).unwrap_or(true))
		};
		for (unit, assignment) in self.drafts.ended(job.parent_number, listed, stands) {
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
		let due = pending.is_due(job.parent_number, PATIENCE);
		// A ticket of this unit may become a block any moment, and the result has to open what it says.
		if !due || self.shared.claims.may_seal(id, job.parent) {
			return;
		}
		let old = pending.in_flight.map(|in_flight| in_flight.sent).filter(|sent| self.transactions.is_waiting(sent));
		if pending.attempts > 0 && old.is_none() {
			self.transactions.resync();
		}
		let sent = match self.submit(assignment, job, old).await {
			Ok(sent) => sent,
			Err(error) => {
				log::warn!(target: LOG_TARGET, "The result of {} was not submitted: {error}", describe(id, &unit));
				None
			}
		};
		if let Some(pending) = self.drafts.get_mut(&unit) {
			pending.submitted(job.parent_number, sent);
		}
	}

	/// Builds and submits a result, perhaps in the place of one that waits. None: it was computed from something else than what the chain
	/// says now, and is computed again.
	async fn submit(
		&mut self,
		assignment: &Assignment,
		job: &MiningJob,
		old: Option<Sent>,
	) -> Result<Option<Sent>, ReportError> {
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
		let Submitted { sent, progress } = self.transactions.send(RuntimeCall::Tasks(call), old).await?;
		self.events.push(progress.map(move |status| Event { unit, hash: sent.hash, status }).boxed());
		let name = describe(id, &unit);
		log::info!(target: LOG_TARGET, "📤 Submitted the result of {name}; blocks it sealed: {}", seals.len());
		Ok(Some(sent))
	}

	fn on_event(&mut self, event: Event) {
		let Event { unit, hash, status } = event;
		let Some(pending) = self.drafts.get_mut(&unit) else { return };
		// An event of an earlier one says nothing about the current one.
		let Some(in_flight) = pending.in_flight.as_mut().filter(|in_flight| in_flight.sent.hash == hash) else {
			return;
		};
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
