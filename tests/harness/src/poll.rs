//! Waiting for a condition with a deadline: the one place in the tests that sleeps.

use anyhow::{Context as _, Result};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Tries until `attempt` succeeds.
///
/// # Errors
/// The last attempt's, after `within`.
pub fn eventually<T>(within: Duration, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => pause(),
            done => return done.with_context(|| format!("{what}, within {within:?}")),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a process can only be watched from outside by looking again")]
fn pause() {
    std::thread::sleep(PAUSE);
}
