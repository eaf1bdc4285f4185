//! Reads an embedded log and decodes its events, and does nothing with them: what a fold of it can't be faster than.
//!
//! `log-drain --log FOLDER --partitions N` prints one line of JSON. One thread a processor shares the partitions.

use anyhow::Context as _;
use clap::Parser;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use track_bench::Stopwatch;
use track_log::ReadLog as _;
use track_log::embedded::{Config, EmbeddedLog};
use track_proto::event;

const RECORDS_MAX: usize = 10_000;

#[derive(Debug, Parser)]
struct Flags {
    /// The folder of the log.
    #[arg(long)]
    log: PathBuf,
    /// How many partitions it has.
    #[arg(long)]
    partitions: u32,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    // Nothing is appended, so nothing asks what time it is; at the beginning of time nothing is too old to be kept.
    let log = EmbeddedLog::open(Config::new(flags.log, flags.partitions), Arc::new(|| 0))?;
    let threads = std::thread::available_parallelism()?.get();
    let stopwatch = Stopwatch::start();
    let drained: anyhow::Result<u64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let log = &log;
                let own = (0..flags.partitions).skip(thread).step_by(threads);
                scope.spawn(move || own.map(|partition| drain(log, partition)).sum::<anyhow::Result<u64>>())
            })
            .collect();
        running.into_iter().map(|thread| thread.join().ok().context("a thread panicked")?).sum()
    });
    println!("{}", stopwatch.report(drained?));
    Ok(())
}

fn drain(log: &EmbeddedLog, partition: u32) -> anyhow::Result<u64> {
    let bounds = log.bounds(partition)?;
    let mut reader = log.reader(partition, bounds.start)?;
    let (mut records, mut decoded, mut next) = (Vec::new(), 0, bounds.start);
    while next < bounds.end {
        records.clear();
        reader.read(&mut records, RECORDS_MAX, Duration::from_secs(1))?;
        for record in &records {
            event::decode(record.key.as_deref(), &record.value)?;
            decoded += 1;
        }
        next = records.last().map_or(next, |last| last.offset + 1);
    }
    Ok(decoded)
}
