//! The tensors that this node keeps, by commitment.
//!
//! A tensor's commitment is the plain BLAKE3 hash of its bytes, so it is also its address: tensor `abcd...` is the file
//! `ab/abcd...` below the store's folder, and `b3sum` checks it. A file appears under its name only when all of its bytes are
//! on disk (written elsewhere, synced, renamed), and is verified again whenever it is read as a whole: neither a crash nor a
//! failing disk makes the node compute on wrong bytes.
//!
//! The folder `partial/` holds what is not complete yet: uploads, which a client may continue after a restart of
//! the node, downloads from peers, which go on likewise, and files being written. Beside a tensor of more than 1 MiB that was
//! served or downloaded lies `abcd....nodes`, the chaining values above its groups: with them a group is read and verified alone.
//!
//! A quota bounds the bytes. Room is made by removing tensors that nobody pinned, the longest unused first; who brings more is
//! refused. What this node computed itself is kept in any case. What the store is not: it knows no shapes and no peers.

use std::{
	collections::HashSet,
	fs::{self, File},
	io::{self, Read, Seek, SeekFrom, Write},
	path::{Path, PathBuf},
	sync::atomic::{AtomicU64, Ordering},
	time::{Duration, SystemTime},
};

use labora_tensor::Commitment;
use parking_lot::Mutex;

mod downloads;
mod groups;
mod ledger;
#[cfg(test)]
mod tests;
mod uploads;

pub use downloads::{Download, DownloadError};
pub use groups::{is_tensor, GroupTree, GROUP_BYTES, MAX_GROUPS};
use ledger::{Ledger, Purpose};
pub use ledger::{Usage, YOUNG};
use uploads::Uploads;
pub use uploads::{UploadError, UploadProgress, MAX_UPLOADS};

/// Largest tensor that is taken, bytes.
pub const MAX_TENSOR_BYTES: u64 = 1 << 30;
/// Log target of the store.
const LOG_TARGET: &str = "labora::store";
/// Folder of what is not complete yet.
const PARTIAL: &str = "partial";
/// How the names of files being written begin; the name of an upload is its commitment.
const WRITING: &str = "writing-";
/// How the names of downloads begin; their commitments follow.
const DOWNLOAD: &str = "download-";
/// How the names of files with the chaining values above groups end; their tensors' commitments come before.
const NODES: &str = "nodes";
/// What is not complete and was not continued for so long is removed.
const STALE: Duration = Duration::from_secs(24 * 3_600);
/// Bytes hashed at a time when a file is verified without keeping it.
const VERIFY_BYTES: usize = 1 << 20;

/// Reads a commitment in hexadecimal, with or without `0x`.
pub fn parse_commitment(text: &str) -> Option<Commitment> {
	let digits = text.strip_prefix("0x").unwrap_or(text);
	let mut bytes = [0; 32];
	hex::decode_to_slice(digits, &mut bytes).ok()?;
	Some(Commitment(bytes))
}

/// Tensors on disk, by commitment. Shared by any number of threads.
pub struct TensorStore {
	folder: PathBuf,
	uploads: Uploads,
	ledger: Mutex<Ledger>,
	/// Numbers the files being written.
	written: AtomicU64,
}

impl TensorStore {
	/// Opens the store in a folder, which is made if there is none.
	pub fn open(folder: &Path) -> io::Result<Self> {
		let partial = folder.join(PARTIAL);
		fs::create_dir_all(&partial)?;
		for entry in fs::read_dir(&partial)? {
			let entry = entry?;
			// Writers of an earlier run are gone. Uploads stay: their clients can go on.
			if entry.file_name().to_string_lossy().starts_with(WRITING) {
				fs::remove_file(entry.path())?;
			}
		}
		let mut ledger = Ledger::new();
		for shelf in fs::read_dir(folder)? {
			let shelf = shelf?;
			if !shelf.file_type()?.is_dir() || shelf.file_name() == PARTIAL {
				continue;
			}
			for entry in fs::read_dir(shelf.path())? {
				let entry = entry?;
				if let Some(commitment) = entry.file_name().to_str().and_then(parse_commitment) {
					let metadata = entry.metadata()?;
					ledger.keep(commitment, metadata.len(), metadata.modified()?);
				}
			}
		}
		let (uploads, ledger) = (Uploads::new(partial), Mutex::new(ledger));
		Ok(Self { folder: folder.into(), uploads, ledger, written: AtomicU64::new(0) })
	}

