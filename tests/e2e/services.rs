//! The services on a Kafka of their own, while parts of it go away: answers are exact or refused, never too small.

use crate::TRACK;
use crate::load::under_load;
use crate::site::{SEEN_WITHIN, Site, position};
use crate::topic;
use rdkafka::Message as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use track_harness::broker::Broker;
use track_harness::cluster::{Cluster, Plan, serving};
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_proto::v1::Event;
use track_proto::{event, partitioner, topics};

const PARTITIONS: u32 = 4;
/// From the death of a processor to the other's answer for its partitions.
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// From a request to its refusal while Kafka is away: the ten seconds of ingest, and some for a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);
const DAY: &str = "start_date=2025-01-01&end_date=2025-01-01";

fn plan(broker: &Broker, dir: &tempfile::TempDir) -> Plan {
    Plan::new(TRACK, broker, dir.path()).partitions(PARTITIONS)
}

fn site(cluster: &Cluster) -> Site {
    Site::new(cluster.ingest.public(), cluster.query.public())
}

fn play(user: &str) -> Value {
    json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"})
}

/// Asks until there is an answer, which must be this; what is no answer must be a 503.
pub fn exact_or_refused(site: &Site, path_and_query: &str, expected: &Value) {
    eventually(MOVED_WITHIN, path_and_query, || {
        let answer = site.send(&Request::get(path_and_query));
        anyhow::ensure!(answer.status != 503, "{answer}");
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(answer.json().unwrap()["data"], *expected);
        Ok(())
    })
    .unwrap();
}

#[test]
fn partitions_move_when_a_processor_goes() {
    partitions_move(|plan| plan);
}

/// The protocol of brokers before Kafka 4.
#[test]
fn partitions_move_with_the_classic_protocol() {
    // With this one it is the client that says how long it may be silent.
    let quick = "session.timeout.ms=6000";
    partitions_move(|plan| {
        plan.processor_flag("--group-protocol", "classic").processor_flag("--kafka-property", quick)
    });
}

fn partitions_move(planned: impl FnOnce(Plan) -> Plan) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let mut cluster = planned(plan(&broker, &dir)).start().unwrap();
    let site = site(&cluster);
    let users: Vec<String> = (0..100).map(|user| format!("mover-{user}")).collect();
    let batch: Vec<Value> = users.iter().map(|user| play(user)).collect();
    let all = |rounds: usize| json!([{"date": "2025-01-01", "play": rounds * users.len()}]);
    let asked = |positions: &str| format!("/metrics?{DAY}&event=play&min_position={positions}");
    let positions = site.track_batch(&batch);
    assert_eq!(positions.split(',').count(), PARTITIONS as usize, "the users live in all partitions");
    exact_or_refused(&site, &asked(&positions), &all(1));

    // Killed: until the other one has its partitions, all of them together are a 503.
    cluster.processors.remove(1).kill9().unwrap();
    exact_or_refused(&site, &format!("/metrics?{DAY}&event=play"), &all(1));
    let positions = site.track_batch(&batch);
    exact_or_refused(&site, &asked(&positions), &all(2));
    // A user's own question goes to one partition only.
    for user in &users[..20] {
        let one = json!([{"date": "2025-01-01", "play": 2}]);
        exact_or_refused(&site, &format!("/metrics?{DAY}&user_id={user}&min_position={positions}"), &one);
    }

    // Back with its old data, which is behind by now: it must not be asked before it has caught up.
    cluster.processors.push(cluster.plan().processor("processor-1").spawn().unwrap());
    eventually(MOVED_WITHIN, "it has its share again", || {
        exact_or_refused(&site, &format!("/metrics?{DAY}&event=play"), &all(2));
        anyhow::ensure!(!serving(&cluster.processors[1])?.is_empty(), "none yet");
        Ok(())
    })
    .unwrap();
    cluster.wait_settled().unwrap();
    let positions = site.track_batch(&batch);
    exact_or_refused(&site, &asked(&positions), &all(3));

    // Stopped in good order.
    cluster.processors.remove(0).terminate().unwrap();
    let positions = site.track_batch(&batch);
    exact_or_refused(&site, &asked(&positions), &all(4));
    cluster.processors.insert(0, cluster.plan().processor("processor-0").ready().unwrap());

    // Killed in the middle of work.
    let (processor, to) = (cluster.processors.remove(0), cluster.ingest.public());
    let ((), load) = under_load(to, "moving", 1_000, || processor.kill9().unwrap());
    let counted = |at_least: u64| {
        eventually(MOVED_WITHIN, "what was acknowledged is counted", || {
            let counted = site.counts(None)?.get("moving").copied().unwrap_or(0);
            assert!(counted <= load.sent(), "{counted} of {load:?}");
            anyhow::ensure!(counted >= at_least, "{counted} of {load:?}");
            Ok(())
        })
        .unwrap();
    };
    counted(load.acknowledged);
    // Sent again, what the dead one had counted does not count with the living one.
    for events in load.events("moving").chunks(1_000) {
        let answer = site.send(&Request::post_json("/track/batch", &json!(events)));
        assert_eq!(answer.status, 200, "{answer}");
    }
    counted(load.sent());
    cluster.terminate().unwrap();
}

