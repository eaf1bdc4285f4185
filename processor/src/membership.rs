//! Which partitions are ours: opening the store of each, handing it its reader, draining and closing it.

use crate::Shared;
use crate::checkpoint;
use crate::error::{OpenError, ProcessorError};
use crate::partition::{Owned, Task};
use crate::recovery::{self, Cause, Home, Remedy};
use crate::sessions;
use crate::state::identity::Identity;
use crate::state::progress::Progress;
use crate::state::ttl::ARRIVAL_SECONDS;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use track_log::{Member, Offset, Partition, PartitionReader};
use track_proto::v1;

/// Makes the data folder and takes its lock, which ends with the returned file.
pub(crate) fn lock(data_dir: &Path) -> Result<File, OpenError> {
    let folder = |source| OpenError::Folder { folder: data_dir.into(), source };
    std::fs::create_dir_all(data_dir).map_err(folder)?;
    let file = File::options().create(true).truncate(false).write(true).open(data_dir.join("LOCK")).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(data_dir.into())),
        Err(TryLockError::Error(source)) => Err(folder(source)),
    }
}

impl Member for Shared {
    fn assigned(&self, partitions: &[Partition]) -> Vec<(Partition, Offset)> {
        let mut starts = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            match self.open(partition) {
                Ok((owned, start)) => {
                    tracing::info!(partition, offset = start, "partition assigned");
                    if let Some(checkpoints) = &self.checkpoints {
                        checkpoints.begin(&owned, owned.home(), &self.clock);
                    }
                    self.owned.write().insert(partition, owned);
                    // One whose store has to be mended first finds its own reader afterwards.
                    starts.extend(start.map(|start| (partition, start)));
                }
                Err(failure) => self.failures.report(failure),
            }
        }
        starts
    }

    fn reader(&self, partition: Partition, reader: Box<dyn PartitionReader>) {
        let owned = self.owned.read().get(&partition).cloned();
        if let Some(owned) = owned
            && let Err(failure) = owned.start(Task::Begin(reader))
        {
            self.failures.report(failure);
        }
    }

    fn revoked(&self, partitions: &[Partition]) {
        let take = |partition: &Partition| self.owned.write().remove(partition);
        self.close(&partitions.iter().filter_map(take).collect::<Vec<_>>());
    }
}

impl Shared {
    /// Opens the store of a partition and finds where it goes on: nowhere yet where the store has to be mended first.
    fn open(&self, partition: Partition) -> Result<(Arc<Owned>, Option<Offset>), ProcessorError> {
        let home = self.home(partition);
        if let Err(error) = checkpoint::tidy(&home.folder) {
            tracing::warn!(partition, %error, "what a crash has left beside the store can't be put in order");
        }
        match home.open() {
            Ok((store, progress)) => {
                let start =
                    home.start(progress.next_offset).map_err(|source| ProcessorError::Log { partition, source })?;
                let progress = Progress { next_offset: start, ..progress };
                Ok((Arc::new(Owned::new(home, Some(store), progress, self)), Some(start)))
            }
            Err(error) if recovery::remedy(&error) == Remedy::Refuse => Err(ProcessorError::store(partition, error)),
            Err(error) => {
                let owned = Arc::new(Owned::new(home, None, Progress::default(), self));
                owned.start(Task::Mend(Cause::Failed(error)))?;
                Ok((owned, None))
            }
        }
    }

    fn home(&self, partition: Partition) -> Home {
        Home {
            partition,
            folder: partition_folder(&self.config.data_dir, partition),
            identity: self.identity(partition),
            spans: self.spans,
            memory: self.memory.clone(),
            log: Arc::clone(&self.log),
            checkpoints: self.checkpoints.clone(),
            accept_truncated_log: self.config.accept_truncated_log,
        }
    }

    pub(crate) fn session_rules(&self) -> sessions::Rules {
        sessions::Rules::new(self.config.session_duration_ms_max, i64::from(ARRIVAL_SECONDS) * 1000)
    }

    fn identity(&self, partition: Partition) -> Identity {
        Identity {
            partition,
            partition_count: self.log.partition_count(),
            session_pairs: self.config.session_pairs.clone(),
            session_duration_ms_max: self.config.session_duration_ms_max,
            retention_seconds: self.spans.retention,
        }
    }

    /// Drains and closes partitions that no longer are in the table, each with a last checkpoint.
    fn close(&self, all: &[Arc<Owned>]) {
        for owned in all {
            let partition = owned.partition();
            let closed = owned.close(|store| {
                if let Some(checkpoints) = &self.checkpoints {
                    checkpoints.take_last(partition, store);
                }
            });
            match closed {
                Ok(()) => tracing::info!(partition, "partition closed"),
                Err(failure) => self.failures.report(failure),
            }
        }
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.end(all.iter().map(|owned| owned.partition()));
        }
    }

    /// Closes what the log has not revoked.
    pub(crate) fn close_all(&self) {
        let owned = std::mem::take(&mut *self.owned.write());
        self.close(&owned.into_values().collect::<Vec<_>>());
    }

    pub(crate) fn owned(&self, partition: Partition) -> Option<Arc<Owned>> {
        self.owned.read().get(&partition).cloned()
    }

    pub(crate) fn status(&self) -> Vec<v1::PartitionStatus> {
        self.owned.read().values().map(|owned| owned.status()).collect()
    }

    /// What the group may be told.
    pub(crate) fn applied(&self) -> Vec<(Partition, Offset)> {
        self.owned.read().iter().map(|(partition, owned)| (*partition, owned.next_offset())).collect()
    }

    pub(crate) fn measure_stores(&self) {
        let owned: Vec<_> = self.owned.read().values().cloned().collect();
        owned.iter().for_each(|owned| owned.measure_store());
    }
}

/// Where a partition's store is.
pub(crate) fn partition_folder(data_dir: &Path, partition: Partition) -> PathBuf {
    data_dir.join(format!("partition-{partition:04}"))
}

/// The partition whose folder has this name.
pub(crate) fn partition_of_folder(name: &str) -> Option<Partition> {
    name.strip_prefix("partition-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let refusal = lock(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("in use by another process"), "{refusal}");
        drop(held);
        lock(folder.path()).unwrap();
    }
}
