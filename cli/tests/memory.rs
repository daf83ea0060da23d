//! What a unit takes of the memory, against what the chain's scheduler says that it takes.

mod common;

use std::{
	alloc::{GlobalAlloc, Layout, System},
	sync::{
		atomic::{AtomicUsize, Ordering},
		Arc,
	},
};

use labora_cli::{
	dataset::ImportOptions,
	models::draw,
	tasks::{training_spec, Terms, TrainingOptions},
};
use labora_engine::{Engine, Kernel, Miner, MiningTarget, UnitPlan};
use labora_pouw::{Difficulty, UsefulProof};

/// Counts the bytes in use, and the most that ever were.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all memory is the system allocator's; the counters only look on.
unsafe impl GlobalAlloc for Counting {
	unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
		let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
		MOST.fetch_max(used, Ordering::Relaxed);
		// SAFETY: as the caller's.
		unsafe { System.alloc(layout) }
	}

	unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
		USED.fetch_sub(layout.size(), Ordering::Relaxed);
		// SAFETY: as the caller's.
		unsafe { System.dealloc(at, layout) }
	}
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Mines, and never wins.
struct Hopeless;

impl Miner for Hopeless {
	fn target(&self) -> Option<MiningTarget> {
		Some(MiningTarget { genesis: [1; 32], parent: [2; 32], assignment: 3, difficulty: Difficulty(u128::MAX) })
	}

	fn won(&self, _: &MiningTarget, _: UsefulProof) {}
}

#[test]
fn a_unit_takes_no_more_than_its_task_says() {
	let dir = tempfile::tempdir().unwrap();
	let import = ImportOptions { batch: 512, test: Some(256), ..Default::default() };
	let folder = common::dataset(dir.path(), 2_304, 256, 4, import);
	// Much data and little else, wide layers, a large batch.
	for (layers, batch) in [(vec![32], 128), (vec![1_024, 1_024], 32), (vec![512, 512], 512)] {
		let options = TrainingOptions {
			layers: layers.clone(),
			recipe: None,
			batch,
			units: 1,
			steps: 2,
			rounds: 1,
			rate_drops: vec![],
			seed: 5,
			terms: Terms { price: 1_000, deadline: 100, escrow: None },
		};
		let spec = training_spec(&folder, &options).unwrap().spec;
		let program = Arc::new(spec.check().unwrap());
		let said = spec.unit_memory(&program) as usize;
		for kernel in Kernel::all() {
			let before = USED.load(Ordering::Relaxed);
			let split = folder.split_of(&spec.dataset).unwrap();
			let parameters = draw(spec.recipe.as_ref().unwrap(), &spec.graph);
			let plan = UnitPlan {
				program: program.clone(),
				context: spec.context(0, 0),
				features: Arc::new(folder.load(&split.features).unwrap()),
				features_commitment: spec.dataset.features,
				labels: Some(Arc::new(folder.load(&split.labels).unwrap())),
				labels_commitment: spec.dataset.labels,
				parameters: parameters.into_iter().map(Arc::new).collect(),
				batches: (0..spec.job.steps()).map(|step| spec.batch(0, 0, step)).collect(),
			};
			// Reading the inputs took more for a moment; what counts is the unit.
			MOST.store(USED.load(Ordering::Relaxed), Ordering::Relaxed);
			Engine::new(kernel, 1).run(&plan, &Hopeless).unwrap();
			let taken = MOST.load(Ordering::Relaxed) - before;
			let name = kernel.name();
			assert!(taken <= said, "{layers:?}, batch {batch}, {name}: {taken} bytes, not {said}");
			assert!(taken > said / 3, "{layers:?}, batch {batch}, {name}: {taken} bytes of {said} are a bad estimate");
		}
	}
}
