//! Who validates, and what it costs to vote twice.

mod chain;

use chain::*;
use codec::{Decode, Encode};
use frame_support::{assert_noop, assert_ok, traits::KeyOwnerProofSystem};
use labora_primitives::{AccountId, CandidateInfo, WorkCredit};
use labora_runtime::{
	constants::{BONDING_SESSIONS, KEY_DEPOSIT, LAB, MAX_CANDIDATES, MAX_VALIDATORS, MIN_VALIDATOR_BOND},
	Balance, Balances, Grandpa, Historical, Runtime, RuntimeCall, RuntimeOrigin, Session, SessionConfig, SessionKeys,
	UncheckedExtrinsic, Validators, ValidatorsConfig,
};
use sp_consensus_grandpa::{localized_payload, AuthorityId, EquivocationProof};
use sp_core::{ed25519, proof_of_possession::ProofOfPossessionGenerator, Pair, H256};
use sp_io::TestExternalities;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidityError};

type ValidatorError = pallet_validators::Error<Runtime>;
type SessionError = pallet_session::Error<Runtime>;
type GrandpaError = pallet_grandpa::Error<Runtime>;

/// Blocks of a session.
const SESSION: u32 = 3;
const BOND: Balance = MIN_VALIDATOR_BOND;

fn account(index: u16) -> AccountId {
	let mut bytes = [100; 32];
	bytes[..2].copy_from_slice(&index.to_le_bytes());
	AccountId::new(bytes)
}

fn pair(index: u16) -> ed25519::Pair {
	ed25519::Pair::from_seed(&<[u8; 32]>::from(account(index)))
}

fn keys(index: u16) -> SessionKeys {
	SessionKeys { grandpa: pair(index).public().into() }
}

fn signed(index: u16) -> RuntimeOrigin {
	RuntimeOrigin::signed(account(index))
}

/// A chain whose first validators have these bonds, and `rich` more accounts that have money.
fn chain_with(bonds: &[Balance], rich: u16) -> TestExternalities {
	let count = bonds.len() as u16;
	let mut genesis = genesis();
	genesis.balances.balances.extend((0..count + rich).map(|index| (account(index), ENDOWMENT)));
	let candidates = bonds.iter().enumerate().map(|(index, bond)| (account(index as u16), *bond)).collect();
	genesis.validators = ValidatorsConfig { candidates, session_length: SESSION, _marker: Default::default() };
	let named = (0..count).map(|index| (account(index), account(index), keys(index)));
	genesis.session = SessionConfig { keys: named.collect(), non_authority_keys: vec![] };
	chain_of(genesis)
}

/// Blocks until so many sessions have begun, the block that begins the last included.
fn sessions(count: u32) {
	let target = Session::current_index() + count;
	while Session::current_index() < target {
		blocks(1);
	}
}

fn set_keys(index: u16) {
	let mut pair = pair(index);
	let proof = (pair.generate_proof_of_possession(&account(index).encode()),).encode();
	assert_ok!(Session::set_keys(signed(index), keys(index), proof));
}

fn join(index: u16, bond: Balance) {
	assert_ok!(Validators::declare_candidacy(signed(index), bond));
	set_keys(index);
}

fn voters() -> Vec<AuthorityId> {
	Grandpa::grandpa_authorities().into_iter().map(|(key, _)| key).collect()
}

fn keys_of(indices: impl IntoIterator<Item = u16>) -> Vec<AuthorityId> {
	indices.into_iter().map(|index| keys(index).grandpa).collect()
}

fn candidate(index: u16) -> CandidateInfo {
	Validators::candidates().into_iter().find(|info| info.account == account(index)).expect("a candidate")
}

#[test]
fn the_validators_of_the_genesis_vote_at_once() {
	chain_with(&[BOND, 2 * BOND], 0).execute_with(|| {
		assert_eq!(voters(), keys_of([1, 0]), "in order of their scores");
		assert_eq!(Session::validators(), [account(1), account(0)]);
		assert!(candidate(0).validates && candidate(0).elected && candidate(0).has_keys);
		assert_eq!(held(&account(1)), 2 * BOND);
		sessions(3);
		assert_eq!(voters(), keys_of([1, 0]));
		assert_eq!(Grandpa::current_set_id(), 2, "every session but the second is a set of its own");
	});
}

