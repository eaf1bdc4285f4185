//! The oracle's answers as the API gives them, and a running track's held against them.

use crate::http::Request;
use crate::poll::eventually;
use anyhow::{Context as _, Result, ensure};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use track_oracle::{Event, GroupBy, Query, Rules};

/// From the last event to the last answer, a state folded again from the start included.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The two questions that there are.
pub const PATHS: [&str; 2] = ["/metrics", "/sessions"];

/// The path and query of a request. `positions` may be empty; names go in as they are.
#[must_use]
pub fn target(path: &str, query: &Query, positions: &str) -> String {
    let group_by = match query.group_by {
        GroupBy::Hour => "hour",
        GroupBy::Day => "day",
        GroupBy::Week => "week",
        GroupBy::Month => "month",
    };
    let week_start = if query.weeks_from_monday { "monday" } else { "sunday" };
    let mut target = format!(
        "{path}?start_date={}&end_date={}&group_by={group_by}&week_start={week_start}&timezone={}",
        query.start, query.end, query.timezone
    );
    query.user.iter().for_each(|user| target += &format!("&user_id={user}"));
    query.events.iter().for_each(|event| target += &format!("&event={event}"));
    if !positions.is_empty() {
        target += &format!("&min_position={positions}");
    }
    target
}

/// The rows that either of [`PATHS`] answers, with track's default rules.
#[must_use]
pub fn data(path: &str, events: &[Event], query: &Query) -> Value {
    if path == "/metrics" { metrics(events, query) } else { sessions(events, query) }
}

fn metrics(events: &[Event], query: &Query) -> Value {
    let rows = track_oracle::metrics(events, query).into_iter().map(|(date, counts)| {
        let mut row = Map::from_iter([("date".to_owned(), json!(date))]);
        row.extend(counts.into_iter().map(|(event, count)| (event, json!(count))));
        Value::Object(row)
    });
    rows.collect()
}

fn sessions(events: &[Event], query: &Query) -> Value {
    let month_ms = 30 * 24 * 60 * 60 * 1000;
    let rules = Rules { pairs: vec![("play".into(), "stop".into())], session_ms_max: month_ms };
    let rows = track_oracle::sessions(events, &rules, query).into_iter().map(|(date, sum)| {
        json!({"date": date, "totalDuration": sum.total_s(), "sessionCount": sum.count, "averageDuration": sum.average_s()})
    });
    rows.collect()
}

/// By every grouping, in three time zones, of all users and of these, of all events and of some. From `first` to `last` are
/// three weeks.
///
/// # Panics
/// For days at the ends of the calendar.
#[must_use]
#[allow(clippy::expect_used, reason = "no test asks about the ends of the calendar")]
pub fn queries(first: NaiveDate, last: NaiveDate, users: [&str; 3]) -> Vec<Query> {
    let all = Query::days(first, last);
    let inner_first = first.checked_add_days(Days::new(9)).expect("a day");
    let inner_last = last.checked_sub_days(Days::new(9)).expect("a day");
    let [one, two, three] = users.map(|name| Some(name.to_owned()));
    let kolkata = Tz::Asia__Kolkata;
    vec![
        all.clone(),
        Query { group_by: GroupBy::Month, ..all.clone() },
        Query { group_by: GroupBy::Week, weeks_from_monday: true, ..all.clone() },
        Query { group_by: GroupBy::Week, timezone: Tz::America__New_York, ..all.clone() },
        Query { group_by: GroupBy::Hour, end: inner_first, ..all.clone() },
        Query { timezone: kolkata, start: inner_first, end: inner_last, ..all.clone() },
        Query { user: one, ..all.clone() },
        Query { user: two, timezone: kolkata, ..all.clone() },
        Query { user: three, group_by: GroupBy::Hour, ..all.clone() },
        Query { user: Some("nobody".to_owned()), ..all.clone() },
        Query { events: vec!["stop".into(), "like".into()], ..all },
    ]
}

/// Asks everything. An answer includes what lies at `positions`, and must be the oracle's over `events`; as long as there
/// is none it is a 503.
///
/// # Errors
/// The first answer that is not, and what it should be.
pub fn check(query_api: SocketAddr, queries: &[Query], events: &[Event], positions: &str) -> Result<()> {
    for (query, path) in queries.iter().flat_map(|query| PATHS.map(|path| (query, path))) {
        let target = target(path, query, positions);
        let answer = eventually(ANSWERED_WITHIN, &target, || {
            let answer = Request::get(&target).send(query_api)?;
            ensure!(answer.status != 503, "{answer}");
            Ok(answer)
        })?;
        ensure!(answer.status == 200, "{target}: {answer}");
        let expected = data(path, events, query);
        let got = answer.json().context(target.clone())?;
        ensure!(got["data"] == expected, "{target}: {} instead of {expected}", got["data"]);
    }
    Ok(())
}
