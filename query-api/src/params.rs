//! From the query string to a question, or to the one thing that is wrong with it.
//!
//! An empty value is the same as none, for every parameter: HTML forms send one for each field left blank.
//! Unknown parameters are ignored.

use chrono::{Datelike as _, NaiveDate};
use chrono_tz::Tz;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, HashMap};
use track_proto::calendar::{Calendar, day_of_date};
use track_proto::event::{Malformed, check_name, check_user_id};
use track_proto::view::{GroupBy, Question, WeekStart};

/// The header in which ingest says where events went; a query that sends it back sees those events.
/// Its value is that of the parameter `min_position`.
pub const POSITION_HEADER: &str = "track-position";

/// Every parameter but `event`, which may be given more than once.
const SINGLE: [&str; 8] =
    ["start_date", "end_date", "group_by", "user_id", "timezone", "week_start", "allow_partial", "min_position"];

/// What a client asks, understood.
#[derive(Debug)]
pub(crate) struct Params {
    pub(crate) question: Question,
    /// Whether an answer that lacks partitions is better than none.
    pub(crate) allow_partial: bool,
    /// For some partitions, the offset of a record that the answer must include.
    pub(crate) min_positions: BTreeMap<u32, u64>,
}

/// Why a query string is not a question. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParamError {
    #[error("The query string is not valid UTF-8")]
    NotUtf8,
    #[error("{name} must be given only once")]
    Repeated { name: &'static str },
    #[error("start_date and end_date are required")]
    DatesMissing,
    #[error("Invalid date format. Use YYYY-MM-DD")]
    Date,
    #[error("start_date must not be after end_date")]
    DatesReversed,
    #[error("{name} must be one of: {allowed}")]
    NotOneOf { name: &'static str, allowed: &'static str },
    #[error("timezone must be an IANA time zone, such as Europe/Berlin")]
    Timezone,
    #[error(transparent)]
    Text(#[from] Malformed),
    #[error("min_position must be <partition>:<offset>, or several of these with commas between")]
    MinPosition,
    #[error("min_position names partition {partition}, but partitions are numbered from 0 to {last}")]
    NoSuchPartition { partition: u32, last: u32 },
}

/// Reads a query string and the values of [`POSITION_HEADER`].
pub(crate) fn parse<'a>(
    query: &str,
    position_headers: impl IntoIterator<Item = &'a HeaderValue>,
) -> Result<Params, ParamError> {
    let mut events = Vec::new();
    let mut given = HashMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if value.is_empty() {
            continue;
        }
        if name == "event" {
            events.push(value);
        } else if let Some(name) = SINGLE.into_iter().find(|single| *single == name)
            && given.insert(name, value).is_some()
        {
            return Err(ParamError::Repeated { name });
        }
    }
    let mut take = |name| given.remove(name);

    let (Some(start), Some(end)) = (take("start_date"), take("end_date")) else {
        return Err(ParamError::DatesMissing);
    };
    let (start, end) = (date(&start)?, date(&end)?);
    if start > end {
        return Err(ParamError::DatesReversed);
    }
    let group_by = match take("group_by").as_deref() {
        None | Some("day") => GroupBy::Day,
        Some("week") => GroupBy::Week,
        Some("month") => GroupBy::Month,
        Some("hour") => GroupBy::Hour,
        Some(_) => return Err(ParamError::NotOneOf { name: "group_by", allowed: "day, week, month, hour" }),
    };
    let week_start = match take("week_start").as_deref() {
        None | Some("sunday") => WeekStart::Sunday,
        Some("monday") => WeekStart::Monday,
        Some(_) => return Err(ParamError::NotOneOf { name: "week_start", allowed: "sunday, monday" }),
    };
    let timezone = match take("timezone") {
        None => Tz::UTC,
        Some(name) => name.parse().map_err(|_| ParamError::Timezone)?,
    };
    let user_id = take("user_id");
    if let Some(user_id) = &user_id {
        check_user_id(user_id)?;
    }
    events.sort_unstable();
    events.dedup();
    events.iter().try_for_each(|event| check_name(event))?;
    let allow_partial = match take("allow_partial").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ParamError::NotOneOf { name: "allow_partial", allowed: "true, false" }),
    };
    let mut min_positions = BTreeMap::new();
    if let Some(positions) = take("min_position") {
        add_positions(&positions, &mut min_positions)?;
    }
    for header in position_headers {
        add_positions(header.to_str().map_err(|_| ParamError::MinPosition)?, &mut min_positions)?;
    }

    let calendar =
        Calendar { start_day: day_of_date(start), end_day: day_of_date(end), group_by, week_start, timezone };
    Ok(Params { question: Question { calendar, user_id, events }, allow_partial, min_positions })
}

