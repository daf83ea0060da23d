//! Where node and miner meet, and what they both know: sockets of this machine only.

use std::{
	fs::{DirBuilder, OpenOptions, Permissions},
	io::{self, Read, Write},
	net::{SocketAddr, TcpListener},
	os::unix::{
		fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
		net::UnixListener,
	},
	path::{Path, PathBuf},
	str::FromStr,
};

use crate::protocol::Key;

/// Name of the Unix socket in its folder.
const SOCKET: &str = "socket";
/// Name of the secret's file, where none is named.
const SECRET: &str = "secret";
/// Fewest bytes of a secret.
const MIN_SECRET: usize = 16;
/// Most bytes of a secret's file.
const MAX_SECRET: u64 = 4_096;
/// Rights of nobody but the owner.
const OWNER_ONLY: u32 = 0o077;

/// Where the node listens for miners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listen {
	/// On a Unix socket in its own folder.
	Unix,
	/// On a loopback address.
	Tcp(SocketAddr),
}

/// Where a miner finds its node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connect {
	/// At a Unix socket.
	Unix(PathBuf),
	/// At a loopback address.
	Tcp(SocketAddr),
}

/// Why there is no connection to be had there.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
	/// An address that others can reach.
	#[error("{0} is not a loopback address: miners connect from the same machine only")]
	NotLoopback(SocketAddr),
	/// Neither `unix` nor an address.
	#[error("neither `unix` nor an address with a port")]
	NoAddress,
	/// The secret's file can be read by others.
	#[error("the secret {0} can be read by others than its owner (chmod 600)")]
	OpenSecret(PathBuf),
	/// The secret is too short or too long.
	#[error("the secret {0} does not have 16 to 4096 bytes")]
	BadSecret(PathBuf),
	/// A connection by TCP needs a secret.
	#[error("a connection by TCP needs --secret: the file that the node names when it starts")]
	NoSecret,
	/// Something else is in the way.
	#[error("{0}: {1}")]
	Io(PathBuf, #[source] io::Error),
}

fn loopback(address: SocketAddr) -> Result<SocketAddr, AddressError> {
	if address.ip().is_loopback() {
		Ok(address)
	} else {
		Err(AddressError::NotLoopback(address))
	}
}

impl FromStr for Listen {
	type Err = AddressError;

	fn from_str(text: &str) -> Result<Self, AddressError> {
		match text {
			"unix" => Ok(Self::Unix),
			_ => loopback(text.parse().map_err(|_| AddressError::NoAddress)?).map(Self::Tcp),
		}
	}
}

impl FromStr for Connect {
	type Err = AddressError;

	fn from_str(text: &str) -> Result<Self, AddressError> {
		match text.parse() {
			Ok(address) => loopback(address).map(Self::Tcp),
			Err(_) => Ok(Self::Unix(text.into())),
		}
	}
}

impl core::fmt::Display for Connect {
	fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
		match self {
			Self::Unix(path) => path.display().fmt(f),
			Self::Tcp(address) => address.fmt(f),
		}
	}
}

/// A socket that miners can connect to.
pub enum Socket {
	/// A Unix socket, and the user that owns it.
	Unix(UnixListener, u32),
	/// A loopback address.
	Tcp(TcpListener),
}

/// A socket, and what a miner has to know.
pub struct Listener {
	/// The socket; it does not block.
	pub socket: Socket,
	/// What a miner has to know.
	pub key: Key,
	/// Where the socket is.
	pub at: Connect,
}

impl Listener {
	/// Opens a socket. `folder` is the node's own for this purpose: it is made, for its owner only. With TCP a miner has to know the
	/// secret in `secret`, or in a file of the folder; it is written if it is not there.
	pub fn open(listen: Listen, folder: &Path, secret: Option<&Path>) -> Result<Self, AddressError> {
		let at = |path: &Path| {
			let path = path.to_path_buf();
			move |error| AddressError::Io(path, error)
		};
		DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
		// It may have been there, with other rights.
		std::fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(at(folder))?;
		match listen {
			Listen::Unix => {
				let path = folder.join(SOCKET);
				// What a node that did not end cleanly left. Two nodes cannot share the folder: the database has a lock.
				if std::fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket()) {
					std::fs::remove_file(&path).map_err(at(&path))?;
				}
				let socket = UnixListener::bind(&path).map_err(at(&path))?;
				std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(at(&path))?;
				socket.set_nonblocking(true).map_err(at(&path))?;
				let owner = std::fs::metadata(&path).map_err(at(&path))?.uid();
				Ok(Self { socket: Socket::Unix(socket, owner), key: open_key(), at: Connect::Unix(path) })
			}
			Listen::Tcp(address) => {
				let address = loopback(address)?;
				let secret = secret.map_or_else(|| folder.join(SECRET), Path::to_path_buf);
				let key = make_secret(&secret).and_then(|()| read_secret(&secret))?;
				let name = PathBuf::from(address.to_string());
				let socket = TcpListener::bind(address).map_err(at(&name))?;
				socket.set_nonblocking(true).map_err(at(&name))?;
				let address = socket.local_addr().map_err(at(&name))?;
				log::info!("Miners that connect by TCP need the secret {}", secret.display());
				Ok(Self { socket: Socket::Tcp(socket), key, at: Connect::Tcp(address) })
			}
		}
	}
}

