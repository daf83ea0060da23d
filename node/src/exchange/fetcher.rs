//! Gets what is wanted from the peers that have it.
//!
//! A want goes through few stages. Every connected peer is asked for the tensor's size; who names the right one is a source. A source
//! is asked for the nodes above the groups, then all sources for the groups, the faster ones for more. A want that nobody serves
//! waits, longer each time, or until somebody new is connected; one that nobody asked for any more is forgotten. Its download stays
//! on disk for a day, and is gone on with when the tensor is wanted again.

use std::{
	collections::{BTreeMap, BTreeSet},
	sync::Arc,
	time::{Duration, Instant},
};

use codec::Encode;
use futures::{future::BoxFuture, stream::FuturesUnordered, FutureExt, StreamExt};
use labora_primitives::UnitRef;
use labora_tensor::Commitment;
use parking_lot::Mutex;
use sc_network::{PeerId, ReputationChange};
use serde::{Deserialize, Serialize};
use tokio::sync::{watch, Notify};

use super::{
	book::Book,
	metrics::Metrics,
	protocol::{Answer, Question},
	rate::Backoff,
	Peers, Wanted, LOG_TARGET,
};
use crate::tensor_store::{is_tensor, Download, DownloadError, GroupTree, TensorStore};

/// Most tensors that are wanted at a time: the parameters that the largest merge averages, and as many again.
const MAX_WANTED: usize = 2_048;
/// Most tensors that are looked for or on their way at a time. The others wait.
const MAX_ACTIVE: usize = 16;
/// Most questions under way: that many answers may be in memory.
const MAX_IN_FLIGHT: usize = 32;
/// A tensor that nobody asked for since is no longer wanted.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// After so long without a source a tensor is named in the log.
const NAME_AFTER: Duration = Duration::from_secs(30);
/// A peer that says for so long nothing about a tensor's size is not waited for: the others are asked anew.
const SEARCH_PATIENCE: Duration = Duration::from_secs(3);
/// How often peers and wants are looked at if nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// Pauses of a want that nobody serves, or for which there is no room.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// For bytes that are not what their hash says, and for answers that are none.
const WRONG: ReputationChange = ReputationChange::new_fatal("Wrong tensor bytes");

/// Where a want is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WantState {
	/// Its turn has not come.
	Queued,
	/// Peers are asked who has it.
	Searching,
	/// It is on its way.
	Fetching,
	/// No connected peer serves it; they are asked again.
	Unserved,
	/// No connected peer serves it; it is computed again, and peers are asked meanwhile.
	Recomputing,
	/// The store is full.
	NoRoom,
}

/// A want, for the RPC.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WantStatus {
	/// The tensor's commitment, hexadecimal.
	pub commitment: String,
	/// Its bytes.
	pub bytes: u64,
	/// Where it is.
	pub state: WantState,
	/// Seconds since it was first wanted.
	pub seconds: u64,
}

struct Want {
	bytes: u64,
	/// The unit that it is an output of.
	made_by: Option<UnitRef>,
	/// Whether it is computed again.
	recomputing: bool,
	state: WantState,
	since: Instant,
	/// When it was asked for the last time.
	asked: Instant,
	/// Not looked for before.
	next: Instant,
	pauses: Backoff,
	/// The log names it.
	named: bool,
}

impl Want {
	/// Where it is, for the RPC.
	fn shown(&self) -> WantState {
		match self.state {
			WantState::Fetching | WantState::NoRoom => self.state,
			_ if self.recomputing => WantState::Recomputing,
			_ => self.state,
		}
	}

	/// Says once what is missing for long.
	fn name(&mut self, tensor: &Commitment, now: Instant) {
		if self.named || now.saturating_duration_since(self.since) < NAME_AFTER {
			return;
		}
		let bytes = self.bytes;
		match self.state {
			WantState::Queued | WantState::Fetching | WantState::Recomputing => return,
			WantState::NoRoom => {
				log::warn!(target: LOG_TARGET, "There is no room for tensor {tensor} ({bytes} bytes): raise --tensor-quota")
			}
			WantState::Searching | WantState::Unserved => {
				log::warn!(target: LOG_TARGET, "No connected peer serves tensor {tensor} ({bytes} bytes)")
			}
		}
		self.named = true;
	}
}