	/// Bounds the bytes of the tensors, those that arrive included.
	pub fn with_quota(self, bytes: u64) -> Self {
		self.ledger.lock().set_quota(bytes);
		self
	}

	/// What it holds, and may hold.
	pub fn usage(&self) -> Usage {
		self.ledger.lock().usage()
	}

	/// Says what must stay, and removes what is too much. Until this is said the first time, nothing is removed.
	pub fn pin(&self, pinned: HashSet<Commitment>) -> io::Result<()> {
		let mut ledger = self.ledger.lock();
		ledger.pin(pinned);
		let removed = ledger.collect(SystemTime::now());
		self.remove_all(&removed)?;
		drop(ledger);
		self.remove_stale()
	}

	/// Removes tensors that the ledger forgot. It is locked meanwhile: nobody brings one of them back.
	fn remove_all(&self, removed: &[Commitment]) -> io::Result<()> {
		for commitment in removed {
			log::info!(target: LOG_TARGET, "Tensor {commitment} is removed: no task needs it, and the store is full");
			self.remove(commitment)?;
		}
		Ok(())
	}

	/// Removes a tensor's files.
	fn remove(&self, commitment: &Commitment) -> io::Result<()> {
		if_found(fs::remove_file(self.nodes_path(commitment)))?;
		if_found(fs::remove_file(self.path(commitment)))?;
		Ok(())
	}

	/// Removes what is not complete and was long not continued.
	fn remove_stale(&self) -> io::Result<()> {
		for entry in fs::read_dir(self.folder.join(PARTIAL))? {
			let entry = entry?;
			let Some(metadata) = if_found(entry.metadata())? else { continue };
			if metadata.modified()?.elapsed().is_ok_and(|age| age > STALE) {
				if_found(fs::remove_file(entry.path()))?;
			}
		}
		Ok(())
	}

	/// A damaged tensor is removed, as if it had never been here.
	fn discard(&self, commitment: &Commitment) -> io::Result<()> {
		log::error!(target: LOG_TARGET, "Tensor {commitment} is damaged and removed; it has to come again.");
		let mut ledger = self.ledger.lock();
		ledger.forget(commitment);
		self.remove(commitment)
	}

	/// Makes room for a tensor that arrives. Whether there is enough.
	fn reserve(&self, commitment: &Commitment, bytes: u64, purpose: Purpose) -> io::Result<bool> {
		let uploads = self.uploads.under_way();
		let mut ledger = self.ledger.lock();
		// Uploads that ended without their tensor.
		let ended = |other: &Commitment| other != commitment && !uploads.contains(other);
		ledger.release(|other, purpose| purpose == Purpose::Upload && ended(other));
		let Ok(removed) = ledger.reserve(*commitment, bytes, purpose, SystemTime::now()) else { return Ok(false) };
		self.remove_all(&removed)?;
		Ok(true)
	}

	/// Makes room for so many bytes that are about to be kept. Whether there is enough.
	pub fn make_room(&self, bytes: u64) -> io::Result<bool> {
		let mut ledger = self.ledger.lock();
		let Ok(removed) = ledger.make_room(bytes, SystemTime::now()) else { return Ok(false) };
		self.remove_all(&removed)?;
		Ok(true)
	}

	/// Where a tensor is kept.
	fn path(&self, commitment: &Commitment) -> PathBuf {
		let name = commitment.to_string();
		self.folder.join(&name[..2]).join(name)
	}

	/// Where the chaining values above its groups are kept.
	fn nodes_path(&self, commitment: &Commitment) -> PathBuf {
		self.path(commitment).with_extension(NODES)
	}

