//! Graphs, recipes, files and predictions: nothing here needs a node.

mod common;

use labora_cli::{
	dataset::{ImportOptions, Scale},
	evaluate,
	model_file::{Model, ModelFileError},
	models::{
		classify, draw, inference_graph_of, layers, mlp_inference_graph, mlp_training_graph, InferenceError, MlpRecipe,
		ModelError,
	},
	predict,
};
use labora_graph::{Activation, GraphError, Op, Program, Rounding, Value};
use labora_primitives::TaskId;
use labora_tensor::{I32Tensor, I8Tensor, Shape, Tensor};

#[test]
fn the_default_recipe_is_the_one_that_was_tried() {
	let recipe = MlpRecipe::for_widths(784, &[512, 512], 10);
	assert_eq!(recipe.ranges, [16, 10, 20]);
	assert_eq!(recipe.forward, [9, 8, 8]);
	assert_eq!(recipe.backward, [5, 6]);
	assert_eq!((recipe.rate, recipe.quantize), (2, 16));
	// Other widths give usable numbers and graphs that the chain takes.
	for (features, layers, classes) in [
		(784, vec![256], 10),
		(3072, vec![1024, 512, 256], 64),
		(256, vec![32], 2),
		(1024, vec![], 10),
		(16_384, vec![2048; 11], 10),
	] {
		let recipe = MlpRecipe::for_widths(features, &layers, classes);
		assert!(recipe.ranges.iter().all(|range| (10..=63).contains(range)), "{recipe:?}");
		assert!(recipe.forward.iter().all(|shift| (4..=14).contains(shift)), "{recipe:?}");
		assert!(recipe.backward.iter().all(|shift| (3..=9).contains(shift)), "{recipe:?}");
		let graph = mlp_training_graph(features, &layers, classes, 64, &recipe).unwrap();
		assert!(Program::new(graph).unwrap().is_training());
	}
}

#[test]
fn the_training_graph_is_the_protocols() {
	let recipe = MlpRecipe::for_widths(784, &[512, 512], 10);
	let graph = mlp_training_graph(784, &[512, 512], 10, 256, &recipe).unwrap();
	let shapes = [(784, 512), (512, 512), (512, 10)].map(|(rows, cols)| Shape { rows, cols });
	assert_eq!(graph.parameters, shapes);
	let product = |a, b, shift, rounding, activation, transpose_b| Op::MatMul {
		a,
		b,
		transpose_a: false,
		transpose_b,
		shift,
		rounding,
		activation,
	};
	let op = Value::Op;
	let (nearest, stochastic) = (Rounding::Nearest, Rounding::Stochastic);
	let update = |parameter, a, b| Op::SgdUpdate { parameter, a, b, transpose_a: true, transpose_b: false, rate: 2 };
	let ops = [
		Op::Quantize { parameter: 0, shift: 16 },
		Op::Quantize { parameter: 1, shift: 16 },
		Op::Quantize { parameter: 2, shift: 16 },
		product(Value::Features, op(0), 9, nearest, Activation::Relu, false),
		product(op(3), op(1), 8, nearest, Activation::Relu, false),
		product(op(4), op(2), 8, nearest, Activation::Identity, false),
		Op::Metrics { logits: op(5) },
		Op::SoftmaxGradient { logits: op(5) },
		product(op(7), op(2), 5, stochastic, Activation::Identity, true),
		Op::ReluMask { gradient: op(8), activation: op(4) },
		product(op(9), op(1), 6, stochastic, Activation::Identity, true),
		Op::ReluMask { gradient: op(10), activation: op(3) },
		update(0, Value::Features, op(11)),
		update(1, op(3), op(9)),
		update(2, op(4), op(7)),
	];
	assert_eq!(graph.ops, ops);
	let meant: Vec<_> = layers(&graph).iter().map(|layer| (layer.parameter, layer.quantize, layer.forward)).collect();
	assert_eq!(meant, [(0, 16, 9), (1, 16, 8), (2, 16, 8)]);
}

#[test]
fn the_inference_graph_is_cut_out_of_the_training_graph() {
	for layers in [vec![512, 512], vec![64], vec![]] {
		let recipe = MlpRecipe::for_widths(784, &layers, 10);
		let training = mlp_training_graph(784, &layers, 10, 256, &recipe).unwrap();
		let inference = mlp_inference_graph(784, &layers, 10, 64, &recipe).unwrap();
		assert_eq!(inference_graph_of(&training, 64).unwrap(), inference);
		assert_eq!(inference_graph_of(&inference, 64).unwrap(), inference);
		assert!(!Program::new(inference).unwrap().is_training());
	}
}

