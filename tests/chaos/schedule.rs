//! Which of all that may happen does, and when; how much at once; and that it ends.

use crate::actions::{Action, WEIGHTS};
use crate::cluster::Cluster;
use crate::ending::Ending;
use crate::recovery::Recovery;
use crate::remedies::Remedy;
use crate::tally::Tally;
use fastrand::Rng;
use std::time::{Duration, Instant};
use track_harness::brokers::BROKERS;
use track_harness::poll::eventually;

/// So many things at a time are not over yet, and no more begins.
const HARMS_MAX: usize = 5;
/// After so long they are left to end, and then all must be answered again.
const ROUND: Duration = Duration::from_secs(25);
/// Longer than a silent processor counts while others speak.
const BLACKED_OUT_FOR: Duration = Duration::from_secs(9);
const PAUSE_MAX: Duration = Duration::from_millis(2_500);
const TICK: Duration = Duration::from_millis(50);
/// How often it is looked whether a broker is back; asking takes a moment.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// By then a broker that is away is missed, and before that those who are asked may say that nothing has happened.
const MISSED_WITHIN: Duration = Duration::from_secs(4);
const SYNCED_WITHIN: Duration = Duration::from_secs(120);

pub struct Schedule<'a> {
    rng: Rng,
    tally: &'a Tally,
    ending: &'a Ending,
    recovery: Recovery<'a>,
    began: Instant,
    /// What is to be done, and when.
    remedies: Vec<(Instant, Remedy)>,
    looked: Instant,
    /// When a broker was last let go.
    let_go: Instant,
}

impl<'a> Schedule<'a> {
    pub fn new(rng: Rng, tally: &'a Tally, ending: &'a Ending, recovery: Recovery<'a>) -> Self {
        let now = Instant::now();
        Self { rng, tally, ending, recovery, began: now, remedies: Vec::new(), looked: now, let_go: now }
    }

    /// Lets things happen for so long, and sees now and then whether they are got over.
    pub fn run(&mut self, cluster: &mut Cluster, for_so_long: Duration) {
        let mut rounds = Duration::ZERO;
        while self.began.elapsed() < for_so_long {
            if self.remedies.len() < HARMS_MAX {
                self.act(cluster);
            }
            let pause = PAUSE_MAX.mul_f64(self.rng.f64());
            self.tick_for(cluster, pause);
            if self.began.elapsed() - rounds > ROUND {
                self.recover(cluster);
                self.black_out(cluster);
                rounds = self.began.elapsed();
            }
        }
    }

    /// Ends everything that has begun, and waits until all are well.
    pub fn calm(&mut self, cluster: &mut Cluster) {
        let now = Instant::now();
        self.remedies.iter_mut().for_each(|(when, _)| *when = now);
        self.recover(cluster);
        for number in cluster.extras() {
            cluster.services[number].terminate();
            cluster.services[number].is_retired = true;
        }
        self.wait_for_brokers(cluster);
        cluster.wait_ready();
        cluster.wait_retired();
        cluster.wait_forwarded();
        self.say("all are well");
    }

    /// Begins nothing until what has happened is over, and everything is answered again.
    fn recover(&mut self, cluster: &mut Cluster) {
        self.say("enough");
        while !self.remedies.is_empty() {
            self.tick_for(cluster, TICK);
        }
        let took = self.wait_answered(cluster);
        self.say(&format!("everything is answered after {took:.1?}"));
        self.tally.recovered(took);
    }

    /// Waits until each query service answers with everything that there is now. How long that took.
    fn wait_answered(&mut self, cluster: &mut Cluster) -> Duration {
        let since = Instant::now();
        self.recovery.begin();
        while !self.recovery.is_complete() {
            self.recovery.check_time(since);
            self.tick_for(cluster, TICK);
        }
        since.elapsed()
    }

    /// Takes Kafka away from a deployment that is well: that alone is no reason not to answer.
    fn black_out(&mut self, cluster: &mut Cluster) {
        self.wait_for_brokers(cluster);
        cluster.wait_ready();
        // A partition that is just being moved, or whose owner the query services do not know yet, waits for Kafka.
        cluster.wait_settled();
        self.wait_answered(cluster);
        self.say("SIGSTOP all brokers");
        self.tally.action("SIGSTOP all brokers, all else being well");
        (0..BROKERS).for_each(|number| cluster.brokers.signal(number, "STOP").unwrap());
        let asked = self.recovery.check_answered(BLACKED_OUT_FOR);
        (0..BROKERS).for_each(|number| cluster.brokers.signal(number, "CONT").unwrap());
        self.say(&format!("all brokers are back, {asked} answers were given"));
        self.wait_for_brokers(cluster);
    }

    fn wait_for_brokers(&mut self, cluster: &mut Cluster) {
        eventually(SYNCED_WITHIN, "the brokers are in sync", || {
            cluster.tick();
            self.look_for_broker(cluster);
            anyhow::ensure!(!cluster.is_broker_harmed, "not yet");
            cluster.brokers.check_in_sync()
        })
        .unwrap();
    }

    fn tick_for(&mut self, cluster: &mut Cluster, for_so_long: Duration) {
        let until = Instant::now() + for_so_long;
        while Instant::now() < until {
            self.tick(cluster, Instant::now());
            self.ending.pause(TICK);
        }
    }

    fn act(&mut self, cluster: &mut Cluster) {
        let all: u32 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.rng.u32(..all);
        let action: Action = WEIGHTS
            .into_iter()
            .find_map(|(action, weight)| match drawn.checked_sub(weight) {
                Some(rest) => {
                    drawn = rest;
                    None
                }
                None => Some(action),
            })
            .unwrap();
        // Where it can't be borne now, nothing happens this time.
        if let Some(happened) = action.take(cluster, &mut self.rng) {
            self.say(&happened.said);
            self.tally.action(action.name());
            let now = Instant::now();
            self.remedies.extend(happened.remedies.into_iter().map(|(after, remedy)| (now + after, remedy)));
        }
    }

    /// Does what is due by `by`, and sees how everything is.
    fn tick(&mut self, cluster: &mut Cluster, by: Instant) {
        self.ending.check();
        let due = self.remedies.extract_if(.., |(when, _)| *when <= by).collect::<Vec<_>>();
        for (when, remedy) in due {
            if remedy.apply(cluster) {
                self.say(&format!("{remedy:?}"));
                if remedy.is_of_broker() {
                    self.let_go = Instant::now();
                }
            } else {
                self.remedies.push((when, remedy));
            }
        }
        cluster.tick();
        if cluster.is_broker_harmed && self.looked.elapsed() > LOOKED_EVERY {
            self.look_for_broker(cluster);
        }
    }

    /// The harm of a broker is over when all are in sync again.
    fn look_for_broker(&mut self, cluster: &mut Cluster) {
        let is_let_go = !self.remedies.iter().any(|(_, remedy)| remedy.is_of_broker());
        if cluster.is_broker_harmed && is_let_go {
            // Its port may have been taken by a connection meanwhile.
            if cluster.brokers.restart_ended().unwrap() {
                self.say("a broker is started once more");
            }
            if self.let_go.elapsed() > MISSED_WITHIN && cluster.brokers.check_in_sync().is_ok() {
                cluster.is_broker_harmed = false;
                self.say("the brokers are in sync");
            }
        }
        self.looked = Instant::now();
    }

    fn say(&self, what: &str) {
        println!("{:8.2}  {what}", self.began.elapsed().as_secs_f64());
    }
}
