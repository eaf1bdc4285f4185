//! One list of rows out of many: ascending by bucket, what falls together summed.
//!
//! Sums stop at the largest number instead of beginning again from zero.

use track_proto::v1::{CountRow, CountsAnswer, SessionRow, SessionsAnswer};

/// Counts by bucket and, in it, by the event's name in the order of its bytes.
pub(crate) fn counts(answers: Vec<CountsAnswer>) -> Vec<CountRow> {
    let mut rows: Vec<_> = answers.into_iter().flat_map(|answer| answer.rows).filter(|row| row.count > 0).collect();
    rows.sort_unstable_by(|a, b| a.bucket.cmp(&b.bucket).then_with(|| a.event.cmp(&b.event)));
    rows.dedup_by(|next, sum| {
        let same = next.bucket == sum.bucket && next.event == sum.event;
        if same {
            sum.count = sum.count.saturating_add(next.count);
        }
        same
    });
    rows
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

    fn count(bucket: i64, event: &str, count: u64) -> CountRow {
        CountRow { bucket, event: event.into(), count }
    }

    fn session(bucket: i64, count: u64, duration_ms_sum: u64) -> SessionRow {
        SessionRow { bucket, count, duration_ms_sum }
    }

    #[test]
    fn sums_do_not_wrap() {
        let answer = CountsAnswer { as_of: None, rows: vec![count(1, "play", u64::MAX - 1)] };
        assert_eq!(counts(vec![answer.clone(), answer]), [count(1, "play", u64::MAX)]);
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
            let expected: Vec<_> =
                sums.iter().filter(|(_, sum)| **sum > 0).map(|((bucket, event), sum)| count(*bucket, event, *sum)).collect();
            let answers = answers.into_iter().map(|rows| CountsAnswer {
                as_of: None,
                rows: rows.iter().map(|(bucket, event, n)| count(*bucket, event, *n)).collect(),
            });
            prop_assert_eq!(counts(answers.collect()), expected);
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
