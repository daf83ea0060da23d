//! Measures how fast a tensor travels between two nodes on loopback, and how fast the same bytes do over plain TCP.

use std::{
	io::{Read, Write},
	net::{TcpListener, TcpStream},
	path::Path,
	sync::Arc,
	time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use labora_node::{
	exchange::{server, Fetcher, Metrics, Peers, Wanted},
	tensor_store::TensorStore,
};
use labora_tensor::Commitment;

use crate::{forge::write_specification, peer::Peer};

/// Bytes of the tensor.
const BYTES: usize = 64 << 20;
/// Times each is measured: what a peer serves at once bounds it.
const TIMES: u8 = 3;
/// How long a transfer may take.
const LIMIT: Duration = Duration::from_secs(120);

fn tensor(seed: u8, len: usize) -> Vec<u8> {
	let mut bytes = vec![0; len];
	blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
	bytes
}

/// Seconds that bytes take over a TCP connection on loopback, from memory to memory.
fn tcp(bytes: &[u8]) -> Result<f64> {
	let listener = TcpListener::bind(("127.0.0.1", 0))?;
	let address = listener.local_addr()?;
	std::thread::scope(|scope| {
		let send = scope.spawn(move || listener.accept()?.0.write_all(bytes));
		let mut stream = TcpStream::connect(address)?;
		let mut received = vec![0; bytes.len()];
		let began = Instant::now();
		stream.read_exact(&mut received)?;
		let took = began.elapsed().as_secs_f64();
		send.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
		ensure!(received == bytes);
		Ok(took)
	})
}

/// Two nodes' networks and stores, without chain and miner.
struct Pair {
	_source: Peer,
	_sink: Peer,
	from: Arc<TensorStore>,
	to: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
}

impl Pair {
	async fn start(dir: &Path) -> Result<Self> {
		let spec = dir.join("dev.json");
		write_specification(&spec)?;
		let open = |name: &str| TensorStore::open(&dir.join(name)).map(Arc::new);
		let (from, to) = (open("from")?, open("to")?);
		let source = Peer::start(&spec, &dir.join("source"), &[], None).await?;
		tokio::spawn(server::run(from.clone(), source.questions.clone(), Metrics::new(None)?));
		let sink = Peer::start(&spec, &dir.join("sink"), &[], Some(&source.address().await?)).await?;
		let peers = sink.peers();
		let connect = async {
			while peers.connected().await.is_empty() {
				tokio::time::sleep(Duration::from_millis(10)).await;
			}
		};
		tokio::time::timeout(LIMIT, connect).await.context("the peers connect")?;
		let fetcher = Arc::new(Fetcher::new(to.clone()));
		tokio::spawn(fetcher.clone().run(Arc::new(peers), Metrics::new(None)?));
		Ok(Self { _source: source, _sink: sink, from, to, fetcher })
	}

	/// Seconds from the wish for a tensor until it is verified and on disk.
	async fn fetch(&self, bytes: &[u8]) -> Result<f64> {
		let commitment = self.from.put(bytes)?;
		ensure!(commitment == Commitment::of(bytes));
		self.from.tree(&commitment)?.context("it can be served")?;
		let mut arrivals = self.fetcher.arrivals();
		let began = Instant::now();
		self.fetcher.want(&[Wanted { commitment, bytes: bytes.len() as u64, made_by: None }]);
		tokio::time::timeout(LIMIT, arrivals.changed()).await.context("the tensor arrives")??;
		let took = began.elapsed().as_secs_f64();
		ensure!(self.to.get(&commitment)?.as_deref() == Some(bytes));
		Ok(took)
	}
}

/// Prints both rates.
pub async fn measure() -> Result<()> {
	let dir = tempfile::tempdir()?;
	let pair = Pair::start(dir.path()).await?;
	pair.fetch(&tensor(0, 1_024)).await?;
	println!("\n| {} MiB on loopback | MiB/s, each time |", BYTES >> 20);
	println!("| --- | --- |");
	let (mut exchanged, mut plain) = (Vec::new(), Vec::new());
	for seed in 1..=TIMES {
		let bytes = tensor(seed, BYTES);
		exchanged.push(pair.fetch(&bytes).await?);
		plain.push(tcp(&bytes)?);
	}
	let rates = |seconds: &[f64]| {
		let rates = seconds.iter().map(|seconds| format!("{:.0}", (BYTES >> 20) as f64 / seconds));
		rates.collect::<Vec<_>>().join(", ")
	};
	println!("| tensor exchange: verified, written, synced | {} |", rates(&exchanged));
	println!("| plain TCP, memory to memory | {} |", rates(&plain));
	Ok(())
}
