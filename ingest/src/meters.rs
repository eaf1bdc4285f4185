//! What is counted. Handles are made once: looking one up costs more than counting.

use crate::error::Reason;
use metrics::{Counter, Histogram, counter, histogram};
use std::time::Duration;

pub(crate) struct Meters {
    accepted: Counter,
    rejected: [Counter; Reason::ALL.len()],
    append_seconds: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let mut rejected = Reason::ALL;
        // The place of a reason's counter is the reason's own number.
        rejected.sort_by_key(|(reason, _)| *reason as usize);
        Self {
            accepted: counter!("track_events_accepted_total"),
            rejected: rejected.map(|(_, name)| counter!("track_events_rejected_total", "reason" => name)),
            append_seconds: histogram!("track_append_seconds"),
        }
    }

    /// Events that are durable.
    pub(crate) fn accept(&self, events: u64) {
        self.accepted.increment(events);
    }

    /// Events that are not.
    pub(crate) fn reject(&self, reason: Reason, events: u64) {
        self.rejected[reason as usize].increment(events);
    }

    /// How long the log took to make one request's events durable.
    pub(crate) fn appended_within(&self, time: Duration) {
        self.append_seconds.record(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_counter() {
        let mut numbers = Reason::ALL.map(|(reason, _)| reason as usize);
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..Reason::ALL.len()));
    }
}
