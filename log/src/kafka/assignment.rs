//! What is assigned to this member of a group, and how it comes and goes.
//!
//! All of it happens on the group's one thread: librdkafka calls back for a rebalance from inside its poll.

use super::chunk::{Buffers, ChunkBuilder, offset_of};
use super::client::{Context, Role, kafka_partition};
use super::doubt::{Doubt, Place};
use super::queue::{Queue, QueueReader};
use super::read::{bounds, kafka_offset};
use super::tail::{Moments, Tail};
use crate::{Bounds, LogError, Member, Offset, Partition};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may wait for a reader, per partition.
const QUEUE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long a full queue holds up the others before its partition is paused. Pausing throws away what librdkafka has
/// fetched ahead, so a reader that is merely slower than the brokers should not cause it.
const STALL: Duration = Duration::from_millis(50);
/// How long the brokers have to say where a partition ends before the thread goes back to polling.
const BOUNDS_WITHIN: Duration = Duration::from_secs(2);

pub(super) type Consumer = BaseConsumer<Context<Assignment>>;

/// What is assigned.
pub(super) struct Assignment {
    topic: String,
    member: Arc<dyn Member>,
    buffers: Arc<Buffers>,
    slots: Mutex<BTreeMap<Partition, Slot>>,
    /// Leaving: the member is told of no more partitions.
    closed: AtomicBool,
    /// An offset was refused that turns out to be in the log: only a new assignment begins its fetching again.
    is_stuck: AtomicBool,
    /// The group has taken what there was without asking: it has gone on without this member.
    is_lost: AtomicBool,
    /// Requests to the group's coordinator that had no answer in time.
    late: AtomicU64,
    /// The number of the broker that is the group's coordinator; negative where that is not known.
    coordinator: AtomicI32,
    moments: Moments,
}

/// One assigned partition.
struct Slot {
    queue: Arc<Queue>,
    tail: Arc<Tail>,
    records: ChunkBuilder,
    stage: Stage,
    paused: bool,
    /// Something has come since it was assigned or paused. Until then, what librdkafka says of its end may be of before.
    is_fetched: bool,
    doubt: Doubt,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The member has no reader yet: first its end must be known, else the member would take it for read to the end.
    Fresh,
    Read,
    /// It can't be read from where the member wanted.
    Failed,
    /// The member did not want it, or no longer does.
    Declined,
}

impl Assignment {
    pub(super) fn new(topic: String, member: Arc<dyn Member>) -> Self {
        Self {
            topic,
            member,
            buffers: Arc::default(),
            slots: Mutex::default(),
            closed: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            late: AtomicU64::new(0),
            coordinator: AtomicI32::new(-1),
            moments: Moments::default(),
        }
    }

    /// Takes a record for its partition's reader.
    pub(super) fn take(&self, message: &BorrowedMessage<'_>) {
        let offset = offset_of(message);
        let mut slots = self.slots.lock();
        let Ok(partition) = Partition::try_from(message.partition()) else { return };
        let Some(slot) = slots.get_mut(&partition) else { return };
        // What was fetched before a pause may come again.
        if slot.stage == Stage::Declined || slot.stage == Stage::Failed || offset < slot.tail.next() {
            return;
        }
        slot.records.push(message);
        slot.tail.advance(offset + 1);
        slot.is_fetched = true;
    }

    /// Everything that a partition held has been taken.
    pub(super) fn reached_end(&self, partition: i32) {
        let mut slots = self.slots.lock();
        if let Some(slot) = Partition::try_from(partition).ok().and_then(|partition| slots.get_mut(&partition)) {
            slot.tail.nothing_left();
            slot.is_fetched = true;
        }
    }

    /// Brings what was taken to the readers, and pauses and resumes partitions by how far their readers are behind.
    pub(super) fn hand_on(&self, consumer: &Consumer) {
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (partition, slot) in self.slots.lock().iter_mut() {
            if slot.stage == Stage::Read && slot.queue.is_closed() {
                // Its reader is gone, and the member reads on by itself: nothing more is fetched for it.
                slot.stage = Stage::Declined;
                slot.paused = false;
                let _unread = slot.records.take();
                pause.add_partition(&self.topic, kafka_partition(*partition));
            } else if !slot.records.is_empty() {
                slot.queue.push(slot.records.take());
                if !slot.paused && !slot.queue.has_room(QUEUE_BYTES_MAX, STALL) {
                    (slot.paused, slot.is_fetched) = (true, false);
                    pause.add_partition(&self.topic, kafka_partition(*partition));
                }
            } else if slot.paused && slot.queue.bytes() < QUEUE_BYTES_MAX / 2 {
                slot.paused = false;
                resume.add_partition(&self.topic, kafka_partition(*partition));
            }
        }
        for done in [
            (pause.count() > 0).then(|| consumer.pause(&pause)),
            (resume.count() > 0).then(|| consumer.resume(&resume)),
        ] {
            if let Some(Err(error)) = done {
                tracing::warn!("Kafka: {error}");
            }
        }
    }

