//! One log prefix has one digest, whatever became of the store meanwhile; and nothing alive can change unnoticed.

use super::*;
use crate::SessionPair;
use crate::fold;
use crate::query;
use crate::rules::SessionRules;
use crate::sessions;
use crate::state::counts;
use crate::state::identity::Identity;
use crate::state::memory::Memory;
use crate::state::store::Store;
use crate::state::stretches::{Day, Stretch, stretch_of};
use crate::state::ttl::ARRIVAL_SECONDS;
use crate::state::working_set::{Budget, WorkingSet};
use std::collections::BTreeSet;
use std::path::Path;
use track_log::Record;
use track_proto::calendar::DAY_MS;
use track_proto::event::{self, Event};
use track_proto::v1::QueryRequest;

/// 2025-01-01T00:00:00Z.
const NEW_YEAR_MS: i64 = 1_735_689_600_000;
const SPANS: Spans = Spans { retention: 40 * 86_400 };

fn open(folder: &Path) -> Store {
    let identity = Identity {
        partition: 0,
        partition_count: 1,
        session_pairs: vec![SessionPair { open: "play".into(), close: "stop".into() }],
        session_duration_ms_max: 30 * DAY_MS,
        retention_seconds: SPANS.retention,
    };
    Store::open(folder, &identity, SPANS, &Memory::new(32 << 20)).unwrap()
}

/// Forty days of two users who play and stop, like and send again what they have sent.
fn log() -> Vec<Record> {
    let record = |n: i64| {
        let event = Event {
            event: ["play", "stop", "like"][usize::try_from(n % 3).unwrap()].into(),
            user_id: ["ann", "bob"][usize::try_from(n % 2).unwrap()].into(),
            event_id: (n / 2).to_string(),
            client_event_id: true,
            // Out of order by up to four hours.
            timestamp_ms: NEW_YEAR_MS + (n + n * 7 % 5) * 3_600_000,
            received_at_ms: NEW_YEAR_MS,
            ..Event::default()
        };
        Record {
            offset: n.unsigned_abs(),
            append_time_ms: NEW_YEAR_MS + n * 3_600_000,
            key: Some(event.user_id.clone().into()),
            value: event::encode(&event),
        }
    };
    (0..40 * 24).map(record).collect()
}

fn rules() -> (SessionRules, sessions::Rules) {
    let pairs = vec![SessionPair { open: "play".into(), close: "stop".into() }];
    (SessionRules::new(pairs).unwrap(), sessions::Rules::new(30 * DAY_MS, i64::from(ARRIVAL_SECONDS) * 1000))
}

/// Folds in batches of `size`, with a flush after each where `flushes`.
fn fold(store: &Store, records: &[Record], size: usize, flushes: bool) {
    let (rules, session_rules) = rules();
    let mut working = WorkingSet::new(SPANS, &Budget::new(1 << 20));
    for batch in records.chunks(size) {
        let before = store.progress().unwrap().unwrap_or_default();
        let folded = fold::fold(&mut working, store, &rules, &session_rules, before, batch, |_| true).unwrap();
        working.write(store, folded.progress).unwrap();
        if flushes {
            store.flush().unwrap();
        }
    }
}

fn digest_of(store: &Store) -> StateDigest {
    digest(store.view().whole().unwrap(), 0, SPANS, || true).unwrap().unwrap()
}

fn hashes_of(store: &Store) -> Vec<RowHash> {
    let (mut rows, mut ended) = (Vec::new(), false);
    hash_rows(store.view().whole().unwrap(), SPANS, None, |message| {
        assert!(!ended, "nothing comes after the last message");
        ended = message.last;
        rows.extend(message.rows);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(ended);
    rows
}

#[test]
fn two_folds_of_one_prefix_have_one_digest() {
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = log();
    let store = open(folder.path());
    fold(&store, &log, 10_000, false);
    let whole = digest_of(&store);
    assert_eq!((whole.next_offset, whole.partition), (960, 0));
    assert_eq!(i64::from(whole.stream_time_s) * 1000, NEW_YEAR_MS + 959 * 3_600_000);
    assert!(whole.rows > 100, "{whole}");

    // One by one, flushed many times, reopened in the middle and compacted while rows are over.
    let other = open(other_folder.path());
    fold(&other, &log[..480], 1, false);
    fold(&other, &log[480..500], 7, true);
    drop(other);
    let other = open(other_folder.path());
    fold(&other, &log[500..], 40, true);
    assert_eq!(digest_of(&other), whole);
    let before = other.bytes();
    other.compact();
    assert!(other.bytes() < before, "the compaction had something to do");
    assert_eq!(digest_of(&other), whole);
    // Rows that are over are still in the first store and gone from the second.
    assert_eq!(hashes_of(&store), hashes_of(&other));
    assert_eq!(hashes_of(&store).len(), usize::try_from(whole.rows).unwrap());
}

#[test]
fn what_is_looked_at_stays_while_time_goes_on_and_compactions_drop_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let log = log();
    fold(&store, &log[..240], 1_000, true);
    let before = digest_of(&store);
    let view = store.view();
    let whole = view.whole().unwrap();
    // Thirty days on, the marks and edges of the first days are over.
    fold(&store, &log[240..], 1_000, true);
    store.compact();
    assert_eq!(digest(whole, 0, SPANS, || true).unwrap(), Some(before));
    let late = digest(view.whole().unwrap(), 0, SPANS, || true).unwrap().unwrap();
    assert!(late.rows < before.rows, "a snapshot alone keeps nothing from a compaction: {late}");
}

#[test]
fn each_record_makes_another_digest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let log = log();
    let mut seen = BTreeSet::from([digest_of(&store).digest]);
    for record in &log[..100] {
        fold(&store, std::slice::from_ref(record), 1, false);
        assert!(seen.insert(digest_of(&store).digest), "offset {}", record.offset);
    }
}

