//! Kafka is away: queries are answered all the same, by processors that nobody hears of, and say how old the answer is.

use crate::TRACK;
use serde_json::json;
use std::time::Duration;
use track_harness::broker::Broker;
use track_harness::cluster::Plan;
use track_harness::http::{Answer, Request};
use track_harness::poll::eventually;
use track_harness::track::Track;

const QUESTION: &str = "/metrics?start_date=2025-06-01&end_date=2025-06-01";
/// Tests share two cores, and a thawed broker takes a while.
const SEEN_WITHIN: Duration = Duration::from_secs(90);
/// Longer than a silent processor is asked while others speak.
const LONG_MS: u64 = 8_000;

fn post(ingest: &Track) -> String {
    let event = json!({"event": "play", "user_id": "user", "timestamp": "2025-06-01T12:00:00Z"});
    let answer = Request::post_json("/track", &event).send(ingest.public()).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    answer.header("track-position").unwrap().to_owned()
}

fn ask(query: &Track) -> Answer {
    Request::get(QUESTION).send(query.public()).unwrap()
}

fn lag_ms(answer: &Answer) -> u64 {
    answer.header("track-lag-ms").unwrap().parse().unwrap()
}

#[test]
fn queries_are_answered_while_kafka_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().unwrap();
    let plan = Plan::new(TRACK, &broker, dir.path()).partitions(3);
    let ingest = plan.role("ingest").ready().unwrap();
    let mut processor = plan.processor("processor").ready().unwrap();
    let query = plan.role("query").ready().unwrap();
    let position = post(&ingest);
    let with_position = Request::get(format!("{QUESTION}&min_position={position}")).send(query.public()).unwrap();
    assert_eq!(with_position.status, 200, "{with_position}");
    let expected = with_position.body;

    broker.freeze().unwrap();
    eventually(SEEN_WITHIN, "the answer is old, and says so", || {
        let answer = ask(&query);
        assert_eq!((answer.status, &answer.body), (200, &expected), "{answer}");
        assert_eq!(query.ask_admin("/readyz").unwrap().status, 200);
        anyhow::ensure!(lag_ms(&answer) > LONG_MS, "{}", lag_ms(&answer));
        Ok(())
    })
    .unwrap();
    // Whoever is not there does not answer, heard of or not.
    processor.kill_in_place().unwrap();
    assert_eq!(ask(&query).status, 503);
    eventually(SEEN_WITHIN, "the query service is not ready", || {
        assert_eq!(ask(&query).status, 503);
        let status = query.ask_admin("/readyz")?.status;
        anyhow::ensure!(status == 503, "{status}");
        Ok(())
    })
    .unwrap();

    broker.unfreeze().unwrap();
    let processor = plan.processor("processor").spawn().unwrap();
    eventually(SEEN_WITHIN, "the answer is new", || {
        let answer = ask(&query);
        anyhow::ensure!(answer.status == 200 && lag_ms(&answer) < LONG_MS, "{answer}");
        assert_eq!(answer.body, expected);
        Ok(())
    })
    .unwrap();
    [ingest, query, processor].into_iter().for_each(|track| track.terminate().unwrap());
}