#[test]
fn a_newcomer_votes_two_sessions_later() {
	chain_with(&[BOND, BOND], 1).execute_with(|| {
		sessions(1);
		block(&OTHER, || join(2, 3 * BOND));
		assert_eq!(held(&account(2)), 3 * BOND + KEY_DEPOSIT);
		assert_eq!(voters(), keys_of([0, 1]));
		assert!(!candidate(2).elected);
		sessions(1);
		assert!(candidate(2).elected && !candidate(2).validates, "elected for the session after");
		assert_eq!(voters(), keys_of([0, 1]));
		sessions(1);
		assert!(candidate(2).validates);
		assert_eq!(voters(), keys_of([2, 0, 1]));
	});
}

#[test]
fn without_keys_nobody_is_elected() {
	chain_with(&[BOND], 1).execute_with(|| {
		block(&OTHER, || {
			assert_ok!(Validators::declare_candidacy(signed(1), 5 * BOND));
		});
		sessions(3);
		assert_eq!(voters(), keys_of([0]));
		assert!(!candidate(1).has_keys);
		block(&OTHER, || set_keys(1));
		sessions(2);
		assert_eq!(voters(), keys_of([1, 0]));
		// Who takes its keys back is out again.
		block(&OTHER, || {
			assert_ok!(Session::purge_keys(signed(1)));
		});
		assert_eq!(held(&account(1)), 5 * BOND);
		sessions(2);
		assert_eq!(voters(), keys_of([0]));
	});
}

#[test]
fn when_nobody_can_be_elected_those_there_are_stay() {
	chain_with(&[BOND, BOND], 0).execute_with(|| {
		block(&OTHER, || {
			assert_ok!(Validators::leave(signed(0)));
			assert_ok!(Validators::leave(signed(1)));
		});
		sessions(5);
		assert_eq!(voters(), keys_of([0, 1]));
		assert!(candidate(0).validates && candidate(0).elected);
		// As long as they validate they do not get their bonds back.
		pallet_session::CurrentIndex::<Runtime>::put(BONDING_SESSIONS * 2);
		assert_noop!(Validators::withdraw(signed(0)), ValidatorError::StillBonded);
	});
}

#[test]
fn there_are_so_many_seats_and_equals_take_them_in_order() {
	let seats = MAX_VALIDATORS as u16;
	chain_with(&[BOND], seats + 4).execute_with(|| {
		block(&OTHER, || (1..seats + 4).for_each(|index| join(index, BOND)));
		sessions(2);
		assert_eq!(voters(), keys_of(0..seats));
		// One more unit of the money is worth a seat.
		block(&OTHER, || {
			assert_ok!(Validators::bond_more(signed(seats + 2), 1));
		});
		sessions(2);
		assert_eq!(voters(), keys_of([seats + 2].into_iter().chain(0..seats - 1)));
	});
}

#[test]
fn useful_work_raises_a_score_at_most_to_the_double() {
	chain_with(&[BOND, BOND, BOND * 3 / 2], 0).execute_with(|| {
		assert_eq!(voters(), keys_of([2, 0, 1]));
		let work = |who: &AccountId, macs| <Validators as WorkCredit>::accepted(who, macs);
		block(&OTHER, || work(&account(1), 300));
		assert_eq!(candidate(1).score, 2 * BOND, "all of the work");
		block(&OTHER, || work(&SPONSOR, 100));
		assert_eq!(candidate(1).score, BOND * 7 / 4, "the work of others counts against it, candidates' or not");
		assert_eq!(candidate(2).score, BOND * 3 / 2);
		sessions(2);
		assert_eq!(voters(), keys_of([1, 2, 0]));
		assert_eq!(candidate(1).score, BOND * 7 / 4, "its share stays as its work fades");
		block(&OTHER, || work(&SPONSOR, 1_000_000));
		assert!(candidate(1).score < BOND * 1_001 / 1_000);
		// What is taken back is taken back in full, and the score never falls below the bond.
		block(&OTHER, || <Validators as WorkCredit>::rejected(&account(1), 300));
		assert_eq!(candidate(1).score, BOND);
		work(&account(1), u128::MAX);
		work(&account(1), u128::MAX);
		assert_eq!(candidate(1).score, 2 * BOND);
	});
}

#[test]
fn an_accepted_unit_is_its_workers_work() {
	new_chain().execute_with(|| {
		block(&OTHER, || {
			assert_ok!(Validators::declare_candidacy(RuntimeOrigin::signed(MINER), BOND));
			register_worker(&MINER, 1);
			register_task(training_spec(), 100 * PRICE)
		});
		let work = || pallet_validators::Candidates::<Runtime>::get(&MINER).expect("a candidate").work.macs;
		assert_eq!(work(), 0);
		let assignment = assignments(&MINER).pop().expect("a unit");
		let (output, _) = run(&training_spec(), &assignment, &[initial_parameter()]);
		let result = result_of(&training_spec(), &assignment, &output);
		block(&OTHER, || {
			assert_ok!(submit(&MINER, assignment.id, result));
		});
		assert_eq!(work(), info(assignment.unit.task).unit_macs);
		assert_eq!(pallet_validators::TotalWork::<Runtime>::get().macs, work());
		// Nobody answers the audit: the result falls, and with it the credit.
		blocks(30);
		assert_eq!(work(), 0);
		assert_eq!(pallet_validators::TotalWork::<Runtime>::get().macs, 0);
	});
}

