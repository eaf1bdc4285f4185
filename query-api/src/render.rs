//! The JSON of an answer, written straight to its bytes.

use crate::merge::{Count, Counts};
use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use track_proto::calendar::Calendar;
use track_proto::v1::SessionRow;

/// `{"status":"success","data":[{"date":"2025-01-01","play":24,"stop":22}]}`.
/// `missing` partitions, where there are any, are named at the end.
pub(crate) fn counts(calendar: &Calendar, counts: &Counts, missing: &[u32]) -> Bytes {
    success(CountsByDate { calendar, counts }, missing)
}

/// `{"status":"success","data":[{"date":"2025-01-01","totalDuration":7200,"sessionCount":15,"averageDuration":480}]}`:
/// whole seconds, rounded half up; the average is that of the milliseconds.
pub(crate) fn sessions(calendar: &Calendar, rows: &[SessionRow], missing: &[u32]) -> Bytes {
    success(SessionsByDate { calendar, rows }, missing)
}

fn success(data: impl Serialize, missing_partitions: &[u32]) -> Bytes {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Success<'a, D> {
        status: &'static str,
        data: D,
        #[serde(skip_serializing_if = "<[u32]>::is_empty")]
        missing_partitions: &'a [u32],
    }
    let success = Success { status: "success", data, missing_partitions };
    serde_json::to_vec(&success).expect("keys are strings, and memory does not fail to be written").into()
}

struct CountsByDate<'a> {
    calendar: &'a Calendar,
    counts: &'a Counts,
}

impl Serialize for CountsByDate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { calendar, counts } = self;
        let buckets = counts.rows.chunk_by(|a, b| a.bucket == b.bucket);
        serializer.collect_seq(buckets.map(|rows| CountsOfDate { calendar, events: &counts.events, rows }))
    }
}

/// The rows of one bucket, at least one.
struct CountsOfDate<'a> {
    calendar: &'a Calendar,
    events: &'a [String],
    rows: &'a [Count],
}

impl Serialize for CountsOfDate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.rows.len()))?;
        map.serialize_entry("date", &self.calendar.label(self.rows[0].bucket))?;
        for row in self.rows {
            map.serialize_entry(&self.events[row.event], &row.count)?;
        }
        map.end()
    }
}

struct SessionsByDate<'a> {
    calendar: &'a Calendar,
    rows: &'a [SessionRow],
}

impl Serialize for SessionsByDate<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Row {
            date: String,
            total_duration: u64,
            session_count: u64,
            average_duration: u64,
        }
        serializer.collect_seq(self.rows.iter().map(|row| Row {
            date: self.calendar.label(row.bucket),
            total_duration: seconds_per(row.duration_ms_sum, 1),
            session_count: row.count,
            average_duration: seconds_per(row.duration_ms_sum, row.count),
        }))
    }
}

/// Milliseconds shared among `count`, in whole seconds rounded half up.
fn seconds_per(duration_ms: u64, count: u64) -> u64 {
    let (duration_ms, ms_per_second) = (u128::from(duration_ms), u128::from(count.max(1)) * 1_000);
    u64::try_from((duration_ms + ms_per_second / 2) / ms_per_second).expect("a thousandth of a u64, rounded, is a u64")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use track_proto::view::{GroupBy, WeekStart};

    fn calendar(group_by: GroupBy) -> Calendar {
        Calendar { start_day: 0, end_day: 30_000, group_by, week_start: WeekStart::Sunday, timezone: Tz::UTC }
    }

    /// Rows in their order.
    fn counted(rows: &[(i64, &str, u64)]) -> Counts {
        let events: BTreeSet<&str> = rows.iter().map(|(_, event, _)| *event).collect();
        let place = |event: &str| events.iter().position(|known| *known == event).unwrap();
        let rows =
            rows.iter().map(|(bucket, event, count)| Count { bucket: *bucket, event: place(event), count: *count });
        Counts { rows: rows.collect(), events: events.iter().map(|event| (*event).to_owned()).collect() }
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn counts_have_a_row_a_date() {
        let rows = counted(&[(20_089, "play", 24), (20_089, "stop", 22), (20_091, "play", 1)]);
        assert_eq!(
            text(&counts(&calendar(GroupBy::Day), &rows, &[])),
            r#"{"status":"success","data":[{"date":"2025-01-01","play":24,"stop":22},{"date":"2025-01-03","play":1}]}"#
        );
    }

    #[test]
    fn hours_have_their_own_label() {
        assert_eq!(
            text(&counts(&calendar(GroupBy::Hour), &counted(&[(20_089 * 24 + 13, "play", 1)]), &[])),
            r#"{"status":"success","data":[{"date":"2025-01-01T13:00","play":1}]}"#
        );
    }

    #[test]
    fn any_name_is_a_plain_key() {
        let rows = counted(&[(0, "\"", 1), (0, "__proto__", 2), (0, "constructor", 3), (0, "🎵", u64::MAX)]);
        assert_eq!(
            text(&counts(&calendar(GroupBy::Day), &rows, &[])),
            r#"{"status":"success","data":[{"date":"1970-01-01","\"":1,"__proto__":2,"constructor":3,"🎵":18446744073709551615}]}"#
        );
    }

    #[test]
    fn nothing_is_an_empty_list_and_the_missing_are_named() {
        assert_eq!(text(&counts(&calendar(GroupBy::Day), &counted(&[]), &[])), r#"{"status":"success","data":[]}"#);
        assert_eq!(
            text(&sessions(&calendar(GroupBy::Day), &[], &[1, 7])),
            r#"{"status":"success","data":[],"missingPartitions":[1,7]}"#
        );
    }

    #[test]
    fn sessions_are_in_seconds() {
        let rows = [
            SessionRow { bucket: 20_089, count: 15, duration_ms_sum: 7_200_000 },
            SessionRow { bucket: 20_090, count: 2, duration_ms_sum: 2_999 },
            SessionRow { bucket: 20_091, count: 1, duration_ms_sum: 0 },
        ];
        let expected = concat!(
            r#"{"status":"success","data":["#,
            r#"{"date":"2025-01-01","totalDuration":7200,"sessionCount":15,"averageDuration":480},"#,
            r#"{"date":"2025-01-02","totalDuration":3,"sessionCount":2,"averageDuration":1},"#,
            r#"{"date":"2025-01-03","totalDuration":0,"sessionCount":1,"averageDuration":0}]}"#,
        );
        assert_eq!(text(&sessions(&calendar(GroupBy::Day), &rows, &[])), expected);
    }

    #[test]
    fn half_a_second_is_a_second() {
        for (duration_ms, count, seconds) in [
            (499, 1, 0),
            (500, 1, 1),
            (1_499, 1, 1),
            (2_999, 2, 1),
            (3_000, 2, 2),
            (1_499, 3, 0),
            (1_500, 3, 1),
            (u64::MAX, 1, 18_446_744_073_709_552),
        ] {
            assert_eq!(seconds_per(duration_ms, count), seconds, "{duration_ms} ms among {count}");
        }
    }

    proptest! {
        #[test]
        fn an_average_is_within_half_a_second(duration_ms: u64, count in 1..u64::MAX) {
            let twice_ms = 2_000 * i128::from(seconds_per(duration_ms, count)) * i128::from(count);
            let off = twice_ms - 2 * i128::from(duration_ms);
            prop_assert!(off <= 1_000 * i128::from(count) && off > -1_000 * i128::from(count));
        }
    }
}
