//! The messages: what node and miner say to each other, in SCALE, each in a frame of at most [`MAX_FRAME`] bytes.
//!
//! Every list has a bound that is checked before it is allocated, or is bounded by the frame. A message with anything after its end
//! is none. What is said before both sides know each other ([`Greeting`], [`Hello`]) begins the same in every version.

use codec::{Decode, DecodeAll, Encode};
use labora_engine::MiningTarget;
use labora_graph::{Graph, MAX_PARAMETERS};
use labora_pouw::{Difficulty, IdleProof, UsefulProof};
use labora_primitives::limits::{MaxOutput, MAX_STEPS};
use labora_tensor::Commitment;
use sp_core::{bounded::BoundedVec, ConstU32};

/// The version of the protocol that this crate speaks.
pub const VERSION: u16 = 1;
/// Most bytes of a message: the largest proof has about 2 MiB.
pub const MAX_FRAME: usize = 4 << 20;
/// Most bytes of a message of the greeting.
pub const MAX_GREETING: usize = 1 << 10;
/// Most bytes of a tensor in one message.
pub const PART_BYTES: usize = 1 << 20;
/// Most lanes (units that are computed side by side) of a miner.
pub const MAX_LANES: u16 = 256;
/// Most bytes of a miner's name.
pub const MAX_NAME: u32 = 64;
/// Most tensors that a unit needs: features, labels, parameters.
pub const MAX_TENSORS: u32 = MAX_PARAMETERS + 2;

/// A number that is used once.
pub type Nonce = [u8; 32];
/// Bytes of tensors, in order.
pub type Part = BoundedVec<u8, ConstU32<{ PART_BYTES as u32 }>>;

/// What a miner and its node both know.
#[derive(Clone)]
pub struct Key([u8; 32]);

/// Proof of knowing the key: of the miner to the node, or of the node to the miner.
#[derive(Clone, Copy, Encode, Decode)]
pub struct Proof([u8; 32]);

impl PartialEq for Proof {
	/// In constant time.
	fn eq(&self, other: &Self) -> bool {
		blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
	}
}

impl core::fmt::Debug for Proof {
	fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
		f.write_str("Proof")
	}
}

impl Key {
	/// The key that follows from a secret.
	pub fn of_secret(secret: &[u8]) -> Self {
		Self(blake3::derive_key("labora miner protocol, shared secret", secret))
	}

	fn prove(&self, who: &[u8], node: &Nonce, miner: &Nonce) -> Proof {
		let mut hasher = blake3::Hasher::new_keyed(&self.0);
		hasher.update(who).update(node).update(miner);
		Proof(*hasher.finalize().as_bytes())
	}

	/// What the miner shows the node: BLAKE3, keyed, of `labora/miner`, the node's nonce, the miner's nonce.
	pub fn of_miner(&self, node: &Nonce, miner: &Nonce) -> Proof {
		self.prove(b"labora/miner", node, miner)
	}

	/// What the node shows the miner: the same of `labora/nodes`.
	pub fn of_node(&self, node: &Nonce, miner: &Nonce) -> Proof {
		self.prove(b"labora/nodes", node, miner)
	}
}

/// What the node says before it knows the miner.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum Greeting {
	/// The first message of a connection.
	#[codec(index = 0)]
	Challenge {
		/// The node's version.
		version: u16,
		/// To be answered.
		nonce: Nonce,
	},
	/// The miner is accepted; jobs follow.
	#[codec(index = 1)]
	Welcome(Proof),
	/// It is not. The last message of the connection.
	#[codec(index = 2)]
	Refused(Refusal),
}

/// Why a miner is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Refusal {
	/// The node speaks another version.
	#[error("the node speaks version {0} of the miner protocol only")]
	#[codec(index = 0)]
	Version(u16),
	/// The proof is not that of the node's secret.
	#[error("the secret is not the node's")]
	#[codec(index = 1)]
	Secret,
	/// No lanes, or more than [`MAX_LANES`], or a name that is none.
	#[error("the greeting breaks the protocol's limits")]
	#[codec(index = 2)]
	Malformed,
	/// The node has as many miners as it takes.
	#[error("the node has as many miners as it takes")]
	#[codec(index = 3)]
	Full,
}

