//! One partition that is ours, and its thread: it folds ([`crate::folding`]), and comes back from the log where the store
//! fails. What it says of itself is in [`telling`].

mod telling;

use crate::Shared;
use crate::error::{Failures, ProcessorError};
use crate::folding::Folding;
use crate::pins::Pins;
use crate::reach::{Completeness, Reach, Stage};
use crate::recovery::{Cause, Home, Mended, Pace};
use crate::rules::SessionRules;
use crate::sessions;
use crate::state::progress::Progress;
use crate::state::store::{Store, StoreError};
use crate::state::ttl::{Spans, StreamSeconds};
use crate::state::view::View;
use crate::state::working_set::WorkingSet;
use crate::stop::Stop;
use parking_lot::{Mutex, RwLock};
use rocksdb::perf::{PerfStatsLevel, set_perf_stats};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use track_log::{Append, LogError, Offset, Partition, PartitionReader};
use track_proto::clock::Clock;

/// What a partition's thread does next.
pub(crate) enum Task {
    /// Folds what this reads, or goes on from a checkpoint that is further.
    Begin(Box<dyn PartitionReader>),
    /// Folds what this reads.
    Fold(Box<dyn PartitionReader>),
    /// Brings back the store, or another in its place.
    Mend(Cause),
}

/// Why folding has ended early.
pub(crate) enum Halt {
    /// The store can't be used as it is.
    Store(StoreError),
    /// Nothing can be done about it here.
    Failed(ProcessorError),
}