#[test]
fn a_processor_whose_name_is_taken_is_not_ready_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let plan = plan(&broker, &dir);
    let first = plan.processor("processor-0").ready().unwrap();
    // Started while the one that it is to replace goes on.
    let second = plan.processor("processor-1").without("--instance-id").flag("--instance-id", "processor-0");
    let second = second.spawn().unwrap();
    eventually(MOVED_WITHIN, "it says why it is not ready", || {
        let answer = second.ask_admin("/readyz")?;
        let said = answer.json()?["rooms"]["processor"].to_string();
        anyhow::ensure!(answer.status == 503 && said.contains("instance ID is still used"), "{answer}");
        Ok(())
    })
    .unwrap();
    assert_eq!(serving(&first).unwrap().len(), PARTITIONS as usize);
    first.terminate().unwrap();
    second.wait_ready().unwrap();
    assert_eq!(serving(&second).unwrap().len(), PARTITIONS as usize);
    second.terminate().unwrap();
}

#[test]
fn kafka_goes_away_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start().unwrap();
    let mut cluster = plan(&broker, &dir).start().unwrap();
    let site = site(&cluster);
    let named =
        |id: &str| json!({"event": "play", "user_id": "u", "event_id": id, "timestamp": "2025-01-01T12:00:00Z"});
    site.track(&named("before"));

    // Each is posted until it is taken; the id sees to it that the failed attempts do not count.
    let refused = |id: &str| {
        let asked = Instant::now();
        let answer = site.send(&Request::post_json("/track", &named(id)));
        if answer.status == 200 {
            return false;
        }
        assert_eq!(answer.status, 503, "{answer}");
        assert_eq!(answer.json().unwrap(), json!({"status": "error", "message": "Failed to log event"}));
        assert!(asked.elapsed() < REFUSED_WITHIN, "refused after {:?}", asked.elapsed());
        true
    };
    let taken = |id: &str| {
        let taken = eventually(SEEN_WITHIN, "the event is taken again", || {
            let answer = site.send(&Request::post_json("/track", &named(id)));
            anyhow::ensure!(answer.status == 200, "{answer}");
            Ok(position(&answer))
        });
        site.expect("u", "play", 1);
        taken.unwrap()
    };
    // The signal is on its way to the broker when this returns; that event is taken, and as good as any.
    broker.freeze().unwrap();
    eventually(SEEN_WITHIN, "the broker stands still", || {
        anyhow::ensure!(refused("frozen"), "it still answers");
        Ok(())
    })
    .unwrap();
    broker.unfreeze().unwrap();
    taken("frozen");

    broker.stop().unwrap();
    assert!(refused("stopped"), "taken by a broker that is not there");
    let batch = site.send(&Request::post_json("/track/batch", &json!([named("stopped"), named("batch")])));
    assert_eq!(batch.status, 503, "{batch}");
    // What has been counted can still be asked for: the state is the processors' own.
    eventually(SEEN_WITHIN, "ingest says that it is not ready", || {
        let answer = cluster.ingest.ask_admin("/readyz")?;
        anyhow::ensure!(answer.status == 503, "{answer}");
        Ok(())
    })
    .unwrap();
    assert_eq!(cluster.ingest.ask_admin("/healthz").unwrap().status, 200);
    broker.restart().unwrap();
    taken("stopped");
    let position = taken("batch");
    cluster.ingest.wait_ready().unwrap();
    let four = json!([{"date": "2025-01-01", "play": 4}]);
    exact_or_refused(&site, &format!("/metrics?{DAY}&user_id=u&min_position={position}"), &four);
    exact_or_refused(&site, &format!("/metrics?{DAY}"), &four);
    site.check_tally();

    // Ingest is killed under load, and stopped under load: what it acknowledged is there.
    let Cluster { ingest, processors, query, .. } = &mut cluster;
    let restarted = plan(&broker, &dir).role("ingest").ready().unwrap();
    let killed = std::mem::replace(ingest, restarted);
    let ((), load) = under_load(killed.public(), "ingest-killed", 1_000, || killed.kill9().unwrap());
    let counted = |name: &str, at_least: u64| {
        eventually(SEEN_WITHIN, "what was acknowledged is counted", || {
            let counted = site.counts(None)?.get(name).copied().unwrap_or(0);
            anyhow::ensure!(counted >= at_least, "{counted} of {at_least}");
            Ok(counted)
        })
        .unwrap()
    };
    let found = counted("ingest-killed", load.acknowledged);
    assert!(found <= load.sent(), "{found} of {load:?}");
    let restarted = plan(&broker, &dir).role("ingest").ready().unwrap();
    let stopped = std::mem::replace(ingest, restarted);
    let (ended, load) = under_load(stopped.public(), "ingest-stopped", 1_000, || stopped.terminate());
    ended.unwrap();
    assert_eq!(counted("ingest-stopped", load.acknowledged), load.acknowledged, "{load:?}");
    assert!(processors.iter().chain([&*query]).all(|service| service.check_log().is_ok()));
    cluster.terminate().unwrap();
}

