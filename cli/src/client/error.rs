use labora_tensor::Commitment;
use subxt::{
	error::{BackendError, DispatchError, ExtrinsicError, RpcError, TokenError, TransactionEventsError},
	rpcs,
};

use super::METADATA_HINT;

/// Transaction pool: the transaction is invalid, for the reason in the data.
const POOL_INVALID: i32 = 1010;
/// Errors that mean the same in several pallets: the account cannot pay.
const POOR: [&str; 3] = ["InsufficientBalance", "InsufficientFunds", "BondTooSmall"];

/// Why the chain could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
	/// Nobody answers.
	#[error(
		"no node answers at {url}: {reason}\nStart one with `labora-node --dev --mine`, or name another with --url."
	)]
	NoNode {
		/// The address.
		url: String,
		/// What the system said.
		reason: String,
	},
	/// The connection broke.
	#[error("the connection to {url} was lost: {reason}")]
	ConnectionLost {
		/// The address.
		url: String,
		/// What the system said.
		reason: String,
	},
	/// The node knows no such method.
	#[error("{url} does not know `{method}`: is it a Labora node of this version?")]
	MissingMethod {
		/// The address.
		url: String,
		/// The method.
		method: String,
	},
	/// The node answered with an error.
	#[error("{method}: {message}")]
	Refused {
		/// The method.
		method: String,
		/// The node's number for it.
		code: i32,
		/// The node's words.
		message: String,
		/// What the node adds, as JSON.
		data: serde_json::Value,
	},
	/// The answer is not what the method should give.
	#[error("{method}: the answer cannot be read ({reason}); {METADATA_HINT}")]
	BadAnswer {
		/// The method.
		method: String,
		/// Why.
		reason: String,
	},
	/// The node does not keep a tensor.
	#[error("{url} does not keep tensor {commitment}: ask a node that does, or wait until this one has fetched it")]
	NoTensor {
		/// The address.
		url: String,
		/// The tensor.
		commitment: Commitment,
	},
	/// The runtime has no such call, event or constant.
	#[error("the chain's runtime has no `{0}`; {METADATA_HINT}")]
	NotInRuntime(String),
	/// The call was executed and failed.
	#[error("{0}")]
	Failed(#[from] CallFailure),
	/// The account cannot pay.
	#[error("not enough funds: {account} cannot pay for this ({reason})")]
	NotEnoughFunds {
		/// The account.
		account: String,
		/// The chain's words.
		reason: String,
	},
	/// The pool does not take the transaction, or dropped it.
	#[error("the transaction was not taken: {0}")]
	NotTaken(String),
	/// The pool knows of no block as late as those that the transaction was signed by.
	#[error("the transaction pool of {url} is behind its chain: try again when the next block has come")]
	PoolBehind {
		/// The address.
		url: String,
	},
	/// The transaction was not included in time.
	#[error("the transaction waits for {seconds} s and is in no block: does anyone mine?")]
	NotIncluded {
		/// How long.
		seconds: u64,
	},
	/// Anything else of the library below.
	#[error("{0}")]
	Subxt(Box<subxt::Error>),
}

/// A call that was executed and failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{pallet}.{name}: {docs}")]
pub struct CallFailure {
	/// The pallet, or `System` for what any call can fail with.
	pub pallet: String,
	/// The error's name.
	pub name: String,
	/// What the runtime's documentation says of it.
	pub docs: String,
}

impl ClientError {
	/// Whether the node can no longer be reached: trying again may help.
	pub fn is_connection(&self) -> bool {
		matches!(self, Self::NoNode { .. } | Self::ConnectionLost { .. })
	}

	/// The name of the failure, `Pallet.Error`, if a call failed.
	pub fn failure(&self) -> Option<String> {
		match self {
			Self::Failed(CallFailure { pallet, name, .. }) => Some(format!("{pallet}.{name}")),
			_ => None,
		}
	}

	/// What an error of a raw request means.
	pub(super) fn of_rpc(url: &str, method: &str, error: rpcs::Error) -> Self {
		let (url, method) = (url.to_owned(), method.to_owned());
		match error {
			rpcs::Error::User(error) if error.code == METHOD_NOT_FOUND => Self::MissingMethod { url, method },
			rpcs::Error::User(error) => {
				let message = with_data(&error);
				if message.contains("is not found") && message.contains("Exported method") {
					return Self::MissingMethod { url, method };
				}
				let data = error.data.as_ref().and_then(|data| serde_json::from_str(data.get()).ok());
				Self::Refused { method, code: error.code, message, data: data.unwrap_or_default() }
			}
			rpcs::Error::Deserialization(error) => Self::BadAnswer { method, reason: error.to_string() },
			error => Self::ConnectionLost { url, reason: error.to_string() },
		}
	}

