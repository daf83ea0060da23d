//! Runtime APIs for the miner and for clients.

use alloc::vec::Vec;
use labora_tensor::Commitment;

use crate::{
	AccountId, Assignment, AssignmentId, CandidateInfo, Dispute, LastSeal, MiningContext, ResultRecord, Seal,
	StandingResult, TaskId, TaskInfo, TaskSpec, Usefulness, Worker,
};

sp_api::decl_runtime_apis! {
	/// What Labora's node and clients ask of the chain.
	pub trait LaboraApi {
		/// Difficulty of the next block, and a miner's assignments.
		fn mining_context(worker: AccountId) -> MiningContext;
		/// The blocks that an assignment sealed so far.
		fn seals(assignment: AssignmentId) -> Vec<Seal>;
		/// A running assignment.
		fn assignment(assignment: AssignmentId) -> Option<Assignment>;
		/// The number of tasks ever registered: their identifiers are `0..count`.
		fn task_count() -> u32;
		/// A task as registered.
		fn task_spec(task: TaskId) -> Option<TaskSpec>;
		/// Where a task is.
		fn task_info(task: TaskId) -> Option<TaskInfo>;
		/// Commitments of the master parameters that a round starts from. The round after the last gives the result.
		fn round_parameters(task: TaskId, round: u32) -> Option<Vec<Commitment>>;
		/// The accepted result of a unit.
		fn unit_result(task: TaskId, round: u32, unit: u16) -> Option<ResultRecord>;
		/// An accepted result whose window runs.
		fn standing_result(assignment: AssignmentId) -> Option<StandingResult>;
		/// The assignments whose results' windows run.
		fn standing_results() -> Vec<AssignmentId>;
		/// The results of a worker, or of all, of which something is to be shown.
		fn disputes(worker: Option<AccountId>) -> Vec<Dispute>;
		/// The classes that an inference unit gave.
		fn task_output(task: TaskId, unit: u16) -> Option<Vec<u8>>;
		/// A bonded miner.
		fn worker(account: AccountId) -> Option<Worker>;
		/// The validators, and who may become one.
		fn candidates() -> Vec<CandidateInfo>;
		/// How useful the chain's work was so far.
		fn usefulness() -> Usefulness;
		/// How useful the work of the last blocks was.
		fn recent_usefulness() -> Usefulness;
		/// What sealed this block.
		fn last_seal() -> Option<LastSeal>;
	}
}
