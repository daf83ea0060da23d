use super::*;
use std::sync::Arc;

fn store() -> (tempfile::TempDir, TensorStore) {
	let folder = tempfile::tempdir().unwrap();
	let store = TensorStore::open(folder.path()).unwrap();
	(folder, store)
}

pub(super) fn bytes(len: usize, seed: u8) -> Vec<u8> {
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
	assert!(matches!(upload(MAX_TENSOR_BYTES + 1, 0, &[]), Err(UploadError::BadSize)));
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

/// Two groups and a half.
const THREE_GROUPS: usize = 5 * GROUP_BYTES as usize / 2;

#[test]
fn groups_are_served_from_nodes_that_are_written_down_once() {
	let (folder, store) = store();
	let tensor = bytes(THREE_GROUPS, 30);
	let commitment = store.put(&tensor).unwrap();
	assert!(!store.nodes_path(&commitment).exists());
	for (group, expected) in tensor.chunks(GROUP_BYTES as usize).enumerate() {
		assert_eq!(store.group(&commitment, group as u32).unwrap().as_deref(), Some(expected));
	}
	assert_eq!(store.group(&commitment, 3).unwrap(), None);
	assert!(store.nodes_path(&commitment).exists());
	// Whatever became of them, they are verified: wrong ones are computed again.
	for damage in [vec![], vec![1], bytes(96, 1)] {
		fs::write(store.nodes_path(&commitment), damage).unwrap();
		let tree = TensorStore::open(folder.path()).unwrap().tree(&commitment).unwrap().unwrap();
		assert_eq!((tree.groups(), tree.bytes()), (3, THREE_GROUPS as u64));
		assert_eq!(fs::read(store.nodes_path(&commitment)).unwrap(), tree.values().concat());
	}
	assert_eq!(store.group(&Commitment([1; 32]), 0).unwrap(), None);
	assert!(partial(folder.path()).is_empty());
}

#[test]
fn a_damaged_tensor_is_not_served() {
	let (_folder, store) = store();
	let tensor = bytes(THREE_GROUPS, 31);
	let mut damaged = tensor.clone();
	damaged[THREE_GROUPS - 1] ^= 1;
	for known in [false, true] {
		let commitment = store.put(&tensor).unwrap();
		assert!(!known || store.tree(&commitment).unwrap().is_some());
		fs::write(store.path(&commitment), &damaged).unwrap();
		assert_eq!(store.group(&commitment, 2).unwrap(), None);
		assert_eq!((store.size(&commitment).unwrap(), store.usage().bytes), (None, 0));
	}
	// Lengths that no tensor has are kept for who uploaded them, and not served.
	let odd = store.put(&bytes(1_500, 1)).unwrap();
	assert_eq!((store.tree(&odd).unwrap(), store.group(&odd, 0).unwrap()), (None, None));
}

#[test]
fn a_download_takes_groups_in_any_order_and_wrong_ones_never() {
	let (folder, store) = store();
	let (_other, source) = self::store();
	let tensor = bytes(THREE_GROUPS, 32);
	let commitment = source.put(&tensor).unwrap();
	let group = |number| source.group(&commitment, number).unwrap().unwrap();
	let download = store.download(source.tree(&commitment).unwrap().unwrap()).unwrap();
	assert!(download.write(2, &group(2)).unwrap());
	for wrong in [group(1), group(0)[1..].to_vec(), vec![], [group(0), vec![0]].concat()] {
		assert!(!download.write(0, &wrong).unwrap());
	}
	assert!(!download.write(3, &group(0)).unwrap() && !download.write(u32::MAX, &[]).unwrap());
	assert_eq!(download.missing(), [0, 1].into());
	assert!(!store.finish(&download).unwrap());
	assert_eq!(store.size(&commitment).unwrap(), None);
	assert!(download.write(0, &group(0)).unwrap() && download.write(1, &group(1)).unwrap());
	assert!(store.finish(&download).unwrap());
	assert_eq!(store.get(&commitment).unwrap(), Some(tensor));
	assert!(partial(folder.path()).is_empty());
	// It can be served at once.
	assert!(store.nodes_path(&commitment).exists());
}

#[test]
fn a_download_goes_on_after_a_restart_with_what_is_right() {
	let (folder, store) = store();
	let (_other, source) = self::store();
	let tensor = bytes(THREE_GROUPS, 33);
	let commitment = source.put(&tensor).unwrap();
	let tree = source.tree(&commitment).unwrap().unwrap();
	let group = |number| source.group(&commitment, number).unwrap().unwrap();
	let download = store.download(tree.clone()).unwrap();
	assert!(download.write(0, &group(0)).unwrap() && download.write(2, &group(2)).unwrap());
	drop((download, store));
	let store = TensorStore::open(folder.path()).unwrap();
	assert_eq!(partial(folder.path()), [format!("{DOWNLOAD}{commitment}")]);
	assert_eq!(store.download(tree.clone()).unwrap().missing(), [1].into());
	// A crash may leave a group in part, or the file cut.
	let file = folder.path().join(PARTIAL).join(format!("{DOWNLOAD}{commitment}"));
	let mut written = fs::read(&file).unwrap();
	written[10] ^= 1;
	fs::write(&file, &written).unwrap();
	assert_eq!(store.download(tree.clone()).unwrap().missing(), [0, 1].into());
	fs::write(&file, &written[..1_000]).unwrap();
	let download = store.download(tree).unwrap();
	assert_eq!(download.missing(), [0, 1, 2].into());
	assert!((0..3).all(|number| download.write(number, &group(number)).unwrap()));
	assert!(store.finish(&download).unwrap());
	assert_eq!(store.get(&commitment).unwrap(), Some(tensor));
}

/// Makes all tensors old enough to be removed.
fn age(store: &TensorStore) {
	let mut ledger = store.ledger.lock();
	let entries = fs::read_dir(&store.folder).unwrap().flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap());
	let names = entries.filter_map(|entry| parse_commitment(entry.unwrap().file_name().to_str().unwrap()));
	names.for_each(|commitment| ledger.used(&commitment, SystemTime::now() - 2 * YOUNG));
}

