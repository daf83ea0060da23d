//! Importing real files, and refusing broken ones by name.

mod common;

use std::{fs, path::Path};

use common::{file, gz, idx, noise};
use labora_cli::dataset::{
	import, DatasetError, Folder, Format, ImportOptions, Input, LabelColumn, Scale, MANIFEST, NO_LABEL,
};
use labora_tensor::I8Tensor;
use npyz::{npz::NpzWriter, WriterBuilder};

const ROWS: usize = 100;
const COLS: usize = 12;

fn options() -> ImportOptions {
	ImportOptions { seed: 3, batch: 32, train: None, test: Some(30), classes: None }
}

fn labels() -> Vec<u8> {
	(0..ROWS).map(|row| (row % 10) as u8).collect()
}

fn pair(features: impl AsRef<Path>, labels: impl AsRef<Path>) -> Input {
	Input::Pair { features: features.as_ref().into(), labels: labels.as_ref().into(), test: None }
}

/// Checks that a folder holds the rows of noise and labels, whatever their order, and that row and label stay together.
fn check(folder: &Folder, scale: Scale, raw: &[f64]) {
	let manifest = &folder.manifest;
	assert_eq!((manifest.features, manifest.classes, manifest.scale), (COLS as u32, 10, scale));
	// 70 rows to train on are two batches of 32; 30 to test on are padded to one.
	assert_eq!((manifest.train.rows, manifest.train.examples), (64, 64));
	let test = manifest.test.as_ref().unwrap();
	assert_eq!((test.rows, test.examples), (32, 30));
	let mut found = Vec::new();
	for split in [&manifest.train, test] {
		let (features, labels) = (folder.load(&split.features).unwrap(), folder.load(&split.labels).unwrap());
		for row in 0..split.examples {
			let cells: Vec<i8> = (0..COLS as u32).map(|col| I8Tensor::get(&features, row, col)).collect();
			let original = (0..ROWS).find(|original| {
				raw[original * COLS..(original + 1) * COLS].iter().zip(&cells).all(|(x, cell)| scale.apply(*x) == *cell)
			});
			let original = original.expect("a row of the file");
			assert_eq!(I8Tensor::get(&labels, row, 0), (original % 10) as i8);
			found.push(original);
		}
		for row in split.examples..split.rows {
			assert_eq!(I8Tensor::get(&labels, row, 0), NO_LABEL);
			assert!((0..COLS as u32).all(|col| I8Tensor::get(&features, row, col) == 0));
		}
	}
	let in_order = found.windows(2).all(|pair| pair[0] < pair[1]);
	assert!(!in_order, "rows are shuffled");
	found.sort_unstable();
	found.dedup();
	assert_eq!(found.len(), 94, "no row twice");
	assert_eq!(Folder::open(&folder.path).unwrap(), *folder);
	let name = fs::read(folder.path.join("train.features")).unwrap();
	assert_eq!(blake3::hash(&name).to_hex().as_str(), manifest.train.features.commitment);
}

fn bytes() -> Vec<u8> {
	noise(ROWS * COLS, 2)
}

fn as_floats(bytes: &[u8]) -> Vec<f64> {
	bytes.iter().map(|byte| f64::from(*byte)).collect()
}

#[test]
fn idx_plain_and_compressed_are_the_same() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	let (features, labels) = (idx(&[ROWS as u32, 3, 4], &bytes()), idx(&[ROWS as u32], &labels()));
	let plain = pair(file(dir, "f.idx", &features), file(dir, "l.idx", &labels));
	let zipped = pair(file(dir, "f.idx.gz", gz(&features)), file(dir, "l.idx.gz", gz(&labels)));
	let plain = import(&plain, Format::Idx, &options(), &dir.join("a")).unwrap();
	check(&plain, Scale::Bytes, &as_floats(&bytes()));
	let zipped = import(&zipped, Format::Idx, &options(), &dir.join("b")).unwrap();
	assert_eq!(plain.manifest.train, zipped.manifest.train);
	let other_seed = ImportOptions { seed: 4, ..options() };
	let input = pair(dir.join("f.idx"), dir.join("l.idx"));
	let other = import(&input, Format::Idx, &other_seed, &dir.join("c")).unwrap();
	assert_ne!(plain.manifest.train.features.commitment, other.manifest.train.features.commitment);
}

