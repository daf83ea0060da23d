//! Answers what peers ask of this node's tensors.

use std::{collections::HashMap, sync::Arc, time::Instant};

use codec::Encode;
use futures::channel::oneshot;
use labora_tensor::Commitment;
use parking_lot::Mutex;
use sc_network::{
	request_responses::{IncomingRequest, OutgoingResponse},
	PeerId, ReputationChange,
};

use super::{
	metrics::Metrics,
	protocol::{Answer, Question},
	rate::{Excess, Limits, Rates},
	LOG_TARGET, REQUEST_TIMEOUT,
};
use crate::tensor_store::{TensorStore, GROUP_BYTES, MAX_GROUPS};

/// Answers that are made or on their way at a time, each with at most a group in memory.
const ANSWERS: usize = 32;
/// Of them to one peer: a slow one does not take all places. A fetcher asks half of that at a time.
const ANSWERS_PER_PEER: usize = 8;
/// What a peer may ask for: a busy fetcher asks for 1 MiB a question, and for the sizes of a round's tensors at once.
const LIMITS: Limits =
	Limits { questions: 4_096, questions_per_second: 256, bytes: 256 << 20, bytes_per_second: 64 << 20, peers: 1_024 };
/// For what is no question: its sender does not speak the protocol.
const SENSELESS: ReputationChange = ReputationChange::new(-(1 << 26), "Senseless tensor request");
/// For each question beyond the rate. Who goes on is banned after about 1,500 of them.
const FLOOD: ReputationChange = ReputationChange::new(-(1 << 20), "Too many tensor requests");

/// Bytes that the answer to a question has at most.
fn cost(question: &Question) -> u64 {
	match question {
		Question::Size(_) => 0,
		Question::Nodes(_) => u64::from(MAX_GROUPS) * 32,
		Question::Group(..) => GROUP_BYTES,
	}
}

/// The answer from a store. It reads the disk.
pub fn answer(store: &TensorStore, question: &Question) -> Answer {
	let found = match question {
		Question::Size(tensor) => store.size(tensor).map(|size| size.map(Answer::Size)),
		Question::Nodes(tensor) => store.tree(tensor).map(|tree| tree.map(|tree| Answer::nodes(tree.values()))),
		Question::Group(tensor, group) => store.group(tensor, *group).map(|bytes| bytes.map(Answer::group)),
	};
	found.map(|found| found.unwrap_or(Answer::Absent)).unwrap_or_else(|error| {
		let tensor = tensor_of(question);
		log::warn!(target: LOG_TARGET, "Tensor {tensor} cannot be served: {error}");
		Answer::Busy
	})
}

fn tensor_of(question: &Question) -> &Commitment {
	match question {
		Question::Size(tensor) | Question::Nodes(tensor) | Question::Group(tensor, _) => tensor,
	}
}

fn outcome(answer: &Answer) -> &'static str {
	match answer {
		Answer::Size(_) | Answer::Nodes(_) | Answer::Group(_) => "served",
		Answer::Absent => "absent",
		Answer::Busy => "busy",
	}
}

/// The answers that are made or on their way, by peer.
#[derive(Default)]
struct Places(Mutex<HashMap<PeerId, usize>>);

/// A place among them, until it is dropped.
struct Place {
	places: Arc<Places>,
	peer: PeerId,
}

impl Places {
	/// A place for an answer to a peer, if there is one.
	fn take(self: &Arc<Self>, peer: PeerId) -> Option<Place> {
		let mut taken = self.0.lock();
		let of_peer = taken.get(&peer).copied().unwrap_or(0);
		if of_peer >= ANSWERS_PER_PEER || taken.values().sum::<usize>() >= ANSWERS {
			return None;
		}
		taken.insert(peer, of_peer + 1);
		Some(Place { places: self.clone(), peer })
	}
}

impl Drop for Place {
	fn drop(&mut self) {
		let mut taken = self.places.0.lock();
		if let Some(of_peer) = taken.get_mut(&self.peer) {
			*of_peer -= 1;
			if *of_peer == 0 {
				taken.remove(&self.peer);
			}
		}
	}
}

/// Answers until no more questions can come.
pub async fn run(store: Arc<TensorStore>, questions: async_channel::Receiver<IncomingRequest>, metrics: Metrics) {
	let mut rates: Rates<PeerId> = Rates::new(LIMITS);
	let places = Arc::new(Places::default());
	while let Ok(IncomingRequest { peer, payload, pending_response }) = questions.recv().await {
		let admitted = admit(&mut rates, &places, peer, &payload, Instant::now());
		let (question, place) = match admitted {
			Ok(admitted) => admitted,
			Err(refusal) => {
				metrics.asked.with_label_values(&[refusal.outcome]).inc();
				let reputation_changes = refusal.change.into_iter().collect();
				// Whoever asked may be gone; then nobody takes the answer.
				let _ = pending_response.send(OutgoingResponse {
					result: refusal.answer.map(|answer| answer.encode()).ok_or(()),
					reputation_changes,
					sent_feedback: None,
				});
				continue;
			}
		};
		let (store, metrics) = (store.clone(), metrics.clone());
		tokio::spawn(async move {
			let made = tokio::task::spawn_blocking(move || answer(&store, &question)).await;
			let answer = made.unwrap_or(Answer::Busy);
			metrics.asked.with_label_values(&[outcome(&answer)]).inc();
			let bytes = if let Answer::Group(bytes) = &answer { bytes.len() as u64 } else { 0 };
			let (sent, feedback) = oneshot::channel();
			let response =
				OutgoingResponse { result: Ok(answer.encode()), reputation_changes: vec![], sent_feedback: Some(sent) };
			drop(answer);
			let _ = pending_response.send(response);
			// The answer lies in memory until the peer has read it.
			if let Ok(Ok(())) = tokio::time::timeout(REQUEST_TIMEOUT, feedback).await {
				metrics.sent.inc_by(bytes);
			}
			drop(place);
		});
	}
}

