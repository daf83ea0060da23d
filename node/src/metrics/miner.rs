//! What this node's miner is at, and what it owns.

use std::sync::Arc;

use frame_support::traits::tokens::IdAmount;
use labora_primitives::{api::LaboraApi, Balance, Hash};
use labora_runtime::{Nonce, Runtime, RuntimeHoldReason};
use prometheus_endpoint::{GaugeVec, PrometheusError, Registry, F64, U64};
use sp_api::ProvideRuntimeApi;

use super::{gauges, lab, stored, ReadError};
use crate::{
	service::FullClient,
	worker::{Worked, WorkerStatus},
};

type Account = frame_system::AccountInfo<Nonce, pallet_balances::AccountData<Balance>>;

/// Gauges of the miner. What was computed counts from the start of the node.
pub(super) struct Gauges {
	worker: Arc<WorkerStatus>,
	units: GaugeVec<U64>,
	slots: GaugeVec<U64>,
	macs: GaugeVec<U64>,
	tickets: GaugeVec<U64>,
	won: GaugeVec<U64>,
	balance: GaugeVec<F64>,
}

impl Gauges {
	pub(super) fn new(registry: &Registry, worker: Arc<WorkerStatus>) -> Result<Self, PrometheusError> {
		Ok(Self {
			worker,
			units: gauges(registry, "labora_miner_units", "This miner's units, by state", "state")?,
			slots: gauges(registry, "labora_miner_slots", "This miner's slots, by state", "state")?,
			macs: gauges(registry, "labora_miner_macs", "Multiply-accumulates computed since the start", "work")?,
			tickets: gauges(registry, "labora_miner_tickets", "Tickets drawn since the start", "work")?,
			won: gauges(registry, "labora_miner_tickets_won", "Winning tickets since the start", "work")?,
			balance: gauges(registry, "labora_miner_balance_lab", "The miner's account, LAB, by part", "part")?,
		})
	}

	pub(super) fn read(&self, client: &FullClient, best: Hash) -> Result<(), ReadError> {
		for (work, Worked { macs, tickets, won }) in self.worker.worked() {
			self.macs.with_label_values(&[work]).set(macs);
			self.tickets.with_label_values(&[work]).set(tickets);
			self.won.with_label_values(&[work]).set(won);
		}
		let (account, api) = (self.worker.account(), client.runtime_api());
		let assigned = api.mining_context(best, account.clone())?.assignments.len();
		let (running, waiting) = self.worker.units();
		let disputed = api.disputes(best, Some(account.clone()))?.len();
		for (state, units) in
			[("assigned", assigned), ("running", running), ("waiting", waiting), ("disputed", disputed)]
		{
			self.units.with_label_values(&[state]).set(units as u64);
		}
		let worker = api.worker(best, account.clone())?;
		let (slots, busy, staked) = worker.map_or((0, 0, 0), |worker| (worker.slots, worker.busy, worker.staked));
		self.slots.with_label_values(&["all"]).set(slots.into());
		self.slots.with_label_values(&["busy"]).set(busy.into());
		self.balance.with_label_values(&["staked"]).set(lab(staked));

		let key = frame_system::Account::<Runtime>::hashed_key_for(account);
		let free = stored::<Account>(client, best, key)?.map_or(0, |account| account.data.free);
		self.balance.with_label_values(&["free"]).set(lab(free));
		let key = pallet_balances::Holds::<Runtime>::hashed_key_for(account);
		let holds = stored::<Vec<IdAmount<RuntimeHoldReason, Balance>>>(client, best, key)?.unwrap_or_default();
		for (part, reason) in [
			("reward", RuntimeHoldReason::Work(pallet_work::HoldReason::Reward)),
			("bond", RuntimeHoldReason::Workers(pallet_workers::HoldReason::Bond)),
			("challenge", RuntimeHoldReason::Disputes(pallet_disputes::HoldReason::Challenge)),
		] {
			let held = holds.iter().filter(|hold| hold.id == reason);
			let held = held.fold(0, |sum: Balance, hold| sum.saturating_add(hold.amount));
			self.balance.with_label_values(&[part]).set(lab(held));
		}
		Ok(())
	}
}
