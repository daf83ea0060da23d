//! A state in memory that counts which keys are read and written.

use std::{
	cell::RefCell,
	collections::{BTreeMap, BTreeSet},
};

use sp_core::storage::{ChildInfo, StateVersion, TrackedStorageKey};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{
	backend::Backend, BackendTransaction, ChildStorageCollection, InMemoryBackend, IterArgs, StorageCollection,
	StorageIterator, StorageKey, StorageValue, UsageInfo,
};
use sp_trie::MerkleValue;

type Hash = sp_core::H256;
type Inner = InMemoryBackend<BlakeTwo256>;

/// How often a key was read and written.
type Uses = BTreeMap<Vec<u8>, (u32, u32)>;

/// The state of a benchmark. It starts empty, and is empty again after every run.
#[derive(Default)]
pub struct State {
	inner: RefCell<Inner>,
	uses: RefCell<Uses>,
	whitelist: RefCell<Vec<TrackedStorageKey>>,
}

impl std::fmt::Debug for State {
	fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
		f.write_str("State")
	}
}

impl State {
	fn read(&self, key: &[u8]) {
		let mut uses = self.uses.borrow_mut();
		let reads = &mut uses.entry(key.to_vec()).or_default().0;
		*reads = reads.saturating_add(1);
	}

	/// A child's keys are told from others by the child's own.
	fn read_child(&self, child: &ChildInfo, key: &[u8]) {
		self.read(&[child.storage_key(), key].concat());
	}

	fn wrote(&self, key: &[u8]) {
		let mut uses = self.uses.borrow_mut();
		let writes = &mut uses.entry(key.to_vec()).or_default().1;
		*writes = writes.saturating_add(1);
	}

	/// The uses of the keys that are counted.
	fn counted(&self) -> Vec<(Vec<u8>, u32, u32)> {
		let whitelist: BTreeSet<Vec<u8>> = self.whitelist.borrow().iter().map(|tracked| tracked.key.clone()).collect();
		let uses = self.uses.borrow();
		let counted = uses.iter().filter(|(key, _)| !whitelist.contains(*key));
		counted.map(|(key, (reads, writes))| (key.clone(), *reads, *writes)).collect()
	}
}

/// Walks over keys, and counts them.
pub struct RawIter(<Inner as Backend<BlakeTwo256>>::RawIter);

impl StorageIterator<BlakeTwo256> for RawIter {
	type Backend = State;
	type Error = String;

	fn next_key(&mut self, state: &State) -> Option<Result<StorageKey, String>> {
		let next = self.0.next_key(&state.inner.borrow());
		if let Some(Ok(key)) = &next {
			state.read(key);
		}
		next
	}

	fn next_pair(&mut self, state: &State) -> Option<Result<(StorageKey, StorageValue), String>> {
		let next = self.0.next_pair(&state.inner.borrow());
		if let Some(Ok((key, _))) = &next {
			state.read(key);
		}
		next
	}

	fn was_complete(&self) -> bool {
		self.0.was_complete()
	}
}

impl Backend<BlakeTwo256> for State {
	type Error = String;
	type TrieBackendStorage = <Inner as Backend<BlakeTwo256>>::TrieBackendStorage;
	type RawIter = RawIter;

	fn storage(&self, key: &[u8]) -> Result<Option<StorageValue>, String> {
		self.read(key);
		self.inner.borrow().storage(key)
	}

	fn storage_hash(&self, key: &[u8]) -> Result<Option<Hash>, String> {
		self.read(key);
		self.inner.borrow().storage_hash(key)
	}

	fn closest_merkle_value(&self, key: &[u8]) -> Result<Option<MerkleValue<Hash>>, String> {
		self.read(key);
		self.inner.borrow().closest_merkle_value(key)
	}

	fn child_closest_merkle_value(&self, child: &ChildInfo, key: &[u8]) -> Result<Option<MerkleValue<Hash>>, String> {
		self.read_child(child, key);
		self.inner.borrow().child_closest_merkle_value(child, key)
	}

	fn child_storage(&self, child: &ChildInfo, key: &[u8]) -> Result<Option<StorageValue>, String> {
		self.read_child(child, key);
		self.inner.borrow().child_storage(child, key)
	}

	fn child_storage_hash(&self, child: &ChildInfo, key: &[u8]) -> Result<Option<Hash>, String> {
		self.read_child(child, key);
		self.inner.borrow().child_storage_hash(child, key)
	}

	fn next_storage_key(&self, key: &[u8]) -> Result<Option<StorageKey>, String> {
		self.read(key);
		self.inner.borrow().next_storage_key(key)
	}

	fn next_child_storage_key(&self, child: &ChildInfo, key: &[u8]) -> Result<Option<StorageKey>, String> {
		self.read_child(child, key);
		self.inner.borrow().next_child_storage_key(child, key)
	}

	fn storage_root<'a>(
		&self,
		delta: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
		version: StateVersion,
	) -> (Hash, BackendTransaction<BlakeTwo256>) {
		self.inner.borrow().storage_root(delta, version)
	}

	fn child_storage_root<'a>(
		&self,
		child: &ChildInfo,
		delta: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
		version: StateVersion,
	) -> (Hash, bool, BackendTransaction<BlakeTwo256>) {
		self.inner.borrow().child_storage_root(child, delta, version)
	}

	fn raw_iter(&self, args: IterArgs) -> Result<RawIter, String> {
		self.inner.borrow().raw_iter(args).map(RawIter)
	}

	fn register_overlay_stats(&self, _: &sp_state_machine::StateMachineStats) {}

	fn usage_info(&self) -> UsageInfo {
		UsageInfo::empty()
	}

	fn wipe(&self) -> Result<(), String> {
		self.inner.take();
		self.uses.take();
		Ok(())
	}

	fn commit(
		&self,
		root: Hash,
		transaction: BackendTransaction<BlakeTwo256>,
		changes: StorageCollection,
		child_changes: ChildStorageCollection,
	) -> Result<(), String> {
		self.inner.borrow_mut().apply_transaction(root, transaction);
		changes.iter().for_each(|(key, _)| self.wrote(key));
		for (child, changes) in child_changes {
			changes.iter().for_each(|(key, _)| self.wrote(&[&child[..], key].concat()));
		}
		Ok(())
	}

	fn read_write_count(&self) -> (u32, u32, u32, u32) {
		let add = |sum: (u32, u32, u32, u32), (_, reads, writes): &(Vec<u8>, u32, u32)| {
			let (read, wrote) = ((*reads).min(1), (*writes).min(1));
			(
				sum.0.saturating_add(read),
				sum.1.saturating_add(reads.saturating_sub(read)),
				sum.2.saturating_add(wrote),
				sum.3.saturating_add(writes.saturating_sub(wrote)),
			)
		};
		self.counted().iter().fold((0, 0, 0, 0), add)
	}

	fn reset_read_write_count(&self) {
		self.uses.take();
	}

	fn get_whitelist(&self) -> Vec<TrackedStorageKey> {
		self.whitelist.borrow().clone()
	}

	fn set_whitelist(&self, new: Vec<TrackedStorageKey>) {
		self.whitelist.replace(new);
	}

	fn proof_size(&self) -> Option<u32> {
		None
	}

	/// The counts are enough.
	fn get_read_and_written_keys(&self) -> Vec<(Vec<u8>, u32, u32, bool)> {
		Vec::new()
	}
}
