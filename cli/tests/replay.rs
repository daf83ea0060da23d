//! Replaying tasks whose records were made here, by the engine alone, and noticing records that lie.

mod common;

use std::sync::{
	atomic::{AtomicU64, Ordering},
	Arc,
};

use labora_cli::{
	dataset::{import, Folder, Format, ImportOptions, Input},
	evaluate,
	model_file::Model,
	models::draw,
	replay::{run, Difference, Initial, Records, ReplayError, Verdict, What},
	tasks::{default_rate_drops, inference_spec, training_spec, InferenceOptions, TaskError, Terms, TrainingOptions},
};
use labora_engine::{Engine, NoMiner, UnitOutput, UnitPlan};
use labora_graph::Program;
use labora_primitives::{AccountId, AssignmentId, Job, ResultRecord, SpecError, TaskId, TaskSpec, UnitMetrics};
use labora_tensor::Commitment;

fn folder(dir: &std::path::Path) -> Folder {
	let options = ImportOptions { batch: 32, test: Some(90), ..Default::default() };
	common::dataset(dir, 410, 256, 4, options)
}

fn terms() -> Terms {
	Terms { price: 1_000, deadline: 100, escrow: None }
}

fn training(units: u16) -> TrainingOptions {
	TrainingOptions {
		layers: vec![64],
		recipe: None,
		batch: 32,
		units,
		steps: 5,
		rounds: 3,
		rate_drops: vec![2],
		seed: 5,
		terms: terms(),
	}
}

/// What workers and the chain would do with a unit.
fn unit(spec: &TaskSpec, folder: &Folder, round: u32, unit: u16, parameters: &Initial) -> UnitOutput {
	let split = folder.split_of(&spec.dataset).unwrap();
	let labels = spec.dataset.labels.map(|_| Arc::new(folder.load(&split.labels).unwrap()));
	let plan = UnitPlan {
		program: Arc::new(Program::new(spec.graph.clone()).unwrap()),
		context: spec.context(round, unit),
		features: Arc::new(folder.load(&split.features).unwrap()),
		features_commitment: spec.dataset.features,
		labels_commitment: spec.dataset.labels,
		labels,
		parameters: parameters.clone(),
		batches: (0..spec.job.steps()).map(|step| spec.batch(round, unit, step)).collect(),
	};
	Engine::best(1).run(&plan, &NoMiner).unwrap()
}

fn record(spec: &TaskSpec, output: &UnitOutput, training: bool) -> ResultRecord {
	let rows = u64::from(spec.job.steps()) * u64::from(spec.graph.batch);
	let commitments: Vec<Commitment> = output.parameters.iter().map(|(commitment, _)| *commitment).collect();
	let (parameters, metrics) = match training {
		true => (commitments, UnitMetrics { loss: output.loss as u64, correct: output.correct, rows }),
		false => (Vec::new(), UnitMetrics::default()),
	};
	ResultRecord {
		worker: AccountId::from([1; 32]),
		assignment: AssignmentId(0),
		block: 1,
		trace_root: output.trace.root(),
		parameters: parameters.try_into().unwrap(),
		metrics,
	}
}

/// The records of a training task after some rounds, its last parameters, and its accuracy by round.
fn trained(folder: &Folder, units: u16, rounds: u32) -> (Records, Initial, Vec<f64>) {
	trained_by(folder, &training(units), rounds)
}

fn trained_by(folder: &Folder, options: &TrainingOptions, rounds: u32) -> (Records, Initial, Vec<f64>) {
	let units = options.units;
	let draft = training_spec(folder, options).unwrap();
	let spec = draft.spec;
	let mut parameters: Initial = draw(spec.recipe.as_ref().unwrap(), &spec.graph).into_iter().map(Arc::new).collect();
	let mut sets = vec![spec.parameters.to_vec()];
	let (mut results, mut accuracy) = (Vec::new(), Vec::new());
	for round in 0..rounds {
		let outputs: Vec<UnitOutput> = (0..units).map(|u| unit(&spec, folder, round, u, &parameters)).collect();
		results.push(outputs.iter().map(|output| Some(record(&spec, output, true))).collect());
		let rows = f64::from(u32::from(units) * spec.job.steps() * spec.graph.batch);
		accuracy.push(outputs.iter().map(|output| output.correct).sum::<u64>() as f64 / rows);
		let of_units: Vec<Initial> = outputs
			.into_iter()
			.map(|output| output.parameters.into_iter().map(|(_, tensor)| tensor).collect())
			.collect();
		parameters = match &of_units[..] {
			[only] => only.clone(),
			all => Engine::best(1).merge(all).unwrap().into_iter().map(|(_, tensor)| tensor).collect(),
		};
		sets.push(parameters.iter().map(|tensor| tensor.commitment()).collect());
	}
	let records = Records { task: TaskId(0), spec, parameters: sets, results, classes: Vec::new(), trained_by: None };
	(records, parameters, accuracy)
}

