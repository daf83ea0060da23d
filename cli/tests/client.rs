//! The client against a node that is played here: requests, answers, refusals. (Inclusion of calls needs a real node: see the
//! end-to-end tests.)

use std::{collections::HashMap, sync::Arc, sync::Mutex};

use codec::{Decode, Encode};
use labora_cli::{
	client::{account_of, Call, Client, ClientError, Token, CHUNK_BYTES},
	hexes::{parse_bytes32, to_hex},
	signer, tasks,
};
use labora_primitives::{TaskId, Usefulness};
use labora_tensor::Commitment;
use serde_json::{json, value::RawValue, Value};
use subxt::{
	config::substrate::{SpecVersionForRange, SubstrateConfig},
	ext::frame_metadata::v16,
	rpcs::{
		client::{RawRpcFuture, RawRpcSubscription, RpcClient},
		Error, RpcClientT, UserError,
	},
	Metadata, OfflineClient,
};

/// A node that keeps tensors.
#[derive(Default)]
struct Node {
	complete: HashMap<String, Vec<u8>>,
	begun: HashMap<String, Vec<u8>>,
	/// Offsets of the uploads that were taken.
	taken: Vec<u64>,
}

struct Wire(Arc<Mutex<Node>>);

fn refuse(code: i32, message: &str, data: Option<Value>) -> Error {
	let data = data.map(|data| serde_json::value::to_raw_value(&data).unwrap());
	Error::User(UserError { code, message: message.into(), data })
}

fn key(value: &Value) -> String {
	value.as_str().unwrap().trim_start_matches("0x").to_owned()
}

impl Node {
	fn answer(&mut self, method: &str, params: &[Value]) -> Result<Value, Error> {
		match method {
			"chain_getBlockHash" => Ok(json!(to_hex([7; 32]))),
			"chain_getHeader" => Ok(json!({
				"parentHash": to_hex([0; 32]), "number": "0x2a", "stateRoot": to_hex([0; 32]),
				"extrinsicsRoot": to_hex([0; 32]), "digest": { "logs": [] },
			})),
			"system_properties" => Ok(json!({ "tokenSymbol": "LAB", "tokenDecimals": 12, "ss58Format": 42 })),
			"labora_tensorSize" => Ok(json!(self.complete.get(&key(&params[0])).map(Vec::len))),
			"labora_tensorUpload" => self.upload(params),
			"labora_tensorRead" => {
				let Some(bytes) = self.complete.get(&key(&params[0])) else {
					return Err(refuse(14_003, "this node does not keep the tensor", None));
				};
				let (offset, len) = (params[1].as_u64().unwrap() as usize, params[2].as_u64().unwrap() as usize);
				assert!(len <= CHUNK_BYTES);
				Ok(json!(to_hex(&bytes[offset..offset + len])))
			}
			"state_call" => self.call(params),
			_ => Err(refuse(-32_601, "Method not found", None)),
		}
	}

	fn upload(&mut self, params: &[Value]) -> Result<Value, Error> {
		let (total, offset) = (params[1].as_u64().unwrap(), params[2].as_u64().unwrap());
		let data = hex::decode(key(&params[3])).unwrap();
		assert!(data.len() <= CHUNK_BYTES);
		let begun = self.begun.entry(key(&params[0])).or_default();
		if begun.len() as u64 != offset {
			return Err(refuse(14_006, "wrong offset", Some(json!({ "expected": begun.len() }))));
		}
		begun.extend(data);
		self.taken.push(offset);
		let received = begun.len() as u64;
		if received == total {
			let bytes = begun.clone();
			self.complete.insert(key(&params[0]), bytes);
		}
		Ok(json!({ "received": received, "complete": received == total }))
	}

	fn call(&self, params: &[Value]) -> Result<Value, Error> {
		let args = hex::decode(key(&params[1])).unwrap();
		let usefulness = Usefulness { accepted: 3, spent: 4, useful_blocks: 5, idle_blocks: 6 };
		let answer = match params[0].as_str().unwrap() {
			"LaboraApi_task_count" => 2u32.encode(),
			"LaboraApi_usefulness" => usefulness.encode(),
			"LaboraApi_round_parameters" => {
				let (task, round) = <(TaskId, u32)>::decode(&mut &args[..]).unwrap();
				assert_eq!(params[2], Value::Null);
				Some(vec![Commitment([task.0 as u8; 32]), Commitment([round as u8; 32])]).encode()
			}
			"LaboraApi_task_spec" => 0u8.encode(),
			"LaboraApi_task_info" => [0u8, 1].to_vec(),
			function => {
				let message = format!("Client error: Execution failed: Other: Exported method {function} is not found");
				return Err(refuse(-32_000, &message, None));
			}
		};
		Ok(json!(to_hex(answer)))
	}
}

