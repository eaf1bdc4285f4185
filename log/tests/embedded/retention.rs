//! Segments begin when the last is full, and go when all in them is older than the retention, or forgotten.

use crate::conformance::{append, read, read_from, record};
use crate::{Time, open_one, segments};
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{LogError, ReadLog};

const RETENTION_MS: i64 = 1_000;

fn open(dir: &std::path::Path, time: &Time) -> Arc<EmbeddedLog> {
    let config = Config { segment_bytes_max: 2_000, retention_ms: RETENTION_MS, ..Config::new(dir, 1) };
    EmbeddedLog::open(config, time.clock()).unwrap()
}

/// Appends records of 100 bytes, of which 19 fill a segment.
fn append_hundred_bytes(log: &EmbeddedLog, count: usize) {
    for _ in 0..count {
        append(log, &[record("key", "v".repeat(65))]);
    }
}

/// Waits until the partition begins with `start`.
fn wait_for_start(log: &EmbeddedLog, start: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while log.bounds(0).unwrap().start != start {
        assert!(Instant::now() < deadline, "the log begins with {}", log.bounds(0).unwrap().start);
        std::thread::yield_now();
    }
}

fn bases(dir: &std::path::Path) -> Vec<u64> {
    segments(dir).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_full_segment_is_followed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_one(dir.path(), 2_000, &Time::at(1));
    append_hundred_bytes(&log, 60);
    assert_eq!(bases(dir.path()), [0, 19, 38, 57]);
    for sealed in &segments(dir.path())[..3] {
        assert_eq!(sealed.metadata().unwrap().len(), 40 + 19 * 100, "no zeros are left behind the last record");
    }
    // A write larger than a segment stands alone.
    let large: Vec<_> = (0..50).map(|_| record("key", "v".repeat(65))).collect();
    append(log.as_ref(), &large);
    append_hundred_bytes(&log, 1);
    assert_eq!(bases(dir.path()), [0, 19, 38, 57, 60, 110]);
    assert!(read_from(log.as_ref(), 0, 0, 111).iter().map(|r| r.offset).eq(0..111));
    drop(log);
    let log = open_one(dir.path(), 2_000, &Time::at(1));
    for from in [0, 1, 18, 19, 20, 59, 61, 110] {
        assert!(
            read_from(log.as_ref(), 0, from, 111 - usize::try_from(from).unwrap())
                .iter()
                .map(|r| r.offset)
                .eq(from..111)
        );
    }
}

#[test]
fn only_whole_expired_segments_go_and_never_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let time = Time::at(10_000);
    let log = open(dir.path(), &time);
    append_hundred_bytes(&log, 18);
    time.set(10_500);
    // The newest of the first segment, then the second.
    append_hundred_bytes(&log, 1 + 19 + 5);
    assert_eq!(bases(dir.path()), [0, 19, 38]);
    let mut inside = log.reader(0, 3).unwrap();
    assert_eq!(read(inside.as_mut(), 2)[1].offset, 4);

    // Most of the first segment has expired, its newest record is just not older than the retention.
    time.set(10_500 + RETENTION_MS);
    append_hundred_bytes(&log, 19);
    assert_eq!(bases(dir.path()), [0, 19, 38, 57]);
    assert_eq!(log.bounds(0).unwrap().start, 0);

    // Without another append. The third segment's newest record is younger, the fourth is being written.
    time.set(10_501 + RETENTION_MS);
    wait_for_start(&log, 38);
    let mut records = Vec::new();
    for result in [log.reader(0, 37).map(|_| ()), inside.read(&mut records, 1, Duration::ZERO)] {
        match result {
            Err(LogError::OutOfRange { bounds, .. }) => assert_eq!(bounds.start, 38),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read_from(log.as_ref(), 0, 38, 1)[0].offset, 38);

    time.set(1_000_000);
    wait_for_start(&log, 57);
    append_hundred_bytes(&log, 1);
    assert_eq!(log.bounds(0).unwrap(), track_log::Bounds { start: 57, end: 63 });
    drop(log);
    assert_eq!(bases(dir.path()), [57]);
}

