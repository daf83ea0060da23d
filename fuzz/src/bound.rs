//! The bound on memory. libFuzzer's own `-malloc_limit_mb` needs a sanitizer's allocator, which stable Rust does not have, so it
//! would be ignored without a word.

use std::{
	alloc::{GlobalAlloc, Layout, System},
	sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Most bytes that one input may hold at a time, in all its allocations together: what the SDK's allocator in Wasm gives to a single one.
pub const MOST: usize = 32 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static ALLOWED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The system's allocator; it stops the process beyond the bound.
pub struct Bounded;

/// Runs the code of one input within the bound.
pub fn bounded(run: impl FnOnce()) {
	ALLOWED.store(LIVE.load(Relaxed).saturating_add(MOST), Relaxed);
	run();
	ALLOWED.store(usize::MAX, Relaxed);
}

fn count(bytes: usize) {
	let live = LIVE.fetch_add(bytes, Relaxed).saturating_add(bytes);
	// A panic's backtrace needs the program's symbols, which are large; it ends the process anyway.
	if live > ALLOWED.load(Relaxed) && !std::thread::panicking() {
		// Printing allocates too.
		ALLOWED.store(usize::MAX, Relaxed);
		eprintln!("more than {MOST} bytes at a time, the last {bytes} of them in one");
		std::process::abort();
	}
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Bounded {
	unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
		count(layout.size());
		unsafe { System.alloc(layout) }
	}

	unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
		count(layout.size());
		unsafe { System.alloc_zeroed(layout) }
	}

	unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
		count(size);
		LIVE.fetch_sub(layout.size(), Relaxed);
		unsafe { System.realloc(pointer, layout, size) }
	}

	unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
		LIVE.fetch_sub(layout.size(), Relaxed);
		unsafe { System.dealloc(pointer, layout) }
	}
}
