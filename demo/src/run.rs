//! The main job: from an empty folder to a trained, tested, exported and replayed model, also in several sittings.

use std::{
	collections::BTreeMap,
	fs,
	future::Future,
	path::{Path, PathBuf},
	sync::Arc,
	time::{Duration, Instant},
};

use anyhow::{bail, ensure, Context, Result};
use labora_cli::{
	client::Client,
	dataset::{self, DatasetError, Folder, Format, ImportOptions, Input, LabelColumn},
	evaluate::{self, Evaluation},
	model_file::Model,
	models::MlpRecipe,
	replay::{self, Verdict},
	signer,
	tasks::{self, Draft, InferenceOptions, Progress, Terms, TrainingOptions},
};
use labora_graph::Graph;
use labora_primitives::{Balance, Phase, TaskId, TaskSpec, Usefulness};
use labora_tensor::{ElementType, Tensor};
use serde_json::json;
use tokio::time::sleep;

use crate::{
	display::{spinner, Bar},
	interrupt::Interrupt,
	kept::{Kind, Run},
	network::{self, Network},
};

/// Who pays: the development chain endows it.
const SPONSOR: &str = "//Alice";
/// One LAB.
const LAB: Balance = 1_000_000_000_000;
/// Blocks that a worker has for a unit. Generous: a slow machine must not lose its bond.
const DEADLINE: u32 = 1_200;
/// Digits of the demonstration's dataset to train on; the rest is for the test.
const TRAINING_DIGITS: usize = 8_192;
/// Rows of a step: the first of which the data hold enough batches, or the last.
const BATCHES: [u32; 4] = [256, 128, 64, 32];
/// Batches that are enough: what is cut off to get whole ones is less than an eighth of the rows.
const ENOUGH: u32 = 8;
/// Binary logarithm of a step's batch times its learning rate, at most, for data of the user's own. The recipe was fitted to digits, whose pixels
/// are mostly zero; where all features of all rows speak at once, its steps of 256 rows are too large, and nothing is learned.
const OWN_RATE: i8 = 8;
/// Rounds of the wider models: more than there is time for. They are cancelled when the first is done; were they to end before, the machine
/// would fall back to idle work, each block of which costs eight useful ones.
const COMPANION_ROUNDS: u32 = 1_000;
/// How long a tensor that some node computed may take to be found at one of them.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after a failure an interrupt is still its cause: Ctrl-C in a terminal reaches the node, too, which may close the connection
/// before this process sees the signal.
const GRACE: Duration = Duration::from_millis(300);

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
	/// Nodes that train it together.
	pub nodes: u8,
	/// Where everything is while it is under way, and stays if it is interrupted.
	pub state: PathBuf,
	/// Whether to begin anew where an earlier run was interrupted.
	pub fresh: bool,
	/// Where everything goes in the end. What an earlier run left there is removed.
	pub out: PathBuf,
	/// Where the summary goes.
	pub summary: PathBuf,
	/// Whether the input is the demonstration's own: a fixed split.
	pub digits: bool,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
	/// The model is trained, tested, exported and replayed.
	Completed,
	/// Somebody asked to stop. The next run of the same kind goes on.
	Interrupted,
}

/// The chain and the folder of a run.
struct Demo<'a> {
	options: &'a Options,
	run: &'a Run,
	network: &'a Network,
	client: Client,
	folder: Folder,
}

/// Runs the whole demonstration or what an interrupted one left to do, and stops the node also if that fails.
pub async fn run(options: Options, mut interrupt: Interrupt) -> Result<Ended> {
	let began = Instant::now();
	let options = Arc::new(options);
	let mut run = open(options.clone()).await?;
	let result = match interrupt.is_asked() {
		true => Ok(None),
		false => work(&options, &run, &mut interrupt).await,
	};
	run.record.seconds += began.elapsed().as_secs_f64();
	match result {
		Ok(Some(outcome)) => {
			let record = run.record.clone();
			run.finish(&options.out)?;
			outcome.summarize(&options, record.interruptions, record.seconds)?;
			Ok(Ended::Completed)
		}
		Err(error) if !interrupt.is_asked_within(GRACE).await => {
			run.save()?;
			let folder = run.folder().display();
			eprintln!("the run is kept in {folder}: `make demo` goes on with it, `make demo FRESH=1` starts anew");
			Err(error)
		}
		_ => {
			run.record.interruptions += 1;
			run.save()?;
			println!(
				"stopped; `make demo` with the same SEED, ROUNDS and DATASET goes on ({})",
				run.folder().display()
			);
			Ok(Ended::Interrupted)
		}
	}
}

