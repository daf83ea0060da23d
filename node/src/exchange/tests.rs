//! The fetcher among peers of every kind: stores behind the server's own answers, and liars.

use std::{
	collections::BTreeMap,
	sync::atomic::{AtomicUsize, Ordering},
	time::Instant,
};

use codec::{Decode, Encode};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{
	protocol::{Answer, Question},
	*,
};
use crate::tensor_store::{TensorStore, GROUP_BYTES};

/// How long anything here may take.
const WAIT: Duration = Duration::from_secs(60);
/// Bytes of the tensor that travels: ten groups and a bit.
const BYTES: usize = 10 * GROUP_BYTES as usize + 3 * 1_024;

type Behaviour = Box<dyn Fn(&TensorStore, &Question) -> Option<Vec<u8>> + Send + Sync>;

/// A peer with a store, and how it makes an answer of it. None: it does not answer.
struct Neighbour {
	store: TensorStore,
	answer: Behaviour,
	delay: Duration,
	groups: AtomicUsize,
	_folder: TempDir,
}

#[derive(Default)]
struct Town {
	peers: Mutex<BTreeMap<PeerId, Arc<Neighbour>>>,
	reported: Mutex<Vec<PeerId>>,
}

#[async_trait]
impl Peers for Town {
	async fn connected(&self) -> Vec<PeerId> {
		self.peers.lock().keys().copied().collect()
	}

	async fn request(&self, peer: PeerId, question: Vec<u8>) -> Result<Vec<u8>, RequestFailure> {
		let neighbour = self.peers.lock().get(&peer).cloned().ok_or(RequestFailure::NotConnected)?;
		let question = Question::decode(&mut &question[..]).expect("the fetcher asks sensibly");
		if matches!(question, Question::Group(..)) {
			neighbour.groups.fetch_add(1, Ordering::Relaxed);
		}
		tokio::time::sleep(neighbour.delay).await;
		(neighbour.answer)(&neighbour.store, &question).ok_or(RequestFailure::Refused)
	}

	fn report(&self, peer: PeerId, change: ReputationChange) {
		assert!(change.value < 0);
		self.reported.lock().push(peer);
	}
}

impl Town {
	fn settle(&self, tensors: &[&[u8]], delay: u64, answer: Behaviour) -> (PeerId, Arc<Neighbour>) {
		let folder = tempfile::tempdir().unwrap();
		let store = TensorStore::open(folder.path()).unwrap();
		tensors.iter().for_each(|tensor| {
			store.put(tensor).unwrap();
		});
		let (delay, groups) = (Duration::from_millis(delay), AtomicUsize::new(0));
		let neighbour = Arc::new(Neighbour { store, answer, delay, groups, _folder: folder });
		let peer = PeerId::random();
		self.peers.lock().insert(peer, neighbour.clone());
		(peer, neighbour)
	}
}

fn honest() -> Behaviour {
	Box::new(|store, question| Some(server::answer(store, question).encode()))
}

fn tensor(len: usize) -> Vec<u8> {
	let mut bytes = vec![0; len];
	blake3::Hasher::new().update(&len.to_le_bytes()).finalize_xof().fill(&mut bytes);
	bytes
}

/// A node that fetches from a town.
struct Home {
	store: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
	work: tokio::task::JoinHandle<()>,
}

impl Home {
	fn new(folder: &TempDir, town: &Arc<Town>) -> Self {
		let store = Arc::new(TensorStore::open(folder.path()).unwrap().with_quota(64 << 20));
		let fetcher = Arc::new(Fetcher::new(store.clone()));
		let work = tokio::spawn(fetcher.clone().run(town.clone(), Metrics::new(None).unwrap()));
		Self { store, fetcher, work }
	}

	fn want(&self, tensor: &[u8]) -> Commitment {
		let commitment = Commitment::of(tensor);
		self.fetcher.want(&[Wanted { commitment, bytes: tensor.len() as u64, made_by: None }]);
		commitment
	}

	async fn arrives(&self, tensor: &[u8]) {
		let commitment = self.want(tensor);
		let mut arrivals = self.fetcher.arrivals();
		let arrive = async {
			while self.store.size(&commitment).unwrap().is_none() {
				arrivals.changed().await.unwrap();
			}
		};
		tokio::time::timeout(WAIT, arrive).await.expect("the tensor does not arrive");
		assert_eq!(self.store.get(&commitment).unwrap().as_deref(), Some(tensor));
		until(|| self.fetcher.wanted().is_empty()).await;
	}

