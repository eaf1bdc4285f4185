//! When single records were appended.

use crate::support::{PATIENCE, append, config, numbered, read, topic};
use std::collections::BTreeMap;
use track_harness::broker::Broker;
use track_log::ReadLog as _;
use track_log::kafka::{KafkaAppender, KafkaLog, KafkaTimes};

#[test]
fn the_time_of_a_record_is_found_in_each_partition() {
    let broker = Broker::shared();
    let topic = topic(broker, 3, &[]);
    let config = config(broker, &[]);
    let appender = KafkaAppender::open(&config, &topic).unwrap();
    append(&appender, numbered(0..60)).unwrap();
    append(&appender, numbered(60..120)).unwrap();
    let log = KafkaLog::open_topic(&config, &topic).unwrap();
    let ends: Vec<_> = (0..3).map(|partition| log.bounds(partition).unwrap().end).collect();
    let last = read(log.reader(0, ends[0] - 1).unwrap().as_mut(), 1)[0].append_time_ms;
    let first = read(log.reader(1, 0).unwrap().as_mut(), 1)[0].append_time_ms;

    let times = KafkaTimes::open(&config, &topic).unwrap();
    let wanted = BTreeMap::from([(0, ends[0] - 1), (1, 0), (2, ends[2])]);
    let expected = BTreeMap::from([(0, Some(last)), (1, Some(first)), (2, None)]);
    // Again, since what was asked before must not be answered.
    for _ in 0..2 {
        assert_eq!(times.append_times(&wanted, PATIENCE).unwrap(), expected);
        let other = BTreeMap::from([(0, ends[0])]);
        assert_eq!(times.append_times(&other, PATIENCE).unwrap(), BTreeMap::from([(0, None)]));
    }
}
