//! libFuzzer's way to `checks::settings_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::settings_file::check(input));
