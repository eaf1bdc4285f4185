//! The thread beside a partition's own that takes what is over off the disk, when stream time says so.
//!
//! Folding and questions go on meanwhile, and a partition that is closed or mended waits for one slice at most.

use crate::error::ProcessorError;
use crate::partition::{Halt, Owned};
use crate::state::ttl::StreamSeconds;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The sweeps of one partition, one at a time.
#[derive(Default)]
pub(crate) struct Reclaim {
    sweeping: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    /// Stream time when it was last asked: nothing is due while that stands still.
    asked: StreamSeconds,
}

impl Reclaim {
    /// Whether [`Reclaim::begin`] is to be called, with everything flushed: only what is on disk is looked through.
    pub(crate) fn is_due(&mut self, owned: &Owned) -> Result<bool, Halt> {
        let now = owned.stream_time();
        if now == self.asked || self.sweeping.as_ref().is_some_and(|sweeping| !sweeping.is_finished()) {
            return Ok(false);
        }
        self.asked = now;
        owned.with_store(|store| store.is_sweep_due(now))
    }

    pub(crate) fn begin(&mut self, owned: &Arc<Owned>) -> Result<(), Halt> {
        let (partition, now) = (owned.partition(), owned.stream_time());
        let (owned, stop) = (Arc::clone(owned), Arc::clone(&self.stop));
        let sweep = move || {
            if sweep(&owned, now, &stop).is_some() {
                tracing::info!(partition, "took what is over off the disk");
            }
        };
        let thread = std::thread::Builder::new().name(format!("reclaim-{partition}")).spawn(sweep);
        self.sweeping = Some(thread.map_err(|error| ProcessorError::Store { partition, reason: error.to_string() })?);
        Ok(())
    }
}

impl Drop for Reclaim {
    /// The partition has stopped folding, and so the sweep stops too.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(sweeping) = self.sweeping.take() {
            // A panic has been printed by its own hook.
            let _ = sweeping.join();
        }
    }
}

/// `None` where it did not come to its end: it is begun anew some time.
fn sweep(owned: &Owned, now: StreamSeconds, stop: &AtomicBool) -> Option<()> {
    for slice in owned.look(|store| store.slices())? {
        if stop.load(Ordering::Acquire) || owned.is_stopped() {
            return None;
        }
        // The compaction itself says nothing of damage that it met.
        owned.look(|store| {
            store.sweep(&slice);
            store.check_background()
        })?;
    }
    owned.look(|store| store.remember_sweep(now))
}
