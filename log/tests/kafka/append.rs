//! Appending: where records go, what they look like afterwards, and what a broker's death does to them.

use crate::support::{PATIENCE, append, config, numbered, read, record, topic};
use anyhow::ensure;
use bytes::Bytes;
use futures::executor::block_on;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_harness::broker::Broker;
use track_harness::poll::eventually;
use track_log::kafka::{KafkaAppender, KafkaLog};
use track_log::{Append as _, AppendError, LogError, ReadLog as _};
use track_proto::partitioner::partition_for;

/// Hears where librdkafka put each key.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<HashMap<Vec<u8>, i32>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let message = result.as_ref().unwrap();
        self.0.lock().insert(message.key().unwrap().to_vec(), message.partition());
    }
}

#[test]
fn librdkafka_and_we_choose_the_same_partition() {
    let broker = Broker::shared();
    let topic = topic(broker, 7, &[]);
    let deliveries = Deliveries::default();
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("partitioner", "murmur2_random")
        .create_with_context(deliveries.clone())
        .unwrap();
    let keys: Vec<_> = (0..2_000).map(|number| format!("user-{number}-é").repeat(number % 5 + 1)).collect();
    for key in &keys {
        producer.send(BaseRecord::to(&topic).key(key.as_str()).payload("x")).unwrap();
    }
    producer.flush(PATIENCE).unwrap();

    let chosen = deliveries.0.lock();
    assert_eq!(chosen.len(), keys.len());
    for (key, partition) in chosen.iter() {
        assert_eq!(u32::try_from(*partition).unwrap(), partition_for(key, 7));
    }
}

#[test]
fn records_come_back_from_where_they_were_said_to_be() {
    let broker = Broker::shared();
    for codec in ["lz4", "zstd", "gzip", "snappy", "none"] {
        let topic = topic(broker, 3, &[]);
        let config = config(broker, &[("compression.type", codec)]);
        let appender = KafkaAppender::open(&config, &topic).unwrap();
        assert_eq!(appender.partition_count(), 3);
        appender.check_ready().unwrap();
        let records = numbered(0..500);
        let positions = append(&appender, records.clone()).unwrap();

        let log = KafkaLog::open_topic(&config, &topic).unwrap();
        for partition in 0..3 {
            let bounds = log.bounds(partition).unwrap();
            let mut reader = log.reader(partition, 0).unwrap();
            let stored = read(reader.as_mut(), usize::try_from(bounds.end).unwrap());
            let mine = positions.iter().zip(&records).filter(|(position, _)| position.partition == partition);
            let expected: Vec<_> = mine.map(|(position, record)| (position.offset, record.clone())).collect();
            assert_eq!(stored.len(), expected.len(), "{codec}");
            for (stored, (offset, record)) in stored.iter().zip(expected) {
                assert_eq!(partition_for(&record.key, 3), partition);
                assert_eq!((stored.offset, &stored.value), (offset, &record.value), "{codec}");
                assert_eq!(stored.key.as_ref(), Some(&record.key));
                assert!(stored.append_time_ms > 1_700_000_000_000);
            }
        }
    }
}

#[test]
fn what_others_write_comes_through_as_it_is() {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    producer.send(BaseRecord::<str, str>::to(&topic).payload("no key")).unwrap();
    producer.send(BaseRecord::<str, str>::to(&topic).key("tombstone")).unwrap();
    producer.send(BaseRecord::<str, str>::to(&topic).key("").payload("")).unwrap();
    producer.send(BaseRecord::<str, [u8]>::to(&topic).key("bytes").payload(&[0, 255, 10])).unwrap();
    producer.flush(PATIENCE).unwrap();

    let log = KafkaLog::open_topic(&config(broker, &[]), &topic).unwrap();
    let records = read(log.reader(0, 0).unwrap().as_mut(), 4);
    let seen: Vec<_> = records.iter().map(|record| (record.key.as_deref(), record.value.as_ref())).collect();
    let expected: [(Option<&[u8]>, &[u8]); 4] =
        [(None, b"no key"), (Some(b"tombstone"), b""), (Some(b""), b""), (Some(b"bytes"), &[0, 255, 10])];
    assert_eq!(seen, expected);
}

