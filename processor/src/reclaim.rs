//! The thread beside a partition's own that takes what is over off the disk, when stream time says so.
//!
//! Folding and questions go on meanwhile, and a partition that is closed waits for one slice at most.

use crate::error::ProcessorError;
use crate::partition::Owned;
use crate::state::ttl::StreamSeconds;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The sweeps of one partition, one at a time.
#[derive(Default)]
pub(crate) struct Reclaim {
    sweeping: Option<JoinHandle<()>>,
    /// Stream time when it was last asked: nothing is due while that stands still.
    asked: StreamSeconds,
}

impl Reclaim {
    /// Whether [`Reclaim::begin`] is to be called, with everything flushed: only what is on disk is looked through.
    pub(crate) fn is_due(&mut self, owned: &Owned) -> Result<bool, ProcessorError> {
        let now = owned.stream_time();
        if now == self.asked || self.sweeping.as_ref().is_some_and(|sweeping| !sweeping.is_finished()) {
            return Ok(false);
        }
        self.asked = now;
        owned.with_store(|store| store.is_sweep_due(now))
    }

    pub(crate) fn begin(&mut self, owned: &Arc<Owned>) -> Result<(), ProcessorError> {
        let (owned, partition, now) = (Arc::clone(owned), owned.partition, owned.stream_time());
        let sweep = move || {
            if let Err(error) = sweep(&owned, now) {
                tracing::warn!(partition, %error, "what is over could not be taken off the disk; it will be tried again");
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
        if let Some(sweeping) = self.sweeping.take() {
            // A panic has been printed by its own hook.
            let _ = sweeping.join();
        }
    }
}

fn sweep(owned: &Owned, now: StreamSeconds) -> Result<(), ProcessorError> {
    for slice in owned.with_store(|store| store.slices())? {
        if owned.is_stopped() {
            return Ok(());
        }
        owned.with_store(|store| {
            store.sweep(&slice);
            Ok(())
        })?;
    }
    owned.with_store(|store| store.remember_sweep(now))?;
    tracing::info!(partition = owned.partition, "took what is over off the disk");
    Ok(())
}
