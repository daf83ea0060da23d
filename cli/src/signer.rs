//! Keys that sign calls.

use std::{fs, path::Path, str::FromStr};

use subxt_signer::{sr25519::Keypair, SecretUri};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
	/// The file with the secret cannot be read.
	#[error("{path}: {source}")]
	Io {
		/// The file.
		path: String,
		/// What the system said.
		source: std::io::Error,
	},
	/// The text is no secret.
	#[error("not a secret: give `//Alice`, a phrase of words, 0x and 64 hexadecimal digits, or a file with one of them ({0})")]
	BadSecret(String),
}

/// A key from a secret (`//Alice`, a phrase, 32 bytes of hexadecimal, each optionally with a derivation path), or from a file with
/// one. A file keeps the secret out of the shell's history and the list of processes.
pub fn load(secret_or_file: &str) -> Result<Keypair, SignerError> {
	let text = if Path::new(secret_or_file).is_file() {
		let io = |source| SignerError::Io { path: secret_or_file.into(), source };
		fs::read_to_string(secret_or_file).map_err(io)?
	} else {
		secret_or_file.into()
	};
	let uri = SecretUri::from_str(text.trim()).map_err(|error| SignerError::BadSecret(error.to_string()))?;
	Keypair::from_uri(&uri).map_err(|error| SignerError::BadSecret(error.to_string()))
}

#[cfg(test)]
mod tests {
	use super::*;
	use crate::client::account_of;

	#[test]
	fn a_secret_and_a_file_with_it_are_the_same_key() {
		let alice = load("//Alice").unwrap();
		assert_eq!(account_of(&alice).to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
		let file = tempfile::NamedTempFile::new().unwrap();
		fs::write(file.path(), "//Alice\n").unwrap();
		assert_eq!(load(file.path().to_str().unwrap()).unwrap().public_key().0, alice.public_key().0);
		assert!(matches!(load("no such words"), Err(SignerError::BadSecret(_))));
	}
}
