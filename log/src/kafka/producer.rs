//! Durable sends to one topic: one completion for all records that are sent together.

use super::client::{self, Config, Context, Role, kafka_partition};
use crate::{AppendError, LogError, Offset, Partition, Position};
use futures::future::{self, BoxFuture};
use parking_lot::{Mutex, RwLock};
use rdkafka::ClientConfig;
use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often the brokers are asked whether they are there, for `/readyz`.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// How long a client is listened to at a time, and how late its end is noticed. `BaseProducer::poll` waits for whole milliseconds and
/// spins through what is left: with just 100, as `ThreadedProducer` has it, for a hundredth of all time, when it has nothing to do.
const LISTEN: Duration = Duration::from_micros(250_100);

/// Where each record lies, in the order in which they were sent.
type Outcome = Result<Vec<Position>, AppendError>;

/// A record on its way.
pub(super) struct Outgoing<'a> {
    pub(super) partition: Partition,
    pub(super) key: &'a [u8],
    /// `None` is a tombstone.
    pub(super) value: Option<&'a [u8]>,
}

impl Outgoing<'_> {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.map_or(0, <[u8]>::len)
    }
}

/// Sends to one topic.
pub(super) struct Producer {
    shared: Arc<Shared>,
    partition_count: u32,
    /// Ends the probe when dropped.
    _probe: mpsc::Sender<()>,
}

struct Shared {
    topic: String,
    config: ClientConfig,
    client: RwLock<Arc<Client>>,
    /// How much may wait for its acknowledgement, in bytes.
    bytes_max: usize,
    bytes_waiting: Arc<AtomicUsize>,
    readiness: Mutex<Result<(), String>>,
}

impl Producer {
    /// Connects, and reads how many partitions the topic has.
    pub(super) fn open(config: &Config, topic: &str) -> Result<Self, LogError> {
        // Not asked of the producer: on brokers that make topics of themselves, that would make one.
        let partition_count = client::expect_topic(&client::asker(config)?, topic)?;
        let config = config.producer()?;
        let kilobytes = config.get("queue.buffering.max.kbytes").and_then(|value| value.parse::<usize>().ok());
        let bytes_waiting = Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            topic: topic.to_owned(),
            client: RwLock::new(Client::connect(&config, &bytes_waiting)?),
            config,
            bytes_max: kilobytes.unwrap_or(usize::MAX / 1024).saturating_mul(1024),
            bytes_waiting,
            readiness: Mutex::new(Ok(())),
        });
        let (stop, stopped) = mpsc::channel();
        let probed = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("kafka-probe".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(PROBE_EVERY) == Err(RecvTimeoutError::Timeout) {
                    let Some(shared) = probed.upgrade() else { return };
                    let readiness = shared.probe();
                    *shared.readiness.lock() = readiness;
                }
            })
            .map_err(client::no_thread)?;
        Ok(Self { shared, partition_count, _probe: stop })
    }

    pub(super) fn partition_count(&self) -> u32 {
        self.partition_count
    }

    pub(super) fn check_ready(&self) -> Result<(), String> {
        self.shared.readiness.lock().clone()
    }

    /// Sends all, or nothing where there is no room; resolves when each is acknowledged by every in-sync replica.
    pub(super) fn send<'a, I>(&self, records: I) -> BoxFuture<'static, Outcome>
    where
        I: ExactSizeIterator<Item = Outgoing<'a>> + Clone,
    {
        if records.len() == 0 {
            return Box::pin(future::ready(Ok(Vec::new())));
        }
        let bytes = records.clone().map(|record| record.bytes()).sum();
        let waiting = self.shared.bytes_waiting.fetch_add(bytes, Ordering::AcqRel);
        // A batch larger than the whole queue gets through when it is alone.
        if waiting > 0 && waiting + bytes > self.shared.bytes_max {
            self.shared.bytes_waiting.fetch_sub(bytes, Ordering::AcqRel);
            return Box::pin(future::ready(Err(AppendError::Busy)));
        }
        let (done, resolved) = oneshot::channel();
        let batch = Arc::new(Batch {
            partitions: records.clone().map(|record| record.partition).collect(),
            offsets: records.clone().map(|_| AtomicU64::new(0)).collect(),
            left: AtomicUsize::new(records.len()),
            failure: Mutex::new(None),
            maybe_appended: AtomicBool::new(false),
            done: Mutex::new(Some(done)),
        });
        self.enqueue(records, &batch);
        Box::pin(async move {
            resolved.await.unwrap_or_else(|_| Err(AppendError::Unavailable("the producer was closed".to_owned())))
        })
    }

    fn enqueue<'a>(&self, records: impl ExactSizeIterator<Item = Outgoing<'a>>, batch: &Arc<Batch>) {
        let mut client = self.shared.live_client();
        for (index, record) in records.enumerate() {
            let bytes = record.bytes();
            let ticket = Box::new(Ticket { batch: Arc::clone(batch), index, bytes });
            let mut message = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.shared.topic, ticket)
                .partition(kafka_partition(record.partition))
                .key(record.key);
            message.payload = record.value;
            let mut sent = client.send(message);
            if let Err((KafkaError::MessageProduction(RDKafkaErrorCode::Fatal), message)) = sent {
                client = self.shared.live_client();
                sent = client.send(message);
            }
            if let Err((error, message)) = sent {
                let failure = match error {
                    KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => AppendError::Busy,
                    error => AppendError::NotAppended(error.to_string()),
                };
                self.shared.bytes_waiting.fetch_sub(bytes, Ordering::AcqRel);
                message.delivery_opaque.settle(Err(failure));
            }
        }
    }
}