	/// The bytes of a tensor, verified. A damaged file is removed, as if the tensor had never been here.
	pub fn get(&self, commitment: &Commitment) -> io::Result<Option<Vec<u8>>> {
		let Some(bytes) = if_found(fs::read(self.path(commitment)))? else { return Ok(None) };
		if Commitment::of(&bytes) == *commitment {
			self.ledger.lock().used(commitment, SystemTime::now());
			return Ok(Some(bytes));
		}
		self.discard(commitment)?;
		Ok(None)
	}

	/// Keeps a tensor.
	pub fn put(&self, bytes: &[u8]) -> io::Result<Commitment> {
		let commitment = Commitment::of(bytes);
		if self.holds(&commitment, bytes.len() as u64)? {
			return Ok(commitment);
		}
		self.write(bytes, |file| self.adopt(file, &commitment))?;
		Ok(commitment)
	}

	/// Writes a file, syncs it and gives it to `keep`, which moves it away.
	fn write(&self, bytes: &[u8], keep: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
		let number = self.written.fetch_add(1, Ordering::Relaxed);
		let temporary = self.folder.join(PARTIAL).join(format!("{WRITING}{number}"));
		let written = File::create(&temporary).and_then(|mut file| {
			file.write_all(bytes)?;
			file.sync_all()
		});
		let kept = written.and_then(|()| keep(&temporary));
		if kept.is_err() {
			// Nothing is lost with it: it is a file of this call alone.
			let _ = fs::remove_file(&temporary);
		}
		kept
	}

	/// Whether the tensor is here with all of its bytes right.
	fn holds(&self, commitment: &Commitment, len: u64) -> io::Result<bool> {
		if self.size(commitment)? != Some(len) {
			return Ok(false);
		}
		let hashed = if_found(File::open(self.path(commitment)).and_then(|mut file| hash(&mut file)))?;
		self.ledger.lock().used(commitment, SystemTime::now());
		Ok(hashed == Some(*commitment))
	}

	/// Moves a complete, verified and synced file to its place.
	fn adopt(&self, file: &Path, commitment: &Commitment) -> io::Result<()> {
		let path = self.path(commitment);
		let Some(folder) = path.parent() else { return Err(io::ErrorKind::NotFound.into()) };
		fs::create_dir_all(folder)?;
		{
			let mut ledger = self.ledger.lock();
			let bytes = fs::metadata(file)?.len();
			fs::rename(file, &path)?;
			ledger.keep(*commitment, bytes, SystemTime::now());
		}
		// A rename is on disk only when its folder is.
		File::open(folder)?.sync_all()
	}

	/// Bytes of a tensor, if it is here.
	pub fn size(&self, commitment: &Commitment) -> io::Result<Option<u64>> {
		Ok(if_found(fs::metadata(self.path(commitment)))?.map(|metadata| metadata.len()))
	}

	/// Bytes `offset..offset + len` of a tensor, fewer at its end. Not verified: whoever has the whole can.
	pub fn read_range(&self, commitment: &Commitment, offset: u64, len: u32) -> io::Result<Option<Vec<u8>>> {
		let Some(mut file) = if_found(File::open(self.path(commitment)))? else { return Ok(None) };
		file.seek(SeekFrom::Start(offset))?;
		let mut bytes = Vec::new();
		file.take(u64::from(len)).read_to_end(&mut bytes)?;
		Ok(Some(bytes))
	}

	/// Takes a part of a tensor of `total` bytes; with the last one the tensor is verified and kept. Parts come in order:
	/// `offset` is where the parts so far end.
	pub fn upload(
		&self,
		commitment: &Commitment,
		total: u64,
		offset: u64,
		data: &[u8],
	) -> Result<UploadProgress, UploadError> {
		if total == 0 || total > MAX_TENSOR_BYTES {
			return Err(UploadError::BadSize);
		}
		if self.size(commitment)? == Some(total) {
			return Ok(UploadProgress { received: total, complete: true });
		}
		if !self.reserve(commitment, total, Purpose::Upload)? {
			return Err(UploadError::Full { quota: self.ledger.lock().quota() });
		}
		self.uploads.append(commitment, total, offset, data, |file| self.adopt(file, commitment))
	}
}