/// Takes wants, and says when one is here. Works while [`Fetcher::run`] does.
pub struct Fetcher {
	store: Arc<TensorStore>,
	wants: Mutex<BTreeMap<Commitment, Want>>,
	wake: Notify,
	/// Counts the tensors that came.
	arrived: watch::Sender<u64>,
}

impl Fetcher {
	/// Fetches into a store.
	pub fn new(store: Arc<TensorStore>) -> Self {
		Self { store, wants: Mutex::default(), wake: Notify::new(), arrived: watch::Sender::new(0) }
	}

	/// Tensors are wanted, from now on for ten minutes. Ask again as long as they are needed.
	///
	/// What no tensor's length is, or too much at a time, is not looked for.
	pub fn want(&self, wanted: &[Wanted]) {
		let now = Instant::now();
		let mut wants = self.wants.lock();
		for Wanted { commitment, bytes, made_by } in wanted {
			if let Some(want) = wants.get_mut(commitment).filter(|want| want.bytes == *bytes) {
				want.asked = now;
				want.made_by = made_by.or(want.made_by);
			} else if !is_tensor(*bytes) {
				log::debug!(target: LOG_TARGET, "Tensor {commitment} of {bytes} bytes cannot be fetched: no node keeps such a one");
			} else if wants.len() < MAX_WANTED && !wants.contains_key(commitment) {
				let want = Want {
					bytes: *bytes,
					made_by: *made_by,
					recomputing: false,
					state: WantState::Queued,
					since: now,
					asked: now,
					next: now,
					pauses: PAUSES,
					named: false,
				};
				wants.insert(*commitment, want);
			}
		}
		self.wake.notify_one();
	}

	/// What is wanted.
	pub fn wanted(&self) -> Vec<WantStatus> {
		let status = |(commitment, want): (&Commitment, &Want)| WantStatus {
			commitment: commitment.to_string(),
			bytes: want.bytes,
			state: want.shown(),
			seconds: want.since.elapsed().as_secs(),
		};
		self.wants.lock().iter().map(status).collect()
	}

	/// Outputs of units that nobody has served for so long, the oldest first.
	pub(crate) fn unserved(&self, patience: Duration) -> Vec<(Commitment, UnitRef)> {
		let now = Instant::now();
		let wants = self.wants.lock();
		let late = |want: &Want| now.saturating_duration_since(want.since) >= patience;
		let late = wants.iter().filter(|(_, want)| want.state == WantState::Unserved && late(want));
		let mut late: Vec<_> = late.filter_map(|(tensor, want)| Some((want.since, *tensor, want.made_by?))).collect();
		late.sort();
		late.into_iter().map(|(_, tensor, unit)| (tensor, unit)).collect()
	}

	/// Whether a tensor is still wanted.
	pub(crate) fn is_wanted(&self, tensor: &Commitment) -> bool {
		self.wants.lock().contains_key(tensor)
	}

	/// A tensor is computed again from now on, or no more.
	pub(crate) fn recomputes(&self, tensor: &Commitment, recomputing: bool) {
		if let Some(want) = self.wants.lock().get_mut(tensor) {
			want.recomputing = recomputing;
		}
	}

	/// A tensor is in the store that no peer brought.
	pub(crate) fn came(&self, tensor: &Commitment) {
		if self.wants.lock().remove(tensor).is_some() {
			self.count_arrival();
		}
	}

	fn count_arrival(&self) {
		self.arrived.send_modify(|arrived| *arrived = arrived.wrapping_add(1));
	}

	/// Changes whenever a tensor came.
	pub fn arrivals(&self) -> watch::Receiver<u64> {
		self.arrived.subscribe()
	}

