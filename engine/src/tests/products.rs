use labora_graph::{left_strip, right_strip, Activation, Product, Rounding};
use labora_pouw::{noise::Side, proof::noised_ticket, Difficulty, IdleSeed, Seed, TileIndex};
use labora_tensor::{ChunkSet, ElementType, Shape, Tensor};
use parking_lot::Mutex;
use std::collections::BTreeMap;

use super::{engines, kernels, name, tensor, Fill, FILLS};
use crate::{
	kernel::elementwise::{Scaling, Update},
	operand::Operand,
	product::{Finish, Job, Scratch, Tickets},
	Kernel,
};

fn operand(tensor: &Tensor, transposed: bool) -> Operand<'_> {
	Operand { bytes: tensor.bytes(), block_cols: tensor.shape().block_cols() as usize, transposed }
}

/// The strip of a tile, as the consensus definition reads it.
fn strip(tensor: &Tensor, side: Side, transposed: bool, tile: u32) -> Vec<i8> {
	let (shape, element) = (tensor.shape(), tensor.element());
	let chunks = if (side == Side::Left) != transposed {
		ChunkSet::row_strip(shape, element, tile)
	} else {
		ChunkSet::column_strip(shape, element, tile, 0, shape.block_rows())
	};
	let data = tensor.open(&chunks.unwrap()).unwrap().data;
	match side {
		Side::Left => left_strip(&data, transposed),
		Side::Right => right_strip(&data, transposed),
	}
}

/// Every ticket of a product is that of `noised_ticket`, and the output is the plain product's, whose sums are exact.
fn check(product: Product, fills: [Fill; 2], transposed: [bool; 2]) {
	let Product { m, k, n } = product;
	let matrix = |rows, cols, transposed, fill| {
		let shape = Shape { rows, cols };
		let Shape { rows, cols } = if transposed { shape.transposed() } else { shape };
		tensor(rows, cols, ElementType::I8, fill)
	};
	let (left, right) = (matrix(m, k, transposed[0], fills[0]), matrix(k, n, transposed[1], fills[1]));
	let seed = Seed([9; 32]);
	let mut expected_tickets = BTreeMap::new();
	let mut expected_sums = Vec::new();
	for row in 0..m / 32 {
		let a = strip(&left, Side::Left, transposed[0], row);
		for col in 0..n / 32 {
			let tile = TileIndex { row, col };
			let b = strip(&right, Side::Right, transposed[1], col);
			for a in a.chunks_exact(k as usize) {
				for j in 0..32 {
					let sum: i32 = (0..k as usize).map(|l| i32::from(a[l]) * i32::from(b[l * 32 + j])).sum();
					expected_sums.extend_from_slice(&sum.wrapping_neg().to_le_bytes());
				}
			}
			expected_tickets.insert(tile, noised_ticket(&seed, tile, &mut a.clone(), &mut b.clone()));
		}
	}
	let what = format!("{product:?} {fills:?} {transposed:?}");
	let job = Job { product, left: operand(&left, transposed[0]), right: operand(&right, transposed[1]) };
	let master = vec![0; (m * n * 4) as usize];
	// A rate of 0 makes the updated zeros the negated sums.
	let finish = Finish::Update { update: Update { rate: 0, k }, master: &master };
	for engine in engines(kernels()) {
		let mut scratch = Scratch::default();
		let mut out = vec![1; master.len()];
		engine.product(job, finish, None, &mut scratch, &mut out);
		assert!(out == expected_sums, "plain sums of {} for {what}", name(&engine));

		for finish in [finish, Finish::Discard] {
			let tickets = Mutex::new(BTreeMap::new());
			let take = |tile, ticket| tickets.lock().insert(tile, ticket).is_none();
			let mut out = vec![1; master.len()];
			engine.product(job, finish, Some(&Tickets { seed, take: &take }), &mut scratch, &mut out);
			let peeled = !matches!(finish, Finish::Discard);
			assert!(!peeled || out == expected_sums, "noised sums of {} for {what}", name(&engine));
			assert_eq!(tickets.into_inner(), expected_tickets, "tickets of {} for {what}, {peeled}", name(&engine));
		}
	}
}

const TRANSPOSED: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

#[test]
fn tickets_and_sums_of_all_transposes() {
	for transposed in TRANSPOSED {
		for k in [256, 288, 800] {
			check(Product { m: 96, k, n: 64 }, [Fill::Random(1), Fill::Random(2)], transposed);
		}
	}
}

#[test]
fn tickets_and_sums_of_extreme_values() {
	for a in FILLS {
		for b in FILLS {
			check(Product { m: 32, k: 256, n: 96 }, [a, b], [false, false]);
		}
		check(Product { m: 64, k: 2048, n: 32 }, [a, a], [true, false]);
	}
}

#[test]
fn tickets_and_sums_of_higher_ranks() {
	// 2,080, 8,160, 8,224, 8,256 and 8,288 end in a short chunk, of one, two or three blocks; 8,160 has the most chunks.
	for (k, transposed) in [
		(2016, [false, true]),
		(2080, [true, false]),
		(8160, [true, true]),
		(8192, [false, false]),
		(8224, [true, true]),
		(8256, [true, false]),
		(8288, [false, true]),
	] {
		check(Product { m: 64, k, n: 32 }, [Fill::Random(3), Fill::Random(4)], transposed);
	}
	// The largest sums and gathers.
	check(Product { m: 32, k: 16384, n: 32 }, [Fill::All(127), Fill::All(127)], [false, true]);
	check(Product { m: 32, k: 16384, n: 32 }, [Fill::All(-128), Fill::All(127)], [true, false]);
}

