//! Work proofs, verified as `pallet-work` does.

use std::{collections::HashMap, sync::LazyLock};

use labora_graph::OpIndex;
use labora_pouw::{proof::Operand, Difficulty, IdleProof, IdleSeed, ProofError, TileIndex, UsefulProof, UsefulSeed};
use labora_primitives::{ResolveError, ResolvedWork, UnitKind, WorkProof};
use labora_tensor::{Commitment, Opening, Tensor};

use crate::{fixture::Fixture, script::Script};

const GENESIS: [u8; 32] = [1; 32];
const PARENT: [u8; 32] = [2; 32];
const ASSIGNMENT: u64 = 3;
/// Every ticket wins.
const TRIVIAL: Difficulty = Difficulty(1);
/// The op of a step whose product is eligible.
const PRODUCT: u32 = 2;

struct State {
	fixture: Fixture,
	/// Every tensor of the unit that may be an operand.
	tensors: HashMap<Commitment, Tensor>,
	/// The proof of the best of all tickets that these tensors give, and the difficulty that only it wins at.
	best: UsefulProof,
	hard: Difficulty,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
	Assignment,
	Resolve(ResolveError),
	WrongOperand,
	Proof(ProofError),
}

static STATE: LazyLock<State> = LazyLock::new(|| {
	let fixture = Fixture::training();
	let ops = fixture.program.ops();
	let steps = fixture.spec.job.steps();
	let operand = |op| (fixture.seal(op).a, fixture.seal(op).b);
	let products: Vec<_> = (0..steps).map(|step| OpIndex(step * ops + PRODUCT)).collect();
	let mut tensors = HashMap::new();
	for op in &products {
		for place in fixture.places(*op, labora_tensor::BlockIndex { row: 0, col: 0 }).iter().take(2) {
			let tensor = fixture.source(place.source);
			tensors.insert(tensor.commitment(), tensor.clone());
		}
	}
	// Any op may be combined with the weights of any step: the chain compares them only with the result.
	let mut tickets = Vec::new();
	for op in &products {
		for other in &products {
			for tile in [(0, 0), (0, 1), (1, 0), (1, 1)] {
				let tile = TileIndex { row: tile.0, col: tile.1 };
				let (a, b) = (operand(*op).0, operand(*other).1);
				let work = resolve(&fixture, *op, tile).expect("it is eligible");
				let proof = honest(&tensors, *op, tile, a, b, &work);
				let sealed = verify(&fixture, &proof, TRIVIAL).expect("every ticket wins");
				tickets.push((sealed, proof));
			}
		}
	}
	tickets.sort_by_key(|(ticket, _)| *ticket);
	let (ticket, best) = tickets[0].clone();
	// The largest that it wins at, bit by bit.
	let mut hard = TRIVIAL.0;
	for shift in (0..100).rev() {
		if verify(&fixture, &best, Difficulty(hard + (1 << shift))).is_ok() {
			hard += 1 << shift;
		}
	}
	let hard = Difficulty(hard);
	assert!(tickets[1..].iter().all(|(other, proof)| *other > ticket && verify(&fixture, proof, hard).is_err()));
	State { fixture, tensors, best, hard }
});

fn resolve(fixture: &Fixture, op: OpIndex, tile: TileIndex) -> Result<ResolvedWork, ResolveError> {
	let UnitKind::Steps(unit) = fixture.unit.kind else { return Err(ResolveError::NotMineable) };
	fixture.spec.resolve(&fixture.program, fixture.unit.round, unit, op, tile)
}

fn verify(fixture: &Fixture, proof: &UsefulProof, difficulty: Difficulty) -> Result<sp_core::U256, Refusal> {
	if proof.assignment != ASSIGNMENT {
		return Err(Refusal::Assignment);
	}
	let work = resolve(fixture, proof.op, proof.tile).map_err(Refusal::Resolve)?;
	let known = [(work.known_a, proof.a), (work.known_b, proof.b)];
	if known.iter().any(|(known, said)| known.is_some_and(|known| known != *said)) {
		return Err(Refusal::WrongOperand);
	}
	let (a, b) = (&proof.a, &proof.b);
	let product = work.product;
	let seed = UsefulSeed { genesis: &GENESIS, parent: &PARENT, assignment: ASSIGNMENT, op: proof.op, a, b, product };
	let sealed = proof.verify(&seed.seed(), &product, &work.a, &work.b, difficulty).map_err(Refusal::Proof)?;
	Ok(sealed.ticket())
}

