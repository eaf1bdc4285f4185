//! Topics as any other program sees them: records as they are, whatever they hold.

use crate::site::SEEN_WITHIN;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use track_harness::broker::Broker;

const ASKED_WITHIN: Duration = Duration::from_secs(10);

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    config
}

/// A record that another program writes, where and when it likes.
#[derive(Debug, Clone)]
pub struct Written {
    pub partition: u32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// What the program says about when that was.
    pub timestamp_ms: Option<i64>,
}

/// Writes records as another producer would, and waits until the broker has them.
pub fn write(broker: &Broker, topic: &str, records: &[Written]) {
    // As large as it takes: what counts for the broker is the length after compression.
    let producer: BaseProducer =
        client(broker).set("message.max.bytes", "1000000000").set("compression.codec", "zstd").create().unwrap();
    for written in records {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(written.partition as i32);
        record.key = written.key.as_deref();
        record.payload = written.value.as_deref();
        record.timestamp = written.timestamp_ms;
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(ASKED_WITHIN).unwrap();
}

/// How many records a topic has had.
pub fn end(broker: &Broker, topic: &str) -> u64 {
    let consumer: BaseConsumer = client(broker).create().unwrap();
    bounds(&consumer, topic).into_iter().map(|(_, _, end)| end as u64).sum()
}

/// Everything on a topic, as far as it goes now.
pub fn records(broker: &Broker, topic: &str) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = client(broker).set("group.id", "reader").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    let mut ends = 0;
    for (partition, start, end) in bounds(&consumer, topic) {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        ends += usize::try_from(end - start).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut records = Vec::new();
    let deadline = Instant::now() + SEEN_WITHIN;
    while records.len() < ends {
        assert!(Instant::now() < deadline, "{} of {ends} records of {topic}", records.len());
        if let Some(record) = consumer.poll(Duration::from_millis(100)) {
            records.push(record.unwrap().detach());
        }
    }
    records
}

/// Each partition, its first offset and the one after its last.
fn bounds(consumer: &BaseConsumer, topic: &str) -> Vec<(i32, i64, i64)> {
    let metadata = consumer.fetch_metadata(Some(topic), ASKED_WITHIN).unwrap();
    let partitions = metadata.topics()[0].partitions().iter();
    partitions
        .map(|partition| {
            let (start, end) = consumer.fetch_watermarks(topic, partition.id(), ASKED_WITHIN).unwrap();
            (partition.id(), start, end)
        })
        .collect()
}
