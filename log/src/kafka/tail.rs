//! Where a partition ends, as its readers see it.
//!
//! The end is the offset after the last record that can be read. That is not always Kafka's own: what lies before that
//! may be the marks of transactions, which are never delivered, and a reader that waited for them would lag for ever.

use crate::Offset;
use parking_lot::Mutex;
use rdkafka::statistics::{Broker, Partition, Statistics};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A broker that answers has by then answered what was fetched of it so long before (`fetch.wait.max.ms`), be it that
/// there is nothing.
const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);

/// The end of one partition, written by whoever polls it.
pub(super) struct Tail {
    /// The offset after the last record taken from librdkafka, or where reading began.
    next: AtomicU64,
    end: AtomicU64,
    /// When that was known to be all: the broker that has the partition answers twice a second where nothing has come.
    heard: Mutex<Option<Instant>>,
}

impl Tail {
    pub(super) fn new(from: Offset, end: Offset) -> Self {
        Self { next: AtomicU64::new(from), end: AtomicU64::new(end.max(from)), heard: Mutex::new(None) }
    }

    pub(super) fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    /// How long ago that was known to be all.
    pub(super) fn end_age(&self) -> Option<Duration> {
        self.heard.lock().map(|heard| heard.elapsed())
    }

    pub(super) fn next(&self) -> Offset {
        self.next.load(Ordering::Acquire)
    }

    /// The brokers have records up to `end`.
    pub(super) fn reaches(&self, end: Offset) {
        self.end.fetch_max(end, Ordering::AcqRel);
    }

    /// The broker that has the partition has told all until then.
    pub(super) fn hear(&self, heard: Instant) {
        let mut last = self.heard.lock();
        *last = (*last).max(Some(heard));
    }

    /// The record before `next` was taken.
    pub(super) fn advance(&self, next: Offset) {
        self.next.store(next, Ordering::Release);
        self.reaches(next);
    }

    /// librdkafka said that there is nothing after what was taken.
    pub(super) fn nothing_left(&self) {
        self.end.store(self.next(), Ordering::Release);
    }

    /// Takes in what librdkafka's statistics say, which come every half second.
    pub(super) fn learn(&self, statistics: &Statistics, partition: &Partition, moments: &Moments) {
        self.observe(partition);
        if let Some(heard) = moments.heard(statistics, partition, Instant::now()) {
            self.hear(heard);
        }
    }

    fn observe(&self, partition: &Partition) {
        // Negative while nothing was fetched yet.
        let Ok(end) = Offset::try_from(partition.ls_offset) else { return };
        if partition.eof_offset != partition.ls_offset {
            self.reaches(end);
        } else if partition.fetchq_cnt == 0 {
            // Fetched to the end, and all that was fetched has been taken.
            self.nothing_left();
        }
    }
}

/// librdkafka's clock. Its statistics say when they were made, and come some time later.
#[derive(Default)]
pub(super) struct Moments(Mutex<Option<Instant>>);

impl Moments {
    /// When statistics were made, as far as those that have come fastest tell.
    fn made_at(&self, statistics: &Statistics, now: Instant) -> Instant {
        let since_start = Duration::from_micros(statistics.ts.try_into().unwrap_or_default());
        let start = now.checked_sub(since_start).unwrap_or(now);
        let mut known = self.0.lock();
        let start = known.map_or(start, |known| known.min(start));
        *known = Some(start);
        start + since_start
    }

    /// Until when, by these statistics, the broker that has a partition has told all.
    fn heard(&self, statistics: &Statistics, partition: &Partition, now: Instant) -> Option<Instant> {
        let made_at = self.made_at(statistics, now);
        let broker = broker(statistics, partition.broker).filter(|_| partition.fetch_state == "active")?;
        // Negative while nothing has come on this connection.
        let silent_for = Duration::from_micros(broker.rxidle.try_into().ok()?);
        made_at.checked_sub(silent_for + FETCH_WAIT_MAX)
    }
}

