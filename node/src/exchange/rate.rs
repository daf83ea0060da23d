//! How much a peer may ask for.

use std::{
	collections::HashMap,
	hash::Hash,
	time::{Duration, Instant},
};

/// A token bucket: it holds `capacity` tokens, and so many flow in each second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
	capacity: f64,
	per_second: f64,
	tokens: f64,
	since: Instant,
}

impl Bucket {
	fn new(capacity: u64, per_second: u64, now: Instant) -> Self {
		let (capacity, per_second) = (capacity as f64, per_second as f64);
		Self { capacity, per_second, tokens: capacity, since: now }
	}

	fn fill(&mut self, now: Instant) {
		let seconds = now.saturating_duration_since(self.since).as_secs_f64();
		self.tokens = self.capacity.min(self.tokens + seconds * self.per_second);
		self.since = self.since.max(now);
	}

	/// Takes tokens, if there are so many.
	fn take(&mut self, tokens: u64, now: Instant) -> bool {
		self.fill(now);
		let enough = self.tokens >= tokens as f64;
		if enough {
			self.tokens -= tokens as f64;
		}
		enough
	}
}

/// What each peer may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
	/// Questions at once.
	pub questions: u64,
	/// Questions a second.
	pub questions_per_second: u64,
	/// Bytes of answers at once.
	pub bytes: u64,
	/// Bytes of answers a second.
	pub bytes_per_second: u64,
	/// Peers that are remembered.
	pub peers: usize,
}

/// Why a question is not answered now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excess {
	/// Too many questions.
	Questions,
	/// Too many bytes of answers.
	Bytes,
}

/// What the peers asked for of late.
pub struct Rates<P> {
	limits: Limits,
	peers: HashMap<P, (Bucket, Bucket)>,
}

impl<P: Clone + Eq + Hash> Rates<P> {
	/// With these limits for each peer.
	pub fn new(limits: Limits) -> Self {
		Self { limits, peers: HashMap::new() }
	}

	/// A peer asks for something of so many bytes.
	pub fn ask(&mut self, peer: &P, bytes: u64, now: Instant) -> Result<(), Excess> {
		if !self.peers.contains_key(peer) && self.peers.len() >= self.limits.peers {
			self.make_room();
		}
		let Limits { questions, questions_per_second, bytes: most, bytes_per_second, .. } = self.limits;
		let new = || (Bucket::new(questions, questions_per_second, now), Bucket::new(most, bytes_per_second, now));
		let (questions, served) = self.peers.entry(peer.clone()).or_insert_with(new);
		if !questions.take(1, now) {
			return Err(Excess::Questions);
		}
		if !served.take(bytes, now) {
			return Err(Excess::Bytes);
		}
		Ok(())
	}

	/// Forgets the peer that asked for nothing the longest.
	fn make_room(&mut self) {
		let quietest = self.peers.iter().min_by_key(|(_, (questions, _))| questions.since);
		if let Some(peer) = quietest.map(|(peer, _)| peer.clone()) {
			self.peers.remove(&peer);
		}
	}
}

/// A pause that doubles each time, up to a bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
	next: Duration,
	most: Duration,
}

impl Backoff {
	/// Pauses from `first` to `most`.
	pub const fn new(first: Duration, most: Duration) -> Self {
		Self { next: first, most }
	}

	/// The next pause.
	pub fn pause(&mut self) -> Duration {
		let pause = self.next.min(self.most);
		self.next = pause.saturating_mul(2);
		pause
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	const LIMITS: Limits = Limits { questions: 4, questions_per_second: 2, bytes: 100, bytes_per_second: 10, peers: 3 };

	#[test]
	fn a_burst_is_served_and_then_the_rate() {
		let (mut rates, begin) = (Rates::new(LIMITS), Instant::now());
		for _ in 0..4 {
			assert_eq!(rates.ask(&1, 0, begin), Ok(()));
		}
		assert_eq!(rates.ask(&1, 0, begin), Err(Excess::Questions));
		assert_eq!(rates.ask(&2, 0, begin), Ok(()), "each peer has its own");
		let later = |millis| begin + Duration::from_millis(millis);
		assert_eq!(rates.ask(&1, 0, later(499)), Err(Excess::Questions));
		assert_eq!(rates.ask(&1, 0, later(500)), Ok(()));
		assert_eq!(rates.ask(&1, 0, later(500)), Err(Excess::Questions));
		// A long pause fills the bucket, and no more.
		for _ in 0..4 {
			assert_eq!(rates.ask(&1, 0, later(1_000_000)), Ok(()));
		}
		assert_eq!(rates.ask(&1, 0, later(1_000_000)), Err(Excess::Questions));
		assert_eq!(rates.ask(&1, 0, begin), Err(Excess::Questions), "time does not go back");
	}

	#[test]
	fn bytes_are_limited_too() {
		let (mut rates, begin) = (Rates::new(LIMITS), Instant::now());
		assert_eq!(rates.ask(&1, 101, begin), Err(Excess::Bytes));
		assert_eq!(rates.ask(&1, 100, begin), Ok(()));
		assert_eq!(rates.ask(&1, 1, begin), Err(Excess::Bytes));
		assert_eq!(rates.ask(&1, 20, begin + Duration::from_secs(2)), Ok(()));
		assert_eq!(rates.ask(&1, 1, begin + Duration::from_secs(2)), Err(Excess::Bytes));
	}

	#[test]
	fn only_so_many_peers_are_remembered() {
		let (mut rates, begin) = (Rates::new(LIMITS), Instant::now());
		for peer in 0..1_000u64 {
			assert_eq!(rates.ask(&peer, 0, begin + Duration::from_millis(peer)), Ok(()));
			assert!(rates.peers.len() <= LIMITS.peers);
		}
		assert!((997..1_000).all(|peer| rates.peers.contains_key(&peer)));
	}

	#[test]
	fn pauses_double_up_to_a_bound() {
		let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
		let pauses: Vec<_> = (0..5).map(|_| backoff.pause().as_secs()).collect();
		assert_eq!(pauses, [1, 2, 4, 5, 5]);
		let mut endless = Backoff::new(Duration::MAX, Duration::MAX);
		assert_eq!((endless.pause(), endless.pause()), (Duration::MAX, Duration::MAX));
	}
}