#[test]
fn a_log_opened_again_knows_what_has_expired() {
    let dir = tempfile::tempdir().unwrap();
    let time = Time::at(10_000);
    let log = open(dir.path(), &time);
    append_hundred_bytes(&log, 19);
    time.set(10_500);
    append_hundred_bytes(&log, 19 + 1);
    drop(log);
    time.set(10_001 + RETENTION_MS);
    let log = open(dir.path(), &time);
    wait_for_start(&log, 19);
    assert_eq!(log.bounds(0).unwrap().end, 39);
    assert!(read_from(log.as_ref(), 0, 19, 20).iter().all(|r| r.append_time_ms == 10_500));
}

#[test]
fn append_times_are_the_clocks_even_where_it_falls() {
    let dir = tempfile::tempdir().unwrap();
    let time = Time::at(10_000);
    let log = open(dir.path(), &time);
    append_hundred_bytes(&log, 1);
    time.set(9_000);
    append_hundred_bytes(&log, 1);
    drop(log);
    let log = open(dir.path(), &time);
    append_hundred_bytes(&log, 1);
    time.set(10_001);
    append_hundred_bytes(&log, 1);
    let times: Vec<i64> = read_from(log.as_ref(), 0, 0, 4).iter().map(|r| r.append_time_ms).collect();
    assert_eq!(times, [10_000, 9_000, 9_000, 10_001]);
}

#[test]
fn a_wild_append_time_neither_keeps_a_segment_nor_drops_one() {
    let dir = tempfile::tempdir().unwrap();
    let time = Time::at(10_000);
    let log = open(dir.path(), &time);
    // The first segment ends with a record from far ahead, the second with one from long ago.
    append_hundred_bytes(&log, 18);
    time.set(i64::MAX / 2);
    append_hundred_bytes(&log, 1);
    time.set(10_000);
    append_hundred_bytes(&log, 18);
    time.set(0);
    append_hundred_bytes(&log, 1);
    time.set(10_500);
    append_hundred_bytes(&log, 19);
    time.set(10_600);
    append_hundred_bytes(&log, 1);
    assert_eq!(bases(dir.path()), [0, 19, 38, 57]);
    drop(log);
    let log = open(dir.path(), &time);
    // By now what is as old as the second segment has expired, the first one with it, and nothing else.
    time.set(10_001 + RETENTION_MS);
    wait_for_start(&log, 38);
    drop(log);
    assert_eq!(bases(dir.path()), [38, 57]);
}

#[test]
fn what_is_forgotten_goes_by_whole_segments_and_all_of_it_with_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_one(dir.path(), 2_000, &Time::at(1));
    append_hundred_bytes(&log, 19 + 19 + 5);
    assert_eq!(log.bytes(), 3 * 40 + 43 * 100);
    log.forget(0, 37).unwrap();
    wait_for_start(&log, 19);
    // Less than before is nothing new.
    log.forget(0, 1).unwrap();
    let mut reader = log.reader(0, 37).unwrap();
    assert_eq!(read(reader.as_mut(), 1)[0].offset, 37);
    log.forget(0, 38).unwrap();
    wait_for_start(&log, 38);
    assert_eq!(read(reader.as_mut(), 5)[4].offset, 42);

    log.forget(0, 43).unwrap();
    wait_for_start(&log, 43);
    append_hundred_bytes(&log, 1);
    assert_eq!(read(reader.as_mut(), 1)[0].offset, 43);
    assert!(matches!(log.forget(1, 0), Err(LogError::Refused(_))));
    drop(log);
    assert_eq!(bases(dir.path()), [43]);
    // What is forgotten is not written down: the one who forgets knows.
    let log = open_one(dir.path(), 2_000, &Time::at(1));
    assert_eq!(log.bounds(0).unwrap(), track_log::Bounds { start: 43, end: 44 });
}
