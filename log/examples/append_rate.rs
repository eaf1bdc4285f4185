//! How many appends a second the embedded log makes durable, and how many records a second it reads.
//!
//! `cargo run --release -p track-log --example append_rate [FOLDER] [SECONDS]`; without a folder in the current one.

#![allow(clippy::unwrap_used, reason = "a measurement ends where something is not as it should be")]

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use track_log::embedded::{Config, EmbeddedLog};
use track_log::{Append, AppendError, NewRecord, ReadLog};

const PARTITIONS: u32 = 4;
const VALUE_BYTES: usize = 200;

fn main() {
    let mut args = std::env::args().skip(1);
    let parent = args.next().unwrap_or_else(|| ".".to_owned());
    let time = Duration::from_secs(args.next().map_or(5, |seconds| seconds.parse().unwrap()));
    let dir = tempfile::tempdir_in(parent).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();

    println!("{PARTITIONS} partitions, values of {VALUE_BYTES} bytes, {} s each", time.as_secs());
    for (tasks, batch) in [(1, 1), (64, 1), (256, 1), (4, 100), (4, 1_000), (8, 1_000), (4, 10_000)] {
        let dir = dir.path().join(format!("{tasks}-{batch}"));
        let log = open(&dir);
        let records = runtime.block_on(appended(&log, tasks, batch, time));
        let rate = records / time.as_secs_f64();
        println!(
            "{tasks:>4} tasks, batches of {batch:>6}: {rate:>10.0} records/s, {:>8.0} appends/s",
            rate / batch as f64
        );
        if batch == 1_000 && tasks == 4 {
            println!("     read again by one thread a partition: {:>10.0} records/s", read_again(&log));
        }
        drop(log);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

fn open(dir: &Path) -> Arc<EmbeddedLog> {
    let now = || i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    EmbeddedLog::open(Config::new(dir, PARTITIONS), Arc::new(now)).unwrap()
}

/// Each task appends a batch, waits until it is durable, and appends the next.
async fn appended(log: &Arc<EmbeddedLog>, tasks: usize, batch: usize, time: Duration) -> f64 {
    let records = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + time;
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let (log, records) = (Arc::clone(log), Arc::clone(&records));
            tokio::spawn(async move {
                let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
                let keys: Vec<Bytes> = (0..10_000).map(|n| Bytes::from(format!("user-{task}-{n}"))).collect();
                let mut keys = keys.iter().cycle();
                while Instant::now() < end {
                    let new = keys.by_ref().take(batch).map(|key| NewRecord { key: key.clone(), value: value.clone() });
                    match log.append(new.collect()).await {
                        Ok(positions) => records.fetch_add(positions.len() as u64, Ordering::Relaxed),
                        Err(AppendError::Busy) => 0,
                        Err(error) => return eprintln!("{error}"),
                    };
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    #[allow(clippy::cast_precision_loss, reason = "a rate")]
    let records = records.load(Ordering::Relaxed) as f64;
    records
}

#[allow(clippy::cast_precision_loss, reason = "a rate")]
fn read_again(log: &Arc<EmbeddedLog>) -> f64 {
    let begin = Instant::now();
    let total: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                scope.spawn(move || {
                    let mut reader = log.reader(partition, 0).unwrap();
                    let (mut records, mut count) = (Vec::new(), 0);
                    while count < reader.log_end() {
                        records.clear();
                        reader.read(&mut records, 10_000, Duration::from_secs(1)).unwrap();
                        count += records.len() as u64;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    total as f64 / begin.elapsed().as_secs_f64()
}