	fn state(&self) -> Option<WantState> {
		self.fetcher.wanted().first().map(|want| want.state)
	}
}

impl Drop for Home {
	fn drop(&mut self) {
		self.work.abort();
	}
}

async fn until(condition: impl Fn() -> bool) {
	let began = Instant::now();
	while !condition() {
		assert!(began.elapsed() < WAIT, "it does not happen");
		tokio::time::sleep(Duration::from_millis(1)).await;
	}
}

#[tokio::test]
async fn a_tensor_comes_from_all_peers_that_have_it() {
	let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
	let tensors = [tensor(BYTES), tensor(GROUP_BYTES as usize), tensor(1_024)];
	let all: Vec<_> = tensors.iter().map(|tensor| &tensor[..]).collect();
	let sources: Vec<_> = (0..2).map(|_| town.settle(&all, 20, honest()).1).collect();
	town.settle(&[], 0, honest());
	let home = Home::new(&folder, &town);
	for tensor in &tensors {
		home.arrives(tensor).await;
	}
	let groups: Vec<_> = sources.iter().map(|source| source.groups.load(Ordering::Relaxed)).collect();
	assert!(groups.iter().all(|groups| *groups >= 2), "both brought groups: {groups:?}");
	assert_eq!(groups.iter().sum::<usize>(), 11 + 1 + 1, "nothing comes twice");
	assert!(town.reported.lock().is_empty());
}

#[tokio::test]
async fn liars_are_reported_and_the_tensor_comes_from_the_honest() {
	let wanted = tensor(BYTES);
	let lies: Vec<(&str, Behaviour)> = vec![
		(
			"wrong bytes",
			Box::new(|store, question| match server::answer(store, question) {
				Answer::Group(bytes) => {
					let mut bytes = bytes.into_inner();
					bytes[77] ^= 1;
					Some(Answer::group(bytes).encode())
				}
				other => Some(other.encode()),
			}),
		),
		(
			"another group",
			Box::new(|store, question| match question {
				Question::Group(tensor, group) => {
					Some(server::answer(store, &Question::Group(*tensor, (group + 1) % 10)).encode())
				}
				other => Some(server::answer(store, other).encode()),
			}),
		),
		(
			"wrong nodes",
			Box::new(|store, question| match server::answer(store, question) {
				Answer::Nodes(values) => {
					let mut values = values.into_inner();
					values[3][3] ^= 1;
					Some(Answer::nodes(&values).encode())
				}
				other => Some(other.encode()),
			}),
		),
		(
			"short groups",
			Box::new(|store, question| match server::answer(store, question) {
				Answer::Group(bytes) => Some(Answer::group(bytes[1..].to_vec()).encode()),
				other => Some(other.encode()),
			}),
		),
		(
			"no answer at all",
			Box::new(|_, question| match question {
				Question::Size(_) => Some(Answer::Size(BYTES as u64).encode()),
				_ => Some(vec![0xff; 4 << 20]),
			}),
		),
		("an answer to something else", Box::new(|_, _| Some(Answer::Size(BYTES as u64).encode()))),
	];
	for (name, lie) in lies {
		let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
		let (liar, _) = town.settle(&[&wanted], 0, lie);
		let home = Home::new(&folder, &town);
		// Alone, it serves nobody.
		home.want(&wanted);
		until(|| home.state() == Some(WantState::Unserved)).await;
		assert_eq!(*town.reported.lock(), [liar], "{name}");
		town.settle(&[&wanted], 0, honest());
		home.arrives(&wanted).await;
		assert_eq!(*town.reported.lock(), [liar], "{name}: it is not asked again");
	}
}

#[tokio::test]
async fn who_is_silent_or_busy_does_not_stop_the_others() {
	let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
	let wanted = tensor(BYTES);
	let asked = AtomicUsize::new(0);
	// Busy now and then.
	town.settle(
		&[&wanted],
		0,
		Box::new(move |store, question| match asked.fetch_add(1, Ordering::Relaxed) % 3 {
			0 => Some(Answer::Busy.encode()),
			_ => Some(server::answer(store, question).encode()),
		}),
	);
	// Has everything and gives nothing.
	town.settle(
		&[&wanted],
		0,
		Box::new(|store, question| match question {
			Question::Group(..) => None,
			other => Some(server::answer(store, other).encode()),
		}),
	);
	town.settle(&[], 0, Box::new(|_, _| None));
	let home = Home::new(&folder, &town);
	home.arrives(&wanted).await;
	assert!(town.reported.lock().is_empty(), "none of them lied");
}