impl Halt {
    /// What is to be mended; the failure where nothing is.
    fn into_cause(self) -> Result<Cause, ProcessorError> {
        match self {
            Self::Store(error) => Ok(Cause::Failed(error)),
            Self::Failed(failure) => Err(failure),
        }
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ProcessorError> for Halt {
    fn from(failure: ProcessorError) -> Self {
        Self::Failed(failure)
    }
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
    home: Home,
    /// Gone while it is being mended and once the partition is closed; whoever reads it holds the lock meanwhile.
    store: RwLock<Option<Store>>,
    reach: watch::Sender<Reach>,
    /// Where the log ended when reading began: the partition is served from there on.
    restored_at: AtomicU64,
    /// What a question ran into, for the thread to mend.
    trouble: Mutex<Option<StoreError>>,
    /// Why the store is being mended, until the partition is served again; for an operator to read.
    condition: Mutex<Option<String>>,
    pins: Pins,
    stop: Stop,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owned {
    /// `store` is missing where it could not be opened: the first task is to mend it.
    pub(crate) fn new(home: Home, store: Option<Store>, progress: Progress, shared: &Shared) -> Self {
        Self {
            partition: home.partition,
            rules: shared.rules.clone(),
            session_rules: shared.session_rules(),
            spans: shared.spans,
            clock: Arc::clone(&shared.clock),
            dead_letters: Arc::clone(&shared.dead_letters),
            failures: shared.failures.clone(),
            home,
            store: RwLock::new(store),
            reach: watch::Sender::new(Reach::new(progress)),
            restored_at: AtomicU64::new(Offset::MAX),
            trouble: Mutex::new(None),
            condition: Mutex::new(None),
            pins: Pins::default(),
            stop: Stop::default(),
            thread: Mutex::new(None),
        }
    }

    /// Starts the partition's thread.
    pub(crate) fn start(self: &Arc<Self>, first: Task) -> Result<(), ProcessorError> {
        let owned = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name(format!("partition-{}", self.partition))
            .spawn(move || {
                // RocksDB counts what each thread reads, several counts a row; nobody asks for them.
                set_perf_stats(PerfStatsLevel::Disable);
                if let Err(failure) = owned.work_until_stopped(first) {
                    owned.reach.send_modify(Reach::stop_answering);
                    owned.failures.report(failure);
                }
                owned.pins.end();
            })
            .map_err(|error| ProcessorError::Store { partition: self.partition, reason: error.to_string() })?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Stops answering and folding, brings everything to disk, hands that to `look_last` and closes the store, once the last
    /// question is answered.
    pub(crate) fn close(&self, look_last: impl FnOnce(&Store)) -> Result<(), ProcessorError> {
        // Who waits for a position here is better off asking the next owner.
        self.reach.send_modify(|reach| reach.stage = Stage::Closed);
        let drained = self.drain(look_last);
        self.let_go();
        drained
    }

    /// Closes the store of a partition that is drained, once the last question is answered.
    pub(crate) fn let_go(&self) {
        self.reach.send_modify(|reach| reach.stage = Stage::Closed);
        drop(self.store.write().take());
    }

    /// Stops folding and brings everything to disk, which it hands to `look_last`. Where it answered before, it goes on
    /// answering with what it has, until it is closed; says whether it does.
    pub(crate) fn leave(&self, look_last: impl FnOnce(&Store)) -> Result<bool, ProcessorError> {
        self.reach.send_modify(Reach::leave);
        self.drain(look_last)?;
        Ok(self.reach.borrow().stage == Stage::Leaving)
    }

    fn drain(&self, look_last: impl FnOnce(&Store)) -> Result<(), ProcessorError> {
        self.stop.set();
        if let Some(thread) = self.thread.lock().take() {
            // A panic has been printed by its own hook; the store is closed all the same.
            let _ = thread.join();
        }
        let drained = match self.store.read().as_ref().map(|store| (store, store.flush())) {
            Some((store, Ok(()))) => {
                look_last(store);
                Ok(())
            }
            Some((_, Err(error))) => self.home.give_up_flushing(error),
            None => Ok(()),
        };
        self.forget_gauges();
        drained
    }

    /// Folds until told to stop, and mends the store whenever it fails.
    fn work_until_stopped(self: &Arc<Self>, first: Task) -> Result<(), ProcessorError> {
        let mut pace = Pace::default();
        let mut task = first;
        loop {
            task = match task {
                Task::Begin(reader) => match self.with_store(|store| self.home.behind(store)) {
                    Ok(None) => Task::Fold(reader),
                    Ok(Some(next_offset)) => Task::Mend(Cause::Behind(next_offset)),
                    Err(halt) => Task::Mend(halt.into_cause()?),
                },
                Task::Fold(reader) => match self.fold_until_stopped(reader) {
                    Ok(()) => return Ok(()),
                    Err(halt) => Task::Mend(halt.into_cause()?),
                },
                Task::Mend(cause) => match self.mend(cause, &mut pace)? {
                    Some(reader) => Task::Fold(reader),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Closes the store and brings it back; `None` where the partition was stopped meanwhile.
    fn mend(&self, cause: Cause, pace: &mut Pace) -> Result<Option<Box<dyn PartitionReader>>, ProcessorError> {
        self.reach.send_modify(|reach| {
            reach.stop_answering();
            reach.change(&[Stage::Restoring], Stage::Mending);
        });
        // Waits for the questions that are being answered; what these ran into is mended with the rest.
        drop(self.store.write().take());
        *self.trouble.lock() = None;
        let say = |condition| *self.condition.lock() = Some(condition);
        let Some(Mended { store, progress, reader }) = self.home.mend(cause, pace, &self.stop, say)? else {
            return Ok(None);
        };
        *self.store.write() = Some(store);
        self.reach.send_modify(|reach| {
            (reach.progress, reach.log_end, reach.looked_ms) = (progress, progress.next_offset, 0);
            reach.change(&[Stage::Mending], Stage::Restoring);
        });
        Ok(Some(reader))
    }

    fn fold_until_stopped(self: &Arc<Self>, reader: Box<dyn PartitionReader>) -> Result<(), Halt> {
        self.restored_at.store(reader.log_end(), Ordering::Release);
        Folding::new(self, reader).run_until_stopped()
    }

    /// Runs `work` on the store. A missing one means that the partition was stopped: nobody folds after that.
    pub(crate) fn with_store<T>(&self, work: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, Halt> {
        let store = self.store.read();
        let store =
            store.as_ref().ok_or(ProcessorError::Log { partition: self.partition, source: LogError::Closed })?;
        Ok(work(store)?)
    }

    /// Asks the store something; `None` where the partition is not served, or no longer since the store has failed.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Store) -> Result<T, StoreError>) -> Option<T> {
        self.look(|store| if self.answers() { question(store).map(Some) } else { Ok(None) }).flatten()
    }

    /// As [`Owned::ask`], on a thread that must not wait for the disk, and of what is at hand alone: `None` is also where it has
    /// to be asked otherwise, which will say what is wrong if anything is.
    pub(crate) fn ask_at_hand<T>(&self, question: impl FnOnce(&View<'_>) -> Result<T, StoreError>) -> Option<T> {
        let store = self.store.try_read()?;
        let view = store.as_ref().filter(|_| self.answers())?.view_at_hand();
        question(&view).ok()
    }

    /// Looks at the store, served or not; `None` where it is closed or has failed. What it fails with is mended.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Store) -> Result<T, StoreError>) -> Option<T> {
        let store = self.store.read();
        match look(store.as_ref()?) {
            Ok(seen) => Some(seen),
            Err(error) => {
                tracing::error!(partition = self.partition, %error, "a question could not be answered");
                self.reach.send_modify(|reach| {
                    self.trouble.lock().get_or_insert(error);
                    reach.stop_answering();
                });
                None
            }
        }
    }

    /// Waits until the record at `offset` is in the state; false where the partition is not served any more before.
    pub(crate) async fn wait_for(&self, offset: Offset) -> bool {
        let mut reach = self.reach.subscribe();
        let is_reached = |reach: &Reach| reach.progress.next_offset > offset && reach.stage.answers();
        reach
            .wait_for(|reach| is_reached(reach) || reach.stage != Stage::Serving)
            .await
            .is_ok_and(|reach| is_reached(&reach))
    }

    pub(crate) fn partition(&self) -> Partition {
        self.partition
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn spans(&self) -> Spans {
        self.spans
    }

    /// What folding begins with.
    pub(crate) fn working_set(&self) -> WorkingSet {
        WorkingSet::new(self.spans, self.home.memory.working())
    }

    pub(crate) fn rules(&self) -> &SessionRules {
        &self.rules
    }

    pub(crate) fn session_rules(&self) -> &sessions::Rules {
        &self.session_rules
    }

    pub(crate) fn dead_letters(&self) -> &dyn Append {
        &*self.dead_letters
    }

    /// How far everything is that is written.
    pub(crate) fn progress(&self) -> Progress {
        self.reach.borrow().progress
    }

    /// Everything up to here is written.
    pub(crate) fn advance(&self, progress: Progress) {
        self.reach.send_modify(|reach| reach.progress = progress);
    }

    /// What a question that is asked from here on includes at the least.
    pub(crate) fn completeness(&self) -> Completeness {
        self.reach.borrow().completeness()
    }

    /// What a question ran into.
    pub(crate) fn take_trouble(&self) -> Option<StoreError> {
        self.trouble.lock().take()
    }

    /// Waits so long for a stop, and says whether there is one.
    pub(crate) fn wait_stopped(&self, for_so_long: Duration) -> bool {
        self.stop.wait(for_so_long)
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Waits until the partition is no longer ours, or its store has failed.
    pub(crate) async fn going(&self) {
        // The sender lives as long as this.
        let _ = self.reach.subscribe().wait_for(|reach| reach.stage.is_going()).await;
    }

    /// Whether it is no longer ours, or its store has failed: what still reads the state should come to an end.
    pub(crate) fn is_going(&self) -> bool {
        self.reach.borrow().stage.is_going()
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.reach.borrow().stage == Stage::Serving
    }

    /// Whether it is served, or was when it stopped being ours.
    pub(crate) fn answers(&self) -> bool {
        self.reach.borrow().stage.answers()
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
}
