//! Reading one partition: resuming, its bounds, its end.

use crate::support::{PATIENCE, admin, append, config, numbered, read, record, topic};
use anyhow::ensure;
use futures::executor::block_on;
use rdkafka::admin::AdminOptions;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use track_harness::broker::Broker;
use track_harness::poll::eventually;
use track_log::kafka::{Config, KafkaAppender, KafkaLog};
use track_log::{Bounds, LogError, PartitionReader, ReadLog as _};

fn filled(records: u32) -> (Config, String, KafkaLog, KafkaAppender) {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let config = config(broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    append(&appender, numbered(0..records)).unwrap();
    let log = KafkaLog::open_topic(&config, &topic).unwrap();
    (config, topic, log, appender)
}

fn delete_before(topic: &str, offset: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    block_on(admin(Broker::shared()).delete_records(&offsets, &AdminOptions::new())).unwrap();
}

#[test]
fn reading_resumes_at_an_offset_and_waits_for_more() {
    let (_, _, log, appender) = filled(50);
    assert_eq!(log.bounds(0).unwrap(), Bounds { start: 0, end: 50 });
    let mut reader = log.reader(0, 20).unwrap();
    assert_eq!(reader.log_end(), 50);
    let records = read(reader.as_mut(), 30);
    assert_eq!(records[0].offset, 20);
    assert_eq!(records[29].offset, 49);

    let mut none = Vec::new();
    reader.read(&mut none, 10, Duration::from_millis(50)).unwrap();
    assert!(none.is_empty());
    append(&appender, numbered(50..55)).unwrap();
    assert_eq!(read(reader.as_mut(), 5)[4].offset, 54);
    assert_eq!(reader.log_end(), 55);
}

#[test]
fn the_lag_of_a_reader_that_does_not_read_is_seen() {
    let (_, _, log, appender) = filled(10);
    let mut reader = log.reader(0, 0).unwrap();
    read(reader.as_mut(), 10);
    append(&appender, numbered(10..1_000)).unwrap();
    let mut few = Vec::new();
    eventually(PATIENCE, "the new end", || {
        few.clear();
        reader.read(&mut few, 1, Duration::from_millis(50))?;
        ensure!(reader.log_end() == 1_000, "{}", reader.log_end());
        Ok(())
    })
    .unwrap();
}

/// How old the end is of a partition without records. It is learnt while reading.
fn age(reader: &mut dyn PartitionReader) -> Duration {
    reader.read(&mut Vec::new(), 1, Duration::from_millis(50)).unwrap();
    reader.log_end_age().unwrap()
}

#[test]
fn the_end_gets_older_while_the_broker_is_silent() {
    let mut broker = Broker::start().unwrap();
    let (topic, config) = (topic(&broker, 1, &[]), config(&broker, &[]));
    let mut reader = KafkaLog::open_topic(&config, &topic).unwrap().reader(0, 0).unwrap();
    let (fresh, old) = (Duration::from_secs(3), Duration::from_secs(4));
    let is_fresh = |reader: &mut dyn PartitionReader| {
        eventually(PATIENCE, "the broker is heard", || {
            let age = age(reader);
            ensure!(age < fresh, "{age:?}");
            Ok(())
        })
    };
    // Older than that unless the broker is heard again and again.
    let opened = Instant::now();
    while opened.elapsed() < old {
        age(reader.as_mut());
    }
    is_fresh(reader.as_mut()).unwrap();
    broker.freeze().unwrap();
    eventually(PATIENCE, "the broker is silent", || {
        let age = age(reader.as_mut());
        ensure!(age > old, "{age:?}");
        Ok(())
    })
    .unwrap();
    broker.unfreeze().unwrap();
    is_fresh(reader.as_mut()).unwrap();
}

#[test]
fn what_is_outside_the_log_is_refused() {
    let (_, topic, log, _) = filled(50);
    let refused = |from| match log.reader(0, from).err() {
        Some(LogError::OutOfRange { partition: 0, wanted, bounds }) if wanted == from => bounds,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(51), Bounds { start: 0, end: 50 });
    assert!(log.reader(0, 50).is_ok(), "the end is where the next record will be");
    assert!(matches!(log.reader(1, 0).err(), Some(LogError::Refused(_))), "there is no partition 1");
    delete_before(&topic, 20);
    assert_eq!(refused(19), Bounds { start: 20, end: 50 });
    assert_eq!(read(log.reader(0, 20).unwrap().as_mut(), 30)[0].offset, 20);
}

#[test]
fn records_that_vanish_under_a_reader_are_not_skipped() {
    let (mut config, topic, _, appender) = filled(0);
    // So small a queue that the reader has not fetched what is about to vanish.
    config.properties.push(("queued.max.messages.kbytes".to_owned(), "64".to_owned()));
    config.properties.push(("fetch.message.max.bytes".to_owned(), "1000".to_owned()));
    for _ in 0..40 {
        append(&appender, vec![record("k", vec![0; 50_000])]).unwrap();
    }
    let log = KafkaLog::open_topic(&config, &topic).unwrap();
    let mut reader = log.reader(0, 0).unwrap();
    read(reader.as_mut(), 1);
    delete_before(&topic, 39);
    let mut records = Vec::new();
    let error = eventually(PATIENCE, "an error", || match reader.read(&mut records, 1, Duration::from_millis(100)) {
        Err(error) => Ok(error),
        Ok(()) => anyhow::bail!("still reading"),
    })
    .unwrap();
    assert!(records.iter().zip(1..).all(|(record, offset)| record.offset == offset), "nothing was skipped before");
    let LogError::OutOfRange { wanted, bounds, .. } = error else { panic!("{error}") };
    assert_eq!(wanted, u64::try_from(records.len()).unwrap() + 1);
    assert_eq!(bounds, Bounds { start: 39, end: 40 });
}

#[test]
fn a_transactions_mark_is_no_lag_and_an_aborted_record_is_not_read() {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("transactional.id", &topic)
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    for value in ["committed", "aborted"] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::<str, str>::to(&topic).key("k").payload(value)).unwrap();
        producer.flush(PATIENCE).unwrap();
        match value {
            "committed" => producer.commit_transaction(PATIENCE).unwrap(),
            _ => producer.abort_transaction(PATIENCE).unwrap(),
        }
    }
    let log = KafkaLog::open_topic(&config(broker, &[]), &topic).unwrap();
    assert_eq!(log.bounds(0).unwrap().end, 4, "two records and two marks");
    for from in [0, 1] {
        let mut reader = log.reader(0, from).unwrap();
        let mut records = Vec::new();
        eventually(PATIENCE, "the end", || {
            reader.read(&mut records, 10, Duration::from_millis(50))?;
            ensure!(reader.log_end() == 1, "{}", reader.log_end());
            Ok(())
        })
        .unwrap();
        let values: Vec<_> = records.iter().map(|record| record.value.as_ref()).collect();
        assert_eq!(values, if from == 0 { vec![b"committed".as_ref()] } else { vec![] });
    }
}