/// Tensors in groups, as peers ask for them and bring them.
impl TensorStore {
	/// The nodes above a tensor's groups, if it is here. Where they are not written down yet, the whole tensor is read and
	/// verified.
	pub fn tree(&self, commitment: &Commitment) -> io::Result<Option<GroupTree>> {
		let Some(size) = self.size(commitment)? else { return Ok(None) };
		if let Some(tree) = GroupTree::of_one(*commitment, size) {
			return Ok(Some(tree));
		}
		if let Some(written) = if_found(fs::read(self.nodes_path(commitment)))? {
			let values = written.chunks(32).map(|value| value.try_into().unwrap_or_default()).collect();
			if let Some(tree) = GroupTree::verify(*commitment, size, values) {
				return Ok(Some(tree));
			}
		}
		let Some(mut collect) = groups::Collect::new(size) else { return Ok(None) };
		let Some(mut file) = if_found(File::open(self.path(commitment)))? else { return Ok(None) };
		let mut group = Vec::with_capacity(GROUP_BYTES as usize);
		loop {
			group.clear();
			Read::by_ref(&mut file).take(GROUP_BYTES).read_to_end(&mut group)?;
			if group.is_empty() || !collect.take(&group) {
				break;
			}
		}
		match GroupTree::verify(*commitment, size, collect.values()) {
			Some(tree) => {
				self.write_tree(&tree)?;
				Ok(Some(tree))
			}
			None => {
				self.discard(commitment)?;
				Ok(None)
			}
		}
	}

	/// Writes down the nodes above a tensor's groups.
	fn write_tree(&self, tree: &GroupTree) -> io::Result<()> {
		if tree.values().is_empty() {
			return Ok(());
		}
		self.write(&tree.values().concat(), |file| fs::rename(file, self.nodes_path(&tree.commitment())))
	}

	/// The bytes of a tensor's group, verified, if they are here. A damaged tensor is removed, as if it had never been here.
	pub fn group(&self, commitment: &Commitment, group: u32) -> io::Result<Option<Vec<u8>>> {
		let Some(tree) = self.tree(commitment)? else { return Ok(None) };
		let Some(mut file) = if_found(File::open(self.path(commitment)))? else { return Ok(None) };
		let Some(bytes) = downloads::read_group(&mut file, &tree, group)? else { return Ok(None) };
		if tree.takes(group, &bytes) {
			self.ledger.lock().used(commitment, SystemTime::now());
			return Ok(Some(bytes));
		}
		self.discard(commitment)?;
		Ok(None)
	}

	/// Begins to download a tensor, or goes on where an earlier download stopped.
	pub fn download(&self, tree: GroupTree) -> Result<Download, DownloadError> {
		let commitment = tree.commitment();
		if !self.reserve(&commitment, tree.bytes(), Purpose::Download)? {
			return Err(DownloadError::Full { quota: self.ledger.lock().quota() });
		}
		let path = self.folder.join(PARTIAL).join(format!("{DOWNLOAD}{commitment}"));
		Ok(Download::open(path, tree)?)
	}

	/// Keeps a tensor that was downloaded, if it is complete.
	pub fn finish(&self, download: &Download) -> io::Result<bool> {
		let commitment = download.commitment();
		let Some(path) = download.complete()? else { return Ok(false) };
		self.adopt(path, &commitment)?;
		self.write_tree(download.tree())?;
		Ok(true)
	}

	/// Nobody waits for a tensor any more. What came of it stays for a day.
	pub fn abandon(&self, commitment: &Commitment) {
		self.ledger.lock().release(|other, purpose| purpose == Purpose::Download && other == commitment);
	}
}

/// The commitment of a file from where it stands.
fn hash(file: &mut File) -> io::Result<Commitment> {
	let mut hasher = blake3::Hasher::new();
	let mut buffer = vec![0; VERIFY_BYTES];
	loop {
		match file.read(&mut buffer)? {
			0 => return Ok(Commitment(*hasher.finalize().as_bytes())),
			len => hasher.update(&buffer[..len]),
		};
	}
}

/// No file is an answer, not an error.
fn if_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
	match result {
		Ok(found) => Ok(Some(found)),
		Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
		Err(error) => Err(error),
	}
}
