//! A disk that takes no more: appends fail, nothing acknowledged is lost, and they go on when there is room.
//!
//! A limit on the size of files stands for the full disk: the write fails part way, as with a full one, and it
//! needs no privileges. It holds for a process, so the test runs in one of its own.

use crate::conformance::{read_from, record};
use crate::{Time, open_one};
use futures::executor::block_on;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use track_log::embedded::EmbeddedLog;
use track_log::{Append, AppendError, ReadLog};

/// Where the process with the limit finds its folder.
const DIR: &str = "TRACK_LOG_TEST_FULL_DIR";

fn set_file_bytes_max(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

/// Tries until an append is taken.
fn append_when_possible(log: &EmbeddedLog, value: &str) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match block_on(log.append(vec![record("key", value.to_owned())])) {
            Ok(positions) => return positions[0].offset,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// The process with the limit, where the environment says so.
#[test]
fn the_process_whose_disk_is_full() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let dir = Path::new(&dir);
    let mut told: Vec<(u64, String)> = Vec::new();
    let mut number = 0;
    let mut next = || {
        number += 1;
        format!("{number:05} {}", "v".repeat(number % 700))
    };
    let log = open_one(dir, 64 << 20, &Time::at(1));
    let mut reader = log.reader(0, 0).unwrap();

    for room in [100_000, 1_500_000, 1_600_001, 4_000_000] {
        set_file_bytes_max(Some(room));
        // Several at once, so that groups of several appends fail.
        let mut failed = 0;
        while failed == 0 {
            let values: Vec<String> = (0..20).map(|_| next()).collect();
            let under_way: Vec<_> = values.iter().map(|value| log.append(vec![record("key", value.clone())])).collect();
            for (append, value) in under_way.into_iter().zip(values) {
                match block_on(append) {
                    Ok(positions) => told.push((positions[0].offset, value)),
                    Err(AppendError::Unavailable(message)) => {
                        assert!(message.contains("00000000000000000000.log"), "{message}");
                        failed += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let not_ready = log.check_ready().unwrap_err();
        assert!(not_ready.starts_with("partition 0: "), "{not_ready}");
        assert_eq!(log.bounds(0).unwrap().end, told.len() as u64, "what failed is not shown to readers");

        set_file_bytes_max(None);
        let value = next();
        told.push((append_when_possible(&log, &value), value));
        assert_eq!(log.check_ready(), Ok(()));
    }

    // Neither a gap nor a second record at an offset: not for a reader that was there all the time, not for a new one,
    // and not after a reopen.
    let assert_told = |records: Vec<track_log::Record>| {
        assert_eq!(records.len(), told.len());
        for (i, (record, (offset, value))) in records.iter().zip(&told).enumerate() {
            assert_eq!((record.offset, *offset), (i as u64, i as u64));
            assert_eq!(record.value, *value);
        }
    };
    assert_told(crate::conformance::read(reader.as_mut(), told.len()));
    assert_told(read_from(log.as_ref(), 0, 0, told.len()));
    drop(log);
    let log = open_one(dir, 64 << 20, &Time::at(1));
    assert_eq!(log.bounds(0).unwrap().end, told.len() as u64);
    assert_told(read_from(log.as_ref(), 0, 0, told.len()));
    println!("the disk was full");
}

#[test]
fn a_full_disk_fails_appends_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // The signal that comes with the limit would end the process; ignored, the write fails instead.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["failing_disk::the_process_whose_disk_is_full", "--exact", "--nocapture"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("the disk was full"), "{said}");
}
