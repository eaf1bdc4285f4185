//! The seam to the event log: what the rest of track needs of one, and the two there are.
//!
//! - [`Append`]: durable or an error, never in between
//! - [`Accept`]: what ingest asks for: durable, on the log or on the way to it
//! - [`ReadLog`] and [`PartitionReader`]: read one partition from an offset
//! - [`Subscribe`] and [`Member`]: be given partitions to read, together with other processes
//! - [`Bulletin`]: last value per key, for all to see
//! - [`embedded`]: segments in a folder, for one process
//! - [`kafka`]: Apache Kafka through librdkafka
//! - [`spool`]: on this machine's disk while Kafka is away
//!
//! The two logs pass the one suite in `log/tests/conformance/`.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use std::sync::Arc;
use std::time::Duration;

pub mod embedded;
pub mod kafka;
pub mod spool;

/// The number of a partition, from 0.
pub type Partition = u32;
/// The place of a record in its partition. Offsets only grow; on Kafka some may be missing.
pub type Offset = u64;

/// A record to append. Its key says which partition it goes to ([`track_proto::partitioner`]).
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The user_id of the event.
    pub key: Bytes,
    /// The envelope.
    pub value: Bytes,
}

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log took it, in milliseconds since 1970 UTC, by the clock of who runs the log: it may fall, and be wrong.
    pub append_time_ms: i64,
    /// The key, where it has one: other producers may leave it out.
    pub key: Option<Bytes>,
    /// The value; empty where the record has none.
    pub value: Bytes,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Which partition.
    pub partition: Partition,
    /// Which record of it.
    pub offset: Offset,
}

/// The offsets that a partition holds: `start <= offset < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest record still there.
    pub start: Offset,
    /// The offset that the next record will get.
    pub end: Offset,
}

/// Why records were not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// More is waiting to be appended than the log is willing to hold in memory. Come back in a moment. None of the
    /// records is on the log.
    #[error("the log's queue is full")]
    Busy,
    /// The brokers can't be reached or do not take it, and none of the records is on the log: it is known that none was
    /// sent to where it could have been kept.
    #[error("the log is unavailable: {0}")]
    NotAppended(String),
    /// The disk is full or broken, the brokers can't be reached, or the log is closed. Some of the records may be on the
    /// log all the same: the caller must not say that they are.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}

/// Why a log could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The wanted records are gone (retention) or have never been.
    #[error("offset {wanted} of partition {partition} is outside the log, which holds {start} to {end}", start = .bounds.start, end = .bounds.end)]
    OutOfRange {
        /// Which partition.
        partition: Partition,
        /// Where reading was to begin.
        wanted: Offset,
        /// What there is.
        bounds: Bounds,
    },
    /// The log does not fit what was configured: the partition count, the topic's settings, another process holding it.
    #[error("{0}")]
    Refused(String),
    /// Data on disk is not what was written.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// A file could not be read or written.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Kafka said no, or nothing.
    #[error("Kafka: {0}")]
    Kafka(String),
    /// The reader's partition was taken away or the log was closed: nothing more comes.
    #[error("the log is closed")]
    Closed,
}

/// Appends records.
pub trait Append: Send + Sync {
    /// How many partitions there are; it never changes while this lives.
    fn partition_count(&self) -> u32;

    /// Appends `records`, and resolves when each is durable: on disk, or acknowledged by all in-sync replicas.
    /// Positions come in the order of `records`. Records of one partition keep their order.
    /// Appends under way at the same time share one sync of the disk or one request to the broker.
    ///
    /// # Errors
    /// Resolves to [`AppendError`] where one of the records is not known to be durable.
    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Vec<Position>, AppendError>>;

    /// Whether an append is likely to succeed now; for `/readyz`.
    ///
    /// # Errors
    /// What stands in the way, for an operator to read.
    fn check_ready(&self) -> Result<(), String>;
}

/// What became of records that were taken: each is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// On the log, at these positions in the order of the records.
    OnLog(Vec<Position>),
    /// On this machine's disk. They have no positions yet; each will be on the log, and count once.
    Spooled,
}

