//! libFuzzer's way to `checks::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::head::check(input));
