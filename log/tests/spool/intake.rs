//! Which way an append goes, and what is answered.

use crate::{Log, Mood, accept, connected, limited, opened, record, spool_one, wait_empty};
use anyhow::ensure;
use futures::executor::block_on;
use std::sync::Arc;
use track_harness::poll::eventually;
use track_log::{Accept as _, Accepted, AppendError, Position};

fn unavailable() -> AppendError {
    AppendError::Unavailable("timed out".to_owned())
}

#[test]
fn a_log_that_takes_appends_gets_them_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(Mood::Takes);
    let spool = connected(dir.path(), &log);
    let at = |offset| Ok(Accepted::OnLog(vec![Position { partition: 0, offset }]));
    assert_eq!(accept(&spool, vec![record("a", false)]), at(0));
    assert_eq!(accept(&spool, vec![record("b", true)]), at(1));
    let flags: Vec<bool> = log.events().iter().map(|event| event.client_event_id).collect();
    assert_eq!((log.asked(), flags), (2, vec![false, true]));
    wait_empty(dir.path());
}

#[test]
fn without_a_log_all_is_spooled_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let spool = opened(dir.path());
    spool.explain("Kafka: nobody answers".to_owned());
    spool_one(&spool, "a");
    let note = spool.check_ready().unwrap().unwrap();
    assert_eq!(note, "spooling: Kafka: nobody answers; 1 records wait");
}

#[test]
fn a_log_that_says_it_is_away_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(Mood::Takes);
    let spool = connected(dir.path(), &log);
    log.set(Mood::Away);
    spool_one(&spool, "a");
    assert_eq!(log.asked_straight(), 0);
    log.set(Mood::Takes);
    log.wait_for(1);
    wait_empty(dir.path());
}

#[test]
fn what_is_surely_not_on_the_log_is_spooled() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(Mood::Takes);
    let spool = connected(dir.path(), &log);
    // It says that it is ready, for a moment still.
    log.set(Mood::Fails(AppendError::NotAppended("broken off".to_owned())));
    spool_one(&spool, "a");
    assert!(spool.check_ready().unwrap().unwrap().contains("broken off"));
    // From now on nobody waits for it in vain, until it has taken what is forwarded.
    for id in ["b", "c"] {
        spool_one(&spool, id);
    }
    assert_eq!(log.asked_straight(), 1, "from now on only the forwarder asks");
    log.set(Mood::Takes);
    log.wait_for(3);
    assert_eq!(log.ids(), ["a", "b", "c"]);
}

#[test]
fn what_may_be_on_the_log_is_spooled_only_where_it_can_not_count_twice() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(Mood::Takes);
    let spool = connected(dir.path(), &log);
    log.set(Mood::Fails(unavailable()));
    assert_eq!(accept(&spool, vec![record("a", true), record("b", false)]), Err(unavailable()));
    assert!(spool.check_ready().unwrap().unwrap().contains("timed out"), "it has turned away");
    spool_one(&spool, "c");

    log.set(Mood::Takes);
    log.wait_for(1);
    eventually(crate::PATIENCE, "it goes straight to the log", || {
        ensure!(spool.check_ready() == Ok(None));
        Ok(())
    })
    .unwrap();
    log.set(Mood::Fails(unavailable()));
    assert_eq!(accept(&spool, vec![record("d", true), record("e", true)]), Ok(Accepted::Spooled));
    log.set(Mood::Takes);
    log.wait_for(3);
    assert_eq!(log.ids(), ["c", "d", "e"]);
}

#[test]
fn a_log_with_enough_to_do_is_relieved_and_goes_on_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::new(Mood::Takes);
    let spool = connected(dir.path(), &log);
    log.set(Mood::Fails(AppendError::Busy));
    spool_one(&spool, "a");
    spool_one(&spool, "b");
    assert_eq!(log.asked_straight(), 2);
    log.set(Mood::Takes);
    assert!(matches!(accept(&spool, vec![record("c", false)]), Ok(Accepted::OnLog(_))));
    log.wait_for(3);
    wait_empty(dir.path());
}

#[test]
fn a_full_spool_refuses_and_takes_again_once_it_is_forwarded() {
    let dir = tempfile::tempdir().unwrap();
    let spool = limited(dir.path(), 100_000);
    let mut taken = 0;
    let error = loop {
        match accept(&spool, (0..10).map(|n| record(&format!("{taken}-{n}"), false)).collect()) {
            Ok(accepted) => assert_eq!(accepted, Accepted::Spooled),
            Err(error) => break error,
        }
        taken += 10;
    };
    assert!(matches!(&error, AppendError::NotAppended(reason) if reason.contains("full")), "{error:?}");
    assert!(spool.check_ready().unwrap_err().contains("full"), "{:?}", spool.check_ready());
    let on_disk: u64 = crate::segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(taken > 1_000 && on_disk <= 100_000 + (1 << 20), "{taken} records, {on_disk} bytes");

    let log = Log::new(Mood::Takes);
    spool.connect(Arc::clone(&log) as _);
    log.wait_for(taken);
    wait_empty(dir.path());
    log.set(Mood::Away);
    spool_one(&spool, "again");
}

#[test]
fn an_append_that_nobody_waits_for_takes_no_room_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let spool = limited(dir.path(), 100_000);
    for n in 0..2_000 {
        // Given up at once; what of it is there all the same is another matter.
        drop(spool.accept(vec![record(&n.to_string(), false)]));
    }
    let log = Log::new(Mood::Takes);
    spool.connect(Arc::clone(&log) as _);
    wait_empty(dir.path());
    log.set(Mood::Away);
    assert_eq!(block_on(spool.accept(vec![record("again", false)])), Ok(Accepted::Spooled));
}
