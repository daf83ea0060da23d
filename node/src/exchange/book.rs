//! What the fetcher remembers of its peers.

use std::{
	collections::BTreeMap,
	time::{Duration, Instant},
};

use sc_network::PeerId;

use super::{rate::Backoff, REQUEST_TIMEOUT};

/// Questions to a peer at a time.
pub const PER_PEER: usize = 4;
/// A peer that takes so many times longer for a group than the fastest is asked for one at a time.
const SLOW: f64 = 4.0;
/// Weight of the last group in the time that a peer is said to take.
const LAST: f64 = 0.25;
/// Pauses after a failure, and after each further one.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// How long a peer is left alone that was busy.
const BUSY: Duration = Duration::from_millis(500);
/// How long a peer is not asked that sent wrong bytes.
const BANNED: Duration = Duration::from_secs(600);
/// Peers that are remembered beyond the connected ones.
const MAX_BANNED: usize = 1_024;

struct Peer {
	in_flight: usize,
	/// Seconds that a group takes; none before the first.
	seconds: Option<f64>,
	/// It is not asked before.
	until: Option<Instant>,
	pauses: Backoff,
}

/// The connected peers, and those that sent wrong bytes.
#[derive(Default)]
pub struct Book {
	peers: BTreeMap<PeerId, Peer>,
	banned: BTreeMap<PeerId, Instant>,
}

impl Book {
	/// Who is connected now. Whether there is somebody new.
	pub fn connected(&mut self, peers: &[PeerId], now: Instant) -> bool {
		self.banned.retain(|_, until| *until > now);
		// What is in flight to a peer that left still counts when it comes back.
		self.peers.retain(|peer, known| known.in_flight > 0 || peers.contains(peer));
		let mut news = false;
		for peer in peers {
			self.peers.entry(*peer).or_insert_with(|| {
				news = true;
				Peer { in_flight: 0, seconds: None, until: None, pauses: PAUSES }
			});
		}
		news
	}

	/// Whether a peer is known to be connected and has not sent wrong bytes.
	pub fn is_usable(&self, peer: &PeerId) -> bool {
		self.peers.contains_key(peer) && !self.banned.contains_key(peer)
	}

	/// The peers that can be asked for something now or later.
	pub fn usable(&self) -> impl Iterator<Item = PeerId> + '_ {
		self.peers.keys().copied().filter(|peer| self.is_usable(peer))
	}

	/// Whether a peer can be asked now.
	pub fn is_free(&self, peer: &PeerId, now: Instant) -> bool {
		let Some(known) = self.peers.get(peer).filter(|_| self.is_usable(peer)) else { return false };
		!self.is_paused(peer, now) && known.in_flight < self.most(known)
	}

	/// Whether a peer is left alone for a while.
	pub fn is_paused(&self, peer: &PeerId, now: Instant) -> bool {
		self.peers.get(peer).is_some_and(|known| known.until.is_some_and(|until| until > now))
	}

	/// How many questions a peer gets at a time.
	fn most(&self, peer: &Peer) -> usize {
		let fastest = self.peers.values().filter_map(|peer| peer.seconds).fold(f64::INFINITY, f64::min);
		match peer.seconds {
			Some(seconds) if seconds > SLOW * fastest => 1,
			_ => PER_PEER,
		}
	}

	/// The best of some peers to be asked now: of those that are free, the one that will answer first.
	pub fn best<'a>(&self, peers: impl Iterator<Item = &'a PeerId>, now: Instant) -> Option<PeerId> {
		let free = peers.filter(|peer| self.is_free(peer, now));
		// Who was never asked for a group may be the fastest.
		let wait = |peer: &PeerId| {
			let known = self.peers.get(peer);
			known.map_or(f64::INFINITY, |known| known.seconds.unwrap_or(0.0) * (known.in_flight + 1) as f64)
		};
		let in_flight = |peer: &PeerId| self.peers.get(peer).map_or(0, |known| known.in_flight);
		free.min_by(|a, b| wait(a).total_cmp(&wait(b)).then(in_flight(a).cmp(&in_flight(b)))).copied()
	}

	/// A peer is asked.
	pub fn asked(&mut self, peer: &PeerId) {
		if let Some(known) = self.peers.get_mut(peer) {
			known.in_flight += 1;
		}
	}

	/// It answered, or did not.
	pub fn ended(&mut self, peer: &PeerId) {
		if let Some(known) = self.peers.get_mut(peer) {
			known.in_flight = known.in_flight.saturating_sub(1);
		}
	}

	/// It brought a group.
	pub fn brought(&mut self, peer: &PeerId, took: Duration) {
		if let Some(known) = self.peers.get_mut(peer) {
			let took = took.as_secs_f64();
			known.seconds = Some(known.seconds.map_or(took, |before| before + LAST * (took - before)));
			known.pauses = PAUSES;
		}
	}

	/// It did not answer. From then on it counts as slow, until it brings groups fast.
	pub fn failed(&mut self, peer: &PeerId, now: Instant) {
		if let Some(known) = self.peers.get_mut(peer) {
			known.seconds = Some(REQUEST_TIMEOUT.as_secs_f64());
			// Several questions that fail together are one failure.
			if known.until.is_none_or(|until| until <= now) {
				known.until = Some(now + known.pauses.pause());
			}
		}
	}

	/// It is busy.
	pub fn busy(&mut self, peer: &PeerId, now: Instant) {
		if let Some(known) = self.peers.get_mut(peer) {
			known.until = known.until.max(Some(now + BUSY));
		}
	}

	/// It sent wrong bytes. Whether that is news.
	pub fn lied(&mut self, peer: &PeerId, now: Instant) -> bool {
		if self.banned.len() >= MAX_BANNED {
			let first = self.banned.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
			first.and_then(|peer| self.banned.remove(&peer));
		}
		self.banned.insert(*peer, now + BANNED).is_none()
	}
}