	/// Fetches what is wanted from these peers, for ever.
	pub async fn run(self: Arc<Self>, peers: Arc<dyn Peers>, metrics: Metrics) {
		let mut work = Work {
			fetcher: self,
			peers,
			metrics,
			book: Book::default(),
			active: BTreeMap::new(),
			events: FuturesUnordered::new(),
		};
		let mut tick = tokio::time::interval(TICK);
		tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
		// Before that, nobody would seem to serve anything.
		work.look_around().await;
		loop {
			tokio::select! {
				_ = tick.tick() => work.look_around().await,
				() = work.fetcher.wake.notified() => {}
				Some(event) = work.events.next(), if !work.events.is_empty() => work.on_event(event),
			}
			work.schedule();
		}
	}
}

/// How far an active want is.
enum Stage {
	/// The nodes above its groups are needed.
	NeedNodes,
	/// They were asked for, or its download is being opened.
	Waiting,
	/// Groups come.
	Groups {
		download: Arc<Download>,
		/// Neither here nor asked for.
		missing: BTreeSet<u32>,
		/// Asked for.
		asked: usize,
	},
}

/// A want that is worked on.
struct Active {
	bytes: u64,
	stage: Stage,
	/// Peers that were asked for the size and have not answered, and since when.
	asking: BTreeMap<PeerId, Instant>,
	/// Peers that have it.
	sources: BTreeSet<PeerId>,
	/// Peers that do not.
	without: BTreeSet<PeerId>,
}

/// What became of a question.
enum Outcome {
	Size(u64),
	Nodes(GroupTree),
	/// A group of so many bytes was right and is written.
	Written(u64),
	Absent,
	Busy,
	/// The answer is not what was asked for.
	Wrong,
	/// There was none.
	Failed,
	/// The disk refuses.
	Disk(std::io::Error),
}

enum Event {
	Ended { tensor: Commitment, peer: PeerId, question: Question, took: Duration, outcome: Outcome },
	Opened { tensor: Commitment, download: Result<Download, DownloadError> },
	Kept { tensor: Commitment, kept: std::io::Result<bool> },
}

