//! Tensors that arrive in parts.

use std::{
	collections::{HashMap, HashSet},
	fs::{self, File, OpenOptions},
	io::{self, Seek, SeekFrom, Write},
	path::{Path, PathBuf},
	sync::Arc,
	time::{Duration, Instant},
};

use labora_tensor::Commitment;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{hash, if_found};

/// Most uploads at a time.
pub const MAX_UPLOADS: usize = 16;
/// An upload that nobody continued for so long makes room for another one.
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

/// How far an upload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UploadProgress {
	/// Bytes received: where the next part begins.
	pub received: u64,
	/// Whether the tensor is verified and kept.
	pub complete: bool,
}

/// Why a part is refused.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
	/// The total is zero or too large.
	#[error("a tensor has 1 to {} bytes", super::MAX_TENSOR_BYTES)]
	BadSize,
	/// The upload was begun with another total.
	#[error("this upload was begun with a total of {begun} bytes")]
	TotalMismatch {
		/// The total that it was begun with.
		begun: u64,
	},
	/// The part does not begin where the parts so far end.
	#[error("the next part begins at {expected}")]
	OffsetMismatch {
		/// Where it should begin.
		expected: u64,
	},
	/// The part goes beyond the total.
	#[error("the part ends beyond the tensor's total of {total} bytes")]
	BeyondTotal {
		/// The total.
		total: u64,
	},
	/// All parts are here, and they are not the tensor. They are discarded.
	#[error("the bytes hash to {actual}; the upload is discarded")]
	HashMismatch {
		/// What they hash to.
		actual: Commitment,
	},
	/// Too many uploads are under way.
	#[error("{MAX_UPLOADS} uploads are under way already")]
	TooMany,
	/// What may be removed does not make enough room.
	#[error("the tensor store is full: its quota is {quota} bytes")]
	Full {
		/// The quota.
		quota: u64,
	},
	/// The disk refuses.
	#[error("the tensor store cannot be written: {0}")]
	Io(#[from] io::Error),
}

/// An upload under way.
struct Upload {
	file: File,
	total: u64,
	received: u64,
	/// Complete or discarded: whoever waited for the lock begins anew.
	ended: bool,
}

/// An upload, and when it was last continued.
struct Entry {
	upload: Arc<Mutex<Upload>>,
	touched: Instant,
}

/// The uploads under way.
pub(super) struct Uploads {
	folder: PathBuf,
	entries: Mutex<HashMap<Commitment, Entry>>,
}

impl Uploads {
	/// Uploads with their files in a folder.
	pub(super) fn new(folder: PathBuf) -> Self {
		Self { folder, entries: Mutex::default() }
	}

	/// The uploads that can be continued without opening their files again.
	pub(super) fn under_way(&self) -> HashSet<Commitment> {
		self.entries.lock().keys().copied().collect()
	}

	fn path(&self, commitment: &Commitment) -> PathBuf {
		self.folder.join(commitment.to_string())
	}

	/// Takes a part. With the last one, the file is verified, synced and given to `keep`, which moves it away.
	pub(super) fn append(
		&self,
		commitment: &Commitment,
		total: u64,
		offset: u64,
		data: &[u8],
		keep: impl FnOnce(&Path) -> io::Result<()>,
	) -> Result<UploadProgress, UploadError> {
		let upload = self.find(commitment, total)?;
		let mut upload = upload.lock();
		if upload.ended {
			return Err(UploadError::OffsetMismatch { expected: 0 });
		}
		let received = upload.take(total, offset, data)?;
		if received < total {
			return Ok(UploadProgress { received, complete: false });
		}
		upload.ended = true;
		let kept = self.finish(&mut upload.file, commitment, keep);
		self.entries.lock().remove(commitment);
		kept.map(|()| UploadProgress { received, complete: true })
	}

	/// The upload under way, or a new one: from where an earlier run of the node left it, if it did.
	fn find(&self, commitment: &Commitment, total: u64) -> Result<Arc<Mutex<Upload>>, UploadError> {
		let mut entries = self.entries.lock();
		if let Some(entry) = entries.get_mut(commitment) {
			entry.touched = Instant::now();
			return Ok(entry.upload.clone());
		}
		if entries.len() >= MAX_UPLOADS {
			self.make_room(&mut entries)?;
		}
		let upload = Arc::new(Mutex::new(Upload::open(&self.path(commitment), total)?));
		entries.insert(*commitment, Entry { upload: upload.clone(), touched: Instant::now() });
		Ok(upload)
	}

	/// Discards the upload that was abandoned the longest ago.
	fn make_room(&self, entries: &mut HashMap<Commitment, Entry>) -> Result<(), UploadError> {
		let oldest = entries.iter().min_by_key(|(_, entry)| entry.touched).ok_or(UploadError::TooMany)?;
		if oldest.1.touched.elapsed() < ABANDONED_AFTER {
			return Err(UploadError::TooMany);
		}
		let commitment = *oldest.0;
		entries.remove(&commitment);
		if_found(fs::remove_file(self.path(&commitment)))?;
		Ok(())
	}

	fn finish(
		&self,
		file: &mut File,
		commitment: &Commitment,
		keep: impl FnOnce(&Path) -> io::Result<()>,
	) -> Result<(), UploadError> {
		let path = self.path(commitment);
		file.seek(SeekFrom::Start(0))?;
		let actual = hash(file)?;
		if actual != *commitment {
			if_found(fs::remove_file(&path))?;
			return Err(UploadError::HashMismatch { actual });
		}
		file.sync_all()?;
		Ok(keep(&path)?)
	}
}

impl Upload {
	fn open(path: &Path, total: u64) -> io::Result<Self> {
		let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
		let mut received = file.seek(SeekFrom::End(0))?;
		if received >= total {
			// Begun with another total, which nobody remembers; or stopped just before the end. Its client begins anew.
			file.set_len(0)?;
			received = 0;
		}
		Ok(Self { file, total, received, ended: false })
	}

	/// Writes a part and gives where the parts end now.
	fn take(&mut self, total: u64, offset: u64, data: &[u8]) -> Result<u64, UploadError> {
		if total != self.total {
			return Err(UploadError::TotalMismatch { begun: self.total });
		}
		if offset != self.received {
			return Err(UploadError::OffsetMismatch { expected: self.received });
		}
		let end = offset.saturating_add(data.len() as u64);
		if end > total {
			return Err(UploadError::BeyondTotal { total });
		}
		// A part that was written in part is written again.
		self.file.seek(SeekFrom::Start(offset))?;
		self.file.write_all(data)?;
		self.received = end;
		Ok(end)
	}
}