/// Does what takes long without holding up what waits for Ctrl-C.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
	tokio::task::spawn_blocking(work).await?
}

/// Packs the data, and opens the run that they are for.
async fn open(options: Arc<Options>) -> Result<Run> {
	blocking(move || {
		let packed = options.state.join(format!("packing-{}", std::process::id()));
		let spinner = spinner("packing the dataset");
		let folder = import(&options, &packed);
		spinner.finish_and_clear();
		let run = folder.and_then(|folder| {
			let examples = |split: &dataset::Split| split.examples;
			println!(
				"dataset   {} to train on, {} to test, {} features, {} classes",
				folder.manifest.train.examples,
				folder.manifest.test.as_ref().map_or(0, examples),
				folder.manifest.features,
				folder.manifest.classes,
			);
			Run::open(
				&options.state,
				Kind::new(options.seed, options.rounds, options.nodes, &folder),
				&folder,
				options.fresh,
			)
		});
		// What did not become a run's.
		let _ = fs::remove_dir_all(&packed);
		let run = run?;
		if run.record.interruptions > 0 || run.chain().exists() {
			println!(
				"run       goes on where it was interrupted ({:.0} s so far; FRESH=1 starts anew)",
				run.record.seconds
			);
		}
		Ok(run)
	})
	.await
}

/// Reads, shuffles, splits and packs the data.
fn import(options: &Options, to: &Path) -> Result<Folder> {
	let train = options.digits.then_some(TRAINING_DIGITS);
	let import = |batch| {
		let import = ImportOptions { seed: options.seed, train, batch, ..ImportOptions::default() };
		dataset::import(&options.input, options.format, &import, to)
	};
	let [mut batch, smaller @ ..] = BATCHES;
	let mut folder = import(batch);
	for next in smaller {
		match folder {
			Ok(ref folder) if folder.manifest.train.examples < ENOUGH * batch => {}
			Err(DatasetError::TooFewRows { .. }) => {}
			_ => break,
		}
		batch = next;
		folder = import(batch);
	}
	let folder = folder?;
	folder.test().context("no rows are left to test on")?;
	Ok(folder)
}

/// Starts the nodes and does what is left to do. None: somebody asked to stop.
async fn work(options: &Options, run: &Run, interrupt: &mut Interrupt) -> Result<Option<Outcome>> {
	let network = Network::start(run.chain(), options.nodes).await?;
	let worked = tokio::select! {
		worked = Demo::of(options, run, &network) => worked.map(Some),
		() = interrupt.asked() => {
			println!("stopping the node (Ctrl-C again ends it at once)");
			Ok(None)
		}
	};
	network.stop().await?;
	worked
}

impl<'a> Demo<'a> {
	async fn of(options: &'a Options, run: &'a Run, network: &'a Network) -> Result<Outcome> {
		let client = network.first().await?;
		let folder = Folder::open(&run.dataset())?;
		Self { options, run, network, client, folder }.all().await
	}

	async fn all(&self) -> Result<Outcome> {
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
		let (accuracy_so_far, ()) = tokio::try_join!(self.follow(model, true), self.others_join(model))?;
		let classified = self.classify(model).await?;
		let (seconds, after) = (began.elapsed().as_secs_f64(), self.client.usefulness(None).await?);
		for companion in companions {
			if !Progress::of(&self.client, companion).await?.ended() {
				tasks::cancel(&self.client, &signer::load(SPONSOR)?, companion).await?;
			}
		}

		let tested = evaluate::on_chain(&self.client, classified, &self.folder).await?;
		let commitment = self.export(model).await?;
		ensure!(self.replay(model).await?, "the replay did not come to the chain's commitment");
		Ok(Outcome {
			tested,
			accuracy_so_far,
			usefulness: after,
			// Of this sitting: nobody knows how long an interrupted one computed in vain.
			macs_per_second: (after.accepted - before.accepted) as f64 / seconds,
			commitment,
			training_seconds: seconds,
			model,
			units_by_worker: self.units_by_worker(model).await?,
		})
	}

