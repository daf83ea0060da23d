use super::*;
use std::sync::Arc;

fn store() -> (tempfile::TempDir, TensorStore) {
	let folder = tempfile::tempdir().unwrap();
	let store = TensorStore::open(folder.path()).unwrap();
	(folder, store)
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
	let mut bytes = vec![0; len];
	blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
	bytes
}

/// Names of the files in `partial/`.
fn partial(folder: &Path) -> Vec<String> {
	let entries = fs::read_dir(folder.join(PARTIAL)).unwrap();
	entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_put_is_got_also_after_opening_again() {
	let (folder, store) = store();
	let tensor = bytes(5_000, 1);
	let commitment = store.put(&tensor).unwrap();
	assert_eq!(commitment, Commitment::of(&tensor));
	assert_eq!(store.get(&commitment).unwrap(), Some(tensor.clone()));
	assert_eq!(store.size(&commitment).unwrap(), Some(5_000));
	assert_eq!(store.put(&tensor).unwrap(), commitment);
	assert!(partial(folder.path()).is_empty());
	let name = commitment.to_string();
	assert!(folder.path().join(&name[..2]).join(&name).exists());
	assert_eq!(TensorStore::open(folder.path()).unwrap().get(&commitment).unwrap(), Some(tensor));
}

#[test]
fn what_is_not_there_is_no_error() {
	let (_folder, store) = store();
	let unknown = Commitment([7; 32]);
	assert_eq!(store.get(&unknown).unwrap(), None);
	assert_eq!(store.size(&unknown).unwrap(), None);
	assert_eq!(store.read_range(&unknown, 0, 1).unwrap(), None);
}

#[test]
fn a_damaged_file_is_removed_and_can_come_again() {
	let (_folder, store) = store();
	let tensor = bytes(4_096, 2);
	let commitment = store.put(&tensor).unwrap();
	for damage in [vec![], tensor[..4_095].to_vec(), bytes(4_096, 3)] {
		fs::write(store.path(&commitment), damage).unwrap();
		assert_eq!(store.get(&commitment).unwrap(), None);
		assert_eq!(store.size(&commitment).unwrap(), None);
		store.put(&tensor).unwrap();
		assert_eq!(store.get(&commitment).unwrap(), Some(tensor.clone()));
	}
	fs::write(store.path(&commitment), bytes(4_096, 3)).unwrap();
	store.put(&tensor).unwrap();
	assert_eq!(store.get(&commitment).unwrap(), Some(tensor), "a put repairs");
}

#[test]
fn leftovers_of_a_crash_are_removed_and_uploads_kept() {
	let (folder, store) = store();
	let tensor = bytes(2_048, 4);
	let commitment = Commitment::of(&tensor);
	store.upload(&commitment, 2_048, 0, &tensor[..1_000]).unwrap();
	fs::write(folder.path().join(PARTIAL).join("writing-0"), b"half").unwrap();
	let store = TensorStore::open(folder.path()).unwrap();
	assert_eq!(partial(folder.path()), [commitment.to_string()]);
	let again = store.upload(&commitment, 2_048, 0, &tensor[..1_000]);
	assert!(matches!(again, Err(UploadError::OffsetMismatch { expected: 1_000 })));
	let progress = store.upload(&commitment, 2_048, 1_000, &tensor[1_000..]).unwrap();
	assert_eq!(progress, UploadProgress { received: 2_048, complete: true });
	assert_eq!(store.get(&commitment).unwrap(), Some(tensor));
	assert!(partial(folder.path()).is_empty());
}

#[test]
fn a_range_ends_with_the_tensor() {
	let (_folder, store) = store();
	let tensor = bytes(3_000, 5);
	let commitment = store.put(&tensor).unwrap();
	let read = |offset, len| store.read_range(&commitment, offset, len).unwrap().unwrap();
	assert_eq!(read(0, 3_000), tensor);
	assert_eq!(read(2_990, 100), tensor[2_990..]);
	assert!(read(3_000, 100).is_empty() && read(u64::from(u32::MAX), 1).is_empty());
}

#[test]
fn an_upload_comes_in_parts_and_in_order() {
	let (_folder, store) = store();
	let tensor = bytes(10_000, 6);
	let commitment = Commitment::of(&tensor);
	for from in (0..10_000).step_by(3_000) {
		assert_eq!(store.get(&commitment).unwrap(), None);
		let to = 10_000.min(from + 3_000);
		let progress = store.upload(&commitment, 10_000, from as u64, &tensor[from..to]).unwrap();
		assert_eq!(progress, UploadProgress { received: to as u64, complete: to == 10_000 });
	}
	assert_eq!(store.get(&commitment).unwrap(), Some(tensor));
	let progress = store.upload(&commitment, 10_000, 0, &[]).unwrap();
	assert!(progress.complete, "what is here already need not come again");
}

#[test]
fn wrong_parts_are_refused_and_named() {
	let (_folder, store) = store();
	let tensor = bytes(2_000, 7);
	let commitment = Commitment::of(&tensor);
	let upload = |total, offset, data: &[u8]| store.upload(&commitment, total, offset, data);
	assert!(matches!(upload(0, 0, &[]), Err(UploadError::BadSize)));
	assert!(matches!(upload(MAX_UPLOAD_BYTES + 1, 0, &[]), Err(UploadError::BadSize)));
	assert!(matches!(upload(2_000, 1, &[1]), Err(UploadError::OffsetMismatch { expected: 0 })));
	upload(2_000, 0, &tensor[..10]).unwrap();
	assert!(matches!(upload(1_999, 10, &[1]), Err(UploadError::TotalMismatch { begun: 2_000 })));
	assert!(matches!(upload(2_000, u64::MAX, &[1]), Err(UploadError::OffsetMismatch { expected: 10 })));
	assert!(matches!(upload(2_000, 10, &tensor), Err(UploadError::BeyondTotal { total: 2_000 })));
	assert!(upload(2_000, 10, &tensor[10..]).unwrap().complete);
}

#[test]
fn bytes_of_another_tensor_are_discarded() {
	let (folder, store) = store();
	let (tensor, other) = (bytes(1_024, 8), bytes(1_024, 9));
	let commitment = Commitment::of(&tensor);
	match store.upload(&commitment, 1_024, 0, &other) {
		Err(UploadError::HashMismatch { actual }) => assert_eq!(actual, Commitment::of(&other)),
		result => panic!("{result:?}"),
	}
	assert_eq!(store.get(&commitment).unwrap(), None);
	assert!(partial(folder.path()).is_empty());
	assert!(store.upload(&commitment, 1_024, 0, &tensor).unwrap().complete);
}

#[test]
fn uploads_at_a_time_are_limited() {
	let (_folder, store) = store();
	let begin = |i: u8| store.upload(&Commitment([i; 32]), 100, 0, &[i]);
	for i in 0..MAX_UPLOADS as u8 {
		begin(i).unwrap();
	}
	assert!(matches!(begin(100), Err(UploadError::TooMany)));
	// One that ends makes room.
	assert!(matches!(store.upload(&Commitment([0; 32]), 100, 1, &[0; 99]), Err(UploadError::HashMismatch { .. })));
	begin(100).unwrap();
}

#[test]
fn many_threads_put_get_and_upload_the_same() {
	let (folder, store) = store();
	let store = Arc::new(store);
	let tensors: Arc<Vec<_>> = Arc::new((0..4).map(|i| bytes(20_000, 20 + i)).collect());
	let threads: Vec<_> = (0..8)
		.map(|thread| {
			let (store, tensors) = (store.clone(), tensors.clone());
			std::thread::spawn(move || {
				for (i, tensor) in tensors.iter().enumerate() {
					let commitment = Commitment::of(tensor);
					if (thread + i) % 2 == 0 {
						store.put(tensor).unwrap();
					} else {
						// Others upload the same: any order of parts is answered, none breaks it.
						let _ = store.upload(&commitment, 20_000, 0, &tensor[..9_000]);
						let _ = store.upload(&commitment, 20_000, 9_000, &tensor[9_000..]);
					}
					if let Some(got) = store.get(&commitment).unwrap() {
						assert_eq!(got, *tensor);
					}
				}
			})
		})
		.collect();
	threads.into_iter().for_each(|thread| thread.join().unwrap());
	for tensor in tensors.iter() {
		assert_eq!(store.get(&Commitment::of(tensor)).unwrap().as_ref(), Some(tensor));
	}
	assert!(partial(folder.path()).iter().all(|name| !name.starts_with(WRITING)));
}

#[test]
fn commitments_are_read_with_and_without_prefix() {
	let commitment = Commitment([0xab; 32]);
	assert_eq!(parse_commitment(&commitment.to_string()), Some(commitment));
	assert_eq!(parse_commitment(&format!("0x{}", commitment.to_string().to_uppercase())), Some(commitment));
	for bad in ["", "0x", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
		assert_eq!(parse_commitment(bad), None);
	}
}
