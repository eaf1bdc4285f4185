//! Services on Kafka: ingest and processors killed, a processor frozen, the broker killed; and one event through all of it.

use super::producer::{Sending, send_all};
use super::traffic::Traffic;
use super::{digest, kills};
use crate::TRACK;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use track_harness::broker::Broker;
use track_harness::cluster::{Cluster, Plan, serving};
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_harness::seed::rng;
use track_harness::track::Track;

const PARTITIONS: u32 = 4;
/// From the silence of a processor to the other's serving all partitions; the group waits for six seconds of it.
const MOVED_WITHIN: Duration = Duration::from_secs(60);
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn services_are_killed_and_frozen_and_one_event_counts_once() {
    let mut rng = rng("services_are_killed_and_frozen_and_one_event_counts_once");
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().unwrap();
    let mut cluster = Plan::new(TRACK, &broker, dir.path()).partitions(PARTITIONS).start().unwrap();
    let mut second = cluster.plan().role("ingest").ready().unwrap();
    let kills = kills(5);
    let traffic = Traffic::new("id", 1_000 * (kills + 3), &mut rng);
    let stages = (kills + 2) as f64;
    let aim = |sending: &Sending<'_>, cluster: &Cluster, second: &Track| {
        sending.aim(&[cluster.ingest.public(), second.public()]);
    };
    let ((), positions) = send_all(&traffic, |sending| {
        for kill in 0..kills {
            aim(sending, &cluster, &second);
            sending.wait_for((kill as f64 + rng.f64()) / stages);
            match kill % 4 {
                0 => {
                    let name = format!("processor-{}", kill / 4 % 2);
                    let started = cluster.plan().processor(&name);
                    let processor = &mut cluster.processors[kill / 4 % 2];
                    kill_and_start(processor, || started.spawn().unwrap());
                }
                1 => kill_and_start(&mut second, || cluster.plan().role("ingest").spawn().unwrap()),
                2 => {
                    let started = cluster.plan().role("ingest");
                    kill_and_start(&mut cluster.ingest, || started.spawn().unwrap());
                }
                _ => broker.restart().unwrap(),
            }
        }
        aim(sending, &cluster, &second);
        sending.wait_for(kills as f64 / stages);
        freeze(&cluster, 1);
        sending.wait_for((kills as f64 + 1.0) / stages);
        broker.restart().unwrap();
    });
    traffic.check(cluster.query.public(), &positions, "after everything");
    cluster.wait_settled().unwrap();

    one_event_counts_once(&mut cluster, &mut second, dir.path());
    second.terminate().unwrap();
    let plan = cluster.plan().clone();
    cluster.terminate().unwrap();
    check_digests(&plan, dir.path());
}

fn kill_and_start(service: &mut Track, start: impl FnOnce() -> Track) {
    service.kill_in_place().unwrap();
    *service = start();
}

/// Stops a processor until the other has its partitions; then it goes on, as if it still had them.
fn freeze(cluster: &Cluster, which: usize) {
    cluster.processors[which].freeze().unwrap();
    eventually(MOVED_WITHIN, "the other one has all partitions", || {
        let serving = serving(&cluster.processors[1 - which])?;
        anyhow::ensure!(serving.len() == PARTITIONS as usize, "only {serving:?}");
        Ok(())
    })
    .unwrap();
    cluster.processors[which].unfreeze().unwrap();
}

