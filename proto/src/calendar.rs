//! From an instant to the bucket of an answer: quarters of an hour, UTC days, and the days, weeks, months and hours
//! of a time zone.
//!
//! State is kept by UTC day and, inside it, by quarter of an hour. Every time zone in use today is a multiple of 15 minutes
//! from UTC, so a local day is a whole number of quarters; where a zone of long ago was not (local mean time),
//! a quarter counts for the bucket that its first instant falls into.

use crate::view::{GroupBy, WeekStart};
use chrono::{DateTime, Datelike as _, Days, NaiveDate, Offset as _, TimeZone as _};
use chrono_tz::Tz;

/// Milliseconds in a quarter of an hour.
pub const QUARTER_MS: i64 = 15 * 60 * 1000;
/// Milliseconds in an hour.
const HOUR_MS: i64 = 4 * QUARTER_MS;
/// Quarters of an hour in a UTC day.
pub const QUARTERS: usize = 96;
/// Milliseconds in a day.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The UTC day of an instant (in milliseconds), in days since 1970-01-01.
///
/// # Panics
/// Beyond the year five million: [`crate::event::TIMESTAMP_MS_RANGE`] ends long before.
#[must_use]
pub fn utc_day(timestamp_ms: i64) -> i32 {
    i32::try_from(timestamp_ms.div_euclid(DAY_MS)).expect("an event's time is within the years 0001 and 9999")
}

/// The quarter of its UTC day in which an instant (in milliseconds) lies: 0 to 95.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0..96
pub fn quarter_of_day(timestamp_ms: i64) -> u8 {
    (timestamp_ms.rem_euclid(DAY_MS) / QUARTER_MS) as u8
}

/// Days since 1970-01-01 of a date.
#[must_use]
pub fn day_of_date(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

/// The date of a day counted from 1970-01-01, where chrono can say it (a quarter of a million years around now).
#[must_use]
pub fn date_of_day(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(day)
}

/// The range and the grouping of one question: which bucket, if any, an instant counts for.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// First local day of the range, in days since 1970-01-01.
    pub start_day: i32,
    /// Last local day of the range, itself included.
    pub end_day: i32,
    /// What a bucket is.
    pub group_by: GroupBy,
    /// Where weeks begin.
    pub week_start: WeekStart,
    /// Whose days these are.
    pub timezone: Tz,
}

/// Where the counts of one UTC day go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayMap {
    /// All of them into one bucket.
    Whole(i64),
    /// Each quarter of an hour into its own; `None` is outside the range.
    Quarters(Box<[Option<i64>; QUARTERS]>),
}

impl Calendar {
    /// The UTC days that may hold something of the range.
    #[must_use]
    pub fn utc_days(&self) -> std::ops::RangeInclusive<i32> {
        self.start_day.saturating_sub(1)..=self.end_day.saturating_add(1)
    }

    /// Where the counts of a UTC day go. `None`: nowhere, it is outside the range.
    #[must_use]
    pub fn map_day(&self, utc_day: i32) -> Option<DayMap> {
        let first_ms = i64::from(utc_day) * DAY_MS;
        let last_ms = first_ms + DAY_MS - QUARTER_MS;
        let (first_offset_ms, last_offset_ms) = (self.offset_ms(first_ms), self.offset_ms(last_ms));
        let offset_ms = (first_offset_ms == last_offset_ms).then_some(first_offset_ms);
        if let Some(offset_ms) = offset_ms
            && let (first, last) = (self.bucket(first_ms + offset_ms), self.bucket(last_ms + offset_ms))
            && first == last
        {
            // Without a change of offset local time only goes forward, so what is equal at both ends is equal between.
            return first.map(DayMap::Whole);
        }
        let mut quarters = Box::new([None; QUARTERS]);
        // Of the hour that the last quarter was of: to find a date's bucket takes longer than all else here.
        let mut last = (i64::MIN, None);
        let mut at_ms = first_ms - QUARTER_MS;
        for bucket in quarters.iter_mut() {
            at_ms += QUARTER_MS;
            let local_ms = at_ms + offset_ms.unwrap_or_else(|| self.offset_ms(at_ms));
            let hour = local_ms.div_euclid(HOUR_MS);
            if last.0 != hour {
                last = (hour, self.bucket(local_ms));
            }
            *bucket = last.1;
        }
        quarters.iter().any(Option::is_some).then_some(DayMap::Quarters(quarters))
    }

    /// What a bucket is called in an answer: `2025-01-01`, or `2025-01-01T13:00` where grouped by hour.
    #[must_use]
    pub fn label(&self, bucket: i64) -> String {
        let (day, hour) = match self.group_by {
            GroupBy::Hour => (bucket.div_euclid(24), Some(bucket.rem_euclid(24))),
            GroupBy::Day | GroupBy::Week | GroupBy::Month => (bucket, None),
        };
        let Some(date) = i32::try_from(day).ok().and_then(date_of_day) else {
            return format!("day {day}");
        };
        // As chrono shows a date, which is quicker than a format that it has to read first.
        hour.map_or_else(|| date.to_string(), |hour| format!("{date}T{hour:02}:00"))
    }

    /// The bucket of a local instant; `None` outside the range.
    fn bucket(&self, local_ms: i64) -> Option<i64> {
        let day = i32::try_from(local_ms.div_euclid(DAY_MS)).ok()?;
        if !(self.start_day..=self.end_day).contains(&day) {
            return None;
        }
        let day_wide = i64::from(day);
        Some(match self.group_by {
            GroupBy::Hour => day_wide * 24 + local_ms.rem_euclid(DAY_MS) / HOUR_MS,
            GroupBy::Day => day_wide,
            // 1970-01-01 was a Thursday: four days after a Sunday, three after a Monday.
            GroupBy::Week => match self.week_start {
                WeekStart::Sunday => day_wide - (day_wide + 4).rem_euclid(7),
                WeekStart::Monday => day_wide - (day_wide + 3).rem_euclid(7),
            },
            GroupBy::Month => {
                let date = date_of_day(day)?;
                i64::from(day_of_date(date.checked_sub_days(Days::new(u64::from(date.day0())))?))
            }
        })
    }

