//! The answers of a running track, held against the oracle's.

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use track_harness::http::Request;
use track_harness::poll::eventually;
use track_oracle::{Event, GroupBy, Query, Rules};

/// From the last event to the last answer, a state folded again from the start included.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// By every grouping, in three time zones, of all users and of one, of all events and of some.
fn queries() -> Vec<Query> {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let all = Query::days(day("2025-01-20"), day("2025-02-10"));
    let user = |name: &str| Some(name.to_owned());
    let kolkata = Tz::Asia__Kolkata;
    vec![
        all.clone(),
        Query { group_by: GroupBy::Month, ..all.clone() },
        Query { group_by: GroupBy::Week, weeks_from_monday: true, ..all.clone() },
        Query { group_by: GroupBy::Week, timezone: Tz::America__New_York, ..all.clone() },
        Query { group_by: GroupBy::Hour, end: day("2025-01-29"), ..all.clone() },
        Query { timezone: kolkata, start: day("2025-01-29"), end: day("2025-02-01"), ..all.clone() },
        Query { user: user("user-0"), ..all.clone() },
        Query { user: user("user-1"), timezone: kolkata, ..all.clone() },
        Query { user: user("user-40"), group_by: GroupBy::Hour, ..all.clone() },
        Query { user: user("nobody"), ..all.clone() },
        Query { events: vec!["stop".into(), "like".into()], ..all },
    ]
}

fn target(path: &str, query: &Query, positions: &str) -> String {
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

/// Asks everything. An answer includes what lies at `positions`, and must be the oracle's over `events`; as long as there
/// is none it is a 503.
pub fn check(query_api: SocketAddr, events: &[Event], positions: &str, when: &str) {
    for query in queries() {
        for (path, expected) in [("/metrics", metrics(events, &query)), ("/sessions", sessions(events, &query))] {
            let target = target(path, &query, positions);
            let answer = eventually(ANSWERED_WITHIN, &target, || {
                let answer = Request::get(&target).send(query_api)?;
                anyhow::ensure!(answer.status != 503, "{answer}");
                Ok(answer)
            })
            .unwrap();
            assert_eq!(answer.status, 200, "{when}: {target}: {answer}");
            assert_eq!(answer.json().unwrap()["data"], expected, "{when}: {target}");
        }
    }
}
