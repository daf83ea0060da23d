//! A TCP connection between two nodes that passes through this process, and can be cut and made slow there.
//!
//! It needs no privileges and leaves nothing behind. A cut link is silent, as a broken cable is: connections stay as they are, no byte
//! passes, and what was on its way arrives when it is mended.

use std::{
	io,
	sync::{
		atomic::{AtomicU64, Ordering},
		Arc,
	},
	time::Duration,
};

use anyhow::Result;
use tokio::{
	io::{AsyncReadExt, AsyncWriteExt},
	net::{
		tcp::{OwnedReadHalf, OwnedWriteHalf},
		TcpListener, TcpStream,
	},
	sync::{mpsc, watch, Mutex},
	task::{JoinHandle, JoinSet},
	time::{sleep_until, Instant},
};

/// Bytes that are read at once.
const PIECE: usize = 4_096;
/// Pieces that wait in one direction of a connection: a router's buffer of 64 KiB.
const QUEUE: usize = 16;

/// How good a link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quality {
	/// How long a byte is on its way.
	pub delay: Duration,
	/// Most bytes a second, each way, over all connections together. `None`: any number.
	pub rate: Option<u64>,
}

impl Quality {
	/// A slow line: 1 Mbit/s, 200 ms there and back.
	pub const SLOW: Self = Self { delay: Duration::from_millis(100), rate: Some(125_000) };
}

/// A port whose connections go on to another. Ends when dropped, with all connections.
pub struct Link {
	port: u16,
	state: Arc<State>,
	task: JoinHandle<()>,
}

struct State {
	/// `None`: cut.
	quality: watch::Sender<Option<Quality>>,
	/// When the line is free again, each way.
	free: [Mutex<Instant>; 2],
	/// Bytes that arrived, both ways.
	carried: AtomicU64,
}

impl Link {
	/// A link to a port of this machine.
	pub async fn to(port: u16, quality: Option<Quality>) -> Result<Self> {
		let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
		let own = listener.local_addr()?.port();
		let now = Instant::now();
		let state = State {
			quality: watch::channel(quality).0,
			free: [Mutex::new(now), Mutex::new(now)],
			carried: AtomicU64::new(0),
		};
		let state = Arc::new(state);
		let task = tokio::spawn(serve(listener, port, state.clone()));
		Ok(Self { port: own, state, task })
	}

	/// The port to connect to.
	pub fn port(&self) -> u16 {
		self.port
	}

	/// Makes it as good as this; `None` cuts it.
	pub fn set(&self, quality: Option<Quality>) {
		self.state.quality.send_replace(quality);
	}

	/// Bytes that arrived so far, both ways.
	pub fn carried(&self) -> u64 {
		self.state.carried.load(Ordering::Relaxed)
	}
}

impl Drop for Link {
	fn drop(&mut self) {
		self.task.abort();
	}
}

impl State {
	/// Waits until the link is whole.
	async fn whole(&self) {
		// It ends with an error when the sender is gone, and that is here.
		let _ = self.quality.subscribe().wait_for(Option::is_some).await;
	}

	/// When bytes that are sent now arrive.
	async fn arrival(&self, way: usize, bytes: usize) -> Instant {
		let Quality { delay, rate } = self.quality.borrow().unwrap_or_default();
		let takes = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / rate as f64));
		let mut free = self.free[way].lock().await;
		*free = Instant::now().max(*free) + takes;
		*free + delay
	}
}

async fn serve(listener: TcpListener, port: u16, state: Arc<State>) {
	// Aborts its tasks when it is dropped.
	let mut connections = JoinSet::new();
	while let Ok((near, _)) = listener.accept().await {
		connections.spawn(connect(near, port, state.clone()));
		while connections.try_join_next().is_some() {}
	}
}

async fn connect(near: TcpStream, port: u16, state: Arc<State>) -> io::Result<()> {
	state.whole().await;
	let far = TcpStream::connect(("127.0.0.1", port)).await?;
	near.set_nodelay(true)?;
	far.set_nodelay(true)?;
	let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
	tokio::try_join!(carry(near_out, far_in, &state, 0), carry(far_out, near_in, &state, 1))?;
	Ok(())
}

/// Carries what one end says to the other.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, way: usize) -> io::Result<()> {
	let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
	let read = async move {
		loop {
			let mut piece = vec![0; PIECE];
			let count = from.read(&mut piece).await?;
			piece.truncate(count);
			if count == 0 || sender.send((state.arrival(way, count).await, piece)).await.is_err() {
				return Ok(());
			}
		}
	};
	let write = async {
		while let Some((arrival, piece)) = pieces.recv().await {
			sleep_until(arrival).await;
			state.whole().await;
			to.write_all(&piece).await?;
			state.carried.fetch_add(piece.len() as u64, Ordering::Relaxed);
		}
		to.shutdown().await
	};
	tokio::try_join!(read, write).map(drop)
}

#[cfg(test)]
mod tests {
	use super::*;
	use tokio::time::timeout;

	/// A server that sends back what it gets, and a link to it.
	async fn echo(quality: Quality) -> (Link, TcpStream) {
		let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
		let port = listener.local_addr().unwrap().port();
		tokio::spawn(async move {
			let (mut near, mut far) = listener.accept().await.unwrap().0.into_split();
			tokio::io::copy(&mut near, &mut far).await
		});
		let link = Link::to(port, Some(quality)).await.unwrap();
		let stream = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
		(link, stream)
	}

	async fn round(stream: &mut TcpStream, bytes: &[u8]) {
		stream.write_all(bytes).await.unwrap();
		let mut back = vec![0; bytes.len()];
		stream.read_exact(&mut back).await.unwrap();
		assert_eq!(back, bytes);
	}

	#[tokio::test]
	async fn a_slow_link_is_slow() {
		let (link, mut stream) = echo(Quality { delay: Duration::from_millis(50), rate: Some(100_000) }).await;
		let began = Instant::now();
		round(&mut stream, &[7; 40_000]).await;
		// 0.4 s each way, one after the other but for a piece; 0.05 s each way.
		assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
		assert_eq!(link.carried(), 80_000);
	}

	#[tokio::test]
	async fn a_cut_link_carries_nothing_until_it_is_mended() {
		let (link, mut stream) = echo(Quality::default()).await;
		round(&mut stream, b"before").await;
		link.set(None);
		let carried = link.carried();
		stream.write_all(b"after").await.unwrap();
		let mut back = [0; 5];
		assert!(timeout(Duration::from_millis(300), stream.read_exact(&mut back)).await.is_err());
		// Nor does a new connection.
		let mut other = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
		assert!(timeout(Duration::from_millis(100), other.read_exact(&mut back)).await.is_err());
		assert_eq!(link.carried(), carried);
		link.set(Some(Quality::default()));
		stream.read_exact(&mut back).await.unwrap();
		assert_eq!(&back, b"after");
	}

	#[tokio::test]
	async fn a_dropped_link_closes_its_connections() {
		let (link, mut stream) = echo(Quality::default()).await;
		round(&mut stream, b"before").await;
		drop(link);
		assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
	}
}
