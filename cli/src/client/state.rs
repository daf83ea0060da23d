//! Whole states, read from a node.

use subxt::{rpcs::rpc_params, utils::H256};

use super::{Client, ClientError};
use crate::hexes::from_hex;

/// Keys that are asked for at once.
const PAGE: usize = 1_000;

/// What a node says of some keys in a block.
#[derive(serde::Deserialize)]
struct Values {
	changes: Vec<(String, Option<String>)>,
}

/// Bytes that a node gave as hexadecimal.
pub(crate) fn bytes(method: &str, hex: &str) -> Result<Vec<u8>, ClientError> {
	let bad = |error: hex::FromHexError| ClientError::BadAnswer { method: method.into(), reason: error.to_string() };
	from_hex(hex).map_err(bad)
}

impl Client {
	/// All keys of a block's state with their values, in order. Child tries are not read: Labora's runtime has none.
	pub async fn state(&self, block: H256) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ClientError> {
		const METHOD: &str = "state_queryStorageAt";
		let mut pairs = Vec::new();
		let mut last: Option<String> = None;
		loop {
			let page: Vec<String> =
				self.request("state_getKeysPaged", rpc_params!["0x", PAGE, last.clone(), block]).await?;
			let values: Vec<Values> = self.request(METHOD, rpc_params![page.clone(), block]).await?;
			for (key, value) in values.into_iter().flat_map(|values| values.changes) {
				pairs.push((bytes(METHOD, &key)?, bytes(METHOD, &value.unwrap_or_default())?));
			}
			if page.len() < PAGE {
				return Ok(pairs);
			}
			last = page.last().cloned();
		}
	}
}
