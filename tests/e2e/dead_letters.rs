//! Anything may write to the topic of events. What is no event is put aside with its reason, what comes behind it counts,
//! and what turns out to be an event after all is put back and counts once.

use crate::operators::{samples, sum};
use crate::services::exact_or_refused;
use crate::site::{SEEN_WITHIN, Site};
use crate::topic::{self, Written};
use crate::{TRACK, standalone};
use prost::Message as _;
use rdkafka::Message as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Arc;
use track_harness::broker::Broker;
use track_harness::cluster::{Cluster, Plan};
use track_harness::poll::eventually;
use track_log::embedded::EmbeddedLog;
use track_log::{Append as _, NewRecord};
use track_proto::v1::{DeadLetter, Event};
use track_proto::{partitioner, topics};

const PARTITIONS: u32 = 4;
/// Where all that is no event is written.
const PARTITION: u32 = 2;
const DAY: &str = "start_date=2025-01-01&end_date=2025-01-01";
const NOON_MS: i64 = 1_735_732_800_000;

/// A record, and why it is put aside: as the metric names the reason, and a word of the letter.
struct Case {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    kind: &'static str,
    says: &'static str,
}

/// A user that lives in [`PARTITION`].
fn user() -> String {
    let mut users = (0..).map(|number| format!("user-{number}"));
    users.find(|user| partitioner::partition_for(user.as_bytes(), PARTITIONS) == PARTITION).unwrap()
}

fn play(user: &str) -> Event {
    Event { event: "play".into(), user_id: user.into(), timestamp_ms: NOON_MS, ..Event::default() }
}

fn case(key: Option<&[u8]>, value: Option<&[u8]>, kind: &'static str, says: &'static str) -> Case {
    Case { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), kind, says }
}

/// An event of `user` with one thing wrong.
fn but(user: &str, change: impl FnOnce(&mut Event), kind: &'static str, says: &'static str) -> Case {
    let mut event = play(user);
    change(&mut event);
    case(Some(user.as_bytes()), Some(&event.encode_to_vec()), kind, says)
}

fn no_events(user: &str) -> Vec<Case> {
    let key = Some(user.as_bytes());
    let good = play(user).encode_to_vec();
    let truncated = &good[..good.len() - 1];
    // Field 2, the name, as a number; field 4, the time, as text; field 2 as bytes that are not UTF-8.
    let (number, text, not_utf8) = (&[0x10, 1][..], &[0x22, 1, b'x'][..], &[0x12, 1, 0xff][..]);
    // A hundred megabytes that zstd makes a few kilobytes of: longer than any letter can be.
    let huge = vec![0xff; 105 << 20];
    vec![
        case(key, Some(b"not an envelope"), "envelope", "not an event envelope"),
        case(key, Some(&[0xff; 100_000]), "envelope", "not an event envelope"),
        case(key, Some(&huge), "envelope", "not an event envelope"),
        case(key, Some(truncated), "envelope", "not an event envelope"),
        case(key, Some(number), "envelope", "not an event envelope"),
        case(key, Some(text), "envelope", "not an event envelope"),
        case(key, Some(not_utf8), "envelope", "not an event envelope"),
        case(key, None, "no_value", "has no value"),
        case(key, Some(b""), "no_value", "has no value"),
        case(None, None, "no_value", "has no value"),
        case(None, Some(&good), "no_key", "has no key"),
        case(Some(b""), Some(&good), "key_mismatch", "not its user_id"),
        case(Some(b"another"), Some(&good), "key_mismatch", "not its user_id"),
        but(user, |event| event.version = 99, "version", "version 99"),
        but(user, |event| event.event = "date".into(), "reserved_name", "date"),
        but(user, |event| event.event.clear(), "field", "event must not be empty"),
        but(user, |event| event.user_id.clear(), "field", "user_id must not be empty"),
        but(user, |event| event.event = "x".repeat(129), "field", "at most 128 bytes"),
        but(user, |event| event.user_id = "x".repeat(257), "field", "at most 256 bytes"),
        but(user, |event| event.event = "a\nb".into(), "field", "control characters"),
        but(user, |event| event.user_id = "a\0b".into(), "field", "control characters"),
        but(user, |event| event.client_event_id = true, "field", "event_id must not be empty"),
        but(user, |event| event.timestamp_ms = i64::MAX, "timestamp", "timestamp"),
        but(user, |event| event.timestamp_ms = i64::MIN, "timestamp", "timestamp"),
    ]
}

fn start(broker: &Broker, dir: &tempfile::TempDir) -> (Cluster, Site) {
    let cluster = Plan::new(TRACK, broker, dir.path()).partitions(PARTITIONS).start().unwrap();
    let site = Site::new(cluster.ingest.public(), cluster.query.public());
    (cluster, site)
}

