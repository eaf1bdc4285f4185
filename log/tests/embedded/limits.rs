//! How much waits at once, and what closing does with it.

use crate::conformance::{append, read, record};
use crate::{Time, open_one};
use futures::executor::block_on;
use std::time::Duration;
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{Append, AppendError, LogError, NewRecord, ReadLog};

fn records(count: usize) -> Vec<NewRecord> {
    (0..count).map(|i| record(format!("user-{i}"), vec![b'v'; 1_000])).collect()
}

#[test]
fn a_full_queue_is_busy_and_empties_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { queue_bytes_max: 200_000, ..Config::new(dir.path(), 2) };
    let log = EmbeddedLog::open(config, Time::at(1).clock()).unwrap();
    // Far more than the disk takes in the time it takes to queue them.
    let under_way: Vec<_> = (0..2_000).map(|_| log.append(records(100))).collect();
    let mut acknowledged = 0;
    let mut busy = 0;
    for append in under_way {
        match block_on(append) {
            Ok(positions) => acknowledged += positions.len() as u64,
            Err(AppendError::Busy) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(busy > 0);
    let durable: u64 = (0..2).map(|partition| log.bounds(partition).unwrap().end).sum();
    assert_eq!(durable, acknowledged, "what was refused is not on the log");
    // More than the queue may hold is taken when nothing else waits.
    append(log.as_ref(), &records(1_000));
}

#[test]
fn a_record_beyond_measure_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_one(dir.path(), 1 << 20, &Time::at(1));
    let result = block_on(log.append(vec![record("k", vec![0; 64 << 20])]));
    assert!(matches!(&result, Err(AppendError::Unavailable(message)) if message.contains("longer")), "{result:?}");
    assert_eq!(log.bounds(0).unwrap().end, 0);
}

#[test]
fn closing_finishes_what_was_accepted_and_tells_readers() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_one(dir.path(), 1 << 20, &Time::at(1));
    let mut reader = log.reader(0, 0).unwrap();
    let under_way: Vec<_> = (0..50).map(|_| log.append(records(10))).collect();
    let waiting = std::thread::spawn(move || {
        let got = read(reader.as_mut(), 500);
        (got, reader.read(&mut Vec::new(), 1, Duration::from_secs(30)))
    });
    drop(log);
    for append in under_way {
        assert_eq!(block_on(append).unwrap().len(), 10);
    }
    let (got, end) = waiting.join().unwrap();
    assert!(got.iter().map(|r| r.offset).eq(0..500));
    assert!(matches!(end, Err(LogError::Closed)), "{end:?}");
}
