//! Two folds of one log have one state: asked of running processes and of folders, and told by name where they have not.

use crate::errand::{Ended, run};
use crate::load::under_load;
use crate::site::{SEEN_WITHIN, Site};
use crate::{TRACK, standalone};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use track_harness::broker::Broker;
use track_harness::cluster::Plan;
use track_harness::poll::eventually;
use track_harness::tls::Certificates;
use track_harness::track::{Start, Track};

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

/// A track with all roles whose log is a copy of that in `from`, and whose state is folded from it anew; stopped again.
fn folded_anew(from: &Path, dir: &Path, with: impl FnOnce(Start) -> Start) {
    let (log, copy) = (from.join("data/log"), dir.join("data"));
    std::fs::create_dir_all(&copy).unwrap();
    assert!(Command::new("cp").arg("-r").args([&log, &copy]).status().unwrap().success());
    with(standalone(dir)).ready().unwrap().terminate().unwrap();
}

/// Two users listen on one day: one for a minute, the other for two hours.
fn listen(track: &Track) {
    let event = |user: &str, event: &str, time: &str| json!({"event": event, "user_id": user, "timestamp": format!("2025-01-01T{time}Z"), "event_id": time});
    let site = Site::new(track.public(), track.public());
    let position = site.track_batch(&[
        event("ann", "play", "10:00:00"),
        event("ann", "stop", "10:01:00"),
        event("bob", "play", "11:00:00"),
        event("bob", "stop", "13:00:00"),
    ]);
    site.data("/metrics?start_date=2025-01-01&end_date=2025-01-01", &position);
}

#[test]
fn a_state_is_what_its_log_says() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let start = standalone(dir.path()).flag("--partitions", "1");
    let track = start.ready().unwrap();
    listen(&track);
    let answer = track.ask_admin("/digest").unwrap();
    assert_eq!(answer.status, 200, "{answer}");
    let rows = answer.json().unwrap()["data"].clone();
    let row = &rows[0];
    assert_eq!((&row["partition"], &row["nextOffset"], rows.as_array().unwrap().len()), (&json!(0), &json!(4), 1));
    assert_eq!(track.ask_admin("/digest?partition=0&at_offset=4").unwrap().json().unwrap()["data"], rows);
    for (query, code) in [
        ("partition=9", 404),
        ("partition=x", 400),
        ("at_offset=4", 400),
        ("nonsense=1", 400),
        ("partition=0&at_offset=3", 409),
    ] {
        let answer = track.ask_admin(&format!("/digest?{query}")).unwrap();
        assert_eq!((answer.status, &answer.json().unwrap()["status"]), (code, &json!("error")), "{query}: {answer}");
    }

    // Its folder is its own while it runs.
    let data = dir.path().join("data");
    let refused = run(&["processor", "digest", "--data-dir", path(&data)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.said.contains("in use") && refused.said.contains("GET /digest"), "{refused:?}");
    track.terminate().unwrap();

    let digest = run(&["processor", "digest", "--data-dir", path(&data)]);
    let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
    let expected = format!(
        "partition=0 next_offset=4 stream_time={} rows={} digest={}\n",
        text("streamTime"),
        text("rows"),
        text("digest")
    );
    assert_eq!((digest.code, digest.printed), (Some(0), expected));

    folded_anew(dir.path(), other.path(), |start| start.flag("--partitions", "1"));
    let verified = run(&["verify", path(&data), path(&other.path().join("data"))]);
    assert_eq!((verified.code, &*verified.printed), (Some(0), "partition 0  offset 4  equal\n"), "{verified:?}");
}