impl RpcClientT for Wire {
	fn request_raw<'a>(&'a self, method: &'a str, params: Option<Box<RawValue>>) -> RawRpcFuture<'a, Box<RawValue>> {
		let params: Vec<Value> = params.map_or_else(Vec::new, |params| serde_json::from_str(params.get()).unwrap());
		let answer = self.0.lock().unwrap().answer(method, &params);
		Box::pin(async { answer.map(|answer| serde_json::value::to_raw_value(&answer).unwrap()) })
	}

	fn subscribe_raw<'a>(
		&'a self,
		_: &'a str,
		_: Option<Box<RawValue>>,
		_: &'a str,
	) -> RawRpcFuture<'a, RawRpcSubscription> {
		Box::pin(async { Ok(RawRpcSubscription { stream: Box::pin(futures::stream::empty()), id: None }) })
	}
}

async fn node() -> (Arc<Mutex<Node>>, Client) {
	let node = Arc::new(Mutex::new(Node::default()));
	let client = Client::over("ws://played", RpcClient::new(Wire(node.clone()))).await.unwrap();
	(node, client)
}

fn tensor(len: usize) -> (Commitment, Vec<u8>) {
	let bytes: Vec<u8> = (0..len).map(|i| (i * 31 + i / 999) as u8).collect();
	(Commitment::of(&bytes), bytes)
}

#[tokio::test]
async fn tensors_are_uploaded_in_chunks_once_and_continued() {
	let (node, client) = node().await;
	let (commitment, bytes) = tensor(2 * CHUNK_BYTES + 1024);
	let mut seen = Vec::new();
	client.upload(&commitment, &bytes, |done| seen.push(done)).await.unwrap();
	let chunk = CHUNK_BYTES as u64;
	assert_eq!(seen, [chunk, 2 * chunk, 2 * chunk + 1024]);
	assert_eq!(node.lock().unwrap().taken, [0, chunk, 2 * chunk]);
	// It is there now: nothing is sent.
	client.upload(&commitment, &bytes, |_| ()).await.unwrap();
	assert_eq!(node.lock().unwrap().taken.len(), 3);
	let read = client.download(&commitment, |_, _| ()).await.unwrap();
	assert!(read == bytes);

	// An upload that stopped is continued where the node says.
	let (commitment, bytes) = tensor(CHUNK_BYTES + 2048);
	node.lock().unwrap().begun.insert(commitment.to_string(), bytes[..1024].to_vec());
	node.lock().unwrap().taken.clear();
	client.upload(&commitment, &bytes, |_| ()).await.unwrap();
	assert_eq!(node.lock().unwrap().taken, [1024, chunk + 1024]);
	assert!(node.lock().unwrap().complete[&commitment.to_string()] == bytes);
}

#[tokio::test]
async fn tensors_from_a_node_are_not_believed() {
	let (node, client) = node().await;
	let (commitment, mut bytes) = tensor(4096);
	let missing = client.download(&commitment, |_, _| ()).await;
	assert!(matches!(missing, Err(ClientError::NoTensor { .. })));
	bytes[17] ^= 1;
	node.lock().unwrap().complete.insert(commitment.to_string(), bytes);
	let wrong = client.download(&commitment, |_, _| ()).await;
	assert!(matches!(wrong, Err(ClientError::BadAnswer { method, .. }) if method == "labora_tensorRead"));
}