    /// Whether the group has given it any.
    pub(super) fn has_partitions(&self) -> bool {
        !self.slots.lock().is_empty()
    }

    /// What the group has given it.
    pub(super) fn partitions(&self) -> BTreeSet<Partition> {
        self.slots.lock().keys().copied().collect()
    }

    /// How many requests to the group's coordinator have had no answer in time, as of the last statistics.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Ordering::Acquire)
    }

    /// The number of the broker that is the group's coordinator, as of the last statistics.
    pub(super) fn coordinator(&self) -> Option<i32> {
        Some(self.coordinator.load(Ordering::Acquire)).filter(|number| *number >= 0)
    }

    /// Whether the group has taken what it had given since this was last asked, having gone on without this member.
    pub(super) fn take_lost(&self) -> bool {
        self.is_lost.swap(false, Ordering::AcqRel)
    }

    /// Whether some partition waits for its reader.
    pub(super) fn is_held_up(&self) -> bool {
        self.slots.lock().values().any(|slot| slot.paused)
    }

    /// Hands the member the readers of what is newly assigned, as soon as the brokers say where it ends.
    pub(super) fn introduce(&self, consumer: &Consumer) {
        let fresh: Vec<_> =
            self.slots.lock().iter().filter(|(_, slot)| slot.stage == Stage::Fresh).map(named).collect();
        let asked_at = Instant::now();
        // All at once: each answer may have to wait for a fetch to come back, and so they wait for the same one.
        let found = std::thread::scope(|scope| {
            let ask = |partition| move || bounds(consumer, &self.topic, partition, BOUNDS_WITHIN);
            let asked: Vec<_> = fresh.iter().map(|(partition, ..)| scope.spawn(ask(*partition))).collect();
            asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for ((partition, queue, tail), bounds) in fresh.into_iter().zip(found) {
            let bounds = match bounds {
                Ok(Ok(bounds)) => bounds,
                Ok(Err(error)) => {
                    tracing::warn!("Kafka: where partition {partition} ends is not known yet: {error}");
                    continue;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            };
            let next = tail.next();
            let stage = match self.judge(partition, next, bounds) {
                Some(true) => {
                    tail.reaches(bounds.end);
                    tail.hear(asked_at);
                    Stage::Read
                }
                Some(false) => {
                    queue.fail(LogError::OutOfRange { partition, wanted: next, bounds });
                    Stage::Failed
                }
                None => continue,
            };
            if let Some(slot) = self.slots.lock().get_mut(&partition) {
                slot.stage = stage;
            }
            self.member.reader(partition, Box::new(QueueReader::new(queue, tail)));
        }
    }

    /// After an error of some partition's offset: finds whose it is and tells its reader. False where it was none's, `None`
    /// where that is not certain yet.
    pub(super) fn judge_offsets(&self, consumer: &Consumer) -> KafkaResult<Option<bool>> {
        if self.find(|slot| slot.stage == Stage::Fresh).is_some() {
            // It may be its own, and is read by nobody yet.
            return Ok(None);
        }
        let mut found = false;
        let read: Vec<_> = self.slots.lock().iter().filter(|(_, slot)| slot.stage == Stage::Read).map(named).collect();
        for (partition, queue, tail) in read {
            let bounds = bounds(consumer, &self.topic, partition, BOUNDS_WITHIN)?;
            let wanted = tail.next();
            let Some(is_there) = self.judge(partition, wanted, bounds) else { return Ok(None) };
            if !is_there {
                found = true;
                if let Some(slot) = self.slots.lock().get_mut(&partition) {
                    slot.stage = Stage::Failed;
                    if !slot.records.is_empty() {
                        queue.push(slot.records.take());
                    }
                }
                queue.fail(LogError::OutOfRange { partition, wanted, bounds });
            }
        }
        Ok(Some(found || self.find(|slot| slot.stage == Stage::Failed).is_some()))
    }

    /// Only what is assigned here may be committed.
    pub(super) fn commit(&self, consumer: &Consumer, hints: &BTreeMap<Partition, Offset>) {
        let mut offsets = TopicPartitionList::new();
        {
            let slots = self.slots.lock();
            for (&partition, &offset) in hints.iter().filter(|(partition, _)| slots.contains_key(partition)) {
                let _ = offsets.add_partition_offset(&self.topic, kafka_partition(partition), kafka_offset(offset));
            }
        }
        if offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, rdkafka::consumer::CommitMode::Async)
        {
            tracing::debug!("Kafka: the offset hints were not committed: {error}");
        }
    }

    /// Takes everything back from the member. From now on it is told of no more.
    pub(super) fn give_up(&self) {
        self.closed.store(true, Ordering::Release);
        let all: Vec<_> = self.slots.lock().keys().copied().collect();
        self.revoke(&all);
    }

    /// Whether an offset is in the log; `None` where that is doubtful, or the member has to join again.
    fn judge(&self, partition: Partition, wanted: Offset, bounds: Bounds) -> Option<bool> {
        match self.slots.lock().get_mut(&partition)?.doubt.find_place(wanted, bounds, Instant::now()) {
            Place::Inside => Some(true),
            Place::Outside => Some(false),
            Place::InsideAgain => {
                self.is_stuck.store(true, Ordering::Release);
                None
            }
            Place::NewlyDoubtful => {
                let end = bounds.end;
                tracing::warn!(partition, wanted, end, "Kafka: the log ends before what was read of it, asking again");
                None
            }
            Place::Doubtful => None,
        }
    }

    /// Whether only joining the group again has everything read.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Acquire)
    }

    fn find(&self, which: impl Fn(&Slot) -> bool) -> Option<(Partition, Arc<Queue>, Arc<Tail>)> {
        self.slots.lock().iter().find(|(_, slot)| which(slot)).map(named)
    }

    fn partitions_of(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let elements = list.elements_for_topic(&self.topic);
        elements.iter().filter_map(|element| Partition::try_from(element.partition()).ok()).collect()
    }

    /// Asks the member where to go on; what it does not want is assigned all the same, as the group expects, but paused.
    fn assign(&self, consumer: &Consumer, list: &TopicPartitionList) -> KafkaResult<()> {
        let partitions = self.partitions_of(list);
        let from: BTreeMap<_, _> = match self.closed.load(Ordering::Acquire) {
            true => BTreeMap::new(),
            false => self.member.assigned(&partitions).into_iter().collect(),
        };
        let mut assigned = TopicPartitionList::new();
        let (mut wanted, mut declined) = (TopicPartitionList::new(), TopicPartitionList::new());
        for partition in partitions {
            let from = from.get(&partition).copied();
            let list = if from.is_some() { &mut wanted } else { &mut declined };
            list.add_partition(&self.topic, kafka_partition(partition));
            let start = from.map_or(KafkaOffset::End, kafka_offset);
            assigned.add_partition_offset(&self.topic, kafka_partition(partition), start)?;
            let slot = Slot {
                queue: Arc::default(),
                tail: Arc::new(Tail::new(from.unwrap_or(0), 0)),
                records: ChunkBuilder::new(&self.buffers),
                stage: if from.is_some() { Stage::Fresh } else { Stage::Declined },
                paused: false,
                is_fetched: false,
                doubt: Doubt::default(),
            };
            if !self.closed.load(Ordering::Acquire) {
                self.slots.lock().insert(partition, slot);
            }
        }
        // One that was paused when it was revoked is paused to librdkafka still.
        if let Err(error) = consumer.resume(&wanted) {
            tracing::warn!("Kafka: {error}");
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&assigned)?,
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(&assigned)?,
        }
        if declined.count() > 0 { consumer.pause(&declined) } else { Ok(()) }
    }

    /// Stops the readers, then lets the member finish with them.
    fn revoke(&self, partitions: &[Partition]) {
        let revoked: Vec<_> = {
            let mut slots = self.slots.lock();
            partitions.iter().filter_map(|partition| slots.remove_entry(partition)).collect()
        };
        if revoked.is_empty() {
            return;
        }
        let partitions: Vec<_> = revoked.iter().map(|(partition, _)| *partition).collect();
        for (_, slot) in revoked {
            slot.queue.close();
        }
        self.member.revoked(&partitions);
    }
}

