//! libFuzzer's way to `checks::body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::body::check(input));