#[test]
fn a_test_set_of_its_own_keeps_its_order() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	let input = Input::Pair {
		features: file(dir, "f", idx(&[ROWS as u32, COLS as u32], &bytes())),
		labels: file(dir, "l", idx(&[ROWS as u32], &labels())),
		test: Some((
			file(dir, "tf", idx(&[40, COLS as u32], &bytes()[..40 * COLS])),
			file(dir, "tl", idx(&[40], &labels()[..40])),
		)),
	};
	let folder = import(&input, Format::Idx, &ImportOptions { test: None, ..options() }, &dir.join("out")).unwrap();
	let test = folder.manifest.test.as_ref().unwrap();
	assert_eq!((folder.manifest.train.rows, test.rows, test.examples), (96, 64, 40));
	let features = folder.load(&test.features).unwrap();
	assert_eq!(I8Tensor::get(&features, 39, 5), Scale::Bytes.apply(f64::from(bytes()[39 * COLS + 5])));
	assert_eq!(folder.manifest.source, "f, l, tf, tl");
}

fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], data: &[T]) -> Vec<u8> {
	let mut bytes = Vec::new();
	let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
	writer.extend(data.iter().copied()).unwrap();
	writer.finish().unwrap();
	bytes
}

#[test]
fn numpy_arrays_of_floats_and_archives() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	let unit: Vec<f32> = bytes().iter().map(|byte| f32::from(*byte) / 255.0).collect();
	let wide: Vec<f64> = bytes().iter().map(|byte| f64::from(*byte) - 100.0).collect();
	let whole: Vec<i64> = labels().iter().map(|label| i64::from(*label)).collect();
	let shape = [ROWS as u64, COLS as u64];
	let y = file(dir, "y.npy", npy(&[ROWS as u64], &whole));
	let folder =
		import(&pair(file(dir, "x.npy", npy(&shape, &unit)), &y), Format::Npy, &options(), &dir.join("unit")).unwrap();
	check(&folder, Scale::Unit, &unit.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
	let folder =
		import(&pair(file(dir, "w.npy", npy(&shape, &wide)), &y), Format::Npy, &options(), &dir.join("wide")).unwrap();
	let (min, max) = (-100.0, wide.iter().copied().fold(f64::MIN, f64::max));
	check(&folder, Scale::MinMax { min, max }, &wide);

	let path = dir.join("both.npz");
	let mut archive = NpzWriter::create(&path).unwrap();
	let mut write = |name: &str, shape: &[u64], data: &[u8]| {
		let mut writer =
			archive.array(name, Default::default()).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
		writer.extend(data.iter().copied()).unwrap();
		writer.finish().unwrap();
	};
	write("x", &shape, &bytes());
	write("y", &[ROWS as u64], &labels());
	write("named", &[ROWS as u64], &labels());
	drop(archive);
	let input =
		|labels: Option<&str>| Input::Archive { file: path.clone(), features: None, labels: labels.map(Into::into) };
	let folder = import(&input(None), Format::Npz, &options(), &dir.join("npz")).unwrap();
	check(&folder, Scale::Bytes, &as_floats(&bytes()));
	let named = import(&input(Some("named")), Format::Npz, &options(), &dir.join("named")).unwrap();
	assert_eq!(named.manifest.train, folder.manifest.train);
	let missing = import(&input(Some("z")), Format::Npz, &options(), &dir.join("z"));
	assert!(matches!(missing, Err(DatasetError::MissingArray { key, found, .. }) if key == "z" && found.len() == 3));
}

