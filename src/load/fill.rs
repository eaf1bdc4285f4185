//! Puts events where they would come to lie, without a server: on a topic, in an embedded log's folder, in a file.

use super::events::{Event, Events};
use super::words::{CSV_HEADER, Words};
use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use track_log::embedded::{self, EmbeddedLog};
use track_log::kafka::{self, KafkaAppender, ensure_topics};
use track_log::{Append, AppendError, NewRecord};
use track_proto::clock::Clock;
use track_proto::topics;

/// Records appended together.
const BATCH: usize = 5_000;
/// Batches on their way at once.
const BATCHES_AT_ONCE: usize = 8;
/// How long to wait where the log has no room.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Appends every event to the topic of events, which is made where it is missing.
///
/// # Errors
/// Where Kafka does not take one.
pub(crate) async fn topic(config: &kafka::Config, events: Events, words: &Words, now_ms: i64) -> anyhow::Result<u64> {
    let config = config.clone();
    let open = move || {
        ensure_topics(&config)?;
        KafkaAppender::open(&config, topics::EVENTS)
    };
    let log = tokio::task::spawn_blocking(open).await??;
    append(&log, events, words, now_ms).await
}

/// Appends every event to the log that `track --data-dir` has in this folder.
///
/// # Errors
/// Where the folder can't be used or the disk does not take one.
pub(crate) async fn folder(
    data_dir: &Path,
    partitions: u32,
    events: Events,
    words: &Words,
    clock: &Clock,
) -> anyhow::Result<u64> {
    let (dir, opening_clock) = (data_dir.join("log"), Arc::clone(clock));
    let open = move || {
        std::fs::create_dir_all(&dir)
            .map_err(|source| track_log::LogError::Io { context: dir.display().to_string(), source })?;
        EmbeddedLog::open(embedded::Config::new(dir, partitions), opening_clock)
    };
    let log = tokio::task::spawn_blocking(open).await??;
    append(&*log, events, words, clock()).await
}

async fn append(log: &dyn Append, events: Events, words: &Words, now_ms: i64) -> anyhow::Result<u64> {
    let mut under_way = FuturesUnordered::new();
    let mut appended = 0;
    let mut events = events.peekable();
    while events.peek().is_some() {
        let records: Vec<_> = events.by_ref().take(BATCH).map(|event| words.record(&event, now_ms)).collect();
        appended += records.len() as u64;
        under_way.push(append_batch(log, records));
        if under_way.len() == BATCHES_AT_ONCE {
            under_way.next().await.transpose()?;
        }
    }
    while let Some(done) = under_way.next().await {
        done?;
    }
    Ok(appended)
}

async fn append_batch(log: &dyn Append, records: Vec<NewRecord>) -> anyhow::Result<()> {
    loop {
        match log.append(records.clone()).await {
            Ok(_) => return Ok(()),
            // Nothing of it was taken.
            Err(AppendError::Busy) => tokio::time::sleep(AGAIN_AFTER).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes every event as a row of CSV, under a header.
///
/// # Errors
/// Where the file can't be written.
pub(crate) fn csv(file: &Path, events: Events, words: &Words) -> anyhow::Result<u64> {
    lines(file, Some(CSV_HEADER), events, |event, line| words.csv(event, line))
}

/// Writes every event as a line of JSON.
///
/// # Errors
/// Where the file can't be written.
pub(crate) fn ndjson(file: &Path, events: Events, words: &Words) -> anyhow::Result<u64> {
    lines(file, None, events, |event, line| words.json(event, line))
}

fn lines(
    file: &Path,
    header: Option<&str>,
    events: Events,
    write: impl Fn(&Event, &mut String),
) -> anyhow::Result<u64> {
    let shown = file.display();
    let mut out = BufWriter::new(File::create(file).with_context(|| format!("--file {shown}"))?);
    if let Some(header) = header {
        writeln!(out, "{header}")?;
    }
    let (mut line, mut written) = (String::new(), 0);
    for event in events {
        line.clear();
        write(&event, &mut line);
        line.push('\n');
        out.write_all(line.as_bytes()).with_context(|| format!("--file {shown}"))?;
        written += 1;
    }
    out.flush().with_context(|| format!("--file {shown}"))?;
    Ok(written)
}
