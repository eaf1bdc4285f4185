//! What several modules' tests need.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// The server's time in tests: 2025-06-01T12:00:00Z.
pub(crate) const NOW_MS: i64 = 1_748_779_200_000;

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}