#[test]
fn every_section_can_have_another_seed() {
	let (m, k, n) = (128, 256, 96);
	let (left, right) =
		(tensor(m, k, ElementType::I8, Fill::Random(1)), tensor(k, n, ElementType::I8, Fill::Random(2)));
	let job = Job { product: Product { m, k, n }, left: operand(&left, false), right: operand(&right, false) };
	let master = vec![0; (m * n * 4) as usize];
	let finish = Finish::Update { update: Update { rate: 0, k }, master: &master };
	for engine in engines(kernels()) {
		let mut scratch = Scratch::default();
		let mut expected = vec![1; master.len()];
		engine.product(job, finish, None, &mut scratch, &mut expected);

		let mut out = vec![1; master.len()];
		let mut work = engine.start(job, finish, &mut out);
		work.section_macs = 0;
		let mut tickets = BTreeMap::new();
		for pass in 0.. {
			if work.is_done() {
				// One thread computes one section a pass: a column of its only panel.
				assert!(engine.threads() > 1 || pass == n / 32, "{}: {pass}", name(&engine));
				break;
			}
			let seed = Seed([pass as u8; 32]);
			let drawn = Mutex::new(Vec::new());
			let take = |tile, ticket| {
				drawn.lock().push((tile, ticket));
				true
			};
			let packed = engine.pack(&work, (pass != 1).then_some(&seed), &mut scratch);
			engine.advance(&mut work, &packed, Some(&take), &|| false);
			for (tile, ticket) in drawn.into_inner() {
				let mut a = strip(&left, Side::Left, false, tile.row);
				let mut b = strip(&right, Side::Right, false, tile.col);
				assert_eq!(ticket, noised_ticket(&seed, tile, &mut a, &mut b), "{} {pass} {tile:?}", name(&engine));
				assert_eq!(tickets.insert(tile, ticket), None);
			}
		}
		assert!(out == expected, "{}", name(&engine));
		assert!(!tickets.is_empty() && tickets.len() < (m * n / 1024) as usize);
	}
}

#[test]
fn elementwise_kernels_agree_with_the_arithmetic() {
	use labora_graph::arithmetic::{activate, quantize, rounding_bits, scale, sgd};
	let extremes = [0, 1, -1, i32::MAX, i32::MIN, 1 << 25, -(1 << 25), 255, 256, 257, 128, -128, i32::MAX - 100];
	let mut tile = [0i32; 1024];
	let random = super::bytes(4096, Fill::Random(5));
	for (at, (x, bytes)) in tile.iter_mut().zip(random.chunks_exact(4)).enumerate() {
		let random = i32::from_le_bytes(bytes.try_into().unwrap());
		*x = extremes.get(at).copied().unwrap_or(random >> (at % 31));
	}
	let master: Vec<u8> = tile.iter().rev().flat_map(|x| x.to_le_bytes()).collect();
	for kernel in kernels() {
		for shift in 0..=24 {
			for rounding in [Rounding::Nearest, Rounding::Stochastic] {
				for activation in [Activation::Identity, Activation::Relu] {
					let scaling = Scaling { shift, rounding, activation, key: 77, row: 65_504, col: 32 };
					let expected: Vec<_> = (0..1024u32)
						.map(|at| {
							let bits = rounding_bits(77, 65_504 + at / 32, 32 + at % 32);
							activate(scale(tile[at as usize], shift, rounding, bits), activation) as u8
						})
						.collect();
					let mut out = vec![0; 1024];
					kernel.scale(&scaling, &tile, &mut out);
					assert_eq!(out, expected, "{} {shift} {rounding:?} {activation:?}", kernel.name());
				}
			}
			let expected: Vec<_> = tile.iter().rev().map(|x| quantize(*x, shift) as u8).collect();
			let mut out = vec![0; 1024];
			kernel.quantize(shift, &master, &mut out);
			assert_eq!(out, expected, "{} {shift}", kernel.name());
		}
		for k in [32, 16384] {
			// A gradient is bounded by its product.
			let gradient = tile.map(|x| x.clamp(-3969 * k, 3969 * k));
			for rate in -16..=15 {
				let pairs = gradient.iter().zip(tile.iter().rev());
				let expected: Vec<_> = pairs.flat_map(|(g, x)| sgd(*x, *g, rate).to_le_bytes()).collect();
				let mut out = vec![0; 4096];
				kernel.update(Update { rate, k: k as u32 }, &gradient, &master, &mut out);
				assert_eq!(out, expected, "{} {rate} {k}", kernel.name());
			}
		}
	}
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_faster_of_two_kernels_is_found() {
	let Some(emulated) = Kernel::emulated() else { return eprintln!("SKIPPED: no kernel is emulated on this CPU") };
	// Each instruction of an emulated kernel takes a trap.
	let vectors = Kernel::best();
	for kernels in [[vectors, emulated], [emulated, vectors]] {
		assert_eq!(crate::Calibration::new(8).faster(kernels), vectors);
	}
}

#[test]
fn idle_proofs_verify() {
	let account = [5; 32];
	let seed = IdleSeed { genesis: &[1; 32], parent: &[2; 32], account: &account, nonce: 3 };
	// About 4 of the 1,024 tickets win.
	let difficulty = Difficulty((1 << 30) / 8 / 4);
	for engine in engines(Kernel::all()) {
		let proof = engine.idle(&seed, difficulty, &|| false).expect("a nonce with a winning ticket");
		assert!(proof.verify(&seed, difficulty).is_ok(), "{}", name(&engine));
		assert!(proof.verify(&IdleSeed { nonce: 4, ..seed }, difficulty).is_err());
		assert_eq!(engine.idle(&seed, Difficulty(u128::MAX), &|| false), None);
		assert_eq!(engine.idle(&seed, Difficulty(u128::MAX), &|| true), None);
	}
}
