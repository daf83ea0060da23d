//! What `frame-benchmarking` asks of its host, and the types that its runtime API speaks.
//!
//! That crate's own native half would draw a linear algebra library into every build of the workspace; names and encodings are its.

use codec::{Decode, Encode};
use sp_core::storage::TrackedStorageKey;
use sp_runtime_interface::{
	pass_by::{AllocateAndReturnByCodec, AllocateAndReturnPointer, PassFatPointerAndDecode, PassFatPointerAndRead},
	runtime_interface,
};

/// A storage key with its reads, its writes and whether it is not counted.
type KeyUse = (Vec<u8>, u32, u32, bool);

/// Nanoseconds that this thread has run.
fn thread_time() -> u128 {
	let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
	// SAFETY: the pointer is to a `timespec` of this frame.
	let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
	assert_eq!(failed, 0, "Linux has this clock");
	(time.tv_sec as u128) * 1_000_000_000 + time.tv_nsec as u128
}

/// The host functions of a benchmark.
#[runtime_interface]
pub trait Benchmarking {
	/// Nanoseconds that this thread has run. The interface speaks of the time of day, but only differences are used; and on a
	/// machine with other work, that would count the other work too.
	fn current_time() -> AllocateAndReturnPointer<[u8; 16], 16> {
		thread_time().to_le_bytes()
	}

	/// Goes back to the first state.
	fn wipe_db(&mut self) {
		self.wipe()
	}

	/// Writes what has changed to the state.
	fn commit_db(&mut self) {
		self.commit();
	}

	/// Reads, repeated reads, writes and repeated writes.
	fn read_write_count(&self) -> AllocateAndReturnByCodec<(u32, u32, u32, u32)> {
		self.read_write_count()
	}

	/// Counts from zero.
	fn reset_read_write_count(&mut self) {
		self.reset_read_write_count()
	}

	/// The keys that are not counted.
	fn get_whitelist(&self) -> AllocateAndReturnByCodec<Vec<TrackedStorageKey>> {
		self.get_whitelist()
	}

	/// Sets the keys that are not counted.
	fn set_whitelist(&mut self, new: PassFatPointerAndDecode<Vec<TrackedStorageKey>>) {
		self.set_whitelist(new)
	}

	/// Adds a key that is not counted.
	fn add_to_whitelist(&mut self, add: PassFatPointerAndDecode<TrackedStorageKey>) {
		let mut whitelist = self.get_whitelist();
		whitelist.push(add);
		self.set_whitelist(whitelist);
	}

	/// Counts a key again.
	fn remove_from_whitelist(&mut self, remove: PassFatPointerAndRead<Vec<u8>>) {
		let mut whitelist = self.get_whitelist();
		whitelist.retain(|tracked| tracked.key != remove);
		self.set_whitelist(whitelist);
	}

	/// What was read and written.
	fn get_read_and_written_keys(&self) -> AllocateAndReturnByCodec<Vec<KeyUse>> {
		self.get_read_and_written_keys()
	}

	/// The chain is standalone: it needs no proofs of its storage.
	fn proof_size(&self) -> AllocateAndReturnByCodec<Option<u32>> {
		self.proof_size()
	}
}

/// A parameter of a benchmark: a letter, by its place in the alphabet.
#[derive(Encode, Decode, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter(u8);

impl Parameter {
	/// The letter.
	pub fn letter(self) -> char {
		char::from(b'a'.saturating_add(self.0))
	}
}

/// Values of a benchmark's parameters.
pub type Values = Vec<(Parameter, u32)>;

/// The benchmarks of a pallet.
#[derive(Decode)]
pub struct List {
	/// The pallet.
	pub pallet: Vec<u8>,
	/// Its instance.
	pub instance: Vec<u8>,
	/// Its benchmarks.
	pub benchmarks: Vec<Metadata>,
}

/// A benchmark.
#[derive(Decode)]
pub struct Metadata {
	/// Its name.
	pub name: Vec<u8>,
	/// Its parameters, with the least and the most of each.
	pub parameters: Vec<(Parameter, u32, u32)>,
	/// How the proof of storage is counted: not here.
	pub pov_modes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Which benchmark is to run, and how.
#[derive(Encode)]
pub struct Config<'a> {
	/// The pallet.
	pub pallet: &'a [u8],
	/// Its instance.
	pub instance: &'a [u8],
	/// The benchmark.
	pub benchmark: &'a [u8],
	/// Values of the parameters.
	pub values: &'a Values,
	/// Whether what it did is to be checked.
	pub verify: bool,
	/// How often it runs.
	pub repeats: u32,
}

/// What the runs of a benchmark gave.
#[derive(Decode)]
pub struct Batch {
	/// The pallet.
	pub pallet: Vec<u8>,
	/// Its instance.
	pub instance: Vec<u8>,
	/// The benchmark.
	pub benchmark: Vec<u8>,
	/// One per run.
	pub results: Vec<Run>,
}

/// What a run of a benchmark gave.
#[derive(Decode)]
pub struct Run {
	/// Values of the parameters.
	pub values: Values,
	/// Nanoseconds of execution.
	pub time: u128,
	/// Nanoseconds of the storage root.
	pub root_time: u128,
	/// Keys read.
	pub reads: u32,
	/// Further reads of them.
	pub repeat_reads: u32,
	/// Keys written.
	pub writes: u32,
	/// Further writes to them.
	pub repeat_writes: u32,
	/// Bytes of a proof of the storage.
	pub proof_size: u32,
	/// The keys.
	pub keys: Vec<KeyUse>,
}