#[test]
fn bad_calls_are_refused_by_name() {
	chain_with(&[BOND], 2).execute_with(|| {
		begin(&OTHER);
		assert_ok!(prove(idle_proof()));
		let declare = |index, bond| Validators::declare_candidacy(signed(index), bond);
		assert_noop!(declare(1, BOND - 1), ValidatorError::BondTooSmall);
		assert_noop!(declare(1, 0), ValidatorError::BondTooSmall);
		assert_noop!(declare(1, ENDOWMENT + 1), ValidatorError::InsufficientBalance);
		assert_noop!(declare(1, Balance::MAX), ValidatorError::InsufficientBalance);
		assert_noop!(declare(0, BOND), ValidatorError::AlreadyCandidate);
		assert_noop!(Validators::bond_more(signed(1), LAB), ValidatorError::NotCandidate);
		assert_noop!(Validators::bond_more(signed(0), Balance::MAX), ValidatorError::InsufficientBalance);
		assert_noop!(Validators::leave(signed(1)), ValidatorError::NotCandidate);
		assert_noop!(Validators::withdraw(signed(1)), ValidatorError::NotCandidate);
		assert_noop!(Validators::withdraw(signed(0)), ValidatorError::NotLeaving);
		for origin in [RuntimeOrigin::none(), RuntimeOrigin::root()] {
			assert!(Validators::declare_candidacy(origin, BOND).is_err());
		}
		assert_ok!(Validators::leave(signed(0)));
		assert_noop!(Validators::leave(signed(0)), ValidatorError::AlreadyLeaving);
		assert_noop!(Validators::bond_more(signed(0), LAB), ValidatorError::AlreadyLeaving);
		assert_noop!(declare(0, BOND), ValidatorError::AlreadyCandidate);
		assert_noop!(Validators::withdraw(signed(0)), ValidatorError::StillBonded);
		// Another's key, or without showing that one has it.
		let proof = (pair(1).generate_proof_of_possession(&account(1).encode()),).encode();
		assert_noop!(Session::set_keys(signed(2), keys(1), proof.clone()), SessionError::InvalidProof);
		assert_noop!(Session::set_keys(signed(1), keys(2), proof), SessionError::InvalidProof);
		assert_noop!(Session::set_keys(signed(1), keys(1), vec![]), SessionError::InvalidProof);
		let again = (pair(0).generate_proof_of_possession(&account(1).encode()),).encode();
		assert_noop!(Session::set_keys(signed(1), keys(0), again), SessionError::DuplicatedKey);
		end();
	});
}

#[test]
fn the_roster_is_bounded() {
	let most = MAX_CANDIDATES as u16;
	chain_with(&[BOND], most).execute_with(|| {
		block(&OTHER, || {
			(1..most).for_each(|index| {
				assert_ok!(Validators::declare_candidacy(signed(index), BOND));
			});
			assert_noop!(Validators::declare_candidacy(signed(most), BOND), ValidatorError::TooManyCandidates);
			assert_ok!(Validators::leave(signed(5)));
			assert_ok!(Validators::declare_candidacy(signed(most), BOND));
		});
		sessions(2);
		assert_eq!(voters(), keys_of([0]));
	});
}

#[test]
fn who_leaves_has_its_bond_back_when_nothing_can_be_reported_any_more() {
	chain_with(&[BOND, 2 * BOND], 0).execute_with(|| {
		sessions(1);
		block(&OTHER, || {
			assert_ok!(Validators::leave(signed(1)));
		});
		assert!(candidate(1).validates && candidate(1).elected, "for this session and the next");
		sessions(1);
		assert_eq!(voters(), keys_of([1, 0]));
		sessions(1);
		assert_eq!(voters(), keys_of([0]));
		let last = Session::current_index() - 1;
		sessions(BONDING_SESSIONS - 1);
		assert!(Historical::historical_root(last).is_some());
		assert_noop!(Validators::withdraw(signed(1)), ValidatorError::StillBonded);
		sessions(1);
		assert!(Historical::historical_root(last).is_none(), "its last session is forgotten");
		block(&OTHER, || {
			assert_ok!(Validators::withdraw(signed(1)));
		});
		assert_eq!((held(&account(1)), free(&account(1))), (0, ENDOWMENT));
		// And may come back.
		block(&OTHER, || join(1, BOND));
		sessions(2);
		assert_eq!(voters(), keys_of([0, 1]));
	});
}