#[test]
fn the_quota_bounds_what_strangers_bring_and_pinned_tensors_stay() {
	let folder = tempfile::tempdir().unwrap();
	let store = TensorStore::open(folder.path()).unwrap().with_quota(5_000);
	let tensors: Vec<_> = (0..4u8).map(|seed| bytes(2_000, 40 + seed)).collect();
	let names: Vec<_> = tensors.iter().map(|tensor| Commitment::of(tensor)).collect();
	let upload = |number: usize| store.upload(&names[number], 2_000, 0, &tensors[number]);
	assert!(upload(0).unwrap().complete && upload(1).unwrap().complete);
	age(&store);
	assert!(matches!(upload(2), Err(UploadError::Full { quota: 5_000 })), "nobody said yet what is pinned");
	store.pin(HashSet::from([names[0]])).unwrap();
	assert!(upload(2).unwrap().complete);
	assert_eq!(store.size(&names[1]).unwrap(), None);
	age(&store);
	store.pin(HashSet::from([names[0], names[2]])).unwrap();
	assert!(matches!(upload(3), Err(UploadError::Full { .. })));
	let one = GroupTree::of_one(Commitment([1; 32]), 2_048).unwrap();
	assert!(matches!(store.download(one.clone()), Err(DownloadError::Full { quota: 5_000 })));
	// What this node computed is kept all the same, and goes when it may.
	store.put(&tensors[3]).unwrap();
	assert_eq!(store.usage().bytes, 6_000);
	age(&store);
	store.pin(HashSet::from([names[0], names[2]])).unwrap();
	assert_eq!((store.usage().bytes, store.size(&names[3]).unwrap()), (4_000, None));
	// After a restart the store knows its size.
	let store = TensorStore::open(folder.path()).unwrap().with_quota(5_000);
	assert_eq!(store.usage().bytes, 4_000);
	assert!(matches!(store.download(one), Err(DownloadError::Full { .. })));
}

#[test]
fn a_download_that_is_abandoned_gives_its_room_back() {
	let folder = tempfile::tempdir().unwrap();
	let store = TensorStore::open(folder.path()).unwrap().with_quota(3_000);
	let tree = |number| GroupTree::of_one(Commitment([number; 32]), 2_048).unwrap();
	store.download(tree(1)).unwrap();
	store.download(tree(1)).unwrap();
	assert!(matches!(store.download(tree(2)), Err(DownloadError::Full { .. })));
	store.abandon(&Commitment([1; 32]));
	store.download(tree(2)).unwrap();
	// Its file stays, for whoever goes on with it; not for ever.
	let stale = SystemTime::now() - 2 * STALE;
	let file = folder.path().join(PARTIAL).join(format!("{DOWNLOAD}{}", Commitment([1; 32])));
	File::options().write(true).open(&file).unwrap().set_modified(stale).unwrap();
	store.pin(HashSet::new()).unwrap();
	assert_eq!(partial(folder.path()), [format!("{DOWNLOAD}{}", Commitment([2; 32]))]);
}
