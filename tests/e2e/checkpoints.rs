//! A state that is lost comes back from its checkpoint, on a folder and on an S3-compatible store, and nobody notices one
//! that is away.

use crate::operators::{samples, sum};
use crate::site::{EVER, SEEN_WITHIN, Site};
use crate::{TRACK, standalone};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use track_harness::broker::Broker;
use track_harness::cluster::Plan;
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_harness::s3::S3;
use track_harness::track::{Start, Track};

const USERS: usize = 200;

/// A minute of listening for each of these users.
fn listen(track: &Track, day: &str) -> String {
    let event = |user: usize, event: &str, time: &str| json!({"event": event, "user_id": format!("user-{user}"), "event_id": format!("{day}-{event}"), "timestamp": format!("{day}T{time}Z")});
    let events = (0..USERS).flat_map(|user| [event(user, "play", "10:00:00"), event(user, "stop", "10:01:00")]);
    Site::new(track.public(), track.public()).track_batch(&events.collect::<Vec<_>>())
}

fn answers(track: &Track, position: &str) -> Vec<Value> {
    let site = Site::new(track.public(), track.public());
    let paths = ["/metrics", "/sessions"].map(|path| format!("{path}?{EVER}"));
    let of_one = ["/metrics", "/sessions"].map(|path| format!("{path}?{EVER}&user_id=user-7"));
    paths.iter().chain(&of_one).map(|path| site.data(path, position)).collect()
}

fn counted(track: &Track, name: &str) -> f64 {
    let page = String::from_utf8(track.ask_admin("/metrics").unwrap().body).unwrap();
    sum(&samples(&page), name, &[])
}

/// Waits until this process has written so many checkpoints.
fn wait_for_checkpoints(track: &Track, at_least: f64) {
    eventually(SEEN_WITHIN, "checkpoints are written", || {
        let written = counted(track, "track_checkpoints_total");
        anyhow::ensure!(written >= at_least, "{written}");
        Ok(())
    })
    .unwrap();
}

/// By partition, how far the newest checkpoint is that the log of the process tells of.
fn checkpointed(track: &Track) -> anyhow::Result<BTreeMap<u64, u64>> {
    let log = track.log()?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let written = lines.filter(|line| line["message"] == "checkpoint written");
    Ok(written.filter_map(|line| Some((line["partition"].as_u64()?, line["offset"].as_u64()?))).collect())
}

/// By partition, how far the state is.
fn offsets(track: &Track) -> anyhow::Result<BTreeMap<u64, u64>> {
    let rows = track.ask_admin("/digest")?.json()?["data"].as_array().cloned().unwrap_or_default();
    Ok(rows.iter().filter_map(|row| Some((row["partition"].as_u64()?, row["nextOffset"].as_u64()?))).collect())
}

fn wipe(dir: &Path) {
    fs::remove_dir_all(dir.join("data/state")).unwrap();
}

/// Kills it, wipes its state, and starts it again: the answers are the same, and little is folded for them.
fn check_restored(dir: &Path, start: &Start) {
    let track = start.ready().unwrap();
    listen(&track, "2025-01-01");
    let position = listen(&track, "2025-01-02");
    let truth = answers(&track, &position);
    wait_for_checkpoints(&track, 4.0);
    eventually(SEEN_WITHIN, "the checkpoints have it all", || {
        let (reached, folded) = (checkpointed(&track)?, offsets(&track)?);
        anyhow::ensure!(reached == folded, "{reached:?} of {folded:?}");
        Ok(())
    })
    .unwrap();
    track.kill9().unwrap();
    wipe(dir);

    let track = start.ready().unwrap();
    assert_eq!(answers(&track, &position), truth);
    assert_eq!(counted(&track, "track_restores_total"), 4.0, "{}", track.log().unwrap());
    assert!(counted(&track, "track_restored_bytes_total") > 0.0);
    assert_eq!(counted(&track, "track_events_folded_total"), 0.0, "nothing was folded again");
    // What was sent is still known from the marks: nothing counts twice.
    listen(&track, "2025-01-02");
    let position = listen(&track, "2025-01-03");
    let more = answers(&track, &position);
    track.terminate().unwrap();

    // The last checkpoint is made on a clean stop.
    wipe(dir);
    let track = start.clone().without("--checkpoint-interval").ready().unwrap();
    assert_eq!(answers(&track, &position), more);
    assert_eq!(counted(&track, "track_restores_total"), 4.0);
    assert_eq!(counted(&track, "track_events_folded_total") + counted(&track, "track_events_duplicate_total"), 0.0);
    track.terminate().unwrap();
}

#[test]
fn a_lost_state_comes_back_from_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("checkpoints");
    let start = standalone(dir.path())
        .flag("--checkpoints", &format!("file://{}", folder.display()))
        .flag("--checkpoint-interval", "200ms");
    check_restored(dir.path(), &start);
}

#[test]
fn a_lost_state_comes_back_from_s3() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3::start().unwrap();
    let start = s3.checkpoints(standalone(dir.path()), "some/prefix").flag("--checkpoint-interval", "200ms");
    check_restored(dir.path(), &start);
    assert!(s3.count("some/prefix/partition-0003/").unwrap() > 0);
    // Three of each partition are kept, with what they name.
    assert!(s3.count("/manifests/").unwrap() <= 12, "{}", s3.count("/manifests/").unwrap());
}

