//! One broker of three dies while events come: none that was acknowledged is lost, and only while others take its place are
//! any refused.

use crate::TRACK;
use crate::asking::all_days;
use crate::cluster::PARTITIONS;
use crate::door::Door;
use crate::ending::{Ending, Evidence};
use crate::history::History;
use crate::producers::{Outcome, Producer};
use crate::tally::Tally;
use crate::verdict::wait_for_producers;
use anyhow::ensure;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};
use track_harness::answers;
use track_harness::brokers::Brokers;
use track_harness::cluster::Plan;
use track_harness::poll::eventually;
use track_harness::seed::rng;
use track_proto::topics::EVENTS;

const PRODUCERS: usize = 4;
const PAUSE_MAX: Duration = Duration::from_millis(30);
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// Requests that are taken once it has settled.
const REQUESTS_AFTER: usize = 600;

/// What became of every attempt to send a request.
#[derive(Default)]
struct Outcomes(Mutex<Vec<Outcome>>);

impl Outcomes {
    /// Waits until each of the ingests has had events acknowledged by every partition, in requests begun from now on.
    fn wait_until_all_take(&self, ingests: usize) {
        let since = Instant::now();
        eventually(SETTLED_WITHIN, "each ingest reaches each partition", || {
            let outcomes = self.0.lock();
            for (ingest, partition) in
                (0..ingests).flat_map(|ingest| (0..PARTITIONS).map(move |number| (ingest, number)))
            {
                let mut taken = outcomes.iter().filter(|outcome| outcome.began >= since && outcome.status == Some(200));
                let reached = taken.any(|outcome| outcome.ingest == ingest && outcome.partitions.contains(&partition));
                ensure!(reached, "ingest {ingest} does not reach partition {partition} yet");
            }
            Ok(())
        })
        .unwrap();
    }

    fn wait_for(&self, more: usize) {
        let before = self.0.lock().len();
        eventually(SETTLED_WITHIN, "more requests are taken", || {
            let now = self.0.lock().len();
            ensure!(now >= before + more, "{} of {more}", now - before);
            Ok(())
        })
        .unwrap();
    }

    /// How many requests that were begun in this time were not taken.
    fn refused(&self, began: impl Fn(Instant) -> bool) -> usize {
        let outcomes = self.0.lock();
        outcomes.iter().filter(|outcome| began(outcome.began) && outcome.status != Some(200)).count()
    }
}

#[test]
fn one_broker_of_three_dies_and_only_the_fail_over_is_felt() {
    let mut rng = rng("one_broker_of_three_dies");
    let dir = Evidence::new();
    let mut brokers = Brokers::start().unwrap();
    let plan = Plan::replicated(TRACK, &brokers, dir.path()).partitions(PARTITIONS);
    let ingests = [(); 3].map(|()| plan.role("ingest").ready().unwrap());
    let processors = ["one", "other"].map(|name| plan.processor(name).ready().unwrap());
    let query = plan.role("query").ready().unwrap();
    brokers.wait_in_sync().unwrap();
    let doors = ingests.each_ref().map(|ingest| {
        let door = Door::default();
        door.open(ingest.public());
        Arc::new(door)
    });
    let (history, tally, ending, users) =
        (History::default(), Tally::default(), Ending::default(), AtomicUsize::default());
    let outcomes = Outcomes::default();
    let (killed, settled) = thread::scope(|scope| {
        let _failing = ending.guard();
        let (history, tally, ending, users, outcomes) = (&history, &tally, &ending, &users, &outcomes);
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                let producer = Producer::new(history, &doors, tally, ending, users, rng.fork());
                scope.spawn(move || producer.run_telling(PAUSE_MAX, |outcome| outcomes.0.lock().push(outcome)))
            })
            .collect();
        outcomes.wait_until_all_take(ingests.len());
        let victim = brokers.leaders(EVENTS).unwrap()[0];
        let killed = Instant::now();
        brokers.kill9(victim).unwrap();
        eventually(SETTLED_WITHIN, "others lead", || {
            let leaders = brokers.leaders(EVENTS)?;
            ensure!(!leaders.contains(&victim), "{leaders:?}");
            Ok(())
        })
        .unwrap();
        outcomes.wait_until_all_take(ingests.len());
        let settled = Instant::now();
        outcomes.wait_for(REQUESTS_AFTER);
        ending.stop_producing();
        wait_for_producers(&producers, ending);
        (killed, settled)
    });
    let (before, meanwhile, after) = (
        outcomes.refused(|began| began < killed),
        outcomes.refused(|began| began >= killed && began < settled),
        outcomes.refused(|began| began >= settled),
    );
    println!(
        "refused: {before} before, {meanwhile} in the {:.1?} of the fail-over, {after} after it",
        settled - killed
    );
    assert_eq!((before, after), (0, 0), "refused before and after the fail-over");

    let known = history.now();
    let [first, last] = all_days();
    let queries = answers::queries(first, last, ["user-0", "user-1", "user-20"]);
    answers::check(query.public(), &queries, &known.sent(), &known.positions()).unwrap();
    for track in ingests.into_iter().chain([query]).chain(processors) {
        track.terminate().unwrap();
    }
}
