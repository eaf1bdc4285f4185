//! What was sent, user by user and request by request, and what of it is acknowledged.
//!
//! A user's next request is only sent when the one before is acknowledged, and none follows one that was spooled. So in the log
//! the requests of a user follow each other, and every state is one after some of them, in the middle of the next at most.

use crate::cluster::PARTITIONS;
use chrono::Utc;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use track_oracle::Event;
use track_proto::partitioner::partition_for;

/// What has happened so far.
#[derive(Debug, Default)]
pub struct History(Mutex<Known>);

/// The same at one moment.
#[derive(Debug, Default, Clone)]
pub struct Known {
    journeys: BTreeMap<String, Journey>,
    /// By partition, the last position that was acknowledged.
    positions: BTreeMap<u32, u64>,
}

/// What was sent of one user.
#[derive(Debug, Default, Clone)]
pub struct Journey {
    /// The new events of each request.
    pub requests: Vec<Arc<[Event]>>,
    /// So many of them are acknowledged; those behind are under way.
    pub acknowledged: usize,
    /// When those of them were acknowledged that have a position, in milliseconds UTC; one behind is in a spool, or was.
    on_log_by_ms: Vec<i64>,
}

impl History {
    /// A request is about to be sent that has these new events of users who have none under way.
    pub fn begin(&self, events: &[Event]) {
        let mut known = self.0.lock();
        for of_user in events.chunk_by(|a, b| a.user == b.user) {
            let journey = known.journeys.entry(of_user[0].user.clone()).or_default();
            assert_eq!(journey.acknowledged, journey.requests.len(), "{} has a request under way", of_user[0].user);
            journey.requests.push(of_user.into());
        }
    }

    /// It has just been acknowledged, with this `Track-Position` unless it was spooled.
    #[allow(clippy::disallowed_methods, reason = "the processes that are judged go by the wall clock")]
    pub fn acknowledge(&self, events: &[Event], positions: Option<&str>) {
        let now_ms = Utc::now().timestamp_millis();
        let mut known = self.0.lock();
        for position in positions.iter().flat_map(|positions| positions.split(',')) {
            let (partition, offset) = position.split_once(':').unwrap();
            let last = known.positions.entry(partition.parse().unwrap()).or_default();
            *last = (*last).max(offset.parse().unwrap());
        }
        for of_user in events.chunk_by(|a, b| a.user == b.user) {
            let journey = known.journeys.get_mut(&of_user[0].user).unwrap();
            journey.acknowledged = journey.requests.len();
            let Some(positions) = positions else { continue };
            journey.on_log_by_ms.push(now_ms);
            let partition = partition_of(&of_user[0].user);
            assert!(known.positions.contains_key(&partition), "{partition} is not among {positions}");
        }
    }

    pub fn now(&self) -> Known {
        self.0.lock().clone()
    }

    /// One of the users, the `number`th of a list that begins again at its end.
    pub fn user(&self, number: usize) -> Option<String> {
        let known = self.0.lock();
        known.journeys.keys().nth(number % known.journeys.len().max(1)).cloned()
    }
}

impl Known {
    /// Where everything lies that was acknowledged with a position, as a query wants it.
    pub fn positions(&self) -> String {
        let positions = self.positions.iter().map(|(partition, offset)| format!("{partition}:{offset}"));
        positions.collect::<Vec<_>>().join(",")
    }

    pub fn journey(&self, user: &str) -> Option<&Journey> {
        self.journeys.get(user)
    }

    pub fn users(&self) -> impl Iterator<Item = (&String, &Journey)> {
        self.journeys.iter()
    }

    /// Everything sent.
    pub fn sent(&self) -> Vec<Event> {
        self.journeys.values().flat_map(|journey| journey.prefix(journey.requests.len())).collect()
    }

    /// Whether nothing is under way.
    pub fn is_acknowledged(&self) -> bool {
        self.journeys.values().all(|journey| journey.acknowledged == journey.requests.len())
    }
}

impl Journey {
    /// How many requests have a position.
    pub fn on_log(&self) -> usize {
        self.on_log_by_ms.len()
    }

    /// How many had one by then.
    pub fn on_log_by(&self, at_ms: i64) -> usize {
        self.on_log_by_ms.iter().take_while(|by_ms| **by_ms < at_ms).count()
    }

    /// The events of so many requests.
    pub fn prefix(&self, requests: usize) -> Vec<Event> {
        self.requests[..requests].iter().flat_map(|request| request.iter().cloned()).collect()
    }

    /// What a state may hold that has at least so many requests whole, the newest first. A request may be there in part, in
    /// any order, where it was cut short and sent again.
    pub fn states(&self, at_least: usize) -> impl Iterator<Item = Vec<Event>> {
        (at_least..=self.requests.len()).rev().flat_map(move |whole| {
            let under_way = self.requests.get(whole).map_or(&[][..], |request| request);
            // Not all of it: that is the state with one more.
            let parts = (1_usize << under_way.len()) - 1;
            (0..parts.max(1)).rev().map(move |part| {
                let taken = under_way.iter().enumerate().filter(|(bit, _)| part & (1 << bit) != 0);
                let mut events = self.prefix(whole);
                events.extend(taken.map(|(_, event)| event.clone()));
                events
            })
        })
    }
}

/// Where a user lives.
pub fn partition_of(user: &str) -> u32 {
    partition_for(user.as_bytes(), PARTITIONS)
}
