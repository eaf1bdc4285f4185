//! Kafka is away altogether: with a spool ingest goes on accepting and each event counts once, without one it refuses and
//! stays small.
//!
//! - [`outage`]: the broker killed, ingest killed meanwhile, and all back again
//! - [`points`]: killed between two steps that belong together
//! - [`limits`]: no room, another process, what can't be started
//! - [`without`]: no spool
//!
//! [`posting`] are clients that do not stop.

mod limits;
mod outage;
mod points;
mod posting;
mod without;

use crate::TRACK;
use crate::operators::{samples, sum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use track_harness::http::{Answer, Request};
use track_harness::poll::eventually;
use track_harness::track::{Start, Track};

/// From the return of the broker to the last spooled event's being there; tests share two cores.
const FORWARDED_WITHIN: Duration = Duration::from_secs(60);
/// Where no broker is.
const NOWHERE: &str = "127.0.0.1:1";

fn spool_in(dir: &Path) -> PathBuf {
    dir.join("spool")
}

/// Ingest with a spool, and brokers that are not there.
fn cut_off(dir: &Path) -> Start {
    Start::new(TRACK, Some("ingest"), dir)
        .flag("--kafka-brokers", NOWHERE)
        .flag("--spool", &spool_in(dir).to_string_lossy())
}

fn play(user: &str) -> Value {
    json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"})
}

/// Posts so many events without ids, each of its own user, which must be spooled.
fn spool_events(track: &Track, count: usize) {
    let events: Vec<Value> = (0..count).map(|n| play(&format!("spooled-{n}"))).collect();
    for batch in events.chunks(100) {
        let answer = Request::post_json("/track/batch", &json!(batch)).send(track.public()).unwrap();
        assert_eq!((answer.status, answer.header("track-position")), (200, None), "{answer}");
        assert_eq!(answer.json().unwrap()["accepted"], batch.len(), "{answer}");
    }
}

/// A metric of its admin listener.
fn metric(track: &Track, name: &str) -> anyhow::Result<f64> {
    let page = String::from_utf8(track.ask_admin("/metrics")?.body)?;
    Ok(sum(&samples(&page), name, &[]))
}

/// What `/readyz` says of ingest.
fn readiness(track: &Track) -> anyhow::Result<String> {
    Ok(track.ask_admin("/readyz")?.json()?["rooms"]["ingest"].as_str().unwrap_or_default().to_owned())
}

/// Waits until everything spooled is on the log and off the disk.
fn wait_forwarded(track: &Track, dir: &Path) {
    eventually(FORWARDED_WITHIN, "all is forwarded", || {
        let waiting = metric(track, "track_spool_waiting_records")?;
        anyhow::ensure!(waiting == 0.0, "{waiting} records wait");
        anyhow::ensure!(readiness(track)? == "ready", "{}", readiness(track)?);
        let mut lengths = Vec::new();
        for file in std::fs::read_dir(spool_in(dir).join("partition-0000"))? {
            let file = file?;
            lengths.push((file.file_name(), file.metadata()?.len()));
        }
        // Only a segment's beginning is left.
        anyhow::ensure!(lengths.len() == 1 && lengths[0].1 == 40, "{lengths:?}");
        Ok(())
    })
    .unwrap();
}

/// It is refused for now, and the client is told when to come back.
fn check_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{answer}");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().unwrap() >= 1), "{answer}");
}