fn named((&partition, slot): (&Partition, &Slot)) -> (Partition, Arc<Queue>, Arc<Tail>) {
    (partition, Arc::clone(&slot.queue), Arc::clone(&slot.tail))
}

impl Role for Assignment {
    fn statistics(&self, statistics: &Statistics) {
        // A consumer's only logical broker is its coordinator.
        let logical = || statistics.brokers.values().filter(|broker| broker.source == "logical");
        self.late.store(logical().map(|broker| broker.req_timeouts).sum(), Ordering::Release);
        let is_coordinator = |node: &str| logical().any(|broker| broker.nodename == node);
        let mut known = statistics.brokers.values().filter(|broker| broker.source == "learned");
        let number = known.find(|broker| is_coordinator(&broker.nodename)).map_or(-1, |broker| broker.nodeid);
        self.coordinator.store(number, Ordering::Release);
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        for (partition, slot) in self.slots.lock().iter_mut() {
            let Some(observed) = topic.partitions.get(&kafka_partition(*partition)) else { continue };
            if slot.stage == Stage::Read && !slot.paused && slot.is_fetched {
                slot.tail.learn(statistics, observed, &self.moments);
            }
        }
    }
}

impl ConsumerContext for Context<Assignment> {
    fn rebalance(&self, consumer: &Consumer, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assignment = &self.role;
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(partitions = ?assignment.partitions_of(list), "assigned by the group");
            assignment.assign(consumer, list)
        } else {
            tracing::info!(partitions = ?assignment.partitions_of(list), "revoked by the group");
            if consumer.assignment_lost() {
                assignment.is_lost.store(true, Ordering::Release);
            }
            assignment.revoke(&assignment.partitions_of(list));
            match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
            }
        };
        if let Err(error) = done {
            tracing::error!("Kafka: rebalancing: {error}");
        }
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!("Kafka: the offset hints were not committed: {error}");
        }
    }
}