/// The miner's answer to the challenge. The version comes first in every version.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Hello {
	/// The miner's version.
	pub version: u16,
	/// To be answered by the node.
	pub nonce: Nonce,
	/// Shows that the miner knows the secret.
	pub proof: Proof,
	/// Units that it computes side by side, 1 to [`MAX_LANES`].
	pub lanes: u16,
	/// What the node calls it in its log: printable ASCII.
	pub name: BoundedVec<u8, ConstU32<MAX_NAME>>,
}

impl Hello {
	/// Reads a miner's answer.
	pub fn read(mut bytes: &[u8]) -> Result<Self, Refusal> {
		let version = u16::decode(&mut &*bytes).map_err(|_| Refusal::Malformed)?;
		if version != VERSION {
			return Err(Refusal::Version(VERSION));
		}
		let hello = Self::decode_all(&mut bytes).map_err(|_| Refusal::Malformed)?;
		let printable = hello.name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
		(printable && (1..=MAX_LANES).contains(&hello.lanes)).then_some(hello).ok_or(Refusal::Malformed)
	}
}

/// What tickets are drawn for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Target {
	/// Hash of the genesis block.
	pub genesis: [u8; 32],
	/// Hash of the parent of the block to be made.
	pub parent: [u8; 32],
	/// Number of the unit's assignment.
	pub assignment: u64,
	/// Difficulty of the block to be made.
	pub difficulty: Difficulty,
}

impl From<MiningTarget> for Target {
	fn from(MiningTarget { genesis, parent, assignment, difficulty }: MiningTarget) -> Self {
		Self { genesis, parent, assignment, difficulty }
	}
}

impl From<Target> for MiningTarget {
	fn from(Target { genesis, parent, assignment, difficulty }: Target) -> Self {
		Self { genesis, parent, assignment, difficulty }
	}
}

/// Steps of a unit.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Steps {
	/// The program of one step.
	pub graph: Graph,
	/// Key of the unit's rounding bits.
	pub rounding: u32,
	/// How often the learning rates were halved.
	pub rate_drops: u8,
	/// Rows of the dataset.
	pub rows: u32,
	/// Its features: `rows x graph.features`, `i8`.
	pub features: Commitment,
	/// Its labels: `rows x 1`, `i8`.
	pub labels: Option<Commitment>,
	/// The master parameters that the unit starts from: shapes of the graph, `i32`.
	pub parameters: BoundedVec<Commitment, ConstU32<MAX_PARAMETERS>>,
	/// The batch of each step.
	pub batches: BoundedVec<u32, ConstU32<MAX_STEPS>>,
	/// Before each step that is a multiple of this, but the first, the parameters are sent. Not 0.
	pub checkpoint_every: u32,
	/// What to draw tickets for.
	pub target: Option<Target>,
}

/// Idle work: one nonce after the other, from a first one on, until a ticket wins or the job is cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Idle {
	/// Hash of the genesis block.
	pub genesis: [u8; 32],
	/// Hash of the parent of the block to be made.
	pub parent: [u8; 32],
	/// The account that earns.
	pub account: [u8; 32],
	/// Difficulty of the block to be made.
	pub difficulty: Difficulty,
	/// The first nonce.
	pub nonce: u64,
}

/// What a lane is to compute.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Work {
	/// Steps of a unit.
	#[codec(index = 0)]
	Steps(Box<Steps>),
	/// Idle work.
	#[codec(index = 1)]
	Idle(Idle),
}

/// What the node tells a lane of a job.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Order {
	/// A new job. The lane's last one is over.
	#[codec(index = 0)]
	Start(Work),
	/// The next bytes of the tensors that the lane needs, one tensor after the other.
	#[codec(index = 1)]
	Part(Part),
	/// What to draw tickets for from now on; none: compute only.
	#[codec(index = 2)]
	Target(Option<Target>),
	/// Abandon the job.
	#[codec(index = 3)]
	Cancel,
}

