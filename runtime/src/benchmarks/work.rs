//! `pallet-work`.

use alloc::vec::Vec;
use frame_benchmarking::v2::*;
use frame_support::traits::{OnFinalize, OnInitialize};
use labora_graph::OpIndex;
use labora_pouw::{
	difficulty::{Anchor, Schedule},
	Difficulty, IdleProof, TileIndex, UsefulProof,
};
use labora_primitives::{AssignmentId, Phase, UnitKind, UnitState, Usefulness, WorkProof};
use labora_tensor::{Commitment, Opening};
use pallet_work::{HeldRewards, NextDifficulty, Proved, Span, SPANS};
use sp_core::bounded::BoundedVec;

use super::setup::*;
use crate::{AccountId, Runtime, RuntimeOrigin, Work};

/// The pallet.
pub struct Pallet<T>(core::marker::PhantomData<T>);
/// Only this runtime.
pub trait Config: frame_system::Config<AccountId = AccountId> {}
impl Config for Runtime {}

fn full_spans() {
	let spans: Vec<_> = (0..SPANS).map(|start| Span { start, usefulness: Usefulness::default() }).collect();
	pallet_work::Spans::<Runtime>::put(BoundedVec::truncate_from(spans));
}

const TILE: TileIndex = TileIndex { row: 0, col: 0 };

/// A proof that opens about `chunks` chunks, and the state in which it holds.
fn useful(chunks: u32) -> Result<UsefulProof, BenchmarkError> {
	let blocks = (chunks / 2).max(labora_graph::MIN_ELIGIBLE_K / 32);
	let (left, right) = (tensor_bytes(blocks), tensor_bytes(blocks));
	let who = worker("worker", 0);
	begin(&who);
	NextDifficulty::<Runtime>::put(Difficulty(1));
	full_spans();
	let mut spec = training(blocks, 1, PARAMETERS);
	spec.dataset.features = Commitment::of(&left);
	let (task, _) = task(0, &spec, Phase::Units, alloc::vec![UnitState::Assigned(AssignmentId(0))]);
	assign(0, &who, unit(task, UnitKind::Steps(0)));
	let program = spec.check().map_err(|_| "a good task")?;
	let op = OpIndex(PRODUCT.into());
	let work = spec.resolve(&program, 1, 0, op, TILE).map_err(|_| "a product")?;
	Ok(UsefulProof {
		assignment: 0,
		op,
		tile: TILE,
		a: Commitment::of(&left),
		b: Commitment::of(&right),
		strip_a: Opening::of(&left, &work.a.chunks).ok_or("a strip")?,
		strip_b: Opening::of(&right, &work.b.chunks).ok_or("a strip")?,
	})
}

#[benchmarks]
mod benchmarks {
	use super::*;

	/// The inner dimension grows with the opened chunks, up to 16,384. (Siblings count as chunks, by their bytes, and cost less.)
	#[benchmark]
	fn prove_useful(c: Linear<16, 1024>) -> Result<(), BenchmarkError> {
		let proof = useful(c)?;
		assert!(pallet_work::proof_chunks(&proof) <= c);
		#[block]
		{
			Work::prove(RuntimeOrigin::none(), WorkProof::Useful(proof))?;
		}
		assert!(HeldRewards::<Runtime>::contains_key(AssignmentId(0)));
		Ok(())
	}

	/// The ticket does not win: all the work was done for nothing.
	#[benchmark(extra)]
	fn prove_useful_refused(c: Linear<16, 1024>) -> Result<(), BenchmarkError> {
		let proof = useful(c)?;
		NextDifficulty::<Runtime>::put(Difficulty(u128::MAX));
		let proved;
		#[block]
		{
			proved = Work::prove(RuntimeOrigin::none(), WorkProof::Useful(proof));
		}
		assert_eq!(proved, Err(pallet_work::Error::<Runtime>::TicketAboveTarget.into()));
		Ok(())
	}

	#[benchmark]
	fn prove_idle() -> Result<(), BenchmarkError> {
		let who = worker("worker", 0);
		begin(&who);
		NextDifficulty::<Runtime>::put(Difficulty(1));
		full_spans();
		#[block]
		{
			Work::prove(RuntimeOrigin::none(), WorkProof::Idle(IdleProof { nonce: 7, tile: TILE }))?;
		}
		assert!(Proved::<Runtime>::get());
		Ok(())
	}

	/// Of a block that ends a span.
	#[benchmark]
	fn block_hooks() -> Result<(), BenchmarkError> {
		begin(&worker("worker", 0));
		full_spans();
		let floor = Difficulty(1 << 20);
		let schedule = Schedule { block_time: 10_000, half_life: 1_800_000, floor, max_lag: 3_600_000 };
		pallet_work::DifficultySchedule::<Runtime>::put(schedule);
		let anchor = Anchor { height: 1, time: 1_600_000_000_000, difficulty: Difficulty(1 << 40) };
		pallet_work::DifficultyAnchor::<Runtime>::put(anchor);
		Proved::<Runtime>::put(true);
		#[block]
		{
			<Work as OnInitialize<_>>::on_initialize(NOW);
			<Work as OnFinalize<_>>::on_finalize(NOW);
		}
		assert!(NextDifficulty::<Runtime>::get().0 > 0);
		Ok(())
	}
}