fn write(broker: &Broker, cases: &[Case]) {
    let written = |case: &Case| Written {
        partition: PARTITION,
        key: case.key.clone(),
        value: case.value.clone(),
        timestamp_ms: None,
    };
    topic::write(broker, topics::EVENTS, &cases.iter().map(written).collect::<Vec<_>>());
}

/// The letters, once there are so many.
fn letters(broker: &Broker, count: usize) -> Vec<DeadLetter> {
    let records = eventually(SEEN_WITHIN, "every bad record is put aside", || {
        let end = topic::end(broker, topics::DEAD_LETTER);
        anyhow::ensure!(end >= count as u64, "{end} of {count}");
        Ok(topic::records(broker, topics::DEAD_LETTER))
    });
    let records = records.unwrap();
    records.iter().map(|record| DeadLetter::decode(record.payload().unwrap()).unwrap()).collect()
}

#[test]
fn what_is_no_event_is_put_aside_and_the_partition_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let (cluster, site) = start(&broker, &dir);
    let user = user();
    let cases = no_events(&user);
    write(&broker, &cases);
    // And one that is as good as ours, though its producer's clock is a thousand years ahead.
    let good = Written {
        partition: PARTITION,
        key: Some(user.clone().into_bytes()),
        value: Some(play(&user).encode_to_vec()),
        timestamp_ms: Some(32_472_144_000_000),
    };
    topic::write(&broker, topics::EVENTS, &[good]);
    site.expect(&user, "play", 1);
    let position = site.track(&json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"}));
    let query = format!("/metrics?{DAY}&user_id={user}&min_position={position}");
    exact_or_refused(&site, &query, &json!([{"date": "2025-01-01", "play": 2}]));

    let letters = letters(&broker, cases.len());
    assert_eq!(letters.len(), cases.len(), "each once");
    for (offset, (case, letter)) in cases.iter().zip(&letters).enumerate() {
        assert_eq!((letter.partition, letter.offset), (PARTITION, offset as u64), "{}", letter.reason);
        assert!(letter.reason.contains(case.says), "{} should say {}", letter.reason, case.says);
        assert!(letter.append_time_ms > NOON_MS);
        assert_eq!(letter.key.as_deref(), case.key.as_deref(), "{}", letter.reason);
        let value = case.value.as_deref().unwrap_or_default();
        assert_eq!(letter.value_bytes, value.len() as u64, "{}", letter.reason);
        assert!(value.starts_with(&letter.value), "{}", letter.reason);
        assert_eq!(letter.value.len(), value.len().min(1 << 20), "{}", letter.reason);
    }
    let pages: Vec<String> = cluster
        .processors
        .iter()
        .map(|processor| String::from_utf8(processor.ask_admin("/metrics").unwrap().body).unwrap())
        .collect();
    let mut expected: BTreeMap<&str, f64> = BTreeMap::new();
    for case in &cases {
        *expected.entry(case.kind).or_default() += 1.0;
    }
    for (kind, count) in expected {
        let counted: f64 = pages
            .iter()
            .map(|page| sum(&samples(page), "track_dead_letters_total", &[&format!("reason=\"{kind}\"")]))
            .sum();
        assert_eq!(counted, count, "{kind}");
    }
    site.check_tally();
    cluster.terminate().unwrap();
}

/// Runs the command to its end, which must be a good one; what it printed.
fn replay(flags: &[&str]) -> String {
    let output = run_replay(flags);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{:?}: {}", output.status, text(output.stderr));
    text(output.stdout)
}

fn run_replay(flags: &[&str]) -> Output {
    let mut command = Command::new(TRACK);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACK_") {
            command.env_remove(name);
        }
    }
    command.arg("replay-dead-letters").args(flags).output().unwrap()
}

