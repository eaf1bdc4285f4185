//! What stands in the way of opening a log's folder.

use crate::conformance::{append, record};
use crate::{Time, open_one, segments};
use track_log::LogError;
use track_log::embedded::{Config, EmbeddedLog};
use track_proto::partitioner::partition_for;

fn refusal(config: Config) -> String {
    match EmbeddedLog::open(config, Time::at(1).clock()).map(|_| "a log") {
        Err(LogError::Refused(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_open_is_refused_until_the_first_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let first = open_one(dir.path(), 1 << 20, &Time::at(1));
    assert!(refusal(Config::new(dir.path(), 1)).contains("in use by another process"));
    drop(first);
    open_one(dir.path(), 1 << 20, &Time::at(1));
}

#[test]
fn another_partition_count_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_one(dir.path(), 1 << 20, &Time::at(1)));
    let message = refusal(Config::new(dir.path(), 4));
    assert!(message.contains("made with 1 partitions and can't have 4"), "{message}");
    assert!(message.contains("start with 1 partitions"), "{message}");
}

#[test]
fn no_partitions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(refusal(Config::new(dir.path(), 0)), "a log has at least one partition");
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_one(dir.path(), 1 << 20, &Time::at(1)));
    let segment = &segments(dir.path())[0];
    let mut bytes = std::fs::read(segment).unwrap();
    bytes[8] = 2;
    std::fs::write(segment, bytes).unwrap();
    assert!(refusal(Config::new(dir.path(), 1)).contains("format version 2"));

    std::fs::write(dir.path().join("log.meta"), "track embedded log\nversion 2\npartitions 1\n").unwrap();
    assert!(refusal(Config::new(dir.path(), 1)).contains("format version 2"));
}

#[test]
fn what_is_missing_is_damage_and_not_an_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_one(dir.path(), 1 << 20, &Time::at(1));
    append(log.as_ref(), &[record("k", "v")]);
    drop(log);
    let open = || EmbeddedLog::open(Config::new(dir.path(), 1), Time::at(1).clock()).map(|_| "a log");

    let meta = std::fs::read(dir.path().join("log.meta")).unwrap();
    std::fs::remove_file(dir.path().join("log.meta")).unwrap();
    assert!(matches!(open(), Err(LogError::Corrupt(_))));

    std::fs::write(dir.path().join("log.meta"), meta).unwrap();
    std::fs::remove_file(&segments(dir.path())[0]).unwrap();
    assert!(matches!(open(), Err(LogError::Corrupt(_))));
    std::fs::remove_dir(dir.path().join("partition-0000")).unwrap();
    assert!(open().is_err());
}

#[test]
fn records_of_more_partitions_than_are_asked_for_are_seen_without_the_meta() {
    let dir = tempfile::tempdir().unwrap();
    let open = |partitions| EmbeddedLog::open(Config::new(dir.path(), partitions), Time::at(1).clock());
    drop(open(3).unwrap());
    let meta = dir.path().join("log.meta");
    std::fs::remove_file(&meta).unwrap();
    // Nothing was in it: made anew, with fewer.
    drop(open(1).unwrap());
    std::fs::remove_file(&meta).unwrap();

    let log = open(3).unwrap();
    let key = (0..).map(|n| n.to_string()).find(|key| partition_for(key.as_bytes(), 3) == 2).unwrap();
    append(log.as_ref(), &[record(key, "v")]);
    drop(log);
    std::fs::remove_file(&meta).unwrap();
    assert!(matches!(open(1).map(|_| "a log"), Err(LogError::Corrupt(_))));
}

#[test]
fn what_a_crash_left_half_made_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_one(dir.path(), 1 << 20, &Time::at(1)));
    let half = dir.path().join("partition-0000/segment.tmp");
    std::fs::write(&half, "TRACK").unwrap();
    open_one(dir.path(), 1 << 20, &Time::at(1));
    assert!(!half.exists());
}
