#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| track_query_api::fuzzing::query_params(data));