/// `application/x-www-form-urlencoded`, as the URL standard has it, but strict: bytes that are not UTF-8 are refused
/// where the standard puts replacement characters, since that would ask about another user.
fn decode(text: &str) -> Result<String, ParamError> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(Into::into).map_err(|_| ParamError::NotUtf8)
}

/// Ten characters, four of them a year from 0001 to 9999: chrono alone takes `2025-1-1` and `+2025-01-01` as well.
fn date(text: &str) -> Result<NaiveDate, ParamError> {
    let dashes_and_digits = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if text.len() != 10 || !dashes_and_digits {
        return Err(ParamError::Date);
    }
    text.parse::<NaiveDate>().ok().filter(|date| date.year() > 0).ok_or(ParamError::Date)
}

/// Adds `partition:offset[,partition:offset…]`; of two offsets for one partition the larger counts.
fn add_positions(text: &str, positions: &mut BTreeMap<u32, u64>) -> Result<(), ParamError> {
    for position in text.split(',') {
        let (partition, offset) = position.trim_ascii().split_once(':').ok_or(ParamError::MinPosition)?;
        let (partition, offset) = (number(partition)?, number(offset)?);
        let least = positions.entry(partition).or_insert(offset);
        *least = offset.max(*least);
    }
    Ok(())
}

