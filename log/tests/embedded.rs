//! The embedded log: the conformance suite, and what only a log of files can be asked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod conformance;
#[path = "embedded/damage.rs"]
mod damage;
#[path = "embedded/failing_disk.rs"]
mod failing_disk;
#[path = "embedded/folder.rs"]
mod folder;
#[path = "embedded/killed.rs"]
mod killed;
#[path = "embedded/limits.rs"]
mod limits;
#[path = "embedded/membership.rs"]
mod membership;
#[path = "embedded/retention.rs"]
mod retention;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{Append, ReadLog};
use track_proto::clock::Clock;

conformance!(Embedded);

/// A log in a folder of its own, with segments so small that every rule is tried across them.
struct Embedded {
    dir: TempDir,
    partition_count: u32,
    log: Option<Arc<EmbeddedLog>>,
}

impl Embedded {
    fn opened(dir: TempDir, partition_count: u32) -> Self {
        let config = Config { segment_bytes_max: 16 << 10, ..Config::new(dir.path(), partition_count) };
        let log = EmbeddedLog::open(config, Time::at(1_735_689_600_000).clock()).unwrap();
        Self { dir, partition_count, log: Some(log) }
    }
}

impl conformance::Fixture for Embedded {
    fn open(partition_count: u32) -> Self {
        Self::opened(tempfile::tempdir().unwrap(), partition_count)
    }

    fn reopen(mut self) -> Self {
        self.log = None;
        Self::opened(self.dir, self.partition_count)
    }

    fn append(&self) -> Arc<dyn Append> {
        self.log.clone().unwrap()
    }

    fn log(&self) -> Arc<dyn ReadLog> {
        self.log.clone().unwrap()
    }
}

/// A clock that the test sets.
#[derive(Clone)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn at(ms: i64) -> Self {
        Self(Arc::new(AtomicI64::new(ms)))
    }

    fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || now.load(Ordering::SeqCst))
    }
}

/// One partition in `dir`, in segments of `segment_bytes_max`.
fn open_one(dir: &Path, segment_bytes_max: u64, time: &Time) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(Config { segment_bytes_max, ..Config::new(dir, 1) }, time.clock()).unwrap()
}

/// The segments of partition 0, oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join("partition-0000"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}
