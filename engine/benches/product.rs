//! Throughput in multiply-accumulates per second (criterion prints them as elements): plain and mined products and units, for
//! every kernel that this CPU has, on one thread. Beside them, what it takes to check a product instead of computing it again.

#[path = "common/mod.rs"]
mod common;

use common::{perceptron, Hopeless};
use criterion::{Criterion, Throughput};
use labora_engine::{Calibration, Engine, Kernel, Miner, NoMiner};
use std::{hint::black_box, time::Duration};

fn products(c: &mut Criterion) {
	for size in [512u16, 1024, 2048] {
		let mut group = c.benchmark_group(format!("product/{size}"));
		group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
		let mut calibration = Calibration::new(size / 32);
		group.throughput(Throughput::Elements(calibration.macs()));
		for kernel in Kernel::all() {
			let engine = Engine::new(kernel, 1);
			for (mode, mined) in [("plain", false), ("mined", true)] {
				group.bench_function(format!("{}/{mode}", kernel.name()), |b| {
					b.iter(|| calibration.run(&engine, mined))
				});
			}
		}
	}
}

fn units(c: &mut Criterion) {
	let plan = perceptron(256, 512);
	let mut group = c.benchmark_group("unit/784-512-512-10");
	group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
	group.throughput(Throughput::Elements(plan.program.macs() * plan.batches.len() as u64));
	for kernel in Kernel::all() {
		let engine = Engine::new(kernel, 1);
		let miners: [(&str, &dyn Miner); 2] = [("plain", &NoMiner), ("mined", &Hopeless)];
		for (mode, miner) in miners {
			group.bench_function(format!("{}/{mode}", kernel.name()), |b| {
				b.iter(|| black_box(engine.run(&plan, miner).expect("a plan")));
			});
		}
	}
}

/// A prime, as large as lets operands times residues be summed up without reducing: 2^7 * 2^31 * 2^14 < 2^63.
const PRIME: i64 = (1 << 31) - 1;

/// A row-major matrix times a vector of residues, modulo [`PRIME`]; so many products are summed up before they are reduced.
#[inline(always)]
fn times<T: Copy + Into<i64>>(matrix: &[T], vector: &[i32], summed: usize) -> Vec<i32> {
	let part = |(row, vector): (&[T], &[i32])| {
		let products = row.iter().zip(vector).map(|(a, x)| (*a).into() * i64::from(*x));
		products.sum::<i64>() % PRIME
	};
	let row = |row: &[T]| row.chunks(summed).zip(vector.chunks(summed)).map(part).sum::<i64>();
	matrix.chunks(vector.len()).map(|line| row(line).rem_euclid(PRIME) as i32).collect()
}

/// Freivalds' check of `A B = C`: `A (B x) = C x` for a random `x`. A wrong `C` passes with a probability of 1 / [`PRIME`].
#[inline(always)]
fn is_product(a: &[i8], b: &[i8], c: &[i32], x: &[i32]) -> bool {
	times(a, &times(b, x, x.len()), x.len()) == times(c, x, 32)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn is_product_avx512(a: &[i8], b: &[i8], c: &[i32], x: &[i32]) -> bool {
	is_product(a, b, c, x)
}

/// The check as this CPU does it best.
fn check(a: &[i8], b: &[i8], c: &[i32], x: &[i32]) -> bool {
	#[cfg(target_arch = "x86_64")]
	if is_x86_feature_detected!("avx512bw")
		&& is_x86_feature_detected!("avx512dq")
		&& is_x86_feature_detected!("avx512vl")
	{
		// SAFETY: the CPU has it.
		return unsafe { is_product_avx512(a, b, c, x) };
	}
	is_product(a, b, c, x)
}

fn checks(criterion: &mut Criterion) {
	for size in [512usize, 1024, 2048] {
		let operands = |seed: usize| -> Vec<i8> {
			(0..size * size).map(|i| ((i + seed).wrapping_mul(0x9E37_79B1) >> 9) as i8 >> 1).collect()
		};
		let (a, b) = (operands(1), operands(2));
		let mut c = vec![0i32; size * size];
		for (row, a) in c.chunks_mut(size).zip(a.chunks(size)) {
			for (a, b) in a.iter().zip(b.chunks(size)) {
				row.iter_mut().zip(b).for_each(|(c, b)| *c += i32::from(*a) * i32::from(*b));
			}
		}
		let x: Vec<i32> = (0..size as i64).map(|i| ((i + 1) * 0x5851_F42D % PRIME) as i32).collect();
		assert!(check(&a, &b, &c, &x));
		let mut wrong = c.clone();
		wrong[size + 1] += 1;
		assert!(!check(&a, &b, &wrong, &x));
		let mut group = criterion.benchmark_group(format!("product/{size}"));
		group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
		group.throughput(Throughput::Elements((size * size * size) as u64));
		group.bench_function("freivalds", |bencher| bencher.iter(|| check(&a, &b, black_box(&c), &x)));
	}
}

fn main() {
	let mut criterion = Criterion::default().configure_from_args();
	products(&mut criterion);
	checks(&mut criterion);
	units(&mut criterion);
	criterion.final_summary();
}
