//! What the programs of this folder share: the time that a piece of work takes, on the wall and on the processors.
//!
//! `peers/` has what track is measured against, `rigs/` what a measure needs around track, `driver/` runs them all.

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::time::{Duration, Instant};

/// A piece of work under way.
#[derive(Debug)]
pub struct Stopwatch {
    began: Instant,
    cpu_began: Duration,
}

impl Stopwatch {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now(), cpu_began: cpu() }
    }

    /// So many things were done: a line of JSON with their number, `seconds` and `cpu_seconds` of this process.
    #[must_use]
    pub fn report(&self, done: u64) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpu_seconds = (cpu() - self.cpu_began).as_secs_f64();
        json!({ "done": done, "seconds": seconds, "cpu_seconds": cpu_seconds }).to_string()
    }
}

/// What this process has used of all processors, all of its threads together.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}
