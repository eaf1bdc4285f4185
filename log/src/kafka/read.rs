//! Reads any partition from any offset, outside any group.

use super::chunk::{ChunkBuilder, offset_of};
use super::client::{self, Asker, Config, Context, Role, kafka_partition, refused, retire};
use super::tail::{Moments, Tail};
use crate::{Bounds, LogError, Offset, Partition, PartitionReader, ReadLog, Record};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_proto::topics;

/// How long the brokers have to say what a partition holds.
const BOUNDS_WITHIN: Duration = Duration::from_secs(10);

/// The log on a topic.
pub struct KafkaLog {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    topic: String,
    asker: Asker,
    partition_count: u32,
}

impl KafkaLog {
    /// The log of events.
    ///
    /// # Errors
    /// [`LogError::Refused`] where a property or the topic is not as it must be, [`LogError::Kafka`] where the brokers
    /// can't be reached within 10 s or do not know us.
    pub fn open(config: &Config) -> Result<Self, LogError> {
        Self::open_topic(config, topics::EVENTS)
    }

    /// The log on another topic.
    ///
    /// # Errors
    /// As [`KafkaLog::open`].
    pub fn open_topic(config: &Config, topic: &str) -> Result<Self, LogError> {
        let asker = client::asker(config)?;
        let partition_count = client::expect_topic(&asker, topic)?;
        let inner = Inner { config: config.clone(), topic: topic.to_owned(), asker, partition_count };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl ReadLog for KafkaLog {
    fn partition_count(&self) -> u32 {
        self.inner.partition_count
    }

    fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.inner.bounds(partition)
    }

    fn reader(&self, partition: Partition, from: Offset) -> Result<Box<dyn PartitionReader>, LogError> {
        let asked_at = Instant::now();
        let bounds = self.inner.bounds(partition)?;
        if from < bounds.start || from > bounds.end {
            return Err(LogError::OutOfRange { partition, wanted: from, bounds });
        }
        let tail = Arc::new(Tail::new(from, bounds.end));
        tail.hear(asked_at);
        let moments = Moments::default();
        let role = Reading { partition: kafka_partition(partition), tail: Arc::clone(&tail), moments };
        let consumer: Consumer =
            self.inner.config.reader()?.create_with_context(Context::new(role)).map_err(refused)?;
        let mut assigned = TopicPartitionList::new();
        assigned
            .add_partition_offset(&self.inner.topic, kafka_partition(partition), kafka_offset(from))
            .and_then(|()| consumer.assign(&assigned))
            .map_err(|error| LogError::Kafka(error.to_string()))?;
        let log = Arc::clone(&self.inner);
        let records = ChunkBuilder::new(&Arc::default());
        Ok(Box::new(Reader { log, partition, consumer: Some(consumer), tail, records }))
    }
}

impl Inner {
    fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        if partition >= self.partition_count {
            let (topic, count) = (&self.topic, self.partition_count);
            return Err(LogError::Refused(format!(
                "the topic {topic} has {count} partitions and no number {partition}"
            )));
        }
        client::serve(&self.asker);
        bounds(&self.asker, &self.topic, partition, BOUNDS_WITHIN)
            .map_err(|error| self.asker.context().explain(&format!("asking what partition {partition} holds"), &error))
    }
}

/// What a partition holds now, from the brokers.
pub(super) fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: Partition,
    within: Duration,
) -> Result<Bounds, KafkaError> {
    let (start, end) = consumer.fetch_watermarks(topic, kafka_partition(partition), within)?;
    let offset = |offset| Offset::try_from(offset).map_err(|_| KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset));
    Ok(Bounds { start: offset(start)?, end: offset(end)? })
}

/// An offset as librdkafka wants it.
pub(super) fn kafka_offset(offset: Offset) -> KafkaOffset {
    KafkaOffset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

struct Reading {
    partition: i32,
    tail: Arc<Tail>,
    moments: Moments,
}

impl Role for Reading {
    fn statistics(&self, statistics: &Statistics) {
        for topic in statistics.topics.values() {
            if let Some(partition) = topic.partitions.get(&self.partition) {
                self.tail.learn(statistics, partition, &self.moments);
            }
        }
    }
}

impl ConsumerContext for Context<Reading> {}

type Consumer = BaseConsumer<Context<Reading>>;

struct Reader {
    log: Arc<Inner>,
    partition: Partition,
    /// Empty only while dropping.
    consumer: Option<Consumer>,
    tail: Arc<Tail>,
    records: ChunkBuilder,
}

impl PartitionReader for Reader {
    fn read(&mut self, into: &mut Vec<Record>, records_max: usize, wait: Duration) -> Result<(), LogError> {
        let Some(consumer) = &self.consumer else { return Err(LogError::Closed) };
        let deadline = Instant::now() + wait;
        let mut outcome = Ok(());
        while self.records.len() < records_max {
            let first = self.records.is_empty();
            let wait = if first { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match consumer.poll(wait) {
                Some(Ok(message)) => {
                    self.records.push(&message);
                    self.tail.advance(offset_of(&message) + 1);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.tail.nothing_left(),
                Some(Err(error)) => {
                    outcome = self.judge(consumer, &error);
                    if outcome.is_err() {
                        break;
                    }
                }
                None if !first || wait.is_zero() => break,
                None => {}
            }
        }
        self.records.take().move_into(into, usize::MAX);
        outcome
    }

    fn log_end(&self) -> Offset {
        self.tail.end()
    }

    fn log_end_age(&self) -> Option<Duration> {
        self.tail.end_age()
    }
}

impl Reader {
    /// Whether an error ends the reading. Brokers that come and go do not: librdkafka goes on by itself.
    fn judge(&self, consumer: &Consumer, error: &KafkaError) -> Result<(), LogError> {
        match error {
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation,
            ) => {
                let bounds = self.log.bounds(self.partition)?;
                Err(LogError::OutOfRange { partition: self.partition, wanted: self.tail.next(), bounds })
            }
            _ if consumer.client().fatal_error().is_some() => Err(consumer.context().explain("reading", error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            retire(consumer);
        }
    }
}
