//! The events that are made: the same seed and settings give the same events in the same order, wherever they go.
//!
//! Users are drawn by Zipf, so a few are hot and most are rare. Of the names, `play` and `stop` are a fixed share, and a
//! user plays and stops in turn; the rest are drawn by Zipf. Events follow each other through a span of time; some come
//! late, and some are sent again with their event_id.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use std::collections::HashSet;

/// Every name there is: the two of a session, then the rest from the most to the least frequent.
pub(crate) const NAMES: [&str; 20] = [
    "play",
    "stop",
    "page_view",
    "click",
    "impression",
    "scroll",
    "search",
    "hover",
    "add_to_cart",
    "login",
    "like",
    "share",
    "comment",
    "purchase",
    "download",
    "signup",
    "follow",
    "subscribe",
    "error",
    "logout",
];
/// Where the name that opens a session stands in [`NAMES`].
pub(crate) const PLAY: u8 = 0;
/// Where the name that closes a session stands in [`NAMES`].
pub(crate) const STOP: u8 = 1;
/// The exponent of both Zipf distributions.
const ZIPF_EXPONENT: f64 = 1.0;
/// The share of events that open or close a session.
const SESSION_SHARE: f64 = 0.3;
/// An event on time is at most so much older than the moment it stands for, in milliseconds.
const JITTER_MS: i64 = 2_000;
/// How late a late event is, in milliseconds: a minute to a week, each order of magnitude as likely.
const LATE_MS: (f64, f64) = (60_000.0, 604_800_000.0);
/// An event is sent again while at most so many others with an id came after it.
const REMEMBERED: usize = 64;

/// What is made.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// How many events.
    pub(crate) events: u64,
    /// How many users they are drawn from, at least 1.
    pub(crate) users: u32,
    /// The seed of everything that is drawn.
    pub(crate) seed: u64,
    /// The last moment, in milliseconds since 1970 UTC; no event is after it.
    pub(crate) until_ms: i64,
    /// From the first moment to the last, in milliseconds.
    pub(crate) span_ms: i64,
    /// The share of events that are late.
    pub(crate) late_share: f64,
    /// The share of events that were sent before, under the same event_id.
    pub(crate) duplicate_share: f64,
    /// The share of events with an event_id, duplicates included.
    pub(crate) id_share: f64,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// The user's rank: 1 has the most events.
    pub(crate) user: u32,
    /// Its place in [`NAMES`].
    pub(crate) name: u8,
    /// When it happened, in milliseconds since 1970 UTC.
    pub(crate) timestamp_ms: i64,
    /// The number of its event_id, where it has one.
    pub(crate) id: Option<u64>,
    /// Whether it was sent before: then it must not count again.
    pub(crate) repeated: bool,
    /// What its metadata is made from.
    pub(crate) detail: u64,
}

impl Event {
    /// The user_id.
    pub(crate) fn user_id(&self) -> String {
        user_id(self.user)
    }
}

/// The user_id of a rank.
pub(crate) fn user_id(rank: u32) -> String {
    format!("user-{rank}")
}

/// Makes events one after the other.
pub(crate) struct Events {
    shape: Shape,
    made: u64,
    random: SmallRng,
    users: Zipf<f64>,
    names: Zipf<f64>,
    playing: HashSet<u32>,
    /// The last events with an id.
    remembered: Vec<Event>,
}

impl Events {
    /// From the first event on.
    ///
    /// # Errors
    /// Where there is no user to draw.
    pub(crate) fn new(shape: Shape) -> anyhow::Result<Self> {
        let others = f64::from(u32::try_from(NAMES.len() - 2)?);
        Ok(Self {
            made: 0,
            random: SmallRng::seed_from_u64(shape.seed),
            users: Zipf::new(f64::from(shape.users), ZIPF_EXPONENT)?,
            names: Zipf::new(others, ZIPF_EXPONENT)?,
            playing: HashSet::new(),
            remembered: Vec::new(),
            shape,
        })
    }

    /// A user, as often as each has events.
    pub(crate) fn draw_user(&mut self) -> u32 {
        rank(self.users.sample(&mut self.random))
    }