fn replay(records: &Records, folder: &Folder, rounds: Option<u32>) -> Result<Verdict, ReplayError> {
	run(records, folder, None, 2, rounds, &|_| {})
}

#[test]
fn honest_records_agree_and_training_learns() {
	let dir = tempfile::tempdir().unwrap();
	let folder = folder(dir.path());
	for units in [1, 3] {
		let (records, parameters, accuracy) = trained(&folder, units, 3);
		let commitments: Vec<Commitment> = parameters.iter().map(|tensor| tensor.commitment()).collect();
		let steps = AtomicU64::new(0);
		let verdict = run(&records, &folder, None, 3, None, &|step| {
			steps.fetch_add(1, Ordering::Relaxed);
			assert!(step.done <= step.of && step.of == u64::from(units) * 5 * 3);
		});
		assert_eq!(verdict.unwrap(), Verdict::Agrees { rounds: 3, parameters: commitments });
		assert_eq!(steps.into_inner(), u64::from(units) * 5 * 3);
		assert!(accuracy[2] > accuracy[0] && accuracy[2] > 0.6, "{accuracy:?}");
		let first = replay(&records, &folder, Some(1)).unwrap();
		assert_eq!(first, Verdict::Agrees { rounds: 1, parameters: records.parameters[1].clone() });
	}
}

#[test]
fn the_first_difference_is_named() {
	let dir = tempfile::tempdir().unwrap();
	let folder = folder(dir.path());
	let (records, ..) = trained(&folder, 2, 2);
	let lie = |change: &dyn Fn(&mut Records)| {
		let mut records = records.clone();
		change(&mut records);
		match replay(&records, &folder, None).unwrap() {
			Verdict::Differs(difference) => (difference.round, difference.unit, difference.what),
			verdict => panic!("{verdict:?}"),
		}
	};
	let other = Commitment([9; 32]);
	assert_eq!(lie(&|r| r.parameters[2][1] = other), (1, None, What::Parameters));
	assert_eq!(lie(&|r| r.results[1][1].as_mut().unwrap().trace_root = other), (1, Some(1), What::Trace));
	assert_eq!(lie(&|r| r.results[0][1].as_mut().unwrap().metrics.correct += 1), (0, Some(1), What::Metrics));
	assert_eq!(lie(&|r| r.results[0][0].as_mut().unwrap().parameters[0] = other), (0, Some(0), What::Parameters));
	let reseed = |r: &mut Records| r.spec.recipe.as_mut().unwrap().seed = [0; 32];
	assert_eq!(lie(&reseed), (0, None, What::InitialParameters));
	// Other rounding bits: some op of the first unit differs.
	assert_eq!(lie(&|r| r.spec.seed = [0; 32]), (0, Some(0), What::Trace));
	let difference = Difference { round: 1, unit: None, what: What::Parameters };
	assert_eq!(difference.to_string(), "round 1: the parameters differ");
	// Records that are not there yet are not compared; the round's parameters still are.
	let mut pruned = records.clone();
	pruned.results[0] = vec![None, None];
	assert!(matches!(replay(&pruned, &folder, None).unwrap(), Verdict::Agrees { .. }));
}

#[test]
fn what_cannot_be_replayed_is_refused_by_name() {
	let dir = tempfile::tempdir().unwrap();
	let folder = folder(dir.path());
	let (records, parameters, _) = trained(&folder, 1, 1);
	assert!(matches!(replay(&records, &folder, Some(2)), Err(ReplayError::NotSoFar { wanted: 2, completed: 1 })));
	let young = Records { parameters: records.parameters[..1].to_vec(), ..records.clone() };
	assert!(matches!(replay(&young, &folder, None), Err(ReplayError::NothingYet(TaskId(0)))));
	let mut foreign = records.clone();
	foreign.spec.dataset.features = Commitment([3; 32]);
	assert!(matches!(replay(&foreign, &folder, None), Err(ReplayError::OtherDataset(_))));
	let mut bare = records.clone();
	bare.spec.recipe = None;
	assert!(matches!(replay(&bare, &folder, None), Err(ReplayError::NoRecipe)));
	let wrong = run(&bare, &folder, Some(parameters), 1, None, &|_| {});
	assert!(matches!(wrong, Err(ReplayError::OtherParameters)));
	let drawn: Initial =
		draw(records.spec.recipe.as_ref().unwrap(), &bare.spec.graph).into_iter().map(Arc::new).collect();
	let given = run(&bare, &folder, Some(drawn), 1, None, &|_| {});
	assert!(matches!(given, Ok(Verdict::Agrees { rounds: 1, .. })));
}

