//! The chain's runtime API and the node's own methods, one function each.

use labora_primitives::{
	AccountId, Assignment, AssignmentId, CandidateInfo, Dispute, LastSeal, MiningContext, ResultRecord, StandingResult,
	TaskId, TaskInfo, TaskSpec, Usefulness, Worker,
};
use labora_tensor::Commitment;
use subxt::{rpcs::rpc_params, utils::H256};

use super::{bytes, Client, ClientError};
use crate::hexes::to_hex;

/// Bytes of a tensor in one request. As hexadecimal they are twice as many, and a node takes requests of up to 15 MB.
pub const CHUNK_BYTES: usize = 4 << 20;

/// The node's error for a part of an upload that is not the next one. Its data say where the next one begins.
const OFFSET_MISMATCH: i32 = 14_006;

/// Whether the node tells another place to continue an upload at.
fn continues(data: &serde_json::Value, offset: u64, total: u64) -> bool {
	data["expected"].as_u64().is_some_and(|expected| expected != offset && expected < total)
}

macro_rules! runtime_api {
	($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
		impl Client {$(
			$(#[$doc])*
			///
			/// Asked at a block, or at the best one.
			pub async fn $name(&self, at: Option<H256> $(, $arg: $ty)*) -> Result<$out, ClientError> {
				self.runtime(at, concat!("LaboraApi_", stringify!($name)), &($($arg,)*)).await
			}
		)*}
	};
}

runtime_api! {
	/// Difficulty of the next block, and a miner's assignments.
	mining_context(worker: AccountId) -> MiningContext;
	/// A running assignment.
	assignment(assignment: AssignmentId) -> Option<Assignment>;
	/// The number of tasks ever registered.
	task_count() -> u32;
	/// A task as registered.
	task_spec(task: TaskId) -> Option<TaskSpec>;
	/// Where a task is.
	task_info(task: TaskId) -> Option<TaskInfo>;
	/// Commitments of the master parameters that a round starts from. The round after the last gives the result.
	round_parameters(task: TaskId, round: u32) -> Option<Vec<Commitment>>;
	/// The accepted result of a unit.
	unit_result(task: TaskId, round: u32, unit: u16) -> Option<ResultRecord>;
	/// The classes that an inference unit gave.
	task_output(task: TaskId, unit: u16) -> Option<Vec<u8>>;
	/// A bonded miner.
	worker(account: AccountId) -> Option<Worker>;
	/// The validators, and who may become one.
	candidates() -> Vec<CandidateInfo>;
	/// How useful the chain's work was so far.
	usefulness() -> Usefulness;
	/// How useful the work of the last blocks was.
	recent_usefulness() -> Usefulness;
	/// An accepted result whose window runs.
	standing_result(assignment: AssignmentId) -> Option<StandingResult>;
	/// The assignments whose results' windows run.
	standing_results() -> Vec<AssignmentId>;
	/// The results of a worker, or of all, of which something is to be shown.
	disputes(worker: Option<AccountId>) -> Vec<Dispute>;
	/// What sealed the block.
	last_seal() -> Option<LastSeal>;
}

impl Client {
	/// Bytes of a tensor that the node holds whole. None: it does not.
	pub async fn tensor_size(&self, commitment: &Commitment) -> Result<Option<u64>, ClientError> {
		self.request("labora_tensorSize", rpc_params![to_hex(commitment)]).await
	}

	/// Gives the node a tensor's bytes, in order, unless it holds them. `progress` is called with bytes done.
	pub async fn upload(
		&self,
		commitment: &Commitment,
		bytes: &[u8],
		mut progress: impl FnMut(u64),
	) -> Result<(), ClientError> {
		let total = bytes.len() as u64;
		if self.tensor_size(commitment).await? == Some(total) {
			progress(total);
			return Ok(());
		}
		let mut offset = 0;
		while offset < total {
			let from = usize::try_from(offset).unwrap_or(bytes.len()).min(bytes.len());
			let chunk = &bytes[from..bytes.len().min(from + CHUNK_BYTES)];
			let params = rpc_params![to_hex(commitment), total, offset, to_hex(chunk)];
			match self.request::<serde_json::Value>("labora_tensorUpload", params).await {
				Ok(_) => offset += chunk.len() as u64,
				// An upload that was begun before is continued where it stopped.
				Err(ClientError::Refused { code: OFFSET_MISMATCH, data, .. }) if continues(&data, offset, total) => {
					offset = data["expected"].as_u64().unwrap_or(total);
				}
				Err(error) => return Err(error),
			}
			progress(offset);
		}
		Ok(())
	}

	/// Reads a whole tensor from the node and checks it against its commitment. `progress` is called with bytes done and to do.
	pub async fn download(
		&self,
		commitment: &Commitment,
		mut progress: impl FnMut(u64, u64),
	) -> Result<Vec<u8>, ClientError> {
		const METHOD: &str = "labora_tensorRead";
		let bad = |reason: String| ClientError::BadAnswer { method: METHOD.into(), reason };
		let total = self.tensor_size(commitment).await?;
		let total = total.ok_or_else(|| ClientError::NoTensor { url: self.url.clone(), commitment: *commitment })?;
		let mut tensor: Vec<u8> = Vec::new();
		while (tensor.len() as u64) < total {
			let (offset, left) = (tensor.len() as u64, total - tensor.len() as u64);
			let len = left.min(CHUNK_BYTES as u64);
			let chunk: String = self.request(METHOD, rpc_params![to_hex(commitment), offset, len]).await?;
			let chunk = bytes(METHOD, &chunk)?;
			if chunk.is_empty() || chunk.len() as u64 > len {
				return Err(bad(format!("{} bytes instead of {len}", chunk.len())));
			}
			tensor.extend(chunk);
			progress(tensor.len() as u64, total);
		}
		let found = Commitment::of(&tensor);
		(found == *commitment)
			.then_some(tensor)
			.ok_or_else(|| bad(format!("the bytes commit to {found}, not {commitment}")))
	}

	/// What the node's miner is doing, in its own words. None where it does not mine.
	pub async fn miner_status(&self) -> Result<Option<serde_json::Value>, ClientError> {
		match self.request("labora_minerStatus", rpc_params![]).await {
			Ok(status) => Ok(status),
			// A node without a miner need not know the method.
			Err(ClientError::MissingMethod { .. }) => Ok(None),
			Err(error) => Err(error),
		}
	}
}