#[test]
fn tables_with_the_label_anywhere() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	let raw = as_floats(&bytes());
	let max = raw.iter().copied().fold(f64::MIN, f64::max);
	let min = raw.iter().copied().fold(f64::MAX, f64::min);
	let rows: Vec<(String, u8)> = raw
		.chunks_exact(COLS)
		.zip(labels())
		.map(|(row, label)| (row.iter().map(|x| format!("{x}")).collect::<Vec<_>>().join(","), label))
		.collect();
	let last: String = rows.iter().map(|(row, label)| format!("{row},{label}\n")).collect();
	let names: Vec<String> = (0..COLS).map(|col| format!("f{col}")).collect();
	let first: String = rows.iter().map(|(row, label)| format!("{label}, {row}\r\n")).collect();
	let named = format!("digit,{}\n{first}", names.join(","));
	for (name, text, label) in [
		("last.csv", last, LabelColumn::Last),
		("first.csv", first, LabelColumn::First),
		("named.csv", named, LabelColumn::Named("digit".into())),
	] {
		let input = Input::Table { file: file(dir, name, text), label };
		let folder = import(&input, Format::Csv, &options(), &dir.join(format!("{name}.out"))).unwrap();
		check(&folder, Scale::MinMax { min, max }, &raw);
	}
}

#[test]
fn digits_of_the_npm_package() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	for class in 0..10 {
		let pixels: Vec<String> =
			(0..784 * 8).map(|i| format!("{}", f64::from((i * 7 + class) % 1000) / 1000.0)).collect();
		let list = format!("[{}]", pixels.join(","));
		let text = if class % 2 == 0 { list } else { format!("{{\"data\":{list}}}") };
		file(dir, &format!("src/digits/{class}.json"), text);
	}
	let folder = import(&Input::Digits(dir.into()), Format::MnistJson, &options(), &dir.join("out")).unwrap();
	let manifest = &folder.manifest;
	assert_eq!((manifest.features, manifest.classes, manifest.scale), (784, 10, Scale::Unit));
	assert_eq!((manifest.train.rows, manifest.test.as_ref().unwrap().examples), (32, 30));
	assert_eq!(Format::guess(dir).unwrap(), Format::MnistJson);
}

#[test]
fn scales_round_to_the_nearest_level() {
	for (x, level) in [(0.0, 0), (2.0, 0), (2.1, 1), (128.0, 32), (255.0, 63), (400.0, 63)] {
		assert_eq!(Scale::Bytes.apply(x), level, "{x}");
	}
	// 0.5 * 63 = 31.5 rounds up; and a decimal fraction whose product should be a half does, too.
	for (x, level) in [(0.5, 32), (0.0, 0), (1.0, 63), (0.3, 19), (-1.0, 0), (0.1, 6)] {
		assert_eq!(Scale::Unit.apply(x), level, "{x}");
	}
	assert_eq!(Scale::MinMax { min: 5.0, max: 5.0 }.apply(5.0), 0);
	assert_eq!(Scale::MinMax { min: -1.0, max: 1.0 }.apply(0.0), 32);
}