impl Shared {
    /// The client; a new one where the old one can do no more (idempotence was lost). What the old one had on its way fails.
    fn live_client(&self) -> Arc<Client> {
        let client = Arc::clone(&self.client.read());
        if client.client().fatal_error().is_none() {
            return client;
        }
        let mut current = self.client.write();
        if current.client().fatal_error().is_some() {
            match Client::connect(&self.config, &self.bytes_waiting) {
                Ok(new) => {
                    tracing::warn!("Kafka: the producer of {} was replaced after a fatal error", self.topic);
                    client::retire(std::mem::replace(&mut *current, new));
                }
                Err(error) => tracing::error!("Kafka: no new producer for {}: {error}", self.topic),
            }
        }
        Arc::clone(&current)
    }

    /// Asks whether each partition has a leader to send to.
    fn probe(&self) -> Result<(), String> {
        let client = self.live_client();
        let metadata = client
            .client()
            .fetch_metadata(Some(&self.topic), PROBE_WITHIN)
            .map_err(|error| client.context().explain("the brokers do not answer", &error).to_string())?;
        let topic = metadata.topics().first().ok_or("the brokers do not say where the topic is")?;
        if let Some(error) = topic.error() {
            return Err(format!("the topic {}: {}", self.topic, RDKafkaErrorCode::from(error)));
        }
        match topic.partitions().iter().find(|partition| partition.leader() < 0) {
            Some(partition) => Err(format!("partition {} of {} has no leader", partition.id(), self.topic)),
            None => Ok(()),
        }
    }
}

/// A client, and the thread that hears what becomes of its records.
struct Client {
    producer: Arc<BaseProducer<Context<Deliveries>>>,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Client {
    fn connect(config: &ClientConfig, bytes_waiting: &Arc<AtomicUsize>) -> Result<Arc<Self>, LogError> {
        let context = Context::new(Deliveries { bytes_waiting: Arc::clone(bytes_waiting) });
        let producer = config.create_with_context(context).map_err(client::refused)?;
        let mut client = Self { producer: Arc::new(producer), is_over: Arc::default(), listening: None };
        let (producer, is_over) = (Arc::clone(&client.producer), Arc::clone(&client.is_over));
        let listening = std::thread::Builder::new().name("kafka-producer".to_owned()).spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                producer.poll(LISTEN);
            }
        });
        client.listening = Some(listening.map_err(client::no_thread)?);
        Ok(Arc::new(client))
    }
}

impl Deref for Client {
    type Target = BaseProducer<Context<Deliveries>>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl Drop for Client {
    /// The thread first, so that nothing of librdkafka is left when the process ends.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(listening) = self.listening.take() {
            // One that panicked has ended too.
            let _ = listening.join();
        }
    }
}

/// Hears what became of each record.
struct Deliveries {
    bytes_waiting: Arc<AtomicUsize>,
}

impl Role for Deliveries {}

impl ProducerContext for Context<Deliveries> {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        self.role.bytes_waiting.fetch_sub(ticket.bytes, Ordering::AcqRel);
        ticket.settle(match result {
            // Negative where the broker had the record already and no longer knows where: durable, but of no known place.
            Ok(message) => Offset::try_from(message.offset())
                .map_err(|_| AppendError::Unavailable("the broker did not say where the record lies".to_owned())),
            Err((error, message)) if was_never_sent(message) => Err(AppendError::NotAppended(error.to_string())),
            Err((error, _)) => Err(AppendError::Unavailable(error.to_string())),
        });
    }
}

