//! Those who take part: honest workers and hostile ones. The same agents act on forged chains ([`crate::forge`]) and, as
//! clients, on a live node ([`crate::live`]): every block they are shown what the chain says, and give the calls they want to make.

use std::{
	collections::{BTreeMap, BTreeSet},
	sync::Arc,
};

use labora_engine::Engine;
use labora_primitives::{
	money::challenge_bond, AccountId, Answer, Assignment, AssignmentId, Balance, BlockNumber, Claim, Dispute, Opened,
	Seal, StandingResult, TaskId, UnitKind, UnitRef, UnitResult,
};
use labora_runtime::{constants::CHALLENGE_BOND, RuntimeCall, UncheckedExtrinsic};
use labora_tensor::BlockIndex;
use labora_witness::{next, Next, Shown};
use sp_core::{sr25519, Pair};

use crate::unit::{Computed, Lie, Material, Right};

/// What the chain says at a block.
#[derive(Default)]
pub struct View {
	/// Its height.
	pub height: BlockNumber,
	/// Blocks after which a call that had no effect is made again.
	pub patience: BlockNumber,
	/// The running assignments of those who take part.
	pub assignments: Vec<Assignment>,
	/// The blocks that assignments sealed; empty where clients cannot ask.
	pub seals: BTreeMap<AssignmentId, Vec<Seal>>,
	/// What is to be shown of results.
	pub disputes: Vec<Dispute>,
	/// The results whose windows run.
	pub standing: BTreeMap<AssignmentId, StandingResult>,
	/// The tasks.
	pub tasks: BTreeMap<TaskId, Arc<Material>>,
	/// What was read in the blocks so far.
	pub seen: Seen,
}

/// What everyone can read in blocks.
#[derive(Clone, Default)]
pub struct Seen {
	/// Answers of workers for their own results.
	pub shown: BTreeMap<AssignmentId, Shown>,
	/// Results.
	pub results: BTreeMap<AssignmentId, UnitResult>,
}

impl Seen {
	/// Reads a block.
	pub fn read<'a>(&mut self, extrinsics: impl IntoIterator<Item = &'a UncheckedExtrinsic>) {
		for extrinsic in extrinsics {
			match &extrinsic.function {
				RuntimeCall::Disputes(pallet_disputes::Call::answer { assignment, claim, answer })
					if answer.iter().any(|opened| !opened.data.data.is_empty()) =>
				{
					self.shown.entry(*assignment).or_default().insert(*claim, answer.clone());
				}
				RuntimeCall::Tasks(pallet_tasks::Call::submit_result { assignment, result }) => {
					self.results.insert(*assignment, result.clone());
				}
				_ => {}
			}
		}
	}
}

impl View {
	/// The running assignments of an account.
	pub fn assignments_of<'a>(&'a self, who: &'a AccountId) -> impl Iterator<Item = &'a Assignment> {
		self.assignments.iter().filter(move |assignment| assignment.worker == *who)
	}

	/// What is to be shown of the results of an account.
	fn demands_on(&self, who: &AccountId) -> impl Iterator<Item = (AssignmentId, UnitRef, &labora_primitives::Demand)> {
		let disputes: Vec<_> = self.disputes.iter().filter(|dispute| dispute.result.worker == *who).collect();
		disputes
			.into_iter()
			.flat_map(|dispute| dispute.demands.iter().map(|demand| (dispute.assignment, dispute.result.unit, demand)))
	}

	fn is_demanded(&self, id: AssignmentId, claim: &Claim) -> bool {
		let of = |dispute: &&Dispute| dispute.assignment == id;
		self.disputes.iter().find(of).is_some_and(|dispute| dispute.demands.iter().any(|other| other.claim == *claim))
	}
}

/// What somebody does.
pub trait Behaviour: Send {
	/// The calls to make now.
	fn act(&mut self, me: &AccountId, view: &View) -> Vec<RuntimeCall>;
}

