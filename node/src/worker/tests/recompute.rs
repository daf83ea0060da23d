//! Making what nobody serves, with honest and forged records.

use labora_engine::NoMiner;

use super::*;
use crate::{
	exchange::{Metrics, Peers, WantState, Wanted},
	worker::{
		inputs::InputError,
		recompute::{run, RecomputeError, Recomputer, Work, MAX_ROUNDS},
	},
};

/// A task that was trained, its records, and a node with its dataset.
struct Past {
	fixture: Fixture,
	tables: Tables,
	store: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
	_folder: tempfile::TempDir,
}

impl Past {
	fn new(rounds: u32, units: u16) -> Self {
		let fixture = Fixture::rounds(rounds, units);
		let mut tables = Tables::new(&fixture.spec);
		let engine = Engine::best(1);
		let mut parameters = fixture.parameters.clone();
		for round in 0..rounds {
			let given = (0..units).map(|unit| {
				let output = engine.run(&fixture.plan_of(round, unit, parameters.clone()), &NoMiner).unwrap();
				tables.results.insert((round, unit), output.parameters.iter().map(|(name, _)| *name).collect());
				output.parameters.into_iter().map(|(_, tensor)| tensor).collect::<Vec<_>>()
			});
			let mut given: Vec<_> = given.collect();
			parameters = match units {
				1 => given.remove(0),
				_ => engine.merge(&given).unwrap().into_iter().map(|(_, tensor)| tensor).collect(),
			};
			tables.parameters.push(parameters.iter().map(|tensor| tensor.commitment()).collect());
		}
		let folder = tempfile::tempdir().unwrap();
		let store = Arc::new(TensorStore::open(folder.path()).unwrap());
		let fetcher = Arc::new(Fetcher::new(store.clone()));
		for tensor in [&fixture.features, &fixture.labels] {
			store.put(tensor.bytes()).unwrap();
		}
		Self { fixture, tables, store, fetcher, _folder: folder }
	}

	/// What a round starts from: it has one tensor.
	fn base(&self, round: usize) -> Commitment {
		self.tables.parameters[round][0]
	}

	/// What made it.
	fn maker(&self, round: u32) -> UnitRef {
		let kind = if self.fixture.spec.job.units() > 1 { UnitKind::Merge } else { UnitKind::Steps(0) };
		UnitRef { round: round - 1, kind, ..Fixture::unit() }
	}

	fn want(&self, commitment: Commitment, made_by: UnitRef) {
		let bytes = self.fixture.parameters[0].bytes().len() as u64;
		self.fetcher.want(&[Wanted { commitment, bytes, made_by: Some(made_by) }]);
	}

	fn recomputer(self) -> (Recomputer<impl Fn() -> Hash>, tempfile::TempDir) {
		let recomputer = Recomputer {
			chain: Arc::new(self.tables),
			best: || GENESIS,
			store: self.store,
			fetcher: self.fetcher,
			units: Metrics::new(None).unwrap().recomputed,
			patience: Duration::ZERO,
		};
		(recomputer, self._folder)
	}

	/// Makes a tensor that is wanted. What became of it, and the units that it took.
	fn make(
		self,
		tensor: Commitment,
		unit: UnitRef,
	) -> (Result<(), RecomputeError>, u64, Arc<TensorStore>, Arc<Fetcher>) {
		self.want(tensor, unit);
		let (recomputer, _folder) = self.recomputer();
		let made = Work::new(&recomputer, tensor, Default::default()).make_wanted(&tensor, unit);
		// Not before: the folder is gone with this.
		let kept = recomputer.store.get(&tensor).unwrap().is_some();
		assert_eq!(kept, made.is_ok());
		(made, recomputer.units.get(), recomputer.store, recomputer.fetcher)
	}
}

#[test]
fn rounds_are_made_from_the_dataset_and_the_recipe() {
	let past = Past::new(3, 2);
	let (last, maker) = (past.base(3), past.maker(3));
	let (made, units, ..) = past.make(last, maker);
	made.unwrap();
	assert_eq!(units, 9, "two units and a merge, three times");
}

#[test]
fn what_is_in_the_store_is_not_made_again() {
	let past = Past::new(3, 2);
	let engine = Engine::best(1);
	let unit = |unit| engine.run(&past.fixture.plan_of(0, unit, past.fixture.parameters.clone()), &NoMiner).unwrap();
	let sets: Vec<_> = (0..2).map(|number| vec![unit(number).parameters[0].1.clone()]).collect();
	let first = engine.merge(&sets).unwrap()[0].1.clone();
	let (last, maker) = (past.base(2), past.maker(2));
	past.store.put(first.bytes()).unwrap();
	let (made, units, ..) = past.make(last, maker);
	made.unwrap();
	assert_eq!(units, 3, "one round");
}

#[test]
fn a_round_of_one_unit_has_no_merge() {
	let past = Past::new(2, 1);
	let (last, maker) = (past.base(2), past.maker(2));
	let (made, units, ..) = past.make(last, maker);
	made.unwrap();
	assert_eq!(units, 2);
}

