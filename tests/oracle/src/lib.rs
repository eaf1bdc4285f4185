//! The oracle: what the answers are, said as plainly as it can be. Sort, de-duplicate, scan.
//!
//! It shares no code with track, on purpose: what both say is true by two ways of saying it. It forgets nothing;
//! [`expiry`] is the same with a memory that ends.

pub mod expiry;
mod scan;
#[cfg(test)]
mod tests;

pub use scan::{Edge, scan};

use chrono::{DateTime, Datelike as _, Days, NaiveDate};
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};

/// What a producer sent. A slice of them is in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whose it is.
    pub user: String,
    /// What happened: `play`.
    pub name: String,
    /// Its own time, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What the client calls it. The first of one user's events with the same id counts.
    pub id: Option<String>,
    /// Stream time on arrival, in seconds since 1970; never less than that of the event before. Only [`expiry`] looks.
    pub arrival_s: u32,
}

/// Which events make sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The names of what opens and what closes: `play` and `stop`.
    pub pairs: Vec<(String, String)>,
    /// How long a session may be, in milliseconds.
    pub session_ms_max: i64,
}

/// What a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// A local hour.
    Hour,
    /// A local day.
    Day,
    /// Seven local days.
    Week,
    /// A local month.
    Month,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The first local day.
    pub start: NaiveDate,
    /// The last local day, itself included.
    pub end: NaiveDate,
    /// What a bucket is.
    pub group_by: GroupBy,
    /// Whose days these are.
    pub timezone: Tz,
    /// Weeks begin on Mondays, and else on Sundays.
    pub weeks_from_monday: bool,
    /// Only this user's.
    pub user: Option<String>,
    /// Only these names; for sessions, those which one of these opens or closes. None named are all.
    pub events: Vec<String>,
}

/// Events by label (`2025-01-01`, or `2025-01-01T13:00` by the hour) and name.
pub type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Sessions by label.
pub type Sessions = BTreeMap<String, SessionSum>;

/// The sessions of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionSum {
    /// How many.
    pub count: u64,
    /// How long together, in milliseconds.
    pub duration_ms: u64,
}

impl SessionSum {
    /// How long together, in seconds, rounded half up.
    #[must_use]
    pub fn total_s(self) -> u64 {
        (self.duration_ms + 500) / 1000
    }

    /// How long one is on average, in seconds, rounded half up.
    #[must_use]
    pub fn average_s(self) -> u64 {
        (2 * self.duration_ms + 1000 * self.count) / (2000 * self.count)
    }
}

/// How often each event happened.
#[must_use]
pub fn metrics(events: &[Event], query: &Query) -> Counts {
    let mut counts = Counts::new();
    for event in once(events) {
        if query.is_of(&event.user)
            && query.names(&[&event.name])
            && let Some(label) = query.label(event.at_ms)
        {
            *counts.entry(label).or_default().entry(event.name.clone()).or_default() += 1;
        }
    }
    counts
}

/// How many sessions began, and how long they are.
#[must_use]
pub fn sessions(events: &[Event], rules: &Rules, query: &Query) -> Sessions {
    let mut sums = Sessions::new();
    for (open, close) in rules.pairs.iter().filter(|(open, close)| query.names(&[open, close])) {
        let mut users: BTreeMap<&str, Vec<Edge>> = BTreeMap::new();
        for event in once(events).into_iter().filter(|event| query.is_of(&event.user)) {
            if event.name == *close {
                users.entry(&event.user).or_default().push(Edge::Close(event.at_ms));
            } else if event.name == *open {
                users.entry(&event.user).or_default().push(Edge::Open(event.at_ms));
            }
        }
        for (start_ms, end_ms) in users.into_values().flat_map(|edges| scan(edges, rules.session_ms_max)) {
            if let Some(label) = query.label(start_ms) {
                let sum = sums.entry(label).or_default();
                sum.count += 1;
                sum.duration_ms += start_ms.abs_diff(end_ms);
            }
        }
    }
    sums
}

/// The events that count: without those whose id their user has sent before.
fn once(events: &[Event]) -> Vec<&Event> {
    let mut seen = BTreeSet::new();
    events.iter().filter(|event| event.id.as_ref().is_none_or(|id| seen.insert((&event.user, id)))).collect()
}

impl Query {
    /// Everything from `start` up to and with `end`, by day, in UTC.
    #[must_use]
    pub fn days(start: NaiveDate, end: NaiveDate) -> Self {
        let (group_by, timezone) = (GroupBy::Day, Tz::UTC);
        Self { start, end, group_by, timezone, weeks_from_monday: false, user: None, events: Vec::new() }
    }

    fn is_of(&self, user: &str) -> bool {
        self.user.as_ref().is_none_or(|only| only == user)
    }

    fn names(&self, any: &[&String]) -> bool {
        self.events.is_empty() || self.events.iter().any(|name| any.contains(&name))
    }

    /// The bucket that an instant is in; none where its day is outside the range.
    ///
    /// The state is kept by quarters of an hour, and a quarter is where its first instant is.
    #[must_use]
    pub fn label(&self, at_ms: i64) -> Option<String> {
        let quarter_ms = at_ms - at_ms.rem_euclid(15 * 60 * 1000);
        let local = DateTime::from_timestamp_millis(quarter_ms)?.with_timezone(&self.timezone).naive_local();
        let day = local.date();
        if day < self.start || day > self.end {
            return None;
        }
        let days_into = match self.group_by {
            GroupBy::Hour => return Some(local.format("%Y-%m-%dT%H:00").to_string()),
            GroupBy::Day => 0,
            GroupBy::Week if self.weeks_from_monday => day.weekday().num_days_from_monday(),
            GroupBy::Week => day.weekday().num_days_from_sunday(),
            GroupBy::Month => day.day0(),
        };
        Some((day - Days::new(days_into.into())).format("%Y-%m-%d").to_string())
    }
}
