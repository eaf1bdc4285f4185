//! Warm moves: partitions go from one processor to another, and no query notices.

use crate::TRACK;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use track_harness::broker::Broker;
use track_harness::cluster::{Plan, in_state, serving};
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_harness::track::{Start, Track};
use track_proto::v1::PartitionState;

const PARTITIONS: u32 = 4;
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// Each write of a new owner takes so long: longer than a query waits for a partition that moves.
const SLOW: (&str, &str) = ("FAILPOINTS", "fold-built=sleep(3000)");
const QUESTION: &str = "/metrics?start_date=2025-06-01&end_date=2025-06-01";

/// Without a name that outlives restarts: who stops is not waited for.
fn warm(plan: &Plan, name: &str) -> Start {
    plan.processor(name).without("--instance-id").switch("--warm=5m")
}

fn post(ingest: &Track, users: std::ops::Range<u32>) {
    let event = |user| json!({"event": "play", "user_id": format!("user-{user}"), "timestamp": "2025-06-01T12:00:00Z"});
    let events: Vec<_> = users.map(event).collect();
    let answer = Request::post_json("/track/batch", &json!(events)).send(ingest.public()).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
}

fn wait_counted(query: SocketAddr, count: u32) {
    eventually(MOVED_WITHIN, "everything is counted", || {
        let answer = Request::get(QUESTION).send(query)?;
        anyhow::ensure!(answer.status == 200 && answer.json()?["data"] == counted(count), "{answer}");
        Ok(())
    })
    .unwrap();
}

fn counted(count: u32) -> Value {
    json!([{"date": "2025-06-01", "play": count}])
}

fn wait_serving(processor: &Track, count: usize) {
    eventually(MOVED_WITHIN, "a processor serves its share", || {
        let serving = serving(processor)?;
        anyhow::ensure!(serving.len() == count, "{serving:?}");
        Ok(())
    })
    .unwrap();
}

/// Asks without pause while something happens, and expects the same answer each time.
fn asked_all_the_while<T>(query: SocketAddr, expected: &Value, happens: impl FnOnce(&AtomicUsize) -> T) -> T {
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let answer = Request::get(QUESTION).send(query).unwrap();
                assert_eq!((answer.status, &answer.json().unwrap()["data"]), (200, expected), "{answer}");
                asked.fetch_add(1, Ordering::AcqRel);
            }
        });
        // However that ends, nobody asks any longer.
        let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| happens(&asked)));
        stop.store(true, Ordering::Release);
        asking.join().unwrap();
        happened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_partition_is_answered_from_until_its_next_owner_serves_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let plan = Plan::new(TRACK, &broker, dir.path()).partitions(PARTITIONS);
    let ingest = plan.role("ingest").ready().unwrap();
    let query = plan.role("query").spawn().unwrap();
    let first = warm(&plan, "first").ready().unwrap();
    post(&ingest, 0..1_000);
    wait_serving(&first, PARTITIONS as usize);
    query.wait_ready().unwrap();
    wait_counted(query.public(), 1_000);

    let second = asked_all_the_while(query.public(), &counted(1_000), |asked| {
        let second = warm(&plan, "second").env(SLOW.0, SLOW.1).spawn().unwrap();
        let left = eventually(MOVED_WITHIN, "the first one leaves its partitions", || {
            let left = in_state(&first, PartitionState::Leaving)?;
            anyhow::ensure!(!left.is_empty(), "it leaves none yet");
            Ok(left)
        })
        .unwrap();
        assert!(serving(&second).unwrap().is_disjoint(&left));
        wait_serving(&second, PARTITIONS as usize / 2);
        eventually(MOVED_WITHIN, "what was left is let go of", || {
            let left = in_state(&first, PartitionState::Leaving)?;
            anyhow::ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .unwrap();

        // A clean stop: the rest goes the same way.
        let before = asked.load(Ordering::Acquire);
        first.terminate().unwrap();
        assert_eq!(serving(&second).unwrap(), (0..PARTITIONS).collect::<BTreeSet<_>>());
        assert!(asked.load(Ordering::Acquire) > before);
        second
    });

    // What comes afterwards is counted by the new owner.
    post(&ingest, 0..500);
    wait_counted(query.public(), 1_500);
    // Nobody is there to wait for: where it waited, it would for minutes.
    second.terminate().unwrap();
    query.terminate().unwrap();
    ingest.terminate().unwrap();
}
