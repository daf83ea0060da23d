//! Sealed headers, checked as the node's import does: with the node's own file. (The pallet that punishes equivocation does the same
//! by the SDK's host functions; it is not compiled here.)

use std::sync::LazyLock;

use codec::Encode;
use labora_primitives::{AccountId, BlockNumber, Hash};
use sp_consensus_pow::POW_ENGINE_ID;
use sp_core::{sr25519, Pair};
use sp_runtime::{
	generic,
	traits::{BlakeTwo256, Header as _},
	Digest, DigestItem,
};

use crate::{node::seal, script::Script};

type Header = generic::Header<BlockNumber, BlakeTwo256>;

static SEALED: LazyLock<Header> = LazyLock::new(|| {
	let key = sr25519::Pair::from_seed(&[7; 32]);
	let author = AccountId::new(key.public().0);
	let digest = Digest { logs: vec![seal::pre_digest(&author), DigestItem::Other(vec![1, 2, 3])] };
	let mut header = Header::new(9, Hash::repeat_byte(1), Hash::repeat_byte(2), Hash::repeat_byte(3), digest);
	let signature = key.sign(header.hash().as_bytes());
	header.digest_mut().push(DigestItem::Seal(POW_ENGINE_ID, signature.encode()));
	header
});

/// Whether the last digest is the seal of the author that the first pre-runtime digest names.
fn sealed(mut header: Header) -> bool {
	let Some(DigestItem::Seal(POW_ENGINE_ID, seal)) = header.digest_mut().pop() else { return false };
	let mut named = header.digest().logs().iter().filter_map(DigestItem::as_pre_runtime);
	let named = named.find(|(engine, _)| *engine == POW_ENGINE_ID).map(|(_, bytes)| bytes);
	seal::author(named).and_then(|author| seal::verify(&author, &header.hash(), &seal)).is_ok()
}

pub fn run(data: &[u8]) {
	let mut script = Script(data);
	let header = match script.u8() & 3 {
		0 => script.decoded(),
		// The digests as wholes.
		1 => {
			let mut header = SEALED.clone();
			let logs = &mut header.digest_mut().logs;
			for _ in 0..=script.u8() & 3 {
				let at = script.below(logs.len());
				match script.u8() & 3 {
					_ if logs.is_empty() => {}
					0 => drop(logs.remove(at)),
					1 => logs.rotate_left(at),
					2 => logs.insert(at, logs[logs.len() - 1].clone()),
					_ => logs.insert(at, logs[0].clone()),
				}
			}
			Some(header)
		}
		_ => script.edited(&*SEALED),
	};
	if let Some(header) = header {
		assert_eq!(sealed(header.clone()), header == *SEALED, "{header:?}");
	}
}
