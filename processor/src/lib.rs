//! The processor: folds the log into counters and sessions, and answers for the partitions that it owns.
//!
//! In the order in which a record meets them:
//!
//! - [`membership`]: which partitions are ours; opening, draining and closing each
//! - [`partition`]: a partition that is ours, and its thread; [`reach`]: how far it is
//! - [`folding`]: what the thread does: read → fold → write → tell
//! - [`recovery`]: what becomes of a store that can't be used
//! - [`fold`]: pure: records and state in, changes out
//! - [`letter`]: what becomes of a record that is no event
//! - [`sessions`]: pure: pairs opens and closes by event time, late ones included
//! - [`state`]: the rows that are worked on, the key space and its RocksDB
//! - [`checkpoint`]: the state in an object store, and back from there
//! - [`reclaim`]: a thread that takes what is over off the disk, now and then
//! - [`query`]: from a question to rows, at one moment of the state
//! - [`leaving`]: partitions that were ours, and are answered from until their next owner serves them
//! - [`serve`]: the gRPC service over all of it
//!
//! Besides, the whole state can be looked at, to be compared with another fold of the same log:
//!
//! - [`digest`]: what it is, in 32 bytes, and every row of it
//! - [`pins`]: the fold stops at an exact offset for whoever wants to see it there
//! - [`moment`]: a snapshot of a partition that goes on being folded
//! - [`inspect`]: digests and rows of partitions that are ours
//! - [`stored`]: digests and rows in the folder of a processor that is not running
//! - [`describe`]: a row's key, for people
//!
//! **The fold has no clock.** Expiry goes by the log's append times; the wall clock is used for lag metrics alone.

mod checkpoint;
mod describe;
mod digest;
mod error;
#[cfg(test)]
mod exactness;
mod fold;
mod folding;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inspect;
mod leaving;
mod letter;
mod membership;
mod moment;
mod partition;
mod pins;
mod query;
mod reach;
mod reclaim;
mod recovery;
mod rules;
mod serve;
mod sessions;
mod state;
mod stop;
mod stored;

pub use checkpoint::{CheckpointConfig, CheckpointLocation};
pub use describe::describe_row;
pub use digest::StateDigest;
pub use error::{InspectError, OpenError, ProcessorError, StoredError};
pub use rules::{PairsError, SessionPair};
pub use serve::PartitionsService;
pub use stored::StoredStates;

use crate::checkpoint::Checkpoints;
use crate::error::Failures;
use crate::leaving::Leaving;
use crate::partition::Owned;
use crate::rules::SessionRules;
use crate::state::memory::Memory;
use crate::state::ttl::{ARRIVAL_SECONDS, Spans};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use track_log::{Append, LogError, Partition, ReadLog, Subscribe, Subscription};
use track_proto::clock::Clock;
use track_proto::v1;
use track_proto::v1::partitions_server::PartitionsServer;

/// How long leaving the group may take, with everything flushed.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);
/// Between two attempts to join the other processors.
const JOIN_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often what is being left is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the group is told how far we are, and the store's size is measured.
const HINT_EVERY: Duration = Duration::from_secs(5);

/// What a processor is set to.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder for the stores, one folder a partition inside. One process at a time.
    pub data_dir: PathBuf,
    /// The name of this process among its like.
    pub instance: String,
    /// Which events open and close sessions. Part of the state's identity.
    pub session_pairs: Vec<SessionPair>,
    /// How much later than a play a stop may come and still close it, in milliseconds. Part of the state's identity.
    pub session_duration_ms_max: i64,
    /// How long counts and sessions live after the last event that touched their day, in milliseconds; at least 30 days.
    pub retention_ms: i64,
    /// Memory for the rows that are worked on and for RocksDB's blocks and memtables together, in bytes.
    pub memory_bytes_max: usize,
    /// Fold on even where the log no longer has what the store is missing: counts will be too low.
    pub accept_truncated_log: bool,
    /// Where the state is kept besides, for whoever has lost it; nowhere unless this is set.
    pub checkpoints: Option<CheckpointConfig>,
    /// How long a partition that was ours is answered from, at the longest, until another processor of the group serves it:
    /// see [`Processor::hear`]. Not at all unless this is set.
    pub warm_within: Option<Duration>,
}

/// A processor. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Processor {
    shared: Arc<Shared>,
}

/// What all threads of a processor share.
pub(crate) struct Shared {
    config: Config,
    rules: SessionRules,
    spans: Spans,
    memory: Memory,
    checkpoints: Option<Arc<Checkpoints>>,
    log: Arc<dyn ReadLog>,
    dead_letters: Arc<dyn Append>,
    clock: Clock,
    owned: RwLock<BTreeMap<Partition, Arc<Owned>>>,
    leaving: Leaving,
    failures: Failures,
    failed: Mutex<Option<mpsc::UnboundedReceiver<ProcessorError>>>,
    /// Whether the group has let this one in, and if not, why.
    standing: Mutex<Result<(), String>>,
    /// No partition is taken any more.
    stopping: AtomicBool,
    /// Held open: the lock on the data folder lives as long as it.
    _lock: File,
}

