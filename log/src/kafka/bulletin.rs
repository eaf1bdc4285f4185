//! The last value per key, on a compacted topic of one partition.

use super::client::{Config, Context, Role, refused, retire};
use super::producer::{Outgoing, Producer};
use crate::{AppendError, Bulletin, BulletinGuard, LogError};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How soon a follower hears that it is to end.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// A board on a compacted topic.
pub struct KafkaBulletin {
    config: Config,
    topic: String,
    producer: Producer,
}

impl KafkaBulletin {
    /// Connects to the topic.
    ///
    /// # Errors
    /// [`LogError::Refused`] where a property or the topic is not as it must be, [`LogError::Kafka`] where the brokers
    /// can't be reached within 10 s or do not know us.
    pub fn open(config: &Config, topic: &str) -> Result<Self, LogError> {
        let producer = Producer::open(config, topic)?;
        if producer.partition_count() != 1 {
            let partitions = producer.partition_count();
            return Err(LogError::Refused(format!("the topic {topic} must have one partition and has {partitions}")));
        }
        Ok(Self { config: config.clone(), topic: topic.to_owned(), producer })
    }

    fn whole_board(&self) -> Result<TopicPartitionList, LogError> {
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(&self.topic, 0, Offset::Beginning)
            .map_err(|error| LogError::Kafka(error.to_string()))?;
        Ok(all)
    }
}

impl Bulletin for KafkaBulletin {
    fn post(&self, key: String, value: Option<Bytes>) -> BoxFuture<'static, Result<(), AppendError>> {
        let record = [Outgoing { partition: 0, key: key.as_bytes(), value: value.as_deref() }];
        self.producer.send(record.iter().map(|record| Outgoing { ..*record })).map(|sent| sent.map(|_| ())).boxed()
    }

    fn follow(&self, mut reader: Box<dyn FnMut(String, Option<Bytes>) + Send>) -> Result<BulletinGuard, LogError> {
        let all = self.whole_board()?;
        let consumer: Follower = self.config.reader()?.create_with_context(Context::new(Following)).map_err(refused)?;
        consumer.assign(&all).map_err(|error| LogError::Kafka(error.to_string()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("kafka-bulletin".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    match consumer.poll(POLL_WAIT) {
                        Some(Ok(message)) => {
                            let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                            reader(key, message.payload().map(Bytes::copy_from_slice));
                        }
                        // The topic was made anew: what is on it now comes from its beginning.
                        Some(Err(KafkaError::MessageConsumption(
                            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                        ))) => {
                            if let Err(error) = consumer.assign(&all) {
                                tracing::error!("Kafka: following the board: {error}");
                            }
                        }
                        _ => {}
                    }
                }
                retire(consumer);
            })
            .map_err(|source| LogError::Io { context: "a thread for Kafka".to_owned(), source })?;
        Ok(BulletinGuard::new(move || stop.store(true, Ordering::Release)))
    }
}

struct Following;

impl Role for Following {}

impl ConsumerContext for Context<Following> {}

type Follower = BaseConsumer<Context<Following>>;
