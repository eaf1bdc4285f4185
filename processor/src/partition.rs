//! One partition that is ours, and its thread: read → fold → write → tell.

use crate::Shared;
use crate::error::{Failures, ProcessorError};
use crate::fold::{self, Folded};
use crate::reclaim::Reclaim;
use crate::rules::SessionRules;
use crate::sessions;
use crate::state::progress::Progress;
use crate::state::store::{Store, StoreError};
use crate::state::ttl::{Spans, StreamSeconds};
use bytes::Bytes;
use metrics::{counter, gauge};
use parking_lot::{Condvar, Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use track_log::{Append, LogError, NewRecord, Offset, Partition, PartitionReader, Record};
use track_proto::clock::Clock;
use track_proto::v1;

/// Records folded into one write: enough that hot rows are added up before they are written.
const BATCH_RECORDS_MAX: usize = 10_000;
/// How long one batch may fold before what is done is written: a stop waits no longer, and a crash loses no more.
/// One user's disordered edges can move thousands of sessions each.
const BATCH_WORK_MAX: Duration = Duration::from_millis(500);
/// How long a read waits where the log is quiet; also how soon a stop is noticed.
const READ_WAIT: Duration = Duration::from_millis(100);
/// How much folding a crash may cost.
const FLUSH_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before a dead letter is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How far a partition is, for those who wait for it.
#[derive(Debug, Clone, Copy)]
struct Reach {
    progress: Progress,
    log_end: Offset,
    /// The partition is no longer ours: it goes no further here.
    closed: bool,
}

/// A partition that is ours.
pub(crate) struct Owned {
    pub(crate) partition: Partition,
    rules: SessionRules,
    session_rules: sessions::Rules,
    spans: Spans,
    clock: Clock,
    dead_letters: Arc<dyn Append>,
    failures: Failures,
    /// Gone once the partition is closed; whoever reads it holds the lock meanwhile.
    store: RwLock<Option<Store>>,
    reach: watch::Sender<Reach>,
    /// Where the log ended when the partition became ours: it is served from there on.
    restored_at: AtomicU64,
    serving: AtomicBool,
    stop: Stop,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owned {
    pub(crate) fn new(partition: Partition, store: Store, progress: Progress, start: Offset, shared: &Shared) -> Self {
        let progress = Progress { next_offset: start, ..progress };
        Self {
            partition,
            rules: shared.rules.clone(),
            session_rules: shared.session_rules(),
            spans: shared.spans,
            clock: Arc::clone(&shared.clock),
            dead_letters: Arc::clone(&shared.dead_letters),
            failures: shared.failures.clone(),
            store: RwLock::new(Some(store)),
            reach: watch::Sender::new(Reach { progress, log_end: start, closed: false }),
            restored_at: AtomicU64::new(Offset::MAX),
            serving: AtomicBool::new(false),
            stop: Stop::default(),
            thread: Mutex::new(None),
        }
    }

    /// Starts folding what `reader` reads.
    pub(crate) fn start(self: &Arc<Self>, reader: Box<dyn PartitionReader>) -> Result<(), ProcessorError> {
        self.restored_at.store(reader.log_end(), Ordering::Release);
        let owned = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name(format!("partition-{}", self.partition))
            .spawn(move || {
                if let Err(failure) = owned.fold_until_stopped(reader) {
                    owned.serving.store(false, Ordering::Release);
                    owned.failures.report(failure);
                }
            })
            .map_err(|error| ProcessorError::Store { partition: self.partition, reason: error.to_string() })?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Stops folding, brings everything to disk and closes the store, once the last question is answered.
    pub(crate) fn close(&self) -> Result<(), ProcessorError> {
        self.stop.set();
        // Who waits for a position here is better off asking the next owner.
        self.reach.send_modify(|reach| reach.closed = true);
        if let Some(thread) = self.thread.lock().take() {
            // A panic has been printed by its own hook; the store is closed all the same.
            let _ = thread.join();
        }
        self.serving.store(false, Ordering::Release);
        let flushed = match self.store.write().take() {
            Some(store) => store.flush().map_err(|error| self.store_error(error)),
            None => Ok(()),
        };
        // Its next owner tells them from here on; a sum over processors must not have them twice.
        for of_an_owner in ["track_consumer_lag_records", "track_consumer_lag_seconds", "track_store_bytes"] {
            gauge!(of_an_owner, "partition" => self.partition.to_string()).set(0.0);
        }
        flushed
    }

    fn fold_until_stopped(self: &Arc<Self>, mut reader: Box<dyn PartitionReader>) -> Result<(), ProcessorError> {
        let mut records = Vec::new();
        let mut flush = FlushTimer::new();
        let mut reclaim = Reclaim::default();
        while !self.stop.is_set() {
            records.clear();
            match reader.read(&mut records, BATCH_RECORDS_MAX, READ_WAIT) {
                Ok(()) => {}
                Err(LogError::Closed) => break,
                Err(source) => return Err(ProcessorError::reading(self.partition, source)),
            }
            let mut rest = records.as_slice();
            while !rest.is_empty() && !self.stop.is_set() {
                let (consumed, more) = rest.split_at(self.fold_batch(rest)?);
                flush.has_written();
                self.tell_reach(reader.log_end(), consumed.last());
                rest = more;
            }
            if records.is_empty() {
                self.tell_reach(reader.log_end(), None);
            }
            let is_sweep_due = reclaim.is_due(self)?;
            if flush.is_due() || is_sweep_due {
                self.with_store(Store::flush)?;
                flush = FlushTimer::new();
            }
            if is_sweep_due {
                reclaim.begin(self)?;
            }
        }
        Ok(())
    }

    /// Folds as many of `records` as there is time for, and says how many.
    fn fold_batch(&self, records: &[Record]) -> Result<usize, ProcessorError> {
        let before = self.reach.borrow().progress;
        let began = Instant::now();
        let has_time = || began.elapsed() < BATCH_WORK_MAX && !self.stop.is_set();
        let Folded { changes, progress, events, duplicates, dead, consumed } = self.with_store(|store| {
            fold::fold(store, &self.rules, &self.session_rules, self.spans, before, records, has_time)
        })?;
        if !self.bury(&dead, records) {
            // Stopped meanwhile: nothing of this batch is written, and whoever comes next folds it.
            return Ok(0);
        }
        self.with_store(|store| changes.commit(store, progress))?;
        counter!("track_events_folded_total").increment(events);
        counter!("track_events_duplicate_total").increment(duplicates);
        self.reach.send_modify(|reach| reach.progress = progress);
        Ok(consumed)
    }

    /// Puts what could not be folded on the dead-letter log, before the offset moves past it. False where the partition
    /// was stopped before that worked.
    fn bury(&self, dead: &[fold::Dead], records: &[Record]) -> bool {
        if dead.is_empty() {
            return true;
        }
        let letters: Vec<_> = dead.iter().map(|dead| self.letter(dead, &records[dead.index])).collect();
        loop {
            match futures::executor::block_on(self.dead_letters.append(letters.clone())) {
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(partition = self.partition, %error, "dead letters could not be written, trying again");
                    if self.stop.wait(RETRY_AFTER) {
                        return false;
                    }
                }
            }
        }
        for dead in dead {
            let offset = records[dead.index].offset;
            tracing::warn!(partition = self.partition, offset, reason = %dead.reason, "dead letter");
            counter!("track_dead_letters_total", "reason" => dead.kind()).increment(1);
        }
        true
    }

    fn letter(&self, dead: &fold::Dead, record: &Record) -> NewRecord {
        let letter = v1::DeadLetter {
            reason: dead.reason.to_string(),
            partition: self.partition,
            offset: record.offset,
            append_time_ms: record.append_time_ms,
            key: record.key.clone().unwrap_or_default(),
            value: record.value.clone(),
        };
        let value = Bytes::from(prost::Message::encode_to_vec(&letter));
        NewRecord { key: Bytes::from(format!("{}:{}", self.partition, record.offset)), value }
    }

    fn tell_reach(&self, log_end: Offset, last: Option<&Record>) {
        let mut next_offset = 0;
        self.reach.send_modify(|reach| {
            reach.log_end = log_end.max(reach.progress.next_offset);
            next_offset = reach.progress.next_offset;
        });
        // On Kafka what lies before the end may be no record: the marks of a transaction, for one.
        let is_at_end = last.is_none() && next_offset >= log_end;
        if (next_offset >= self.restored_at.load(Ordering::Acquire) || is_at_end)
            && !self.serving.swap(true, Ordering::AcqRel)
        {
            tracing::info!(partition = self.partition, offset = next_offset, "partition restored and served");
        }
        let partition = self.partition.to_string();
        let lag = log_end.saturating_sub(next_offset);
        #[allow(clippy::cast_precision_loss)] // a gauge
        gauge!("track_consumer_lag_records", "partition" => partition.clone()).set(lag as f64);
        let lag_ms = match last {
            Some(last) if lag > 0 => (self.clock)() - last.append_time_ms,
            _ => 0,
        };
        if lag == 0 || last.is_some() {
            #[allow(clippy::cast_precision_loss)] // a gauge
            gauge!("track_consumer_lag_seconds", "partition" => partition).set(lag_ms.max(0) as f64 / 1000.0);
        }
    }

    /// Runs `work` on the store. A closed one means that the partition was stopped: nobody folds or asks after that.
    pub(crate) fn with_store<T>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError>,
    ) -> Result<T, ProcessorError> {
        let store = self.store.read();
        let store =
            store.as_ref().ok_or(ProcessorError::Log { partition: self.partition, source: LogError::Closed })?;
        work(store).map_err(|error| self.store_error(error))
    }

    /// Asks the store something; `None` once it is closed.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        self.store.read().as_ref().map(question)
    }

    /// Waits until the record at `offset` is in the state; false where the partition is closed before.
    pub(crate) async fn wait_for(&self, offset: Offset) -> bool {
        let mut reach = self.reach.subscribe();
        let is_reached = |reach: &Reach| reach.progress.next_offset > offset;
        reach.wait_for(|reach| is_reached(reach) || reach.closed).await.is_ok_and(|reach| is_reached(&reach))
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    pub(crate) fn stream_time(&self) -> StreamSeconds {
        self.reach.borrow().progress.stream_time
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    pub(crate) fn next_offset(&self) -> Offset {
        self.reach.borrow().progress.next_offset
    }

    pub(crate) fn log_end(&self) -> Offset {
        self.reach.borrow().log_end
    }

    pub(crate) fn restoring_message(&self) -> String {
        let (partition, at) = (self.partition, self.next_offset());
        match self.restored_at.load(Ordering::Acquire) {
            Offset::MAX => {
                format!("partition {partition} is restoring: at offset {at}, the log's end is not known yet")
            }
            end => format!("partition {partition} is restoring: at offset {at} of {end}"),
        }
    }

    pub(crate) fn status(&self) -> v1::PartitionStatus {
        let Reach { progress, log_end, .. } = *self.reach.borrow();
        let state = if self.is_serving() { v1::PartitionState::Serving } else { v1::PartitionState::Restoring };
        v1::PartitionStatus { partition: self.partition, state: state.into(), as_of: Some(as_of(progress, log_end)) }
    }

    pub(crate) fn measure_store(&self) {
        if let Some(store) = self.store.read().as_ref() {
            #[allow(clippy::cast_precision_loss)] // a gauge
            gauge!("track_store_bytes", "partition" => self.partition.to_string()).set(store.bytes() as f64);
        }
    }

    fn store_error(&self, error: StoreError) -> ProcessorError {
        ProcessorError::store(self.partition, error)
    }
}

/// What an answer at `progress` includes.
pub(crate) fn as_of(progress: Progress, log_end_offset: Offset) -> v1::AsOf {
    v1::AsOf {
        next_offset: progress.next_offset,
        stream_time_ms: i64::from(progress.stream_time) * 1000,
        log_end_offset,
    }
}

/// When the store is flushed: some time after the first write that is not on disk.
struct FlushTimer(Option<Instant>);

impl FlushTimer {
    fn new() -> Self {
        Self(None)
    }

    fn has_written(&mut self) {
        self.0.get_or_insert_with(|| Instant::now() + FLUSH_EVERY);
    }

    fn is_due(&self) -> bool {
        self.0.is_some_and(|due| Instant::now() >= due)
    }
}

/// Tells a thread to stop, and wakes it where it waits.
#[derive(Default)]
struct Stop {
    set: Mutex<bool>,
    woken: Condvar,
}

impl Stop {
    fn set(&self) {
        *self.set.lock() = true;
        self.woken.notify_all();
    }

    fn is_set(&self) -> bool {
        *self.set.lock()
    }

    /// Waits for at most `wait`; says whether it is set.
    fn wait(&self, wait: Duration) -> bool {
        let mut set = self.set.lock();
        if !*set {
            self.woken.wait_for(&mut set, wait);
        }
        *set
    }
}
