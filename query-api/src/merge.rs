//! One list of rows out of many: ascending by bucket, what falls together summed.
//!
//! Sums stop at the largest number instead of beginning again from zero.

use track_proto::v1::{CountsAnswer, SessionRow, SessionsAnswer};

/// Counts of several events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// In the order of their bytes.
    pub(crate) events: Vec<String>,
    /// By bucket and, in it, in the order of the events.
    pub(crate) rows: Vec<Count>,
}

/// How often an event happened in a bucket; in the order of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count {
    pub(crate) bucket: i64,
    /// Which of [`Counts::events`].
    pub(crate) event: usize,
    pub(crate) count: u64,
}

/// Counts by bucket and, in it, by the event's name.
pub(crate) fn counts(answers: Vec<CountsAnswer>) -> Counts {
    let mut of_events: Vec<_> = answers.into_iter().flat_map(|answer| answer.events).collect();
    of_events.sort_unstable_by(|a, b| a.event.cmp(&b.event));
    let (mut events, mut rows) = (Vec::<String>::new(), Vec::new());
    for of_event in of_events {
        if events.last() != Some(&of_event.event) {
            events.push(of_event.event);
        }
        let (event, counted) = (events.len() - 1, of_event.buckets.iter().filter(|of_bucket| of_bucket.count > 0));
        rows.extend(counted.map(|of_bucket| Count { bucket: of_bucket.bucket, event, count: of_bucket.count }));
    }
    rows.sort_unstable();
    rows.dedup_by(|next, sum| {
        let same = next.bucket == sum.bucket && next.event == sum.event;
        if same {
            sum.count = sum.count.saturating_add(next.count);
        }
        same
    });
    Counts { events, rows }
}

/// Sessions by bucket.
pub(crate) fn sessions(answers: Vec<SessionsAnswer>) -> Vec<SessionRow> {
    let mut rows: Vec<_> = answers.into_iter().flat_map(|answer| answer.rows).filter(|row| row.count > 0).collect();
    rows.sort_unstable_by_key(|row| row.bucket);
    rows.dedup_by(|next, sum| {
        let same = next.bucket == sum.bucket;
        if same {
            sum.count = sum.count.saturating_add(next.count);
            sum.duration_ms_sum = sum.duration_ms_sum.saturating_add(next.duration_ms_sum);
        }
        same
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use track_proto::v1::{BucketCount, EventCounts};

    /// Each event once, its buckets in the order in which they come.
    fn answer(rows: &[(i64, &str, u64)]) -> CountsAnswer {
        let mut events: Vec<EventCounts> = Vec::new();
        for (bucket, event, count) in rows {
            let of_bucket = BucketCount { bucket: *bucket, count: *count };
            match events.iter_mut().find(|of_event| of_event.event == *event) {
                Some(of_event) => of_event.buckets.push(of_bucket),
                None => events.push(EventCounts { event: (*event).into(), buckets: vec![of_bucket] }),
            }
        }
        CountsAnswer { as_of: None, events }
    }

    fn named(counts: &Counts) -> Vec<(i64, &str, u64)> {
        counts.rows.iter().map(|row| (row.bucket, counts.events[row.event].as_str(), row.count)).collect()
    }

    fn session(bucket: i64, count: u64, duration_ms_sum: u64) -> SessionRow {
        SessionRow { bucket, count, duration_ms_sum }
    }

    #[test]
    fn sums_do_not_wrap() {
        let answer = answer(&[(1, "play", u64::MAX - 1)]);
        assert_eq!(named(&counts(vec![answer.clone(), answer])), [(1, "play", u64::MAX)]);
        let answer = SessionsAnswer { as_of: None, rows: vec![session(1, u64::MAX, u64::MAX)] };
        assert_eq!(sessions(vec![answer.clone(), answer]), [session(1, u64::MAX, u64::MAX)]);
    }

    proptest! {
        #[test]
        fn counts_are_the_sums(
            answers in proptest::collection::vec(
                proptest::collection::vec((-2..2_i64, "[ab]{0,1}", 0..3_u64), 0..8), 0..5,
            ),
        ) {
            let mut sums = BTreeMap::<(i64, String), u64>::new();
            for (bucket, event, count) in answers.iter().flatten() {
                *sums.entry((*bucket, event.clone())).or_default() += count;
            }
            let counted = sums.iter().filter(|(_, sum)| **sum > 0);
            let expected: Vec<_> = counted.map(|((bucket, event), sum)| (*bucket, event.as_str(), *sum)).collect();
            let answers = answers.iter().map(|rows| {
                let rows: Vec<_> = rows.iter().map(|(bucket, event, n)| (*bucket, event.as_str(), *n)).collect();
                answer(&rows)
            });
            let merged = counts(answers.collect());
            prop_assert_eq!(named(&merged), expected);
        }

        #[test]
        fn sessions_are_the_sums(
            answers in proptest::collection::vec(proptest::collection::vec((-2..2_i64, 1..3_u64, 0..9_u64), 0..8), 0..5),
        ) {
            let mut sums = BTreeMap::<i64, (u64, u64)>::new();
            for (bucket, count, duration_ms) in answers.iter().flatten() {
                let sum = sums.entry(*bucket).or_default();
                *sum = (sum.0 + count, sum.1 + duration_ms);
            }
            let expected: Vec<_> =
                sums.iter().map(|(bucket, (count, duration_ms))| session(*bucket, *count, *duration_ms)).collect();
            let answers = answers.into_iter().map(|rows| SessionsAnswer {
                as_of: None,
                rows: rows.iter().map(|(bucket, count, duration_ms)| session(*bucket, *count, *duration_ms)).collect(),
            });
            prop_assert_eq!(sessions(answers.collect()), expected);
        }
    }
}
