//! Parses NDJSON into the fields of events with `serde_json`, on one core, and does nothing else with them.
//!
//! `serde-only --file EVENTS.ndjson [--rounds 5]` prints one line of JSON. The file is in memory before the clock starts.

use anyhow::Context as _;
use clap::Parser;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::hint::black_box;
use std::path::PathBuf;
use track_bench::Stopwatch;

#[derive(Debug, Parser)]
struct Flags {
    /// What to parse.
    #[arg(long)]
    file: PathBuf,
    /// How often.
    #[arg(long, default_value = "5")]
    rounds: u32,
}

/// What ingest reads of an event, borrowed from the text wherever JSON's escapes allow it.
#[derive(Debug, Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow, default)]
    event_id: Cow<'a, str>,
    #[serde(borrow, default)]
    timestamp: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let bytes = std::fs::read(&flags.file).with_context(|| flags.file.display().to_string())?;
    let (mut parsed, stopwatch) = (0, Stopwatch::start());
    for _ in 0..flags.rounds {
        // As ingest does: the text is checked as a whole, then read line by line.
        for line in std::str::from_utf8(&bytes)?.lines() {
            let Fields { event, user_id, event_id, timestamp, metadata } = black_box(serde_json::from_str(line)?);
            black_box((event, user_id, event_id, timestamp, metadata));
            parsed += 1;
        }
    }
    println!("{}", stopwatch.report(parsed));
    Ok(())
}
