//! What is spooled comes to the log, once in effect, whatever happens on the way.

use crate::{Log, Mood, PATIENCE, accept, connected, opened, record, record_of, spool_one, wait_empty};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_harness::poll::eventually;
use track_log::Accepted;
use track_proto::partitioner::partition_for;

#[test]
fn what_is_spooled_is_forwarded_in_order_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    let ids: Vec<String> = (0..25_000).map(|n| n.to_string()).collect();
    for chunk in ids.chunks(1_000) {
        let records = chunk.iter().map(|id| record(id, id.ends_with('7'))).collect();
        assert_eq!(accept(&spool, records), Ok(Accepted::Spooled));
    }
    let log = Log::new(Mood::Takes);
    spool.connect(Arc::clone(&log) as _);
    log.wait_for(ids.len());
    assert_eq!(log.ids(), ids);
    assert!(log.events().iter().all(|event| event.client_event_id), "an id that is not remembered counts twice");
    wait_empty(dir.path());
    assert!(matches!(accept(&spool, vec![record("direct", false)]), Ok(Accepted::OnLog(_))));
    assert!(!log.events().last().unwrap().client_event_id);
}

#[test]
fn what_is_left_is_forwarded_by_the_next_start_and_not_by_the_one_after() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    spool_one(&spool, "a");
    spool_one(&spool, "b");
    drop(spool);
    let spool = opened(dir.path());
    spool_one(&spool, "c");
    let log = Log::new(Mood::Takes);
    spool.connect(Arc::clone(&log) as _);
    log.wait_for(3);
    wait_empty(dir.path());
    drop(spool);
    drop(connected(dir.path(), &log));
    assert_eq!(log.ids(), ["a", "b", "c"]);
}

#[test]
fn what_one_partition_does_not_take_has_nothing_sent_again_to_the_others() {
    let other =
        ["a", "b", "c", "d"].into_iter().find(|user| partition_for(user.as_bytes(), 2) != partition_for(b"u", 2));
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    let round = vec![record_of("u", "1", false), record_of(other.unwrap(), "2", false), record_of("u", "3", false)];
    assert_eq!(accept(&spool, round), Ok(Accepted::Spooled));
    let log = Log::new(Mood::Refuses("u"));
    spool.connect(Arc::clone(&log) as _);
    eventually(PATIENCE, "it has tried twice at least", || {
        anyhow::ensure!(log.asked() >= 3, "asked {} times", log.asked());
        Ok(())
    })
    .unwrap();
    assert_eq!(log.ids(), ["2"]);
    log.set(Mood::Takes);
    log.wait_for(3);
    wait_empty(dir.path());
    assert_eq!(log.ids(), ["2", "1", "3"]);
}

#[test]
fn a_round_that_was_not_remembered_is_forwarded_again_under_the_same_ids() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    spool_one(&spool, "a");
    spool_one(&spool, "b");
    let log = Log::new(Mood::TakesAndFails);
    spool.connect(Arc::clone(&log) as _);
    log.wait_for(4);
    log.set(Mood::Takes);
    wait_empty(dir.path());
    let events = log.events();
    assert!(events.len() >= 6 && events.iter().all(|event| event.client_event_id), "{events:?}");
    let ids: BTreeSet<_> = log.ids().into_iter().collect();
    assert_eq!(ids, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_log_that_is_busy_or_away_is_tried_until_it_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    spool_one(&spool, "a");
    let log = Log::new(Mood::Fails(track_log::AppendError::Busy));
    spool.connect(Arc::clone(&log) as _);
    track_harness::poll::eventually(crate::PATIENCE, "it is tried", || {
        anyhow::ensure!(log.asked() > 0);
        Ok(())
    })
    .unwrap();
    log.set(Mood::Away);
    spool_one(&spool, "b");
    log.set(Mood::Takes);
    log.wait_for(2);
    wait_empty(dir.path());
    assert_eq!(log.ids(), ["a", "b"]);
}

#[test]
fn closing_does_not_wait_for_a_log_that_never_answers() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    spool_one(&spool, "a");
    let log = Log::new(Mood::NeverAnswers);
    spool.connect(Arc::clone(&log) as _);
    track_harness::poll::eventually(crate::PATIENCE, "it is asked", || {
        anyhow::ensure!(log.asked() > 0);
        Ok(())
    })
    .unwrap();
    let closing = Instant::now();
    spool.close();
    assert!(closing.elapsed() < Duration::from_secs(20), "{:?}", closing.elapsed());
    drop(spool);

    let log = Log::new(Mood::Takes);
    let spool = opened(dir.path());
    spool.connect(Arc::clone(&log) as _);
    log.wait_for(1);
    assert_eq!(log.ids(), ["a"]);
}
