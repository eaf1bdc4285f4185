#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| track_proto::fuzzing::envelope(data));