/// The key where no secret is needed: who may connect is a matter of the socket's rights.
fn open_key() -> Key {
	Key::of_secret(b"")
}

/// The key with which a miner connects.
pub fn key(connect: &Connect, secret: Option<&Path>) -> Result<Key, AddressError> {
	match (connect, secret) {
		(Connect::Unix(_), _) => Ok(open_key()),
		(Connect::Tcp(_), Some(secret)) => read_secret(secret),
		(Connect::Tcp(_), None) => Err(AddressError::NoSecret),
	}
}

/// Writes a secret, unless there is one.
fn make_secret(path: &Path) -> Result<(), AddressError> {
	match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
		Ok(mut file) => {
			let secret: [u8; 32] = rand::random();
			writeln!(file, "{}", hex::encode(secret)).map_err(|error| AddressError::Io(path.into(), error))
		}
		Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
		Err(error) => Err(AddressError::Io(path.into(), error)),
	}
}

fn read_secret(path: &Path) -> Result<Key, AddressError> {
	let io = |error| AddressError::Io(path.into(), error);
	let file = std::fs::File::open(path).map_err(io)?;
	if file.metadata().map_err(io)?.mode() & OWNER_ONLY != 0 {
		return Err(AddressError::OpenSecret(path.into()));
	}
	let mut secret = Vec::new();
	file.take(MAX_SECRET + 1).read_to_end(&mut secret).map_err(io)?;
	let trimmed = secret.trim_ascii();
	if trimmed.len() < MIN_SECRET || secret.len() as u64 > MAX_SECRET {
		return Err(AddressError::BadSecret(path.into()));
	}
	Ok(Key::of_secret(trimmed))
}

#[cfg(test)]
mod tests {
	use super::*;

	#[test]
	fn only_sockets_of_this_machine() {
		assert_eq!("unix".parse::<Listen>().unwrap(), Listen::Unix);
		for good in ["127.0.0.1:9955", "[::1]:0", "127.9.9.9:1"] {
			assert!(matches!(good.parse::<Listen>(), Ok(Listen::Tcp(_))), "{good}");
			assert!(matches!(good.parse::<Connect>(), Ok(Connect::Tcp(_))), "{good}");
		}
		for open in ["0.0.0.0:9955", "[::]:9955", "192.168.1.2:9955", "8.8.8.8:1"] {
			assert!(matches!(open.parse::<Listen>(), Err(AddressError::NotLoopback(_))), "{open}");
			assert!(matches!(open.parse::<Connect>(), Err(AddressError::NotLoopback(_))), "{open}");
		}
		assert!(matches!("localhost".parse::<Listen>(), Err(AddressError::NoAddress)));
		assert_eq!("/run/socket".parse::<Connect>().unwrap(), Connect::Unix("/run/socket".into()));
	}

	#[test]
	fn the_socket_is_its_owners_and_a_stale_one_is_replaced() {
		let dir = tempfile::tempdir().unwrap();
		let folder = dir.path().join("miners");
		drop(Listener::open(Listen::Unix, &folder, None).unwrap());
		let listener = Listener::open(Listen::Unix, &folder, None).unwrap();
		let Connect::Unix(path) = &listener.at else { panic!("it is a Unix socket") };
		assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
		assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
	}

	#[test]
	fn a_secret_is_written_once_and_read_by_both_sides() {
		let dir = tempfile::tempdir().unwrap();
		let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
		let listener = Listener::open(listen, dir.path(), None).unwrap();
		let path = dir.path().join(SECRET);
		let miner = key(&listener.at, Some(&path)).unwrap();
		let shown = |key: &Key| key.of_miner(&[1; 32], &[2; 32]);
		assert!(shown(&miner) == shown(&listener.key));
		assert!(shown(&Listener::open(listen, dir.path(), None).unwrap().key) == shown(&miner));
		assert!(matches!(key(&listener.at, None), Err(AddressError::NoSecret)));
		std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
		assert!(matches!(key(&listener.at, Some(&path)), Err(AddressError::OpenSecret(_))));
		assert!(matches!(Listener::open(listen, dir.path(), None), Err(AddressError::OpenSecret(_))));
		std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
		std::fs::write(&path, "short\n").unwrap();
		assert!(matches!(key(&listener.at, Some(&path)), Err(AddressError::BadSecret(_))));
		assert!(matches!(key(&listener.at, Some(&dir.path().join("none"))), Err(AddressError::Io(..))));
	}
}