	/// Starts the other nodes: the last of three or more when the training is under way, as a latecomer.
	async fn others_join(&self, task: TaskId) -> Result<()> {
		let count = self.network.count();
		for number in 2..=count {
			if number == count && count > 2 {
				self.first_round(task).await?;
			}
			let miner = self.network.join().await?;
			println!("          node {number} mines as {miner}");
		}
		Ok(())
	}

	/// Waits until a training has completed a round.
	async fn first_round(&self, task: TaskId) -> Result<()> {
		loop {
			let progress = Progress::of(&self.client, task).await?;
			if progress.info.round > 0 || progress.ended() {
				return Ok(());
			}
			sleep(Duration::from_millis(250)).await;
		}
	}

	/// How many of a training's units each worker computed.
	async fn units_by_worker(&self, task: TaskId) -> Result<BTreeMap<String, u32>> {
		let records = replay::fetch(&self.client, task, false).await?;
		let mut units = BTreeMap::new();
		for result in records.results.into_iter().flatten().flatten() {
			*units.entry(result.worker.to_string()).or_default() += 1;
		}
		Ok(units)
	}

	/// Asks one node after the other for what one of them computed, until one has it.
	async fn of_any<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn(Client) -> F) -> Result<T> {
		let began = Instant::now();
		loop {
			let mut failure = None;
			for client in self.network.clients().await {
				match ask(client).await {
					Ok(given) => return Ok(given),
					Err(error) => failure = Some(error),
				}
			}
			let failure = failure.context("no node runs")?;
			if self.network.count() == 1 || began.elapsed() > PATIENCE {
				return Err(failure);
			}
			sleep(Duration::from_millis(500)).await;
		}
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
		let manifest = &self.folder.manifest;
		let mut recipe = MlpRecipe::for_widths(manifest.features, &layers, manifest.classes);
		if !self.options.digits {
			recipe.rate = recipe.rate.min(OWN_RATE - manifest.batch.ilog2() as i8);
		}
		let options = TrainingOptions {
			layers,
			recipe: Some(recipe),
			batch: manifest.batch,
			units: 4,
			steps,
			rounds,
			rate_drops: tasks::default_rate_drops(rounds),
			seed,
			terms: Terms { price, deadline: DEADLINE, escrow: None },
		};
		let draft = tasks::training_spec(&self.folder, &options)?;
		self.register(&draft).await
	}

	/// Registers a task, unless the run did so before it was interrupted: its specification follows from the run's kind to the last bit.
	async fn register(&self, draft: &Draft) -> Result<TaskId> {
		let known = tasks::list(&self.client).await?;
		if let Some(known) = known.iter().find(|known| known.spec == draft.spec) {
			return Ok(known.task);
		}
		Ok(tasks::register(&self.client, &signer::load(SPONSOR)?, draft, |_| ()).await?.task)
	}

	/// Shows a task until it is completed; if it trains and `test` says so, with the test accuracy after every round. Gives the last one.
	async fn follow(&self, task: TaskId, test: bool) -> Result<Option<f64>> {
		let spec = tasks::spec(&self.client, task).await?;
		let mut progress = Progress::of(&self.client, task).await?;
		let bar = Bar::new(progress.units(&spec.job).1);
		let (mut accuracy, mut tested) = (None, 0);
		loop {
			if progress.info.round > tested && test {
				tested = progress.info.round;
				let now = self.test_accuracy(&spec, task, tested).await?;
				accuracy = Some(now);
				bar.print(&format!("  after round {tested}: {:.2} % of the test rows right", now * 100.0));
			}
			bar.show(&progress, &spec, accuracy);
			if progress.ended() {
				break;
			}
			sleep(Duration::from_millis(250)).await;
			progress = Progress::of(&self.client, task).await?;
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
			let bytes = self.of_any(|client| async move { Ok(client.download(commitment, |_, _| ()).await?) }).await?;
			let tensor = Tensor::from_bytes(*shape, ElementType::I32, bytes);
			parameters.push(tensor.map_err(|_| anyhow::anyhow!("{commitment} is not a parameter of {shape:?}"))?);
		}
		Ok(parameters)
	}

	/// Accuracy of a round's parameters on the test rows, computed here.
	async fn test_accuracy(&self, spec: &TaskSpec, task: TaskId, round: u32) -> Result<f64> {
		let parameters = self.parameters(&spec.graph, task, round).await?;
		let model = Model { graph: spec.graph.clone(), parameters, task: Some(task), genesis: None, scale: None };
		let folder = self.folder.clone();
		blocking(move || Ok(evaluate::local(&model, &folder, 1)?.accuracy())).await
	}

	/// Registers the classification of the test rows with the trained parameters, and waits for it.
	async fn classify(&self, trained: TaskId) -> Result<TaskId> {
		let (spec, parameters) = tasks::result(&self.client, trained).await?;
		let terms = Terms { price: 8 * LAB, deadline: DEADLINE, escrow: None };
		let batches = self.folder.test()?.rows / spec.graph.batch;
		let units = (1..=4u16).rev().find(|units| batches.is_multiple_of(u32::from(*units)));
		let options = InferenceOptions { batch: spec.graph.batch, units, seed: self.options.seed, terms };
		let draft = tasks::inference_spec(&self.folder, &spec.graph, &parameters, &options)?;
		let task = self.register(&draft).await?;
		println!("task {task}    classifies the rows never trained on");
		self.follow(task, false).await?;
		Ok(task)
	}

	/// Saves the trained model, and gives the commitment of its parameters (of their list, if there are several).
	async fn export(&self, task: TaskId) -> Result<String> {
		let fetch = |client: Client| async move { Ok(Model::fetch(&client, task, |_, _| ()).await?) };
		let mut model = self.of_any(fetch).await?;
		model.scale = Some(self.folder.manifest.scale);
		model.save(&self.run.model())?;
		Ok(labora_graph::Trace(model.commitments()).root().to_string())
	}

	/// Computes the whole training again from the chain's records and the dataset alone.
	async fn replay(&self, task: TaskId) -> Result<bool> {
		let records = replay::fetch(&self.client, task, false).await?;
		let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
		let bar = spinner("replaying the training without the node's tensors");
		let folder = self.folder.clone();
		let verdict = blocking(move || Ok(replay::run(&records, &folder, None, threads, None, &|_| ())?)).await;
		bar.finish_and_clear();
		let verdict = verdict?;
		if let Verdict::Differs(difference) = &verdict {
			eprintln!("the replay differs: {difference:?}");
		}
		Ok(matches!(verdict, Verdict::Agrees { .. }))
	}
}