#[test]
fn one_unit_of_a_round_is_made_alone() {
	let past = Past::new(2, 2);
	let (tensor, unit) =
		(past.tables.results[&(1, 1)][0], UnitRef { round: 1, kind: UnitKind::Steps(1), ..Fixture::unit() });
	let (made, units, ..) = past.make(tensor, unit);
	made.unwrap();
	assert_eq!(units, 4, "the first round, and the unit");
}

#[test]
fn nothing_is_kept_that_the_chain_does_not_say() {
	let mut past = Past::new(2, 2);
	let forged = Commitment([9; 32]);
	past.tables.results.insert((0, 1), vec![forged]);
	let (last, maker) = (past.base(2), past.maker(2));
	let (made, units, store, _) = past.make(last, maker);
	assert!(matches!(made, Err(RecomputeError::Differs(_))), "{made:?}");
	assert_eq!(units, 1, "the unit before it");
	assert!(store.size(&forged).unwrap().is_none());
}

#[test]
fn what_no_result_gave_is_not_made() {
	let past = Past::new(2, 2);
	let (maker, later) = (past.maker(2), UnitRef { round: 7, ..past.maker(2) });
	let base = past.base(2);
	assert!(matches!(past.make(Commitment([9; 32]), maker).0, Err(RecomputeError::NoResult)));
	assert!(matches!(Past::new(2, 2).make(base, later).0, Err(RecomputeError::NoResult)));
}

#[test]
fn a_missing_dataset_is_named_and_wanted() {
	let past = Past::new(1, 2);
	let features = past.fixture.spec.dataset.features;
	let (last, maker, folder) = (past.base(1), past.maker(1), tempfile::tempdir().unwrap());
	let store = Arc::new(TensorStore::open(folder.path()).unwrap());
	store.put(past.fixture.labels.bytes()).unwrap();
	let fetcher = Arc::new(Fetcher::new(store.clone()));
	let (made, units, _, fetcher) = Past { store, fetcher, ..past }.make(last, maker);
	let Err(RecomputeError::Inputs(InputError::Missing(missing))) = made else { panic!("{made:?}") };
	assert_eq!((missing, units), (vec![features], 0));
	assert!(fetcher.is_wanted(&features));
}

#[test]
fn only_so_many_rounds_are_made() {
	let past = Past::new(MAX_ROUNDS + 2, 1);
	let (last, maker) = (past.base(MAX_ROUNDS as usize + 2), past.maker(MAX_ROUNDS + 2));
	let (made, units, ..) = past.make(last, maker);
	assert!(matches!(made, Err(RecomputeError::TooFar)), "{made:?}");
	assert_eq!(units, 0);
}

#[test]
fn nothing_is_made_that_nobody_wants_or_that_has_no_room() {
	let past = Past::new(2, 1);
	let (last, maker) = (past.base(2), past.maker(2));
	let (recomputer, _folder) = past.recomputer();
	let made = Work::new(&recomputer, last, Default::default()).make_wanted(&last, maker);
	assert!(made.is_err_and(|error| error.is_cancelled()));

	let past = Past::new(2, 1);
	let full = TensorStore::open(past._folder.path()).unwrap().with_quota(past.store.usage().bytes + 1_024);
	let (store, fetcher) = (Arc::new(full), past.fetcher.clone());
	let (made, units, ..) = Past { store, fetcher, ..past }.make(last, maker);
	assert!(matches!(made, Err(RecomputeError::NoRoom)), "{made:?}");
	assert_eq!(units, 0);
}

/// Nobody.
struct Desert;

#[async_trait::async_trait]
impl Peers for Desert {
	async fn connected(&self) -> Vec<sc_network::PeerId> {
		Vec::new()
	}

	async fn request(&self, _: sc_network::PeerId, _: Vec<u8>) -> Result<Vec<u8>, sc_network::RequestFailure> {
		Err(sc_network::RequestFailure::NotConnected)
	}

	fn report(&self, _: sc_network::PeerId, _: sc_network::ReputationChange) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_arrives_all_the_same() {
	let past = Past::new(2, 2);
	let (last, maker, forged) = (past.base(2), past.maker(2), Commitment([9; 32]));
	past.want(forged, maker);
	past.want(last, maker);
	let (store, fetcher) = (past.store.clone(), past.fetcher.clone());
	let mut arrivals = fetcher.arrivals();
	let (recomputer, _folder) = past.recomputer();
	let fetching = tokio::spawn(fetcher.clone().run(Arc::new(Desert), Metrics::new(None).unwrap()));
	let making = tokio::spawn(run(recomputer));
	tokio::time::timeout(WAIT, arrivals.changed()).await.expect("it arrives").unwrap();
	assert!(store.get(&last).unwrap().is_some());
	let wanted: Vec<_> = fetcher.wanted().into_iter().map(|want| (want.commitment, want.state)).collect();
	assert_eq!(
		wanted,
		[(forged.to_string(), WantState::Unserved)],
		"what cannot be made stays named, and stops nothing"
	);
	making.abort();
	fetching.abort();
}
