//! JSON-RPC for tensors and the miner: how clients bring a task's data, fetch its results, and see what the miner is at.
//!
//! Commitments are 64 hexadecimal digits, as `b3sum` prints them; `0x` in front is allowed. Every refusal has a code of its own.

use std::{io, sync::Arc};

use jsonrpsee::{
	proc_macros::rpc,
	types::{ErrorObject, ErrorObjectOwned},
	Extensions,
};
use labora_tensor::Commitment;
use sc_rpc_api::{check_if_safe, UnsafeRpcError};
use serde::Serialize;
use sp_core::Bytes;

use crate::{
	exchange::{Fetcher, WantStatus},
	tensor_store::{parse_commitment, TensorStore, UploadError, UploadProgress},
	worker::{MinerStatus, WorkerStatus},
};

/// Most bytes of one part of an upload and of one read: in hexadecimal it fits the server's default limits.
pub const MAX_PART_BYTES: u32 = 4 << 20;
/// Error codes count from here.
const BASE_ERROR: i32 = 14_000;

/// Tensors and the miner.
#[rpc(server)]
pub trait LaboraRpc {
	/// Takes a part of a tensor of `total` bytes, at most 4 MiB; parts come in order, the last one makes it complete. An upload can be
	/// continued after a restart of the node: the error of a wrong offset tells the right one. Unsafe: it fills the disk.
	#[method(name = "labora_tensorUpload", blocking, with_extensions)]
	fn upload(&self, commitment: String, total: u64, offset: u64, data: Bytes) -> Result<UploadProgress, Error>;

	/// Bytes of a tensor; null if it is not here.
	#[method(name = "labora_tensorSize", blocking)]
	fn size(&self, commitment: String) -> Result<Option<u64>, Error>;

	/// Bytes `offset..offset + len` of a tensor, at most 4 MiB. The whole hashes to the commitment; a part is not verified.
	#[method(name = "labora_tensorRead", blocking)]
	fn read(&self, commitment: String, offset: u64, len: u32) -> Result<Bytes, Error>;

	/// The tensors that this node lacks and needs, and how far its search for them is.
	#[method(name = "labora_tensorsWanted")]
	fn wanted(&self) -> Result<Vec<WantStatus>, Error>;

	/// What the miner is at; null if the node does not mine.
	#[method(name = "labora_minerStatus")]
	fn miner_status(&self) -> Result<Option<MinerStatus>, Error>;
}

