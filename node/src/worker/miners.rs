//! Miners in processes of their own: who connects gets as many lanes as it has threads, until the connection ends.

use std::sync::{
	atomic::{AtomicUsize, Ordering},
	mpsc::{sync_channel, SyncSender},
	Arc,
};

use futures::StreamExt;
use labora_miner::{
	address::{Listener, Socket},
	connection::{self, deliver, outgoing, ConnectionError, Stream},
	protocol::{Key, Report, ToNode},
};
use sc_service::SpawnTaskHandle;
use tokio::{
	net::{TcpListener, UnixListener},
	time::{sleep, Duration},
};

use super::{
	lanes::{self, Shared},
	remote::Remote,
	LOG_TARGET,
};

/// Most connections, greeted or not.
const MAX_CONNECTIONS: usize = 64;
/// Most miners.
const MAX_MINERS: usize = 32;
/// Reports that may wait for a lane.
const INBOX: usize = 4;
/// How long nobody is accepted after that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Counts while it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
	/// One more, and how many there are with it.
	fn new(count: &Arc<AtomicUsize>) -> (Self, usize) {
		(Self(count.clone()), count.fetch_add(1, Ordering::Relaxed) + 1)
	}
}

impl Drop for Counted {
	fn drop(&mut self) {
		self.0.fetch_sub(1, Ordering::Relaxed);
	}
}

/// A listener of the asynchronous runtime.
enum Accept {
	Unix(UnixListener, u32),
	Tcp(TcpListener),
}

impl Accept {
	fn new(socket: Socket) -> std::io::Result<Self> {
		Ok(match socket {
			Socket::Unix(socket, owner) => Self::Unix(UnixListener::from_std(socket)?, owner),
			Socket::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
		})
	}

	/// The next connection; none that is not to be had.
	async fn next(&self) -> std::io::Result<Option<Box<dyn Stream>>> {
		Ok(match self {
			Self::Unix(listener, owner) => {
				let stream = listener.accept().await?.0;
				let peer = stream.peer_cred()?.uid();
				if peer != *owner {
					log::warn!(target: LOG_TARGET, "A process of user {peer} wanted to be a miner: only user {owner} may");
					return Ok(None);
				}
				Some(Box::new(stream))
			}
			Self::Tcp(listener) => {
				let stream = listener.accept().await?.0;
				stream.set_nodelay(true)?;
				Some(Box::new(stream))
			}
		})
	}
}

/// Takes miners until the node stops.
pub(super) async fn run(listener: Listener, shared: Arc<Shared>, spawn: SpawnTaskHandle) {
	let Listener { socket, key, at } = listener;
	let accept = match Accept::new(socket) {
		Ok(accept) => accept,
		Err(error) => return log::error!(target: LOG_TARGET, "Miners cannot connect at {at}: {error}"),
	};
	log::info!(target: LOG_TARGET, "🔌 Miners connect with: labora-miner --connect {at}");
	let (connections, miners) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
	loop {
		let stream = match accept.next().await {
			Ok(Some(stream)) => stream,
			Ok(None) => continue,
			Err(error) => {
				log::warn!(target: LOG_TARGET, "A miner could not connect: {error}");
				sleep(PAUSE).await;
				continue;
			}
		};
		let (connected, count) = Counted::new(&connections);
		if count > MAX_CONNECTIONS {
			log::warn!(target: LOG_TARGET, "More than {MAX_CONNECTIONS} connections of miners: one is closed");
			continue;
		}
		let (shared, key, miners) = (shared.clone(), key.clone(), miners.clone());
		spawn.spawn("external-miner", "mining", async move {
			let _connected = connected;
			serve(stream, &key, shared, &miners).await;
		});
	}
}

async fn serve(stream: Box<dyn Stream>, key: &Key, shared: Arc<Shared>, miners: &Arc<AtomicUsize>) {
	let mut wire = connection::wire(stream);
	let full = miners.load(Ordering::Relaxed) >= MAX_MINERS;
	let hello = match connection::accept(&mut wire, key, full).await {
		Ok(hello) => hello,
		Err(error) => return log::warn!(target: LOG_TARGET, "A process that connected is no miner: {error}"),
	};
	let _miner = Counted::new(miners);
	// Printable ASCII, as its greeting was read.
	let name: Arc<str> = format!("miner `{}`", String::from_utf8_lossy(&hello.name)).into();
	log::info!(target: LOG_TARGET, "🔗 {name} computes {} units side by side", hello.lanes);
	let (sink, mut source) = wire.split();
	let (outgoing, queued) = outgoing();
	let mut inboxes = Vec::new();
	for lane in 0..hello.lanes {
		let (inbox, receiver) = sync_channel(INBOX);
		inboxes.push(inbox);
		let remote = Remote::new(name.clone(), lane, outgoing.clone(), receiver, shared.clone());
		if let Err(error) = start(&shared, lane, remote) {
			log::error!(target: LOG_TARGET, "A lane of {name} could not be started: {error}");
		}
	}
	// The lanes have their own.
	drop(outgoing);
	let ended = tokio::select! {
		ended = read(&mut source, &inboxes) => ended,
		written = connection::write(sink, queued) => written,
	};
	match ended {
		// The node let it go, and has said so.
		Ok(()) => {}
		Err(error) => log::warn!(target: LOG_TARGET, "🔗 {name} is gone: {error}"),
	}
}

/// Hands reports to the lanes.
async fn read(
	source: &mut futures::stream::SplitStream<connection::Wire>,
	inboxes: &[SyncSender<(u64, Report)>],
) -> Result<(), ConnectionError> {
	loop {
		if let ToNode::Lane { lane, job, report } = connection::read(source).await? {
			let inbox = inboxes.get(usize::from(lane)).ok_or(ConnectionError::Malformed)?;
			deliver(inbox, (job, report)).await?;
		}
	}
}

/// Starts a lane of a miner.
fn start(shared: &Arc<Shared>, lane: u16, remote: Remote) -> std::io::Result<()> {
	let shared_too = shared.clone();
	let work = move || {
		shared_too.status.joined();
		lanes::run(&shared_too, &remote);
		shared_too.status.left();
	};
	let thread = std::thread::Builder::new().name(format!("labora-remote-{lane}")).spawn(work)?;
	let mut threads = shared.miners.lock();
	threads.retain(|thread| !thread.is_finished());
	threads.push(thread);
	Ok(())
}