    fn draw(&mut self) -> Event {
        let user = self.draw_user();
        let late = self.random.random_bool(self.shape.late_share);
        let name = if self.random.random_bool(SESSION_SHARE) {
            self.next_edge(user)
        } else {
            // The ranks of the rest begin behind the two of a session.
            u8::try_from(rank(self.names.sample(&mut self.random))).unwrap_or(STOP) + STOP
        };
        let shape = &self.shape;
        let left = i128::from(shape.events - self.made) * i128::from(shape.span_ms) / i128::from(shape.events.max(1));
        let moment_ms = shape.until_ms - i64::try_from(left).unwrap_or(shape.span_ms);
        let mut timestamp_ms = moment_ms - self.random.random_range(0..JITTER_MS);
        if late {
            let (least, most) = (LATE_MS.0.ln(), LATE_MS.1.ln());
            #[allow(clippy::cast_possible_truncation, reason = "at most a week")]
            let by_ms = self.random.random_range(least..most).exp() as i64;
            timestamp_ms -= by_ms;
        }
        let detail = self.random.random();
        Event { user, name, timestamp_ms, id: None, repeated: false, detail }
    }

    fn next_edge(&mut self, user: u32) -> u8 {
        if self.playing.remove(&user) {
            STOP
        } else {
            self.playing.insert(user);
            PLAY
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.made == self.shape.events {
            return None;
        }
        self.made += 1;
        if !self.remembered.is_empty() && self.random.random_bool(self.shape.duplicate_share) {
            let again = self.random.random_range(0..self.remembered.len());
            return Some(Event { repeated: true, ..self.remembered[again] });
        }
        let mut event = self.draw();
        // Of those that are no duplicates, so many that the share is right over all.
        let fresh_share = 1.0 - self.shape.duplicate_share;
        let id_share =
            ((self.shape.id_share - self.shape.duplicate_share) / fresh_share.max(f64::EPSILON)).clamp(0.0, 1.0);
        if self.random.random_bool(id_share) {
            event.id = Some(self.made);
            if self.remembered.len() == REMEMBERED {
                self.remembered.remove(0);
            }
            self.remembered.push(event);
        }
        Some(event)
    }
}

fn rank(drawn: f64) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and from 1 to a u32")]
    let rank = drawn as u32;
    rank.max(1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::load) fn shape(events: u64) -> Shape {
        Shape {
            events,
            users: 1_000,
            seed: 7,
            until_ms: 1_748_779_200_000,
            span_ms: 86_400_000,
            late_share: 0.05,
            duplicate_share: 0.01,
            id_share: 0.02,
        }
    }

    fn share(events: &[Event], is: impl Fn(&Event) -> bool) -> f64 {
        let count = |n: usize| f64::from(u32::try_from(n).unwrap());
        count(events.iter().filter(|event| is(event)).count()) / count(events.len())
    }

    #[test]
    fn a_seed_gives_the_same_events_again() {
        let made = |seed| Events::new(Shape { seed, ..shape(1_000) }).unwrap().collect::<Vec<_>>();
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
    }

    #[test]
    fn shares_are_as_asked() {
        let events: Vec<_> = Events::new(shape(100_000)).unwrap().collect();
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < wanted / 5.0, "{found} for {wanted}");
        near(share(&events, |event| event.name <= STOP), 0.3);
        near(share(&events, |event| event.repeated), 0.01);
        near(share(&events, |event| event.id.is_some()), 0.02);
        // Zipf: rank r has a share of 1/r of the first, and 1/1 + … + 1/1000 is 7.49.
        near(share(&events, |event| event.user == 1), 1.0 / 7.49);
        near(share(&events, |event| event.user == 2), 0.5 / 7.49);
        assert!(events.iter().all(|event| usize::from(event.name) < NAMES.len()));
        let names: HashSet<_> = events.iter().map(|event| event.name).collect();
        assert_eq!(names.len(), NAMES.len());
    }

    #[test]
    fn events_go_through_the_span_and_none_is_in_the_future() {
        let shape = Shape { late_share: 0.0, ..shape(10_000) };
        let events: Vec<_> = Events::new(shape.clone()).unwrap().collect();
        let first_ms = shape.until_ms - shape.span_ms - JITTER_MS;
        assert!(events.iter().all(|event| (first_ms..=shape.until_ms).contains(&event.timestamp_ms)));
        assert!(events[9_999].timestamp_ms - events[0].timestamp_ms > shape.span_ms * 9 / 10);
    }

    #[test]
    fn a_duplicate_is_what_was_sent_before() {
        let events: Vec<_> = Events::new(shape(10_000)).unwrap().collect();
        for (at, event) in events.iter().enumerate().filter(|(_, event)| event.repeated) {
            let first = Event { repeated: false, ..*event };
            assert!(events[..at].contains(&first), "{event:?}");
        }
    }
}
