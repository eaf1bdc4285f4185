//! What a spool does not take, and what does not start.

use super::{check_refused, cut_off, readiness, spool_events};
use crate::kills::disk::{SmallDisk, fill};
use crate::site::SEEN_WITHIN;
use serde_json::json;
use std::fs;
use track_harness::http::Request;
use track_harness::poll::eventually;

#[test]
fn a_spool_takes_no_more_than_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let track = cut_off(dir.path()).flag("--spool-size-max", "32MiB").ready().unwrap();
    assert!(readiness(&track).unwrap().starts_with("ready, spooling: "), "{}", readiness(&track).unwrap());
    let event = json!({"event": "play", "user_id": "u", "metadata": {"note": "x".repeat(4_000)}});
    let batch = Request::post_json("/track/batch", &json!(vec![event; 1_000]));
    let mut taken = 0;
    let refused = loop {
        let answer = batch.send(track.public()).unwrap();
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    check_refused(&refused);
    // About four MiB each.
    assert!((6..=8).contains(&taken), "{taken} batches");
    // What it has stays.
    track.terminate().unwrap();
}

#[test]
fn a_full_disk_refuses_and_takes_again_with_room() {
    let dir = tempfile::tempdir().unwrap();
    let spool = super::spool_in(dir.path());
    let disk = SmallDisk::mount(&spool);
    let track = disk.start(cut_off(dir.path()), dir.path()).ready().unwrap();
    spool_events(&track, 100);
    let ballast = disk.inside(&track).join("ballast");
    // Longer than the zeros that the log has written ahead.
    let event = json!({"event": "play", "user_id": "u", "metadata": {"note": "x".repeat(4_000)}});
    let batch = Request::post_json("/track/batch", &json!(vec![event; 300]));
    let post = || batch.send(track.public()).unwrap();
    eventually(SEEN_WITHIN, "it refuses", || {
        fill(&ballast);
        let answer = post();
        anyhow::ensure!(answer.status == 503, "{answer}");
        check_refused(&answer);
        Ok(())
    })
    .unwrap();
    assert_eq!(track.ask_admin("/readyz").unwrap().status, 503);
    fs::remove_file(&ballast).unwrap();
    eventually(SEEN_WITHIN, "it takes events again", || {
        let answer = post();
        anyhow::ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
    .unwrap();
    track.wait_ready().unwrap();
    track.terminate().unwrap();
}

#[test]
fn a_second_process_on_one_spool_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let track = cut_off(dir.path()).ready().unwrap();
    let (status, said) = cut_off(dir.path()).fail().unwrap();
    assert!(!status.success() && status.code().is_some(), "{status}: {said}");
    assert!(said.contains("--spool") && said.contains("in use") && said.contains("folder of its own"), "{said}");
    spool_events(&track, 1);
    track.terminate().unwrap();
}

/// What waiting does not help against is said, although it listens by then.
#[test]
fn a_kafka_that_is_refused_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let (status, said) = cut_off(dir.path()).flag("--kafka-property", "acks=1").fail().unwrap();
    assert!(!status.success() && status.code().is_some(), "{status}: {said}");
    assert!(said.contains("acks") && !said.contains("panicked"), "{said}");
}
