//! An extrinsic's number, and its place in pools.

use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::{ensure, pallet_prelude::TransactionSource, weights::Weight};
use scale_info::TypeInfo;
use sp_runtime::{
	traits::{
		AsSystemOriginSigner, DispatchInfoOf, Implication, PostDispatchInfoOf, TransactionExtension, ValidateResult,
	},
	transaction_validity::{InvalidTransaction, TransactionPriority, TransactionValidityError},
	DispatchResult,
};

use crate::{Nonce, Runtime, RuntimeCall, RuntimeOrigin, System};

type Inner = frame_system::CheckNonce<Runtime>;

/// Extrinsics of one account that may wait at a time.
pub const MAX_WAITING: Nonce = 64;
/// What calls that may not be kept out have before others. As much is a tip of 1,800 LAB on the smallest call.
const BEFORE_OTHERS: TransactionPriority = TransactionPriority::MAX / 2;

/// [`frame_system::CheckNonce`], under its name and in its form, and two rules that keep pools open.
///
/// A pool keeps what promises most, and checks for each extrinsic alone whether its account can pay. So an account that can pay for one could
/// fill a pool with a chain of them, and keep the answers of others out until they are overdue, for the price of one a block. Therefore few of
/// an account's may wait, and answers, challenges, results and reports go before all others, whatever those tip.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct CheckNonce(Inner);

impl From<Nonce> for CheckNonce {
	fn from(nonce: Nonce) -> Self {
		Self(Inner::from(nonce))
	}
}

/// Whether somebody loses by it if a call comes too late.
fn is_urgent(call: &RuntimeCall) -> bool {
	matches!(call, RuntimeCall::Disputes(_) | RuntimeCall::Tasks(pallet_tasks::Call::submit_result { .. }))
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
		if let Some(who) = origin.as_system_origin_signer() {
			let waiting = self.0 .0.saturating_sub(System::account_nonce(who));
			ensure!(waiting < MAX_WAITING, InvalidTransaction::Future);
		}
		let (mut valid, checked, origin) = self.0.validate(origin, call, info, len, implicit, inherited, source)?;
		if is_urgent(call) {
			valid.priority = valid.priority.saturating_add(BEFORE_OTHERS);
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