/// Somebody.
pub struct Agent {
	/// What the rows call it.
	pub name: &'static str,
	/// The secret that its key follows from.
	pub uri: String,
	/// Its key.
	pub pair: sr25519::Pair,
	/// Slots that it registers as a worker with; none: it is no worker.
	pub slots: u16,
	/// What it does.
	pub behaviour: Box<dyn Behaviour>,
	/// The calls that it made and what became of them.
	pub said: Vec<Said>,
}

/// A call and what became of it.
#[derive(Clone, Debug)]
pub struct Said {
	/// `Pallet.call`.
	pub call: String,
	/// Or the error's name.
	pub result: Result<(), String>,
}

impl Agent {
	/// Somebody with a key of its own.
	pub fn new(name: &'static str, slots: u16, behaviour: impl Behaviour + 'static) -> Self {
		let uri = format!("//attack//{name}");
		#[allow(clippy::expect_used)]
		let pair = sr25519::Pair::from_string(&uri, None).expect("a valid derivation path");
		Self { name, uri, pair, slots, behaviour: Box::new(behaviour), said: Vec::new() }
	}

	/// Its account.
	pub fn account(&self) -> AccountId {
		self.pair.public().into()
	}

	/// How often a call ended like this.
	pub fn count(&self, call: &str, result: Result<(), &str>) -> usize {
		let like =
			|said: &&Said| said.call == call && said.result.as_ref().map(|_| ()).map_err(String::as_str) == result;
		self.said.iter().filter(like).count()
	}
}

/// Which demands a worker meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answers {
	/// All.
	All,
	/// Those of audits only.
	Audits,
	/// None.
	Nothing,
}

/// Remembers what was done when, so that it is not done again at once.
pub(crate) struct Once<K>(BTreeMap<K, BlockNumber>);

impl<K> Default for Once<K> {
	fn default() -> Self {
		Self(BTreeMap::new())
	}
}

impl<K: Ord> Once<K> {
	fn again(&mut self, key: K, view: &View) -> bool {
		let now = view.height;
		let due = self.0.get(&key).is_none_or(|then| then + view.patience <= now);
		if due {
			self.0.insert(key, now);
		}
		due
	}
}

/// A worker: computes what it is given, or says it did.
pub struct Worker {
	pub(crate) engine: Arc<Engine>,
	/// What it lies about.
	pub lie: Lie,
	/// What it shows.
	pub answers: Answers,
	/// It submits a unit's result when the unit has sealed so many blocks; none: never.
	pub after: Option<usize>,
	/// It leaves when it was given so many units; none: never.
	pub most: Option<usize>,
	/// It submits another's result instead of computing.
	pub copies: bool,
	pub(crate) units: BTreeMap<AssignmentId, Computed>,
	pub(crate) done: Once<(AssignmentId, Option<Claim>)>,
	pub(crate) given: BTreeSet<AssignmentId>,
}

impl Worker {
	/// An honest worker of one unit, which needs to seal no block.
	pub fn honest(engine: &Arc<Engine>) -> Self {
		Self {
			engine: engine.clone(),
			lie: Lie::None,
			answers: Answers::All,
			after: Some(0),
			most: Some(1),
			copies: false,
			units: BTreeMap::new(),
			done: Once::default(),
			given: BTreeSet::new(),
		}
	}

	/// The same, with a lie.
	pub fn lying(engine: &Arc<Engine>, lie: Lie) -> Self {
		Self { lie, ..Self::honest(engine) }
	}

	/// A unit as the worker computed it, or says it did.
	pub fn unit(&mut self, material: &Arc<Material>, id: AssignmentId, unit: UnitRef) -> Option<&Computed> {
		let computed = self.units.entry(id);
		Some(match computed {
			std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
			std::collections::btree_map::Entry::Vacant(entry) => {
				entry.insert(Computed::new(material, id, unit, &self.engine, self.lie).ok()?)
			}
		})
	}

