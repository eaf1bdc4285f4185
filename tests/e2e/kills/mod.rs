//! Whatever dies, stalls, fills up or rots, the answers are the oracle's over what was acknowledged, and the state is
//! that of a fold that was never disturbed.
//!
//! - [`standalone`]: killed at random moments, torn log, damaged store
//! - [`points`]: killed at the moments that random ones seldom hit
//! - [`disk`]: no room left, and room again
//! - [`cluster`]: ingest, processors and the broker killed, a processor frozen; one event through all of that
//!
//! [`traffic`] is what is sent and what must be answered then, [`producer`] sends it until it is acknowledged. `TRACK_KILLS`
//! says how often things die in all, ten times unless it is set; `TRACK_SEED` repeats a run.

mod cluster;
pub mod disk;
mod points;
mod producer;
mod standalone;
mod traffic;

use crate::TRACK;
use std::path::Path;
use std::process::Command;

/// How many kills a scenario gets that has `share` of ten.
fn kills(share: usize) -> usize {
    let all = std::env::var("TRACK_KILLS").map_or(10, |kills| kills.parse().unwrap());
    (all * share).div_ceil(10)
}

/// The state of each partition in the folder of a processor that is not running: its offset and its digest.
fn digest(data_dir: &Path) -> String {
    let output = Command::new(TRACK).args(["processor", "digest", "--data-dir"]).arg(data_dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
