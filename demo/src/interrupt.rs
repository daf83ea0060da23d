//! Ctrl-C: the first one asks the demonstration to stop in order, the second ends it at once.

use std::{io, time::Duration};

use tokio::{
	signal::unix::{signal, Signal, SignalKind},
	sync::watch,
};

use crate::node;

/// Exit code of a program that Ctrl-C ended.
pub const EXIT_CODE: i32 = 130;

/// Whether somebody asked to stop.
#[derive(Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
	/// Listens to SIGINT and SIGTERM from now on.
	///
	/// A second one ends the process, with the nodes that it started, wherever it is.
	pub fn listen() -> io::Result<Self> {
		let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
		let (sender, receiver) = watch::channel(false);
		tokio::spawn(async move {
			either(&mut interrupt, &mut terminate).await;
			sender.send_replace(true);
			either(&mut interrupt, &mut terminate).await;
			node::kill_all();
			std::process::exit(EXIT_CODE)
		});
		Ok(Self(receiver))
	}

	/// Whether somebody has asked.
	pub fn is_asked(&self) -> bool {
		*self.0.borrow()
	}

	/// Waits until somebody asks.
	pub async fn asked(&mut self) {
		// The sender lives as long as the runtime.
		let _ = self.0.wait_for(|asked| *asked).await;
	}

	/// Whether somebody asks within a time.
	pub async fn is_asked_within(&mut self, time: Duration) -> bool {
		tokio::time::timeout(time, self.asked()).await.is_ok()
	}
}

async fn either(one: &mut Signal, other: &mut Signal) {
	tokio::select! {
		_ = one.recv() => {},
		_ = other.recv() => {},
	}
}