/// What came of it.
struct Outcome {
	tested: Evaluation,
	accuracy_so_far: Option<f64>,
	usefulness: Usefulness,
	macs_per_second: f64,
	commitment: String,
	training_seconds: f64,
	model: TaskId,
	units_by_worker: BTreeMap<String, u32>,
}

impl Outcome {
	fn summarize(&self, options: &Options, interruptions: u32, seconds: f64) -> Result<()> {
		let Usefulness { useful_blocks, idle_blocks, .. } = self.usefulness;
		let ratio = self.usefulness.ratio_ppm() as f64 / 1e6;
		let Evaluation { correct, rows, .. } = self.tested;
		let accuracy = self.tested.accuracy();
		let out = &options.out;
		let model = out.join("model.safetensors");
		let summary = json!({
			"test_accuracy": accuracy,
			"test_correct": correct,
			"test_rows": rows,
			"test_accuracy_local": self.accuracy_so_far,
			"blocks_useful": useful_blocks,
			"blocks_idle": idle_blocks,
			"usefulness_ratio": ratio,
			"macs_per_second": self.macs_per_second,
			"parameter_commitment": self.commitment,
			"replay_agrees": true,
			"interruptions": interruptions,
			"seconds": seconds,
			"training_seconds": self.training_seconds,
			"seed": options.seed,
			"rounds": options.rounds,
			"nodes": options.nodes,
			"units_by_worker": self.units_by_worker,
			"model": model,
		});
		write_json(&options.summary, &summary)?;
		let task = self.model;
		println!();
		println!("test accuracy          {:.2} % ({correct} of {rows}, from the classes on chain)", accuracy * 100.0,);
		println!("blocks                 {useful_blocks} useful, {idle_blocks} idle");
		println!("usefulness ratio       {ratio:.2}");
		if options.nodes > 1 {
			let units: Vec<_> = self.units_by_worker.values().map(u32::to_string).collect();
			println!("units by worker        {} on {} nodes", units.join(", "), options.nodes);
		}
		println!("useful work            {:.1} billion multiply-accumulates a second", self.macs_per_second / 1e9);
		println!("parameter commitment   {}", self.commitment);
		println!("replay                 agrees, every round");
		println!("time                   {seconds:.0} s, of them {:.0} s computing", self.training_seconds);
		println!("model                  {}", model.display());
		println!("summary                {}", options.summary.display());
		let chain = out.join("chain");
		let which = match options.nodes > 1 {
			true => format!("--chain {}", network::specification(&chain).display()),
			false => "--dev".into(),
		};
		println!("to replay it           labora-node {which} --base-path {} &", chain.display());
		println!("                       labora task replay {task} --dataset {}", out.join("dataset").display());
		Ok(())
	}
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
	let text = serde_json::to_string_pretty(value)?;
	std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
}