#[test]
fn broken_files_are_refused_by_name() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	let out = dir.join("out");
	let (rows, cols) = (ROWS as u32, COLS as u32);
	let features = file(dir, "f.idx", idx(&[rows, cols], &bytes()));
	let good = file(dir, "l.idx", idx(&[rows], &labels()));
	let run = |input: &Input, format| import(input, format, &options(), &out);
	let idx_of = |bytes: Vec<u8>| run(&pair(file(dir, "bad", bytes), &good), Format::Idx);
	let whole = idx(&[rows, cols], &bytes());

	assert!(matches!(run(&pair(dir.join("no"), &good), Format::Idx), Err(DatasetError::Io { .. })));
	assert!(matches!(idx_of(b"abcdefgh".to_vec()), Err(DatasetError::WrongFormat { format: "IDX", .. })));
	assert!(matches!(idx_of(vec![0, 0]), Err(DatasetError::WrongFormat { .. })));
	assert!(matches!(idx_of(vec![0, 0, 8, 3, 0, 0]), Err(DatasetError::WrongFormat { .. })));
	assert!(matches!(idx_of(vec![0, 0, 13, 1, 0, 0, 0, 0]), Err(DatasetError::UnsupportedType { .. })));
	assert!(matches!(
		idx_of(whole[..whole.len() - 1].to_vec()),
		Err(DatasetError::WrongLength { expected: 1200, found: 1199, .. })
	));
	assert!(matches!(idx_of([&whole[..], &[0]].concat()), Err(DatasetError::WrongLength { found: 1201, .. })));
	let cut = gz(&whole);
	assert!(matches!(idx_of(cut[..cut.len() / 2].to_vec()), Err(DatasetError::WrongFormat { format: "gzip", .. })));

	let few = file(dir, "few", idx(&[rows - 1], &labels()[1..]));
	assert!(matches!(
		run(&pair(&features, few), Format::Idx),
		Err(DatasetError::RowCountMismatch { features: 100, labels: 99 })
	));
	let mut bad = labels();
	bad[41] = 64;
	let bad = file(dir, "bad-labels", idx(&[rows], &bad));
	let refused = run(&pair(&features, bad), Format::Idx);
	assert!(matches!(refused, Err(DatasetError::LabelOutOfRange { row: 42, label, classes: 64 }) if label == 64.0));
	let nine = import(&pair(&features, &good), Format::Idx, &ImportOptions { classes: Some(9), ..options() }, &out);
	assert!(matches!(nine, Err(DatasetError::LabelOutOfRange { row: 10, classes: 9, .. })));

	assert!(matches!(run(&pair(&features, &good), Format::Npy), Err(DatasetError::WrongFormat { format: "npy", .. })));
	let array = npy(&[u64::from(rows), u64::from(cols)], &bytes());
	let short = file(dir, "short.npy", &array[..array.len() - 5]);
	assert!(matches!(run(&pair(short, &good), Format::Npy), Err(DatasetError::WrongFormat { format: "npy", .. })));
	let zip = Input::Archive { file: features.clone(), features: None, labels: None };
	assert!(matches!(run(&zip, Format::Npz), Err(DatasetError::WrongFormat { format: "npz", .. })));
}

#[test]
fn broken_tables_are_refused_by_name() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	let csv = |text: &str, label: LabelColumn| {
		let input = Input::Table { file: file(dir, "t.csv", text), label };
		import(&input, Format::Csv, &options(), &dir.join("out"))
	};
	let last = || LabelColumn::Last;
	assert!(matches!(csv("1,2,0\n1,x,0\n", last()), Err(DatasetError::NotANumber { row: 2, column: 2, .. })));
	assert!(matches!(
		csv("a,b,c\n1,2,0\n1,0\n", last()),
		Err(DatasetError::RaggedRow { row: 2, expected: 3, found: 2, .. })
	));
	assert!(matches!(csv("a,b,c\n", last()), Err(DatasetError::WrongFormat { .. })));
	assert!(matches!(csv("1\n2\n", last()), Err(DatasetError::WrongFormat { .. })));
	assert!(matches!(csv("a,b\n1,2\n", LabelColumn::Named("c".into())), Err(DatasetError::MissingColumn { .. })));
	assert!(matches!(csv("1,2,0.5\n", last()), Err(DatasetError::LabelOutOfRange { row: 1, .. })));
	assert!(matches!(csv("1,2,-1\n", last()), Err(DatasetError::LabelOutOfRange { .. })));
	assert!(matches!(csv("1,NaN,0\n", last()), Err(DatasetError::NotFinite { row: 1, column: 2, .. })));
	assert!(matches!(csv("1,2,0\n", last()), Err(DatasetError::TooManyWanted { wanted: 30, rows: 1 })));

	let digits = |text: &str| {
		file(dir, "digits/0.json", text);
		import(&Input::Digits(dir.join("digits")), Format::MnistJson, &options(), &dir.join("out"))
	};
	assert!(matches!(digits("{}"), Err(DatasetError::WrongFormat { format: "digit list", .. })));
	assert!(matches!(digits("[0.5]"), Err(DatasetError::WrongFormat { .. })));
	assert!(matches!(digits("[]"), Err(DatasetError::Io { .. })), "1.json is missing");
	assert!(matches!(Format::guess(Path::new("data.bin")), Err(DatasetError::UnknownFormat { .. })));
	for (name, format) in [
		("t10k-images-idx3-ubyte.gz", Format::Idx),
		("x.npy", Format::Npy),
		("mnist.npz", Format::Npz),
		("T.CSV", Format::Csv),
	] {
		assert_eq!(Format::guess(Path::new(name)).unwrap(), format);
	}
}

