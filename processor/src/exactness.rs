//! The proof that answers are exact: fold and store together, on a real RocksDB, against the oracle.
//!
//! - [`history`]: random events in their order of arrival, as the oracle and as the log have them, and random questions
//! - [`partition`]: a store that a test folds into, stops, opens again, takes back, and asks
//! - [`answers`]: what is answered is what the oracle says, whatever the order of arrival
//! - [`batches`]: how records are cut into batches, and where a fold is stopped, changes no byte of a row that is alive
//! - [`expiry`]: what is over vanishes at its second and nothing else does; a wild clock makes nothing vanish
//! - [`cost`]: what an edge costs in rows, for a user with a long history

mod answers;
mod batches;
mod cost;
mod expiry;
mod history;
mod partition;

use proptest::test_runner::{Config, FileFailurePersistence};

/// As many cases as `TRACK_CASES` says, or 256. Failures are kept beside the source, to be tried first for ever after.
fn cases() -> Config {
    let cases = std::env::var("TRACK_CASES").ok().map_or(256, |cases| cases.parse().expect("TRACK_CASES is a number"));
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}
