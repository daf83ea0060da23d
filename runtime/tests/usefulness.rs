//! What is counted of the chain's usefulness, and what an upgrade makes of older counts.

mod chain;

use chain::*;
use frame_support::{assert_ok, traits::StorageVersion};
use labora_primitives::AssignmentId;
use labora_runtime::{constants::*, Executive, Runtime, Work};
use pallet_work::{migrations, Span, SPANS};
use sp_core::bounded::BoundedVec;

type Migration = migrations::UncheckedSpansWithStarts<Runtime>;

fn stands(id: AssignmentId) -> bool {
	pallet_tasks::Standing::<Runtime>::contains_key(id)
}

#[test]
fn a_result_that_falls_is_taken_off_the_span_it_was_counted_in() {
	new_chain().execute_with(|| {
		blocks(SPAN_BLOCKS - 3);
		block(&OTHER, || {
			register_worker(&MINER, 4);
			register_task(training_spec(), 100 * PRICE)
		});
		// One result before the span ends, the other after; nobody answers their audits.
		let units = assignments(&MINER);
		let accept = |index: usize| {
			let (output, _) = run(&training_spec(), &units[index], &[initial_parameter()]);
			let result = result_of(&training_spec(), &units[index], &output);
			block(&OTHER, || submit(&MINER, units[index].id, result).expect("a good result"));
			Work::recent().accepted
		};
		let one = accept(0);
		assert!(one > 0);
		blocks(1);
		let spans = pallet_work::Spans::<Runtime>::get();
		assert_eq!(spans.iter().map(|span| span.start).collect::<Vec<_>>(), [1, SPAN_BLOCKS + 1]);
		assert_eq!(accept(1), 2 * one);
		while units.iter().any(|unit| stands(unit.id)) {
			blocks(1);
		}
		let accepted: Vec<_> =
			pallet_work::Spans::<Runtime>::get().iter().map(|span| span.usefulness.accepted).collect();
		assert_eq!(accepted, [0, 0]);
		assert_eq!(pallet_work::WorkTotals::<Runtime>::get().accepted, 0);
	});
}

/// The spans as version 1 kept them, and its number.
fn as_version_1() -> Vec<Span> {
	let spans = pallet_work::Spans::<Runtime>::get().into_inner();
	let counts = spans.iter().map(|span| span.usefulness).collect();
	migrations::v1::Spans::<Runtime>::put(BoundedVec::truncate_from(counts));
	StorageVersion::new(1).put::<Work>();
	spans
}

#[test]
fn spans_of_version_1_are_given_their_starts() {
	new_chain().execute_with(|| {
		// Before the first block, within a span, at its ends, and when the first spans are forgotten.
		for until in [0, 1, SPAN_BLOCKS - 1, SPAN_BLOCKS, SPAN_BLOCKS + 1, SPAN_BLOCKS * (SPANS + 1) + 7] {
			blocks(until - labora_runtime::System::block_number());
			let (spans, before) = (as_version_1(), Migration::before());
			assert_ne!(Executive::execute_on_runtime_upgrade(), Default::default());
			assert_ok!(Migration::check(before));
			assert_eq!(StorageVersion::get::<Work>(), pallet_work::STORAGE_VERSION);
			assert_eq!(pallet_work::Spans::<Runtime>::get(), spans, "after block {until}");
			// Once is enough.
			Executive::execute_on_runtime_upgrade();
			assert_eq!(pallet_work::Spans::<Runtime>::get(), spans);
		}
	});
}

#[test]
fn a_migration_that_loses_something_is_found() {
	new_chain().execute_with(|| {
		blocks(SPAN_BLOCKS + 1);
		as_version_1();
		let before = Migration::before();
		Executive::execute_on_runtime_upgrade();
		let good = pallet_work::Spans::<Runtime>::get();
		let refused = |change: &dyn Fn(&mut BoundedVec<Span, _>)| {
			let mut spans = good.clone();
			change(&mut spans);
			pallet_work::Spans::<Runtime>::put(spans);
			assert!(Migration::check(before).is_err());
		};
		refused(&|spans| spans.truncate(1));
		refused(&|spans| spans[0].usefulness.spent += 1);
		refused(&|spans| spans[1].start = spans[0].start);
		refused(&|spans| spans[1].start += SPAN_BLOCKS);
	});
}