/// What a lane tells the node of its job.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Report {
	/// The numbers, ascending, of the tensors that the lane lacks: 0 the features, then the labels if there are any, then the parameters.
	/// Empty if it lacks none. The first report of steps.
	#[codec(index = 0)]
	Needs(BoundedVec<u8, ConstU32<MAX_TENSORS>>),
	/// Tickets are being drawn for another parent now: its hash.
	#[codec(index = 1)]
	Drawing([u8; 32]),
	/// A winning ticket of the unit.
	#[codec(index = 2)]
	Won {
		/// The parent that it was drawn for.
		parent: [u8; 32],
		/// Its opening.
		proof: Box<UsefulProof>,
	},
	/// A winning ticket of idle work. The job is over.
	#[codec(index = 3)]
	WonIdle(IdleProof),
	/// Steps of the unit done so far, or nonces done since the last report.
	#[codec(index = 4)]
	Progress(u32),
	/// Parts with the master parameters at the start of this step follow.
	#[codec(index = 5)]
	Checkpoint(u32),
	/// Parts with the trace (32 bytes an entry) and, of a unit that trains, the last parameters follow. With them the job is over.
	#[codec(index = 6)]
	Result {
		/// Of an inference unit: the class of every row of every step.
		classes: BoundedVec<u8, MaxOutput>,
	},
	/// The next bytes of what was announced.
	#[codec(index = 7)]
	Part(Part),
	/// There is no result. The job is over.
	#[codec(index = 8)]
	Ended(End),
}

/// Why a job ended without a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum End {
	/// It was cancelled.
	#[error("cancelled")]
	#[codec(index = 0)]
	Cancelled,
	/// The unit's tensors are more than the miner has room for.
	#[error("its tensors are more than the miner has room for")]
	#[codec(index = 1)]
	TooLarge,
	/// What the node sent does not fit together.
	#[error("what the node sent does not fit together")]
	#[codec(index = 2)]
	BadJob,
}

/// Why the node lets a miner go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Dismissal {
	/// A message was none, or not the miner's turn.
	#[error("it broke the protocol")]
	#[codec(index = 0)]
	Protocol,
	/// A winning ticket or a result was wrong.
	#[error("it computes wrongly")]
	#[codec(index = 1)]
	Wrong,
	/// A job made no progress.
	#[error("its job made no progress")]
	#[codec(index = 2)]
	Hung,
}

/// From the node to a miner.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ToMiner {
	/// Nothing: the node is there.
	#[codec(index = 0)]
	Alive,
	/// About a lane's job.
	#[codec(index = 1)]
	Lane {
		/// The lane.
		lane: u16,
		/// The job's number: higher than that of the lane's jobs before.
		job: u64,
		/// What it is told.
		order: Order,
	},
	/// The last message of the connection.
	#[codec(index = 2)]
	Bye(Dismissal),
}

/// From a miner to its node.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ToNode {
	/// Nothing: the miner is there.
	#[codec(index = 0)]
	Alive,
	/// About a lane's job.
	#[codec(index = 1)]
	Lane {
		/// The lane.
		lane: u16,
		/// The job's number.
		job: u64,
		/// What is reported.
		report: Report,
	},
}

/// What goes over an accepted connection in one direction.
pub trait Message: Encode + DecodeAll + Send + 'static {
	/// What says only that its sender is there.
	const ALIVE: Self;

	/// Whether nothing follows.
	fn is_last(&self) -> bool {
		false
	}

	/// Reads a message. `None` if it is none, or something follows it.
	fn read(mut bytes: &[u8]) -> Option<Self> {
		Self::decode_all(&mut bytes).ok()
	}
}

impl Message for ToMiner {
	const ALIVE: Self = Self::Alive;

	fn is_last(&self) -> bool {
		matches!(self, Self::Bye(_))
	}
}

