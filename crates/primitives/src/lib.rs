//! What the runtime, the node and the clients share: identifiers, tasks, units, workers, runtime APIs, limits.
//!
//! Rules that are pure functions of these types (which rows a step uses, what a unit's price has decayed to) stand here too, so that
//! everyone computes them the same way. What it is not: it holds no state; that is the pallets'.

#![cfg_attr(not(feature = "std"), no_std)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

extern crate alloc;

pub mod api;
mod dispute;
mod ids;
pub mod limits;
pub mod money;
mod task;
mod traits;
mod unit;
mod validator;
mod work;

pub use dispute::{
	answer_chunks, trace_chunks, trace_nodes, Answer, AnswerError, Claim, Demand, Dispute, Opened, Place, Source,
	StandingResult,
};
pub use ids::{AccountId, AssignmentId, Balance, BlockNumber, Hash, Moment, TaskId};
pub use task::{Dataset, Job, Phase, Recipe, SpecError, TaskInfo, TaskSpec, UnitState};
pub use traits::{
	AssignmentLedger, Clock, DisputeLedger, Fallen, OpenUnit, ResultLedger, RewardLedger, TaskBoard, TicketSource,
	UnitResolver, WorkCredit,
};
pub use unit::{
	Assignment, ResolveError, ResolvedWork, ResultError, ResultRecord, SealOpening, UnitKind, UnitMetrics, UnitRef,
	UnitResult,
};
pub use validator::{Candidate, CandidateInfo, RecentWork, SessionIndex};
pub use work::{
	LastSeal, MiningContext, Seal, Usefulness, WorkProof, Worker, ENGINE_ID, INHERENT_IDENTIFIER, KEY_TYPE,
};
