//! Without a spool: events are refused while Kafka is away, and however many come, memory stays bounded.

use super::{check_refused, play};
use crate::TRACK;
use crate::site::SEEN_WITHIN;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use track_harness::broker::Broker;
use track_harness::cluster::Plan;
use track_harness::http::{Connection, Request};
use track_harness::poll::eventually;
use track_harness::track::Track;

const MIB: u64 = 1 << 20;
/// More than fit into the queue at once, so that the rest come and go.
const CLIENTS: usize = 48;
/// What may wait for Kafka, as the flag below sets it.
const QUEUE_BYTES: u64 = 16 * MIB;
/// For the allocator, threads and connections.
const ROOM_BYTES: u64 = 96 * MIB;
const OFFERED_WITHIN: Duration = Duration::from_secs(180);
/// From a request to its refusal: the ten seconds of ingest, and some for a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

/// A line of the process's status, in bytes.
fn memory(track: &Track, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", track.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn kafka_is_away_altogether_and_memory_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().unwrap();
    let plan = Plan::new(TRACK, &broker, dir.path()).partitions(4);
    let kilobytes = format!("queue.buffering.max.kbytes={}", QUEUE_BYTES / 1024);
    let track = plan.role("ingest").flag("--kafka-property", &kilobytes).ready().unwrap();
    let answer = Request::post_json("/track", &play("u")).send(track.public()).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    let before = memory(&track, "VmRSS");

    broker.kill9().unwrap();
    let event = json!({"event": "play", "user_id": "u", "metadata": {"note": "x".repeat(4_000)}});
    let batch = Request::post_json("/track/batch", &Value::from(vec![event; 256]));
    let may_hold = track_ingest::Config::default().inflight_bytes_max as u64 + QUEUE_BYTES + ROOM_BYTES;
    let (stop, offered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = Connection::open(track.public()).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = connection.send(&batch).unwrap();
                    if answer.status == 429 {
                        assert!(answer.header("retry-after").is_some(), "{answer}");
                    } else {
                        check_refused(&answer);
                    }
                    assert!(asked.elapsed() < REFUSED_WITHIN, "refused after {:?}", asked.elapsed());
                    offered.fetch_add(batch.body.len() as u64, Ordering::Relaxed);
                }
            });
        }
        let enough = eventually(OFFERED_WITHIN, "a flood worth its name", || {
            let offered = offered.load(Ordering::Relaxed);
            anyhow::ensure!(offered > 3 * may_hold, "{} MiB of {}", offered / MIB, 3 * may_hold / MIB);
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        enough.unwrap();
    });
    let most = memory(&track, "VmHWM");
    let offered = offered.into_inner();
    println!("{} MiB offered, memory from {} MiB to at most {}", offered / MIB, before / MIB, most / MIB);
    assert!(most - before < may_hold, "{} MiB more, of {} offered", (most - before) / MIB, offered / MIB);

    eventually(SEEN_WITHIN, "it says that it is not ready", || {
        anyhow::ensure!(track.ask_admin("/readyz")?.status == 503);
        Ok(())
    })
    .unwrap();
    broker.restart().unwrap();
    eventually(SEEN_WITHIN, "an event is taken again", || {
        let answer = Request::post_json("/track", &play("u")).send(track.public())?;
        anyhow::ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .unwrap();
    track.terminate().unwrap();
}