impl Message for ToNode {
	const ALIVE: Self = Self::Alive;
}

/// Cuts bytes into parts.
pub fn parts(bytes: &[u8]) -> impl Iterator<Item = Part> + '_ {
	bytes.chunks(PART_BYTES).map(|chunk| Part::truncate_from(chunk.to_vec()))
}

/// The commitments that a list of bytes is, 32 each. `None` if bytes are left over.
pub fn commitments(bytes: &[u8]) -> Option<Vec<Commitment>> {
	let chunks = bytes.chunks_exact(32);
	let whole = chunks.remainder().is_empty();
	whole.then(|| chunks.filter_map(|chunk| chunk.try_into().ok().map(Commitment)).collect())
}

#[cfg(test)]
mod tests {
	use super::*;
	use labora_graph::{Op, OpIndex};
	use labora_pouw::TileIndex;
	use labora_tensor::Shape;
	use rand::{Rng, SeedableRng};

	fn steps() -> Steps {
		Steps {
			graph: Graph {
				batch: 32,
				features: 256,
				parameters: vec![Shape { rows: 256, cols: 10 }],
				ops: vec![Op::Quantize { parameter: 0, shift: 16 }],
			},
			rounding: 7,
			rate_drops: 1,
			rows: 64,
			features: Commitment([1; 32]),
			labels: Some(Commitment([2; 32])),
			parameters: vec![Commitment([3; 32])].try_into().unwrap(),
			batches: vec![0, 1].try_into().unwrap(),
			checkpoint_every: 1,
			target: Some(Target { genesis: [4; 32], parent: [5; 32], assignment: 6, difficulty: Difficulty(7) }),
		}
	}

	fn orders() -> Vec<ToMiner> {
		let idle = Idle { genesis: [1; 32], parent: [2; 32], account: [3; 32], difficulty: Difficulty(4), nonce: 5 };
		let orders = [
			Order::Start(Work::Steps(Box::new(steps()))),
			Order::Start(Work::Idle(idle)),
			Order::Part(Part::truncate_from(vec![9; PART_BYTES])),
			Order::Target(None),
			Order::Cancel,
		];
		let orders = orders.into_iter().map(|order| ToMiner::Lane { lane: 1, job: 2, order });
		orders.chain([ToMiner::Alive, ToMiner::Bye(Dismissal::Wrong)]).collect()
	}

	fn reports() -> Vec<ToNode> {
		let tile = TileIndex { row: 0, col: 1 };
		let proof = UsefulProof {
			assignment: 1,
			op: OpIndex(2),
			tile,
			a: Commitment([1; 32]),
			b: Commitment([2; 32]),
			strip_a: Default::default(),
			strip_b: Default::default(),
		};
		let reports = [
			Report::Needs(vec![0, 2].try_into().unwrap()),
			Report::Drawing([1; 32]),
			Report::Won { parent: [1; 32], proof: Box::new(proof) },
			Report::WonIdle(IdleProof { nonce: 1, tile }),
			Report::Progress(3),
			Report::Checkpoint(4),
			Report::Result { classes: vec![1; 64].try_into().unwrap() },
			Report::Part(Part::truncate_from(vec![1, 2])),
			Report::Ended(End::TooLarge),
		];
		let reports = reports.into_iter().map(|report| ToNode::Lane { lane: 1, job: 2, report });
		reports.chain([ToNode::Alive]).collect()
	}

	#[test]
	fn messages_are_read_as_they_were_written_and_nothing_else_is() {
		fn check<M: Message + PartialEq + core::fmt::Debug>(message: &M) {
			let bytes = message.encode();
			assert!(bytes.len() <= MAX_FRAME);
			assert_eq!(M::read(&bytes).as_ref(), Some(message));
			let cuts = (0..bytes.len()).step_by(1 + bytes.len() / 500);
			cuts.for_each(|cut| assert_eq!(M::read(&bytes[..cut]), None, "{message:?}"));
			assert_eq!(M::read(&[&bytes[..], &[0]].concat()), None, "{message:?}");
		}
		orders().iter().for_each(check);
		reports().iter().for_each(check);
	}

