//! Nodes that lack a task's tensors get them from their peers, whatever other peers do.

use std::{
	collections::BTreeSet,
	str::FromStr,
	sync::{
		atomic::{AtomicUsize, Ordering},
		Arc,
	},
	time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use codec::Encode;
use futures::{stream::FuturesUnordered, StreamExt};
use labora_cli::{
	client::{Call, Client},
	replay, signer, tasks, workers,
};
use labora_demo::{network::address, node::Node};
use labora_node::{
	exchange::{
		protocol::{Answer, Question},
		server, Peers,
	},
	tensor_store::TensorStore,
};
use labora_primitives::{money::round_budget, AccountId, Balance, Phase, TaskId};
use labora_tensor::Commitment;
use labora_tests::{
	forge::{pair, write_specification},
	peak_memory,
	peer::Peer,
	register, small_dataset, small_training, wait_for, wait_for_height, HEIGHT_TIMEOUT,
};
use sc_network::PeerId;
use sp_core::Pair;
use subxt::rpcs::rpc_params;

/// Without --dev, whose validator votes at the first node already: two that vote with one key can each make another block final.
const JOINING: [&str; 2] = ["--chain", "dev"];
/// How long something may take that takes seconds.
const WAIT: Duration = Duration::from_secs(120);

fn account(secret: &str) -> AccountId {
	AccountId::from(pair(secret).public())
}

/// Waits until something is so.
async fn until<F: std::future::Future<Output = Result<bool>>>(what: &str, condition: impl Fn() -> F) -> Result<()> {
	let began = Instant::now();
	while !condition().await? {
		ensure!(began.elapsed() < WAIT, "{what}: it does not happen");
		tokio::time::sleep(Duration::from_millis(50)).await;
	}
	Ok(())
}

async fn is_registered(client: &Client, secret: &str) -> Result<bool> {
	let at = Some(client.best().await?.hash);
	Ok(client.worker(at, account(secret)).await?.is_some())
}

/// Workers of all accepted results of a task.
async fn workers_of(client: &Client, task: TaskId) -> Result<BTreeSet<AccountId>> {
	let records = replay::fetch(client, task, false).await?;
	Ok(records.results.iter().flatten().flatten().map(|result| result.worker.clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_join_and_get_what_they_need_from_each_other() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 480)?;
	let one_slot = ["--mine", "--mining-threads", "1", "--slots", "1"];
	let first = Node::start(&dir.path().join("first"), &[&["--dev"], &one_slot[..]].concat())?;
	let client = Client::connect(first.url()).await?;
	let bootnode = address(&client).await?;
	let join = |name: &str, arguments: &[&str]| {
		Node::start(&dir.path().join(name), &[&JOINING, arguments, &["--bootnodes", &bootnode]].concat())
	};
	let second = join("second", &[&one_slot[..], &["--miner-key", "//Bob"]].concat())?;
	let watcher = join("watcher", &["--watch", "--miner-key", "//Charlie"])?;
	let watching = Client::connect(watcher.url()).await?;
	until("both are workers", || async {
		Ok(is_registered(&client, "//Miner").await? && is_registered(&client, "//Bob").await?)
	})
	.await?;

	// Two units a round and two workers with a slot each: each computes one, and who merges needs the other's parameters.
	let draft = small_training(&folder, 3, 200)?;
	let task = register(&client, &draft).await?;
	let progress = wait_for(&client, task, 240, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed);
	let joined = workers_of(&client, task).await?;
	ensure!(joined == [account("//Miner"), account("//Bob")].into(), "{joined:?}");
	let records = replay::fetch(&client, task, false).await?;
	let verdict = replay::run(&records, &folder, None, 2, None, &|_| ())?;
	ensure!(matches!(verdict, replay::Verdict::Agrees { rounds: 3, .. }), "{verdict:?}");

	// The data was uploaded to the first node only; the others have it now, and whoever asks them gets it.
	let dataset = &draft.spec.dataset;
	let data: Vec<Commitment> = [Some(dataset.features), dataset.labels].into_iter().flatten().collect();
	ensure!(data.len() == 2);
	let joining = Client::connect(second.url()).await?;
	for tensor in &data {
		let bytes = joining.download(tensor, |_, _| ()).await?;
		ensure!(Commitment::of(&bytes) == *tensor);
		until("the watcher has the data, too", || async { Ok(watching.tensor_size(tensor).await?.is_some()) }).await?;
	}
	let fetched = |node: &Node| node.log_text().matches("Fetched tensor").count();
	let (of_first, of_second) = (fetched(&first), fetched(&second));
	// The first node lacked nothing but what the second computed.
	ensure!(
		of_first > 0 && of_second >= data.len(),
		"{of_first} tensors fetched by the first, {of_second} by the second"
	);
	watcher.stop()?;
	second.stop()?;
	first.stop()
}

/// Blocks after the last result until its audit is drawn and can be answered.
const AUDITED: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_data_goes_on_when_all_parameters_are_gone() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 480)?;
	let miner = ["--mine", "--mining-threads", "1"];
	let first = Node::start(&dir.path().join("first"), &[&["--dev"], &miner[..], &["--slots", "2"]].concat())?;
	let client = Client::connect(first.url()).await?;
	let joining =
		["--slots", "0", "--miner-key", "//Bob", "--force-authoring", "--bootnodes", &address(&client).await?];
	let second = Node::start(&dir.path().join("second"), &[&JOINING, &miner[..], &joining].concat())?;
	let joined = Client::connect(second.url()).await?;

	// The first computes two of four rounds alone; then the escrow is spent.
	let mut draft = small_training(&folder, 4, 40)?;
	let two_rounds = 2 * round_budget(draft.spec.price, draft.spec.job.units());
	draft.escrow = two_rounds;
	let task = register(&client, &draft).await?;
	let progress = wait_for(&client, task, 180, |progress| progress.info.phase == Phase::Unfunded).await?;
	ensure!(progress.info.round == 2);
	// It leaves when it has shown what audits ask for, and takes all parameters with it.
	wait_for_height(&client, progress.best.height + AUDITED, HEIGHT_TIMEOUT).await?;
	until("every audit is answered", || async {
		Ok(client.disputes(Some(client.best().await?.hash), None).await?.is_empty())
	})
	.await?;
	let leaving = workers::leave(&client, &signer::load("//Miner")?).await?;
	wait_for_height(&joined, leaving.height, HEIGHT_TIMEOUT).await?;
	first.stop()?;

	// The second has the dataset, and nobody to ask for anything else.
	for (commitment, tensor) in &draft.tensors {
		joined.upload(commitment, tensor.bytes(), |_| ()).await?;
	}
	for parameters in &progress.info.parameters {
		ensure!(joined.tensor_size(parameters).await?.is_none(), "the second has the parameters already");
	}
	workers::register(&joined, &signer::load("//Bob")?, 2, 1_024).await?;
	tasks::fund(&joined, &signer::load("//Alice")?, task, two_rounds).await?;
	let progress = wait_for(&joined, task, 240, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed);
	ensure!(workers_of(&joined, task).await? == [account("//Miner"), account("//Bob")].into());
	ensure!(second.log_text().contains("Computed tensor"), "it was not computed again");
	let records = replay::fetch(&joined, task, false).await?;
	let verdict = replay::run(&records, &folder, None, 2, None, &|_| ())?;
	ensure!(matches!(verdict, replay::Verdict::Agrees { rounds: 4, .. }), "{verdict:?}");
	second.stop()
}

