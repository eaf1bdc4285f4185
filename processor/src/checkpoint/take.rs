//! When a partition takes a checkpoint in place of its own store: where that is missing, damaged, or not as far.

use super::restore::{RestoreError, Wanted};
use crate::error::ProcessorError;
use crate::recovery::{Home, Setback};
use crate::state::store::{Store, StoreError};
use crate::stop::Stop;
use metrics::{counter, gauge};
use track_log::{LogError, Offset};

impl Home {
    /// The offset of the store, where there may be a checkpoint that is further. An object store that does not answer is
    /// waited for only by a store that the log alone can't bring further.
    pub(crate) fn behind(&self, store: &Store) -> Result<Option<Offset>, StoreError> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(None) };
        let next_offset = store.progress()?.unwrap_or_default().next_offset;
        let is_behind = match checkpoints.reach_beyond(&self.identity, next_offset) {
            Ok(is_behind) => is_behind,
            Err(error) => {
                tracing::warn!(partition = self.partition, %error, "whether there is a newer checkpoint is not known");
                !self.accept_truncated_log && self.log.bounds(self.partition).is_ok_and(|log| log.start > next_offset)
            }
        };
        Ok(is_behind.then_some(next_offset))
    }

    /// Puts the newest usable checkpoint beyond `next_offset` in the place of the store, which is closed. One that is
    /// `damaged` is set aside and not replaced, and its checkpoints are read through before they are believed: they may
    /// have been made of it. False where there is none, or none can be had and the log has what is missing.
    pub(crate) fn take_checkpoint(&self, beyond: Offset, damaged: bool, stop: &Stop) -> Result<bool, Setback> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(false) };
        let log = self.log.bounds(self.partition).map_err(Setback::Log)?;
        let wanted = Wanted {
            partition: self.partition,
            identity: &self.identity,
            beyond,
            log_end: log.end,
            reads_through: damaged,
            memory: &self.memory,
        };
        let restored = match checkpoints.restore(&self.folder, &wanted, stop) {
            _ if stop.is_set() => return Err(Setback::Log(LogError::Closed)),
            Ok(Some(restored)) => restored,
            Ok(None) => return Ok(false),
            Err(RestoreError::Ahead { next_offset, log_end }) => {
                return Err(Setback::Failed(ProcessorError::CheckpointAhead {
                    partition: self.partition,
                    location: checkpoints.location().clone(),
                    next_offset,
                    log_end,
                }));
            }
            Err(RestoreError::Checkpoint(error)) if log.start > beyond && !self.accept_truncated_log => {
                return Err(Setback::Checkpoints(error));
            }
            Err(RestoreError::Checkpoint(error)) => {
                tracing::warn!(partition = self.partition, %error, "no checkpoint can be had: the log has what is missing");
                return Ok(false);
            }
        };
        if damaged {
            self.set_aside().map_err(Setback::Folder)?;
        }
        let (partition, offset, bytes) = (self.partition, restored.next_offset, restored.bytes);
        let seconds = restored.took.as_secs_f64();
        restored.take_place(&self.folder).map_err(Setback::Folder)?;
        let label = partition.to_string();
        counter!("track_restores_total", "partition" => label.clone()).increment(1);
        gauge!("track_restore_seconds", "partition" => label).set(seconds);
        tracing::info!(partition, offset, bytes, seconds, "restored from a checkpoint");
        Ok(true)
    }
}