#[test]
fn what_is_an_event_after_all_is_put_back_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start().unwrap();
    let (cluster, site) = start(&broker, &dir);
    let user = user();
    let mut cases = no_events(&user);
    // One that its producer named, and sent again under the right key when it saw its mistake.
    let named = Event { event_id: "once".into(), client_event_id: true, ..play(&user) }.encode_to_vec();
    cases.push(case(Some(b"another"), Some(&named), "key_mismatch", "not its user_id"));
    write(&broker, &cases);
    let again =
        Written { partition: PARTITION, key: Some(user.clone().into_bytes()), value: Some(named), timestamp_ms: None };
    topic::write(&broker, topics::EVENTS, &[again]);
    // An envelope that older processors were too old for, this version is not: as they would have put it aside.
    let letter = letters(&broker, cases.len()).swap_remove(0);
    let value = play(&user).encode_to_vec();
    let mended = DeadLetter {
        reason: "event envelope version 1 is newer than 0".into(),
        offset: 1_000_000,
        key: Some(user.clone().into_bytes().into()),
        value_bytes: value.len() as u64,
        value: value.into(),
        ..letter
    };
    let record = Written { partition: 0, key: None, value: Some(mended.encode_to_vec()), timestamp_ms: None };
    let no_letter = Written { value: Some(b"\xff".to_vec()), ..record.clone() };
    topic::write(&broker, topics::DEAD_LETTER, &[record, no_letter]);

    let plays = |count: u64| {
        let position = site.track(&json!({"event": "look", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"}));
        let query = format!("/metrics?{DAY}&user_id={user}&event=play&min_position={position}");
        exact_or_refused(&site, &query, &json!([{"date": "2025-01-01", "play": count}]));
    };
    // The one that was sent again.
    plays(1);
    let ends = || [topics::EVENTS, topics::DEAD_LETTER].map(|topic| topic::end(&broker, topic));
    let brokers = broker.bootstrap();
    let total = cases.len() + 2;
    // Without a key, with an empty one and with another's (twice), and what is mended.
    let (put_back, stay) = (5, total - 5);

    let before = ends();
    let told = replay(&["--kafka-brokers", &brokers, "--dry-run"]);
    assert!(told.ends_with(&format!("{total} dead letters: {put_back} can be put back, {stay} stay\n")), "{told}");
    assert_eq!(ends(), before, "a dry run changes nothing");
    plays(1);

    let [events, letters] = ends();
    let told = replay(&["--kafka-brokers", &brokers]);
    assert!(told.ends_with(&format!("{total} dead letters: {put_back} put back, {stay} stay\n")), "{told}");
    assert_eq!(told.lines().count(), total + 1, "{told}");
    for (offset, case) in cases.iter().enumerate() {
        let place = format!("{PARTITION}:{offset} ");
        let line = told.lines().find(|line| line.starts_with(&place)).unwrap();
        assert_eq!(line.contains("put back"), ["no_key", "key_mismatch"].contains(&case.kind), "{line}");
        assert!(case.value.as_ref().is_some_and(|value| value.len() > 1 << 20) || line.contains(case.says), "{line}");
    }
    assert!(told.contains("2:1000000 put back") && told.contains("only the first 1048576 are in the letter"), "{told}");
    assert_eq!(ends(), [events + put_back as u64, letters], "letters stay where they are");
    // All but the one that its producer had sent again.
    plays(1 + 4);

    let told = replay(&["--kafka-brokers", &brokers]);
    assert!(told.ends_with(&format!("{total} dead letters: {put_back} put back, {stay} stay\n")), "{told}");
    plays(1 + 4);
    cluster.terminate().unwrap();
}

/// All in one process there is no other producer: what lies there is what an older version did not know.
#[test]
fn the_letters_of_a_stopped_standalone_are_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let flags = ["--standalone-data-dir", data_dir.to_str().unwrap()];
    let refused = |says: &str| {
        let output = run_replay(&flags);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(says), "should say {says}: {said}");
    };
    refused("no such folder");
    assert!(!data_dir.exists());
    std::fs::create_dir(&data_dir).unwrap();
    refused("there is no log");
    let track = standalone(dir.path()).ready().unwrap();
    refused("in use");
    track.terminate().unwrap();

    // The folder was written to just now, which is all that has to be known of the time.
    let written = data_dir.metadata().unwrap().modified().unwrap();
    let now_ms = written.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let letter = DeadLetter {
        reason: "event envelope version 1 is newer than 0".into(),
        offset: 1_000_000,
        append_time_ms: now_ms,
        value_bytes: play("u").encoded_len() as u64,
        value: play("u").encode_to_vec().into(),
        ..DeadLetter::default()
    };
    let log = EmbeddedLog::open_made(&data_dir.join("dead-letter"), Arc::new(move || now_ms)).unwrap().unwrap();
    let record = NewRecord { key: "0:1000000".into(), value: letter.encode_to_vec().into() };
    futures::executor::block_on(log.append(vec![record])).unwrap();
    drop(log);
    for _ in 0..2 {
        assert!(replay(&flags).ends_with("1 dead letters: 1 put back, 0 stay\n"));
    }
    let track = standalone(dir.path()).ready().unwrap();
    let site = Site::new(track.public(), track.public());
    site.expect("u", "play", 1);
    site.check_tally();
    track.terminate().unwrap();
}
