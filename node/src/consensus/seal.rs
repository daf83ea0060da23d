//! The seal: the author's signature over the block without its seal, and the key that gives it.
//!
//! It makes a block its author's: the ticket binds to the parent only, so without the signature anyone who sees a block could
//! put the same proof into another one.

use codec::{DecodeAll, Encode};
use labora_primitives::{AccountId, Hash, KEY_TYPE};
use sp_consensus_pow::{Seal, POW_ENGINE_ID};
use sp_core::{
	crypto::{ByteArray, Pair},
	sr25519,
};
use sp_keystore::Keystore;
use sp_runtime::DigestItem;

use crate::cli::MinerKey;

/// Why a block is not sealed by its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
	/// No pre-runtime digest.
	#[error("the block names no author")]
	NoAuthor,
	/// The pre-runtime digest is not an account.
	#[error("the block's author is not an account")]
	MalformedAuthor,
	/// The seal is not a signature.
	#[error("the seal is not an sr25519 signature")]
	MalformedSignature,
	/// The seal is a signature of something else or of someone else.
	#[error("the seal is not the author's signature of this block")]
	WrongSignature,
}

/// Why a block cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
	/// The key was there when the node started.
	#[error("the miner's key is gone from the keystore")]
	KeyGone,
	/// The keystore failed.
	#[error("the keystore cannot sign: {0}")]
	Keystore(#[from] sp_keystore::Error),
}

/// Why there is no key to mine with.
#[derive(Debug, thiserror::Error)]
pub enum MinerKeyError {
	/// The keystore has no key of the type.
	#[error(
		"--mine and --watch need the miner's key, and the keystore has none. Insert one with `labora-node key insert --key-type labo \
		 --scheme sr25519` (and the node's --chain and --base-path), or, for tests, give --miner-key"
	)]
	Missing,
	/// The secret URI is no key.
	#[error("--miner-key is not a secret URI of an sr25519 key: {0}")]
	BadSuri(#[from] sp_keystore::Error),
}

/// The digest that names the author, before the block is executed.
pub fn pre_digest(author: &AccountId) -> DigestItem {
	DigestItem::PreRuntime(POW_ENGINE_ID, author.encode())
}

/// The author that a block's pre-runtime digest names.
pub fn author(pre_digest: Option<&[u8]>) -> Result<AccountId, SealError> {
	let mut bytes = pre_digest.ok_or(SealError::NoAuthor)?;
	AccountId::decode_all(&mut bytes).map_err(|_| SealError::MalformedAuthor)
}

/// Signs a block.
pub fn sign(keystore: &dyn Keystore, key: &sr25519::Public, pre_hash: &Hash) -> Result<Seal, SignError> {
	let signature = keystore.sr25519_sign(KEY_TYPE, key, pre_hash.as_bytes())?.ok_or(SignError::KeyGone)?;
	Ok(signature.encode())
}

/// Checks that a seal is the author's signature of a block.
pub fn verify(author: &AccountId, pre_hash: &Hash, seal: &[u8]) -> Result<(), SealError> {
	let signature = sr25519::Signature::from_slice(seal).map_err(|_| SealError::MalformedSignature)?;
	// A miner's account is its public key.
	let key = sr25519::Public::from_raw(*author.as_ref());
	if sr25519::Pair::verify(&signature, pre_hash.as_bytes(), &key) {
		Ok(())
	} else {
		Err(SealError::WrongSignature)
	}
}

