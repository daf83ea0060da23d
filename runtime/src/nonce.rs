//! An extrinsic's number, and its place in pools.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::{
	ensure,
	pallet_prelude::TransactionSource,
	storage::{with_transaction_unchecked, TransactionOutcome},
	traits::{
		fungible::Inspect,
		tokens::{Fortitude, Preservation},
	},
	weights::Weight,
};
use scale_info::TypeInfo;
use sp_runtime::{
	traits::{
		AsSystemOriginSigner, DispatchInfoOf, Dispatchable, Implication, PostDispatchInfoOf, TransactionExtension,
		ValidateResult,
	},
	transaction_validity::{InvalidTransaction, TransactionPriority, TransactionValidityError},
	DispatchResult,
};

use crate::{AccountId, Balance, Balances, Nonce, Runtime, RuntimeCall, RuntimeOrigin, System, TransactionPayment};

type Inner = frame_system::CheckNonce<Runtime>;

/// Extrinsics of one account that may wait at a time, beside answers and results.
pub const MAX_WAITING: Nonce = 64;
/// What answers and results have before all others: as much is a tip of 1,800 LAB on the smallest call.
const FIRST: TransactionPriority = TransactionPriority::MAX / 2;
/// What challenges and reports have.
const SECOND: TransactionPriority = TransactionPriority::MAX / 4;

/// [`frame_system::CheckNonce`], under its name and in its form, and rules that keep pools open.
///
/// A pool keeps what promises most, and checks for each extrinsic alone whether its account can pay. So who can pay for one could fill a pool
/// with a chain of them, and keep the answers of others out until they are overdue, for the price of one a block. Therefore
/// - answers, results, challenges and reports go before all others, whatever those tip, if they would succeed now: an answer and a result of
///   the worker's own, and one for each demand and unit; a challenge or a report if nothing of its account comes before it;
/// - of all else few of an account's may wait, and only if it can pay for as many as large.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct CheckNonce(Inner);

impl From<Nonce> for CheckNonce {
	fn from(nonce: Nonce) -> Self {
		Self(Inner::from(nonce))
	}
}

/// What a call has before others, and what a pool has to hold only once.
struct Urgency {
	priority: TransactionPriority,
	once: Option<Vec<u8>>,
}

impl Urgency {
	/// Of a call with so many of its account's before it; none if nobody loses by it when it comes late, or if it would not succeed now.
	fn of(call: &RuntimeCall, who: &AccountId, before: Nonce) -> Option<Self> {
		use pallet_disputes::Call as Disputes;
		use pallet_tasks::Call as Tasks;
		let urgency = match call {
			RuntimeCall::Disputes(Disputes::answer { assignment, claim, .. }) => {
				let result = pallet_tasks::Standing::<Runtime>::get(assignment)?;
				(result.worker == *who)
					.then(|| Self { priority: FIRST, once: Some((b"answer", who, assignment, claim).encode()) })
			}
			RuntimeCall::Tasks(Tasks::submit_result { assignment, .. }) => {
				Some(Self { priority: FIRST, once: Some((b"result", who, assignment).encode()) })
			}
			RuntimeCall::Disputes(_) => (before == 0).then_some(Self { priority: SECOND, once: None }),
			_ => None,
		}?;
		let origin = RuntimeOrigin::signed(who.clone());
		let tried = with_transaction_unchecked(|| TransactionOutcome::Rollback(call.clone().dispatch(origin).is_ok()));
		tried.then_some(urgency)
	}
}

impl TransactionExtension<RuntimeCall> for CheckNonce {
	const IDENTIFIER: &'static str = <Inner as TransactionExtension<RuntimeCall>>::IDENTIFIER;
	type Implicit = ();
	type Val = <Inner as TransactionExtension<RuntimeCall>>::Val;
	type Pre = <Inner as TransactionExtension<RuntimeCall>>::Pre;

	fn weight(&self, call: &RuntimeCall) -> Weight {
		self.0.weight(call)
	}

	fn validate(
		&self,
		origin: RuntimeOrigin,
		call: &RuntimeCall,
		info: &DispatchInfoOf<RuntimeCall>,
		len: usize,
		implicit: Self::Implicit,
		inherited: &impl Implication,
		source: TransactionSource,
	) -> ValidateResult<Self::Val, RuntimeCall> {
		let signer = origin.as_system_origin_signer().cloned();
		let (mut valid, checked, origin) = self.0.validate(origin, call, info, len, implicit, inherited, source)?;
		// In a block nothing waits.
		if let Some(who) = signer.filter(|_| source != TransactionSource::InBlock) {
			let before = self.0 .0.saturating_sub(System::account_nonce(&who));
			match Urgency::of(call, &who, before) {
				Some(urgency) => {
					valid.priority = valid.priority.saturating_add(urgency.priority);
					valid.provides.extend(urgency.once);
				}
				None if before > 0 => {
					ensure!(before < MAX_WAITING, InvalidTransaction::Future);
					let fee = TransactionPayment::compute_fee(len as u32, info, 0);
					let payable = Balances::reducible_balance(&who, Preservation::Preserve, Fortitude::Polite);
					ensure!(fee.saturating_mul(Balance::from(before)) <= payable, InvalidTransaction::Payment);
				}
				None => {}
			}
		}
		Ok((valid, checked, origin))
	}

	fn prepare(
		self,
		checked: Self::Val,
		origin: &RuntimeOrigin,
		call: &RuntimeCall,
		info: &DispatchInfoOf<RuntimeCall>,
		len: usize,
	) -> Result<Self::Pre, TransactionValidityError> {
		self.0.prepare(checked, origin, call, info, len)
	}

	fn post_dispatch_details(
		prepared: Self::Pre,
		info: &DispatchInfoOf<RuntimeCall>,
		done: &PostDispatchInfoOf<RuntimeCall>,
		len: usize,
		result: &DispatchResult,
	) -> Result<Weight, TransactionValidityError> {
		Inner::post_dispatch_details(prepared, info, done, len, result)
	}
}
