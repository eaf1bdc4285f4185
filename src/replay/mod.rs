//! `track replay-dead-letters`: what was put aside and is an event after all goes back to the log of events.
//!
//! A record was put aside because its producer was newer than the processors, because their rules were narrower, or
//! because only its key was wrong. [`judge`] says what becomes of each letter; here the letters are read, on Kafka or in
//! the folder of a stopped standalone track, and the records appended.
//!
//! Letters are never taken away, and a letter may be about a record that was put back before. So each record goes back
//! with an event_id of its producer's or one made of where it lay, and counts once within the 30 days that such an id is
//! remembered. Letters live as long (the topic's retention), and older ones are not put back.

mod judge;

use crate::flags::ReplayFlags;
use crate::process::Process;
use crate::standalone;
use anyhow::{Context as _, bail, ensure};
use futures::executor::block_on;
use judge::{Judged, judge};
use std::fs::File;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use track_log::embedded::EmbeddedLog;
use track_log::kafka::{Config, KafkaAppender, KafkaLog};
use track_log::{Append, Offset, Partition, ReadLog, Record};
use track_proto::clock::Clock;
use track_proto::topics::{DEAD_LETTER, EVENTS};

/// Letters that are judged, put back and told of together. Each may be longer than a megabyte.
const LETTERS_AT_ONCE: usize = 100;
/// How long a read waits; also how soon a stop is noticed.
const READ_WAIT: Duration = Duration::from_millis(100);
/// How long the log may be silent before its end.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Puts back what can be, and says on stdout what became of each letter.
///
/// # Errors
/// Where the logs can't be had, read or written. What was put back until then counts, and counts once.
pub(crate) async fn run(flags: ReplayFlags, process: Process) -> anyhow::Result<()> {
    let Process { stop, clock, .. } = process;
    let replay = move || {
        let logs = match &flags.standalone_data_dir {
            Some(data_dir) => Logs::in_folder(data_dir, &clock)?,
            None => Logs::on_kafka(&flags.brokers.config())?,
        };
        let mut sum = Sum::default();
        for partition in 0..logs.letters.partition_count() {
            let events = Some(&*logs.events).filter(|_| !flags.dry_run);
            replay_partition(&*logs.letters, partition, events, &clock, &stop, &mut sum)
                .context("dead letters are left; what was put back counts once, so just run it again")?;
        }
        sum.tell(flags.dry_run)
    };
    tokio::task::spawn_blocking(replay).await?
}

/// Where letters are read, and where events go.
struct Logs {
    letters: Arc<dyn ReadLog>,
    events: Arc<dyn Append>,
    /// Held open: the lock on the data folder lives as long as it.
    _lock: Option<File>,
}

impl Logs {
    fn on_kafka(config: &Config) -> anyhow::Result<Self> {
        let letters = Arc::new(KafkaLog::open_topic(config, DEAD_LETTER)?);
        Ok(Self { letters, events: Arc::new(KafkaAppender::open(config, EVENTS)?), _lock: None })
    }

    fn in_folder(data_dir: &Path, clock: &Clock) -> anyhow::Result<Self> {
        let shown = data_dir.display();
        ensure!(data_dir.is_dir(), "--standalone-data-dir {shown}: there is no such folder");
        let lock = standalone::lock(data_dir)?;
        let open = |name: &str| {
            let log = EmbeddedLog::open_made(&data_dir.join(name), Arc::clone(clock))?;
            log.with_context(|| format!("--standalone-data-dir {shown}: there is no log in {name}/"))
        };
        Ok(Self { letters: open(standalone::DEAD_LETTERS)?, events: open(standalone::LOG)?, _lock: Some(lock) })
    }
}

/// How many letters there were.
#[derive(Default)]
struct Sum {
    put_back: u64,
    stay: u64,
}

impl Sum {
    fn tell(&self, dry_run: bool) -> anyhow::Result<()> {
        let Self { put_back, stay } = self;
        let done = if dry_run { "can be put back" } else { "put back" };
        Ok(writeln!(stdout(), "{} dead letters: {put_back} {done}, {stay} stay", put_back + stay)?)
    }
}

/// Walks through the letters of one partition, as far as it goes now. Without `events` it only says what it would do.
fn replay_partition(
    letters: &dyn ReadLog,
    partition: Partition,
    events: Option<&dyn Append>,
    clock: &Clock,
    stop: &CancellationToken,
    sum: &mut Sum,
) -> anyhow::Result<()> {
    let bounds = letters.bounds(partition)?;
    let mut reader = letters.reader(partition, bounds.start)?;
    let mut records: Vec<Record> = Vec::new();
    let (mut next, mut heard) = (bounds.start, Instant::now());
    // On Kafka what lies before the end may be no record; the reader notices.
    while next < Offset::min(bounds.end, reader.log_end()) {
        ensure!(!stop.is_cancelled(), "told to stop");
        ensure!(heard.elapsed() < SILENCE_MAX, "no letter came for {} s", SILENCE_MAX.as_secs());
        records.clear();
        reader.read(&mut records, LETTERS_AT_ONCE, READ_WAIT)?;
        let Some(last) = records.last() else { continue };
        (next, heard) = (last.offset + 1, Instant::now());
        // What came after we began may be about what we have just put back.
        records.retain(|record| record.offset < bounds.end);
        let judged: Vec<Judged> = records.iter().map(|record| judge(record, clock())).collect();
        if let Some(events) = events {
            let good = judged.iter().filter_map(|judged| judged.verdict.as_ref().ok().cloned()).collect();
            if let Err(error) = block_on(events.append(good)) {
                bail!("{EVENTS}: {error}");
            }
        }
        tell(&judged, events.is_none(), sum)?;
    }
    Ok(())
}

/// A line a letter.
fn tell(judged: &[Judged], dry_run: bool, sum: &mut Sum) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    let done = if dry_run { "can be put back" } else { "put back" };
    for Judged { place, reason, verdict } in judged {
        match verdict {
            Ok(_) => {
                sum.put_back += 1;
                writeln!(out, "{place} {done}; it had been put aside: {reason}")?;
            }
            Err(stays) => {
                sum.stay += 1;
                writeln!(out, "{place} stays: {stays}")?;
            }
        }
    }
    Ok(out.flush()?)
}
