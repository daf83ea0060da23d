//! An input, read as a script. It ends in zeros.

use codec::{DecodeAll, Encode};

/// The bytes that are not read yet.
pub struct Script<'a>(pub &'a [u8]);

/// Most edits of one script: each further one only hides what the others do.
const MAX_EDITS: usize = 4;

impl<'a> Script<'a> {
	pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
		let (head, rest) = self.0.split_at(N.min(self.0.len()));
		self.0 = rest;
		let mut bytes = [0; N];
		bytes[..head.len()].copy_from_slice(head);
		bytes
	}

	pub fn u8(&mut self) -> u8 {
		u8::from_le_bytes(self.bytes())
	}

	pub fn u16(&mut self) -> u16 {
		u16::from_le_bytes(self.bytes())
	}

	pub fn u32(&mut self) -> u32 {
		u32::from_le_bytes(self.bytes())
	}

	pub fn u64(&mut self) -> u64 {
		u64::from_le_bytes(self.bytes())
	}

	/// A number below `most`, small ones for small bytes; 0 if there is none.
	pub fn below(&mut self, most: usize) -> usize {
		let number = if most <= 256 { self.u8().into() } else { self.u32() as usize };
		number.checked_rem(most).unwrap_or(0)
	}

	/// A number that is often at a limit.
	pub fn wild(&mut self) -> u64 {
		match self.u8() {
			number @ 0..=63 => number.into(),
			number @ 64..=127 => 1 << (number - 64),
			number @ 128..=191 => (1u64 << (number - 128)).wrapping_sub(1),
			192..=223 => self.u16().into(),
			_ => self.u64(),
		}
	}

	/// [`Script::wild`], in 32 bits.
	pub fn wild32(&mut self) -> u32 {
		let number = self.wild();
		u32::try_from(number).unwrap_or(u32::MAX - (number >> 32) as u32)
	}

	/// What is left.
	pub fn rest(&mut self) -> &'a [u8] {
		std::mem::take(&mut self.0)
	}

	/// Edits bytes until the script ends.
	pub fn edit(&mut self, bytes: &mut Vec<u8>) {
		for _ in 0..MAX_EDITS {
			if self.0.is_empty() {
				return;
			}
			let kind = self.u8();
			let at = self.below(bytes.len());
			let len = usize::from(kind >> 3) + 1;
			let end = bytes.len().min(at + len);
			match kind & 7 {
				0 | 1 => {
					if let Some(byte) = bytes.get_mut(at) {
						*byte ^= 1 << (kind >> 3 & 7);
					}
				}
				2 | 3 => {
					for byte in &mut bytes[at..end] {
						*byte = self.u8();
					}
				}
				4 => drop(bytes.drain(at..end)),
				5 => {
					let inserted: Vec<_> = (0..len).map(|_| self.u8()).collect();
					bytes.splice(at..at, inserted);
				}
				6 => {
					let repeated = bytes[at..end].to_vec();
					bytes.splice(at..at, repeated);
				}
				_ => bytes.truncate(at),
			}
		}
	}

	/// The value as an edit of its encoding makes it, if it is one then. An encoding is the only one of its value.
	pub fn edited<T: Encode + DecodeAll>(&mut self, value: &T) -> Option<T> {
		let mut bytes = value.encode();
		self.edit(&mut bytes);
		decoded(&bytes)
	}

	/// The value that the rest is the encoding of.
	pub fn decoded<T: Encode + DecodeAll>(&mut self) -> Option<T> {
		decoded(self.rest())
	}
}

fn decoded<T: Encode + DecodeAll>(bytes: &[u8]) -> Option<T> {
	let value = T::decode_all(&mut &*bytes).ok()?;
	assert_eq!(value.encode(), bytes, "two encodings of one value");
	Some(value)
}