	fn result(&mut self, assignment: &Assignment, view: &View) -> Option<UnitResult> {
		if self.copies {
			let copied = view.seen.results.iter().find(|(id, _)| **id != assignment.id)?;
			return Some(UnitResult { seals: Default::default(), ..copied.1.clone() });
		}
		let material = view.tasks.get(&assignment.unit.task)?;
		let seals = view.seals.get(&assignment.id).cloned().unwrap_or_default();
		Some(self.unit(material, assignment.id, assignment.unit)?.result(&seals))
	}
}

impl Behaviour for Worker {
	fn act(&mut self, me: &AccountId, view: &View) -> Vec<RuntimeCall> {
		let mut calls = Vec::new();
		for assignment in view.assignments_of(me) {
			if self.given.insert(assignment.id) && self.most == Some(self.given.len()) {
				calls.push(RuntimeCall::Workers(pallet_workers::Call::leave {}));
			}
			let sealed = view.seals.get(&assignment.id).map_or(0, Vec::len);
			if self.after.is_none_or(|after| sealed < after) || matches!(assignment.unit.kind, UnitKind::Merge) {
				continue;
			}
			if !self.copies || view.seen.results.keys().any(|id| *id != assignment.id) {
				let due = self.done.again((assignment.id, None), view);
				let result = if due { self.result(assignment, view) } else { None };
				calls.extend(result.map(|result| {
					RuntimeCall::Tasks(pallet_tasks::Call::submit_result { assignment: assignment.id, result })
				}));
			}
		}
		for (id, unit, demand) in view.demands_on(me) {
			let shows = match self.answers {
				Answers::All => true,
				Answers::Audits => demand.by.is_none(),
				Answers::Nothing => false,
			};
			if !shows || !self.done.again((id, Some(demand.claim)), view) {
				continue;
			}
			let engine = self.engine.clone();
			let Some(material) = view.tasks.get(&unit.task).filter(|_| !self.copies) else { continue };
			let computed = self.unit(material, id, unit);
			let answer = computed.and_then(|computed| computed.answer(&demand.claim, &engine));
			calls.extend(answer.map(|answer| {
				RuntimeCall::Disputes(pallet_disputes::Call::answer { assignment: id, claim: demand.claim, answer })
			}));
		}
		// What is paid or has fallen needs no memory.
		let running = |id: &AssignmentId| view.assignments.iter().any(|assignment| assignment.id == *id);
		self.units.retain(|id, _| view.standing.contains_key(id) || running(id));
		calls
	}
}

/// A client that computes the results of some workers again, and challenges what is wrong.
pub struct Watcher {
	engine: Arc<Engine>,
	watched: BTreeSet<AccountId>,
	right: BTreeMap<AssignmentId, Computed>,
	asked: Once<(AssignmentId, Claim)>,
}

impl Watcher {
	/// Of the results of some workers.
	pub fn of(engine: &Arc<Engine>, watched: impl IntoIterator<Item = AccountId>) -> Self {
		let (right, asked) = (BTreeMap::new(), Once::default());
		Self { engine: engine.clone(), watched: watched.into_iter().collect(), right, asked }
	}
}

impl Behaviour for Watcher {
	fn act(&mut self, _: &AccountId, view: &View) -> Vec<RuntimeCall> {
		let mut calls = Vec::new();
		for (id, result) in view.standing.iter().filter(|(_, result)| self.watched.contains(&result.worker)) {
			let Some(material) = view.tasks.get(&result.unit.task) else { continue };
			if !self.right.contains_key(id) {
				let Ok(right) = Computed::new(material, *id, result.unit, &self.engine, Lie::None) else { continue };
				self.right.insert(*id, right);
			}
			let Some(right) = self.right.get(id) else { continue };
			let nothing = Shown::new();
			let shown = view.seen.shown.get(id).unwrap_or(&nothing);
			let step = next(&material.spec, &material.program, result, &Right(right, &self.engine), shown);
			if let Next::Ask(claim) = step {
				if !view.is_demanded(*id, &claim) && self.asked.again((*id, claim), view) {
					calls.push(RuntimeCall::Disputes(pallet_disputes::Call::challenge { assignment: *id, claim }));
				}
			}
		}
		calls
	}
}

