//! A rehearsed upgrade: a chain that began with an older runtime is given the current one while it trains.

use std::{path::Path, process::Command};

use anyhow::{ensure, Context, Result};
use codec::Encode;
use frame_support::{storage::storage_prefix, traits::STORAGE_VERSION_STORAGE_KEY_POSTFIX, weights::Weight};
use labora_cli::{
	client::{Call, Client},
	hexes, replay, signer,
};
use labora_demo::node::{executable, Node};
use labora_primitives::{BlockNumber, Phase};
use labora_runtime::{constants::CHILL_BLOCKS, RuntimeCall, VERSION, WASM_BINARY};
use labora_tests::{output, register, small_dataset, small_training, wait_for, wait_for_finality};
use subxt::rpcs::rpc_params;

/// A runtime of specification version 2, whose workers are chilled for 100 blocks: the first sources with validators, built with these
/// two numbers in `runtime/src/lib.rs` and `constants.rs`. (A chain that began without validators has nobody whose votes a node
/// could follow: version 1, and 2 as it was before them, cannot be upgraded.)
const RELEASED: &[u8] = include_bytes!("../data/labora-runtime-2.compact.compressed.wasm");
const RELEASED_VERSION: u32 = 2;
const RELEASED_CHILL_BLOCKS: BlockNumber = 100;

/// The development chain with another runtime in its genesis.
fn chain_spec(dir: &Path, code: &[u8]) -> Result<String> {
	let path = dir.join("released.json");
	let exported = dir.join("exported.json");
	output(Command::new(executable()?).args(["export-chain-spec", "--chain", "dev", "--output"]).arg(&exported))?;
	let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&exported)?)?;
	let genesis = spec.pointer_mut("/genesis/runtimeGenesis/code").context("the genesis has code")?;
	*genesis = format!("0x{}", code.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).into();
	std::fs::write(&path, spec.to_string())?;
	Ok(path.to_str().context("a path in UTF-8")?.to_owned())
}

async fn version(client: &Client) -> Result<u64> {
	let version: serde_json::Value = client.request("state_getRuntimeVersion", rpc_params![]).await?;
	version["specVersion"].as_u64().context("a version")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_takes_a_new_runtime_in_the_middle_of_a_training() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 480)?;
	let spec = chain_spec(dir.path(), RELEASED)?;
	let validating = ["--alice", "--unsafe-force-node-key-generation"];
	let mining = ["--chain", &spec, "--force-authoring", "--mine", "--miner-key", "//Miner", "--slots", "4"];
	let arguments = [&validating[..], &mining[..]].concat();
	let node = Node::start(&dir.path().join("chain"), &arguments)?;
	let client = Client::connect(node.url()).await?;
	ensure!(version(&client).await? == u64::from(RELEASED_VERSION));
	ensure!(client.constant::<BlockNumber>("Workers", "ChillBlocks").await? == RELEASED_CHILL_BLOCKS);

	let task = register(&client, &small_training(&folder, 4, 600)?).await?;
	wait_for(&client, task, 180, |progress| progress.info.round >= 1).await?;
	let code = WASM_BINARY.context("the runtime was built without its blob")?.to_vec();
	let set_code = RuntimeCall::System(frame_system::Call::set_code { code });
	let upgrade = Call::new("Sudo", "sudo_unchecked_weight", (set_code, Weight::zero()));
	client.submit(&signer::load("//Alice")?, &upgrade).await?;

	// The new runtime takes over with the block after that; a client has to read its metadata.
	let before = wait_for(&client, task, 60, |_| true).await?;
	labora_tests::wait_for_height(&client, before.best.height + 1, 60).await?;
	ensure!(version(&client).await? == u64::from(VERSION.spec_version) && VERSION.spec_version > RELEASED_VERSION);
	let client = Client::connect(node.url()).await?;
	ensure!(client.constant::<BlockNumber>("Workers", "ChillBlocks").await? == CHILL_BLOCKS);
	ensure!(before.info.phase != Phase::Completed, "the upgrade came in the middle");
	// The count of the usefulness is carried over: on so young a chain nothing of it is forgotten, so the spans add up to everything.
	let (recent, total) = (client.recent_usefulness(None).await?, client.usefulness(None).await?);
	ensure!(recent == total && total.spent > 0, "{recent:?} {total:?}");
	let work_version = storage_prefix(b"Work", STORAGE_VERSION_STORAGE_KEY_POSTFIX);
	let work_version: String = client.request("state_getStorage", rpc_params![hexes::to_hex(work_version)]).await?;
	ensure!(work_version == hexes::to_hex(pallet_work::STORAGE_VERSION.encode()), "{work_version}");
	// The validators' set is carried over: the blocks of the new runtime become final.
	wait_for_finality(&client, client.best().await?.height, 60).await?;

	let done = wait_for(&client, task, 240, |progress| progress.ended()).await?;
	ensure!(done.info.phase == Phase::Completed);
	let records = replay::fetch(&client, task, false).await?;
	let verdict = replay::run(&records, &folder, None, 2, None, &|_| ())?;
	ensure!(matches!(verdict, replay::Verdict::Agrees { rounds: 4, .. }), "{verdict:?}");
	node.stop()
}