	/// What an error of the submission means.
	pub(super) fn of_submission(url: &str, account: &str, error: ExtrinsicError) -> Self {
		match error {
			ExtrinsicError::ErrorSubmittingTransaction(BackendError::Rpc(RpcError::ClientError(
				rpcs::Error::User(error),
			))) => {
				let message = with_data(&error);
				if error.code == POOL_INVALID && message.contains("pay some fees") {
					return Self::NotEnoughFunds { account: account.into(), reason: message };
				}
				if error.code == POOL_INVALID && message.contains("ancient birth block") {
					return Self::PoolBehind { url: url.into() };
				}
				Self::NotTaken(message)
			}
			ExtrinsicError::ErrorSubmittingTransaction(BackendError::Rpc(RpcError::ClientError(error))) => {
				Self::ConnectionLost { url: url.into(), reason: error.to_string() }
			}
			ExtrinsicError::PalletNameNotFound(name) => Self::NotInRuntime(name),
			ExtrinsicError::CallNameNotFound { pallet_name, call_name } => {
				Self::NotInRuntime(format!("{pallet_name}.{call_name}"))
			}
			error => Self::Subxt(Box::new(error.into())),
		}
	}

	/// What an included transaction's events mean.
	pub(super) fn of_events(account: &str, error: TransactionEventsError) -> Self {
		match error {
			TransactionEventsError::ExtrinsicFailed(error) => Self::of_dispatch(account, error),
			error => Self::Subxt(Box::new(error.into())),
		}
	}

	/// What a dispatch error means.
	fn of_dispatch(account: &str, error: DispatchError) -> Self {
		let poor = |reason: String| Self::NotEnoughFunds { account: account.into(), reason };
		match &error {
			DispatchError::Token(TokenError::FundsUnavailable | TokenError::NotExpendable | TokenError::Frozen) => {
				poor(error.to_string())
			}
			DispatchError::Module(module) => {
				let Ok(details) = module.details() else {
					let failure = CallFailure {
						pallet: format!("pallet {}", module.pallet_index()),
						name: format!("error {}", module.error_index()),
						docs: "an error that the runtime does not describe".into(),
					};
					return failure.into();
				};
				let failure = CallFailure {
					pallet: details.pallet.name().into(),
					name: details.variant.name.clone(),
					docs: details.variant.docs.join(" ").trim().into(),
				};
				if POOR.contains(&failure.name.as_str()) {
					return poor(failure.to_string());
				}
				failure.into()
			}
			_ => CallFailure { pallet: "System".into(), name: "DispatchError".into(), docs: error.to_string() }.into(),
		}
	}
}

/// JSON-RPC: no such method.
const METHOD_NOT_FOUND: i32 = -32601;

fn with_data(error: &rpcs::UserError) -> String {
	match &error.data {
		Some(data) => format!("{}: {}", error.message, data.get().trim_matches('"')),
		None => error.message.clone(),
	}
}

macro_rules! from_subxt {
	($($error:ident),*) => {$(
		impl From<subxt::error::$error> for ClientError {
			fn from(error: subxt::error::$error) -> Self {
				Self::Subxt(Box::new(error.into()))
			}
		}
	)*};
}

from_subxt!(OnlineClientError, OnlineClientAtBlockError, TransactionProgressError, EventsError);

#[cfg(test)]
mod tests {
	use super::*;

	fn of_pool(data: &str) -> ClientError {
		let data = serde_json::value::to_raw_value(data).ok();
		let error = rpcs::UserError { code: POOL_INVALID, message: "Invalid Transaction".into(), data };
		let error = BackendError::Rpc(RpcError::ClientError(rpcs::Error::User(error)));
		ClientError::of_submission("ws://node", "somebody", ExtrinsicError::ErrorSubmittingTransaction(error))
	}

	#[test]
	fn refusals_of_the_pool_are_told_apart() {
		let behind = of_pool("Transaction has an ancient birth block");
		assert!(matches!(&behind, ClientError::PoolBehind { url } if url == "ws://node"), "{behind}");
		let poor = of_pool("Inability to pay some fees (e.g. account balance too low)");
		assert!(matches!(&poor, ClientError::NotEnoughFunds { account, .. } if account == "somebody"), "{poor}");
		let other = of_pool("Transaction is outdated");
		assert!(matches!(&other, ClientError::NotTaken(message) if message.ends_with("outdated")), "{other}");
	}
}