#[test]
fn a_topic_that_is_missing_is_said_and_not_made() {
    let config = config(Broker::shared(), &[]);
    let error = KafkaAppender::open(&config, "nowhere").err().unwrap();
    // A broker may not have heard of it yet: whoever starts asks again.
    assert!(matches!(&error, LogError::Kafka(message) if message.contains("nowhere")), "{error}");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_broker_dies() {
    let mut broker = Broker::start().unwrap();
    let topic = topic(&broker, 2, &[]);
    let config = config(&broker, &[("message.timeout.ms", "3000")]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    let mut acknowledged = append(&appender, numbered(0..100)).unwrap();

    broker.kill9().unwrap();
    let asked = Instant::now();
    let error = append(&appender, numbered(100..200)).unwrap_err();
    assert_ne!(error, AppendError::Busy);
    // Whether it had left before the connection broke is for the producer to say.
    let is_surely_lost = matches!(error, AppendError::NotAppended(_));
    assert!(asked.elapsed() < PATIENCE, "it must not wait for ever");
    // By now nothing leaves any more.
    let error = append(&appender, numbered(300..400)).unwrap_err();
    assert!(matches!(error, AppendError::NotAppended(_)), "{error:?}");
    eventually(PATIENCE, "not ready", || {
        ensure!(appender.check_ready().is_err());
        Ok(())
    })
    .unwrap();

    broker.restart().unwrap();
    let after = eventually(PATIENCE, "an append", || Ok(append(&appender, numbered(200..300))?)).unwrap();
    acknowledged.extend(after);
    eventually(PATIENCE, "ready", || appender.check_ready().map_err(anyhow::Error::msg)).unwrap();

    let log = KafkaLog::open_topic(&config, &topic).unwrap();
    let mut values = HashMap::new();
    for partition in 0..2 {
        let end = log.bounds(partition).unwrap().end;
        for record in read(log.reader(partition, 0).unwrap().as_mut(), usize::try_from(end).unwrap()) {
            values.insert((partition, record.offset), record.value);
        }
    }
    let numbers = (0..100_u32).chain(200..300);
    for (position, number) in acknowledged.iter().zip(numbers) {
        let value = values.get(&(position.partition, position.offset));
        assert_eq!(value, Some(&Bytes::copy_from_slice(&number.to_be_bytes())));
    }
    let is_there = |number: u32| values.values().any(|value| *value == number.to_be_bytes()[..]);
    assert!(!(300..400).any(is_there), "it said that it was not appended");
    assert!(!is_surely_lost || !(100..200).any(is_there), "it said that it was not appended");
}

#[test]
fn a_broker_that_hangs_is_an_error_too() {
    let mut broker = Broker::start().unwrap();
    let topic = topic(&broker, 1, &[]);
    let config = config(&broker, &[("message.timeout.ms", "2000")]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    append(&appender, vec![record("k", "before")]).unwrap();
    broker.freeze().unwrap();
    let error = append(&appender, vec![record("k", "meanwhile")]).unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "it was sent: {error:?}");
    broker.unfreeze().unwrap();
    eventually(PATIENCE, "an append", || Ok(append(&appender, vec![record("k", "after")])?)).unwrap();
}

#[test]
fn appends_under_way_together_are_each_answered() {
    let broker = Broker::shared();
    let topic = topic(broker, 4, &[]);
    let appender = KafkaAppender::open(&config(broker, &[]), &topic).unwrap();
    let appends: Vec<_> = (0..500).map(|number| appender.append(numbered(number * 10..number * 10 + 10))).collect();
    let mut positions: Vec<_> = appends.into_iter().flat_map(|append| block_on(append).unwrap()).collect();
    assert_eq!(positions.len(), 5_000);
    positions.sort();
    positions.dedup();
    assert_eq!(positions.len(), 5_000, "no two records share a place");
    assert_eq!(block_on(appender.append(Vec::new())), Ok(Vec::new()));
}

#[test]
fn brokers_that_are_not_there_are_an_error_within_the_deadline() {
    let mut config = config(Broker::shared(), &[]);
    config.brokers = "127.0.0.1:1".to_owned();
    let asked = Instant::now();
    let error = KafkaAppender::open(&config, "any").err().unwrap();
    assert!(matches!(error, LogError::Kafka(_)), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(60));
}