/// Why a call is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
	/// Not 32 bytes in hexadecimal.
	#[error("a commitment is 64 hexadecimal digits")]
	BadCommitment,
	/// More bytes at a time than allowed.
	#[error("at most {MAX_PART_BYTES} bytes at a time")]
	PartTooLarge,
	/// The tensor is not here.
	#[error("this node does not keep the tensor {0}")]
	UnknownTensor(Commitment),
	/// The range is outside the tensor.
	#[error("the range lies outside the tensor of {size} bytes")]
	BadRange {
		/// Bytes of the tensor.
		size: u64,
	},
	/// A part of an upload is refused.
	#[error(transparent)]
	Upload(#[from] UploadError),
	/// The store cannot be read.
	#[error("the tensor store cannot be read: {0}")]
	Io(#[from] io::Error),
	/// The call is for the node's operator only.
	#[error(transparent)]
	Unsafe(#[from] UnsafeRpcError),
}

/// What a client needs to go on with an upload.
#[derive(Serialize)]
struct Expected {
	expected: u64,
}

impl From<Error> for ErrorObjectOwned {
	fn from(error: Error) -> Self {
		let message = error.to_string();
		let plain = |code: i32| ErrorObject::owned(BASE_ERROR + code, message.clone(), None::<()>);
		let expecting = |code: i32, expected: u64| {
			ErrorObject::owned(BASE_ERROR + code, message.clone(), Some(Expected { expected }))
		};
		match error {
			Error::BadCommitment => plain(1),
			Error::PartTooLarge => plain(2),
			Error::UnknownTensor(_) => plain(3),
			Error::BadRange { .. } => plain(4),
			Error::Upload(UploadError::BadSize) => plain(5),
			Error::Upload(UploadError::OffsetMismatch { expected }) => expecting(6, expected),
			Error::Upload(UploadError::TotalMismatch { begun }) => expecting(7, begun),
			Error::Upload(UploadError::BeyondTotal { .. }) => plain(8),
			Error::Upload(UploadError::HashMismatch { .. }) => plain(9),
			Error::Upload(UploadError::TooMany) => plain(10),
			Error::Upload(UploadError::Io(_)) | Error::Io(_) => plain(11),
			Error::Upload(UploadError::Full { .. }) => plain(12),
			Error::Unsafe(error) => error.into(),
		}
	}
}

/// Serves [`LaboraRpc`] from the store and the worker.
pub struct TensorRpc {
	store: Arc<TensorStore>,
	fetcher: Arc<Fetcher>,
	worker: Option<Arc<WorkerStatus>>,
}

impl TensorRpc {
	/// The tensors of a store, what is fetched into it, and the worker of a node that mines.
	pub fn new(store: Arc<TensorStore>, fetcher: Arc<Fetcher>, worker: Option<Arc<WorkerStatus>>) -> Self {
		Self { store, fetcher, worker }
	}
}

fn commitment(text: &str) -> Result<Commitment, Error> {
	parse_commitment(text).ok_or(Error::BadCommitment)
}

impl LaboraRpcServer for TensorRpc {
	fn upload(
		&self,
		ext: &Extensions,
		tensor: String,
		total: u64,
		offset: u64,
		data: Bytes,
	) -> Result<UploadProgress, Error> {
		check_if_safe(ext)?;
		if data.len() > MAX_PART_BYTES as usize {
			return Err(Error::PartTooLarge);
		}
		Ok(self.store.upload(&commitment(&tensor)?, total, offset, &data)?)
	}

	fn size(&self, tensor: String) -> Result<Option<u64>, Error> {
		Ok(self.store.size(&commitment(&tensor)?)?)
	}

	fn read(&self, tensor: String, offset: u64, len: u32) -> Result<Bytes, Error> {
		if len > MAX_PART_BYTES {
			return Err(Error::PartTooLarge);
		}
		let commitment = commitment(&tensor)?;
		let size = self.store.size(&commitment)?.ok_or(Error::UnknownTensor(commitment))?;
		if offset.checked_add(u64::from(len)).is_none_or(|end| end > size) {
			return Err(Error::BadRange { size });
		}
		let bytes = self.store.read_range(&commitment, offset, len)?;
		bytes.map(Bytes).ok_or(Error::UnknownTensor(commitment))
	}

	fn wanted(&self) -> Result<Vec<WantStatus>, Error> {
		Ok(self.fetcher.wanted())
	}

	fn miner_status(&self) -> Result<Option<MinerStatus>, Error> {
		Ok(self.worker.as_ref().map(|worker| worker.snapshot()))
	}
}

#[cfg(test)]
mod tests {
	use super::*;
	use sc_rpc_api::DenyUnsafe;

	fn rpc() -> (tempfile::TempDir, TensorRpc) {
		let folder = tempfile::tempdir().unwrap();
		let store = Arc::new(TensorStore::open(folder.path()).unwrap().with_quota(1 << 20));
		let fetcher = Arc::new(Fetcher::new(store.clone()));
		(folder, TensorRpc::new(store, fetcher, None))
	}

	fn extensions(deny: DenyUnsafe) -> Extensions {
		let mut extensions = Extensions::new();
		extensions.insert(deny);
		extensions
	}

	fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> i32 {
		ErrorObjectOwned::from(result.unwrap_err()).code()
	}

	#[test]
	fn what_was_uploaded_is_read() {
		let (_folder, rpc) = rpc();
		let tensor = vec![3u8; 2_048];
		let name = Commitment::of(&tensor).to_string();
		let ext = extensions(DenyUnsafe::No);
		assert_eq!(rpc.size(name.clone()).unwrap(), None);
		rpc.upload(&ext, name.clone(), 2_048, 0, Bytes(tensor[..1_024].to_vec())).unwrap();
		let wrong = rpc.upload(&ext, name.clone(), 2_048, 0, Bytes(tensor[..1_024].to_vec()));
		let wrong = ErrorObjectOwned::from(wrong.unwrap_err());
		assert_eq!((wrong.code(), wrong.data().unwrap().get()), (14_006, r#"{"expected":1024}"#));
		let progress = rpc.upload(&ext, name.clone(), 2_048, 1_024, Bytes(tensor[1_024..].to_vec())).unwrap();
		assert_eq!(progress, UploadProgress { received: 2_048, complete: true });
		assert_eq!(rpc.size(format!("0x{name}")).unwrap(), Some(2_048));
		assert_eq!(rpc.read(name, 1_000, 1_048).unwrap().0, tensor[1_000..]);
	}

	#[test]
	fn strangers_cannot_fill_the_disk() {
		let (_folder, rpc) = rpc();
		let denied = rpc.upload(&extensions(DenyUnsafe::Yes), "00".repeat(32), 1, 0, Bytes(vec![1]));
		assert!(matches!(denied, Err(Error::Unsafe(_))));
	}

	#[test]
	fn refusals_have_codes_of_their_own() {
		let (_folder, rpc) = rpc();
		let ext = extensions(DenyUnsafe::No);
		let name = Commitment::of(&[1; 1_024]).to_string();
		let part = |len| Bytes(vec![1; len]);
		assert_eq!(code(rpc.size("xyz".into())), 14_001);
		assert_eq!(code(rpc.upload(&ext, name.clone(), 1 << 23, 0, part(1))), 14_012);
		assert_eq!(code(rpc.upload(&ext, name.clone(), 1 << 23, 0, part(MAX_PART_BYTES as usize + 1))), 14_002);
		assert_eq!(code(rpc.read(name.clone(), 0, MAX_PART_BYTES + 1)), 14_002);
		assert_eq!(code(rpc.read(name.clone(), 0, 1)), 14_003);
		assert_eq!(code(rpc.upload(&ext, name.clone(), 0, 0, part(0))), 14_005);
		assert_eq!(code(rpc.upload(&ext, name.clone(), 10, 0, part(11))), 14_008);
		assert_eq!(code(rpc.upload(&ext, name.clone(), 9, 0, part(1))), 14_007);
		assert_eq!(code(rpc.upload(&ext, name.clone(), 10, 0, part(10))), 14_009);
		rpc.upload(&ext, name.clone(), 1_024, 0, part(1_024)).unwrap();
		assert_eq!(code(rpc.read(name.clone(), 1_000, 25)), 14_004);
		assert_eq!(code(rpc.read(name, u64::MAX, 1)), 14_004);
		assert!(rpc.miner_status().unwrap().is_none() && rpc.wanted().unwrap().is_empty());
	}
}
