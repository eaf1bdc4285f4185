//! `track status` on a real Kafka: two replicas of one processor each, one of which dies, and then the other.

use crate::TRACK;
use crate::errand::{Ended, run};
use crate::site::SEEN_WITHIN;
use serde_json::{Value, json};
use std::fs::File;
use std::process::{Command, Stdio};
use track_harness::broker::Broker;
use track_harness::cluster::Plan;
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_harness::track::Track;

const PARTITIONS: u32 = 2;

fn status(broker: &Broker, flags: &[&str]) -> Ended {
    run(&[&["status", "--kafka-brokers", &broker.bootstrap()], flags].concat())
}

/// Asks until the answer fits.
fn status_with(broker: &Broker, what: &str, fits: impl Fn(&Value) -> bool) -> (Option<i32>, Value) {
    eventually(SEEN_WITHIN, what, || {
        let ended = status(broker, &["--json"]);
        let picture: Value = serde_json::from_str(&ended.printed)?;
        anyhow::ensure!(fits(&picture), "{picture}");
        Ok((ended.code, picture))
    })
    .unwrap()
}

/// What a processor says of each partition, by number.
fn shares(picture: &Value, instance: &str) -> Vec<Value> {
    let partitions = picture["partitions"].as_array().unwrap().iter();
    let owners = partitions.flat_map(|partition| partition["owners"].as_array().unwrap());
    owners.filter(|owner| owner["instance"] == instance).cloned().collect()
}

fn sum(picture: &Value, instance: &str, field: &str) -> u64 {
    shares(picture, instance).iter().map(|owner| owner[field].as_u64().unwrap()).sum()
}

fn states(picture: &Value, instance: &str) -> Vec<Value> {
    shares(picture, instance).into_iter().map(|mut owner| owner["state"].take()).collect()
}

/// Fifty users: some in either partition.
fn post(ingest: &Track) {
    let batch: Vec<_> = (0..50).map(|user| json!({"event": "play", "user_id": format!("user-{user}")})).collect();
    let answer = Request::post_json("/track/batch", &json!(batch)).send(ingest.public()).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
}

#[test]
fn the_operator_sees_who_serves_what_and_who_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let plan = Plan::new(TRACK, &broker, dir.path()).partitions(PARTITIONS);
    let unmade = status(&broker, &[]);
    assert!(unmade.code == Some(2) && unmade.said.contains("track.events"), "{unmade:?}");
    let ingest = plan.role("ingest").ready().unwrap();

    let nobody = status(&broker, &[]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.printed.starts_with("2 partitions, 2 NOT SERVED: 0-1\n"), "{nobody:?}");
    assert!(nobody.printed.contains("NO PROCESSOR"), "{nobody:?}");

    let one = plan.processor("one").ready().unwrap();
    let other = plan.processor("other").flag("--replica", "b").ready().unwrap();
    post(&ingest);
    let (code, picture) = status_with(&broker, "both replicas have applied everything", |picture| {
        ["one", "other-b"].iter().all(|name| {
            states(picture, name) == ["serving", "serving"]
                && sum(picture, name, "applied") == 50
                && sum(picture, name, "lag_ms") == 0
        })
    });
    assert_eq!((code, &picture["all_served"]), (Some(0), &json!(true)), "{picture}");
    for (number, name, replica, processor) in [(0, "one", Value::Null, &one), (1, "other-b", json!("b"), &other)] {
        let told = &picture["processors"][number];
        let url = format!("http://{}", processor.grpc().unwrap());
        assert_eq!((&told["instance"], &told["replica"], &told["url"]), (&json!(name), &replica, &json!(url)));
        assert_eq!((&told["serving"], &told["is_silent"]), (&json!(2), &json!(false)), "{told}");
    }
    let text = status(&broker, &["--digests"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.printed.starts_with("2 partitions, all served\n"), "{text:?}");
    assert!(text.printed.contains("\nreplicas of 2 partitions compared: equal\n"), "{text:?}");
    assert_eq!(text.printed.matches("digest equals one's at ").count(), 2, "{text:?}");

    watched(&broker, dir.path());

    // The one that is left has applied what comes now; the dead one is behind by it.
    other.kill9().unwrap();
    post(&ingest);
    let (code, picture) = status_with(&broker, "the silence of a replica is told", |picture| {
        states(picture, "other-b") == ["silent", "silent"] && sum(picture, "one", "applied") == 100
    });
    assert_eq!((code, &picture["all_served"]), (Some(0), &json!(true)), "the other one serves: {picture}");
    assert_eq!(sum(&picture, "other-b", "lag_records"), 50, "{picture}");
    assert!(sum(&picture, "other-b", "lag_ms") > 0, "{picture}");
    let text = status(&broker, &[]);
    assert!(text.code == Some(0) && text.printed.contains("SILENT, "), "{text:?}");

    // Nobody is left.
    one.kill9().unwrap();
    let (code, picture) =
        status_with(&broker, "nothing is served any more", |picture| picture["all_served"] == json!(false));
    assert_eq!((code, &picture["not_served"]), (Some(1), &json!([0, 1])), "{picture}");
    ingest.terminate().unwrap();
}

/// A line a second, until it is killed.
fn watched(broker: &Broker, dir: &std::path::Path) {
    let path = dir.join("watched");
    let output = File::create(&path).unwrap();
    let brokers = broker.bootstrap();
    let mut watching = Command::new(TRACK)
        .args(["status", "--watch", "--json", "--kafka-brokers", &brokers])
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let seen = eventually(SEEN_WITHIN, "it is looked again", || {
        let text = std::fs::read_to_string(&path)?;
        let lines: Vec<_> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        anyhow::ensure!(lines.len() >= 2, "{text}");
        Ok(lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<Vec<Value>, _>>()?)
    });
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert!(seen.unwrap().iter().all(|picture| picture["all_served"] == json!(true)));
}

#[test]
fn without_kafka_there_is_no_status() {
    let ended = run(&["status", "--kafka-brokers", "127.0.0.1:1"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.printed.is_empty() && ended.said.contains("127.0.0.1:1") && ended.said.contains("/readyz"),
        "{ended:?}"
    );
}
