//! libFuzzer's way to `checks::access_format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::access_format::check(input));
