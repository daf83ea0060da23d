//! What verifying a work proof costs here.
//!
//! The runtime verifies a proof while it executes the block, among everything else; so the proof of the best block is now and then applied
//! once more on its own, on the parent's state, and only that is timed. Nothing is written.

use std::time::{Duration, Instant};

use codec::{Decode, Encode};
use labora_primitives::{Hash, WorkProof};
use labora_runtime::{opaque::Block, RuntimeCall, UncheckedExtrinsic};
use prometheus_endpoint::{exponential_buckets, register, HistogramOpts, HistogramVec, PrometheusError, Registry};
use sc_client_api::BlockBackend;
use sp_api::{ApiExt, CallContext, Core, ProvideRuntimeApi};
use sp_block_builder::BlockBuilder;
use sp_runtime::traits::Header;

use super::ReadError;
use crate::service::FullClient;

/// How often a proof is verified again: a thousandth of one thread's time at most, at ten milliseconds a proof.
const PAUSE: Duration = Duration::from_secs(10);

/// Times the verification of work proofs.
pub(super) struct Timer {
	seconds: HistogramVec,
	bytes: HistogramVec,
	/// The last block whose proof was verified again, and when.
	last: Option<(Hash, Instant)>,
}

impl Timer {
	pub(super) fn new(registry: &Registry) -> Result<Self, PrometheusError> {
		let histogram = |name: &str, help: &str, buckets| {
			let options = HistogramOpts::new(name, help).buckets(buckets);
			register(HistogramVec::new(options, &["work"])?, registry)
		};
		Ok(Self {
			seconds: histogram(
				"labora_proof_verification_seconds",
				"Verifying a block's work proof in the runtime, sampled",
				exponential_buckets(0.0002, 2.0, 10)?,
			)?,
			bytes: histogram(
				"labora_proof_bytes",
				"Bytes of a block's work proof, sampled",
				exponential_buckets(64.0, 4.0, 9)?,
			)?,
			last: None,
		})
	}

	/// Verifies the proof of the best block again, if the last time is long ago.
	pub(super) fn sample(&mut self, client: &FullClient, best: Hash) -> Result<(), ReadError> {
		if self.last.is_some_and(|(block, when)| block == best || when.elapsed() < PAUSE) {
			return Ok(());
		}
		self.last = Some((best, Instant::now()));
		// The genesis block has no proof.
		if let Some((proof, took)) = verify(client, best)? {
			let work = match proof {
				WorkProof::Useful(_) => "useful",
				WorkProof::Idle(_) => "idle",
			};
			self.seconds.with_label_values(&[work]).observe(took.as_secs_f64());
			self.bytes.with_label_values(&[work]).observe(proof.encoded_size() as f64);
		}
		Ok(())
	}
}

/// Applies a block's inherents on its parent's state up to the work proof. Gives the proof, and how long it took alone.
fn verify(client: &FullClient, block: Hash) -> Result<Option<(WorkProof, Duration)>, ReadError> {
	let (Some(mut header), Some(body)) = (client.header(block)?, client.block_body(block)?) else { return Ok(None) };
	// As it is executed: the seal signs what comes before it.
	header.digest_mut().pop();
	let parent = *header.parent_hash();
	let mut api = client.runtime_api();
	api.set_call_context(CallContext::Onchain { import: false });
	api.initialize_block(parent, &header)?;
	for extrinsic in body {
		let decoded = UncheckedExtrinsic::decode(&mut &extrinsic.encode()[..])?;
		let began = Instant::now();
		// That it is right was decided when the block was imported.
		let _ = BlockBuilder::<Block>::apply_extrinsic(&*api, parent, extrinsic)?;
		if let RuntimeCall::Work(pallet_work::Call::prove { proof }) = decoded.function {
			return Ok(Some((proof, began.elapsed())));
		}
	}
	Ok(None)
}