impl Processor {
    /// Takes the data folder; nothing is read before [`Processor::run`].
    ///
    /// # Errors
    /// [`OpenError`] where a folder can't be used, another process has it, or the configuration contradicts itself.
    pub fn open(
        config: Config,
        log: Arc<dyn ReadLog>,
        dead_letters: Arc<dyn Append>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let rules = SessionRules::new(config.session_pairs.clone())?;
        let retention =
            u32::try_from(config.retention_ms / 1000).unwrap_or(if config.retention_ms < 0 { 0 } else { u32::MAX });
        // An edge may still be paired anew for 30 days; the day that its session stands in must not be over before.
        if retention < ARRIVAL_SECONDS {
            return Err(OpenError::Retention);
        }
        let lock = membership::lock(&config.data_dir)?;
        let memory = Memory::new(config.memory_bytes_max);
        let checkpoints = config.checkpoints.clone().map(Checkpoints::open).transpose()?;
        let (failures, failed) = Failures::channel();
        let shared = Shared {
            config,
            rules,
            spans: Spans { retention },
            memory,
            checkpoints,
            log,
            dead_letters,
            clock,
            owned: RwLock::default(),
            leaving: Leaving::default(),
            failures,
            failed: Mutex::new(Some(failed)),
            standing: Mutex::new(Err("not yet reading the log".to_owned())),
            stopping: AtomicBool::new(false),
            _lock: lock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The gRPC service over the partitions that are owned at the time of each call.
    #[must_use]
    pub fn service(&self) -> PartitionsServer<PartitionsService> {
        PartitionsServer::new(PartitionsService::new(Arc::clone(&self.shared)))
    }

    /// What this process says of itself on `track.owners`, answering at `url`.
    #[must_use]
    pub fn owner(&self, url: &str) -> v1::Owner {
        v1::Owner {
            instance: self.shared.config.instance.clone(),
            url: url.to_owned(),
            partitions: self.shared.status(),
            sent_at_ms: (self.shared.clock)(),
            partition_count: self.shared.log.partition_count(),
            stopping: self.shared.stopping.load(Ordering::Acquire),
            ..v1::Owner::default()
        }
    }

    /// Takes in what another processor of the same group says of itself, `None` that it has left: what it serves is soon
    /// answered from here no longer.
    pub fn hear(&self, instance: &str, said: Option<&v1::Owner>, heard: Instant) {
        self.shared.leaving.hear(instance, said, heard);
    }

    /// Whether this one has its place among the processors, and every partition that is ours is served. A group that is
    /// out of reach takes no place away for as long as its partitions are ours: what is served goes on being served.
    ///
    /// # Errors
    /// What is still missing.
    pub fn check_ready(&self) -> Result<(), String> {
        self.shared.standing.lock().clone()?;
        if self.shared.stopping.load(Ordering::Acquire) {
            return Err("stopping".into());
        }
        match self.shared.owned.read().values().find(|owned| !owned.is_serving()) {
            Some(owned) => Err(owned.restoring_reason()),
            None => Ok(()),
        }
    }

    /// Takes part in `source` until `shutdown`, then drains, flushes and leaves; where it is to leave warm, it answers until
    /// others serve what was its own, or there is nobody who could.
    ///
    /// # Errors
    /// [`ProcessorError`] as soon as one partition can't go on; everything else has been drained and flushed by then.
    ///
    /// # Panics
    /// If called twice: a processor runs once.
    pub async fn run(self, source: Arc<dyn Subscribe>, shutdown: CancellationToken) -> Result<(), ProcessorError> {
        let mut failed = self.shared.failed.lock().take().expect("a processor runs once");
        let Some(subscription) = self.join(source, &shutdown).await? else { return Ok(()) };

        let mut closing = None;
        let (mut hint, mut look) = (tokio::time::interval(HINT_EVERY), tokio::time::interval(LOOK_EVERY));
        let outcome = loop {
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                Some(failure) = failed.recv() => break Err(failure),
                _ = look.tick(), if self.shared.config.warm_within.is_some() => self.close_overdue(&mut closing),
                _ = hint.tick() => {
                    let (shared, subscription) = (Arc::clone(&self.shared), Arc::clone(&subscription));
                    blocking(move || {
                        subscription.commit_hint(&shared.applied());
                        shared.measure_stores();
                    })
                    .await;
                }
            }
        };

        self.shared.stopping.store(true, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            subscription.commit_hint(&shared.applied());
            subscription.close(CLOSE_WITHIN);
        })
        .await;
        while self.shared.leaving.is_awaited(Instant::now()) {
            self.close_overdue(&mut closing);
            look.tick().await;
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.close_all()).await;
        // What failed while closing matters where nothing had failed before.
        outcome.and_then(|()| failed.try_recv().map_or(Ok(()), Err))
    }
}

impl Processor {
    /// Closes what has been left for long enough, on a thread that may wait for questions that are being answered.
    fn close_overdue(&self, closing: &mut Option<JoinHandle<()>>) {
        if closing.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = Arc::clone(&self.shared);
            *closing = Some(tokio::task::spawn_blocking(move || shared.close_overdue()));
        }
    }

    /// Joins whoever else reads `source`; brokers may be away just now. `None` where it was told to stop before.
    async fn join(
        &self,
        source: Arc<dyn Subscribe>,
        shutdown: &CancellationToken,
    ) -> Result<Option<Arc<dyn Subscription>>, ProcessorError> {
        loop {
            let (source, member) = (Arc::clone(&source), Arc::clone(&self.shared));
            match blocking(move || source.subscribe(member).map(Arc::from)).await {
                Ok(subscription) => return Ok(Some(subscription)),
                Err(error @ LogError::Kafka(_)) => tracing::warn!(%error, "joining the other processors, trying again"),
                Err(error) => return Err(ProcessorError::Join(error)),
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(JOIN_AGAIN_AFTER)).await.is_none() {
                return Ok(None);
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic and the runtime outlives it")
}