	#[test]
	fn lists_beyond_their_bounds_are_refused() {
		let too_long = |prefix: &[u8], len: u32, item: usize| {
			let mut bytes = prefix.to_vec();
			codec::Compact(len).encode_to(&mut bytes);
			bytes.resize(bytes.len() + len as usize * item, 0);
			bytes
		};
		// Lane 1, job 2, and the number of the report or order.
		let lane = |number: u8| [&[1u8][..], &1u16.encode(), &2u64.encode(), &[number]].concat();
		assert!(ToNode::read(&too_long(&lane(0), MAX_TENSORS, 1)).is_some());
		assert_eq!(ToNode::read(&too_long(&lane(0), MAX_TENSORS + 1, 1)), None);
		assert_eq!(ToNode::read(&too_long(&lane(7), PART_BYTES as u32 + 1, 1)), None);
		assert_eq!(ToMiner::read(&too_long(&lane(1), PART_BYTES as u32 + 1, 1)), None);
		assert_eq!(ToNode::read(&too_long(&lane(6), labora_primitives::limits::MAX_OUTPUT + 1, 1)), None);
		// A length that promises more than there is allocates nothing.
		let promise = [&lane(7)[..], &codec::Compact(u32::MAX).encode()].concat();
		assert_eq!(ToNode::read(&promise), None);
	}

	#[test]
	fn garbage_is_no_message_and_does_no_harm() {
		let mut random = rand::rngs::StdRng::seed_from_u64(1);
		let valid: Vec<Vec<u8>> =
			orders().iter().map(Encode::encode).chain(reports().iter().map(Encode::encode)).collect();
		for _ in 0..20_000 {
			let mut bytes = valid[random.gen_range(0..valid.len())].clone();
			bytes.truncate(600);
			for _ in 0..random.gen_range(1..8) {
				let at = random.gen_range(0..bytes.len());
				bytes[at] = random.gen();
			}
			let _ = (ToNode::read(&bytes), ToMiner::read(&bytes), Hello::read(&bytes));
		}
	}

	#[test]
	fn a_hello_of_another_version_is_told_which_one_is_spoken() {
		let (node, miner) = ([1; 32], [2; 32]);
		let key = Key::of_secret(b"secret");
		let hello = Hello {
			version: VERSION,
			nonce: miner,
			proof: key.of_miner(&node, &miner),
			lanes: 2,
			name: b"rig 1".to_vec().try_into().unwrap(),
		};
		assert_eq!(Hello::read(&hello.encode()), Ok(hello.clone()));
		let newer = [&(VERSION + 1).encode()[..], b"whatever it says"].concat();
		assert_eq!(Hello::read(&newer), Err(Refusal::Version(VERSION)));
		let none = Hello { lanes: 0, ..hello.clone() };
		let many = Hello { lanes: MAX_LANES + 1, ..hello.clone() };
		let escapes = Hello { name: b"\x1b[2J".to_vec().try_into().unwrap(), ..hello };
		for bad in [none, many, escapes] {
			assert_eq!(Hello::read(&bad.encode()), Err(Refusal::Malformed));
		}
		assert_eq!(Hello::read(&[1]), Err(Refusal::Malformed));
	}

	#[test]
	fn proofs_are_of_one_secret_one_side_and_one_connection() {
		let (key, other) = (Key::of_secret(b"secret"), Key::of_secret(b"another"));
		let (node, miner) = ([1; 32], [2; 32]);
		let proof = key.of_miner(&node, &miner);
		assert!(proof == key.of_miner(&node, &miner));
		assert!(proof != other.of_miner(&node, &miner));
		assert!(proof != key.of_node(&node, &miner), "what the node shows cannot be shown to it");
		assert!(proof != key.of_miner(&[3; 32], &miner) && proof != key.of_miner(&node, &[3; 32]));
	}
}
