//! Times: processor time of the thread, as others may use the machine too, in turns with what is compared.

use std::time::SystemTime;

/// Times of one thing, milliseconds.
#[derive(Clone, Debug)]
pub struct Samples(pub Vec<f64>);

impl Samples {
	fn sorted(&self) -> Vec<f64> {
		let mut sorted = self.0.clone();
		sorted.sort_by(f64::total_cmp);
		sorted
	}

	pub fn least(&self) -> f64 {
		self.sorted().first().copied().unwrap_or(f64::NAN)
	}

	pub fn median(&self) -> f64 {
		self.sorted().get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
	}

	pub fn most(&self) -> f64 {
		self.sorted().last().copied().unwrap_or(f64::NAN)
	}

	/// This by another, sample by sample: what was measured in the same turn.
	pub fn by(&self, other: &Self) -> Self {
		Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
	}
}

/// Processor time of this thread so far, milliseconds; where the system has none, time by the clock.
pub fn now() -> f64 {
	#[cfg(target_os = "linux")]
	{
		let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
		// SAFETY: `time` is a timespec to write to.
		if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } == 0 {
			return time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6;
		}
	}
	let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
	since.map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

/// Processor time of a call, milliseconds.
pub fn time<T>(f: impl FnOnce() -> T) -> f64 {
	let from = now();
	std::hint::black_box(f());
	now() - from
}

/// One thing to compare: runs once and gives its time, or nothing if it cannot.
pub type Run<'a> = dyn FnMut() -> Option<f64> + 'a;

/// Runs everything in turns. The first turn warms up. None for what could not run.
pub fn in_turns<const N: usize>(turns: usize, mut runs: [&mut Run<'_>; N]) -> [Option<Samples>; N] {
	let mut samples: [Option<Samples>; N] = std::array::from_fn(|_| Some(Samples(Vec::new())));
	for turn in 0..=turns {
		for (run, all) in runs.iter_mut().zip(&mut samples) {
			let Some(known) = all else { continue };
			match run() {
				Some(time) if turn > 0 => known.0.push(time),
				Some(_) => {}
				None => *all = None,
			}
		}
	}
	samples
}
