//! When records were appended, of many partitions through one client: for who asks now and then, and reads no log.

use super::client::{Config, Context, Role, kafka_partition, refused, retire};
use super::read::kafka_offset;
use crate::{LogError, Offset, Partition};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One record of each partition is looked at, and a broker sends so many bytes of a partition at least.
const FETCHED_BYTES: &str = "65536";

/// Looks at single records of a topic.
pub struct KafkaTimes {
    topic: String,
    /// Empty only while dropping.
    consumer: Option<Consumer>,
}

impl KafkaTimes {
    /// Gets ready to look at `topic`, which must be there.
    ///
    /// # Errors
    /// [`LogError::Refused`] where a property is not as it must be.
    pub fn open(config: &Config, topic: &str) -> Result<Self, LogError> {
        let mut client = config.reader()?;
        client.set("fetch.message.max.bytes", FETCHED_BYTES);
        let consumer = client.create_with_context(Context::new(Looking)).map_err(refused)?;
        Ok(Self { topic: topic.to_owned(), consumer: Some(consumer) })
    }

    /// When the first record at or after the offset of each partition was appended, in milliseconds since 1970 UTC; `None`
    /// where there is no record any more. A partition that gave no answer `within` this time is left out.
    ///
    /// # Errors
    /// [`LogError::Kafka`] where the client refuses.
    pub fn append_times(
        &self,
        wanted: &BTreeMap<Partition, Offset>,
        within: Duration,
    ) -> Result<BTreeMap<Partition, Option<i64>>, LogError> {
        let Some(consumer) = &self.consumer else { return Err(LogError::Closed) };
        let failed = |error: KafkaError| LogError::Kafka(format!("looking at records of {}: {error}", self.topic));
        let mut from = TopicPartitionList::new();
        for (partition, offset) in wanted {
            let partition = kafka_partition(*partition);
            from.add_partition_offset(&self.topic, partition, kafka_offset(*offset)).map_err(failed)?;
        }
        consumer.assign(&from).map_err(failed)?;
        let mut times = BTreeMap::new();
        let deadline = Instant::now() + within;
        while times.len() < wanted.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let (partition, time) = match consumer.poll(left) {
                Some(Ok(message)) => (message.partition(), message.timestamp().to_millis()),
                Some(Err(KafkaError::PartitionEOF(partition))) => (partition, None),
                // Brokers that come and go: librdkafka tries again by itself.
                Some(Err(_)) | None => continue,
            };
            let Ok(number) = Partition::try_from(partition) else { continue };
            if times.contains_key(&number) {
                continue;
            }
            times.insert(number, time);
            // What else it holds need not be fetched.
            let mut done = TopicPartitionList::new();
            done.add_partition(&self.topic, partition);
            consumer.pause(&done).map_err(failed)?;
        }
        // A partition would stay paused when it is assigned again.
        consumer.resume(&from).map_err(failed)?;
        consumer.unassign().map_err(failed)?;
        Ok(times)
    }
}

impl Drop for KafkaTimes {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            retire(consumer);
        }
    }
}

struct Looking;

impl Role for Looking {}

impl ConsumerContext for Context<Looking> {}

type Consumer = BaseConsumer<Context<Looking>>;
