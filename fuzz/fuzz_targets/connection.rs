//! libFuzzer's way to `checks::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::connection::check(input));