/// Finds the miner's key, putting it into the keystore's memory if it comes as a secret URI.
pub fn miner_key(keystore: &dyn Keystore, which: &MinerKey) -> Result<sr25519::Public, MinerKeyError> {
	// The smallest: a keystore lists its keys in no particular order, and a restart must not change the miner.
	let stored = || keystore.sr25519_public_keys(KEY_TYPE).into_iter().min();
	let insert = |suri: &str| Ok(keystore.sr25519_generate_new(KEY_TYPE, Some(suri))?);
	match which {
		MinerKey::Suri(suri) => insert(suri),
		MinerKey::Keystore => stored().ok_or(MinerKeyError::Missing),
		MinerKey::KeystoreOr(suri) => stored().map_or_else(|| insert(suri), Ok),
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use sc_keystore::LocalKeystore;
	use sp_keyring::Sr25519Keyring::{Alice, Bob};

	const PRE_HASH: Hash = Hash::repeat_byte(7);

	fn sealed_by_alice() -> Seal {
		let keystore = LocalKeystore::in_memory();
		let key = miner_key(&keystore, &MinerKey::Suri("//Alice".into())).unwrap();
		assert_eq!(key, Alice.public());
		sign(&keystore, &key, &PRE_HASH).unwrap()
	}

	#[test]
	fn the_authors_signature_seals() {
		assert_eq!(verify(&Alice.to_account_id(), &PRE_HASH, &sealed_by_alice()), Ok(()));
	}

	#[test]
	fn another_key_does_not_seal() {
		assert_eq!(verify(&Bob.to_account_id(), &PRE_HASH, &sealed_by_alice()), Err(SealError::WrongSignature));
	}

	#[test]
	fn the_signature_of_another_block_does_not_seal() {
		let other = Hash::repeat_byte(8);
		assert_eq!(verify(&Alice.to_account_id(), &other, &sealed_by_alice()), Err(SealError::WrongSignature));
	}

	#[test]
	fn a_malformed_signature_does_not_seal() {
		let seal = sealed_by_alice();
		let longer = [seal.as_slice(), &[0]].concat();
		for malformed in [&[], &seal[..63], longer.as_slice()] {
			assert_eq!(verify(&Alice.to_account_id(), &PRE_HASH, malformed), Err(SealError::MalformedSignature));
		}
		for bit in [0, 255, 256, 511] {
			let mut flipped = seal.clone();
			flipped[bit / 8] ^= 1 << (bit % 8);
			assert_eq!(verify(&Alice.to_account_id(), &PRE_HASH, &flipped), Err(SealError::WrongSignature));
		}
	}

	#[test]
	fn an_author_is_an_account_and_nothing_else() {
		let account = Alice.to_account_id();
		let DigestItem::PreRuntime(engine, bytes) = pre_digest(&account) else { panic!("no pre-runtime digest") };
		assert_eq!((engine, author(Some(&bytes))), (POW_ENGINE_ID, Ok(account)));
		assert_eq!(author(None), Err(SealError::NoAuthor));
		let longer = [bytes.as_slice(), &[0]].concat();
		for malformed in [&[], &bytes[..31], longer.as_slice()] {
			assert_eq!(author(Some(malformed)), Err(SealError::MalformedAuthor));
		}
	}

	#[test]
	fn a_key_that_is_gone_cannot_sign() {
		let signed = sign(&LocalKeystore::in_memory(), &Alice.public(), &PRE_HASH);
		assert!(matches!(signed, Err(SignError::KeyGone)));
	}

	#[test]
	fn a_stored_key_goes_before_the_default_one() {
		let keystore = LocalKeystore::in_memory();
		assert!(matches!(miner_key(&keystore, &MinerKey::Keystore), Err(MinerKeyError::Missing)));
		let default = MinerKey::KeystoreOr("//Bob".into());
		assert_eq!(miner_key(&keystore, &default).unwrap(), Bob.public());
		let keystore = LocalKeystore::in_memory();
		keystore.sr25519_generate_new(KEY_TYPE, Some("//Alice")).unwrap();
		assert_eq!(miner_key(&keystore, &default).unwrap(), Alice.public());
		assert_eq!(miner_key(&keystore, &MinerKey::Keystore).unwrap(), Alice.public());
	}

	#[test]
	fn a_bad_secret_uri_is_an_error() {
		let bad = MinerKey::Suri("not a secret".into());
		assert!(matches!(miner_key(&LocalKeystore::in_memory(), &bad), Err(MinerKeyError::BadSuri(_))));
	}
}
