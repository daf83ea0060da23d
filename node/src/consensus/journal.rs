//! The journal of sealed blocks: an author who seals two blocks on one parent is punished, also if the first was lost in a power cut
//! after others had seen it. So a sealed block is on disk before anyone sees it, and is imported again instead of making another.

use std::{
	fs, io,
	path::{Path, PathBuf},
};

use codec::{DecodeAll, Encode};
use labora_primitives::Hash;
use labora_runtime::{opaque::Block, BlockNumber};
use sp_runtime::traits::{Block as BlockT, Header as HeaderT};

/// Blocks that are remembered: more than a database loses when it is cut short.
const KEPT: BlockNumber = 64;
/// Bytes of the checksum in front of a block on disk.
const CHECKSUM: usize = 32;

/// The sealed blocks of the last heights, one file each.
pub struct Journal {
	folder: PathBuf,
}

impl Journal {
	/// The journal in a folder.
	pub fn open(folder: PathBuf) -> io::Result<Self> {
		fs::create_dir_all(&folder)?;
		Ok(Self { folder })
	}

	fn path(&self, height: BlockNumber) -> PathBuf {
		// Two blocks of one height have different parents; the newer replaces the older, whose parent is no longer best.
		self.folder.join(height.to_string())
	}

	/// Writes a sealed block down. When this returns, it is on disk.
	pub fn note(&self, block: &Block) -> io::Result<()> {
		let height = *block.header().number();
		let encoded = block.encode();
		let mut bytes = blake3::hash(&encoded).as_bytes().to_vec();
		bytes.extend_from_slice(&encoded);
		let (part, path) = (self.folder.join("part"), self.path(height));
		fs::write(&part, bytes)?;
		fs::File::open(&part)?.sync_all()?;
		fs::rename(&part, &path)?;
		fs::File::open(&self.folder)?.sync_all()?;
		let _ = fs::remove_file(self.path(height.saturating_sub(KEPT)));
		Ok(())
	}

	/// The block that was sealed on a parent, given its height.
	pub fn sealed_on(&self, parent: Hash, height: BlockNumber) -> Option<Block> {
		let block = read(&self.path(height))?;
		(*block.header().parent_hash() == parent).then_some(block)
	}
}

fn read(path: &Path) -> Option<Block> {
	let bytes = fs::read(path).ok()?;
	let (checksum, block) = bytes.split_at_checked(CHECKSUM)?;
	if blake3::hash(block).as_bytes()[..] != *checksum {
		return None;
	}
	Block::decode_all(&mut &*block).ok()
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_runtime::opaque::Header;

	fn block(height: BlockNumber, parent: u8, state: u8) -> Block {
		let header = Header::new(
			height,
			Default::default(),
			Hash::repeat_byte(state),
			Hash::repeat_byte(parent),
			Default::default(),
		);
		Block::new(header, Vec::new())
	}

	#[test]
	fn a_sealed_block_outlives_the_node() {
		let folder = tempfile::tempdir().unwrap();
		let path = folder.path().join("sealed");
		Journal::open(path.clone()).unwrap().note(&block(7, 1, 2)).unwrap();
		let journal = Journal::open(path).unwrap();
		assert_eq!(journal.sealed_on(Hash::repeat_byte(1), 7), Some(block(7, 1, 2)));
		assert_eq!(journal.sealed_on(Hash::repeat_byte(2), 7), None);
		assert_eq!(journal.sealed_on(Hash::repeat_byte(1), 8), None);
	}

	#[test]
	fn a_damaged_entry_is_none_and_old_ones_go() {
		let folder = tempfile::tempdir().unwrap();
		let journal = Journal::open(folder.path().into()).unwrap();
		for height in 1..=KEPT + 1 {
			journal.note(&block(height, 1, 2)).unwrap();
		}
		assert!(journal.sealed_on(Hash::repeat_byte(1), 1).is_none());
		let path = folder.path().join("9");
		let mut bytes = fs::read(&path).unwrap();
		*bytes.last_mut().unwrap() ^= 1;
		fs::write(&path, bytes).unwrap();
		assert!(journal.sealed_on(Hash::repeat_byte(1), 9).is_none());
		assert!(journal.sealed_on(Hash::repeat_byte(1), 10).is_some());
	}
}