type Proof = EquivocationProof<H256, u32>;
type Vote = (H256, u32);

/// What shows that a validator signed two precommits of a round.
fn equivocation(index: u16, set: u64, round: u64, first: Vote, second: Vote) -> Proof {
	/// The variant of a precommit, in messages as in equivocations.
	const PRECOMMIT: u8 = 1;
	let sign = |vote: Vote| pair(index).sign(&localized_payload(round, set, &(PRECOMMIT, vote)));
	let votes = ((first, sign(first)), (second, sign(second)));
	let bytes = (set, PRECOMMIT, round, pair(index).public(), votes).encode();
	Proof::decode(&mut &bytes[..]).expect("an equivocation")
}

/// Two different votes of a validator in a round of the current set.
fn two_votes(index: u16, round: u64) -> Proof {
	let (first, second) = ((H256::repeat_byte(1), 7), (H256::repeat_byte(2), 7));
	equivocation(index, Grandpa::current_set_id(), round, first, second)
}

fn ownership(index: u16) -> sp_session::MembershipProof {
	Historical::prove((sp_consensus_grandpa::KEY_TYPE, keys(index).grandpa)).expect("a validator of this session")
}

fn report(proof: Proof, owner: sp_session::MembershipProof) -> Result<(), sp_runtime::DispatchError> {
	let reported = Grandpa::report_equivocation_unsigned(RuntimeOrigin::none(), Box::new(proof), owner);
	reported.map(|_| ()).map_err(|error| error.error)
}

#[test]
fn an_equivocation_costs_a_part_of_the_bond_and_the_candidacy() {
	chain_with(&[BOND; 4], 0).execute_with(|| {
		sessions(1);
		let issued = || Balances::total_issuance();
		let before = block(&OTHER, || {
			let before = issued();
			assert_ok!(report(two_votes(1, 5), ownership(1)));
			before
		});
		// One of four: (3/4)^2.
		let cost = BOND * 9 / 16;
		assert_eq!(candidate(1).candidate.bond, BOND - cost);
		assert_eq!(held(&account(1)), BOND - cost);
		assert_eq!(before - issued(), cost, "burned");
		assert!(candidate(1).candidate.leaving.is_some());
		assert_eq!(Session::disabled_validators(), [1]);
		sessions(2);
		assert_eq!(voters(), keys_of([0, 2, 3]));
		// The offence can be reported once, in any later session too.
		block(&OTHER, || {
			let late = equivocation(2, 1, 9, (H256::repeat_byte(1), 7), (H256::repeat_byte(2), 7));
			assert_noop!(report(late, ownership(2)), GrandpaError::InvalidEquivocationProof);
		});
	});
}

#[test]
fn an_equivocation_of_an_earlier_session_is_punished() {
	chain_with(&[BOND; 4], 0).execute_with(|| {
		sessions(2);
		let (proof, owner) = (two_votes(3, 1), ownership(3));
		sessions(4);
		block(&OTHER, || {
			assert_ok!(report(proof.clone(), owner.clone()));
		});
		assert_eq!(candidate(3).candidate.bond, BOND - BOND * 9 / 16);
		block(&OTHER, || {
			assert_noop!(report(proof.clone(), owner), GrandpaError::DuplicateOffenceReport);
		});
		assert_eq!(candidate(3).candidate.bond, BOND - BOND * 9 / 16, "once");
	});
}

#[test]
fn equivocations_together_cost_everything_and_those_of_a_session_do_not_add_up() {
	chain_with(&[BOND; 4], 0).execute_with(|| {
		block(&OTHER, || {
			assert_ok!(report(two_votes(0, 5), ownership(0)));
			assert_ok!(report(two_votes(0, 6), ownership(0)));
		});
		assert_eq!(candidate(0).candidate.bond, BOND - BOND * 9 / 16, "the highest cost of the session counts");
		// Two of four in one round could finalize what others do not: all of both bonds.
		block(&OTHER, || {
			assert_ok!(report(two_votes(1, 5), ownership(1)));
		});
		assert_eq!((candidate(0).candidate.bond, candidate(1).candidate.bond), (0, 0));
		assert_eq!((held(&account(0)), held(&account(1))), (0, 0));
		sessions(2);
		assert_eq!(voters(), keys_of([2, 3]));
		// With nothing left to bond for, they still wait.
		assert_noop!(Validators::withdraw(signed(0)), ValidatorError::StillBonded);
	});
}