#[test]
fn impossible_models_are_refused_by_name() {
	let recipe = MlpRecipe::for_widths(784, &[64], 10);
	let build = |features, layers: &[u32], classes, batch, recipe: &MlpRecipe| {
		mlp_training_graph(features, layers, classes, batch, recipe).unwrap_err()
	};
	assert_eq!(
		build(784, &[64, 64], 10, 256, &recipe),
		ModelError::RecipeLength { what: "ranges", expected: 3, found: 2 }
	);
	assert_eq!(build(784, &[64], 10, 100, &recipe), ModelError::Graph(GraphError::BadBatch));
	assert_eq!(build(784, &[64], 65, 256, &recipe), ModelError::Graph(GraphError::TooManyClasses));
	let small = MlpRecipe::for_widths(32, &[32], 10);
	assert_eq!(build(32, &[32], 10, 32, &small), ModelError::Graph(GraphError::NoEligibleProduct));
	let bad = MlpRecipe { ranges: vec![16, 0], ..recipe.clone() };
	assert_eq!(build(784, &[64], 10, 256, &bad), ModelError::BadRange(0));
	let deep = vec![32; 16];
	let recipe = MlpRecipe::for_widths(784, &deep, 10);
	assert_eq!(build(784, &deep, 10, 256, &recipe), ModelError::TooManyLayers(17));
}

#[test]
fn recipes_draw_what_the_chain_records() {
	let recipe = MlpRecipe::for_widths(300, &[40], 10);
	let graph = mlp_training_graph(300, &[40], 10, 32, &recipe).unwrap();
	let drawn = recipe.with_seed([7; 32]).unwrap();
	let parameters = draw(&drawn, &graph);
	for (index, (tensor, range)) in parameters.iter().zip(&recipe.ranges).enumerate() {
		assert_eq!(tensor.shape(), graph.parameters[index]);
		let elements = drawn.draw(index as u8, tensor.shape());
		let again = I32Tensor::pack(tensor.shape(), &elements).unwrap();
		assert_eq!(again.commitment(), tensor.commitment());
		let range = i32::from(*range);
		assert!(elements.iter().all(|x| x % (1 << 16) == 0 && (-range..=range).contains(&(x >> 16))));
		assert!(elements.iter().any(|x| x >> 16 == range) && elements.iter().any(|x| x >> 16 == -range));
	}
	let other = draw(&recipe.with_seed([8; 32]).unwrap(), &graph);
	assert_ne!(other[0].commitment(), parameters[0].commitment());
}

/// An untrained model with its task.
fn model() -> Model {
	let recipe = MlpRecipe::for_widths(784, &[64], 10);
	let graph = mlp_training_graph(784, &[64], 10, 32, &recipe).unwrap();
	let parameters = draw(&recipe.with_seed([1; 32]).unwrap(), &graph);
	Model { graph, parameters, task: Some(TaskId(4)), genesis: Some("0x00".into()), scale: Some(Scale::Unit) }
}

#[test]
fn models_survive_their_files() {
	let model = model();
	let dir = tempfile::tempdir().unwrap();
	let path = dir.path().join("model.safetensors");
	model.save(&path).unwrap();
	assert_eq!(Model::load(&path).unwrap(), model);

	// What other tools see: plain matrices, and what they are worth.
	let bytes = std::fs::read(&path).unwrap();
	let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
	let mut names = file.names();
	names.sort_unstable();
	assert_eq!(names, ["parameter.0", "parameter.1", "weight.0", "weight.1"]);
	let weights = file.tensor("weight.0").unwrap();
	assert_eq!((weights.shape(), weights.dtype()), (&[784usize, 64][..], safetensors::Dtype::I8));
	let master = I32Tensor::get(&model.parameters[0], 3, 5);
	assert_eq!(i32::from(weights.data()[3 * 64 + 5] as i8), master >> 16);
	let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
	let metadata = header.metadata().clone().unwrap();
	assert_eq!(metadata["labora.task"], "4");
	let scales: serde_json::Value = serde_json::from_str(&metadata["labora.scales"]).unwrap();
	let shift = MlpRecipe::for_widths(784, &[64], 10).forward[0];
	assert_eq!((&scales["weight.0"], &scales["parameter.0"]), (&shift.into(), &(shift + 16).into()));
	let graph: serde_json::Value = serde_json::from_str(&metadata["labora.graph"]).unwrap();
	assert_eq!(graph["ops"][2]["op"], "matmul");
}

