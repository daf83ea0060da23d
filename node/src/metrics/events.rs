//! What happened in final blocks, counted from the start of the node.

use frame_system::EventRecord;
use labora_primitives::{AccountId, Balance, Hash, LastSeal};
use labora_runtime::RuntimeEvent;
use pallet_disputes::{Event as Disputes, Fault};
use pallet_tasks::Event as Tasks;
use pallet_work::Event as Work;
use prometheus_endpoint::{register, CounterVec, Opts, PrometheusError, Registry, F64, U64};
use sp_io::hashing::twox_128;

use super::{lab, stored, ReadError};
use crate::service::FullClient;

/// Whom an event concerns.
const WHOSE: [&str; 2] = ["own", "others"];
/// What is counted: present from the start, so that the first one is seen as an increase.
const WORK: [&str; 2] = ["useful", "idle"];
const OUTCOMES: [&str; 4] = ["accepted", "paid", "fell_wrong", "fell_silent"];
const REWARDS: [&str; 6] = ["held", "vested", "burned", "idle", "price", "slashed"];
const DISPUTES: [&str; 4] = ["audited", "challenged", "answered", "equivocated"];

/// Counters of what happened. `whose` tells what concerns this node's miner (`own`) from the rest (`others`).
pub(super) struct Counters {
	/// This node's miner.
	own: Option<AccountId>,
	blocks: CounterVec<U64>,
	results: CounterVec<U64>,
	rewards: CounterVec<F64>,
	disputes: CounterVec<U64>,
}

impl Counters {
	pub(super) fn new(registry: &Registry, own: Option<AccountId>) -> Result<Self, PrometheusError> {
		let counter = |name: &str, help: &str, label: &str| {
			register(CounterVec::new(Opts::new(name, help), &["whose", label])?, registry)
		};
		let (blocks, results, disputes) = (
			counter("labora_final_blocks_total", "Final blocks, by who made them and of what work", "work")?,
			counter("labora_results_total", "What became of results in final blocks", "outcome")?,
			counter("labora_disputes_total", "Audits, challenges and answers in final blocks", "event")?,
		);
		let name = Opts::new("labora_rewards_lab_total", "What was earned and lost in final blocks, LAB");
		let rewards = register(CounterVec::new(name, &["whose", "kind"])?, registry)?;
		for whose in WHOSE {
			WORK.iter().for_each(|work| blocks.with_label_values(&[whose, work]).reset());
			OUTCOMES.iter().for_each(|outcome| results.with_label_values(&[whose, outcome]).reset());
			REWARDS.iter().for_each(|kind| rewards.with_label_values(&[whose, kind]).reset());
			DISPUTES.iter().for_each(|event| disputes.with_label_values(&[whose, event]).reset());
		}
		Ok(Self { own, blocks, results, rewards, disputes })
	}

	/// Counts the events of a block.
	pub(super) fn count(&self, client: &FullClient, block: Hash) -> Result<(), ReadError> {
		let key = [twox_128(b"System"), twox_128(b"Events")].concat();
		let records = stored::<Vec<EventRecord<RuntimeEvent, Hash>>>(client, block, key)?;
		records.into_iter().flatten().for_each(|record| self.on_event(record.event));
		Ok(())
	}

	fn on_event(&self, event: RuntimeEvent) {
		match event {
			RuntimeEvent::Work(event) => self.on_work(event),
			RuntimeEvent::Tasks(event) => self.on_tasks(event),
			RuntimeEvent::Disputes(event) => self.on_disputes(event),
			_ => {}
		}
	}

	fn whose(&self, account: &AccountId) -> &'static str {
		match self.own.as_ref() == Some(account) {
			true => "own",
			false => "others",
		}
	}

	fn reward(&self, who: &AccountId, kind: &str, amount: Balance) {
		self.rewards.with_label_values(&[self.whose(who), kind]).inc_by(lab(amount));
	}

	fn on_work(&self, event: Work<labora_runtime::Runtime>) {
		match event {
			Work::BlockSealed { seal, .. } => {
				let (author, work) = match &seal {
					LastSeal::Useful { author, .. } => (author, "useful"),
					LastSeal::Idle { author, .. } => (author, "idle"),
				};
				self.blocks.with_label_values(&[self.whose(author), work]).inc();
			}
			Work::RewardHeld { worker, amount, .. } => self.reward(&worker, "held", amount),
			Work::RewardVested { worker, amount, .. } => self.reward(&worker, "vested", amount),
			Work::RewardBurned { worker, amount, .. } => self.reward(&worker, "burned", amount),
			Work::IdleRewardPaid { worker, amount } => self.reward(&worker, "idle", amount),
			_ => {}
		}
	}

	fn on_tasks(&self, event: Tasks<labora_runtime::Runtime>) {
		let count = |who: &AccountId, outcome: &str| self.results.with_label_values(&[self.whose(who), outcome]).inc();
		match event {
			Tasks::ResultAccepted { worker, .. } => count(&worker, "accepted"),
			Tasks::ResultPaid { worker, paid, .. } => {
				count(&worker, "paid");
				self.reward(&worker, "price", paid);
			}
			_ => {}
		}
	}

	fn on_disputes(&self, event: Disputes<labora_runtime::Runtime>) {
		let count = |who: &AccountId, event: &str| self.disputes.with_label_values(&[self.whose(who), event]).inc();
		match event {
			Disputes::AuditDrawn { worker, .. } => count(&worker, "audited"),
			Disputes::Challenged { challenger, .. } => count(&challenger, "challenged"),
			Disputes::Answered { by, .. } => count(&by, "answered"),
			Disputes::ResultFell { worker, fault, slashed, .. } => {
				let outcome = match fault {
					Fault::WrongBlock => "fell_wrong",
					Fault::Silence => "fell_silent",
				};
				self.results.with_label_values(&[self.whose(&worker), outcome]).inc();
				self.reward(&worker, "slashed", slashed);
			}
			Disputes::Equivocation { author, slashed, .. } => {
				count(&author, "equivocated");
				self.reward(&author, "slashed", slashed);
			}
			_ => {}
		}
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_primitives::AssignmentId;
	use labora_runtime::constants::LAB;

	#[test]
	fn what_concerns_the_own_miner_is_kept_apart() {
		let (own, other) = (AccountId::new([1; 32]), AccountId::new([2; 32]));
		let counters = Counters::new(&Registry::new(), Some(own.clone())).unwrap();
		for (worker, amount) in [(own, 3 * LAB), (other.clone(), LAB / 2)] {
			let event = Work::RewardVested { assignment: AssignmentId(1), worker, amount };
			counters.on_event(RuntimeEvent::Work(event));
		}
		let vested = |whose: &str| counters.rewards.with_label_values(&[whose, "vested"]).get();
		assert_eq!((vested("own"), vested("others")), (3.0, 0.5));
		let paid = Tasks::ResultPaid { assignment: AssignmentId(1), worker: other, paid: LAB, burned: 0 };
		counters.on_event(RuntimeEvent::Tasks(paid));
		assert_eq!(counters.results.with_label_values(&["others", "paid"]).get(), 1);
		assert_eq!(counters.results.with_label_values(&["own", "paid"]).get(), 0);
	}
}