/// Challenges a worker's results, right or wrong, for as much as it has.
pub struct Flooder {
	/// Whose results.
	pub victim: AccountId,
	/// What it can spend.
	pub purse: Balance,
	/// Most challenges.
	pub most: u32,
	made: u32,
}

impl Flooder {
	/// With a purse, so many challenges at most.
	pub fn new(victim: AccountId, purse: Balance, most: u32) -> Self {
		Self { victim, purse, most, made: 0 }
	}
}

impl Behaviour for Flooder {
	fn act(&mut self, _: &AccountId, view: &View) -> Vec<RuntimeCall> {
		let of = |(_, result): &(&AssignmentId, &StandingResult)| result.worker == self.victim;
		let Some((id, _)) = view.standing.iter().find(of) else { return Vec::new() };
		let mut calls = Vec::new();
		// All at once: the bonds of open challenges double.
		while self.made < self.most && self.purse >= challenge_bond(CHALLENGE_BOND, self.made) {
			self.purse -= challenge_bond(CHALLENGE_BOND, self.made);
			let claim = Claim::Block {
				op: labora_graph::OpIndex(3),
				block: BlockIndex { row: self.made % 2, col: self.made / 2 },
			};
			calls.push(RuntimeCall::Disputes(pallet_disputes::Call::challenge { assignment: *id, claim }));
			self.made += 1;
		}
		calls
	}
}

/// Answers what is demanded of somebody else: with rubbish, to make it look wrong.
pub struct Impostor {
	/// Of whom.
	pub victim: AccountId,
	answered: BTreeSet<(AssignmentId, Claim)>,
}

impl Impostor {
	/// Of somebody's results.
	pub fn new(victim: AccountId) -> Self {
		Self { victim, answered: BTreeSet::new() }
	}
}

impl Behaviour for Impostor {
	fn act(&mut self, _: &AccountId, view: &View) -> Vec<RuntimeCall> {
		let demands: Vec<_> = view.demands_on(&self.victim).map(|(id, _, demand)| (id, demand.claim)).collect();
		let fresh = demands.into_iter().filter(|demand| self.answered.insert(*demand));
		fresh
			.map(|(assignment, claim)| {
				let answer = Answer::truncate_from(vec![Opened::default(); 3]);
				RuntimeCall::Disputes(pallet_disputes::Call::answer { assignment, claim, answer })
			})
			.collect()
	}
}

/// Fills blocks with answers that are none, from when a result of somebody stands.
pub struct Filler {
	/// Whose.
	pub after: AccountId,
	/// How many blocks.
	pub blocks: u32,
}

impl Behaviour for Filler {
	fn act(&mut self, _: &AccountId, view: &View) -> Vec<RuntimeCall> {
		if self.blocks == 0 || view.standing.values().all(|result| result.worker != self.after) {
			return Vec::new();
		}
		self.blocks -= 1;
		// The answer that weighs most for its bytes, to nothing: as operational as a good one, and so is a batch of them.
		let assignment = AssignmentId(u64::MAX);
		let claim = Claim::Merged { parameter: 0, block: BlockIndex { row: 0, col: 0 } };
		let answer = |_| {
			let answer = Answer::default();
			RuntimeCall::Disputes(pallet_disputes::Call::answer { assignment, claim, answer })
		};
		let together = || pallet_utility::Call::force_batch { calls: (0..16).map(answer).collect() };
		let large = (0..8).map(|_| RuntimeCall::Utility(together()));
		// Then what is left, with what weighs little.
		let challenge = |_| RuntimeCall::Disputes(pallet_disputes::Call::challenge { assignment, claim });
		large.chain((0..16).map(answer)).chain((0..16).map(challenge)).collect()
	}
}

/// Does nothing by itself.
pub struct Still;

impl Behaviour for Still {
	fn act(&mut self, _: &AccountId, _: &View) -> Vec<RuntimeCall> {
		Vec::new()
	}
}