/// Whether librdkafka knows that the record is on no broker: it was never sent, or refused by who would have kept it.
fn was_never_sent(message: &BorrowedMessage<'_>) -> bool {
    #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to ask")]
    // SAFETY: the message is alive for as long as it is borrowed, and only looked at.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    matches!(status, rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED)
}

/// Goes with a record through librdkafka.
struct Ticket {
    batch: Arc<Batch>,
    index: usize,
    bytes: usize,
}

/// Records that were sent together.
struct Batch {
    partitions: Box<[Partition]>,
    offsets: Box<[AtomicU64]>,
    left: AtomicUsize,
    failure: Mutex<Option<AppendError>>,
    /// One of them is on the log, or may be.
    maybe_appended: AtomicBool,
    done: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl Ticket {
    fn settle(&self, outcome: Result<Offset, AppendError>) {
        let batch = &self.batch;
        if matches!(outcome, Ok(_) | Err(AppendError::Unavailable(_))) {
            batch.maybe_appended.store(true, Ordering::Release);
        }
        match outcome {
            Ok(offset) => batch.offsets[self.index].store(offset, Ordering::Release),
            Err(failure) => {
                batch.failure.lock().get_or_insert(failure);
            }
        }
        if batch.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let outcome = match batch.failure.lock().take() {
            // Of a batch a part may be there.
            Some(AppendError::Busy) if batch.maybe_appended.load(Ordering::Acquire) => {
                Err(AppendError::Unavailable(AppendError::Busy.to_string()))
            }
            Some(AppendError::NotAppended(reason)) if batch.maybe_appended.load(Ordering::Acquire) => {
                Err(AppendError::Unavailable(reason))
            }
            Some(failure) => Err(failure),
            None => Ok(batch
                .partitions
                .iter()
                .zip(&batch.offsets)
                .map(|(&partition, offset)| Position { partition, offset: offset.load(Ordering::Acquire) })
                .collect()),
        };
        if let Some(done) = batch.done.lock().take() {
            // Where the caller has gone nobody is told.
            let _ = done.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::bindings::{rd_kafka_resp_err_t, rd_kafka_test_fatal_error};
    use track_harness::broker::Broker;
    use track_proto::topics::{DEAD_LETTER, OWNERS};

    fn producer(topic: &str, properties: &[(&str, &str)]) -> Producer {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config { brokers: Broker::shared().bootstrap(), properties, partitions: 1, replication: 1 };
        super::super::ensure_topics(&config).unwrap();
        Producer::open(&config, topic).unwrap()
    }

    fn send(producer: &Producer, values: &[&[u8]]) -> Outcome {
        let records = values.iter().map(|value| Outgoing { partition: 0, key: b"k", value: Some(value) });
        futures::executor::block_on(producer.send(records))
    }

    #[test]
    fn a_producer_that_failed_for_good_is_replaced() {
        let producer = producer(OWNERS, &[]);
        send(&producer, &[b"before"]).unwrap();
        let failed = producer.shared.live_client();
        #[allow(unsafe_code, reason = "librdkafka's own way to bring about a fatal error in a test")]
        // SAFETY: the client is alive, and the reason is a C string that is copied.
        unsafe {
            let error = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
            rd_kafka_test_fatal_error(failed.client().native_ptr(), error, c"test".as_ptr());
        }
        track_harness::poll::eventually(Duration::from_secs(10), "an append by a new producer", || {
            Ok(send(&producer, &[b"after"])?)
        })
        .unwrap();
        assert!(!Arc::ptr_eq(&failed, &producer.shared.live_client()));
    }

    #[test]
    fn a_full_queue_takes_nothing_of_a_batch() {
        // Nothing leaves the queue before a second has passed.
        let producer = producer(DEAD_LETTER, &[("queue.buffering.max.kbytes", "4"), ("linger.ms", "1000")]);
        let (first, second) = (vec![0; 3_000], vec![1; 2_000]);
        let first =
            producer.send([&first].into_iter().map(|value| Outgoing { partition: 0, key: b"k", value: Some(value) }));
        assert_eq!(send(&producer, &[&second, b"small"]), Err(AppendError::Busy));
        let at = futures::executor::block_on(first).unwrap()[0].offset;
        assert_eq!(send(&producer, &[b"small"]).unwrap()[0].offset, at + 1);
    }
}