#[test]
fn no_row_can_change_or_go_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    fold(&store, &log()[..60], 10, false);
    let before = digest_of(&store);
    let mut families = BTreeSet::new();
    for RowHash { family, key, .. } in hashes_of(&store) {
        let family = Family::ALL.into_iter().find(|known| known.name() == family).unwrap();
        families.insert(family.name());
        let value = store.get(family, &key).unwrap().unwrap();
        let put = |value: Option<&[u8]>| {
            let mut batch = store.batch(0);
            match value {
                Some(value) => batch.put(family, &key, value),
                None => batch.delete(family, &key),
            }
            store.write(batch).unwrap();
        };
        // The lowest bit of the stamp: the row is as alive as before.
        let mut altered = value.clone();
        altered[3] ^= 1;
        for altered in [Some(altered.as_slice()), None] {
            put(altered);
            assert_ne!(digest_of(&store).digest, before.digest, "{}: {key:?}", family.name());
        }
        put(Some(&value));
        assert_eq!(digest_of(&store), before);
    }
    assert_eq!(families.len(), Family::ALL.len(), "{families:?}");
}

#[test]
fn what_is_over_is_no_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    fold(&store, &log(), 1_000, false);
    let before = digest_of(&store);
    let put = |touched| {
        let mut value = Vec::new();
        Stamp::write(touched, &mut value);
        value.extend_from_slice(&[0, 1]);
        let mut batch = store.batch(0);
        batch.put(Family::QuarterCounts, &counts::total_key(0, "long ago"), &value);
        store.write(batch).unwrap();
    };
    put(before.stream_time_s - SPANS.retention);
    assert_eq!(digest_of(&store), before);
    put(before.stream_time_s - SPANS.retention + 1);
    assert_eq!(digest_of(&store).rows, before.rows + 1);
}

#[test]
fn a_day_that_is_over_is_no_part_of_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    fold(&store, &log(), 1_000, false);
    let now = digest_of(&store).stream_time_s;
    let put = |days: &[(u8, u32)]| {
        let mut stretch = Stretch::default();
        days.iter().for_each(|(at, touched)| stretch.put(Day { at: *at, touched: *touched, sums: Count::ONE }));
        let mut value = Vec::new();
        stretch.write(&mut value);
        let mut batch = store.batch(0);
        batch.put(Family::StretchCounts, &counts::stretch_key(0, "long ago"), &value);
        store.write(batch).unwrap();
        (digest_of(&store), hashes_of(&store))
    };
    let alone = put(&[(7, now)]);
    assert_eq!(put(&[(3, now - SPANS.retention), (7, now)]), alone);
    assert_ne!(put(&[(3, now - SPANS.retention + 1), (7, now)]).0.digest, alone.0.digest);
}

#[test]
fn a_row_of_days_that_is_none_is_noticed_by_whoever_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let log = log();
    fold(&store, &log[..3], 3, false);
    let now = digest_of(&store).stream_time_s;
    let (stretch, at) = stretch_of(20_089);
    // One day twice.
    let mut value = Vec::new();
    Stamp::write(now + 1, &mut value);
    value.extend_from_slice(&[at, 0, 1, at, 0, 1]);
    let mut batch = store.batch(0);
    batch.put(Family::StretchCounts, &counts::stretch_key(stretch, "like"), &value);
    store.write(batch).unwrap();

    let is_damage = |error: StoreError| matches!(error, StoreError::Damaged(Damaged { kind: "stretch-counts" }));
    let view = store.view();
    assert!(is_damage(digest(view.whole().unwrap(), 0, SPANS, || true).unwrap_err()));
    let request = QueryRequest { start_day: 20_089, end_day: 20_089, ..QueryRequest::default() };
    assert!(is_damage(query::counts(&view, SPANS, &request.try_into().unwrap()).unwrap_err()));
    let (rules, session_rules) = rules();
    let mut working = WorkingSet::new(SPANS, &Budget::new(1 << 20));
    let before = store.progress().unwrap().unwrap();
    let folded = fold::fold(&mut working, &store, &rules, &session_rules, before, &log[3..6], |_| true).unwrap();
    assert!(is_damage(working.write(&store, folded.progress).unwrap_err()));
}

#[test]
fn a_digest_that_nobody_wants_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    fold(&store, &log(), 1_000, false);
    assert!(digest_of(&store).rows > ASKED_EVERY_ROWS, "rows enough to be asked");
    assert_eq!(digest(store.view().whole().unwrap(), 0, SPANS, || false).unwrap(), None);
}

#[test]
fn a_line_says_it_all() {
    let state =
        StateDigest { partition: 3, next_offset: 123, stream_time_s: 1_735_689_600, rows: 42, digest: [0xab; 32] };
    assert_eq!(
        state.to_string(),
        format!("partition=3 next_offset=123 stream_time=1735689600 rows=42 digest={}", "ab".repeat(32))
    );
}
