//! What is done to nodes. That the network falls apart for a while is not among it: all have to be watched meanwhile.

use std::{
	fs::{self, File, OpenOptions},
	io::{Read, Seek, SeekFrom, Write},
	path::{Path, PathBuf},
	time::Duration,
};

use anyhow::Result;
use rand::{rngs::StdRng, seq::SliceRandom, Rng};

use crate::cluster::{Cluster, Member};

/// How long a node is away, at most.
const AWAY: Duration = Duration::from_secs(6);
/// How long a node hangs.
const HANG: Duration = Duration::from_secs(5);

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
	/// SIGKILL, and started again at once.
	Kill,
	/// SIGKILL, and started again after a while.
	Outage,
	/// SIGKILL, a file of the tensor store cut short, and started again.
	Truncate,
	/// SIGKILL, a bit of a file of the tensor store flipped, and started again.
	Flip,
	/// The process stands still for a while.
	Hang,
}

const ALL: [Fault; 5] = [Fault::Kill, Fault::Outage, Fault::Truncate, Fault::Flip, Fault::Hang];

/// Draws a fault and a node, and does it. Gives the fault, and says what was done.
pub async fn inject(cluster: &mut Cluster, random: &mut StdRng) -> Result<(Fault, String)> {
	let index = random.gen_range(0..cluster.members.len());
	let fault = ALL[random.gen_range(0..ALL.len())];
	let member = &mut cluster.members[index];
	let mut told = format!("{fault:?} {}", member.name);
	if fault == Fault::Hang {
		member.hang(HANG).await?;
		return Ok((fault, told));
	}
	member.kill().await?;
	match fault {
		Fault::Outage => tokio::time::sleep(AWAY.mul_f64(random.gen_range(0.2..1.0))).await,
		Fault::Truncate | Fault::Flip => {
			if let Some(damaged) = damage(member, fault, random)? {
				told += &format!(" ({})", damaged.file_name().unwrap_or_default().to_string_lossy());
			}
		}
		Fault::Kill | Fault::Hang => {}
	}
	cluster.restart(index).await?;
	Ok((fault, told))
}

/// Draws a half of the nodes.
pub fn half(cluster: &Cluster, random: &mut StdRng) -> Vec<usize> {
	rand::seq::index::sample(random, cluster.members.len(), cluster.members.len() / 2).into_vec()
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
	if !folder.exists() {
		return Ok(());
	}
	for entry in fs::read_dir(folder)? {
		let entry = entry?;
		match entry.file_type()?.is_dir() {
			true => files(&entry.path(), found)?,
			false => found.push(entry.path()),
		}
	}
	Ok(())
}

/// Damages a file of a node's tensor store.
fn damage(member: &Member, fault: Fault, random: &mut StdRng) -> Result<Option<PathBuf>> {
	let mut found = Vec::new();
	files(&member.tensors(), &mut found)?;
	found.sort();
	let Some(path) = found.choose(random).cloned() else { return Ok(None) };
	let mut file: File = OpenOptions::new().read(true).write(true).open(&path)?;
	let bytes = file.metadata()?.len();
	if bytes == 0 {
		return Ok(None);
	}
	let at = random.gen_range(0..bytes);
	if fault == Fault::Truncate {
		file.set_len(at)?;
	} else {
		let mut byte = [0];
		file.seek(SeekFrom::Start(at))?;
		file.read_exact(&mut byte)?;
		byte[0] ^= 1 << random.gen_range(0..8);
		file.seek(SeekFrom::Start(at))?;
		file.write_all(&byte)?;
	}
	file.sync_all()?;
	Ok(Some(path))
}