/// A broker by its number. A partition without one is at librdkafka's own, whose number, -1, bootstrap servers have too.
pub(super) fn broker(statistics: &Statistics, number: i32) -> Option<&Broker> {
    statistics.brokers.values().find(|broker| number >= 0 && broker.nodeid == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(eof_offset: i64, ls_offset: i64, fetchq_cnt: i64) -> Partition {
        Partition { eof_offset, ls_offset, fetchq_cnt, ..Partition::default() }
    }

    #[test]
    fn the_end_grows_with_what_the_brokers_have() {
        let tail = Tail::new(5, 8);
        assert_eq!(tail.end(), 8);
        tail.observe(&statistics(-1001, 20, 3));
        assert_eq!(tail.end(), 20);
        tail.advance(21);
        assert_eq!(tail.end(), 21);
        tail.observe(&statistics(-1001, -1001, 0));
        assert_eq!(tail.end(), 21);
    }

    #[test]
    fn what_is_never_delivered_is_no_lag() {
        // Offset 9 is a transaction's mark.
        let tail = Tail::new(0, 10);
        tail.advance(9);
        assert_eq!(tail.end(), 10);
        tail.nothing_left();
        assert_eq!(tail.end(), 9);
        // Statistics from before the end was reached, then from after.
        tail.observe(&statistics(3, 10, 0));
        assert_eq!(tail.end(), 10);
        tail.observe(&statistics(10, 10, 0));
        assert_eq!(tail.end(), 9);
    }

    fn of_brokers(ts: i64, rxidle: [i64; 2]) -> Statistics {
        let broker = |(number, rxidle)| (format!("{number}"), Broker { nodeid: number, rxidle, ..Broker::default() });
        // And one that was only ever asked which brokers there are.
        let brokers = (1..).zip(rxidle).chain([(-1, 0)]).map(broker).collect();
        Statistics { ts, brokers, ..Statistics::default() }
    }

    #[test]
    fn the_broker_of_the_partition_is_heard_or_not() {
        let (moments, second, now) = (Moments::default(), 1_000_000, Instant::now());
        let later = now + Duration::from_secs(3);
        let of_second = Partition { broker: 2, fetch_state: "active".to_owned(), ..Partition::default() };
        let first = moments.heard(&of_brokers(10 * second, [0, second]), &of_second, now).unwrap();
        let silent = moments.heard(&of_brokers(13 * second, [0, 4 * second]), &of_second, later).unwrap();
        assert_eq!(silent, first);
        assert_eq!(moments.heard(&of_brokers(14 * second, [0, -1]), &of_second, later), None);
        for (broker, state) in [(-1, "active"), (2, "none"), (2, "offset-query"), (3, "active")] {
            let partition = Partition { broker, fetch_state: state.to_owned(), ..Partition::default() };
            assert_eq!(moments.heard(&of_brokers(14 * second, [0, 0]), &partition, later), None, "{broker} {state}");
        }
    }

    #[test]
    fn statistics_that_come_late_are_of_when_they_were_made() {
        let (moments, now) = (Moments::default(), Instant::now());
        let at = |seconds: i64| of_brokers(seconds * 1_000_000, [0, 0]);
        let second = Duration::from_secs(1);
        assert_eq!(moments.made_at(&at(1), now + 3 * second), now + 3 * second);
        assert_eq!(moments.made_at(&at(2), now + 2 * second), now + 2 * second);
        assert_eq!(moments.made_at(&at(3), now + 9 * second), now + 3 * second);
    }

    #[test]
    fn the_age_is_that_of_the_last_word() {
        let (tail, now) = (Tail::new(0, 0), Instant::now());
        assert_eq!(tail.end_age(), None);
        let before = now.checked_sub(Duration::from_secs(5)).unwrap();
        tail.hear(before);
        assert!(tail.end_age() >= Some(Duration::from_secs(5)));
        tail.hear(now);
        let age = tail.end_age();
        tail.hear(before);
        assert!(tail.end_age() >= age && age < Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_is_fetched_but_not_taken_is_lag() {
        let tail = Tail::new(0, 100);
        tail.observe(&statistics(100, 100, 40));
        assert_eq!(tail.end(), 100);
    }
}
