//! `track load` against a running track: it agrees where all is well, and says so where it is not.

use crate::{TRACK, standalone};
use serde_json::Value;
use std::process::{Command, Output};
use track_harness::track::Start;

/// The end of a run that is the same each time.
const UNTIL: &str = "2025-06-01T12:00:00Z";

fn load(flags: &[&str]) -> Output {
    Command::new(TRACK).args(["load", "--json", "--users", "500", "--events", "3000"]).args(flags).output().unwrap()
}

/// The report of a run that found nothing wrong.
fn good(flags: &[&str]) -> Value {
    let output = load(flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verified"]["differences"], 0, "{report}");
    report
}

#[test]
fn what_was_sent_is_what_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    let url = &format!("http://{}", track.public());
    let report = good(&["--url", url, "--until", UNTIL, "--connections", "8"]);
    assert_eq!((&report["done"], &report["requests"]), (&3_000.into(), &3_000.into()));
    assert!(report["verified"]["users"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(report["latency_ms"]["count"], 3_000);

    // On top of what is there already; the same events again would count only where they have no event_id.
    for (seed, packing) in [("2", &["--batch", "100"][..]), ("3", &["--batch", "1000", "--gzip"])] {
        let flags = [&["--url", url, "--until", UNTIL, "--seed", seed, "--freshness", "50"], packing].concat();
        assert_eq!(good(&flags)["done"], 3_000);
    }
    let asked = load(&["--url", url, "--ask", "user-month", "--connections", "4"]);
    assert!(asked.status.success());
    let asked: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!((&asked["done"], asked.get("failures")), (&3_000.into(), None));
    track.terminate().unwrap();
}

#[test]
fn a_folder_filled_beforehand_is_folded_and_a_difference_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let filled = ["--to", "folder", "--data-dir", data.to_str().unwrap(), "--until", UNTIL];
    assert!(load(&filled).status.success());
    // With as many partitions as the generator has made.
    let track = Start::new(TRACK, None, dir.path()).flag("--data-dir", data.to_str().unwrap()).ready().unwrap();
    let url = &format!("http://{}", track.public());
    let same = ["--to", "nothing", "--url", url, "--until", UNTIL];
    assert!(good(&same)["verified"]["compared"].as_u64().unwrap() > 100);

    let other = load(&[&same[..], &["--seed", "2"]].concat());
    assert_eq!(other.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert!(report["verified"]["differences"].as_u64().unwrap() > 0);
    assert!(report["verified"]["told"][0].as_str().unwrap().contains("answered"), "{report}");
    track.terminate().unwrap();
}

#[test]
fn without_a_track_it_says_where_it_looked() {
    let output = load(&["--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/metrics"), "{output:?}");
}
