//! A run under way, in a folder that outlives an interruption: the chain, the packed dataset and a record of what the run is.
//!
//! What was done so far stands in the chain; the record says which run the folder is of, so that the same command goes on with it.

use std::{
	fs::{self, File, TryLockError},
	io,
	path::{Path, PathBuf},
};

use anyhow::{bail, ensure, Context, Result};
use labora_cli::dataset::{Folder, Split};
use labora_tensor::Commitment;
use serde::{Deserialize, Serialize};

/// Version of the record.
const FORMAT: &str = "labora-demo-run-2";
/// Name of the record in a run's folder.
const RECORD: &str = "run.json";
/// Name of the packed dataset in a run's folder.
const DATASET: &str = "dataset";

/// What a run is of: two runs of the same kind compute the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kind {
	/// Seed of the shuffle, of the initial parameters and of the rounding.
	pub seed: u64,
	/// Rounds of the training.
	pub rounds: u32,
	/// Nodes that compute it together.
	pub nodes: u8,
	/// Hash of the commitments of the packed data.
	pub dataset: String,
}

impl Kind {
	/// Of a training of so many rounds on so many nodes, on packed data.
	pub fn new(seed: u64, rounds: u32, nodes: u8, data: &Folder) -> Self {
		let splits = [Some(&data.manifest.train), data.manifest.test.as_ref()];
		let commitment = |split: &Split| split.features.commitment.clone() + &split.labels.commitment;
		let all: String = splits.into_iter().flatten().map(commitment).collect();
		Self { seed, rounds, nodes, dataset: Commitment::of(all.as_bytes()).to_string() }
	}

	/// Name of its folder.
	fn name(&self) -> String {
		let dataset: String = self.dataset.trim_start_matches("0x").chars().take(12).collect();
		format!("seed-{}-rounds-{}-nodes-{}-data-{dataset}", self.seed, self.rounds, self.nodes)
	}
}

/// What is to be known of a run that was interrupted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
	format: String,
	kind: Kind,
	/// How often it was interrupted.
	pub interruptions: u32,
	/// Seconds that it took so far.
	pub seconds: f64,
}

/// A run under way. Nobody else can have it while this lives.
pub struct Run {
	folder: PathBuf,
	lock: (PathBuf, File),
	/// What is to be known of it.
	pub record: Record,
}

impl Run {
	/// The interrupted run of this kind below `root`, or a new one. `fresh` ignores and removes an interrupted one. The packed data move
	/// into the run's folder.
	pub fn open(root: &Path, kind: Kind, data: &Folder, fresh: bool) -> Result<Self> {
		let folder = root.join(kind.name());
		let lock_path = folder.with_extension("lock");
		let lock = File::create(&lock_path).with_context(|| format!("{}", lock_path.display()))?;
		match lock.try_lock() {
			Ok(()) => {}
			Err(TryLockError::WouldBlock) => {
				bail!("the same demonstration is running already, in {}", folder.display())
			}
			Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{}", lock_path.display())),
		}
		let found = match read(&folder, &kind) {
			_ if fresh => None,
			Ok(found) => found,
			Err(error) => {
				eprintln!("the record of an interrupted run cannot be used ({error:#}); starting anew");
				None
			}
		};
		if found.is_none() {
			remove(&folder)?;
			fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
		}
		let new = || Record { format: FORMAT.into(), kind, interruptions: 0, seconds: 0.0 };
		let run = Self { record: found.unwrap_or_else(new), lock: (lock_path, lock), folder };
		remove(&run.dataset())?;
		fs::rename(&data.path, run.dataset()).context("moving the packed dataset")?;
		run.save()?;
		Ok(run)
	}

	/// Where it is.
	pub fn folder(&self) -> &Path {
		&self.folder
	}

	/// Folder of the first node's database; those of others lie beside it.
	pub fn chain(&self) -> PathBuf {
		self.folder.join("chain")
	}

	/// Folder of the packed dataset.
	pub fn dataset(&self) -> PathBuf {
		self.folder.join(DATASET)
	}

	/// File of the exported model.
	pub fn model(&self) -> PathBuf {
		self.folder.join("model.safetensors")
	}

	/// Writes the record: whole or not at all.
	pub fn save(&self) -> Result<()> {
		let (path, new) = (self.folder.join(RECORD), self.folder.join("run.json.new"));
		let text = serde_json::to_string_pretty(&self.record)? + "\n";
		fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).with_context(|| format!("{}", path.display()))
	}

	/// It ended well: what it made moves to `out`, and nothing of it stays behind. What was in `out` is removed.
	pub fn finish(self, out: &Path) -> Result<()> {
		remove(out)?;
		match fs::rename(&self.folder, out) {
			Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
				copy(&self.folder, out)
					.with_context(|| format!("copying {} to {}", self.folder.display(), out.display()))?;
				remove(&self.folder)?;
			}
			renamed => renamed.with_context(|| format!("moving {} to {}", self.folder.display(), out.display()))?,
		}
		let _ = fs::remove_file(out.join(RECORD));
		let _ = fs::remove_file(&self.lock.0);
		Ok(())
	}
}