/// A second group folds the same log: it answers where the first one is gone.
#[test]
fn a_replica_answers_when_the_others_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let mut cluster = plan(&broker, &dir).start().unwrap();
    let site = site(&cluster);
    let batch: Vec<Value> = (0..50).map(|user| play(&format!("replicated-{user}"))).collect();
    site.track_batch(&batch);
    let replica = cluster.plan().processor("replica").flag("--replica", "b").ready().unwrap();
    eventually(MOVED_WITHIN, "the replica has caught up", || {
        let serving = serving(&replica)?;
        anyhow::ensure!(serving.len() == PARTITIONS as usize, "it serves only {serving:?}");
        Ok(())
    })
    .unwrap();
    for processor in cluster.processors.drain(..) {
        processor.kill9().unwrap();
    }
    let positions = site.track_batch(&batch);
    let query = format!("/metrics?{DAY}&min_position={positions}");
    exact_or_refused(&site, &query, &json!([{"date": "2025-01-01", "play": 100}]));
    site.check_tally();
    replica.terminate().unwrap();
    cluster.terminate().unwrap();
}

/// The envelope: what `POST /track` was given, as any consumer of the topic sees it. On a Kafka that asks for TLS and a
/// password.
#[test]
fn events_lie_on_the_log_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let cluster = plan(&broker, &dir).secured(&broker).start().unwrap();
    let site = site(&cluster);
    let sent = [
        json!({"event": "play", "user_id": "é", "timestamp": "2025-01-01T12:00:00.5+01:00", "event_id": "e-1",
            "metadata": {"b": 1, "a": [true, null]}}),
        json!({"event": "play", "user_id": "plain"}),
        json!({"event": "play", "user_id": "long", "metadata": {"note": "x".repeat(5_000)}}),
        json!({"event": "play", "user_id": "future", "timestamp": "2999-01-01T00:00:00Z"}),
        json!({"event": "play", "user_id": "both", "timestamp": "2999-01-01T00:00:00Z", "metadata": {"title": "x"}}),
    ];
    let mut found = Vec::new();
    for event in &sent {
        let position = site.track(event);
        let (partition, offset) = position.split_once(':').unwrap();
        found.push((partition.parse::<i32>().unwrap(), offset.parse::<i64>().unwrap()));
    }
    let records = topic::records(&broker, topics::EVENTS);
    let events: Vec<Event> = found
        .iter()
        .map(|(partition, offset)| {
            let record = records.iter().find(|record| (record.partition(), record.offset()) == (*partition, *offset));
            let record = record.unwrap();
            let key = record.key().unwrap();
            assert_eq!(partitioner::partition_for(key, PARTITIONS), *partition as u32);
            event::decode(record.key(), record.payload().unwrap()).unwrap()
        })
        .collect();
    let [whole, plain, long, future, both] = &events[..] else { panic!("five events") };
    let metadata = |event: &Event| serde_json::from_slice::<Value>(&event.metadata).unwrap();

    assert_eq!((whole.event.as_str(), whole.user_id.as_str()), ("play", "é"));
    assert_eq!((whole.timestamp_ms, whole.event_id.as_str(), whole.client_event_id), (1_735_729_200_500, "e-1", true));
    assert_eq!(metadata(whole), sent[0]["metadata"]);
    assert_eq!(plain.timestamp_ms, plain.received_at_ms);
    assert!(!plain.event_id.is_empty() && !plain.client_event_id && plain.metadata.is_empty(), "{plain:?}");
    let size = sent[2]["metadata"].to_string().len();
    assert_eq!(metadata(long), json!({"warning": "Metadata truncated due to size limit", "originalSize": size}));
    assert_eq!(future.timestamp_ms, future.received_at_ms);
    assert!(metadata(future)["warning"].as_str().is_some_and(|warning| warning.contains("uture")), "{future:?}");
    assert_eq!(metadata(both)["title"], "x");
    assert!(metadata(both)["warning"].is_string(), "{both:?}");
    let ids: BTreeSet<_> = events.iter().map(|event| &event.event_id).collect();
    assert_eq!(ids.len(), events.len());
    cluster.terminate().unwrap();
}