#[test]
fn what_tells_two_states_apart_is_named() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [dir, other_pair, other_limit] = dirs.each_ref().map(tempfile::TempDir::path);
    let one_partition = |start: Start| start.flag("--partitions", "1");
    let track = one_partition(standalone(dir)).ready().unwrap();
    listen(&track);
    track.terminate().unwrap();
    let data = dirs.each_ref().map(|dir| dir.path().join("data"));
    let [data, data_pair, data_limit] = data.each_ref().map(|data| path(data));

    // Under other rules the same log leads to other sessions.
    folded_anew(dir, other_pair, |start| one_partition(start).flag("--session-pair", "dial:hang up"));
    let differs = run(&["verify", data, data_pair]);
    let missing = format!(
        "partition 0  offset 4  differs: quarter-sessions: day 2025-01-01, session pair 0: missing in {data_pair}\n"
    );
    assert_eq!((differs.code, &differs.printed), (Some(1), &missing), "{differs:?}");
    let differs = run(&["verify", data_pair, data]);
    assert_eq!((differs.code, &differs.printed), (Some(1), &missing), "{differs:?}");
    folded_anew(dir, other_limit, |start| one_partition(start).flag("--session-max-duration", "1h"));
    let differs = run(&["verify", data, data_limit, "--partition", "0"]);
    let value = "partition 0  offset 4  differs: quarter-sessions: day 2025-01-01, session pair 0: another value\n";
    assert_eq!((differs.code, &*differs.printed), (Some(1), value), "{differs:?}");

    // One that is elsewhere can't be compared.
    let track = one_partition(standalone(other_limit)).flag("--session-max-duration", "1h").ready().unwrap();
    listen(&track);
    track.terminate().unwrap();
    let apart = run(&["verify", data, data_limit]);
    assert_eq!(apart.code, Some(2), "{apart:?}");
    assert!(apart.printed.contains("not compared") && apart.printed.contains("offset 4"), "{apart:?}");
    let missing = run(&["verify", data, data_limit, "--partition", "7"]);
    assert!(missing.code == Some(2) && missing.said.contains("partition 7 is not in"), "{missing:?}");
    let nobody = run(&["verify", data, "http://127.0.0.1:1"]);
    assert!(nobody.code == Some(2) && nobody.said.contains("http://127.0.0.1:1"), "{nobody:?}");
}

#[test]
fn replicas_agree_while_they_are_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::for_localhost().unwrap();
    let pem = ["cert", "key", "ca"].map(|name| dir.path().join(name).to_string_lossy().into_owned());
    let [cert, key, ca] = &pem;
    for (file, text) in [(cert, &certificates.chain), (key, &certificates.key), (ca, &certificates.ca)] {
        std::fs::write(file, text).unwrap();
    }
    let broker = Broker::start().unwrap();
    let plan = Plan::new(TRACK, &broker, dir.path()).partitions(2);
    let ingest = plan.role("ingest").ready().unwrap();
    let one = plan.processor("one").ready().unwrap();
    let other = plan.processor("other").flag("--replica", "b").flag("--tls-cert", cert).flag("--tls-key", key);
    let other = other.ready().unwrap();
    // Either is alone in its group, and has both partitions before long.
    for processor in [&one, &other] {
        eventually(SEEN_WITHIN, "both partitions are there", || {
            let answer = processor.ask_admin("/digest")?;
            let states = answer.json()?["data"].as_array().map_or(0, Vec::len);
            anyhow::ensure!(states == 2, "{answer}");
            Ok(())
        })
        .unwrap();
    }
    let urls = [format!("http://{}", one.grpc().unwrap()), format!("https://{}", other.grpc().unwrap())];
    let verify = || run(&["verify", &urls[0], &urls[1], "--tls-ca", ca]);

    let check = |verified: &Ended| {
        assert_eq!(verified.code, Some(0), "{verified:?}");
        let lines: Vec<_> = verified.printed.lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with("  equal")), "{verified:?}");
    };
    let (verified, load) = under_load(ingest.public(), "written", 2_000, || [verify(), verify(), verify()]);
    verified.iter().for_each(check);
    assert!(load.acknowledged > 2_000, "it was written to meanwhile: {load:?}");
    // Nobody writes any more.
    let verified = verify();
    check(&verified);

    // The same of a stopped one's folder, and of the running one as its operator sees it.
    let data: Vec<Value> = {
        let answer = one.ask_admin("/digest").unwrap();
        answer.json().unwrap()["data"].as_array().unwrap().clone()
    };
    other.terminate().unwrap();
    let folder = dir.path().join("other");
    let digests = run(&["processor", "digest", "--data-dir", path(&folder)]);
    for row in &data {
        let partition = format!("partition={} next_offset={} ", row["partition"], row["nextOffset"]);
        let digest = format!(" digest={}", row["digest"].as_str().unwrap());
        let is_it = |line: &str| line.starts_with(&partition) && line.ends_with(&digest);
        assert!(digests.printed.lines().any(is_it), "{row} in {digests:?}");
    }
    check(&run(&["verify", &urls[0], path(&folder)]));
    ingest.terminate().unwrap();
    one.terminate().unwrap();
}
