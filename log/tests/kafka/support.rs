//! Topics of a test's own, records, and a member that folds what it reads.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::executor::block_on;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use track_harness::broker::Broker;
use track_harness::poll::eventually;
use track_log::kafka::{Config, KafkaAppender};
use track_log::{
    Append as _, AppendError, LogError, Member, NewRecord, Offset, Partition, PartitionReader, Position, Record,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config(broker: &Broker, properties: &[(&str, &str)]) -> Config {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config { brokers: broker.bootstrap(), properties, partitions: 4, replication: 1 }
}

pub(crate) fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap()
}

/// A topic of the test's own.
pub(crate) fn topic(broker: &Broker, partitions: i32, settings: &[(&str, &str)]) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    make_topic(broker, &name, partitions, settings);
    name
}

pub(crate) fn make_topic(broker: &Broker, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut topic =
        NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    for (name, value) in settings {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for made in block_on(admin(broker).create_topics([&topic], &options)).unwrap() {
        made.unwrap();
    }
    eventually(PATIENCE, "the topic", || Ok(KafkaAppender::open(&config(broker, &[]), name)?)).unwrap();
}

pub(crate) fn record(key: &str, value: impl Into<Bytes>) -> NewRecord {
    NewRecord { key: Bytes::copy_from_slice(key.as_bytes()), value: value.into() }
}

/// Records whose values are their numbers, of a hundred users.
pub(crate) fn numbered(numbers: std::ops::Range<u32>) -> Vec<NewRecord> {
    numbers.map(|number| record(&format!("user-{}", number % 100), number.to_be_bytes().to_vec())).collect()
}

pub(crate) fn append(appender: &KafkaAppender, records: Vec<NewRecord>) -> Result<Vec<Position>, AppendError> {
    block_on(appender.append(records))
}

/// Reads until `count` records have come.
pub(crate) fn read(reader: &mut dyn PartitionReader, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    eventually(PATIENCE, "the records", || {
        let missing = count - records.len();
        reader.read(&mut records, missing, Duration::from_millis(100))?;
        ensure!(records.len() >= count, "{} of {count}", records.len());
        Ok(())
    })
    .unwrap();
    records
}

/// What outlasts the members: how far each partition is, and everything that was read of it, as it was read.
#[derive(Default)]
pub(crate) struct Store {
    next: Mutex<BTreeMap<Partition, Offset>>,
    values: Mutex<BTreeMap<Partition, Vec<Record>>>,
}

impl Store {
    pub(crate) fn starting_at(partition: Partition, offset: Offset) -> Arc<Self> {
        let store = Self::default();
        store.next.lock().insert(partition, offset);
        Arc::new(store)
    }

    pub(crate) fn count(&self) -> usize {
        self.values.lock().values().map(Vec::len).sum()
    }

    pub(crate) fn values(&self) -> Vec<Bytes> {
        self.values.lock().values().flatten().map(|record| record.value.clone()).collect()
    }

    pub(crate) fn await_count(&self, count: usize) {
        eventually(PATIENCE, "everything to be read", || {
            let read = self.count();
            ensure!(read == count, "{read} of {count}");
            Ok(())
        })
        .unwrap();
    }

    pub(crate) fn await_next(&self, partition: Partition, offset: Offset) {
        eventually(PATIENCE, "a partition to be read to its end", || {
            let next = self.next.lock().get(&partition).copied();
            ensure!(next == Some(offset), "{next:?} of {offset}");
            Ok(())
        })
        .unwrap();
    }

    /// Each partition was read once, in order, without a gap.
    pub(crate) fn assert_exact(&self) {
        for (partition, records) in self.values.lock().iter() {
            let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
            let first = offsets[0];
            let expected: Vec<_> = (first..first + Offset::try_from(offsets.len()).unwrap()).collect();
            assert_eq!(offsets, expected, "partition {partition}");
        }
    }
}

/// A member that writes what it reads to a store, on a thread per partition.
pub(crate) struct Folder {
    store: Arc<Store>,
    pub(crate) declines: Mutex<Vec<Partition>>,
    /// A member may read on by itself.
    pub(crate) drops_readers: AtomicBool,
    /// Readers read only while this is false.
    pub(crate) held: Mutex<Option<Partition>>,
    workers: Mutex<HashMap<Partition, JoinHandle<Result<(), LogError>>>>,
    pub(crate) failures: Mutex<Vec<String>>,
    pub(crate) owned: Mutex<Vec<Partition>>,
    pub(crate) log_ends: Mutex<HashMap<Partition, Offset>>,
    /// What the group has said last of its being in; `None` before it has said anything.
    pub(crate) standing: Mutex<Option<Result<(), String>>>,
    /// Each time that it was said not to be in, why.
    pub(crate) left_out: Mutex<Vec<String>>,
}

impl Folder {
    pub(crate) fn new(store: &Arc<Store>) -> Arc<Self> {
        Self::declining(store, &[])
    }

    pub(crate) fn declining(store: &Arc<Store>, declines: &[Partition]) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            declines: Mutex::new(declines.to_vec()),
            drops_readers: AtomicBool::new(false),
            held: Mutex::default(),
            workers: Mutex::default(),
            failures: Mutex::default(),
            owned: Mutex::default(),
            log_ends: Mutex::default(),
            standing: Mutex::default(),
            left_out: Mutex::default(),
        })
    }

    pub(crate) fn await_owned(&self, count: usize) {
        eventually(PATIENCE, "the assignment", || {
            let owned = self.owned.lock().len();
            ensure!(owned == count, "{owned} partitions, not {count}");
            Ok(())
        })
        .unwrap();
    }

    /// Waits until the group has said so of its being in.
    pub(crate) fn await_standing(&self, what: &str, is_so: impl Fn(Option<&Result<(), String>>) -> bool) {
        eventually(PATIENCE, what, || {
            let standing = self.standing.lock();
            ensure!(is_so(standing.as_ref()), "it is {standing:?}");
            Ok(())
        })
        .unwrap();
    }

    pub(crate) fn await_failure(&self) -> String {
        eventually(PATIENCE, "a failure", || self.failures.lock().first().cloned().context("none yet")).unwrap()
    }
}

