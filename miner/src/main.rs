//! `labora-miner`: computes for a node of the same machine. It connects, and connects again when the node was gone.

use std::{io::IsTerminal, num::NonZeroU16, path::PathBuf, process::ExitCode, time::Duration};

use clap::{value_parser, Parser};
use labora_miner::{
	address::{self, Connect},
	connection::ConnectionError,
	protocol::{Dismissal, Key, MAX_LANES, MAX_NAME},
	session::{Miner, SessionError},
};
use rand::Rng;
use tokio::{
	signal::unix::{signal, SignalKind},
	time::{sleep, Instant},
};

/// The first wait before connecting again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Computes units and idle work for a Labora node that runs with --miner-listen.
#[derive(Parser)]
#[command(version)]
struct Arguments {
	/// The node's socket: a path, or a loopback address with a port.
	#[arg(long, value_name = "PATH|ADDRESS")]
	connect: Connect,

	/// File of the secret that the node names when it starts. A connection by TCP needs it.
	#[arg(long, value_name = "FILE")]
	secret: Option<PathBuf>,

	/// Units that are computed side by side. All cores by default.
	#[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=i64::from(MAX_LANES)))]
	threads: Option<u16>,

	/// Memory for tensors that units share, MiB. A unit whose tensors do not fit is given back.
	#[arg(long, value_name = "MIB", default_value_t = 4_096, value_parser = value_parser!(u32).range(1..))]
	memory: u32,

	/// What the node calls this miner in its log. Its process id by default.
	#[arg(long)]
	name: Option<String>,
}

fn main() -> ExitCode {
	// RUST_LOG says how much, `info` by default.
	let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
	let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
	log.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init();
	match run(Arguments::parse()) {
		Ok(()) => ExitCode::SUCCESS,
		Err(error) => {
			log::error!("{error}");
			ExitCode::FAILURE
		}
	}
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
	let cores = || std::thread::available_parallelism().map_or(NonZeroU16::MIN.get(), |cores| cores.get() as u16);
	let lanes = arguments.threads.unwrap_or_else(cores).min(MAX_LANES);
	let name = arguments.name.unwrap_or_else(|| format!("process {}", std::process::id()));
	if name.len() > MAX_NAME as usize {
		return Err(format!("the name has more than {MAX_NAME} bytes").into());
	}
	let key = address::key(&arguments.connect, arguments.secret.as_deref())?;
	let miner = Miner::new(lanes, (arguments.memory as usize) << 20, name);
	log::info!("⛏️  {lanes} threads, kernel {}, for the node at {}", miner.kernel(), arguments.connect);
	let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
	tokio::select! {
		error = serve(&miner, &arguments.connect, &key) => Err(error.into()),
		_ = terminate.recv() => Ok(()),
		_ = interrupt.recv() => Ok(()),
	}
	.inspect(|()| log::info!("Stopped"))
}

/// Keeps a connection up. Returns why another try is senseless.
async fn serve(miner: &Miner, to: &Connect, key: &Key) -> SessionError {
	let mut wait = FIRST_WAIT;
	loop {
		let mut began = None;
		let ended = match miner.connect(to, key).await {
			Ok(wire) => {
				log::info!("🔗 Connected to {to}");
				began = Some(Instant::now());
				miner.work(wire).await.err().unwrap_or(ConnectionError::Closed.into())
			}
			Err(error) => error,
		};
		if is_final(&ended) {
			return ended;
		}
		// A connection that lasted was a good one.
		if began.is_some_and(|began| began.elapsed() > LONGEST_WAIT) {
			wait = FIRST_WAIT;
		}
		// Miners that lost the same node do not come back all at once.
		let pause = wait.mul_f64(rand::thread_rng().gen_range(0.5..1.0));
		log::warn!("Not connected to {to}: {ended}. Trying again in {:.1} s", pause.as_secs_f32());
		sleep(pause).await;
		wait = (wait * 2).min(LONGEST_WAIT);
	}
}

/// Whether the same would happen again: a person has to look at it.
fn is_final(error: &SessionError) -> bool {
	use labora_miner::protocol::Refusal;
	match error {
		SessionError::Dismissed(dismissal) => *dismissal != Dismissal::Hung,
		SessionError::Connection(ConnectionError::Refused(refusal)) => *refusal != Refusal::Full,
		SessionError::Connection(ConnectionError::Version(_) | ConnectionError::FalseNode) => true,
		SessionError::Connection(_) => false,
	}
}
