//! The main job: from an empty folder to a trained, tested, exported and replayed model.

use std::{
	path::{Path, PathBuf},
	time::{Duration, Instant},
};

use anyhow::{bail, ensure, Context, Result};
use labora_cli::{
	client::Client,
	dataset::{self, Folder, Format, ImportOptions, Input, LabelColumn},
	evaluate::{self, Evaluation},
	model_file::Model,
	replay::{self, Verdict},
	signer,
	tasks::{self, InferenceOptions, Progress, Terms, TrainingOptions},
};
use labora_graph::Graph;
use labora_primitives::{Balance, Phase, TaskId, TaskSpec, Usefulness};
use labora_tensor::{ElementType, Tensor};
use serde_json::json;
use tokio::time::sleep;

use crate::{
	display::{spinner, Bar},
	node::Node,
};

/// Who pays: the development chain endows it.
const SPONSOR: &str = "//Alice";
/// One LAB.
const LAB: Balance = 1_000_000_000_000;
/// Blocks that a worker has for a unit. Generous: a slow machine must not lose its bond.
const DEADLINE: u32 = 1_200;
/// Digits of the demonstration's dataset to train on; the rest is for the test.
const TRAINING_DIGITS: usize = 8_192;
/// Rounds of the wider models: more than there is time for. They are cancelled when the first is done; were they to end before, the machine
/// would fall back to idle work, each block of which costs eight useful ones.
const COMPANION_ROUNDS: u32 = 1_000;
/// Slots of the worker: all units of the three tasks at once, so that there is work while a round changes hands.
const SLOTS: &str = "12";

/// What to do.
pub struct Options {
	/// The data.
	pub input: Input,
	/// Its format.
	pub format: Format,
	/// Seed of the shuffle, of the initial parameters and of the rounding.
	pub seed: u64,
	/// Rounds of the training.
	pub rounds: u32,
	/// Where everything goes. What an earlier run left there is removed.
	pub out: PathBuf,
	/// Where the summary goes.
	pub summary: PathBuf,
	/// Whether the input is the demonstration's own: a fixed split.
	pub digits: bool,
}

/// The chain and the folder of a run.
struct Demo<'a> {
	options: &'a Options,
	client: Client,
	folder: Folder,
}

/// Runs the whole demonstration, and stops the node also if it fails.
pub async fn run(options: &Options) -> Result<()> {
	let started = Instant::now();
	let folder = import(options)?;
	let chain = options.out.join("chain");
	let spinner = spinner("starting a node with one worker");
	let node = Node::start(&chain, &["--dev", "--mine", "--slots", SLOTS])?;
	let client = Client::connect(node.url()).await.context("connecting to the node")?;
	spinner.finish_and_clear();
	println!("node      {} (log {})", node.url(), node.log().display());

	let demo = Demo { options, client, folder };
	let result = demo.all(started).await;
	node.stop()?;
	result
}

/// Reads, shuffles, splits and packs the data.
fn import(options: &Options) -> Result<Folder> {
	if options.out.exists() {
		std::fs::remove_dir_all(&options.out).with_context(|| format!("clearing {}", options.out.display()))?;
	}
	std::fs::create_dir_all(&options.out)?;
	let spinner = spinner("packing the dataset");
	let split = options.digits.then_some(TRAINING_DIGITS);
	let import = ImportOptions { seed: options.seed, train: split, ..ImportOptions::default() };
	let folder = dataset::import(&options.input, options.format, &import, &options.out.join("dataset"))?;
	spinner.finish_and_clear();
	let examples = |split: &dataset::Split| split.examples;
	println!(
		"dataset   {} to train on, {} to test, {} features, {} classes",
		folder.manifest.train.examples,
		folder.manifest.test.as_ref().map_or(0, examples),
		folder.manifest.features,
		folder.manifest.classes,
	);
	Ok(folder)
}

