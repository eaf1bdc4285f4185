//! The thread beside a partition's own that makes its checkpoints: every interval where the state has moved, and once more
//! when the partition is closed.
//!
//! Folding goes on meanwhile. Whatever fails is said, counted, and tried again an interval later: a partition never fails
//! for want of a checkpoint.

use super::area::{Area, CheckpointError};
use super::snapshot::{KnownHashes, Snapshot, SnapshotFolder};
use super::upload::{self, Outcome};
use super::{Checkpoints, collect};
use crate::partition::{Halt, Owned};
use crate::state::store::Store;
use metrics::{counter, gauge};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use track_log::{Offset, Partition};
use track_proto::clock::Clock;

/// How often the age is told, at the least.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// What the folders of snapshots end with: one that is being uploaded, and the last one.
const OF_INTERVAL: &str = "checkpoint";
const OF_END: &str = "last-checkpoint";

/// The checkpoints of one partition that is ours.
pub(crate) struct Schedule {
    store_folder: PathBuf,
    /// What is in the object store.
    covered: Arc<Covered>,
    /// Ends the upload that is under way.
    cancel: CancellationToken,
    /// Ends that of the last checkpoint.
    abandon: CancellationToken,
    /// Takes the last snapshot; its end is the thread's.
    last: mpsc::Sender<SnapshotFolder>,
    thread: JoinHandle<()>,
}

/// How far the newest checkpoint is.
#[derive(Default)]
struct Covered {
    /// Everything before it is in the object store.
    offset: AtomicU64,
    /// That was the state at this moment, by the wall clock; 0 before the first one.
    at_ms: AtomicI64,
}

/// A partition that is gone, and its last checkpoint that is being uploaded.
pub(super) struct Ending {
    abandon: CancellationToken,
    thread: JoinHandle<()>,
}

impl Schedule {
    /// Starts the thread. The first checkpoint is due after one interval.
    pub(super) fn begin(
        checkpoints: Arc<Checkpoints>,
        area: Area,
        owned: &Arc<Owned>,
        store_folder: &Path,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let partition = owned.partition();
        let (last, told) = mpsc::channel();
        let covered = Arc::new(Covered::default());
        let (cancel, abandon) = (CancellationToken::new(), CancellationToken::new());
        let mut work = Work {
            partition,
            checkpoints,
            area,
            owned: Arc::clone(owned),
            store_folder: store_folder.to_owned(),
            clock,
            covered: Arc::clone(&covered),
            covered_at: Instant::now(),
            cancel: cancel.clone(),
            abandon: abandon.clone(),
            known: KnownHashes::default(),
        };
        let run = move || work.run(&told);
        let thread = std::thread::Builder::new().name(format!("checkpoint-{partition}")).spawn(run)?;
        Ok(Self { store_folder: store_folder.to_owned(), covered, cancel, abandon, last, thread })
    }

    /// Makes the last checkpoint of a store that is flushed and about to be closed. It is uploaded in the background.
    pub(super) fn take_last(&self, store: &Store) {
        self.cancel.cancel();
        let is_covered = || {
            let covered = self.covered.offset.load(Ordering::Acquire);
            store.progress().is_ok_and(|progress| progress.unwrap_or_default().next_offset <= covered)
        };
        if is_covered() {
            return;
        }
        let folder = SnapshotFolder::beside(&self.store_folder, OF_END);
        match store.snapshot(folder.path()) {
            // Where the thread has ended, it has said why.
            Ok(()) => drop(self.last.send(folder)),
            Err(error) => tracing::warn!(folder = %self.store_folder.display(), %error, "no last checkpoint"),
        }
    }

    /// No more checkpoints but the last one, which goes on being uploaded.
    pub(super) fn end(self) -> Ending {
        self.cancel.cancel();
        Ending { abandon: self.abandon, thread: self.thread }
    }

    /// The state of that moment is in the object store.
    pub(super) fn covered_ms(&self) -> Option<i64> {
        Some(self.covered.at_ms.load(Ordering::Acquire)).filter(|at_ms| *at_ms > 0)
    }
}

impl Ending {
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// The last checkpoint is not waited for any more.
    pub(super) fn abandon(self) {
        self.abandon.cancel();
        // A panic has been printed by its own hook.
        let _ = self.thread.join();
    }
}

/// What the thread has.
struct Work {
    partition: Partition,
    checkpoints: Arc<Checkpoints>,
    area: Area,
    owned: Arc<Owned>,
    store_folder: PathBuf,
    clock: Clock,
    covered: Arc<Covered>,
    covered_at: Instant,
    cancel: CancellationToken,
    abandon: CancellationToken,
    known: KnownHashes,
}