fn open(tensors: &HashMap<Commitment, Tensor>, commitment: &Commitment, operand: &Operand) -> Option<Opening> {
	tensors.get(commitment)?.open(&operand.chunks)
}

fn honest(
	tensors: &HashMap<Commitment, Tensor>,
	op: OpIndex,
	tile: TileIndex,
	a: Commitment,
	b: Commitment,
	work: &ResolvedWork,
) -> UsefulProof {
	let strip_a = open(tensors, &a, &work.a).expect("a tensor of the unit");
	let strip_b = open(tensors, &b, &work.b).expect("a tensor of the unit");
	UsefulProof { assignment: ASSIGNMENT, op, tile, a, b, strip_a, strip_b }
}

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	let state = &*STATE;
	match script.u8() & 7 {
		0 => match script.decoded() {
			Some(WorkProof::Useful(proof)) => useful(state, &proof),
			Some(WorkProof::Idle(proof)) => idle(&proof, script.u8()),
			None => {}
		},
		1 => {
			let tile = TileIndex { row: script.wild32(), col: script.wild32() };
			idle(&IdleProof { nonce: script.wild(), tile }, script.u8());
		}
		// The fields alone: few bytes of an encoding are theirs.
		2 => {
			let mut proof = state.best.clone();
			match script.u8() & 7 {
				0 => proof.assignment = script.wild(),
				1 => proof.op = OpIndex(script.wild32()),
				2 => proof.tile = TileIndex { row: script.wild32(), col: script.wild32() },
				3 => std::mem::swap(&mut proof.a, &mut proof.b),
				4 => std::mem::swap(&mut proof.strip_a, &mut proof.strip_b),
				5 => proof.strip_a.siblings.reverse(),
				6 => std::mem::swap(&mut proof.strip_b.siblings, &mut proof.strip_a.siblings),
				_ => {
					let tensors: Vec<_> = state.tensors.keys().collect();
					proof.b = *tensors[script.below(tensors.len())];
				}
			}
			script.edit(&mut proof.strip_a.data);
			useful(state, &proof);
		}
		// An honest proof of any ticket, edited.
		3 => {
			let step = script.below(state.fixture.spec.job.steps() as usize) as u32;
			let op = OpIndex(step * state.fixture.program.ops() + PRODUCT);
			let tile = TileIndex { row: script.below(2) as u32, col: script.below(2) as u32 };
			let seal = state.fixture.seal(op);
			let work = resolve(&state.fixture, op, tile).expect("it is eligible");
			let proof = honest(&state.tensors, op, tile, seal.a, seal.b, &work);
			assert!(verify(&state.fixture, &proof, TRIVIAL).is_ok());
			edited(state, &mut script, proof);
		}
		_ => edited(state, &mut script, state.best.clone()),
	}
}

fn edited(state: &State, script: &mut Script, proof: UsefulProof) {
	if let Some(WorkProof::Useful(proof)) = script.edited(&WorkProof::Useful(proof)) {
		useful(state, &proof);
	}
}

fn useful(state: &State, proof: &UsefulProof) {
	if verify(&state.fixture, proof, TRIVIAL).is_err() {
		assert_ne!(*proof, state.best);
		return;
	}
	// Where every ticket wins, the strips must be what the commitments say.
	let work = resolve(&state.fixture, proof.op, proof.tile).expect("it was verified");
	assert_eq!(open(&state.tensors, &proof.a, &work.a).as_ref(), Some(&proof.strip_a), "a forged left strip");
	assert_eq!(open(&state.tensors, &proof.b, &work.b).as_ref(), Some(&proof.strip_b), "a forged right strip");
	// At a difficulty that one ticket of the unit wins at, one proof does.
	assert_eq!(verify(&state.fixture, proof, state.hard).is_ok(), *proof == state.best, "{proof:?}");
}

fn idle(proof: &IdleProof, account: u8) {
	let seed = IdleSeed { genesis: &GENESIS, parent: &PARENT, account: &[account; 32], nonce: proof.nonce };
	let inside = proof.tile.row < 32 && proof.tile.col < 32;
	match proof.verify(&seed, TRIVIAL) {
		Ok(_) => assert!(inside),
		Err(error) => assert!(!inside && error == ProofError::NoSuchTile),
	}
}