/// The trait is implemented for a handle, so that workers can share what they write.
pub(crate) struct Handle(pub(crate) Arc<Folder>);

impl Member for Handle {
    fn joined(&self) {
        *self.0.standing.lock() = Some(Ok(()));
    }

    fn left_out(&self, reason: &str) {
        *self.0.standing.lock() = Some(Err(reason.to_owned()));
        self.0.left_out.lock().push(reason.to_owned());
    }

    fn assigned(&self, partitions: &[Partition]) -> Vec<(Partition, Offset)> {
        let next = self.0.store.next.lock();
        let declines = self.0.declines.lock();
        let wanted = partitions.iter().filter(|partition| !declines.contains(partition));
        self.0.owned.lock().extend(partitions);
        wanted.map(|partition| (*partition, next.get(partition).copied().unwrap_or(0))).collect()
    }

    fn reader(&self, partition: Partition, mut reader: Box<dyn PartitionReader>) {
        let folder = Arc::clone(&self.0);
        if folder.drops_readers.load(Ordering::Relaxed) {
            return;
        }
        folder.log_ends.lock().insert(partition, reader.log_end());
        let worker = std::thread::spawn(move || {
            let mut records = Vec::new();
            loop {
                // Held, it only looks whether it is to end.
                let records_max = if *folder.held.lock() == Some(partition) { 0 } else { 1_000 };
                match reader.read(&mut records, records_max, Duration::from_millis(20)) {
                    Err(LogError::Closed) => return Ok(()),
                    Err(error) => {
                        folder.failures.lock().push(error.to_string());
                        return Err(error);
                    }
                    Ok(()) => {}
                }
                folder.log_ends.lock().insert(partition, reader.log_end());
                if let Some(last) = records.last() {
                    folder.store.next.lock().insert(partition, last.offset + 1);
                    folder.store.values.lock().entry(partition).or_default().append(&mut records);
                }
            }
        });
        self.0.workers.lock().insert(partition, worker);
    }

    fn revoked(&self, partitions: &[Partition]) {
        for partition in partitions {
            let worker = self.0.workers.lock().remove(partition);
            if let Some(worker) = worker {
                let _ = worker.join().unwrap();
            }
        }
        self.0.owned.lock().retain(|partition| !partitions.contains(partition));
    }
}