/// The input that a user's own path means: an archive, a table, a folder of digits, or `FEATURES,LABELS`, two files.
pub fn own_input(paths: &str) -> Result<(Input, Format)> {
	// A comma may be part of a name.
	let (features, labels) = match paths.split_once(',') {
		Some((features, labels)) if !Path::new(paths).exists() => (Path::new(features), Some(Path::new(labels))),
		_ => (Path::new(paths), None),
	};
	for path in [Some(features), labels].into_iter().flatten() {
		ensure!(path.exists(), "{} does not exist", path.display());
	}
	let format = Format::guess(features)?;
	let file = features.to_path_buf();
	let input = match (format, labels) {
		(Format::Idx | Format::Npy, Some(labels)) => Input::Pair { features: file, labels: labels.into(), test: None },
		(Format::Idx | Format::Npy, None) => {
			bail!("{} holds features only: give DATASET=features,labels", features.display())
		}
		(_, Some(labels)) => bail!("{} holds its labels itself: what is {} for?", features.display(), labels.display()),
		(Format::MnistJson, None) => Input::Digits(file),
		(Format::Npz, None) => Input::Archive { file, features: None, labels: None },
		(Format::Csv, None) => Input::Table { file, label: LabelColumn::Last },
	};
	Ok((input, format))
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn paths_mean_what_their_names_say() {
		let dir = tempfile::tempdir().unwrap();
		let path = |name: &str| dir.path().join(name).display().to_string();
		for name in ["table.csv", "a,b.csv", "x.npy", "y.npy", "both.npz", "images-idx3-ubyte.gz"] {
			fs::write(path(name), "").unwrap();
		}
		let format = |paths: &str| own_input(paths).map(|(_, format)| format);
		for (paths, expected) in [
			(path("table.csv"), Format::Csv),
			(path("a,b.csv"), Format::Csv),
			(path("both.npz"), Format::Npz),
			(format!("{},{}", path("x.npy"), path("y.npy")), Format::Npy),
			(format!("{},{}", path("images-idx3-ubyte.gz"), path("y.npy")), Format::Idx),
		] {
			assert_eq!(format(&paths).unwrap(), expected, "{paths}");
		}
		for (paths, reason) in [
			(path("x.npy"), "features only"),
			(path("none.csv"), "does not exist"),
			(format!("{},{}", path("x.npy"), path("none.npy")), "none.npy does not exist"),
			(format!("{},{}", path("table.csv"), path("y.npy")), "holds its labels itself"),
		] {
			let error = format(&paths).unwrap_err().to_string();
			assert!(error.contains(reason), "{paths}: {error}");
		}
	}
}
