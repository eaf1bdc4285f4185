#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| track_ingest::fuzzing::body(data));
