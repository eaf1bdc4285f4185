//! Checkpoints: a partition's state at one offset, in an object store, from where any processor can take it.
//!
//! In the order in which a state meets them:
//!
//! - [`location`]: a folder or a bucket
//! - [`schedule`]: the thread that makes the checkpoints of a partition
//! - [`snapshot`]: the store's files at one moment
//! - [`upload`]: files that are not there yet, and the manifest last
//! - [`collect`]: what no longer is of use
//! - [`restore`]: back from the newest usable one to a store
//! - [`take`]: when a partition wants that
//!
//! [`area`] is where things are in the object store, [`manifest`] what a checkpoint consists of.
//!
//! The state is a function of the log, so a checkpoint is never needed for the truth, but where the log no longer has its
//! beginning: it spares folding. Nothing here may therefore hold up or fail a partition that can do without.

mod area;
mod collect;
mod location;
mod manifest;
mod restore;
mod schedule;
mod snapshot;
mod take;
#[cfg(test)]
mod tests;
mod upload;

pub use location::CheckpointLocation;

pub(crate) use area::CheckpointError;
pub(crate) use restore::tidy;

use crate::OpenError;
use crate::partition::Owned;
use crate::recovery::Home;
use crate::state::identity::Identity;
use crate::state::store::Store;
use crate::stop::Stop;
use area::Area;
use location::Opened;
use parking_lot::Mutex;
use restore::{RestoreError, Restored, Wanted};
use schedule::{Ending, Schedule};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use track_log::{Offset, Partition};
use track_proto::clock::Clock;

/// How long a partition that could be folded as it is waits to hear whether there is something newer.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Partitions whose files are on their way at the same time in one direction.
const TRANSFERS_AT_ONCE: usize = 2;
/// How long a process that ends waits for last checkpoints.
const LAST_WITHIN: Duration = Duration::from_secs(2);
/// How soon a download that nobody wants any more is noticed.
const STOP_NOTICED_WITHIN: Duration = Duration::from_millis(100);

/// Where checkpoints go, and how often.
#[derive(Debug, Clone)]
pub struct CheckpointConfig {
    /// A folder or a bucket; any number of processors may share it.
    pub location: CheckpointLocation,
    /// From one checkpoint of a partition to the next, where its state has moved.
    pub interval: Duration,
    /// How many of each partition are kept; at least one.
    pub kept: usize,
    /// How long a file that no checkpoint names is left alone: longer than any upload takes.
    pub grace: Duration,
}

impl CheckpointConfig {
    /// What fits all uploads but those of many hours.
    pub const GRACE: Duration = Duration::from_secs(60 * 60);
}

/// The checkpoints of a process.
pub(crate) struct Checkpoints {
    config: CheckpointConfig,
    opened: Opened,
    /// Requests run here: the threads that wait for them are no runtime's. There until this is dropped.
    runtime: Option<Runtime>,
    /// Whoever moves files has one: what they hold in memory must not grow with the number of partitions.
    uploads: Semaphore,
    downloads: Semaphore,
    schedules: Mutex<BTreeMap<Partition, Schedule>>,
    /// Of partitions that are no longer ours.
    endings: Mutex<BTreeMap<Partition, Ending>>,
}