#[tokio::test]
async fn runtime_answers_are_decoded_whole() {
	let (_, client) = node().await;
	let best = client.best().await.unwrap();
	assert_eq!((best.height, best.hash.0), (42, [7; 32]));
	assert_eq!(client.task_count(Some(best.hash)).await.unwrap(), 2);
	assert_eq!(client.usefulness(None).await.unwrap().ratio_ppm(), 750_000);
	let parameters = client.round_parameters(None, TaskId(3), 4).await.unwrap();
	assert_eq!(parameters, Some(vec![Commitment([3; 32]), Commitment([4; 32])]));
	assert_eq!(client.token().await.unwrap(), Token { symbol: "LAB".into(), decimals: 12 });
	assert_eq!(client.miner_status().await.unwrap(), None);
	// None and a byte too many: another version's type.
	assert!(matches!(client.task_info(None, TaskId(0)).await, Err(ClientError::BadAnswer { .. })));
	let unknown = client.last_seal(None).await.unwrap_err();
	assert!(matches!(unknown, ClientError::MissingMethod { method, .. } if method == "LaboraApi_last_seal"));
	let none = tasks::spec(&client, TaskId(9)).await.unwrap_err();
	assert_eq!(none.to_string(), "there is no task 9");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_named() {
	let error = Client::connect("ws://127.0.0.1:1").await.err().unwrap();
	assert!(error.is_connection());
	let text = error.to_string();
	assert!(
		text.contains("no node answers at ws://127.0.0.1:1") && text.contains("labora-node --dev --mine"),
		"{text}"
	);
}

/// The calls of a pallet as the runtime would describe them.
#[derive(scale_info::TypeInfo)]
#[allow(dead_code, non_camel_case_types)]
enum TestCall {
	#[codec(index = 3)]
	fund { task: TaskId, amount: u128 },
	#[codec(index = 5)]
	leave,
}

fn metadata() -> Metadata {
	use scale_info::meta_type;
	let pallet = v16::PalletMetadata {
		name: "Tasks",
		storage: None,
		calls: Some(v16::PalletCallMetadata {
			ty: meta_type::<TestCall>(),
			deprecation_info: v16::EnumDeprecationInfo::nothing_deprecated(),
		}),
		event: None,
		constants: Vec::new(),
		error: None,
		associated_types: Vec::new(),
		view_functions: Vec::new(),
		index: 11,
		docs: Vec::new(),
		deprecation_info: v16::ItemDeprecationInfo::NotDeprecated,
	};
	let extrinsic = v16::ExtrinsicMetadata {
		versions: vec![4],
		address_ty: meta_type::<u8>(),
		call_ty: meta_type::<TestCall>(),
		signature_ty: meta_type::<u8>(),
		transaction_extensions_by_version: Default::default(),
		transaction_extensions: Vec::new(),
	};
	let enums = v16::OuterEnums {
		call_enum_ty: meta_type::<TestCall>(),
		event_enum_ty: meta_type::<()>(),
		error_enum_ty: meta_type::<()>(),
	};
	let custom = v16::CustomMetadata { map: Default::default() };
	let metadata = v16::RuntimeMetadataV16::new(vec![pallet], extrinsic, Vec::new(), enums, custom);
	metadata.try_into().unwrap()
}

#[test]
fn calls_are_the_metadatas_indices_and_our_own_encoding() {
	let config = SubstrateConfig::builder()
		.set_metadata_for_spec_versions([(0, Arc::new(metadata()))])
		.set_spec_version_for_block_ranges([SpecVersionForRange {
			block_range: 0..u64::MAX,
			spec_version: 0,
			transaction_version: 0,
		}])
		.build();
	let client = OfflineClient::new_with_config(config).at_block(0u64).unwrap();
	let args = (TaskId(6), 1_000u128);
	let encoded = client.tx().call_data(&Call::new("Tasks", "fund", args)).unwrap();
	assert_eq!(encoded, [&[11, 3][..], &args.encode()].concat());
	assert_eq!(client.tx().call_data(&Call::new("Tasks", "leave", ())).unwrap(), [11, 5]);
	assert!(client.tx().call_data(&Call::new("Tasks", "missing", ())).is_err());
	assert!(client.tx().call_data(&Call::new("Nothing", "fund", ())).is_err());
}

#[test]
fn hexadecimal_with_and_without_prefix() {
	let bytes = [0xab; 32];
	assert_eq!(parse_bytes32(&to_hex(bytes)), Ok(bytes));
	assert_eq!(parse_bytes32(&hex::encode(bytes)), Ok(bytes));
	assert!(parse_bytes32("0xab").is_err() && parse_bytes32("zz").is_err());
	let bob = account_of(&signer::load("//Bob").unwrap());
	assert_eq!(bob.to_string().parse(), Ok(bob));
}
