//! Telling a partition's thread to stop.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Tells a thread to stop, and wakes it where it waits.
#[derive(Default)]
pub(crate) struct Stop {
    set: Mutex<bool>,
    woken: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        *self.set.lock() = true;
        self.woken.notify_all();
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.set.lock()
    }

    /// Waits for at most `wait`; says whether it is set.
    pub(crate) fn wait(&self, wait: Duration) -> bool {
        let mut set = self.set.lock();
        if !*set {
            self.woken.wait_for(&mut set, wait);
        }
        *set
    }
}