#[cfg(test)]
mod tests {
	use super::*;

	fn book(count: usize) -> (Book, Vec<PeerId>, Instant) {
		let (mut book, now) = (Book::default(), Instant::now());
		let peers: Vec<_> = (0..count).map(|_| PeerId::random()).collect();
		assert!(book.connected(&peers, now) && !book.connected(&peers, now));
		(book, peers, now)
	}

	#[test]
	fn a_peer_gets_only_so_many_questions_at_a_time() {
		let (mut book, peers, now) = book(2);
		for _ in 0..PER_PEER {
			assert!(book.is_free(&peers[0], now));
			book.asked(&peers[0]);
		}
		assert!(!book.is_free(&peers[0], now));
		assert_eq!(book.best(peers.iter(), now), Some(peers[1]));
		// Also when it goes and comes back meanwhile.
		book.connected(&peers[1..], now);
		book.connected(&peers, now);
		assert!(!book.is_free(&peers[0], now));
		book.ended(&peers[0]);
		assert!(book.is_free(&peers[0], now));
		assert!(!book.is_free(&PeerId::random(), now));
	}

	#[test]
	fn the_fast_ones_get_more() {
		let (mut book, peers, now) = book(2);
		book.brought(&peers[0], Duration::from_millis(1_000));
		book.brought(&peers[1], Duration::from_millis(10));
		assert_eq!(book.best(peers.iter(), now), Some(peers[1]));
		book.asked(&peers[0]);
		assert!(!book.is_free(&peers[0], now), "a slow one has one question at a time");
		for _ in 0..50 {
			book.brought(&peers[0], Duration::from_millis(10));
		}
		assert!(book.is_free(&peers[0], now), "it became faster");
	}

	#[test]
	fn pauses_after_failures_grow_and_end() {
		let (mut book, peers, now) = book(1);
		let peer = peers[0];
		book.failed(&peer, now);
		book.failed(&peer, now);
		assert!(!book.is_free(&peer, now) && book.is_usable(&peer));
		let later = now + Duration::from_secs(1);
		assert!(book.is_free(&peer, later), "two that failed together count once");
		book.asked(&peer);
		assert!(book.is_free(&peer, later), "it is slow, but nobody is faster");
		book.failed(&peer, later);
		assert!(!book.is_free(&peer, later + Duration::from_millis(1_999)));
		assert!(book.is_free(&peer, later + Duration::from_secs(2)));
		book.busy(&peer, later + Duration::from_secs(2));
		assert!(!book.is_free(&peer, later + Duration::from_millis(2_499)));
		assert!(book.is_free(&peer, later + Duration::from_millis(2_500)));
	}

	#[test]
	fn a_liar_is_not_asked_for_a_while_even_if_it_comes_back() {
		let (mut book, peers, now) = book(2);
		assert!(book.lied(&peers[0], now) && !book.lied(&peers[0], now));
		book.connected(&[], now);
		book.connected(&peers, now);
		assert!(!book.is_usable(&peers[0]) && !book.is_free(&peers[0], now));
		assert_eq!(book.usable().collect::<Vec<_>>(), [peers[1]]);
		book.connected(&peers, now + BANNED);
		assert!(book.is_free(&peers[0], now + BANNED));
		for _ in 0..2 * MAX_BANNED {
			book.lied(&PeerId::random(), now);
		}
		assert!(book.banned.len() <= MAX_BANNED);
	}
}
