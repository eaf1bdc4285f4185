//! What was answered 200 outlives the process, however that ends; and one folder has one owner.

use crate::load::{Load, under_load};
use crate::site::Site;
use crate::{TRACK, standalone};
use serde_json::json;
use std::path::Path;
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_harness::track::{Start, Track};

fn site(track: &Track) -> Site {
    Site::new(track.public(), track.public())
}

/// Sends every event again: what had been taken counts once, what was lost on the way counts now.
fn send_again(track: &Track, load: &Load, name: &str) {
    for batch in load.events(name).chunks(1_000) {
        let answer = Request::post_json("/track/batch", &json!(batch)).send(track.public()).unwrap();
        assert_eq!(answer.status, 200, "{answer}");
    }
}

/// How many events of this name are counted, once that many are.
fn counted(track: &Track, name: &str, at_least: u64) -> u64 {
    let site = site(track);
    let count = || {
        let count = site.counts(None)?.get(name).copied().unwrap_or(0);
        anyhow::ensure!(count >= at_least, "{count} of {at_least} events named {name}");
        Ok(count)
    };
    eventually(crate::site::SEEN_WITHIN, "what was acknowledged is counted", count).unwrap()
}

#[test]
fn sigterm_drains_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let start = standalone(dir.path());
    let track = start.ready().unwrap();
    let (ended, load) = under_load(track.public(), "drained", 500, || track.terminate());
    ended.unwrap();
    let track = start.ready().unwrap();
    // Not one more either: what was not answered was not taken.
    assert_eq!(counted(&track, "drained", load.acknowledged), load.acknowledged, "{load:?}");
    track.terminate().unwrap();
}

#[test]
fn a_killed_process_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let start = standalone(dir.path());
    let mut track = start.ready().unwrap();
    let mut loads: Vec<(String, Load)> = Vec::new();
    for round in 0..4 {
        let name = format!("killed-{round}");
        let ((), load) = under_load(track.public(), &name, 300 * (round + 1), || track.kill9().unwrap());
        track = start.ready().unwrap();
        loads.push((name, load));
        for (name, load) in &loads {
            let counted = counted(&track, name, load.acknowledged);
            assert!((load.acknowledged..=load.sent()).contains(&counted), "{counted} of {load:?}");
        }
    }
    // The marks of what was taken outlived the kills as well.
    for (name, load) in &loads {
        send_again(&track, load, name);
        assert_eq!(counted(&track, name, load.sent()), load.sent(), "{name}");
    }
    // One more kill right after the answers, and one in the middle of catching up.
    track.kill9().unwrap();
    start.spawn().unwrap().kill9().unwrap();
    let track = start.ready().unwrap();
    for (name, load) in &loads {
        assert_eq!(counted(&track, name, load.sent()), load.sent(), "{name}");
    }
    track.terminate().unwrap();
}

#[test]
fn sessions_and_marks_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let start = standalone(dir.path());
    let event =
        |event: &str, id: &str, at: &str| json!({"event": event, "user_id": "u", "event_id": id, "timestamp": at});
    let sessions = "/sessions?start_date=2025-01-01&end_date=2025-01-31&user_id=u";
    let track = start.ready().unwrap();
    site(&track).track_batch(&[event("play", "1", "2025-01-01T10:00:00Z"), event("play", "2", "2025-01-01T11:00:00Z")]);
    track.terminate().unwrap();

    let track = start.ready().unwrap();
    let position = site(&track).track(&event("stop", "3", "2025-01-01T11:01:00Z"));
    let one = json!([{"date": "2025-01-01", "totalDuration": 60, "sessionCount": 1, "averageDuration": 60}]);
    assert_eq!(site(&track).data(sessions, &position), one);
    track.kill9().unwrap();

    let track = start.ready().unwrap();
    let site = site(&track);
    let again = site.track(&event("stop", "3", "2025-01-01T11:01:00Z"));
    assert_eq!(site.data(sessions, &again), one);
    let position = site.track(&event("stop", "4", "2025-01-01T12:00:00Z"));
    assert_eq!(
        site.data(sessions, &position),
        json!([{"date": "2025-01-01", "totalDuration": 7_260, "sessionCount": 2, "averageDuration": 3_630}])
    );
    track.terminate().unwrap();
}

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let start = standalone(dir.path());
    let track = start.ready().unwrap();
    let (status, said) = start.fail().unwrap();
    assert!(!status.success() && status.code().is_some(), "{status}: {said}");
    let folder = dir.path().join("data");
    assert!(said.contains(&*folder.to_string_lossy()), "it does not name the folder: {said}");
    assert!(said.contains("another") || said.contains("in use"), "it does not say why: {said}");
    assert!(!said.contains("panicked"), "{said}");
    // The first one has not noticed.
    site(&track).track(&json!({"event": "play", "user_id": "u"}));
    track.terminate().unwrap();
    // The folder is free again.
    start.ready().unwrap().terminate().unwrap();
}

#[test]
fn another_number_of_partitions_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let start: Start = standalone(dir.path());
    start.ready().unwrap().terminate().unwrap();
    let (status, said) = start.clone().flag("--partitions", "7").fail().unwrap();
    assert!(!status.success() && status.code().is_some(), "{status}: {said}");
    assert!(said.contains("partitions") && said.contains('7') && said.contains('4'), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    start.ready().unwrap().terminate().unwrap();
}

#[test]
fn a_state_whose_log_is_gone_is_not_given_another_log() {
    let dir = tempfile::tempdir().unwrap();
    let start = standalone(dir.path());
    let track = start.ready().unwrap();
    site(&track).track(&json!({"event": "play", "user_id": "u"}));
    assert_eq!(counted(&track, "play", 1), 1);
    track.terminate().unwrap();
    let (log, elsewhere) = (dir.path().join("data/log"), dir.path().join("elsewhere"));
    std::fs::rename(&log, &elsewhere).unwrap();

    let unsaid = Start::new(TRACK, None, dir.path()).flag("--data-dir", &dir.path().join("data").to_string_lossy());
    for start in [&unsaid, &start] {
        let (status, said) = start.fail().unwrap();
        assert!(!status.success() && !said.contains("panicked"), "{status}: {said}");
        assert!(said.contains("folded from"), "{said}");
    }
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&elsewhere, &log).unwrap();
    let track = unsaid.ready().unwrap();
    assert_eq!(counted(&track, "play", 1), 1);
    track.terminate().unwrap();
}

#[test]
fn without_a_number_the_log_has_a_partition_a_processor_and_keeps_what_it_was_made_with() {
    let partitions_of = |start: &Start| {
        let track = start.ready().unwrap();
        let states = track.ask_admin("/digest").unwrap().json().unwrap();
        track.terminate().unwrap();
        states["data"].as_array().unwrap().len()
    };
    let (new, made) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let unsaid = |dir: &Path| Start::new(TRACK, None, dir).flag("--data-dir", &dir.join("data").to_string_lossy());
    let processors = std::thread::available_parallelism().unwrap().get();
    assert_eq!(partitions_of(&unsaid(new.path())), processors.min(16));
    assert_eq!(partitions_of(&unsaid(made.path()).flag("--partitions", "3")), 3);
    assert_eq!(partitions_of(&unsaid(made.path())), 3);
}
