//! Tensors that arrive from peers, group by group and in any order.

use std::{
	collections::BTreeSet,
	fs::{File, OpenOptions},
	io::{self, Read, Seek, SeekFrom, Write},
	path::{Path, PathBuf},
};

use labora_tensor::Commitment;
use parking_lot::Mutex;

use super::groups::GroupTree;

/// Why a tensor cannot be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
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

struct State {
	file: File,
	missing: BTreeSet<u32>,
}

/// A tensor on its way: a file of its full length in which some groups are right, and the rest is nothing.
///
/// Which groups are right is not written down: after a restart they are hashed again. A group that a crash cut is then missing.
pub struct Download {
	tree: GroupTree,
	path: PathBuf,
	state: Mutex<State>,
}

impl Download {
	/// Goes on with a file, or begins one.
	pub(super) fn open(path: PathBuf, tree: GroupTree) -> io::Result<Self> {
		let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
		let mut missing: BTreeSet<u32> = (0..tree.groups()).collect();
		if file.metadata()?.len() == tree.bytes() {
			for group in 0..tree.groups() {
				if read_group(&mut file, &tree, group)?.is_some_and(|bytes| tree.takes(group, &bytes)) {
					missing.remove(&group);
				}
			}
		} else {
			file.set_len(0)?;
			file.set_len(tree.bytes())?;
		}
		Ok(Self { tree, path, state: Mutex::new(State { file, missing }) })
	}

	/// The tensor.
	pub fn commitment(&self) -> Commitment {
		self.tree.commitment()
	}

	/// The nodes above its groups.
	pub fn tree(&self) -> &GroupTree {
		&self.tree
	}

	/// The groups that are not here yet.
	pub fn missing(&self) -> BTreeSet<u32> {
		self.state.lock().missing.clone()
	}

	/// Writes a group. Whether the bytes are right; others are not written.
	pub fn write(&self, group: u32, bytes: &[u8]) -> io::Result<bool> {
		let Some((offset, _)) = self.tree.span(group) else { return Ok(false) };
		if !self.tree.takes(group, bytes) {
			return Ok(false);
		}
		let mut state = self.state.lock();
		state.file.seek(SeekFrom::Start(offset))?;
		state.file.write_all(bytes)?;
		state.missing.remove(&group);
		Ok(true)
	}

	/// Syncs the file and gives its path, if it is complete.
	pub(super) fn complete(&self) -> io::Result<Option<&Path>> {
		let state = self.state.lock();
		if !state.missing.is_empty() {
			return Ok(None);
		}
		state.file.sync_all()?;
		Ok(Some(&self.path))
	}
}

/// Bytes of a group in a file, fewer if the file is too short.
pub(super) fn read_group(file: &mut File, tree: &GroupTree, group: u32) -> io::Result<Option<Vec<u8>>> {
	let Some((offset, len)) = tree.span(group) else { return Ok(None) };
	file.seek(SeekFrom::Start(offset))?;
	let mut bytes = Vec::with_capacity(len as usize);
	file.take(len).read_to_end(&mut bytes)?;
	Ok(Some(bytes))
}
