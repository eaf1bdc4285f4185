#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| track_processor::fuzzing::keys_and_rows(data));
