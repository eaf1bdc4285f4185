//! The board: the last value per key.

use crate::support::{PATIENCE, config, topic};
use anyhow::ensure;
use bytes::Bytes;
use futures::executor::block_on;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use track_harness::broker::Broker;
use track_harness::poll::eventually;
use track_log::kafka::KafkaBulletin;
use track_log::{Bulletin, BulletinGuard, LogError};

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<(BTreeMap<String, Bytes>, usize)>>);

impl Seen {
    fn follow(&self, board: &KafkaBulletin) -> BulletinGuard {
        let seen = Arc::clone(&self.0);
        let reader = move |key, value| {
            let mut seen = seen.lock();
            seen.1 += 1;
            match value {
                Some(value) => seen.0.insert(key, value),
                None => seen.0.remove(&key),
            };
        };
        board.follow(Box::new(reader)).unwrap()
    }

    fn await_board(&self, expected: &[(&str, &'static str)]) {
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from_static(value.as_bytes()))).collect();
        eventually(PATIENCE, "the board", || {
            let seen = self.0.lock();
            ensure!(seen.0 == expected, "{:?}", seen.0);
            Ok(())
        })
        .unwrap();
    }
}

fn post(board: &KafkaBulletin, key: &str, value: Option<&'static str>) {
    block_on(board.post(key.to_owned(), value.map(|value| Bytes::from_static(value.as_bytes())))).unwrap();
}

#[test]
fn followers_see_the_board_and_every_change() {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[("cleanup.policy", "compact")]);
    let board = KafkaBulletin::open(&config(broker, &[]), &topic).unwrap();
    post(&board, "a", Some("1"));
    post(&board, "b", Some("1"));
    post(&board, "a", Some("2"));
    let early = Seen::default();
    let guard = early.follow(&board);
    early.await_board(&[("a", "2"), ("b", "1")]);
    post(&board, "b", None);
    post(&board, "c", Some(""));
    early.await_board(&[("a", "2"), ("c", "")]);

    let late = Seen::default();
    let _late_guard = late.follow(&board);
    late.await_board(&[("a", "2"), ("c", "")]);

    drop(guard);
    // Its thread ends, and with it what it holds.
    eventually(PATIENCE, "the end of the follower", || {
        ensure!(Arc::strong_count(&early.0) == 1);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_board_has_one_partition() {
    let broker = Broker::shared();
    let topic = topic(broker, 2, &[("cleanup.policy", "compact")]);
    let error = KafkaBulletin::open(&config(broker, &[]), &topic).err().unwrap();
    assert!(matches!(error, LogError::Refused(_)), "{error}");
}