/// The record in a folder, if there is such a folder. An error: it cannot be read, or is not what it should be.
fn read(folder: &Path, kind: &Kind) -> Result<Option<Record>> {
	if !folder.exists() {
		return Ok(None);
	}
	let path = folder.join(RECORD);
	let name = || format!("{} is damaged", path.display());
	let record: Record = serde_json::from_slice(&fs::read(&path).with_context(name)?).with_context(name)?;
	ensure!(record.format == FORMAT, "{} is of another version", path.display());
	ensure!(record.kind == *kind, "{} is of another run", path.display());
	Ok(Some(record))
}

fn remove(folder: &Path) -> Result<()> {
	match fs::remove_dir_all(folder) {
		Err(error) if error.kind() != io::ErrorKind::NotFound => {
			Err(error).with_context(|| format!("clearing {}", folder.display()))
		}
		_ => Ok(()),
	}
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
	fs::create_dir_all(to)?;
	for entry in fs::read_dir(from)? {
		let entry = entry?;
		let to = to.join(entry.file_name());
		if entry.file_type()?.is_dir() {
			copy(&entry.path(), &to)?;
		} else {
			fs::copy(entry.path(), to)?;
		}
	}
	Ok(())
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_cli::dataset::{import, Format, ImportOptions, Input, LabelColumn};

	/// A folder for runs, and data to pack.
	struct Bench(tempfile::TempDir);

	impl Bench {
		fn new() -> Self {
			let dir = tempfile::tempdir().unwrap();
			let rows: String = (0..80).map(|row| format!("{},{},{}\n", row, 80 - row, row % 2)).collect();
			fs::write(dir.path().join("table.csv"), rows).unwrap();
			Self(dir)
		}

		fn root(&self) -> PathBuf {
			self.0.path().join("runs")
		}

		fn open(&self, seed: u64, rounds: u32, fresh: bool) -> Result<Run> {
			let input = Input::Table { file: self.0.path().join("table.csv"), label: LabelColumn::Last };
			let options = ImportOptions { seed, batch: 32, ..ImportOptions::default() };
			let data = import(&input, Format::Csv, &options, &self.root().join("packing")).unwrap();
			Run::open(&self.root(), Kind::new(seed, rounds, 1, &data), &data, fresh)
		}

		/// A run that was interrupted once.
		fn interrupted(&self) -> PathBuf {
			let mut run = self.open(1, 2, false).unwrap();
			fs::create_dir(run.chain()).unwrap();
			run.record.interruptions += 1;
			run.save().unwrap();
			run.folder().to_path_buf()
		}
	}

	#[test]
	fn the_same_run_goes_on_and_others_begin() {
		let bench = Bench::new();
		bench.interrupted();
		for (seed, rounds, interruptions) in [(1, 2, 1), (2, 2, 0), (1, 3, 0)] {
			let run = bench.open(seed, rounds, false).unwrap();
			assert_eq!((run.record.interruptions, run.chain().exists()), (interruptions, interruptions > 0));
			assert!(Folder::open(&run.dataset()).is_ok());
		}
		fs::write(bench.0.path().join("table.csv"), "1,2,0\n".repeat(80)).unwrap();
		assert_eq!(bench.open(1, 2, false).unwrap().record.interruptions, 0, "the data are others");
	}

	#[test]
	fn fresh_removes_what_was_interrupted() {
		let bench = Bench::new();
		bench.interrupted();
		let run = bench.open(1, 2, true).unwrap();
		assert!(run.record.interruptions == 0 && !run.chain().exists());
	}

	#[test]
	fn a_damaged_record_is_named_and_gives_a_fresh_run() {
		for damage in ["", "{", "{\"format\":\"other\"}"] {
			let bench = Bench::new();
			let folder = bench.interrupted();
			fs::write(folder.join(RECORD), damage).unwrap();
			let kind = bench.open(7, 7, false).unwrap().record.kind;
			assert!(read(&folder, &kind).unwrap_err().to_string().contains("run.json is damaged"), "{damage}");
			let run = bench.open(1, 2, false).unwrap();
			assert!(run.record.interruptions == 0 && !run.chain().exists());
		}
		let bench = Bench::new();
		fs::remove_file(bench.interrupted().join(RECORD)).unwrap();
		assert_eq!(bench.open(1, 2, false).unwrap().record.interruptions, 0);
	}

	#[test]
	fn a_run_belongs_to_one_process() {
		let bench = Bench::new();
		let run = bench.open(1, 2, false).unwrap();
		assert!(bench.open(1, 2, true).err().unwrap().to_string().contains("running already"));
		drop(run);
		bench.open(1, 2, true).unwrap();
	}

	#[test]
	fn what_a_run_made_moves_out_and_nothing_stays() {
		let bench = Bench::new();
		let run = bench.open(1, 2, false).unwrap();
		fs::create_dir(run.chain()).unwrap();
		let (folder, out) = (run.folder().to_path_buf(), bench.0.path().join("out"));
		fs::create_dir(&out).unwrap();
		fs::write(out.join("old"), "").unwrap();
		run.finish(&out).unwrap();
		assert!(out.join("chain").exists() && out.join("dataset").exists());
		assert!(!folder.exists() && !out.join("old").exists() && !out.join(RECORD).exists());
		assert!(!folder.with_extension("lock").exists());
		// As across file systems.
		copy(&out, &bench.0.path().join("copy")).unwrap();
		assert!(Folder::open(&bench.0.path().join("copy").join("dataset")).is_ok());
	}
}
