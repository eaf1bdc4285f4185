//! The question a query asks of every partition, apart from its encoding: what both ends agree on.

use crate::calendar::Calendar;
use crate::v1;
use chrono_tz::Tz;

pub use v1::{AsOf, BucketCount, EventCounts, SessionRow};

/// What a bucket of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// A local hour.
    Hour,
    /// A local day.
    Day,
    /// Seven local days, from [`WeekStart`].
    Week,
    /// A local calendar month.
    Month,
}

/// The first day of a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeekStart {
    /// Sunday, the default.
    Sunday,
    /// Monday, as ISO 8601 has it.
    Monday,
}

/// One question: of whom, which events, over which days, in which buckets.
#[derive(Debug, Clone)]
pub struct Question {
    /// The range and its buckets.
    pub calendar: Calendar,
    /// Only this user's events.
    pub user_id: Option<String>,
    /// Only events with these names; empty is all. For sessions: those which one of these names opens or closes.
    pub events: Vec<String>,
}

/// A request that names a time zone or a grouping which this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {field}: {value}")]
pub struct Unknown {
    /// Which field of the request.
    pub field: &'static str,
    /// What it said.
    pub value: String,
}

impl Question {
    /// The request for one partition, whose answer must include the record at `min_offset`.
    #[must_use]
    pub fn request(&self, partition: u32, min_offset: Option<u64>) -> v1::QueryRequest {
        let calendar = &self.calendar;
        let group_by = match calendar.group_by {
            GroupBy::Hour => v1::GroupBy::Hour,
            GroupBy::Day => v1::GroupBy::Day,
            GroupBy::Week => v1::GroupBy::Week,
            GroupBy::Month => v1::GroupBy::Month,
        };
        let week_start = match calendar.week_start {
            WeekStart::Sunday => v1::WeekStart::Sunday,
            WeekStart::Monday => v1::WeekStart::Monday,
        };
        v1::QueryRequest {
            partition,
            start_day: calendar.start_day,
            end_day: calendar.end_day,
            group_by: group_by.into(),
            week_start: week_start.into(),
            timezone: calendar.timezone.name().to_owned(),
            user_id: self.user_id.clone(),
            events: self.events.clone(),
            min_offset,
        }
    }
}

impl TryFrom<v1::QueryRequest> for Question {
    type Error = Unknown;

    fn try_from(request: v1::QueryRequest) -> Result<Self, Unknown> {
        let unknown = |field, value: String| Unknown { field, value };
        let group_by = match v1::GroupBy::try_from(request.group_by) {
            Ok(v1::GroupBy::Hour) => GroupBy::Hour,
            Ok(v1::GroupBy::Day) => GroupBy::Day,
            Ok(v1::GroupBy::Week) => GroupBy::Week,
            Ok(v1::GroupBy::Month) => GroupBy::Month,
            Err(_) => return Err(unknown("group_by", request.group_by.to_string())),
        };
        let week_start = match v1::WeekStart::try_from(request.week_start) {
            Ok(v1::WeekStart::Sunday) => WeekStart::Sunday,
            Ok(v1::WeekStart::Monday) => WeekStart::Monday,
            Err(_) => return Err(unknown("week_start", request.week_start.to_string())),
        };
        let timezone = match request.timezone.as_str() {
            "" => Tz::UTC,
            name => name.parse().map_err(|_| unknown("timezone", request.timezone.clone()))?,
        };
        let calendar =
            Calendar { start_day: request.start_day, end_day: request.end_day, group_by, week_start, timezone };
        Ok(Self { calendar, user_id: request.user_id, events: request.events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_survives_its_encoding() {
        let asked = Question {
            calendar: Calendar {
                start_day: -3,
                end_day: 20_000,
                group_by: GroupBy::Week,
                week_start: WeekStart::Monday,
                timezone: Tz::Asia__Kolkata,
            },
            user_id: Some("u".into()),
            events: vec!["play".into()],
        };
        let read = Question::try_from(asked.request(7, Some(9))).unwrap();
        assert_eq!(format!("{asked:?}"), format!("{read:?}"));
    }

    #[test]
    fn an_unknown_zone_is_said() {
        let request = v1::QueryRequest { timezone: "Mars/Olympus".into(), ..Default::default() };
        assert_eq!(Question::try_from(request).unwrap_err().to_string(), "unknown timezone: Mars/Olympus");
    }
}
