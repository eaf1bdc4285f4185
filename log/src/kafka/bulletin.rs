//! The last value per key, on a compacted topic of one partition.

use super::client::{Config, Context, Role, no_thread, refused, retire};
use super::producer::{Outgoing, Producer};
use crate::{AppendError, Bulletin, BulletinGuard, LogError};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How soon a follower hears that it is to end.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// After so long a silence it is asked whether there is more: brokers that come and go may have ended the fetching.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long the brokers have to say where the board ends.
const END_WITHIN: Duration = Duration::from_secs(2);

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
}

impl Bulletin for KafkaBulletin {
    fn post(&self, key: String, value: Option<Bytes>) -> BoxFuture<'static, Result<(), AppendError>> {
        let record = [Outgoing { partition: 0, key: key.as_bytes(), value: value.as_deref() }];
        self.producer.send(record.iter().map(|record| Outgoing { ..*record })).map(|sent| sent.map(|_| ())).boxed()
    }

    fn follow(&self, mut reader: Box<dyn FnMut(String, Option<Bytes>) + Send>) -> Result<BulletinGuard, LogError> {
        let consumer: Consumer = self.config.reader()?.create_with_context(Context::new(Following)).map_err(refused)?;
        let mut follower = Follower { consumer, topic: self.topic.clone(), next: None, heard: Instant::now() };
        follower.read_from(Offset::Beginning).map_err(|error| LogError::Kafka(error.to_string()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("kafka-bulletin".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    if let Err(error) = follower.hear(&mut reader) {
                        tracing::error!("Kafka: following the board: {error}");
                    }
                }
                retire(follower.consumer);
            })
            .map_err(no_thread)?;
        Ok(BulletinGuard::new(move || stop.store(true, Ordering::Release)))
    }
}

/// Reads the board, whatever the brokers do.
struct Follower {
    consumer: Consumer,
    topic: String,
    /// The offset behind what was read last.
    next: Option<i64>,
    /// When that was, or the board was found to have no more.
    heard: Instant,
}

impl Follower {
    fn read_from(&mut self, offset: Offset) -> KafkaResult<()> {
        self.heard = Instant::now();
        let mut board = TopicPartitionList::new();
        board.add_partition_offset(&self.topic, 0, offset)?;
        self.consumer.assign(&board)
    }

    /// Hands the next message on, or waits for a moment.
    fn hear(&mut self, reader: &mut impl FnMut(String, Option<Bytes>)) -> KafkaResult<()> {
        match self.consumer.poll(POLL_WAIT) {
            Some(Ok(message)) => {
                (self.next, self.heard) = (Some(message.offset() + 1), Instant::now());
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                reader(key, message.payload().map(Bytes::copy_from_slice));
                Ok(())
            }
            // The topic was made anew, or lost what only one broker had: what is on it now comes from its beginning.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation,
            ))) => self.read_from(Offset::Beginning),
            _ if self.heard.elapsed() >= SILENCE_MAX => self.look_for_more(),
            _ => Ok(()),
        }
    }

    /// Reads on where there is more than has come.
    fn look_for_more(&mut self) -> KafkaResult<()> {
        self.heard = Instant::now();
        // Brokers that do not answer are asked again.
        let Ok((start, end)) = self.consumer.fetch_watermarks(&self.topic, 0, END_WITHIN) else { return Ok(()) };
        match self.next {
            Some(next) if next == end => Ok(()),
            None if start == end => Ok(()),
            Some(next) if (start..end).contains(&next) => self.read_from(Offset::Offset(next)),
            _ => self.read_from(Offset::Beginning),
        }
    }
}

struct Following;

impl Role for Following {}

impl ConsumerContext for Context<Following> {}

type Consumer = BaseConsumer<Context<Following>>;