    fn offset_ms(&self, utc_ms: i64) -> i64 {
        if self.timezone == Tz::UTC {
            return 0;
        }
        DateTime::from_timestamp_millis(utc_ms).map_or(0, |utc| {
            i64::from(self.timezone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()) * 1000
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> i32 {
        day_of_date(text.parse().unwrap())
    }

    fn calendar(start: &str, end: &str, group_by: GroupBy, timezone: Tz) -> Calendar {
        Calendar { start_day: day(start), end_day: day(end), group_by, week_start: WeekStart::Sunday, timezone }
    }

    /// The naive way: chrono's own local time of each quarter.
    fn bucket_label(calendar: &Calendar, at_ms: i64) -> Option<String> {
        let local = DateTime::from_timestamp_millis(at_ms).unwrap().with_timezone(&calendar.timezone).naive_local();
        let date = local.date();
        if day_of_date(date) < calendar.start_day || day_of_date(date) > calendar.end_day {
            return None;
        }
        let back = match (calendar.group_by, calendar.week_start) {
            (GroupBy::Hour, _) => return Some(local.format("%Y-%m-%dT%H:00").to_string()),
            (GroupBy::Day, _) => 0,
            (GroupBy::Week, WeekStart::Sunday) => date.weekday().num_days_from_sunday(),
            (GroupBy::Week, WeekStart::Monday) => date.weekday().num_days_from_monday(),
            (GroupBy::Month, _) => date.day0(),
        };
        Some(date.checked_sub_days(Days::new(u64::from(back))).unwrap().to_string())
    }

    fn quarter_labels(calendar: &Calendar, utc_day: i32) -> Vec<Option<String>> {
        match calendar.map_day(utc_day) {
            None => vec![None; QUARTERS],
            Some(DayMap::Whole(bucket)) => vec![Some(calendar.label(bucket)); QUARTERS],
            Some(DayMap::Quarters(quarters)) => {
                quarters.iter().map(|bucket| bucket.map(|bucket| calendar.label(bucket))).collect()
            }
        }
    }

    #[test]
    fn a_utc_day_is_one_bucket_in_utc() {
        let days = calendar("2025-01-01", "2025-01-31", GroupBy::Day, Tz::UTC);
        assert_eq!(days.map_day(day("2025-01-01")), Some(DayMap::Whole(i64::from(day("2025-01-01")))));
        assert_eq!(days.map_day(day("2024-12-31")), None);
        assert_eq!(days.map_day(day("2025-02-01")), None);
    }

    #[test]
    fn weeks_carry_their_first_day_even_before_the_range() {
        let weeks = calendar("2025-01-01", "2025-01-31", GroupBy::Week, Tz::UTC);
        let Some(DayMap::Whole(bucket)) = weeks.map_day(day("2025-01-01")) else { panic!("a whole day") };
        assert_eq!(weeks.label(bucket), "2024-12-29");
    }

    #[test]
    fn the_ends_of_the_calendar_have_labels() {
        let days = calendar("0001-01-01", "9999-12-31", GroupBy::Hour, Tz::UTC);
        assert_eq!(quarter_labels(&days, day("0001-01-01"))[0].as_deref(), Some("0001-01-01T00:00"));
        assert_eq!(quarter_labels(&days, day("9999-12-31"))[95].as_deref(), Some("9999-12-31T23:00"));
    }

    proptest! {
        #[test]
        fn every_quarter_agrees_with_chrono(
            zone in proptest::sample::select(chrono_tz::TZ_VARIANTS.as_slice()),
            // 1975 to 2037: no zone is on local mean time any more, and chrono-tz has the rules.
            utc_day in 1_826..24_471_i32,
            before in 0..40_i32,
            after in 0..40_i32,
            group_by in proptest::sample::select(vec![GroupBy::Hour, GroupBy::Day, GroupBy::Week, GroupBy::Month]),
            week_start in proptest::sample::select(vec![WeekStart::Sunday, WeekStart::Monday]),
        ) {
            let calendar = Calendar { start_day: utc_day - before, end_day: utc_day + after, group_by, week_start, timezone: zone };
            for utc_day in [utc_day, utc_day - before - 1, utc_day - before, utc_day + after, utc_day + after + 1] {
                let first_ms = i64::from(utc_day) * DAY_MS;
                let expected: Vec<_> =
                    (0..96).map(|quarter| bucket_label(&calendar, first_ms + quarter * QUARTER_MS)).collect();
                prop_assert_eq!(quarter_labels(&calendar, utc_day), expected);
            }
        }

        #[test]
        fn nothing_of_the_range_lies_outside_its_utc_days(
            zone in proptest::sample::select(chrono_tz::TZ_VARIANTS.as_slice()),
            start in 0..24_000_i32,
            length in 0..40_i32,
        ) {
            let calendar = Calendar {
                start_day: start, end_day: start + length, group_by: GroupBy::Day, week_start: WeekStart::Sunday, timezone: zone,
            };
            prop_assert_eq!(calendar.map_day(calendar.utc_days().start() - 1), None);
            prop_assert_eq!(calendar.map_day(calendar.utc_days().end() + 1), None);
        }
    }
}