#[test]
fn options_that_cannot_be_met_are_refused() {
	let dir = tempfile::tempdir().unwrap();
	let dir = dir.path();
	let input = pair(
		file(dir, "f", idx(&[ROWS as u32, COLS as u32], &bytes())),
		file(dir, "l", idx(&[ROWS as u32], &labels())),
	);
	let run = |options: ImportOptions| import(&input, Format::Idx, &options, &dir.join("out"));
	assert!(matches!(run(ImportOptions { batch: 33, ..options() }), Err(DatasetError::BadBatch(33))));
	assert!(matches!(run(ImportOptions { batch: 0, ..options() }), Err(DatasetError::BadBatch(0))));
	assert!(matches!(run(ImportOptions { classes: Some(65), ..options() }), Err(DatasetError::BadClasses(65))));
	assert!(matches!(
		run(ImportOptions { test: Some(90), ..options() }),
		Err(DatasetError::TooFewRows { rows: 10, batch: 32 })
	));
	assert!(matches!(
		run(ImportOptions { train: Some(90), test: Some(11), ..options() }),
		Err(DatasetError::TooManyWanted { wanted: 101, rows: 100 })
	));
	let wide = Input::Pair {
		features: dir.join("f"),
		labels: dir.join("l"),
		test: Some((file(dir, "tf", idx(&[2, 3], &[0; 6])), file(dir, "tl", idx(&[2], &[0; 2])))),
	};
	let wide = import(&wide, Format::Idx, &ImportOptions { test: None, ..options() }, &dir.join("out"));
	assert!(matches!(wide, Err(DatasetError::ColumnCountMismatch { train: 12, test: 3 })));
	let none = run(ImportOptions { test: Some(0), ..options() }).unwrap();
	assert!(matches!(none.test(), Err(DatasetError::NoTestRows)));
	let by_default = run(ImportOptions { test: None, ..options() }).unwrap();
	assert_eq!(by_default.test().unwrap().examples, 16);
}

#[test]
fn changed_folders_are_noticed() {
	let dir = tempfile::tempdir().unwrap();
	let folder = common::dataset(dir.path(), 128, 96, 4, ImportOptions { batch: 32, ..Default::default() });
	let path = folder.path.join("train.features");
	let mut bytes = fs::read(&path).unwrap();
	bytes[7] ^= 1;
	fs::write(&path, &bytes).unwrap();
	assert!(matches!(folder.load(&folder.manifest.train.features), Err(DatasetError::WrongCommitment { .. })));
	bytes.pop();
	fs::write(&path, &bytes).unwrap();
	assert!(matches!(folder.load(&folder.manifest.train.features), Err(DatasetError::WrongLength { .. })));
	let manifest = folder.path.join(MANIFEST);
	let text = fs::read_to_string(&manifest).unwrap();
	fs::write(&manifest, text.replace("labora-dataset-1", "labora-dataset-2")).unwrap();
	assert!(matches!(Folder::open(&folder.path), Err(DatasetError::BadManifest { .. })));
	fs::write(&manifest, "{").unwrap();
	assert!(matches!(Folder::open(&folder.path), Err(DatasetError::BadManifest { .. })));
	let record = folder.record(&folder.manifest.train).unwrap();
	assert_eq!(folder.split_of(&record), Some(&folder.manifest.train));
	fs::remove_file(&manifest).unwrap();
	assert!(matches!(Folder::open(&folder.path), Err(DatasetError::Io { .. })));
}
