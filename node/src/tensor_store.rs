//! The tensors that this node keeps, by commitment.
//!
//! A tensor's commitment is the plain BLAKE3 hash of its bytes, so it is also its address: tensor `abcd...` is the file
//! `ab/abcd...` below the store's folder, and `b3sum` checks it. A file appears under its name only when all of its bytes are
//! on disk (written elsewhere, synced, renamed), and is verified again whenever it is read as a whole: neither a crash nor a
//! failing disk makes the node compute on wrong bytes.
//!
//! The folder `partial/` holds what is not complete yet: uploads, which a client may continue after a restart of
//! the node, and files being written. What it is not: it knows no shapes and fetches nothing from other nodes.

use std::{
	fs::{self, File},
	io::{self, Read, Seek, SeekFrom, Write},
	path::{Path, PathBuf},
	sync::atomic::{AtomicU64, Ordering},
};

use labora_tensor::Commitment;

#[cfg(test)]
mod tests;
mod uploads;

use uploads::Uploads;
pub use uploads::{UploadError, UploadProgress, MAX_UPLOADS};

/// Largest tensor that can be uploaded, bytes.
pub const MAX_UPLOAD_BYTES: u64 = 1 << 30;
/// Log target of the store.
const LOG_TARGET: &str = "labora::store";
/// Folder of what is not complete yet.
const PARTIAL: &str = "partial";
/// How the names of files being written begin; the name of an upload is its commitment.
const WRITING: &str = "writing-";
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
		Ok(Self { folder: folder.into(), uploads: Uploads::new(partial), written: AtomicU64::new(0) })
	}

	/// Where a tensor is kept.
	fn path(&self, commitment: &Commitment) -> PathBuf {
		let name = commitment.to_string();
		self.folder.join(&name[..2]).join(name)
	}

	/// The bytes of a tensor, verified. A damaged file is removed, as if the tensor had never been here.
	pub fn get(&self, commitment: &Commitment) -> io::Result<Option<Vec<u8>>> {
		let path = self.path(commitment);
		let Some(bytes) = if_found(fs::read(&path))? else { return Ok(None) };
		if Commitment::of(&bytes) == *commitment {
			return Ok(Some(bytes));
		}
		log::error!(target: LOG_TARGET, "Tensor file {} is damaged and removed; the tensor has to come again.", path.display());
		if_found(fs::remove_file(&path))?;
		Ok(None)
	}

	/// Keeps a tensor.
	pub fn put(&self, bytes: &[u8]) -> io::Result<Commitment> {
		let commitment = Commitment::of(bytes);
		if self.holds(&commitment, bytes.len() as u64)? {
			return Ok(commitment);
		}
		let number = self.written.fetch_add(1, Ordering::Relaxed);
		let temporary = self.folder.join(PARTIAL).join(format!("{WRITING}{number}"));
		let written = File::create(&temporary).and_then(|mut file| {
			file.write_all(bytes)?;
			file.sync_all()
		});
		match written.and_then(|()| self.adopt(&temporary, &commitment)) {
			Ok(()) => Ok(commitment),
			Err(error) => {
				// Nothing is lost with it: it is a file of this call alone.
				let _ = fs::remove_file(&temporary);
				Err(error)
			}
		}
	}

	/// Whether the tensor is here with all of its bytes right.
	fn holds(&self, commitment: &Commitment, len: u64) -> io::Result<bool> {
		if self.size(commitment)? != Some(len) {
			return Ok(false);
		}
		let hashed = if_found(File::open(self.path(commitment)).and_then(|mut file| hash(&mut file)))?;
		Ok(hashed == Some(*commitment))
	}

	/// Moves a complete, verified and synced file to its place.
	fn adopt(&self, file: &Path, commitment: &Commitment) -> io::Result<()> {
		let path = self.path(commitment);
		let Some(folder) = path.parent() else { return Err(io::ErrorKind::NotFound.into()) };
		fs::create_dir_all(folder)?;
		fs::rename(file, &path)?;
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
		if total == 0 || total > MAX_UPLOAD_BYTES {
			return Err(UploadError::BadSize);
		}
		if self.size(commitment)? == Some(total) {
			return Ok(UploadProgress { received: total, complete: true });
		}
		self.uploads.append(commitment, total, offset, data, |file| self.adopt(file, commitment))
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
