//! A real node as a child process: on loopback, on free ports, in a folder of its own, gone when dropped.

use std::{
	fs::File,
	io::{Read, Seek, SeekFrom},
	path::{Path, PathBuf},
	process::{Child, Command, Stdio},
	sync::{Mutex, PoisonError},
	time::{Duration, Instant},
};

use anyhow::{bail, Context, Result};

/// How long a node may take to open its RPC port.
const START: Duration = Duration::from_secs(60);
/// How long a node may take to stop when asked.
const STOP: Duration = Duration::from_secs(20);
/// Lines of its log that tell why it ended.
const LAST_LINES: usize = 30;

/// Process ids of the running nodes of this process.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Ends all nodes of this process at once. For a process that is to end at once itself, and drops nothing.
pub fn kill_all() {
	let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
	for id in running.iter() {
		let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
	}
}

/// A running node.
pub struct Node {
	child: Child,
	log: PathBuf,
	url: String,
	/// Whether this process has ended it, or asked it to end.
	dismissed: bool,
}

/// The node's executable: beside the current one, or where `LABORA_NODE` says.
pub fn executable() -> Result<PathBuf> {
	std::env::var_os("LABORA_NODE").map_or_else(|| program("labora-node"), |path| Ok(path.into()))
}

/// A program of this workspace: beside the current one.
pub fn program(name: &str) -> Result<PathBuf> {
	let own = std::env::current_exe().context("this program's own path")?;
	// A test's executable lies one folder deeper than the programs.
	let folders = own.ancestors().skip(1).take(2);
	let mut candidates = folders.map(|folder| folder.join(name));
	candidates.find(|path| path.exists()).with_context(|| format!("{name} is not built: run `make build`"))
}

impl Node {
	/// Starts a node with these arguments on data in `base`, its log beside it, and waits for its RPC.
	pub fn start(base: &Path, arguments: &[&str]) -> Result<Self> {
		Self::start_with(base, arguments, &[])
	}

	/// The same with variables in its environment.
	pub fn start_with(base: &Path, arguments: &[&str], environment: &[(String, String)]) -> Result<Self> {
		let log = base.with_extension("log");
		let open = || File::options().create(true).append(true).open(&log);
		let before = open().and_then(|file| file.metadata()).with_context(|| format!("{}", log.display()))?.len();
		let child = Command::new(executable()?)
			.args(["--base-path".as_ref(), base.as_os_str()])
			.args(["--rpc-port", "0", "--no-prometheus", "--no-telemetry"])
			.args(["--listen-addr", "/ip4/127.0.0.1/tcp/0", "--no-mdns"])
			.args(arguments)
			.envs(environment.iter().map(|(name, value)| (name, value)))
			.stdin(Stdio::null())
			.stdout(open()?)
			.stderr(open()?)
			.spawn()
			.context("starting labora-node")?;
		RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(child.id());
		let mut node = Self { child, log, url: String::new(), dismissed: false };
		node.url = node.await_rpc(before)?;
		Ok(node)
	}

	/// Address of its RPC.
	pub fn url(&self) -> &str {
		&self.url
	}

	/// Its process id.
	pub fn id(&self) -> u32 {
		self.child.id()
	}

	/// File of its log.
	pub fn log(&self) -> &Path {
		&self.log
	}

	/// Text of its log.
	pub fn log_text(&self) -> String {
		std::fs::read_to_string(&self.log).unwrap_or_default()
	}

	/// The last lines of its log.
	pub fn end_of_log(&self) -> String {
		tail(&self.log_text())
	}

	/// Whether it still runs.
	pub fn is_running(&mut self) -> bool {
		matches!(self.child.try_wait(), Ok(None))
	}

	/// Ends it at once, as a power cut would.
	pub fn kill(mut self) -> Result<()> {
		self.dismissed = true;
		self.child.kill().context("killing labora-node")?;
		self.child.wait().context("waiting for labora-node")?;
		Ok(())
	}

	/// Asks it to stop, and waits until it has.
	pub fn stop(mut self) -> Result<()> {
		if self.terminate() {
			Ok(())
		} else {
			bail!("labora-node did not stop in {} s (log: {})", STOP.as_secs(), self.log.display())
		}
	}

	fn terminate(&mut self) -> bool {
		self.dismissed = true;
		// The standard library can only kill; a node that is asked flushes its database first.
		let asked = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
		if !asked.is_ok_and(|status| status.success()) {
			return !self.is_running();
		}
		let deadline = Instant::now() + STOP;
		while Instant::now() < deadline {
			if !self.is_running() {
				return true;
			}
			std::thread::sleep(Duration::from_millis(20));
		}
		false
	}

	/// Reads the RPC's port from the log: the system chose it.
	fn await_rpc(&mut self, from: u64) -> Result<String> {
		const MARK: &str = "Running JSON-RPC server: addr=";
		let deadline = Instant::now() + START;
		while Instant::now() < deadline {
			let mut text = String::new();
			let mut file = File::open(&self.log)?;
			file.seek(SeekFrom::Start(from))?;
			// The last line may be cut in a character that is not complete yet.
			if file.read_to_string(&mut text).is_ok() {
				let address = text.split(MARK).nth(1).and_then(|rest| rest.split([',', ' ', '"', '\n']).next());
				if let Some(address) = address.filter(|address| !address.is_empty()) {
					return Ok(format!("ws://{address}"));
				}
			}
			if !self.is_running() {
				self.dismissed = true;
				bail!("labora-node ended at once; the end of its log:\n{}", tail(&text));
			}
			std::thread::sleep(Duration::from_millis(50));
		}
		bail!("labora-node opened no RPC in {} s (log: {})", START.as_secs(), self.log.display())
	}
}

fn tail(text: &str) -> String {
	let all: Vec<_> = text.lines().collect();
	all[all.len().saturating_sub(LAST_LINES)..].join("\n")
}

impl Drop for Node {
	fn drop(&mut self) {
		// Whoever talked to it knows no more than that the connection is gone.
		if let (false, Ok(Some(status))) = (self.dismissed, self.child.try_wait()) {
			let (log, end) = (self.log.display(), self.end_of_log());
			eprintln!("labora-node ended by itself ({status}); the end of {log}:\n{end}");
		}
		if self.is_running() && !self.terminate() {
			let _ = self.child.kill();
			let _ = self.child.wait();
		}
		RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|id| *id != self.child.id());
	}
}
