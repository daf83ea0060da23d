//! One connection of a miner to its node.

use std::{
	sync::{
		atomic::Ordering,
		mpsc::{sync_channel, SyncSender},
		Arc,
	},
	thread::JoinHandle,
};

use futures::StreamExt;
use labora_engine::Engine;
use tokio::net::{TcpStream, UnixStream};

use crate::{
	address::Connect,
	cache::Cache,
	connection::{self, deliver, introduce, outgoing, wire, ConnectionError, Outgoing, Stream},
	lane::{Input, Job, Lane, Shared},
	protocol::{Dismissal, Key, Order, ToMiner, ToNode, Work},
};

/// Orders and parts that may wait for a lane.
const INBOX: usize = 4;

/// A miner: its engine, and the tensors that it holds from one connection to the next.
pub struct Miner {
	shared: Arc<Shared>,
	lanes: u16,
	name: String,
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
	/// It failed.
	#[error(transparent)]
	Connection(#[from] ConnectionError),
	/// The node lets this miner go.
	#[error("the node lets this miner go: {0}")]
	Dismissed(Dismissal),
}

impl From<std::io::Error> for SessionError {
	fn from(error: std::io::Error) -> Self {
		Self::Connection(error.into())
	}
}

/// A lane as the connection sees it.
struct Handle {
	inbox: SyncSender<Input>,
	job: Arc<Job>,
}

/// The running lanes. Dropping them abandons their jobs and waits for them.
struct Lanes {
	handles: Vec<Handle>,
	threads: Vec<JoinHandle<()>>,
}

impl Lanes {
	fn start(miner: &Miner, outgoing: &Outgoing<ToNode>) -> std::io::Result<Self> {
		let mut lanes = Self { handles: Vec::new(), threads: Vec::new() };
		for number in 0..miner.lanes {
			let (inbox, receiver) = sync_channel(INBOX);
			let lane = Lane { number, shared: miner.shared.clone(), outgoing: outgoing.clone() };
			let thread = std::thread::Builder::new().name(format!("labora-lane-{number}"));
			lanes.threads.push(thread.spawn(move || lane.run(&receiver))?);
			lanes.handles.push(Handle { inbox, job: Arc::default() });
		}
		Ok(lanes)
	}

	/// What the node tells a lane.
	async fn order(&mut self, lane: u16, number: u64, order: Order) -> Result<(), ConnectionError> {
		let handle = self.handles.get_mut(usize::from(lane)).ok_or(ConnectionError::Malformed)?;
		match order {
			Order::Start(work) => {
				let target = match &work {
					Work::Steps(steps) => steps.target,
					Work::Idle(_) => None,
				};
				handle.job = Arc::new(Job { number, target: target.into(), ..Job::default() });
				deliver(&handle.inbox, Input::Start(handle.job.clone(), work)).await
			}
			Order::Part(part) => deliver(&handle.inbox, Input::Part(number, part)).await,
			// About a job that is over: it crossed with the result.
			_ if handle.job.number != number => Ok(()),
			Order::Target(target) => {
				*handle.job.target.lock() = target;
				Ok(())
			}
			Order::Cancel => {
				handle.job.cancelled.store(true, Ordering::Relaxed);
				Ok(())
			}
		}
	}
}

impl Drop for Lanes {
	fn drop(&mut self) {
		for handle in self.handles.drain(..) {
			handle.job.cancelled.store(true, Ordering::Relaxed);
		}
		for thread in self.threads.drain(..) {
			// A lane that panicked has nothing to say any more.
			let _ = thread.join();
		}
	}
}

impl Miner {
	/// A miner with the fastest kernel of this CPU, that computes so many units side by side and holds about so many bytes of tensors
	/// between them.
	pub fn new(lanes: u16, memory: usize, name: String) -> Self {
		let shared = Arc::new(Shared { engine: Engine::best(1), cache: Cache::new(memory) });
		Self { shared, lanes, name }
	}

	/// The engine's kernel.
	pub fn kernel(&self) -> &'static str {
		self.shared.engine.kernel().name()
	}

	/// Connects to a node.
	pub async fn connect(&self, to: &Connect, key: &Key) -> Result<connection::Wire, SessionError> {
		let stream: Box<dyn Stream> = match to {
			Connect::Unix(path) => Box::new(UnixStream::connect(path).await?),
			Connect::Tcp(address) => {
				let stream = TcpStream::connect(address).await?;
				stream.set_nodelay(true)?;
				Box::new(stream)
			}
		};
		let mut wire = wire(stream);
		introduce(&mut wire, key, self.lanes, &self.name).await?;
		Ok(wire)
	}

	/// Computes what the node wants until the connection ends. Dropping it abandons what is being computed, and waits for that.
	pub async fn work(&self, wire: connection::Wire) -> Result<(), SessionError> {
		let (sink, mut source) = wire.split();
		let (outgoing, queued) = outgoing();
		let mut lanes = Lanes::start(self, &outgoing)?;
		let read = async {
			loop {
				match connection::read(&mut source).await? {
					ToMiner::Alive => {}
					ToMiner::Lane { lane, job, order } => lanes.order(lane, job, order).await?,
					ToMiner::Bye(dismissal) => return Err(SessionError::Dismissed(dismissal)),
				}
			}
		};
		tokio::select! {
			ended = read => ended,
			written = connection::write(sink, queued) => Ok(written?),
		}
	}
}