#[test]
fn a_leaving_validator_is_punished_too() {
	chain_with(&[BOND; 4], 0).execute_with(|| {
		block(&OTHER, || {
			assert_ok!(Validators::leave(signed(2)));
		});
		let from = candidate(2).candidate.leaving;
		let (proof, owner) = (two_votes(2, 1), ownership(2));
		sessions(BONDING_SESSIONS - 1);
		block(&OTHER, || {
			assert_ok!(report(proof, owner));
		});
		assert_eq!(held(&account(2)), BOND - BOND * 9 / 16);
		assert_eq!(candidate(2).candidate.leaving, from, "no later for it");
	});
}

#[test]
fn forged_reports_are_refused_by_name() {
	chain_with(&[BOND; 4], 1).execute_with(|| {
		sessions(2);
		begin(&OTHER);
		assert_ok!(prove(idle_proof()));
		let (set, vote, other) = (Grandpa::current_set_id(), (H256::repeat_byte(1), 7), (H256::repeat_byte(2), 7));
		let refused = |proof, owner, error: GrandpaError| {
			assert_noop!(report(proof, owner), error);
		};
		// The same vote twice is none.
		refused(equivocation(1, set, 5, vote, vote), ownership(1), GrandpaError::InvalidEquivocationProof);
		// Votes of another set, signed as of this one, and the other way.
		refused(equivocation(1, set + 1, 5, vote, other), ownership(1), GrandpaError::InvalidEquivocationProof);
		refused(equivocation(1, set - 1, 5, vote, other), ownership(1), GrandpaError::InvalidEquivocationProof);
		let mut bytes = two_votes(1, 5).encode();
		bytes[0] ^= 1;
		let moved = Proof::decode(&mut &bytes[..]).expect("decodes");
		refused(moved, ownership(1), GrandpaError::InvalidEquivocationProof);
		// Each byte of both signatures and votes.
		let bytes = two_votes(1, 5).encode();
		for at in 8 + 1 + 8 + 32..bytes.len() {
			let mut forged = bytes.clone();
			forged[at] ^= 1;
			refused(
				Proof::decode(&mut &forged[..]).expect("decodes"),
				ownership(1),
				GrandpaError::InvalidEquivocationProof,
			);
		}
		// Another's key, no validator's key, another session's validators.
		refused(two_votes(1, 5), ownership(2), GrandpaError::InvalidKeyOwnershipProof);
		refused(two_votes(4, 5), ownership(1), GrandpaError::InvalidKeyOwnershipProof);
		let changed = |change: &dyn Fn(&mut sp_session::MembershipProof)| {
			let mut owner = ownership(1);
			change(&mut owner);
			owner
		};
		refused(two_votes(1, 5), changed(&|owner| owner.session += 7), GrandpaError::InvalidKeyOwnershipProof);
		refused(two_votes(1, 5), changed(&|owner| owner.validator_count = 1), GrandpaError::InvalidKeyOwnershipProof);
		refused(two_votes(1, 5), changed(&|owner| owner.trie_nodes.clear()), GrandpaError::InvalidKeyOwnershipProof);
		refused(
			two_votes(1, 5),
			changed(&|owner| owner.trie_nodes.push(vec![0; 40])),
			GrandpaError::InvalidKeyOwnershipProof,
		);
		assert_eq!(candidate(1).candidate.bond, BOND);
		// Reports without a fee come from this node or stand in a block, never from the network; bad ones do not enter the pool.
		let call = |proof, owner| pallet_grandpa::Call::<Runtime>::report_equivocation_unsigned {
			equivocation_proof: Box::new(proof),
			key_owner_proof: owner,
		};
		let checked = |source, call| Grandpa::validate_unsigned(source, &call);
		let invalid = |why: InvalidTransaction| Err(TransactionValidityError::Invalid(why));
		let good = || call(two_votes(1, 5), ownership(1));
		assert_eq!(checked(TransactionSource::External, good()), invalid(InvalidTransaction::Call));
		assert_eq!(
			checked(TransactionSource::Local, call(two_votes(1, 5), ownership(2))),
			invalid(InvalidTransaction::BadProof)
		);
		assert!(checked(TransactionSource::Local, good()).is_ok());
		let extrinsic = UncheckedExtrinsic::new_bare(RuntimeCall::Grandpa(good()));
		assert!(UncheckedExtrinsic::decode(&mut &extrinsic.encode()[..]).is_ok());
		end();
	});
}
