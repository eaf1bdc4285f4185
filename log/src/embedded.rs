//! Segments in a folder, for one process.
//!
//! A record's way: [`EmbeddedLog::append`] `split`s what it is given and puts each record into the `queue` of its partition as a `frame`; the `writer` of the
//! partition takes all that is queued, writes and syncs it to the active `segment` and publishes it to the
//! `partition`, where each `reader` waits; a `subscription` hands out readers of all partitions. When a log is opened,
//! the `folder` is locked and a `scan` finds where each partition ends. Why it is built so: `docs/adr/0001-embedded-log.md`.

mod folder;
mod frame;
pub(crate) mod label;
mod partition;
mod queue;
mod reader;
mod scan;
mod segment;
mod split;
mod subscription;
mod writer;

use crate::{
    Append, AppendError, Bounds, LogError, Member, NewRecord, Offset, Partition, PartitionReader, Position, ReadLog,
    Subscribe, Subscription,
};
pub(crate) use folder::sync_dir;
pub(crate) use frame::frame_length;

use folder::Folder;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use partition::PartitionLog;
use queue::{Budget, Latch};
use split::{Part, Split};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use track_proto::clock::Clock;
use writer::{Limits, Writer};

/// What an append is told when the log is closed.
const CLOSED: &str = "the log is closed";

/// Where the log lies and how large its parts become.
#[derive(Debug, Clone)]
pub struct Config {
    /// The log's folder; made where there is none. One process at a time.
    pub dir: PathBuf,
    /// How many partitions; fixed when the log is made, at least 1.
    pub partition_count: u32,
    /// A segment whose newest record was appended so many milliseconds ago is dropped.
    pub retention_ms: i64,
    /// When a segment would grow beyond this a new one begins. One write may be larger, and then stands alone.
    pub segment_bytes_max: u64,
    /// How much may wait to be written, in all partitions together; beyond it appends are [`AppendError::Busy`].
    pub queue_bytes_max: usize,
}

impl Config {
    /// Segments of 128 MiB, 64 MiB waiting at most, and the retention of the events' topic.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, partition_count: u32) -> Self {
        Self {
            dir: dir.into(),
            partition_count,
            retention_ms: track_proto::topics::EVENTS_RETENTION_MS,
            segment_bytes_max: 128 << 20,
            queue_bytes_max: 64 << 20,
        }
    }
}

/// The embedded log. Dropping it finishes what was accepted, then closes; readers read to the end and are told.
pub struct EmbeddedLog {
    partitions: Vec<Arc<PartitionLog>>,
    writers: Vec<JoinHandle<()>>,
    budget: Arc<Budget>,
    clock: Clock,
    // Last, so that the folder is held until all is written.
    _folder: Folder,
}

impl EmbeddedLog {
    /// Opens the log in `config.dir`, or makes one, and starts a writer a partition. Append times are `clock`'s,
    /// as they come: a clock that was ahead once does not stamp what comes after it.
    ///
    /// # Errors
    /// [`LogError::Refused`] where another process holds the folder, the partition count is another one or the format
    /// is newer; [`LogError::Corrupt`] where records are damaged that were once durable; [`LogError::Io`].
    pub fn open(config: Config, clock: Clock) -> Result<Arc<Self>, LogError> {
        if config.partition_count == 0 {
            return Err(LogError::Refused("a log has at least one partition".to_owned()));
        }
        let folder = Folder::lock(&config.dir)?;
        let made = folder.check_meta(config.partition_count)?;
        let mut opened = Vec::new();
        for number in 0..config.partition_count {
            opened.push(PartitionLog::open(number, folder.partition(number), !made)?);
        }
        if !made {
            // Records without the word how many partitions they were spread over would be read wrongly.
            let mut has_records = opened.iter().any(|(partition, _)| partition.bounds().end > 0);
            for number in folder.partitions_from(config.partition_count)? {
                has_records |= PartitionLog::open(number, folder.partition(number), true)?.0.bounds().end > 0;
            }
            if has_records {
                return Err(LogError::Corrupt(format!("{} has records but no log.meta", config.dir.display())));
            }
            folder.write_meta(config.partition_count)?;
        }

        let mut log = Self {
            partitions: Vec::new(),
            writers: Vec::new(),
            budget: Arc::new(Budget::new(config.queue_bytes_max)),
            clock: Arc::clone(&clock),
            _folder: folder,
        };
        let limits = Limits { segment_bytes_max: config.segment_bytes_max, retention_ms: config.retention_ms, clock };
        for (partition, active) in opened {
            let partition = Arc::new(partition);
            let writer = Writer::new(Arc::clone(&partition), active, limits.clone());
            let name = format!("log-writer-{}", partition.number);
            log.partitions.push(partition);
            let thread = std::thread::Builder::new().name(name).spawn(move || writer.run());
            log.writers.push(thread.map_err(|source| LogError::Io { context: "start a thread".to_owned(), source })?);
        }
        Ok(Arc::new(log))
    }