/// Digits only: `parse` alone takes a plus sign as well.
fn number<N: std::str::FromStr>(text: &str) -> Result<N, ParamError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParamError::MinPosition);
    }
    text.parse().map_err(|_| ParamError::MinPosition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(rest: &str) -> Result<Params, ParamError> {
        parse(&format!("start_date=2025-01-01&end_date=2025-01-31{rest}"), [])
    }

    fn header(value: &str) -> HeaderValue {
        HeaderValue::from_str(value).unwrap()
    }

    #[test]
    fn defaults() {
        let params = parsed("").unwrap();
        let Calendar { start_day, end_day, group_by, week_start, timezone } = params.question.calendar;
        assert_eq!((start_day, end_day), (20_089, 20_119));
        assert_eq!((group_by, week_start, timezone), (GroupBy::Day, WeekStart::Sunday, Tz::UTC));
        assert_eq!((params.question.user_id, params.question.events), (None, vec![]));
        assert!(!params.allow_partial && params.min_positions.is_empty());
    }

    #[test]
    fn everything_said() {
        let params = parsed(
            "&group_by=week&week_start=monday&timezone=Asia%2FKolkata&user_id=a+b%2Bc%26d&event=stop&event=play\
             &event=stop&event=&allow_partial=true&min_position=1:5,0:18446744073709551615&unknown=1&unknown=2",
        )
        .unwrap();
        let calendar = params.question.calendar;
        assert_eq!(
            (calendar.group_by, calendar.week_start, calendar.timezone),
            (GroupBy::Week, WeekStart::Monday, Tz::Asia__Kolkata)
        );
        assert_eq!(params.question.user_id.as_deref(), Some("a b+c&d"));
        assert_eq!(params.question.events, ["play", "stop"]);
        assert!(params.allow_partial);
        assert_eq!(params.min_positions, BTreeMap::from([(0, u64::MAX), (1, 5)]));
    }

    #[test]
    fn an_empty_value_beside_another_is_no_value_either() {
        for query in ["&user_id=&user_id=u", "&user_id=u&user_id=", "&user_id&user_id=u"] {
            assert_eq!(parsed(query).unwrap().question.user_id.as_deref(), Some("u"), "{query}");
        }
        assert_eq!(parsed("&user_id=u&user_id=u").unwrap_err(), ParamError::Repeated { name: "user_id" });
    }

    #[test]
    fn an_empty_value_is_no_value() {
        let params =
            parsed("&group_by=&week_start=&timezone=&user_id=&event=&allow_partial=&min_position=&&=&").unwrap();
        assert_eq!(format!("{params:?}"), format!("{:?}", parsed("").unwrap()));
    }

    #[test]
    fn text_is_kept_to_the_letter() {
        for (encoded, user_id) in [
            ("%F0%9F%8E%B5", "🎵"),
            ("🎵", "🎵"),
            ("__proto__", "__proto__"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("a=b", "a=b"),
        ] {
            let params = parsed(&format!("&user_id={encoded}")).unwrap();
            assert_eq!(params.question.user_id.as_deref(), Some(user_id));
        }
    }

    #[test]
    fn positions_of_parameter_and_headers_add_up() {
        let query = "start_date=2025-01-01&end_date=2025-01-01&min_position=0:7,1:1";
        let params = parse(query, &[header("0:3, 1:9"), header("2:0")]).unwrap();
        assert_eq!(params.min_positions, BTreeMap::from([(0, 7), (1, 9), (2, 0)]));
    }

    #[test]
    fn bad_positions() {
        for bad in ["1", ":", "1:", ":1", "a:1", "1:a", "-1:1", "%2B1:1", "1:%2B1", "1:1,", ",", "1:1:1", "1.0:1"] {
            assert_eq!(parsed(&format!("&min_position={bad}")).unwrap_err(), ParamError::MinPosition, "{bad}");
        }
        for bad in ["4294967296:0", "0:18446744073709551616"] {
            assert_eq!(parsed(&format!("&min_position={bad}")).unwrap_err(), ParamError::MinPosition, "{bad}");
        }
        for bad in [header(""), header("x"), HeaderValue::from_bytes(b"0:\xff").unwrap()] {
            let query = "start_date=2025-01-01&end_date=2025-01-01";
            assert_eq!(parse(query, [&bad]).unwrap_err(), ParamError::MinPosition, "{bad:?}");
        }
    }

    #[test]
    fn bad_dates() {
        for bad in [
            "2025-02-30",
            "2025-1-1",
            "%2B2025-01-01",
            "+2025-01-1",
            "0000-01-01",
            "-001-01-01",
            "10000-01-01",
            "2025-13-01",
            "2025-00-10",
            "2025-01-00",
            "2025/01/01",
            "20250101",
            "2025-01-01T00",
            "2025-01-01+",
            "%002025-01-1",
            "today",
            "２０２５-01-01",
            "2025-01-0١",
            "2023-02-29",
        ] {
            for query in
                [format!("start_date={bad}&end_date=9999-12-31"), format!("start_date=0001-01-01&end_date={bad}")]
            {
                assert_eq!(parse(&query, []).unwrap_err(), ParamError::Date, "{query}");
            }
        }
    }

    #[test]
    fn the_whole_calendar_is_a_range() {
        let params = parse("start_date=0001-01-01&end_date=9999-12-31", []).unwrap();
        assert_eq!((params.question.calendar.start_day, params.question.calendar.end_day), (-719_162, 2_932_896));
    }

    #[test]
    fn time_zones_are_spelled_as_iana_does() {
        for good in ["UTC", "Etc/GMT%2B5", "America/Argentina/Buenos_Aires", "Asia/Kathmandu"] {
            assert!(parsed(&format!("&timezone={good}")).is_ok(), "{good}");
        }
        for bad in ["utc", "europe/berlin", "Etc/GMT+5", "+01:00", "Mars/Olympus", " UTC", "..", "%00"] {
            assert_eq!(parsed(&format!("&timezone={bad}")).unwrap_err(), ParamError::Timezone, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_query_string_panics(query: String, value in proptest::collection::vec(32_u8..=255, 0..40)) {
            let _ = parse(&query, []);
            let _ = parsed(&format!("&{query}"));
            let _ = parse("start_date=2025-01-01&end_date=2025-01-01", HeaderValue::from_bytes(&value).iter());
        }

        #[test]
        fn a_date_is_what_chrono_prints(text in "[0-9+ -]{0,3}[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}") {
            let printed = text.parse::<NaiveDate>().ok().filter(|date| (1..=9999).contains(&date.year()) && date.to_string() == text);
            prop_assert_eq!(date(&text).ok(), printed);
        }

        #[test]
        fn every_day_of_the_calendar_is_a_date(day in -719_162..=2_932_896_i32) {
            let printed = NaiveDate::from_epoch_days(day).unwrap().to_string();
            prop_assert_eq!(date(&printed).map(day_of_date), Ok(day));
        }

        #[test]
        fn any_user_survives_the_encoding(user_id in "\\PC{1,60}") {
            let encoded: String = user_id.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let params = parsed(&format!("&user_id={encoded}")).unwrap();
            prop_assert_eq!(params.question.user_id, Some(user_id));
        }
    }
}