/// Memory that hostile peers may cost, MiB: 32 answers of a MiB, some copies of them, and what else goes on meanwhile.
const MEMORY: u64 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn liars_and_floods_stop_nobody() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let folder = small_dataset(dir.path(), 480)?;
	let source =
		Node::start(&dir.path().join("source"), &["--dev", "--mine", "--mining-threads", "1", "--slots", "0"])?;
	let sourcing = Client::connect(source.url()).await?;
	let joining = ["--mine", "--mining-threads", "1", "--slots", "2", "--miner-key", "//Bob"];
	let bootnode = address(&sourcing).await?;
	let arguments = [&JOINING, &joining[..], &["--bootnodes", &bootnode]].concat();
	let node = Node::start(&dir.path().join("node"), &arguments)?;
	let client = Client::connect(node.url()).await?;
	until("it is a worker", || async { is_registered(&client, "//Bob").await }).await?;

	// Liars that have everything, or say so, are there before anybody honest has anything.
	let draft = small_training(&folder, 1, 40)?;
	let own = address(&client).await?;
	let spec = dir.path().join("dev.json");
	write_specification(&spec)?;
	let lies = Arc::new(TensorStore::open(&dir.path().join("lies"))?);
	for (_, tensor) in &draft.tensors {
		lies.put(tensor.bytes())?;
	}
	let start = |name: &'static str| {
		let (spec, base, own) = (spec.clone(), dir.path().join(name), own.clone());
		async move { Peer::start(&spec, &base, &[], Some(&own)).await }
	};
	let (wrong, endless, flooder) = (start("wrong").await?, start("endless").await?, start("flooder").await?);
	let tensors = lies.clone();
	wrong.answer(move |question| match server::answer(&tensors, question) {
		Answer::Group(bytes) => {
			let mut bytes = bytes.into_inner();
			bytes[5] ^= 1;
			Some(Answer::group(bytes).encode())
		}
		other => Some(other.encode()),
	});
	let tensors = lies.clone();
	endless.answer(move |question| match question {
		Question::Size(_) => Some(server::answer(&tensors, question).encode()),
		_ => Some(vec![2; 12 << 20]),
	});
	until("all peers are connected", || async {
		let peers: Vec<serde_json::Value> = client.request("system_peers", rpc_params![]).await?;
		Ok(peers.len() >= 4)
	})
	.await?;
	let memory = peak_memory(&node)?;

	// The task is registered before anybody has its tensors.
	let call = Call::new("Tasks", "register", (&draft.spec, draft.escrow));
	let included = sourcing.submit(&signer::load("//Alice")?, &call).await?;
	let (task, _, _): (TaskId, AccountId, Balance) = included.event("Tasks", "TaskRegistered")?;
	let liar = wrong.network.local_peer_id().to_string();
	until("the liar is found out", || async {
		let log = node.log_text();
		let says = |what: &str| log.lines().any(|line| line.contains(what) && line.contains(&liar));
		Ok(says("answers wrongly") && says("Banned, disconnecting"))
	})
	.await?;
	let waiting: Vec<serde_json::Value> = client.request("labora_tensorsWanted", rpc_params![]).await?;
	ensure!(!waiting.is_empty(), "what nobody serves is named");
	for (commitment, tensor) in &draft.tensors {
		sourcing.upload(commitment, tensor.bytes(), |_| ()).await?;
	}
	let progress = wait_for(&client, task, 240, |progress| progress.ended()).await?;
	ensure!(progress.info.phase == Phase::Completed);
	ensure!(workers_of(&client, task).await? == [account("//Bob")].into());

	// A flood of questions: the node goes on importing blocks, and does not answer most of them. (A ban, as the server's own tests have
	// it, takes more questions than a slow machine can send.)
	let target = PeerId::from_str(own.rsplit('/').next().context("an address with an identity")?)?;
	let question = Question::Group(draft.spec.dataset.features, 0).encode();
	let peers = flooder.peers();
	let ask = || async {
		let answer = peers.request(target, question.clone()).await.ok();
		answer.and_then(|bytes| Answer::read(&bytes))
	};
	until("a single question is answered", || async { Ok(matches!(ask().await, Some(Answer::Group(_)))) }).await?;
	let refused = AtomicUsize::new(0);
	let flood = async {
		let mut asked = FuturesUnordered::new();
		loop {
			while asked.len() < 512 {
				asked.push(peers.request(target, question.clone()));
			}
			let answer = asked.next().await.and_then(Result::ok).and_then(|bytes| Answer::read(&bytes));
			refused.fetch_add(usize::from(!matches!(answer, Some(Answer::Group(_)))), Ordering::Relaxed);
		}
	};
	let follow = async {
		let height = client.best().await?.height + 5;
		wait_for_height(&client, height, HEIGHT_TIMEOUT).await?;
		until("questions are refused", || async { Ok(refused.load(Ordering::Relaxed) >= 1_024) }).await?;
		let height = client.best().await?.height;
		wait_for_height(&sourcing, height, HEIGHT_TIMEOUT).await
	};
	tokio::select! {
		() = flood => {}
		followed = follow => followed?,
	}
	let more = peak_memory(&node)? - memory;
	ensure!(more < MEMORY, "{more} MiB more at the peak");
	drop((wrong, endless, flooder));
	node.stop()?;
	source.stop()
}
