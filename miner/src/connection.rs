//! A connection: frames, the greeting, and the two directions of messages.
//!
//! What is urgent (jobs, targets, cancels, tickets) overtakes the parts of tensors: at most one part is ahead of it.

use std::{
	io,
	sync::mpsc::{SyncSender, TrySendError},
	time::Duration,
};

use bytes::{Bytes, BytesMut};
use codec::{DecodeAll, Encode};
use futures::{
	stream::{SplitSink, SplitStream},
	SinkExt, StreamExt,
};
use tokio::{
	io::{AsyncRead, AsyncWrite},
	sync::mpsc,
	time::{sleep, timeout, Instant},
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::protocol::{Greeting, Hello, Key, Message, Nonce, Proof, Refusal, MAX_FRAME, MAX_GREETING, VERSION};

/// How often each side says that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// A side that says nothing, or takes nothing, for so long is gone.
pub const SILENCE: Duration = Duration::from_secs(10);
/// How long the greeting may take.
const GREETING: Duration = Duration::from_secs(5);
/// Parts that may wait to be sent.
const WAITING_PARTS: usize = 2;
/// How long a full inbox is left alone before the next try.
const FULL_INBOX: Duration = Duration::from_millis(2);

/// A socket.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A socket with frames.
pub type Wire = Framed<Box<dyn Stream>, LengthDelimitedCodec>;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
	/// The other side closed it.
	#[error("the connection was closed")]
	Closed,
	/// The other side says nothing, or takes nothing.
	#[error("the other side is silent")]
	Silent,
	/// Something that is no message, or not its turn.
	#[error("a message breaks the protocol")]
	Malformed,
	/// The node refuses the miner, or the miner's greeting was refused.
	#[error("refused: {0}")]
	Refused(Refusal),
	/// The node speaks another version.
	#[error("the node speaks version {0} of the miner protocol, this is version {VERSION}")]
	Version(u16),
	/// The other side does not know the secret.
	#[error("the node does not know the secret")]
	FalseNode,
	/// The socket failed, or a frame is too large.
	#[error(transparent)]
	Io(#[from] io::Error),
}

/// Frames over a socket: four bytes of length, little endian, and as many of message.
pub fn wire(stream: Box<dyn Stream>) -> Wire {
	let mut codec = LengthDelimitedCodec::builder();
	codec.little_endian().length_field_length(4).max_frame_length(MAX_GREETING).new_framed(stream)
}

async fn send(wire: &mut Wire, message: &impl Encode) -> Result<(), ConnectionError> {
	timeout(SILENCE, wire.send(Bytes::from(message.encode()))).await.map_err(|_| ConnectionError::Silent)??;
	Ok(())
}

async fn frame(wire: &mut Wire) -> Result<BytesMut, ConnectionError> {
	let next = timeout(GREETING, wire.next()).await.map_err(|_| ConnectionError::Silent)?;
	Ok(next.ok_or(ConnectionError::Closed)??)
}

/// The node's side of the greeting. `full` says that no more miners are taken.
pub async fn accept(wire: &mut Wire, key: &Key, full: bool) -> Result<Hello, ConnectionError> {
	let nonce: Nonce = rand::random();
	send(wire, &Greeting::Challenge { version: VERSION, nonce }).await?;
	let hello = Hello::read(&frame(wire).await?);
	let known = hello.and_then(|hello| match hello.proof == key.of_miner(&nonce, &hello.nonce) {
		false => Err(Refusal::Secret),
		true if full => Err(Refusal::Full),
		true => Ok(hello),
	});
	match known {
		Ok(hello) => {
			send(wire, &Greeting::Welcome(key.of_node(&nonce, &hello.nonce))).await?;
			wire.codec_mut().set_max_frame_length(MAX_FRAME);
			Ok(hello)
		}
		Err(refusal) => {
			send(wire, &Greeting::Refused(refusal)).await?;
			Err(ConnectionError::Refused(refusal))
		}
	}
}

/// The miner's side of the greeting.
pub async fn introduce(wire: &mut Wire, key: &Key, lanes: u16, name: &str) -> Result<(), ConnectionError> {
	let greeting = |frame: BytesMut| Greeting::decode_all(&mut &frame[..]).map_err(|_| ConnectionError::Malformed);
	let node = match greeting(frame(wire).await?)? {
		Greeting::Challenge { version, .. } if version != VERSION => return Err(ConnectionError::Version(version)),
		Greeting::Challenge { nonce, .. } => nonce,
		Greeting::Refused(refusal) => return Err(ConnectionError::Refused(refusal)),
		Greeting::Welcome(_) => return Err(ConnectionError::Malformed),
	};
	let nonce: Nonce = rand::random();
	let name = name.as_bytes().to_vec().try_into().map_err(|_| ConnectionError::Refused(Refusal::Malformed))?;
	send(wire, &Hello { version: VERSION, nonce, proof: key.of_miner(&node, &nonce), lanes, name }).await?;
	let shown: Proof = match greeting(frame(wire).await?)? {
		Greeting::Welcome(proof) => proof,
		Greeting::Refused(refusal) => return Err(ConnectionError::Refused(refusal)),
		Greeting::Challenge { .. } => return Err(ConnectionError::Malformed),
	};
	if shown != key.of_node(&node, &nonce) {
		return Err(ConnectionError::FalseNode);
	}
	wire.codec_mut().set_max_frame_length(MAX_FRAME);
	Ok(())
}

/// Where messages to the other side go, from any thread.
#[derive(Debug)]
pub struct Outgoing<M> {
	urgent: mpsc::UnboundedSender<M>,
	parts: mpsc::Sender<M>,
}

impl<M> Clone for Outgoing<M> {
	fn clone(&self) -> Self {
		Self { urgent: self.urgent.clone(), parts: self.parts.clone() }
	}
}

/// The connection is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the connection is gone")]
pub struct Gone;

impl<M> Outgoing<M> {
	/// Sends a small message before all parts.
	pub fn urgent(&self, message: M) -> Result<(), Gone> {
		self.urgent.send(message).map_err(|_| Gone)
	}

	/// Sends a message in order with the parts, and waits while too many are waiting. Not for asynchronous code.
	pub fn part(&self, message: M) -> Result<(), Gone> {
		self.parts.blocking_send(message).map_err(|_| Gone)
	}

	/// Whether the connection is gone.
	pub fn is_gone(&self) -> bool {
		self.urgent.is_closed()
	}
}

/// Messages that wait to be sent.
pub struct Queued<M> {
	urgent: mpsc::UnboundedReceiver<M>,
	parts: mpsc::Receiver<M>,
}

/// A way from any thread to the one that sends.
pub fn outgoing<M>() -> (Outgoing<M>, Queued<M>) {
	let (urgent, urgent_queue) = mpsc::unbounded_channel();
	let (parts, parts_queue) = mpsc::channel(WAITING_PARTS);
	(Outgoing { urgent, parts }, Queued { urgent: urgent_queue, parts: parts_queue })
}

/// Sends what is queued, and a heartbeat now and then, until nothing more can come, or the last message was sent.
pub async fn write<M: Message>(mut sink: SplitSink<Wire, Bytes>, mut queued: Queued<M>) -> Result<(), ConnectionError> {
	let mut heartbeat = tokio::time::interval(HEARTBEAT);
	loop {
		let message = tokio::select! {
			biased;
			message = queued.urgent.recv() => message,
			message = queued.parts.recv() => message,
			_ = heartbeat.tick() => Some(M::ALIVE),
		};
		let Some(message) = message else { return Ok(()) };
		let sent = timeout(SILENCE, sink.send(Bytes::from(message.encode()))).await;
		sent.map_err(|_| ConnectionError::Silent)??;
		if message.is_last() {
			return Ok(());
		}
	}
}

/// The next message of the other side, heartbeats left out.
pub async fn read<M: Message + PartialEq>(source: &mut SplitStream<Wire>) -> Result<M, ConnectionError> {
	loop {
		let next = timeout(SILENCE, source.next()).await.map_err(|_| ConnectionError::Silent)?;
		let frame = next.ok_or(ConnectionError::Closed)??;
		let message = M::read(&frame).ok_or(ConnectionError::Malformed)?;
		if message != M::ALIVE {
			return Ok(message);
		}
	}
}

/// Hands something to a lane. A lane that takes nothing for long is stuck; one that is gone needs nothing.
pub async fn deliver<T>(inbox: &SyncSender<T>, mut item: T) -> Result<(), ConnectionError> {
	let deadline = Instant::now() + SILENCE;
	loop {
		match inbox.try_send(item) {
			Ok(()) | Err(TrySendError::Disconnected(_)) => return Ok(()),
			Err(TrySendError::Full(_)) if Instant::now() >= deadline => return Err(ConnectionError::Malformed),
			Err(TrySendError::Full(back)) => item = back,
		}
		sleep(FULL_INBOX).await;
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::protocol::{Order, Part, ToMiner, ToNode, PART_BYTES};
	use tokio::io::AsyncWriteExt;

	fn pair() -> (Wire, Wire) {
		let (a, b) = tokio::io::duplex(1 << 16);
		(wire(Box::new(a)), wire(Box::new(b)))
	}

	/// The ends of a greeting: the node's, and the miner's.
	async fn greet(
		node: &Key,
		miner: &Key,
		full: bool,
	) -> (Result<Hello, ConnectionError>, Result<(), ConnectionError>) {
		let (mut a, mut b) = pair();
		tokio::join!(accept(&mut a, node, full), introduce(&mut b, miner, 2, "rig"))
	}

	#[tokio::test]
	async fn both_sides_know_the_secret_or_part() {
		let (key, other) = (Key::of_secret(b"a secret"), Key::of_secret(b"another"));
		let (hello, introduced) = greet(&key, &key, false).await;
		let hello = hello.unwrap();
		assert_eq!((hello.lanes, &hello.name[..]), (2, &b"rig"[..]));
		introduced.unwrap();
		let (hello, introduced) = greet(&key, &other, false).await;
		assert!(matches!(hello, Err(ConnectionError::Refused(Refusal::Secret))));
		assert!(matches!(introduced, Err(ConnectionError::Refused(Refusal::Secret))));
		let (_, introduced) = greet(&key, &key, true).await;
		assert!(matches!(introduced, Err(ConnectionError::Refused(Refusal::Full))));
		let (_, introduced) = greet(&key, &other, true).await;
		assert!(
			matches!(introduced, Err(ConnectionError::Refused(Refusal::Secret))),
			"strangers are told nothing else"
		);
	}

	#[tokio::test]
	async fn a_node_that_does_not_know_the_secret_gives_no_work() {
		let key = Key::of_secret(b"a secret");
		let (mut a, mut b) = pair();
		let false_node = async {
			send(&mut a, &Greeting::Challenge { version: VERSION, nonce: [1; 32] }).await.unwrap();
			let hello = Hello::read(&frame(&mut a).await.unwrap()).unwrap();
			send(&mut a, &Greeting::Welcome(hello.proof)).await.unwrap();
		};
		let (_, introduced) = tokio::join!(false_node, introduce(&mut b, &key, 1, "rig"));
		assert!(matches!(introduced, Err(ConnectionError::FalseNode)));
	}

	#[tokio::test]
	async fn another_version_is_named_by_either_side() {
		let key = Key::of_secret(b"a secret");
		let (mut a, mut b) = pair();
		let newer = Greeting::Challenge { version: VERSION + 1, nonce: [1; 32] };
		let (_, introduced) = tokio::join!(send(&mut a, &newer), introduce(&mut b, &key, 1, "rig"));
		assert!(matches!(introduced, Err(ConnectionError::Version(version)) if version == VERSION + 1));
		let (mut a, mut b) = pair();
		let miner = async {
			frame(&mut b).await.unwrap();
			send(&mut b, &(VERSION + 1)).await.unwrap();
			Greeting::decode_all(&mut &frame(&mut b).await.unwrap()[..]).unwrap()
		};
		let (_, told) = tokio::join!(accept(&mut a, &key, false), miner);
		assert_eq!(told, Greeting::Refused(Refusal::Version(VERSION)));
	}

	#[tokio::test]
	async fn a_stranger_sends_a_kilobyte_at_most() {
		let (a, mut b) = tokio::io::duplex(1 << 16);
		let mut node = wire(Box::new(a));
		let stranger = async {
			b.write_all(&(MAX_GREETING as u32 + 1).to_le_bytes()).await.unwrap();
			b
		};
		let key = Key::of_secret(b"a secret");
		let (accepted, _) = tokio::join!(accept(&mut node, &key, false), stranger);
		assert!(matches!(accepted, Err(ConnectionError::Io(_))));
	}

	#[tokio::test]
	async fn what_is_urgent_overtakes_parts() {
		let (node, miner) = pair();
		let (mut node, mut miner) = (node, miner);
		node.codec_mut().set_max_frame_length(MAX_FRAME);
		miner.codec_mut().set_max_frame_length(MAX_FRAME);
		let (outgoing, queued) = outgoing::<ToMiner>();
		let message = |order| ToMiner::Lane { lane: 0, job: 1, order };
		let part = move || message(Order::Part(Part::truncate_from(vec![7; PART_BYTES])));
		let sender = outgoing.clone();
		let parts = std::thread::spawn(move || (0..8).try_for_each(|_| sender.part(part())));
		let (sink, _) = node.split();
		let write = tokio::spawn(write(sink, queued));
		let (other, mut source) = StreamExt::split::<Bytes>(miner);
		assert_eq!(read::<ToMiner>(&mut source).await.unwrap(), part());
		outgoing.urgent(message(Order::Cancel)).unwrap();
		let mut ahead = 0;
		while read::<ToMiner>(&mut source).await.unwrap() != message(Order::Cancel) {
			ahead += 1;
		}
		assert!(ahead <= 2, "{ahead} parts came first");
		drop((other, source));
		// The other side is gone: whoever sends learns it.
		assert!(write.await.unwrap().is_err());
		assert_eq!(parts.join().unwrap(), Err(Gone));
		assert!(outgoing.is_gone());
	}

	#[tokio::test]
	async fn a_message_of_the_other_side_is_malformed() {
		let (mut node, miner) = pair();
		let (_sink, mut source) = StreamExt::split::<Bytes>(miner);
		let order = ToMiner::Lane { lane: 0, job: 1, order: Order::Target(None) };
		node.send(Bytes::from(order.encode())).await.unwrap();
		assert!(matches!(read::<ToNode>(&mut source).await, Err(ConnectionError::Malformed)));
	}
}
