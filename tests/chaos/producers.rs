//! Producers. Each has users of its own, and sends the next request of a user when the one before is acknowledged; what was
//! refused or not answered is sent again as it was, to whichever ingest.

use crate::cluster::PARTITIONS;
use crate::door::{Door, Seen};
use crate::ending::Ending;
use crate::history::{History, partition_of};
use crate::tally::Tally;
use chrono::DateTime;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use track_harness::http::{Answer, Request};
use track_oracle::Event;

/// 2025-01-27T00:00:00Z: the days after it are in two months, and in three weeks.
const FIRST_MS: i64 = 1_737_936_000_000;
const DAYS: i64 = 9;
const USERS_A_PRODUCER: usize = 6;
/// A user who has sent so many is followed by another.
const REQUESTS_A_USER: usize = 40;
const USERS_A_REQUEST_MAX: usize = 4;
const EVENTS_OF_A_USER_MAX: usize = 3;
/// Events that were sent before and go along once more.
const REPEATED_MAX: usize = 3;
/// Ingest has ten seconds for a body and ten for the log; the rest is what a busy machine may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(50);

pub struct Producer<'a> {
    history: &'a History,
    ingests: &'a [Arc<Door>],
    tally: &'a Tally,
    ending: &'a Ending,
    /// How many users there are, of all producers.
    users_begun: &'a AtomicUsize,
    rng: Rng,
    users: Vec<User>,
}

/// A user who is being sent.
struct User {
    name: String,
    sent: Vec<Event>,
    requests: usize,
}

/// What came back.
pub struct Outcome {
    pub began: Instant,
    /// Which ingest was asked.
    pub ingest: usize,
    /// Where the events were to go.
    pub partitions: BTreeSet<u32>,
    /// None where there was no answer.
    pub status: Option<u16>,
}

impl<'a> Producer<'a> {
    pub fn new(
        history: &'a History,
        ingests: &'a [Arc<Door>],
        tally: &'a Tally,
        ending: &'a Ending,
        users_begun: &'a AtomicUsize,
        rng: Rng,
    ) -> Self {
        Self { history, ingests, tally, ending, users_begun, rng, users: Vec::new() }
    }

    /// Sends until it is told to stop, and then what is under way.
    pub fn run(self) {
        self.run_telling(Duration::from_millis(100), |_| {});
    }

    /// The same, with so long between two requests at the most; `tell` hears what became of each attempt.
    pub fn run_telling(mut self, pause_max: Duration, mut tell: impl FnMut(Outcome)) {
        let _failing = self.ending.guard_of_one();
        while self.ending.is_producing() {
            let (new, repeated) = self.draft();
            self.history.begin(&new);
            self.send(&new, &repeated, &mut tell);
            self.ending.pause(pause_max.mul_f64(self.rng.f64()));
        }
    }

    /// Sends an event of a new user to each partition. Where they are, everything is that was on the log before.
    pub fn send_to_each_partition(mut self) {
        let mut left: BTreeSet<_> = (0..PARTITIONS).collect();
        while !left.is_empty() {
            let name = format!("user-{}", self.users_begun.fetch_add(1, Ordering::Relaxed));
            if left.remove(&partition_of(&name)) {
                let new = [event(&name, 0, &mut self.rng)];
                self.history.begin(&new);
                self.send(&new, &[], &mut |_| {});
            }
        }
    }

    /// New events of some users, those of one side by side; and some that were acknowledged before.
    fn draft(&mut self) -> (Vec<Event>, Vec<Event>) {
        let rng = &mut self.rng;
        self.users.retain(|user| user.requests < REQUESTS_A_USER);
        while self.users.len() < USERS_A_PRODUCER {
            let name = format!("user-{}", self.users_begun.fetch_add(1, Ordering::Relaxed));
            self.users.push(User { name, sent: Vec::new(), requests: 0 });
        }
        rng.shuffle(&mut self.users);
        let users = if rng.bool() { 1 } else { rng.usize(1..=USERS_A_REQUEST_MAX) };
        let (mut new, mut repeated) = (Vec::new(), Vec::new());
        for user in &mut self.users[..users] {
            repeated.extend((0..rng.usize(..=REPEATED_MAX)).filter_map(|_| rng.choice(&user.sent)).cloned());
            let count = if rng.bool() { 1 } else { rng.usize(1..=EVENTS_OF_A_USER_MAX) };
            let events: Vec<_> = (0..count).map(|more| event(&user.name, user.sent.len() + more, rng)).collect();
            user.sent.extend(events.iter().cloned());
            user.requests += 1;
            new.extend(events);
        }
        if new.len() == 1 && rng.bool() {
            // Alone, for `POST /track`.
            repeated.clear();
        }
        (new, repeated)
    }

