//! Track as services on three brokers, and whatever can happen to such a deployment, at random: three ingests, one of which has a
//! spool, two replicas of two processors, half of which move warm, two query services and an object store, all of them real
//! processes. One of each role reaches Kafka by a way of its own, which may be cut alone.
//!
//! Meanwhile every answer must be the oracle's over a prefix of what was sent, as far as its `min_position` at the least, or an
//! honest 503. In the end nothing acknowledged may be missing and all replicas must have one state.
//!
//! - [`cluster`]: what runs, [`service`] one of it
//! - [`actions`]: what may happen, and [`remedies`] what is done about it later
//! - [`schedule`]: which of it happens when, and how much at once; [`recovery`]: that it is got over
//! - [`history`]: what was sent and what of it is acknowledged
//! - [`producers`]: who sends it
//! - [`asking`]: who asks, and [`judging`] whether the answer may be given
//! - [`door`]: what a client of a service must put up with
//! - [`verdict`]: the end, good or not ([`ending`]), and what there was to be seen ([`tally`])
//! - [`failover`]: one broker dies, and no more than that
//!
//! `TRACK_CHAOS_SECONDS` makes it long, `TRACK_SEED` repeats its choices.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by panicking, and nobody else uses it"
)]

mod actions;
mod asking;
mod cluster;
mod door;
mod ending;
#[path = "../e2e/errand.rs"]
mod errand;
mod failover;
mod history;
mod judging;
mod producers;
mod recovery;
mod remedies;
mod schedule;
mod service;
mod tally;
mod verdict;

use asking::Asker;
use cluster::Cluster;
use ending::Ending;
use history::History;
use producers::Producer;
use recovery::Recovery;
use schedule::Schedule;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;
use tally::Tally;
use track_harness::seed::rng;

/// The binary under test.
const TRACK: &str = env!("CARGO_BIN_EXE_track");
const PRODUCERS: usize = 4;
const ASKERS: usize = 2;
/// How long things happen, unless it is said.
const SECONDS: u64 = 45;

#[test]
fn whatever_happens_answers_are_true_and_nothing_is_lost() {
    let mut rng = rng("chaos");
    let seconds = std::env::var("TRACK_CHAOS_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let dir = ending::Evidence::new();
    let mut cluster = Cluster::start(dir.path());
    let (history, tally, ending, users) =
        (History::default(), Tally::default(), Ending::default(), AtomicUsize::default());
    let (ingests, queries) = (cluster.ingest_doors(), cluster.query_doors());
    thread::scope(|scope| {
        let _failing = ending.guard();
        let (history, tally, ending, users) = (&history, &tally, &ending, &users);
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                let producer = Producer::new(history, &ingests, tally, ending, users, rng.fork());
                scope.spawn(move || producer.run())
            })
            .collect();
        for _ in 0..ASKERS {
            let asker = Asker::new(history, &queries, tally, ending, rng.fork());
            scope.spawn(move || asker.run());
        }
        let recovery = Recovery::new(history, &queries);
        let mut schedule = Schedule::new(rng.fork(), tally, ending, recovery);
        schedule.run(&mut cluster, Duration::from_secs(seconds));
        schedule.calm(&mut cluster);
        ending.stop_producing();
        verdict::wait_for_producers(&producers, ending);
        cluster.wait_forwarded();
        Producer::new(history, &ingests[..1], tally, ending, users, rng.fork()).send_to_each_partition();
    });
    verdict::check(cluster, &history);
    println!("{}", tally.summary(&history));
}
