//! When a partition takes a checkpoint in place of its own store: where that is missing, damaged, or not as far.

use super::restore::{RestoreError, Restored, Wanted};
use crate::error::ProcessorError;
use crate::recovery::{Home, Setback};
use crate::state::store::{Store, StoreError};
use crate::stop::Stop;
use metrics::{counter, gauge};
use std::time::Duration;
use track_log::{LogError, Offset};

/// How long the log may take to bring the one record that says whose a checkpoint is.
const LAST_RECORD_WITHIN: Duration = Duration::from_secs(10);
/// How much further a checkpoint must be than a store that can be folded on: the log is sooner folded than a state fetched.
const FURTHER_RECORDS_MIN: u64 = 1_000_000;

impl Home {
    /// The offset of the store, where there may be a checkpoint that is worth fetching: there is no state yet, or the log no longer
    /// has what is missing, or there would be much to fold. An object store that does not answer is
    /// waited for only by a store that the log alone can't bring further.
    pub(crate) fn behind(&self, store: &Store) -> Result<Option<Offset>, StoreError> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(None) };
        let next_offset = store.progress()?.unwrap_or_default().next_offset;
        let is_cut_off = || self.log.bounds(self.partition).is_ok_and(|log| log.start > next_offset);
        let is_behind = match checkpoints.newest(&self.identity) {
            Ok(Some(newest)) if next_offset == 0 || newest > next_offset + FURTHER_RECORDS_MIN => newest > next_offset,
            Ok(Some(newest)) => newest > next_offset && is_cut_off(),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(partition = self.partition, %error, "whether there is a newer checkpoint is not known");
                !self.accept_truncated_log && is_cut_off()
            }
        };
        Ok(is_behind.then_some(next_offset))
    }

    /// Puts the newest usable checkpoint beyond `next_offset` in the place of the store, which is closed. One that is
    /// `damaged` is set aside and not replaced, and its checkpoints are read through before they are believed: they may
    /// have been made of it. False where there is none, or none can be had and the log has what is missing.
    pub(crate) fn take_checkpoint(&self, beyond: Offset, damaged: bool, stop: &Stop) -> Result<bool, Setback> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(false) };
        let mut log = self.log.bounds(self.partition).map_err(Setback::Log)?;
        let restored = loop {
            let wanted = Wanted {
                partition: self.partition,
                identity: &self.identity,
                beyond,
                log_end: log.end,
                reads_through: damaged,
                memory: &self.memory,
            };
            let (partition, suffices) = (self.partition, log.start <= beyond || self.accept_truncated_log);
            match checkpoints.restore(&self.folder, &wanted, stop) {
                _ if stop.is_set() => return Err(Setback::Log(LogError::Closed)),
                Ok(Some(restored)) => break restored,
                Ok(None) => return Ok(false),
                Err(RestoreError::Ahead { next_offset, log_end }) => {
                    // A replica may have gone on since the log was looked at.
                    log = self.log.bounds(self.partition).map_err(Setback::Log)?;
                    if next_offset <= log.end {
                        continue;
                    }
                    let location = checkpoints.location().clone();
                    let ahead = ProcessorError::CheckpointAhead { partition, location, next_offset, log_end };
                    if damaged || !suffices {
                        return Err(Setback::Failed(ahead));
                    }
                    tracing::error!(partition, "not used: {ahead}");
                    return Ok(false);
                }
                Err(RestoreError::Checkpoint(error)) if !suffices => return Err(Setback::Checkpoints(error)),
                Err(RestoreError::Checkpoint(error)) => {
                    tracing::warn!(partition, %error, "no checkpoint can be had: the log has what is missing");
                    return Ok(false);
                }
            }
        };
        if !self.is_of_this_log(&restored, log.start)? {
            let (partition, offset) = (self.partition, restored.next_offset);
            let location = checkpoints.location();
            counter!("track_checkpoint_unusable_total", "partition" => partition.to_string()).increment(1);
            tracing::error!(partition, offset, %location, "the checkpoints are of another log: each log needs a place of its own");
            return Ok(false);
        }
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

    /// Whether the log took the checkpoint's last record when the checkpoint says so; a log that no longer has that record is
    /// believed.
    fn is_of_this_log(&self, restored: &Restored, log_start: Offset) -> Result<bool, Setback> {
        let Some(last) = restored.next_offset.checked_sub(1).filter(|last| *last >= log_start) else { return Ok(true) };
        let mut reader = self.log.reader(self.partition, last).map_err(Setback::Log)?;
        let mut records = Vec::new();
        reader.read(&mut records, 1, LAST_RECORD_WITHIN).map_err(Setback::Log)?;
        match records.first() {
            Some(record) => Ok(record.offset == last && record.append_time_ms == restored.appended_ms),
            None => Err(Setback::Log(LogError::Kafka(format!("the record at offset {last} can't be read")))),
        }
    }
}
