//! What the load generator makes, where it goes, how fast, and what is checked afterwards.

use super::KafkaFlags;
use super::values;
use crate::load::Kind;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Makes load.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadFlags {
    /// Where the events go. nothing sends none and checks the answers of a track that was given the same before.
    #[arg(long, env = "TRACK_TO", value_name = "TARGET", value_enum, default_value = "http")]
    pub(crate) to: Target,
    /// Sends no events and asks questions of this kind: so many as --events, from --connections clients.
    #[arg(long, env = "TRACK_ASK", value_name = "QUESTION", value_enum, conflicts_with = "to")]
    pub(crate) ask: Option<Kind>,
    /// Where track takes events.
    #[arg(long, env = "TRACK_URL", value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = values::url)]
    pub(crate) url: String,
    /// Where track answers queries. Default: --url.
    #[arg(long, env = "TRACK_QUERY_URL", value_name = "URL", value_parser = values::url)]
    query_url: Option<String>,
    /// How many events.
    #[arg(long, env = "TRACK_EVENTS", value_name = "COUNT", default_value = "100000")]
    pub(crate) events: u64,
    /// How many users they are drawn from, by Zipf's law.
    #[arg(long, env = "TRACK_USERS", value_name = "COUNT", default_value = "1000000", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: u32,
    /// The same seed makes the same events, given the same --until.
    #[arg(long, env = "TRACK_SEED", value_name = "NUMBER", default_value = "1")]
    pub(crate) seed: u64,
    /// The moment of the last event (RFC 3339). Default: now.
    #[arg(long, env = "TRACK_UNTIL", value_name = "TIME", value_parser = values::moment)]
    pub(crate) until: Option<i64>,
    /// From the first event's moment to the last one's.
    #[arg(long, env = "TRACK_SPAN", value_name = "DURATION", default_value = "30d", value_parser = values::duration)]
    pub(crate) span: Duration,
    /// The share of events that are a minute to a week late.
    #[arg(long, env = "TRACK_LATE", value_name = "SHARE", default_value = "0.05", value_parser = values::share)]
    pub(crate) late: f64,
    /// The share of events that were sent before, with the same event_id.
    #[arg(long, env = "TRACK_DUPLICATES", value_name = "SHARE", default_value = "0.01", value_parser = values::share)]
    pub(crate) duplicates: f64,
    /// The share of events with an event_id, duplicates included.
    #[arg(long, env = "TRACK_EVENT_IDS", value_name = "SHARE", default_value = "0.02", value_parser = values::share)]
    pub(crate) event_ids: f64,
    /// Events a request: 1 goes to /track, more as NDJSON to /track/batch.
    #[arg(long, env = "TRACK_BATCH", value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) batch: u16,
    /// Pack the bodies, before the clock starts.
    #[arg(long, env = "TRACK_GZIP")]
    pub(crate) gzip: bool,
    /// Keep-alive connections, each with one request at a time.
    #[arg(long, env = "TRACK_CONNECTIONS", value_name = "COUNT", default_value = "64", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Events, or questions, a second, whatever the answers take; latency counts from when each was due.
    /// Default: as fast as the connections allow.
    #[arg(long, env = "TRACK_RATE", value_name = "PER_SECOND", value_parser = values::rate)]
    pub(crate) rate: Option<f64>,
    /// Stop after this time, if --events are not sent by then.
    #[arg(long, env = "TRACK_DURATION", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) duration: Option<Duration>,
    /// Meanwhile send so many probes a second, and measure how soon each is in the answer of /metrics.
    #[arg(long, env = "TRACK_FRESHNESS", value_name = "PER_SECOND", value_parser = values::rate)]
    pub(crate) freshness: Option<f64>,
    /// Of how many users counts and sessions are checked one by one.
    #[arg(long, env = "TRACK_SAMPLE", value_name = "COUNT", default_value = "50")]
    pub(crate) sample: u32,
    /// Check no answers.
    #[arg(long, env = "TRACK_SKIP_VERIFY")]
    pub(crate) skip_verify: bool,
    /// The data folder of an embedded log of --partitions, for --to folder. No track may be running on it.
    #[arg(long, env = "TRACK_DATA_DIR", value_name = "FOLDER", default_value = "./track-data")]
    pub(crate) data_dir: PathBuf,
    /// The file for --to csv and --to ndjson.
    #[arg(long, env = "TRACK_FILE", value_name = "FILE", default_value = "./events")]
    pub(crate) file: PathBuf,
    /// Print one JSON object instead of a table.
    #[arg(long, env = "TRACK_JSON")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) kafka: KafkaFlags,
}

impl LoadFlags {
    /// Where queries are answered.
    pub(crate) fn query_url(&self) -> &str {
        self.query_url.as_deref().unwrap_or(&self.url)
    }
}

/// Where events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// POST them to --url, then check the answers.
    Http,
    /// Append them to the topic track.events.
    Kafka,
    /// Append them to the log in --data-dir.
    Folder,
    /// A --file of event_id,event,user_id,timestamp_ms.
    Csv,
    /// A --file of the JSON that would be posted.
    Ndjson,
    /// Nowhere: check the answers alone.
    Nothing,
}