    /// Opens the log in `dir` as it was made; `None` where none has been made there.
    ///
    /// # Errors
    /// As [`EmbeddedLog::open`].
    pub fn open_made(dir: &Path, clock: Clock) -> Result<Option<Arc<Self>>, LogError> {
        let Some(partition_count) = folder::read_meta(dir)? else { return Ok(None) };
        Self::open(Config::new(dir, partition_count), clock).map(Some)
    }

    /// Lets go of the records before `before` of a partition, all of which have been made good use of: segments that have
    /// no others are removed soon, with the last one where nothing is left at all.
    ///
    /// # Errors
    /// [`LogError::Refused`] where there is no such partition.
    pub fn forget(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        let log = self.partition(partition)?;
        log.forget(before);
        log.queue.wake();
        Ok(())
    }

    /// What the records of all partitions take on disk, in bytes; a file is longer by a step of zeros at most.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.bytes()).sum()
    }

    fn partition(&self, partition: Partition) -> Result<&Arc<PartitionLog>, LogError> {
        let count = self.partitions.len();
        let found = usize::try_from(partition).ok().and_then(|i| self.partitions.get(i));
        found.ok_or_else(|| LogError::Refused(format!("there is no partition {partition}: the log has {count}")))
    }

    fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).expect("made from a u32")
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.queue.close();
        }
        for writer in self.writers.drain(..) {
            // A writer that panicked has told everybody by its end.
            let _ = writer.join();
        }
    }
}

impl Append for EmbeddedLog {
    fn partition_count(&self) -> u32 {
        self.count()
    }

    /// The records are queued by the call itself: what is appended first is first, whoever waits for it or not.
    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Vec<Position>, AppendError>> {
        if records.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        let Split { mut positions, order, parts, longest } = Split::of(&records, self.count());
        if longest > frame::FRAME_BYTES_MAX {
            let most = frame::FRAME_BYTES_MAX;
            let error = format!("a record of {longest} bytes is longer than the {most} that this log takes");
            return ready(Err(AppendError::Unavailable(error))).boxed();
        }
        let queue_of = |part: &Part| &self.partitions[part.partition].queue;
        // Before anything is queued, so that a batch tried over and over does not fill up the partitions that work.
        if let Some(refusal) = parts.iter().find_map(|part| queue_of(part).refusal()) {
            return ready(Err(refusal)).boxed();
        }
        if !self.budget.take(parts.iter().map(|part| part.bytes).sum()) {
            return ready(Err(AppendError::Busy)).boxed();
        }

        let now_ms = (self.clock)();
        let (latch, done) = Latch::new(parts.len());
        for part in &parts {
            let order = &order[part.places.clone()];
            let records = order.iter().map(|i| &records[*i]);
            let first = queue_of(part).push(records, now_ms, Arc::clone(&latch), &self.budget, part.bytes);
            for (i, offset) in order.iter().zip(first..) {
                positions[*i].offset = offset;
            }
        }
        drop(latch);
        async move {
            match done.await {
                Ok(Ok(())) => Ok(positions),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(AppendError::Unavailable(CLOSED.to_owned())),
            }
        }
        .boxed()
    }

    fn check_ready(&self) -> Result<(), String> {
        match self.partitions.iter().find_map(|partition| Some((partition.number, partition.queue.refusal()?))) {
            Some((number, refusal)) => Err(format!("partition {number}: {refusal}")),
            None => Ok(()),
        }
    }
}

impl ReadLog for EmbeddedLog {
    fn partition_count(&self) -> u32 {
        self.count()
    }

    fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        Ok(self.partition(partition)?.bounds())
    }

    fn reader(&self, partition: Partition, from: Offset) -> Result<Box<dyn PartitionReader>, LogError> {
        let log = self.partition(partition)?;
        let bounds = log.bounds();
        if from < bounds.start || from > bounds.end {
            return Err(LogError::OutOfRange { partition, wanted: from, bounds });
        }
        Ok(Box::new(reader::Reader::new(Arc::clone(log), from, Arc::default())))
    }
}

impl Subscribe for EmbeddedLog {
    fn subscribe(&self, member: Arc<dyn Member>) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(subscription::Sole::join(self.partitions.clone(), member)?))
    }
}

pub(crate) fn io_error(doing: &str, path: &Path, source: std::io::Error) -> LogError {
    LogError::Io { context: format!("can't {doing} {}", path.display()), source }
}
