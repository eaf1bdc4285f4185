//! How it ends: in good order, or because somebody has found something.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// What all threads look at now and then.
#[derive(Debug, Default)]
pub struct Ending {
    producing_ends: AtomicBool,
    /// The end for all, good or not.
    over: AtomicBool,
    failed: AtomicBool,
}

impl Ending {
    /// From now on no new request is begun; those under way are sent until they are acknowledged.
    pub fn stop_producing(&self) {
        self.producing_ends.store(true, Ordering::Release);
    }

    pub fn is_producing(&self) -> bool {
        !self.producing_ends.load(Ordering::Acquire) && !self.is_over()
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Ends everything with the thread that has it; where that thread panics, it is a failure.
    pub fn guard(&self) -> Guard<'_> {
        Guard { ending: self, ends_all: true }
    }

    /// The same for one thread of several: only its panic ends everything.
    pub fn guard_of_one(&self) -> Guard<'_> {
        Guard { ending: self, ends_all: false }
    }

    /// Ends the calling thread where another one has failed.
    pub fn check(&self) {
        assert!(!self.failed.load(Ordering::Acquire), "another thread has failed, and said why");
    }

    /// Waits for so long; who has to end is not kept waiting.
    pub fn pause(&self, pause: Duration) {
        if !self.is_over() {
            thread::park_timeout(pause);
        }
    }
}

/// See [`Ending::guard`].
#[derive(Debug)]
pub struct Guard<'a> {
    ending: &'a Ending,
    ends_all: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.ending.failed.store(true, Ordering::Release);
        }
        if self.ends_all || thread::panicking() {
            self.ending.over.store(true, Ordering::Release);
        }
    }
}

/// The folder with data and logs, which stays where the test fails.
#[derive(Debug)]
pub struct Evidence(Option<TempDir>);

impl Evidence {
    pub fn new() -> Self {
        Self(Some(tempfile::Builder::new().prefix("track-chaos-").tempdir().unwrap()))
    }

    pub fn path(&self) -> &Path {
        self.0.as_ref().unwrap().path()
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(dir) = self.0.take()
        {
            println!("data and logs are left in {}", dir.keep().display());
        }
    }
}