    /// Sends until it is acknowledged, or all is over.
    fn send(&mut self, new: &[Event], repeated: &[Event], tell: &mut impl FnMut(Outcome)) {
        let events: Vec<_> = new.iter().chain(repeated).map(json).collect();
        let request = match events.as_slice() {
            [event] => Request::post_json("/track", event),
            events => Request::post_json("/track/batch", &json!(events)),
        };
        let partitions: BTreeSet<_> = new.iter().map(|event| partition_of(&event.user)).collect();
        let first = Instant::now();
        while !self.ending.is_over() {
            let (ingest, began) = (self.rng.usize(..self.ingests.len()), Instant::now());
            let door = &self.ingests[ingest];
            let seen = door.look();
            let answer = seen.address.map(|address| request.send_within(address, ANSWERED_WITHIN));
            let status = answer.as_ref().and_then(|answer| answer.as_ref().ok()).map(|answer| answer.status);
            tell(Outcome { began, ingest, partitions: partitions.clone(), status });
            match answer {
                Some(Ok(answer)) if answer.status == 200 => {
                    check_acknowledgement(&answer, events.len());
                    let positions = answer.header("track-position");
                    assert!(positions.is_some() || door.has_spool, "ingest {ingest}: {answer:?}");
                    self.history.acknowledge(new, positions);
                    self.tally.acknowledged(first.elapsed(), positions.is_none());
                    if positions.is_none() {
                        // Later ones might be on the log before it.
                        self.users.retain(|user| new.iter().all(|event| event.user != user.name));
                    }
                    return;
                }
                Some(Ok(answer)) => {
                    assert!([429, 503].contains(&answer.status), "{answer}");
                    assert!(answer.header("retry-after").is_some(), "{answer:?}");
                    self.tally.request_refused();
                }
                Some(Err(error)) => self.give_up_answer(door, seen, ingest, began, &error),
                None => {}
            }
            self.ending.pause(PAUSE_AFTER_REFUSAL);
        }
    }

    fn give_up_answer(&self, door: &Door, seen: Seen, ingest: usize, began: Instant, error: &anyhow::Error) {
        let took = began.elapsed();
        assert!(
            !door.must_answer(seen),
            "ingest {ingest}, to which nothing happens, has not answered in {took:?}: {error:#}"
        );
        self.tally.request_unanswered();
    }
}

fn check_acknowledgement(answer: &Answer, events: usize) {
    let body = answer.json().unwrap();
    assert_eq!(body["status"], "success", "{answer}");
    if events > 1 {
        assert_eq!((&body["accepted"], &body["rejected"]), (&json!(events), &json!([])), "{answer}");
    }
}

fn event(user: &str, number: usize, rng: &mut Rng) -> Event {
    let kind = *rng.choice(&["play", "play", "play", "stop", "stop", "stop", "like"]).unwrap();
    // Whole minutes, so that some events happen at one and the same moment; and some that are not.
    let at_ms = FIRST_MS + rng.i64(0..DAYS * 24 * 60) * 60_000 + if rng.bool() { 0 } else { rng.i64(0..60_000) };
    // Every user has the same ids.
    Event { user: user.to_owned(), name: kind.into(), at_ms, id: Some(format!("id-{number}")), arrival_s: 0 }
}

/// An event as a producer writes it.
fn json(event: &Event) -> Value {
    let timestamp = DateTime::from_timestamp_millis(event.at_ms).unwrap().to_rfc3339();
    json!({"event": event.name, "user_id": event.user, "timestamp": timestamp, "event_id": event.id})
}
