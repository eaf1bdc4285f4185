//! How soon an event is in the answers: from the 200 for it to the first answer of `/metrics` that has it.
//!
//! Each probe is the one event of a user of its own, so that its count goes from nothing to one.

use super::connection::{Address, Connection};
use super::latency::Latency;
use super::pace::Pace;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use chrono::DateTime;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The name of a probe: none of the load's own.
const NAME: &str = "probe";
/// Probes under way at once, at most.
const PROBES_AT_ONCE: usize = 8;
/// How long an event may take to be seen before its probe is given up.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks. What is measured is late by as much at most, and by the look itself.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What the probes found.
#[derive(Debug)]
pub(crate) struct Freshness {
    /// From the 200 to the answer that has the event.
    pub(crate) seen: Latency,
    /// Probes that were refused, or never seen.
    pub(crate) lost: u64,
}

/// Where to send probes and where to look for them, and the run they belong to.
#[derive(Debug, Clone)]
pub(crate) struct Probing {
    pub(crate) ingest: Address,
    pub(crate) query: Address,
    /// The moment every probe carries, in milliseconds since 1970 UTC.
    pub(crate) until_ms: i64,
}

/// Sends probes at `pace` until it ends or `done` does.
///
/// # Errors
/// Where a probe can't be put into words.
pub(crate) async fn probe(probing: &Probing, pace: &Pace, done: impl Future<Output = ()>) -> anyhow::Result<Freshness> {
    let freshness = Mutex::new(Freshness { seen: Latency::new()?, lost: 0 });
    let probes = (0..PROBES_AT_ONCE).map(|_| probe_in_turn(probing, pace, &freshness));
    tokio::select! {
        () = done => {}
        ended = futures::future::try_join_all(probes) => {
            ended?;
        }
    }
    Ok(freshness.into_inner())
}

async fn probe_in_turn(probing: &Probing, pace: &Pace, freshness: &Mutex<Freshness>) -> anyhow::Result<()> {
    let (mut producer, mut analyst) = (Connection::new(probing.ingest.clone()), Connection::new(probing.query.clone()));
    let time = DateTime::from_timestamp_millis(probing.until_ms).context("a moment within the calendar")?;
    while let Some(turn) = pace.turn().await {
        let user = format!("probe-{:x}-{}", probing.until_ms, turn.index);
        let body = format!(r#"{{"event":"{NAME}","user_id":"{user}","timestamp":"{}"}}"#, time.to_rfc3339());
        let day = time.date_naive();
        let question: Uri = format!("/metrics?start_date={day}&end_date={day}&user_id={user}").parse()?;
        let seen = match producer.send(Request::post("/track").body(Full::new(Bytes::from(body)))?).await {
            Ok(answer) if answer.status == StatusCode::OK => look(&mut analyst, &question).await,
            Ok(answer) => Err(anyhow::anyhow!(answer.text())),
            Err(error) => Err(error),
        };
        let mut freshness = freshness.lock();
        match seen {
            Ok(after) => freshness.seen.record(after),
            Err(_) => freshness.lost += 1,
        }
    }
    Ok(())
}

/// Asks until the event is in the answer, and says how long that took.
async fn look(analyst: &mut Connection, question: &Uri) -> anyhow::Result<Duration> {
    let answered = Instant::now();
    let wanted = format!(r#""{NAME}":1"#);
    loop {
        let answer = analyst.get(question.clone()).await?;
        if answer.body.windows(wanted.len()).any(|part| part == wanted.as_bytes()) {
            return Ok(answered.elapsed());
        }
        ensure!(answered.elapsed() < SEEN_WITHIN, "not seen within {} s", SEEN_WITHIN.as_secs());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
