//! What producers send: plays and stops and others of few busy and many quiet users, over several days, in no order,
//! some of it twice. Every event has an id, so that what was not answered can be sent again.

use chrono::DateTime;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use track_harness::answers;
use track_oracle::Event;

/// 2025-01-27T00:00:00Z: the days after it are in two months, and in three weeks.
const FIRST_MS: i64 = 1_737_936_000_000;
const DAYS: i64 = 9;
const USERS: f64 = 60.0;
const EVENTS_A_REQUEST_MAX: usize = 40;

/// Requests to come, and what they say together.
#[derive(Debug)]
pub struct Traffic {
    /// Each event once, however often it is sent.
    pub events: Vec<Event>,
    /// Which events go into one request; one alone goes to `/track`, more go to `/track/batch`.
    pub requests: Vec<Vec<usize>>,
}

impl Traffic {
    /// `count` events, the ids of which begin with `name`.
    pub fn new(name: &str, count: usize, rng: &mut Rng) -> Self {
        let mut ids = BTreeMap::new();
        let events: Vec<_> = (0..count).map(|_| event(name, &mut ids, rng)).collect();
        let mut order: Vec<usize> = (0..count).collect();
        rng.shuffle(&mut order);
        let mut requests = Vec::new();
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let size = if rng.bool() { 1 } else { rng.usize(2..=EVENTS_A_REQUEST_MAX) };
            let (now, later) = rest.split_at(size.min(rest.len()));
            let mut request = now.to_vec();
            // Some again in the same request, and some in one of their own.
            request.extend(now.iter().filter(|_| rng.u8(..) < 10));
            requests.push(request);
            let again: Vec<_> = now.iter().copied().filter(|_| rng.u8(..) < 10).collect();
            if !again.is_empty() {
                requests.push(again);
            }
            rest = later;
        }
        rng.shuffle(&mut requests);
        Self { events, requests }
    }

    /// Holds the answers of a track that has taken all of it against the oracle's; `positions` are where the last events lie.
    pub fn check(&self, query_api: SocketAddr, positions: &str, when: &str) {
        let [first, last] = ["2025-01-20", "2025-02-10"].map(|day| day.parse().unwrap());
        let queries = answers::queries(first, last, ["user-0", "user-1", "user-40"]);
        let checked = answers::check(query_api, &queries, &self.events, positions);
        checked.unwrap_or_else(|error| panic!("{when}: {error:#}"));
    }

    /// An event as a producer writes it.
    pub fn json(&self, number: usize) -> Value {
        let event = &self.events[number];
        let timestamp = DateTime::from_timestamp_millis(event.at_ms).unwrap().to_rfc3339();
        json!({"event": event.name, "user_id": event.user, "timestamp": timestamp, "event_id": event.id})
    }
}

fn event(name: &str, ids: &mut BTreeMap<u64, u32>, rng: &mut Rng) -> Event {
    // The cube makes a few users very busy.
    let user = (USERS * rng.f64().powi(3)) as u64;
    let kind = ["play", "play", "play", "stop", "stop", "stop", "like", "share"][rng.usize(..8)];
    // Whole minutes, so that some events of a user happen at one and the same moment; and some that are not.
    let at_ms = FIRST_MS + rng.i64(0..DAYS * 24 * 60) * 60_000 + if rng.bool() { 0 } else { rng.i64(0..60_000) };
    // Every user begins with the same ids.
    let id = ids.entry(user).or_default();
    *id += 1;
    Event { user: format!("user-{user}"), name: kind.into(), at_ms, id: Some(format!("{name}-{id}")), arrival_s: 0 }
}
