//! A process killed in the middle of appending: whatever it was told is durable is there.

use crate::Time;
use crate::conformance::{append, read_from, record};
use futures::executor::block_on;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{Append, ReadLog};

/// Where the killed process finds its folder.
const DIR: &str = "TRACK_LOG_TEST_KILLED_DIR";
const PARTITIONS: u32 = 3;

fn open(dir: &Path) -> std::sync::Arc<EmbeddedLog> {
    let config = Config { segment_bytes_max: 64 << 10, ..Config::new(dir, PARTITIONS) };
    EmbeddedLog::open(config, Time::at(1).clock()).unwrap()
}

/// The process that is killed, where the environment says so: appends from several threads, alone and in batches,
/// and prints each position that it was told, with the value.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let log = open(Path::new(&dir));
    let round = std::process::id();
    std::thread::scope(|scope| {
        for thread in 0..6_usize {
            let log = &log;
            scope.spawn(move || {
                for n in 0.. {
                    let count = if thread % 2 == 0 { 1 } else { 40 };
                    let records: Vec<_> = (0..count)
                        .map(|i| record(format!("user-{}", n + i), format!("{round}-{thread}-{n}-{i}")))
                        .collect();
                    let Ok(positions) = block_on(log.append(records.clone())) else { continue };
                    let told: String = positions
                        .iter()
                        .zip(&records)
                        .map(|(p, r)| format!("told {} {} {}\n", p.partition, p.offset, r.value.escape_ascii()))
                        .collect();
                    std::io::stdout().write_all(told.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut told: HashMap<(u32, u64), String> = HashMap::new();
    for round in 0..5_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["killed::the_process_that_is_killed", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let enough = told.len() + 1_000 + round * 700;
        let mut killed = false;
        // What it printed before it died is in the pipe, to its last whole line.
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let [.., "told", partition, offset, value] = line.split(' ').collect::<Vec<_>>()[..]
                && value.split('-').count() == 4
            {
                let position = (partition.parse().unwrap(), offset.parse().unwrap());
                assert_eq!(told.insert(position, value.to_owned()), None, "{position:?} was given twice");
            }
            if told.len() >= enough && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the process ended by itself");

        let log = open(dir.path());
        let mut there = HashMap::new();
        for partition in 0..PARTITIONS {
            let count = usize::try_from(log.bounds(partition).unwrap().end).unwrap();
            for (offset, got) in (0..).zip(read_from(log.as_ref(), partition, 0, count)) {
                assert_eq!(got.offset, offset);
                there.insert((partition, offset), got.value.escape_ascii().to_string());
            }
        }
        for (position, value) in &told {
            let got = there.get(position);
            // The last line of a killed process may have been cut short.
            assert!(
                got.is_some_and(|got| got.starts_with(value.as_str())),
                "{position:?}: {value} was told, {got:?} is there"
            );
        }
        append(log.as_ref(), &[record("between", "0-0-0-0")]);
    }
}
