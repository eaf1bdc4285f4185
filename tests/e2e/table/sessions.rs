//! `GET /sessions`: each story is told in order, backwards, and as one shuffled batch, and has one ending.

use crate::case::{Case, case};
use crate::site::{EVER, Site, new_user, position};
use serde_json::{Value, json};
use track_harness::http::Request;

const JANUARY: &str = "start_date=2025-01-01&end_date=2025-01-31";

type Told = &'static [(&'static str, &'static str)];

/// (day or bucket, total, count, average), in seconds.
type Sessions = &'static [(&'static str, u64, u64, u64)];

fn rows(sessions: Sessions) -> Value {
    let row = |(date, total, count, average): &(&str, u64, u64, u64)| json!({"date": date, "totalDuration": total, "sessionCount": count, "averageDuration": average});
    sessions.iter().map(row).collect()
}

/// The same events in another order: those at odd places backwards, then the others.
fn shuffled<T: Copy>(told: &[T]) -> Vec<T> {
    let (even, odd) = (told.iter().step_by(2), told.iter().skip(1).step_by(2));
    odd.rev().chain(even).copied().collect()
}

/// Tells a story in several orders, each to a user of its own; after each the answers must be the same.
fn check(site: &Site, told: Told, answers: &[(&str, Sessions)]) {
    let event = |user: &str, (event, at): &(&str, &str)| json!({"event": event, "user_id": user, "timestamp": at});
    let ask = |user: &str, position: &str, how: &str| {
        for (query, sessions) in answers {
            let data = site.data(&format!("/sessions?user_id={user}&{query}"), position);
            assert_eq!(data, rows(sessions), "{query}, told {how}: {told:?}");
        }
    };
    let backwards: Vec<_> = told.iter().rev().copied().collect();
    for (how, order) in [("in order", told.to_vec()), ("backwards", backwards), ("shuffled", shuffled(told))] {
        let user = new_user();
        let positions: Vec<_> = order.iter().map(|one| site.track(&event(&user, one))).collect();
        ask(&user, positions.last().unwrap(), how);
        let user = new_user();
        let events: Vec<_> = order.iter().map(|one| event(&user, one)).collect();
        ask(&user, &site.track_batch(&events), &format!("{how}, in one batch"));
    }
}