#[test]
fn inference_is_replayed_from_the_training_behind_it() {
	let dir = tempfile::tempdir().unwrap();
	let folder = folder(dir.path());
	let (training, parameters, _) = trained(&folder, 2, 3);
	let options = InferenceOptions { batch: 32, units: Some(3), seed: 1, terms: terms() };
	let draft = inference_spec(&folder, &training.spec.graph, &training.parameters[3], &options).unwrap();
	let spec = draft.spec;
	assert_eq!(spec.job, Job::Inference { units: 3, steps: 1 });
	assert_eq!((spec.dataset.examples, spec.dataset.rows, spec.dataset.labels), (90, 96, None));
	let outputs: Vec<UnitOutput> = (0..3).map(|u| unit(&spec, &folder, 0, u, &parameters)).collect();
	let records = Records {
		task: TaskId(1),
		parameters: vec![spec.parameters.to_vec()],
		results: vec![outputs.iter().map(|output| Some(record(&spec, output, false))).collect()],
		classes: outputs.iter().map(|output| Some(output.classes.clone())).collect(),
		trained_by: Some(Box::new(training)),
		spec,
	};
	let agrees = Verdict::Agrees { rounds: 3, parameters: Vec::new() };
	assert_eq!(replay(&records, &folder, None).unwrap(), agrees);
	let alone = Records { trained_by: None, ..records.clone() };
	assert!(matches!(replay(&alone, &folder, None), Err(ReplayError::NoRecipe)));
	assert_eq!(run(&alone, &folder, Some(parameters), 1, None, &|_| {}).unwrap(), agrees);
	let mut wrong = records.clone();
	wrong.classes[1].as_mut().unwrap()[4] ^= 1;
	let expected = Difference { round: 0, unit: Some(1), what: What::Classes };
	assert_eq!(replay(&wrong, &folder, None).unwrap(), Verdict::Differs(expected));
	let mut liar = records;
	liar.trained_by.as_mut().unwrap().parameters[1][0] = Commitment([1; 32]);
	let expected = Difference { round: 0, unit: None, what: What::Parameters };
	assert_eq!(replay(&liar, &folder, None).unwrap(), Verdict::Differs(expected));
}

#[test]
fn drafts_say_what_the_chain_needs() {
	let dir = tempfile::tempdir().unwrap();
	let folder = folder(dir.path());
	let draft = training_spec(&folder, &training(4)).unwrap();
	// Three rounds of four units and a merge at a twentieth.
	assert_eq!(draft.escrow, 3 * 4_050);
	let commitments: Vec<Commitment> = draft.tensors.iter().map(|(commitment, _)| *commitment).collect();
	let dataset = &draft.spec.dataset;
	assert_eq!(commitments[..2], [dataset.features, dataset.labels.unwrap()]);
	assert_eq!(commitments[2..], draft.spec.parameters[..]);
	assert!(draft.tensors.iter().all(|(commitment, tensor)| tensor.commitment() == *commitment));
	let again = training_spec(&folder, &training(4)).unwrap();
	assert_eq!(again.spec, draft.spec);
	let other = training_spec(&folder, &TrainingOptions { seed: 6, ..training(4) }).unwrap();
	assert_ne!(other.spec.parameters, draft.spec.parameters);
	let refused = |options: TrainingOptions| match training_spec(&folder, &options) {
		Err(TaskError::Spec { error }) => error,
		other => panic!("{other:?}"),
	};
	assert_eq!(refused(TrainingOptions { units: 65, ..training(1) }), SpecError::BadJob);
	assert_eq!(refused(TrainingOptions { rate_drops: vec![3], ..training(1) }), SpecError::BadRateDrops);
	assert_eq!(refused(TrainingOptions { batch: 96, ..training(1) }), SpecError::BadDataset);
}

#[test]
fn real_digits_are_learned_with_the_default_recipe() {
	let Some(digits) = std::env::var_os("LABORA_MNIST") else {
		println!("SKIPPED: LABORA_MNIST names no folder of digits (`make test` sets it)");
		return;
	};
	let dir = tempfile::tempdir().unwrap();
	let options = ImportOptions { train: Some(8_192), ..Default::default() };
	let folder = import(&Input::Digits(digits.into()), Format::MnistJson, &options, dir.path()).unwrap();
	let rounds = 6;
	let options = TrainingOptions {
		layers: vec![512, 512],
		recipe: None,
		batch: 256,
		units: 4,
		steps: 128,
		rounds,
		rate_drops: default_rate_drops(rounds),
		seed: 1,
		terms: terms(),
	};
	let (records, parameters, _) = trained_by(&folder, &options, rounds);
	let parameters = parameters.iter().map(|tensor| (**tensor).clone()).collect();
	let model = Model { graph: records.spec.graph.clone(), parameters, task: None, genesis: None, scale: None };
	let accuracy = evaluate::local(&model, &folder, 2).unwrap().accuracy();
	println!("accuracy {accuracy}");
	assert!(accuracy > 0.95);
	assert!(matches!(replay(&records, &folder, Some(1)).unwrap(), Verdict::Agrees { rounds: 1, .. }));
}