impl Demo<'_> {
	async fn all(&self, started: Instant) -> Result<()> {
		let Options { rounds, seed, .. } = *self.options;
		let model = self.register_training(vec![512, 512], 128, rounds, seed, 4 * LAB).await?;
		println!("task {model}    trains the model: {}", self.layers(&[512, 512]));
		// Rounds change hands through blocks. While one task waits for a block, the worker has another's units.
		let mut companions = Vec::new();
		for seed in [seed, seed.wrapping_add(1)] {
			let wide = vec![1024, 1024];
			companions.push(self.register_training(wide, 256, COMPANION_ROUNDS, seed, 2 * LAB).await?);
		}
		println!(
			"tasks {}, {} train wider ones beside it meanwhile: {}",
			companions[0],
			companions[1],
			self.layers(&[1024, 1024])
		);

		let began = Instant::now();
		let before = self.client.usefulness(None).await?;
		let accuracy_so_far = self.follow(model, true).await?;
		let classified = self.classify(model).await?;
		let (seconds, after) = (began.elapsed().as_secs_f64(), self.client.usefulness(None).await?);
		for companion in companions {
			tasks::cancel(&self.client, &signer::load(SPONSOR)?, companion).await?;
		}

		let tested = evaluate::on_chain(&self.client, classified, &self.folder).await?;
		let commitment = self.export(model).await?;
		let replayed = self.replay(model).await?;
		let macs_per_second = (after.accepted - before.accepted) as f64 / seconds;
		self.summarize(Outcome {
			tested,
			accuracy_so_far,
			usefulness: after,
			macs_per_second,
			commitment,
			replayed,
			seconds: started.elapsed().as_secs_f64(),
			training_seconds: seconds,
			model,
		})?;
		ensure!(replayed, "the replay did not come to the chain's commitment");
		Ok(())
	}

	fn layers(&self, hidden: &[u32]) -> String {
		let manifest = &self.folder.manifest;
		let all = [manifest.features].into_iter().chain(hidden.iter().copied()).chain([manifest.classes]);
		all.map(|width| width.to_string()).collect::<Vec<_>>().join("-")
	}

	async fn register_training(
		&self,
		layers: Vec<u32>,
		steps: u32,
		rounds: u32,
		seed: u64,
		price: Balance,
	) -> Result<TaskId> {
		let options = TrainingOptions {
			layers,
			recipe: None,
			batch: 256,
			units: 4,
			steps,
			rounds,
			rate_drops: tasks::default_rate_drops(rounds),
			seed,
			terms: Terms { price, deadline: DEADLINE, escrow: None },
		};
		let draft = tasks::training_spec(&self.folder, &options)?;
		self.register(draft).await
	}

	async fn register(&self, draft: tasks::Draft) -> Result<TaskId> {
		Ok(tasks::register(&self.client, &signer::load(SPONSOR)?, &draft, |_| ()).await?.task)
	}

	/// Shows a training task until it is completed, with the test accuracy after every round. Gives the last one.
	async fn follow(&self, task: TaskId, test: bool) -> Result<Option<f64>> {
		let spec = tasks::spec(&self.client, task).await?;
		let mut progress = Progress::of(&self.client, task).await?;
		let bar = Bar::new(progress.units(&spec.job).1);
		let mut accuracy = None;
		let mut tested = progress.info.round;
		while !progress.ended() {
			sleep(Duration::from_millis(250)).await;
			progress = Progress::of(&self.client, task).await?;
			if progress.info.round > tested && test {
				tested = progress.info.round;
				let now = self.test_accuracy(&spec, task, tested).await?;
				accuracy = Some(now);
				bar.print(&format!("  after round {tested}: {:.2} % of the test digits right", now * 100.0));
			}
			bar.show(&progress, &spec, accuracy);
		}
		bar.finish();
		ensure!(progress.info.phase == Phase::Completed, "task {task} ended as {:?}", progress.info.phase);
		Ok(accuracy)
	}

	/// The parameters that a round starts from, by their commitments.
	async fn parameters(&self, graph: &Graph, task: TaskId, round: u32) -> Result<Vec<Tensor>> {
		let commitments = self.client.round_parameters(None, task, round).await?.context("a round that is complete")?;
		let mut parameters = Vec::new();
		for (commitment, shape) in commitments.iter().zip(&graph.parameters) {
			let bytes = self.client.download(commitment, |_, _| ()).await?;
			let tensor = Tensor::from_bytes(*shape, ElementType::I32, bytes);
			parameters.push(tensor.map_err(|_| anyhow::anyhow!("{commitment} is not a parameter of {shape:?}"))?);
		}
		Ok(parameters)
	}

	/// Accuracy of a round's parameters on the test rows, computed here.
	async fn test_accuracy(&self, spec: &TaskSpec, task: TaskId, round: u32) -> Result<f64> {
		let parameters = self.parameters(&spec.graph, task, round).await?;
		let model = Model { graph: spec.graph.clone(), parameters, task: Some(task), genesis: None, scale: None };
		Ok(evaluate::local(&model, &self.folder, 1)?.accuracy())
	}

	/// Registers the classification of the test rows with the trained parameters, and waits for it.
	async fn classify(&self, trained: TaskId) -> Result<TaskId> {
		let (spec, parameters) = tasks::result(&self.client, trained).await?;
		let terms = Terms { price: 8 * LAB, deadline: DEADLINE, escrow: None };
		let batches = self.folder.test()?.rows / spec.graph.batch;
		let units = (1..=4u16).rev().find(|units| batches.is_multiple_of(u32::from(*units)));
		let options = InferenceOptions { batch: spec.graph.batch, units, seed: self.options.seed, terms };
		let draft = tasks::inference_spec(&self.folder, &spec.graph, &parameters, &options)?;
		let task = self.register(draft).await?;
		println!("task {task}    classifies the rows never trained on");
		self.follow(task, false).await?;
		Ok(task)
	}

	fn model_path(&self) -> PathBuf {
		self.options.out.join("model.safetensors")
	}

	/// Saves the trained model, and gives the commitment of its parameters (of their list, if there are several).
	async fn export(&self, task: TaskId) -> Result<String> {
		let mut model = Model::fetch(&self.client, task, |_, _| ()).await?;
		model.scale = Some(self.folder.manifest.scale);
		model.save(&self.model_path())?;
		Ok(labora_graph::Trace(model.commitments()).root().to_string())
	}

	/// Computes the whole training again from the chain's records and the dataset alone.
	async fn replay(&self, task: TaskId) -> Result<bool> {
		let records = replay::fetch(&self.client, task, false).await?;
		let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
		let bar = spinner("replaying the training without the node's tensors");
		let verdict = replay::run(&records, &self.folder, None, threads, None, &|_| ())?;
		bar.finish_and_clear();
		if let Verdict::Differs(difference) = &verdict {
			eprintln!("the replay differs: {difference:?}");
		}
		Ok(matches!(verdict, Verdict::Agrees { .. }))
	}

	fn summarize(&self, outcome: Outcome) -> Result<()> {
		let Usefulness { useful_blocks, idle_blocks, .. } = outcome.usefulness;
		let ratio = outcome.usefulness.ratio_ppm() as f64 / 1e6;
		let accuracy = outcome.tested.accuracy();
		let model = self.model_path();
		let summary = json!({
			"test_accuracy": accuracy,
			"test_correct": outcome.tested.correct,
			"test_rows": outcome.tested.rows,
			"test_accuracy_local": outcome.accuracy_so_far,
			"blocks_useful": useful_blocks,
			"blocks_idle": idle_blocks,
			"usefulness_ratio": ratio,
			"macs_per_second": outcome.macs_per_second,
			"parameter_commitment": outcome.commitment,
			"replay_agrees": outcome.replayed,
			"seconds": outcome.seconds,
			"training_seconds": outcome.training_seconds,
			"seed": self.options.seed,
			"rounds": self.options.rounds,
			"model": model,
		});
		write_json(&self.options.summary, &summary)?;
		let task = outcome.model;
		println!();
		println!(
			"test accuracy          {:.2} % ({} of {}, from the classes on chain)",
			accuracy * 100.0,
			outcome.tested.correct,
			outcome.tested.rows
		);
		println!("blocks                 {useful_blocks} useful, {idle_blocks} idle");
		println!("usefulness ratio       {ratio:.2}");
		println!("useful work            {:.1} billion multiply-accumulates a second", outcome.macs_per_second / 1e9);
		println!("parameter commitment   {}", outcome.commitment);
		println!("replay                 {}", if outcome.replayed { "agrees, every round" } else { "DIFFERS" });
		println!(
			"time                   {:.0} s, of them {:.0} s computing",
			outcome.seconds, outcome.training_seconds
		);
		println!("model                  {}", model.display());
		println!("summary                {}", self.options.summary.display());
		println!("to replay it           labora-node --dev --base-path {} &", self.options.out.join("chain").display());
		println!("                       labora task replay {task} --dataset {}", self.folder.path.display());
		Ok(())
	}
}

/// What came of it.
struct Outcome {
	tested: Evaluation,
	accuracy_so_far: Option<f64>,
	usefulness: Usefulness,
	macs_per_second: f64,
	commitment: String,
	replayed: bool,
	seconds: f64,
	training_seconds: f64,
	model: TaskId,
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
	let text = serde_json::to_string_pretty(value)?;
	std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
}

/// The input that a path of the user's own means: an archive, a table, a folder of digits, or features and labels in two files.
pub fn own_input(features: &Path, labels: Option<&Path>) -> Result<(Input, Format)> {
	ensure!(features.exists(), "{} does not exist", features.display());
	let format = Format::guess(features)?;
	let file = features.to_path_buf();
	let input = match (format, labels) {
		(Format::MnistJson, _) => Input::Digits(file),
		(Format::Npz, _) => Input::Archive { file, features: None, labels: None },
		(Format::Csv, _) => Input::Table { file, label: LabelColumn::Last },
		(Format::Idx | Format::Npy, Some(labels)) => Input::Pair { features: file, labels: labels.into(), test: None },
		(Format::Idx | Format::Npy, None) => {
			bail!("{} holds features only: give DATASET=features,labels", features.display())
		}
	};
	Ok((input, format))
}