impl Checkpoints {
    pub(crate) fn open(config: CheckpointConfig) -> Result<Arc<Self>, OpenError> {
        let refused = |reason| OpenError::Checkpoints { location: config.location.clone(), reason };
        let opened = config.location.open().map_err(refused)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("checkpoints").enable_all().build();
        let runtime = Some(runtime.map_err(|error| refused(error.to_string()))?);
        let (uploads, downloads) = (Semaphore::new(TRANSFERS_AT_ONCE), Semaphore::new(TRANSFERS_AT_ONCE));
        let (schedules, endings) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { config, opened, runtime, uploads, downloads, schedules, endings }))
    }

    pub(crate) fn location(&self) -> &CheckpointLocation {
        &self.config.location
    }

    fn area(&self, identity: &Identity) -> Area {
        Area::new(Arc::clone(&self.opened.objects), &self.opened.root, identity)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken when this is dropped")
    }

    /// How far the newest checkpoint is. It may turn out to be of no use.
    pub(crate) fn newest(&self, identity: &Identity) -> Result<Option<Offset>, CheckpointError> {
        let area = self.area(identity);
        let look = async { tokio::time::timeout(LOOK_WITHIN, area.list_manifests()).await };
        let manifests = self.runtime().block_on(look).map_err(|_| CheckpointError::Silent(LOOK_WITHIN))??;
        Ok(manifests.last_key_value().map(|(newest, _)| *newest))
    }

    /// Makes a store of the newest usable checkpoint; `None` where there is none, or `stop` was set meanwhile.
    pub(crate) fn restore(
        &self,
        store_folder: &Path,
        wanted: &Wanted<'_>,
        stop: &Stop,
    ) -> Result<Option<Restored>, RestoreError> {
        let area = self.area(wanted.identity);
        self.runtime().block_on(async {
            let mut restored = std::pin::pin!(async {
                let _turn = self.downloads.acquire().await;
                restore::restore(&area, store_folder, wanted).await
            });
            loop {
                match tokio::time::timeout(STOP_NOTICED_WITHIN, &mut restored).await {
                    Ok(restored) => return restored,
                    Err(_) if stop.is_set() => return Ok(None),
                    Err(_) => {}
                }
            }
        })
    }

    /// Makes checkpoints of a partition from now on.
    pub(crate) fn begin(self: &Arc<Self>, owned: &Arc<Owned>, home: &Home, clock: &Clock) {
        let (partition, area) = (owned.partition(), self.area(&home.identity));
        match Schedule::begin(Arc::clone(self), area, owned, &home.folder, Arc::clone(clock)) {
            Ok(schedule) => drop(self.schedules.lock().insert(partition, schedule)),
            Err(error) => tracing::error!(partition, %error, "no thread to make checkpoints"),
        }
    }

    /// Makes the last checkpoint of a partition that is no longer ours, of its store.
    pub(crate) fn take_last(&self, partition: Partition, store: &Store) {
        let schedule = self.schedules.lock().remove(&partition);
        if let Some(schedule) = schedule {
            schedule.take_last(store);
            self.endings.lock().insert(partition, schedule.end());
        }
    }

    /// Makes no more checkpoints of a partition. The last one is uploaded in the background: the group does not wait for it.
    pub(crate) fn let_go(&self, partition: Partition) {
        let mut endings = self.endings.lock();
        endings.retain(|_, ending| !ending.is_over());
        endings.extend(self.schedules.lock().remove(&partition).map(|schedule| (partition, schedule.end())));
    }

    /// Lets go of a partition's last checkpoint too, where it is still being uploaded: the partition is ours again.
    pub(crate) fn abandon(&self, partition: Partition) {
        let ending = self.endings.lock().remove(&partition);
        ending.into_iter().for_each(Ending::abandon);
    }

    /// When the state of a partition that is ours was as the newest checkpoint has it.
    pub(crate) fn covered_ms(&self, partition: Partition) -> Option<i64> {
        self.schedules.lock().get(&partition)?.covered_ms()
    }

    /// Waits for a short time until all last checkpoints have been uploaded.
    pub(crate) fn end(&self) {
        let schedules = std::mem::take(&mut *self.schedules.lock()).into_values().map(Schedule::end);
        let mut endings: Vec<_> = std::mem::take(&mut *self.endings.lock()).into_values().chain(schedules).collect();
        let until = Instant::now() + LAST_WITHIN;
        while Instant::now() < until && !endings.iter().all(Ending::is_over) {
            std::thread::park_timeout(STOP_NOTICED_WITHIN);
        }
        endings.drain(..).for_each(Ending::abandon);
    }
}

impl Drop for Checkpoints {
    /// Whoever drops this last may be on a runtime, where nothing may wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