/// Why a question is not looked at, and what its sender is told and loses.
struct Refusal {
	outcome: &'static str,
	answer: Option<Answer>,
	change: Option<ReputationChange>,
}

/// Reads a question, and gives it a place if its sender may ask it.
fn admit(
	rates: &mut Rates<PeerId>,
	places: &Arc<Places>,
	peer: PeerId,
	payload: &[u8],
	now: Instant,
) -> Result<(Question, Place), Refusal> {
	let busy = |outcome, change| Refusal { outcome, answer: Some(Answer::Busy), change };
	let senseless = || Refusal { outcome: "senseless", answer: None, change: Some(SENSELESS) };
	let question = Question::read(payload).ok_or_else(senseless)?;
	rates.ask(&peer, cost(&question), now).map_err(|excess| match excess {
		Excess::Questions => busy("flood", Some(FLOOD)),
		Excess::Bytes => busy("rate", None),
	})?;
	let place = places.take(peer).ok_or_else(|| busy("busy", None))?;
	Ok((question, place))
}

#[cfg(test)]
mod tests {
	use super::*;

	fn store() -> (tempfile::TempDir, TensorStore) {
		let folder = tempfile::tempdir().unwrap();
		let store = TensorStore::open(folder.path()).unwrap();
		(folder, store)
	}

	#[test]
	fn what_is_here_is_answered() {
		let (_folder, store) = store();
		let small = store.put(&[7; 2_048]).unwrap();
		let large = store.put(&vec![9; GROUP_BYTES as usize + 1_024]).unwrap();
		assert_eq!(answer(&store, &Question::Size(small)), Answer::Size(2_048));
		assert_eq!(answer(&store, &Question::Nodes(small)), Answer::nodes(&[]));
		assert_eq!(answer(&store, &Question::Group(small, 0)), Answer::group(vec![7; 2_048]));
		assert_eq!(answer(&store, &Question::Group(large, 1)), Answer::group(vec![9; 1_024]));
		let Answer::Nodes(nodes) = answer(&store, &Question::Nodes(large)) else { panic!("it is here") };
		assert_eq!(nodes.len(), 2);
		let unknown = Commitment([1; 32]);
		for question in [
			Question::Size(unknown),
			Question::Nodes(unknown),
			Question::Group(unknown, 0),
			Question::Group(small, 1),
			Question::Group(large, 2),
			Question::Group(large, u32::MAX),
		] {
			assert_eq!(answer(&store, &question), Answer::Absent, "{question:?}");
		}
	}

	#[test]
	fn one_peer_takes_only_some_of_the_places() {
		let places = Arc::new(Places::default());
		let peer = PeerId::random();
		let mut taken: Vec<_> = (0..ANSWERS_PER_PEER).map(|_| places.take(peer).unwrap()).collect();
		assert!(places.take(peer).is_none());
		let others: Vec<_> = std::iter::from_fn(|| places.take(PeerId::random())).collect();
		assert_eq!(others.len(), ANSWERS - ANSWERS_PER_PEER);
		taken.pop();
		assert!(places.take(peer).is_some());
		drop((taken, others));
		assert!(places.0.lock().is_empty(), "nothing is remembered of peers that got their answers");
	}

	#[test]
	fn senseless_and_too_many_questions_cost_reputation() {
		let (mut rates, places) = (Rates::new(Limits { questions: 2, bytes: GROUP_BYTES, ..LIMITS }), Arc::default());
		let (peer, now) = (PeerId::random(), Instant::now());
		let mut ask = |payload: &[u8]| admit(&mut rates, &places, peer, payload, now).map(|_| ());
		for senseless in [&[][..], &[0; 1], &[9; 33], &[0; 34], &[0; 100_000]] {
			let refusal = ask(senseless).unwrap_err();
			assert!(refusal.answer.is_none() && refusal.change == Some(SENSELESS));
		}
		let group = Question::Group(Commitment::default(), 0).encode();
		assert!(ask(&group).is_ok());
		let refusal = ask(&group).unwrap_err();
		assert_eq!((refusal.outcome, refusal.answer, refusal.change), ("rate", Some(Answer::Busy), None));
		let refusal = ask(&group).unwrap_err();
		assert_eq!((refusal.outcome, refusal.answer, refusal.change), ("flood", Some(Answer::Busy), Some(FLOOD)));
	}

	#[tokio::test]
	async fn questions_from_the_network_are_answered_until_it_ends() {
		let (_folder, store) = store();
		let tensor = store.put(&[3; 4_096]).unwrap();
		let (questions, queue) = async_channel::bounded(8);
		let metrics = Metrics::new(None).unwrap();
		let server = tokio::spawn(run(Arc::new(store), queue, metrics.clone()));
		let ask = |payload: Vec<u8>| {
			let (pending_response, answer) = oneshot::channel();
			let peer = PeerId::random();
			questions.try_send(IncomingRequest { peer, payload, pending_response }).unwrap();
			answer
		};
		let response = ask(Question::Group(tensor, 0).encode()).await.unwrap();
		assert_eq!(Answer::read(&response.result.unwrap()), Some(Answer::group(vec![3; 4_096])));
		response.sent_feedback.unwrap().send(()).unwrap();
		let response = ask(b"what?".to_vec()).await.unwrap();
		assert_eq!((response.result, response.reputation_changes.len()), (Err(()), 1));
		drop(ask(Question::Size(tensor).encode()));
		drop(questions);
		server.await.unwrap();
		assert_eq!(metrics.asked.with_label_values(&["senseless"]).get(), 1);
	}
}