#[test]
fn a_corrupt_checkpoint_is_passed_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("checkpoints");
    let start = standalone(dir.path())
        .flag("--partitions", "1")
        .flag("--checkpoints", folder.to_str().unwrap())
        .flag("--checkpoint-interval", "200ms");
    let track = start.ready().unwrap();
    listen(&track, "2025-01-01");
    wait_for_checkpoints(&track, 1.0);
    let written = counted(&track, "track_checkpoints_total");
    let position = listen(&track, "2025-01-02");
    let truth = answers(&track, &position);
    wait_for_checkpoints(&track, written + 1.0);
    track.kill9().unwrap();
    wipe(dir.path());
    let of_partition = fs::read_dir(folder.join("partition-0000")).unwrap().next().unwrap().unwrap().path();
    let mut manifests: Vec<_> =
        fs::read_dir(of_partition.join("manifests")).unwrap().map(|file| file.unwrap().path()).collect();
    manifests.sort();
    assert!(manifests.len() >= 2, "{manifests:?}");
    fs::write(manifests.last().unwrap(), "{").unwrap();

    let track = start.ready().unwrap();
    assert_eq!(answers(&track, &position), truth);
    assert_eq!(counted(&track, "track_restores_total"), 1.0);
    assert_eq!(counted(&track, "track_checkpoint_unusable_total"), 1.0);
    assert!(track.log().unwrap().contains("trying the one before"), "it is said");
    assert!(counted(&track, "track_events_folded_total") > 0.0, "the tail is folded");
    track.terminate().unwrap();
}

#[test]
fn an_object_store_that_is_away_is_nobodys_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3::start().unwrap();
    let start = s3.checkpoints(standalone(dir.path()), "away").flag("--checkpoint-interval", "200ms");
    let track = start.ready().unwrap();
    listen(&track, "2025-01-01");
    wait_for_checkpoints(&track, 4.0);
    // It does not answer: events are taken and counted, and neither a stop nor a start waits for it.
    s3.freeze().unwrap();
    let position = listen(&track, "2025-01-02");
    let truth = answers(&track, &position);
    track.terminate().unwrap();
    let track = start.ready().unwrap();
    assert_eq!(answers(&track, &position), truth);
    assert_eq!(counted(&track, "track_restores_total"), 0.0);
    s3.unfreeze().unwrap();
    wait_for_checkpoints(&track, 4.0);
    track.terminate().unwrap();

    // It is gone for good: the same, and each attempt is counted.
    drop(s3);
    wipe(dir.path());
    let track = start.ready().unwrap();
    assert_eq!(answers(&track, &position), truth, "folded from the log");
    eventually(SEEN_WITHIN, "a failure is counted", || {
        let failures = counted(&track, "track_checkpoint_failures_total");
        anyhow::ensure!(failures > 0.0, "{failures}");
        Ok(())
    })
    .unwrap();
    let answer = Request::get("/readyz").send(track.admin()).unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    track.terminate().unwrap();
}

#[test]
fn a_new_owner_on_kafka_goes_on_from_the_checkpoints_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let plan = Plan::new(TRACK, &broker, dir.path()).partitions(3);
    let with_checkpoints = |name: &str| {
        let folder = dir.path().join("checkpoints");
        let processor = plan.processor(name).flag("--checkpoints", folder.to_str().unwrap());
        processor.flag("--checkpoint-interval", "200ms")
    };
    let (ingest, query) = (plan.role("ingest").ready().unwrap(), plan.role("query").spawn().unwrap());
    let old = with_checkpoints("old").ready().unwrap();
    query.wait_ready().unwrap();
    let site = Site::new(ingest.public(), query.public());
    let event = |number: usize| json!({"event": "play", "user_id": format!("user-{number}"), "timestamp": "2025-01-01T10:00:00Z"});
    // A query service hears of a new owner within a second or so.
    let is_counted = |plays: u64| {
        eventually(SEEN_WITHIN, "all is counted", || {
            let counts = site.counts(None)?;
            anyhow::ensure!(counts == BTreeMap::from([("play".to_owned(), plays)]), "{counts:?}");
            Ok(())
        })
        .unwrap();
    };
    site.track_batch(&(0..600).map(event).collect::<Vec<_>>());
    is_counted(600);
    // On a clean stop the checkpoints have it all, and another owner has nothing to fold.
    old.terminate().unwrap();
    let new = with_checkpoints("new").ready().unwrap();
    is_counted(600);
    assert_eq!(counted(&new, "track_restores_total"), 3.0, "{}", new.log().unwrap());
    assert_eq!(counted(&new, "track_events_folded_total"), 0.0);
    site.track_batch(&(600..900).map(event).collect::<Vec<_>>());
    is_counted(900);
    wait_for_checkpoints(&new, 3.0);
    // A replica begins with them too, and comes to the same state.
    let replica = with_checkpoints("replica").flag("--replica", "b").ready().unwrap();
    eventually(SEEN_WITHIN, "the replica has all of it", || {
        anyhow::ensure!(offsets(&replica)? == offsets(&new)?, "{:?}", offsets(&replica)?);
        Ok(())
    })
    .unwrap();
    assert_eq!(counted(&replica, "track_restores_total"), 3.0, "{}", replica.log().unwrap());
    let digests = |processor: &Track| {
        let mut rows = processor.ask_admin("/digest").unwrap().json().unwrap()["data"].as_array().unwrap().clone();
        rows.sort_by_key(|row| row["partition"].as_u64());
        rows.into_iter().map(|row| (row["nextOffset"].clone(), row["digest"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(digests(&new), digests(&replica));
    for track in [ingest, query, new, replica] {
        track.terminate().unwrap();
    }
}
