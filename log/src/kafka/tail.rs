//! Where a partition ends, as its readers see it.
//!
//! The end is the offset after the last record that can be read. That is not always Kafka's own: what lies before that
//! may be the marks of transactions, which are never delivered, and a reader that waited for them would lag for ever.

use crate::Offset;
use rdkafka::statistics::Partition;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of one partition, written by whoever polls it.
pub(super) struct Tail {
    /// The offset after the last record taken from librdkafka, or where reading began.
    next: AtomicU64,
    end: AtomicU64,
}

impl Tail {
    pub(super) fn new(from: Offset, end: Offset) -> Self {
        Self { next: AtomicU64::new(from), end: AtomicU64::new(end.max(from)) }
    }

    pub(super) fn end(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn next(&self) -> Offset {
        self.next.load(Ordering::Acquire)
    }

    /// The brokers have records up to `end`.
    pub(super) fn reaches(&self, end: Offset) {
        self.end.fetch_max(end, Ordering::AcqRel);
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

    /// What librdkafka's statistics say, which come every half second.
    pub(super) fn observe(&self, partition: &Partition) {
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

    #[test]
    fn what_is_fetched_but_not_taken_is_lag() {
        let tail = Tail::new(0, 100);
        tail.observe(&statistics(100, 100, 40));
        assert_eq!(tail.end(), 100);
    }
}