fn story(name: &'static str, told: Told, answers: &'static [(&'static str, Sessions)]) -> Case {
    case(name, move |site| check(site, told, answers))
}

pub fn cases() -> Vec<Case> {
    [pairs(), instants(), days(), numbers(), special()].into_iter().flatten().collect()
}

fn pairs() -> Vec<Case> {
    vec![
        story(
            "a play and its stop",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-01T10:08:00Z")],
            &[(JANUARY, &[("2025-01-01", 480, 1, 480)])],
        ),
        story(
            "one after the other",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("stop", "2025-01-01T10:10:00Z"),
                ("play", "2025-01-01T11:00:00Z"),
                ("stop", "2025-01-01T11:05:00Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 900, 2, 450)])],
        ),
        story(
            "one inside the other",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("play", "2025-01-01T10:10:00Z"),
                ("stop", "2025-01-01T10:15:00Z"),
                ("stop", "2025-01-01T10:30:00Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 2_100, 2, 1_050)])],
        ),
        story(
            "a stop closes the most recent play",
            &[("play", "2025-01-01T10:00:00Z"), ("play", "2025-01-01T10:10:00Z"), ("stop", "2025-01-01T10:15:00Z")],
            &[(JANUARY, &[("2025-01-01", 300, 1, 300)])],
        ),
        story(
            "a stop between two plays",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-01T10:05:00Z"), ("play", "2025-01-01T10:06:00Z")],
            &[(JANUARY, &[("2025-01-01", 300, 1, 300)])],
        ),
        story(
            "the second stop has nothing to close",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-01T10:05:00Z"), ("stop", "2025-01-01T10:06:00Z")],
            &[(JANUARY, &[("2025-01-01", 300, 1, 300)])],
        ),
        story(
            "three deep, with more after",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("play", "2025-01-01T10:01:00Z"),
                ("play", "2025-01-01T10:02:00Z"),
                ("stop", "2025-01-01T10:03:00Z"),
                ("play", "2025-01-01T10:04:00Z"),
                ("stop", "2025-01-01T10:06:00Z"),
                ("stop", "2025-01-01T10:11:00Z"),
                ("stop", "2025-01-01T10:20:00Z"),
                ("stop", "2025-01-01T10:30:00Z"),
            ],
            // 60 + 120 + 600 + 1200
            &[(JANUARY, &[("2025-01-01", 1_980, 4, 495)])],
        ),
        story("a play alone", &[("play", "2025-01-01T10:00:00Z")], &[(JANUARY, &[]), (EVER, &[])]),
        story("a stop alone", &[("stop", "2025-01-01T10:00:00Z")], &[(JANUARY, &[]), (EVER, &[])]),
        story(
            "a stop before its play",
            &[("stop", "2025-01-01T09:00:00Z"), ("play", "2025-01-01T10:00:00Z")],
            &[(EVER, &[])],
        ),
        story(
            "other events in between",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("pause", "2025-01-01T10:01:00Z"),
                ("Stop", "2025-01-01T10:02:00Z"),
                ("stop", "2025-01-01T10:08:00Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 480, 1, 480)])],
        ),
    ]
}

/// At one and the same instant stops come first.
fn instants() -> Vec<Case> {
    vec![
        story(
            "a play and a stop at the same instant",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-01T10:00:00Z")],
            &[(JANUARY, &[("2025-01-01", 0, 1, 0)])],
        ),
        story(
            "a stop and the next play at the same instant",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("stop", "2025-01-01T10:30:00Z"),
                ("play", "2025-01-01T10:30:00Z"),
                ("stop", "2025-01-01T10:40:00Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 2_400, 2, 1_200)])],
        ),
        story(
            "a stop left over closes a play of that instant",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("stop", "2025-01-01T10:30:00Z"),
                ("stop", "2025-01-01T10:30:00Z"),
                ("play", "2025-01-01T10:30:00Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 1_800, 2, 900)])],
        ),
        story(
            "plays left over stay open",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("play", "2025-01-01T10:00:00Z"),
                ("stop", "2025-01-01T10:00:00Z"),
                ("stop", "2025-01-01T11:00:00Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 3_600, 2, 1_800)])],
        ),
        story(
            "two stops at an instant close two plays",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("play", "2025-01-01T10:10:00Z"),
                ("stop", "2025-01-01T10:20:00Z"),
                ("stop", "2025-01-01T10:20:00Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 1_800, 2, 900)])],
        ),
        story(
            "the same instant in two offsets",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-01T15:45:00+05:45")],
            &[(JANUARY, &[("2025-01-01", 0, 1, 0)])],
        ),
    ]
}

fn days() -> Vec<Case> {
    vec![
        story(
            "a session belongs to the day on which it began",
            &[("play", "2025-01-01T23:50:00Z"), ("stop", "2025-01-02T00:10:00Z")],
            &[
                (JANUARY, &[("2025-01-01", 1_200, 1, 1_200)]),
                ("start_date=2025-01-01&end_date=2025-01-01", &[("2025-01-01", 1_200, 1, 1_200)]),
                ("start_date=2025-01-02&end_date=2025-01-31", &[]),
                ("start_date=2025-01-01&end_date=2025-01-02&timezone=Asia/Kolkata", &[("2025-01-02", 1_200, 1, 1_200)]),
                ("start_date=2025-01-01&end_date=2025-01-01&timezone=Asia/Kolkata", &[]),
                (
                    "start_date=2025-01-01&end_date=2025-01-31&timezone=America/St_Johns",
                    &[("2025-01-01", 1_200, 1, 1_200)],
                ),
                ("start_date=2025-01-01&end_date=2025-01-31&group_by=hour", &[("2025-01-01T23:00", 1_200, 1, 1_200)]),
                (
                    "start_date=2025-01-01&end_date=2025-01-31&group_by=hour&timezone=Asia/Kathmandu",
                    &[("2025-01-02T05:00", 1_200, 1, 1_200)],
                ),
            ],
        ),
        story(
            "weeks and months",
            &[
                ("play", "2025-01-04T23:59:00Z"),
                ("stop", "2025-01-05T00:01:00Z"),
                ("play", "2025-01-05T10:00:00Z"),
                ("stop", "2025-01-05T10:10:00Z"),
                ("play", "2025-01-06T10:00:00Z"),
                ("stop", "2025-01-06T10:01:00Z"),
                ("play", "2025-01-31T23:59:00Z"),
                ("stop", "2025-02-01T00:01:00Z"),
                ("play", "2025-02-01T10:00:00Z"),
                ("stop", "2025-02-01T10:02:00Z"),
            ],
            &[
                (
                    "start_date=2025-01-01&end_date=2025-01-31&group_by=week",
                    &[("2024-12-29", 120, 1, 120), ("2025-01-05", 660, 2, 330), ("2025-01-26", 120, 1, 120)],
                ),
                (
                    "start_date=2025-01-01&end_date=2025-01-31&group_by=week&week_start=monday",
                    &[("2024-12-30", 720, 2, 360), ("2025-01-06", 60, 1, 60), ("2025-01-27", 120, 1, 120)],
                ),
                (
                    "start_date=2025-01-01&end_date=2025-02-28&group_by=month",
                    &[("2025-01-01", 900, 4, 225), ("2025-02-01", 120, 1, 120)],
                ),
                ("start_date=2025-02-01&end_date=2025-02-01", &[("2025-02-01", 120, 1, 120)]),
            ],
        ),
        story(
            "years long ago",
            &[
                ("play", "0001-01-01T00:00:00Z"),
                ("stop", "0001-01-01T00:00:01Z"),
                ("play", "1969-12-31T23:59:59Z"),
                ("stop", "1970-01-01T00:00:01Z"),
            ],
            &[(EVER, &[("0001-01-01", 1, 1, 1), ("1969-12-31", 2, 1, 2)])],
        ),
        story(
            "the hour that comes twice",
            &[("play", "2025-11-02T05:30:00Z"), ("stop", "2025-11-02T06:30:00Z")],
            &[(
                "start_date=2025-11-02&end_date=2025-11-02&group_by=hour&timezone=America/New_York",
                &[("2025-11-02T01:00", 3_600, 1, 3_600)],
            )],
        ),
    ]
}

fn numbers() -> Vec<Case> {
    vec![
        story(
            "half a second is rounded up",
            &[("play", "2025-01-01T10:00:00.000Z"), ("stop", "2025-01-01T10:00:01.500Z")],
            &[(JANUARY, &[("2025-01-01", 2, 1, 2)])],
        ),
        story(
            "less than half a second is rounded down",
            &[("play", "2025-01-01T10:00:00.000Z"), ("stop", "2025-01-01T10:00:01.499Z")],
            &[(JANUARY, &[("2025-01-01", 1, 1, 1)])],
        ),
        story(
            "sums are rounded, not what is summed",
            &[
                ("play", "2025-01-01T10:00:00.000Z"),
                ("stop", "2025-01-01T10:00:00.400Z"),
                ("play", "2025-01-01T11:00:00.000Z"),
                ("stop", "2025-01-01T11:00:00.400Z"),
            ],
            &[(JANUARY, &[("2025-01-01", 1, 2, 0)])],
        ),
        story(
            "thirty days is not too long",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-31T10:00:00Z")],
            &[(JANUARY, &[("2025-01-01", 2_592_000, 1, 2_592_000)])],
        ),
        story(
            "a millisecond more than thirty days is",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-31T10:00:00.001Z")],
            &[(JANUARY, &[])],
        ),
        story(
            "a play too old is passed over for none",
            &[
                ("play", "2025-01-01T10:00:00Z"),
                ("play", "2025-03-01T10:00:00Z"),
                ("stop", "2025-03-01T10:01:00Z"),
                ("stop", "2025-03-01T10:02:00Z"),
            ],
            &[("start_date=2025-01-01&end_date=2025-12-31&group_by=month", &[("2025-03-01", 60, 1, 60)])],
        ),
    ]
}

fn special() -> Vec<Case> {
    vec![
        story(
            "asked by event",
            &[("play", "2025-01-01T10:00:00Z"), ("stop", "2025-01-01T10:08:00Z"), ("pause", "2025-01-01T10:04:00Z")],
            &[
                ("start_date=2025-01-01&end_date=2025-01-31&event=play", &[("2025-01-01", 480, 1, 480)]),
                ("start_date=2025-01-01&end_date=2025-01-31&event=pause&event=stop", &[("2025-01-01", 480, 1, 480)]),
                ("start_date=2025-01-01&end_date=2025-01-31&event=pause", &[]),
            ],
        ),
        case("a late stop re-pairs what was paired", |site| {
            let user = new_user();
            let tell = |event: &str, at: &str| {
                let position = site.track(&json!({"event": event, "user_id": user, "timestamp": at}));
                site.data(&format!("/sessions?{JANUARY}&user_id={user}"), &position)
            };
            assert_eq!(tell("play", "2025-01-01T10:00:00Z"), json!([]));
            assert_eq!(tell("stop", "2025-01-02T10:00:00Z"), rows(&[("2025-01-01", 86_400, 1, 86_400)]));
            // The late play is the more recent one: the stop is its own now.
            assert_eq!(tell("play", "2025-01-02T09:00:00Z"), rows(&[("2025-01-02", 3_600, 1, 3_600)]));
            // The late stop takes it, and the other goes back to the first play.
            assert_eq!(
                tell("stop", "2025-01-02T09:01:00Z"),
                rows(&[("2025-01-01", 86_400, 1, 86_400), ("2025-01-02", 60, 1, 60)])
            );
        }),
        case("users are apart", |site| {
            let (one, other) = (new_user(), new_user());
            site.track(&json!({"event": "play", "user_id": one, "timestamp": "2025-01-01T10:00:00Z"}));
            site.track(&json!({"event": "stop", "user_id": other, "timestamp": "2025-01-01T10:08:00Z"}));
            for user in [&one, &other] {
                let position = site.track(&json!({"event": "seen", "user_id": user}));
                assert_eq!(site.data(&format!("/sessions?{JANUARY}&user_id={user}"), &position), json!([]));
            }
        }),
        case("rows as they are written", |site| {
            let user = new_user();
            let event = |event: &str, at: &str| json!({"event": event, "user_id": user, "timestamp": at});
            let batch = json!([event("play", "2025-01-01T10:00:00Z"), event("stop", "2025-01-01T10:08:00Z")]);
            let answer = site.send(&Request::post_json("/track/batch", &batch));
            site.expect(&user, "play", 1);
            site.expect(&user, "stop", 1);
            let query = format!("/sessions?{JANUARY}&user_id={user}&min_position={}", position(&answer));
            let answer = site.send(&Request::get(query));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(
                String::from_utf8(answer.body).unwrap(),
                r#"{"status":"success","data":[{"date":"2025-01-01","totalDuration":480,"sessionCount":1,"averageDuration":480}]}"#
            );
        }),
    ]
}