struct Work {
	fetcher: Arc<Fetcher>,
	peers: Arc<dyn Peers>,
	metrics: Metrics,
	book: Book,
	active: BTreeMap<Commitment, Active>,
	/// Questions and accesses to the disk under way.
	events: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Work {
	/// Looks who is connected, and what is still wanted.
	async fn look_around(&mut self) {
		let connected = self.peers.connected().await;
		let now = Instant::now();
		let news = self.book.connected(&connected, now);
		let mut wants = self.fetcher.wants.lock();
		wants.retain(|_, want| now.saturating_duration_since(want.asked) < FORGET_AFTER);
		if news {
			wants.values_mut().for_each(|want| want.next = now);
		}
		wants.iter_mut().for_each(|(tensor, want)| want.name(tensor, now));
		self.metrics.wanted.set(wants.len() as u64);
		let forgotten: Vec<_> = self.active.keys().filter(|tensor| !wants.contains_key(*tensor)).copied().collect();
		drop(wants);
		forgotten.iter().for_each(|tensor| self.end(tensor));
		let book = &self.book;
		for active in self.active.values_mut() {
			active.sources.retain(|peer| book.is_usable(peer));
			active.without.retain(|peer| book.is_usable(peer));
		}
	}

	/// Stops working on a want.
	fn end(&mut self, tensor: &Commitment) {
		self.active.remove(tensor);
		self.fetcher.store.abandon(tensor);
	}

	/// Leaves a want for a while.
	fn pause(&mut self, tensor: &Commitment, state: WantState) {
		self.end(tensor);
		let mut wants = self.fetcher.wants.lock();
		let Some(want) = wants.get_mut(tensor) else { return };
		let now = Instant::now();
		want.next = now + want.pauses.pause();
		want.state = state;
	}

	fn set_state(&self, tensor: &Commitment, state: WantState) {
		if let Some(want) = self.fetcher.wants.lock().get_mut(tensor) {
			want.state = state;
		}
	}

	/// Begins wants, and asks whatever can be asked now.
	fn schedule(&mut self) {
		let now = Instant::now();
		self.begin(now);
		let tensors: Vec<_> = self.active.keys().copied().collect();
		for tensor in &tensors {
			self.search(tensor, now);
			self.advance(tensor, now);
		}
	}

	/// Takes up the wants whose turn it is, the oldest first.
	fn begin(&mut self, now: Instant) {
		let mut wants = self.fetcher.wants.lock();
		let due = wants.iter().filter(|(tensor, want)| want.next <= now && !self.active.contains_key(*tensor));
		let mut due: Vec<_> = due.map(|(tensor, want)| (want.since, *tensor)).collect();
		due.sort();
		for (_, tensor) in due.into_iter().take(MAX_ACTIVE.saturating_sub(self.active.len())) {
			let Some(want) = wants.get_mut(&tensor) else { continue };
			if self.fetcher.store.size(&tensor).is_ok_and(|size| size == Some(want.bytes)) {
				// Somebody uploaded it, or it was computed.
				wants.remove(&tensor);
				self.fetcher.count_arrival();
				continue;
			}
			want.state = WantState::Searching;
			let (asking, sources, without) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
			let active = Active { bytes: want.bytes, stage: Stage::NeedNodes, asking, sources, without };
			self.active.insert(tensor, active);
		}
	}

	/// Asks the peers that were not asked yet whether they have a tensor.
	fn search(&mut self, tensor: &Commitment, now: Instant) {
		let Some(active) = self.active.get(tensor) else { return };
		let known = |peer: &PeerId| {
			active.asking.contains_key(peer) || active.sources.contains(peer) || active.without.contains(peer)
		};
		let unknown: Vec<_> = self.book.usable().filter(|peer| !known(peer)).collect();
		let silent = |since: &Instant| now.saturating_duration_since(*since) >= SEARCH_PATIENCE;
		let hopeless = active.sources.is_empty()
			&& active.asking.values().all(silent)
			&& unknown.iter().all(|peer| self.book.is_paused(peer, now));
		// What is being opened or kept ends by itself.
		if hopeless && !matches!(active.stage, Stage::Waiting) {
			return self.pause(tensor, WantState::Unserved);
		}
		for peer in unknown {
			if self.ask(tensor, peer, Question::Size(*tensor), None, now) {
				if let Some(active) = self.active.get_mut(tensor) {
					active.asking.insert(peer, now);
				}
			}
		}
	}

	/// Asks the sources of a tensor for what is missing.
	fn advance(&mut self, tensor: &Commitment, now: Instant) {
		let Some(active) = self.active.get_mut(tensor).filter(|active| !active.sources.is_empty()) else { return };
		match &mut active.stage {
			Stage::Waiting => {}
			Stage::NeedNodes => {
				if let Some(tree) = GroupTree::of_one(*tensor, active.bytes) {
					active.stage = Stage::Waiting;
					return self.open(tree);
				}
				let Some(peer) = self.book.best(active.sources.iter(), now) else { return };
				active.stage = Stage::Waiting;
				if !self.ask(tensor, peer, Question::Nodes(*tensor), None, now) {
					self.needs_nodes(tensor);
				}
			}
			Stage::Groups { download, missing, .. } => {
				let download = download.clone();
				let missing: Vec<_> = missing.iter().copied().collect();
				for group in missing {
					let sources = self.active.get(tensor).map(|active| &active.sources);
					let Some(peer) = sources.and_then(|sources| self.book.best(sources.iter(), now)) else { return };
					if !self.ask(tensor, peer, Question::Group(*tensor, group), Some(download.clone()), now) {
						return;
					}
					if let Some(Active { stage: Stage::Groups { missing, asked, .. }, .. }) =
						self.active.get_mut(tensor)
					{
						missing.remove(&group);
						*asked += 1;
					}
				}
			}
		}
	}

	/// The nodes have to be asked for (again).
	fn needs_nodes(&mut self, tensor: &Commitment) {
		if let Some(active) = self.active.get_mut(tensor) {
			active.stage = Stage::NeedNodes;
		}
	}

	/// Opens a tensor's download.
	fn open(&mut self, tree: GroupTree) {
		let (store, tensor) = (self.fetcher.store.clone(), tree.commitment());
		let open = tokio::task::spawn_blocking(move || store.download(tree));
		let event = open.map(move |opened| {
			let download = opened.unwrap_or_else(|error| Err(DownloadError::Io(error.into())));
			Event::Opened { tensor, download }
		});
		self.events.push(event.boxed());
	}

	/// Asks a peer, if that is possible now. Whether it was.
	fn ask(
		&mut self,
		tensor: &Commitment,
		peer: PeerId,
		question: Question,
		download: Option<Arc<Download>>,
		now: Instant,
	) -> bool {
		let Some(active) = self.active.get(tensor) else { return false };
		if self.events.len() >= MAX_IN_FLIGHT || !self.book.is_free(&peer, now) {
			return false;
		}
		self.book.asked(&peer);
		let (peers, tensor, bytes) = (self.peers.clone(), *tensor, active.bytes);
		let event = async move {
			let answer = peers.request(peer, question.encode()).await;
			let took = now.elapsed();
			let outcome = match answer {
				Ok(answer) => judge(question, bytes, answer, download).await,
				Err(error) => {
					log::debug!(target: LOG_TARGET, "{peer} does not answer: {error}");
					Outcome::Failed
				}
			};
			Event::Ended { tensor, peer, question, took, outcome }
		};
		self.events.push(event.boxed());
		true
	}

	fn on_event(&mut self, event: Event) {
		match event {
			Event::Ended { tensor, peer, question, took, outcome } => {
				self.book.ended(&peer);
				self.on_outcome(&tensor, peer, question, took, outcome);
			}
			Event::Opened { tensor, download } => self.on_opened(&tensor, download),
			Event::Kept { tensor, kept } => self.on_kept(&tensor, kept),
		}
	}

	fn on_outcome(&mut self, tensor: &Commitment, peer: PeerId, question: Question, took: Duration, outcome: Outcome) {
		let now = Instant::now();
		self.metrics.asking.with_label_values(&[name(&outcome)]).inc();
		match &outcome {
			Outcome::Failed => self.book.failed(&peer, now),
			Outcome::Busy => self.book.busy(&peer, now),
			Outcome::Written(bytes) => {
				self.book.brought(&peer, took);
				self.metrics.received.inc_by(*bytes);
				if let Some(want) = self.fetcher.wants.lock().get_mut(tensor) {
					want.pauses = PAUSES;
				}
			}
			Outcome::Wrong if self.book.lied(&peer, now) => {
				log::warn!(target: LOG_TARGET, "🚨 {peer} answers wrongly about tensor {tensor}: it is asked no more");
				self.peers.report(peer, WRONG);
			}
			_ => {}
		}
		let book = &self.book;
		let Some(active) = self.active.get_mut(tensor) else { return };
		active.asking.remove(&peer);
		match (&outcome, question) {
			(Outcome::Size(bytes), _) if *bytes == active.bytes => {
				active.sources.insert(peer);
			}
			// Another length cannot be right, but it may be the task's that is wrong.
			(Outcome::Size(_) | Outcome::Absent | Outcome::Failed, _) => {
				active.sources.remove(&peer);
				active.without.insert(peer);
			}
			_ if !book.is_usable(&peer) => {
				active.sources.remove(&peer);
			}
			_ => {}
		}
		match (outcome, question, &mut active.stage) {
			(Outcome::Nodes(tree), _, Stage::Waiting) => self.open(tree),
			(_, Question::Nodes(_), stage @ Stage::Waiting) => *stage = Stage::NeedNodes,
			(Outcome::Disk(error), ..) => self.no_disk(tensor, &error),
			(outcome, Question::Group(_, group), Stage::Groups { download, missing, asked }) => {
				*asked = asked.saturating_sub(1);
				if !matches!(outcome, Outcome::Written(_)) {
					missing.insert(group);
				} else if missing.is_empty() && *asked == 0 {
					let download = download.clone();
					active.stage = Stage::Waiting;
					self.keep(download);
				}
			}
			_ => {}
		}
	}

	fn on_opened(&mut self, tensor: &Commitment, download: Result<Download, DownloadError>) {
		let Some(active) = self.active.get_mut(tensor) else { return self.fetcher.store.abandon(tensor) };
		match download {
			Ok(download) => {
				let (missing, download) = (download.missing(), Arc::new(download));
				if missing.is_empty() {
					// An earlier run of the node stopped just before the end.
					return self.keep(download);
				}
				active.stage = Stage::Groups { download, missing, asked: 0 };
				self.set_state(tensor, WantState::Fetching);
			}
			Err(DownloadError::Full { .. }) => self.pause(tensor, WantState::NoRoom),
			Err(DownloadError::Io(error)) => self.no_disk(tensor, &error),
		}
	}

	/// All groups are here.
	fn keep(&mut self, download: Arc<Download>) {
		let (store, tensor) = (self.fetcher.store.clone(), download.commitment());
		let keep = tokio::task::spawn_blocking(move || store.finish(&download));
		let event = keep.map(move |kept| Event::Kept { tensor, kept: kept.unwrap_or_else(|error| Err(error.into())) });
		self.events.push(event.boxed());
	}

	fn on_kept(&mut self, tensor: &Commitment, kept: std::io::Result<bool>) {
		match kept {
			Ok(true) => {
				self.active.remove(tensor);
				let want = self.fetcher.wants.lock().remove(tensor);
				if let Some(want) = want {
					let seconds = want.since.elapsed().as_secs_f32();
					log::info!(target: LOG_TARGET, "📥 Fetched tensor {tensor} ({} bytes) in {seconds:.1} s", want.bytes);
				}
				self.fetcher.count_arrival();
			}
			// The file was changed by somebody else: it is looked at again.
			Ok(false) => self.needs_nodes(tensor),
			Err(error) => self.no_disk(tensor, &error),
		}
	}

	fn no_disk(&mut self, tensor: &Commitment, error: &std::io::Error) {
		log::warn!(target: LOG_TARGET, "Tensor {tensor} cannot be written: {error}");
		self.pause(tensor, WantState::NoRoom);
	}
}

/// What an answer says to a question about a tensor of so many bytes. A group is written if it is right.
async fn judge(question: Question, bytes: u64, answer: Vec<u8>, download: Option<Arc<Download>>) -> Outcome {
	match (question, Answer::read(&answer)) {
		(_, Some(Answer::Absent)) => Outcome::Absent,
		(_, Some(Answer::Busy)) => Outcome::Busy,
		(Question::Size(_), Some(Answer::Size(size))) => Outcome::Size(size),
		(Question::Nodes(tensor), Some(Answer::Nodes(values))) => {
			GroupTree::verify(tensor, bytes, values.into_inner()).map_or(Outcome::Wrong, Outcome::Nodes)
		}
		(Question::Group(_, group), Some(Answer::Group(bytes))) => {
			drop(answer);
			let Some(download) = download else { return Outcome::Failed };
			let len = bytes.len() as u64;
			let written = tokio::task::spawn_blocking(move || download.write(group, &bytes)).await;
			match written.unwrap_or_else(|error| Err(error.into())) {
				Ok(true) => Outcome::Written(len),
				Ok(false) => Outcome::Wrong,
				Err(error) => Outcome::Disk(error),
			}
		}
		_ => Outcome::Wrong,
	}
}

fn name(outcome: &Outcome) -> &'static str {
	match outcome {
		Outcome::Size(_) | Outcome::Nodes(_) | Outcome::Written(_) => "served",
		Outcome::Absent => "absent",
		Outcome::Busy => "busy",
		Outcome::Wrong => "wrong",
		Outcome::Failed => "failed",
		Outcome::Disk(_) => "disk",
	}
}