impl Work {
    fn run(&mut self, told: &mpsc::Receiver<SnapshotFolder>) {
        let interval = self.checkpoints.config.interval;
        let mut due = Instant::now() + interval;
        loop {
            let wait = due.saturating_duration_since(Instant::now()).min(TELL_EVERY);
            match told.recv_timeout(wait) {
                Ok(last) => {
                    let outcome = self.finish(last);
                    self.judge(outcome);
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= due => {
                    let outcome = self.checkpoint();
                    self.judge(outcome);
                    due = Instant::now() + interval;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tell_age(self.covered_at.elapsed());
        }
        // Its next owner tells it from here on.
        self.tell_age(Duration::ZERO);
    }

    /// Makes a checkpoint where the state has moved since the one before.
    fn checkpoint(&mut self) -> Result<(), CheckpointError> {
        let next_offset = self.owned.next_offset();
        let seen = (Instant::now(), (self.clock)());
        if next_offset == 0 || next_offset == self.covered.offset.load(Ordering::Acquire) {
            self.cover(next_offset, seen);
            return Ok(());
        }
        let folder = SnapshotFolder::beside(&self.store_folder, OF_INTERVAL);
        match self.owned.with_store(|store| store.snapshot(folder.path())) {
            Ok(()) => {}
            // Its own thread finds out and mends it.
            Err(Halt::Store(error)) => return Err(CheckpointError::Unusable(error.to_string())),
            // It is being mended, or closed.
            Err(Halt::Failed(_)) => return Ok(()),
        }
        let cancel = self.cancel.clone();
        let Some(snapshot) = Snapshot::read(folder, &mut self.known, || !cancel.is_cancelled())? else { return Ok(()) };
        let upload = cancel.run_until_cancelled(self.upload(&snapshot));
        if let Some(outcome) = self.checkpoints.runtime().block_on(upload) {
            self.uploaded(&snapshot, outcome?);
            self.cover(snapshot.next_offset(), seen);
        }
        Ok(())
    }

    /// The same for the last time, of a snapshot that is made. It may be abandoned: then there is the one before.
    fn finish(&mut self, folder: SnapshotFolder) -> Result<(), CheckpointError> {
        let abandon = self.abandon.clone();
        if let Some(snapshot) = Snapshot::read(folder, &mut self.known, || !abandon.is_cancelled())? {
            let upload = abandon.run_until_cancelled(self.upload(&snapshot));
            if let Some(outcome) = self.checkpoints.runtime().block_on(upload) {
                self.uploaded(&snapshot, outcome?);
                return Ok(());
            }
        }
        tracing::info!(partition = self.partition, "the last checkpoint was not uploaded in time");
        Ok(())
    }

    async fn upload(&self, snapshot: &Snapshot) -> Result<Outcome, CheckpointError> {
        let config = &self.checkpoints.config;
        let grace_ms = i64::try_from(config.grace.as_millis()).unwrap_or(i64::MAX);
        let _turn = self.checkpoints.uploads.acquire().await;
        let outcome = upload::upload(&self.area, snapshot, (self.clock)(), grace_ms).await?;
        if let Outcome::Written { .. } = outcome
            && let Err(error) = collect::collect(&self.area, config.kept, (self.clock)(), grace_ms).await
        {
            tracing::warn!(partition = self.partition, %error, "old checkpoints could not be removed");
        }
        Ok(outcome)
    }

    /// The object store has everything before that offset, which was all there was then.
    fn cover(&mut self, next_offset: Offset, (seen_at, seen_ms): (Instant, i64)) {
        self.covered.offset.store(next_offset, Ordering::Release);
        self.covered.at_ms.store(seen_ms, Ordering::Release);
        self.covered_at = seen_at;
    }

    fn uploaded(&self, snapshot: &Snapshot, outcome: Outcome) {
        let (partition, next_offset) = (self.partition, snapshot.next_offset());
        match outcome {
            Outcome::Written { files, bytes } => {
                counter!("track_checkpoints_total", "partition" => partition.to_string()).increment(1);
                counter!("track_checkpoint_bytes_uploaded_total").increment(bytes);
                tracing::info!(partition, offset = next_offset, files, bytes, "checkpoint written");
            }
            Outcome::Covered { by } => {
                tracing::debug!(partition, offset = next_offset, by, "another checkpoint reaches as far");
            }
        }
    }

    fn judge(&self, outcome: Result<(), CheckpointError>) {
        if let Err(error) = outcome {
            counter!("track_checkpoint_failures_total").increment(1);
            tracing::warn!(partition = self.partition, %error, "no checkpoint this time");
        }
    }

    fn tell_age(&self, age: Duration) {
        gauge!("track_checkpoint_age_seconds", "partition" => self.partition.to_string()).set(age.as_secs_f64());
    }
}