#[tokio::test]
async fn a_slow_peer_is_asked_for_less() {
	let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
	let wanted = tensor(3 * BYTES);
	let (_, slow) = town.settle(&[&wanted], 400, honest());
	let (_, fast) = town.settle(&[&wanted], 5, honest());
	let home = Home::new(&folder, &town);
	home.arrives(&wanted).await;
	let [slow, fast] = [slow, fast].map(|source| source.groups.load(Ordering::Relaxed));
	assert!(slow <= 8 && fast >= 3 * slow, "{slow} from the slow one, {fast} from the fast one");
}

#[tokio::test]
async fn what_nobody_serves_is_named_and_comes_with_a_new_peer() {
	let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
	let wanted = tensor(BYTES);
	town.settle(&[], 0, honest());
	// One that says nothing keeps nobody from asking the others.
	town.settle(&[], 3_600_000, honest());
	// Here, but not of the length that its task says.
	let other = tensor(2_048);
	let home = Home::new(&folder, &town);
	let commitment = home.want(&wanted);
	until(|| home.state() == Some(WantState::Unserved)).await;
	let status = home.fetcher.wanted().remove(0);
	assert_eq!((status.commitment, status.bytes), (commitment.to_string(), BYTES as u64));
	town.settle(&[&wanted, &other], 0, honest());
	home.arrives(&wanted).await;
	home.fetcher.want(&[Wanted { commitment: Commitment::of(&other), bytes: 1_024, made_by: None }]);
	until(|| home.state() == Some(WantState::Unserved)).await;
	assert_eq!(home.store.size(&Commitment::of(&other)).unwrap(), None);
	assert!(town.reported.lock().is_empty(), "a task that says a wrong length is not the peer's fault");
}

#[tokio::test]
async fn a_download_goes_on_with_another_peer_after_a_restart() {
	let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
	let wanted = tensor(BYTES);
	// Brings half, and then nothing more.
	let left = AtomicUsize::new(5);
	let (half, _) = town.settle(
		&[&wanted],
		0,
		Box::new(move |store, question| match question {
			Question::Group(..) => {
				let more = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
				more.then(|| server::answer(store, question).encode())
			}
			other => Some(server::answer(store, other).encode()),
		}),
	);
	let home = Home::new(&folder, &town);
	home.want(&wanted);
	until(|| home.state() == Some(WantState::Unserved)).await;
	drop(home);
	town.peers.lock().remove(&half);
	let (_, whole) = town.settle(&[&wanted], 0, honest());
	let home = Home::new(&folder, &town);
	home.arrives(&wanted).await;
	assert_eq!(whole.groups.load(Ordering::Relaxed), 6, "eleven groups, of which five were here");
}

#[tokio::test]
async fn what_does_not_fit_is_not_fetched() {
	let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
	let wanted = tensor(BYTES);
	town.settle(&[&wanted], 0, honest());
	let home = Home::new(&folder, &town);
	for bytes in [0, 1_000, (1 << 30) + 1_024, u64::MAX] {
		home.fetcher.want(&[Wanted { commitment: Commitment::of(&wanted), bytes, made_by: None }]);
		assert!(home.fetcher.wanted().is_empty(), "no tensor has {bytes} bytes");
	}
	let many: Vec<_> = (0..5_000u32)
		.map(|i| Wanted { commitment: Commitment::of(&i.to_le_bytes()), bytes: 1_024, made_by: None })
		.collect();
	home.fetcher.want(&many);
	assert!(home.fetcher.wanted().len() <= 2_048, "the queue is bounded");
}

#[tokio::test]
async fn a_full_store_takes_nothing() {
	let (town, folder) = (Arc::new(Town::default()), tempfile::tempdir().unwrap());
	let wanted = tensor(BYTES);
	town.settle(&[&wanted], 0, honest());
	let store = Arc::new(TensorStore::open(folder.path()).unwrap().with_quota(BYTES as u64 - 1));
	let fetcher = Arc::new(Fetcher::new(store.clone()));
	let work = tokio::spawn(fetcher.clone().run(town.clone(), Metrics::new(None).unwrap()));
	let home = Home { store, fetcher, work };
	home.want(&wanted);
	until(|| home.state() == Some(WantState::NoRoom)).await;
	assert_eq!(home.store.usage().bytes, 0);
}
