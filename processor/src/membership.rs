//! Which partitions are ours: opening the store of each, handing it its reader, draining and closing it.

use crate::Shared;
use crate::checkpoint;
use crate::error::{OpenError, ProcessorError};
use crate::leaving::Leaving;
use crate::partition::{Owned, Task};
use crate::recovery::{self, Cause, Home, Remedy};
use crate::sessions;
use crate::state::identity::Identity;
use crate::state::progress::Progress;
use crate::state::store::Store;
use crate::state::ttl::ARRIVAL_SECONDS;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    fn joined(&self) {
        *self.standing.lock() = Ok(());
    }

    fn left_out(&self, reason: &str) {
        *self.standing.lock() = Err(format!("not in the group of the processors: {reason}"));
    }

    fn assigned(&self, partitions: &[Partition]) -> Vec<(Partition, Offset)> {
        let mut starts = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            // Two can't have one folder open.
            self.close_left("ours again", |leaving| leaving.take(partition).into_iter().collect());
            if let Some(checkpoints) = &self.checkpoints {
                checkpoints.abandon(partition);
            }
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
        match self.config.warm_within {
            Some(within) => self.leave(partitions, within),
            None => {
                let take = |partition: &Partition| self.owned.write().remove(partition);
                self.close(partitions.iter().filter_map(take).collect());
            }
        }
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

    /// Drains partitions, which are answered from until another processor serves them, but no longer than `within`.
    fn leave(&self, partitions: &[Partition], within: Duration) {
        for owned in partitions.iter().filter_map(|partition| self.owned(*partition)) {
            let partition = owned.partition();
            let left = owned.leave(|store| self.take_last_checkpoint(partition, store));
            self.let_go_of_checkpoints(partition);
            if matches!(left, Ok(true)) {
                self.leaving.keep(Arc::clone(&owned), Instant::now() + within);
            }
            // Only now: it is found all the while.
            self.owned.write().remove(&partition);
            match left {
                Ok(true) => {
                    tracing::info!(partition, "partition drained, and answered from until it is served elsewhere");
                }
                Ok(false) => close_drained(&owned, "it was not served"),
                Err(failure) => {
                    close_drained(&owned, "it has failed");
                    self.failures.report(failure);
                }
            }
        }
    }

    /// Drains and closes partitions that no longer are in the table, each with a last checkpoint.
    fn close(&self, all: Vec<Arc<Owned>>) {
        for owned in all {
            let partition = owned.partition();
            let closed = owned.close(|store| self.take_last_checkpoint(partition, store));
            self.let_go_of_checkpoints(partition);
            match closed {
                Ok(()) => tracing::info!(partition, "partition closed"),
                Err(failure) => self.failures.report(failure),
            }
        }
    }

    /// Closes some of those that are being left.
    fn close_left(&self, why: &'static str, which: impl FnOnce(&Leaving) -> Vec<Arc<Owned>>) {
        // Whoever finds that one is not there any more must find its folder closed.
        let _turn = self.leaving.closing();
        which(&self.leaving).iter().for_each(|owned| close_drained(owned, why));
    }

    fn take_last_checkpoint(&self, partition: Partition, store: &Store) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.take_last(partition, store);
        }
    }

    fn let_go_of_checkpoints(&self, partition: Partition) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.let_go(partition);
        }
    }

    /// Closes what the log has not revoked and what was still answered from, and waits for the last checkpoints.
    pub(crate) fn close_all(&self) {
        self.close_left("the process ends", Leaving::take_all);
        let owned = std::mem::take(&mut *self.owned.write());
        self.close(owned.into_values().collect());
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.end();
        }
    }

    /// Closes what has been answered from for long enough.
    pub(crate) fn close_overdue(&self) {
        self.close_left("served elsewhere, or not in time", |leaving| leaving.take_overdue(Instant::now()));
    }

    /// A partition that may answer.
    pub(crate) fn answering(&self, partition: Partition) -> Option<Arc<Owned>> {
        self.owned(partition).or_else(|| self.leaving.find(partition))
    }

    pub(crate) fn owned(&self, partition: Partition) -> Option<Arc<Owned>> {
        self.owned.read().get(&partition).cloned()
    }

    pub(crate) fn status(&self) -> Vec<v1::PartitionStatus> {
        let checkpointed_ms = |owned: &Owned| self.checkpoints.as_ref().and_then(|it| it.covered_ms(owned.partition()));
        let status = |owned: &Arc<Owned>| {
            let checkpointed_ms = checkpointed_ms(owned);
            (owned.partition(), v1::PartitionStatus { checkpointed_ms, ..owned.status() })
        };
        // In this order: one that begins to be left meanwhile is among those that are ours.
        let ours: Vec<_> = self.owned.read().values().cloned().collect();
        let mut all: BTreeMap<_, _> = ours.iter().map(status).collect();
        for owned in self.leaving.all() {
            all.entry(owned.partition()).or_insert_with(|| owned.status());
        }
        all.into_values().collect()
    }

    /// What the group may be told.
    pub(crate) fn applied(&self) -> Vec<(Partition, Offset)> {
        self.owned.read().iter().map(|(partition, owned)| (*partition, owned.next_offset())).collect()
    }

    pub(crate) fn measure_stores(&self) {
        let owned: Vec<_> = self.owned.read().values().cloned().collect();
        owned.iter().for_each(|owned| owned.measure_store());
        self.memory.measure();
    }
}

fn close_drained(owned: &Owned, why: &'static str) {
    owned.let_go();
    tracing::info!(partition = owned.partition(), why, "partition closed");
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
