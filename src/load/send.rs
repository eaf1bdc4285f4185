//! Sends what was prepared over some connections, and keeps what came of each request.

use super::bodies::{Plan, Prepared};
use super::connection::{Address, Answer, Connection};
use super::latency::Latency;
use super::pace::{Pace, Turn};
use super::tally::Fate;
use anyhow::Context as _;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Uri};
use http_body_util::Full;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How requests are to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(crate) address: Address,
    pub(crate) connections: usize,
    /// Events a request; 1 is sent to `/track`, more to `/track/batch`.
    pub(crate) batch: usize,
    pub(crate) gzip: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Of each request.
    pub(crate) fates: Vec<Fate>,
    /// Of the answered ones, from when they were due.
    pub(crate) latency: Latency,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Events that were acknowledged.
    pub(crate) acknowledged: u64,
    /// The last offset that was answered, by partition.
    pub(crate) positions: BTreeMap<u32, u64>,
    /// What else was answered, and how often.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// Sends the plan's requests at `pace`.
///
/// # Errors
/// Where no connection can be opened to begin with.
pub(crate) async fn send(sending: &Sending, plan: &Plan, pace: &Pace) -> anyhow::Result<Sent> {
    let sent = Mutex::new(Sent {
        fates: vec![Fate::Unsent; plan.requests.len()],
        latency: Latency::new()?,
        took: Duration::ZERO,
        acknowledged: 0,
        positions: BTreeMap::new(),
        failures: BTreeMap::new(),
    });
    let connections = (0..sending.connections).map(|_| send_in_turn(sending, plan, pace, &sent));
    futures::future::try_join_all(connections).await?;
    let mut sent = sent.into_inner();
    sent.took = pace.started().elapsed();
    Ok(sent)
}

async fn send_in_turn(sending: &Sending, plan: &Plan, pace: &Pace, sent: &Mutex<Sent>) -> anyhow::Result<()> {
    let mut connection = Connection::new(sending.address.clone());
    connection.open().await.context("nobody listens there")?;
    let path = Uri::from_static(if sending.batch == 1 { "/track" } else { "/track/batch" });
    let headers = headers(sending);
    while let Some(Turn { index, due }) = pace.turn().await {
        let prepared = &plan.requests[index];
        let mut request = Request::post(path.clone()).body(Full::new(prepared.body.clone()))?;
        request.headers_mut().clone_from(&headers);
        let answer = connection.send(request).await;
        let now = Instant::now();
        let mut sent = sent.lock();
        match answer {
            Ok(answer) if is_taken(&answer, prepared, sending.batch) => {
                sent.fates[index] = Fate::Acknowledged;
                sent.acknowledged += prepared.events as u64;
                sent.latency.record(now - due);
                note_position(&answer, &mut sent.positions);
            }
            refused => {
                sent.fates[index] = Fate::Unknown;
                let what = refused.map_or_else(|error| format!("{error:#}"), |answer| answer.text());
                *sent.failures.entry(what).or_default() += 1;
            }
        }
    }
    Ok(())
}

fn headers(sending: &Sending) -> HeaderMap {
    let kind = if sending.batch == 1 { "application/json" } else { "application/x-ndjson" };
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    if sending.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers
}

/// Whether every event of the request was taken.
fn is_taken(answer: &Answer, prepared: &Prepared, batch: usize) -> bool {
    #[derive(serde::Deserialize)]
    struct Taken {
        accepted: usize,
    }
    answer.status.is_success()
        && (batch == 1
            || serde_json::from_slice(&answer.body).is_ok_and(|taken: Taken| taken.accepted == prepared.events))
}

/// Keeps the highest offset of each partition.
fn note_position(answer: &Answer, positions: &mut BTreeMap<u32, u64>) {
    let text = answer.position.as_ref().and_then(|position| position.to_str().ok()).unwrap_or_default();
    for place in text.split(',') {
        let Some((partition, offset)) = place.split_once(':') else { continue };
        if let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) {
            let highest = positions.entry(partition).or_insert(offset);
            *highest = offset.max(*highest);
        }
    }
}