/// Takes records off the hands of who has checked them. Every log does.
pub trait Accept: Send + Sync {
    /// Resolves when each of `records` is durable.
    ///
    /// # Errors
    /// Resolves to [`AppendError`] where one of the records is not known to be durable.
    fn accept(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Accepted, AppendError>>;
}

impl<A: Append + ?Sized> Accept for A {
    fn accept(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Accepted, AppendError>> {
        self.append(records).map_ok(Accepted::OnLog).boxed()
    }
}

/// Reads any partition from any offset.
pub trait ReadLog: Send + Sync {
    /// How many partitions there are.
    fn partition_count(&self) -> u32;

    /// What a partition holds now.
    ///
    /// # Errors
    /// [`LogError`] where there is no such partition or the log can't be asked.
    fn bounds(&self, partition: Partition) -> Result<Bounds, LogError>;

    /// A reader of one partition whose first record is the first at or after `from`.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] where `from` is before the oldest record or after the end.
    fn reader(&self, partition: Partition, from: Offset) -> Result<Box<dyn PartitionReader>, LogError>;
}

/// Reads one partition in order, blocking its thread.
pub trait PartitionReader: Send {
    /// Appends to `into` the next records, at most `records_max`. Waits up to `wait` for the first and not for more:
    /// returns with nothing where none came.
    ///
    /// # Errors
    /// [`LogError`]; after [`LogError::Closed`] or [`LogError::OutOfRange`] the reader is of no more use.
    fn read(&mut self, into: &mut Vec<Record>, records_max: usize, wait: Duration) -> Result<(), LogError>;

    /// The offset after the last record known to be in the partition; what lies between it and the last record
    /// read is the lag.
    fn log_end(&self) -> Offset;

    /// How long ago that was known to be all; `None` where it never was. More than a moment where the log is out of reach.
    fn log_end_age(&self) -> Option<Duration>;
}

/// Takes part in reading the whole log: as a member of a consumer group, or alone.
pub trait Subscribe: Send + Sync {
    /// Joins. From now on `member` is told which partitions are its own, on a thread of the log.
    ///
    /// # Errors
    /// [`LogError`] where the log refuses.
    fn subscribe(&self, member: Arc<dyn Member>) -> Result<Box<dyn Subscription>, LogError>;
}

/// Who takes part.
pub trait Member: Send + Sync {
    /// You are in, and have been told what is yours, unless others take long to give it up.
    fn joined(&self);

    /// You are not in any more, or have not been let in, and why; the log tries again by itself. Said of one that has
    /// partitions only where they are about to be taken back.
    fn left_out(&self, reason: &str);

    /// These partitions are yours. For each, say at which offset to go on; quick, since the whole group waits.
    /// A partition left out of the answer is not read for the member: it reads it on its own later, or has reported why not.
    fn assigned(&self, partitions: &[Partition]) -> Vec<(Partition, Offset)>;

    /// Here is what [`Member::assigned`] asked for.
    fn reader(&self, partition: Partition, reader: Box<dyn PartitionReader>);

    /// These partitions are no longer yours. Returns when nothing of them is being worked on any more.
    fn revoked(&self, partitions: &[Partition]);
}

/// Taking part; ends when it is closed or dropped.
pub trait Subscription: Send + Sync {
    /// Tells the group how far the member is. A hint for lag tools: the member's own store is the truth.
    fn commit_hint(&self, applied: &[(Partition, Offset)]);

    /// Leaves: revokes what is assigned and returns when that is done, or at the deadline.
    fn close(&self, within: Duration);
}

/// A board with one value a key, for every process to read: a compacted topic of one partition.
pub trait Bulletin: Send + Sync {
    /// Posts the value of `key`; `None` takes it off. Resolves when it is durable.
    fn post(&self, key: String, value: Option<Bytes>) -> BoxFuture<'static, Result<(), AppendError>>;

    /// Calls `reader` on a thread of its own with everything on the board, then with each change, until the
    /// returned guard is dropped. A `None` value says that the key was taken off.
    ///
    /// # Errors
    /// [`LogError`] where the board can't be read.
    fn follow(&self, reader: Box<dyn FnMut(String, Option<Bytes>) + Send>) -> Result<BulletinGuard, LogError>;
}

/// Ends a [`Bulletin::follow`] when dropped.
pub struct BulletinGuard {
    stop: Option<Box<dyn FnOnce() + Send>>,
}

impl BulletinGuard {
    /// `stop` is called once, when the guard is dropped.
    pub fn new(stop: impl FnOnce() + Send + 'static) -> Self {
        Self { stop: Some(Box::new(stop)) }
    }
}

impl Drop for BulletinGuard {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop();
        }
    }
}