/// Two users' events with one id, sent once more after each thing that may happen to a service or to its state.
fn one_event_counts_once(cluster: &mut Cluster, second: &mut Track, dir: &Path) {
    let event = |user: &str| json!({"event": "once", "user_id": user, "event_id": "the-same", "timestamp": "2025-06-01T12:00:00Z"});
    let both = [event("ann"), event("bob")];
    let mut position = String::new();
    let check = |query: SocketAddr, position: &str, when: &str| {
        for (user, count) in [("&user_id=ann", 1), ("&user_id=bob", 1), ("", 2)] {
            let target = format!("/metrics?start_date=2025-06-01&end_date=2025-06-01{user}&min_position={position}");
            let answer = eventually(TAKEN_WITHIN, &target, || {
                let answer = Request::get(&target).send(query)?;
                anyhow::ensure!(answer.status != 503, "{answer}");
                Ok(answer)
            })
            .unwrap();
            assert_eq!(answer.status, 200, "{when}: {answer}");
            let once = json!([{"date": "2025-06-01", "once": count}]);
            assert_eq!(answer.json().unwrap()["data"], once, "{when}{user}");
        }
    };
    let mut send = |to: SocketAddr, query: SocketAddr, events: &[Value], when: &str| {
        position = post(to, events);
        check(query, &position, when);
    };
    let query = cluster.query.public();
    send(cluster.ingest.public(), query, &[both.clone(), both.clone()].concat(), "twice in one batch");
    send(cluster.ingest.public(), query, &both, "in another batch");
    send(second.public(), query, &both, "to another ingest");

    let ingest = cluster.plan().role("ingest").ready().unwrap();
    std::mem::replace(second, ingest).terminate().unwrap();
    send(second.public(), query, &both, "after a restart of ingest");
    let asking = cluster.plan().role("query").ready().unwrap();
    std::mem::replace(&mut cluster.query, asking).terminate().unwrap();
    let query = cluster.query.public();
    send(second.public(), query, &both, "after a restart of the query service");

    let (first, folder, copied) = ("processor-0", dir.join("processor-0"), dir.join("copied"));
    // A copy of the state, taken where nothing runs, to be put back when it is old.
    cluster.processors.remove(0).terminate().unwrap();
    copy(&folder, &copied);
    cluster.processors.insert(0, cluster.plan().processor(first).ready().unwrap());
    send(second.public(), query, &both, "after a restart of a processor");
    for (when, put_back) in [("after the state was wiped", false), ("after an old state was put back", true)] {
        // The other one goes too: whatever is answered comes from the state in question.
        let other = cluster.processors.remove(1);
        cluster.processors.remove(0).terminate().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        if put_back {
            copy(&copied, &folder);
        }
        other.terminate().unwrap();
        cluster.processors.push(cluster.plan().processor(first).ready().unwrap());
        send(second.public(), query, &both, when);
        cluster.processors.push(cluster.plan().processor("processor-1").ready().unwrap());
        cluster.wait_settled().unwrap();
        send(second.public(), query, &both, when);
    }
}

/// Posts until it is taken, and returns the positions.
fn post(to: SocketAddr, events: &[Value]) -> String {
    let answer = eventually(TAKEN_WITHIN, "the events are taken", || {
        let answer = Request::post_json("/track/batch", &json!(events)).send(to)?;
        anyhow::ensure!(answer.status == 200, "{answer}");
        Ok(answer)
    });
    crate::site::position(&answer.unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The states that went through all of it, against one that is folded now. A state may be one of an earlier owner, and
/// then is at an earlier offset: only those that reach as far are compared, and every partition has one.
fn check_digests(plan: &Plan, dir: &Path) {
    let fresh = plan.processor("fresh").flag("--replica", "fresh").ready().unwrap();
    eventually(MOVED_WITHIN, "a new processor has folded everything", || {
        anyhow::ensure!(serving(&fresh)?.len() == PARTITIONS as usize, "not yet");
        Ok(())
    })
    .unwrap();
    fresh.terminate().unwrap();
    let disturbed = [digest(&dir.join("processor-0")), digest(&dir.join("processor-1"))].concat();
    let fresh = digest(&dir.join("fresh"));
    assert_eq!(fresh.lines().count(), PARTITIONS as usize, "{fresh}");
    for line in fresh.lines() {
        assert!(disturbed.lines().any(|other| other == line), "{line} is not among\n{disturbed}");
    }
}
