#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| labora_fuzz::bound::bounded(|| labora_fuzz::exchange::run(data)));