#[test]
fn changed_model_files_are_refused_by_name() {
	let model = model();
	let bytes = model.to_bytes().unwrap();
	let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
	let at = |name: &str| file.tensor(name).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize;
	let changed = |name: &str| {
		let mut changed = bytes.clone();
		changed[at(name) + 9] ^= 1;
		Model::from_bytes(&changed).unwrap_err()
	};
	assert!(
		matches!(changed("parameter.1"), ModelFileError::WrongCommitment { tensor, .. } if tensor == "parameter.1")
	);
	assert!(matches!(changed("weight.0"), ModelFileError::WrongTensor(name) if name == "weight.0"));
	assert!(matches!(Model::from_bytes(&bytes[..100]), Err(ModelFileError::Format(_))));
	assert!(matches!(Model::from_bytes(b"not at all"), Err(ModelFileError::Format(_))));
	let view = safetensors::tensor::TensorView::new(safetensors::Dtype::I8, vec![1], &[0]).unwrap();
	let foreign = safetensors::serialize([("x", view)], None).unwrap();
	assert!(matches!(Model::from_bytes(&foreign), Err(ModelFileError::NotLabora(_))));
	assert!(matches!(Model::load("no such file".as_ref()), Err(ModelFileError::Io { .. })));
}

#[test]
fn the_engine_and_the_definition_classify_alike() {
	let dir = tempfile::tempdir().unwrap();
	let options = ImportOptions { batch: 32, test: Some(70), ..Default::default() };
	let folder = common::dataset(dir.path(), 140, 784, 10, options);
	let model = model();
	let split = folder.test().unwrap();
	let features = folder.load(&split.features).unwrap();
	let rows: Vec<Vec<i8>> =
		(0..split.examples).map(|row| (0..784).map(|col| I8Tensor::get(&features, row, col)).collect()).collect();
	let defined: Vec<u8> =
		classify(&model.graph, &model.parameters, &rows).unwrap().into_iter().map(|(class, _)| class).collect();
	for threads in [1, 3] {
		let fast = evaluate::classify(&model, &folder, split, threads).unwrap();
		assert_eq!(fast.len(), split.rows as usize);
		assert_eq!(fast[..defined.len()], defined);
	}
	let evaluation = evaluate::local(&model, &folder, 2).unwrap();
	let labels = folder.load(&split.labels).unwrap();
	let right = (0u32..).zip(&defined).filter(|(row, class)| I8Tensor::get(&labels, *row, 0) == **class as i8).count();
	assert_eq!((evaluation.rows, evaluation.correct), (70, right as u64));
	assert_eq!(evaluation.classes.iter().map(|(rows, _)| rows).sum::<u64>(), 70);
	assert_eq!(evaluation.accuracy(), right as f64 / 70.0);

	let wrong = classify(&model.graph, &model.parameters, &[vec![0; 3]]);
	assert_eq!(wrong.unwrap_err(), InferenceError::WrongColumns { expected: 784, found: 3 });
	let none: &[Tensor] = &[];
	assert_eq!(classify(&model.graph, none, &rows).unwrap_err(), InferenceError::WrongParameters);
}

#[test]
fn images_and_rows_get_the_same_class() {
	let dir = tempfile::tempdir().unwrap();
	let model = Model { scale: None, ..model() };
	let pixels = common::noise(784, 9);
	let image = image::GrayImage::from_raw(28, 28, pixels.clone()).unwrap();
	let path = dir.path().join("digit.png");
	image.save(&path).unwrap();
	let of_image = predict::predict(&model, &path, None, false).unwrap();
	let text = |scale: f64| pixels.iter().map(|x| format!("{}", f64::from(*x) / scale)).collect::<Vec<_>>().join(",");
	let bytes = common::file(dir.path(), "bytes.csv", text(1.0));
	let unit = common::file(dir.path(), "unit.csv", text(255.0));
	for (path, scale) in [(&bytes, Scale::Bytes), (&unit, Scale::Unit)] {
		let of_row = predict::predict(&model, path, None, false).unwrap();
		assert_eq!((of_row.class, &of_row.logits, of_row.scale), (of_image.class, &of_image.logits, scale));
	}
	let operands: Vec<i8> = pixels.iter().map(|x| Scale::Bytes.apply(f64::from(*x))).collect();
	let defined = classify(&model.graph, &model.parameters, &[operands]).unwrap();
	assert_eq!(defined, [(of_image.class, of_image.logits.clone())]);
	let probabilities = of_image.probabilities();
	assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
	let largest = probabilities.iter().copied().fold(0.0, f64::max);
	assert_eq!(probabilities[usize::from(of_image.class)], largest);

	let inverted = image::GrayImage::from_fn(56, 56, |x, y| image::Luma([255 - image.get_pixel(x / 2, y / 2).0[0]]));
	let path = dir.path().join("inverted.png");
	inverted.save(&path).unwrap();
	assert!(predict::predict(&model, &path, None, true).is_ok());
	let short = common::file(dir.path(), "short.csv", "1,2,3");
	assert!(matches!(
		predict::predict(&model, &short, None, false),
		Err(predict::PredictError::Inference(InferenceError::WrongColumns { .. }))
	));
	let broken = common::file(dir.path(), "broken.png", "no image");
	assert!(matches!(predict::predict(&model, &broken, None, false), Err(predict::PredictError::Image { .. })));
}
