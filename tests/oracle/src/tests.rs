//! The oracle itself, by examples made by hand.

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// 2025-01-01T00:00 UTC, a Wednesday.
const NEW_YEAR: i64 = 1_735_689_600_000;

fn event(user: &str, name: &str, at_ms: i64) -> Event {
    Event { user: user.into(), name: name.into(), at_ms, id: None, arrival_s: 0 }
}

fn rules() -> Rules {
    let pair = |open: &str, close: &str| (open.to_owned(), close.to_owned());
    Rules { pairs: vec![pair("play", "stop"), pair("login", "logout")], session_ms_max: 12 * HOUR }
}

fn january() -> Query {
    Query::days("2025-01-01".parse().unwrap(), "2025-01-31".parse().unwrap())
}

fn sum(count: u64, duration_ms: i64) -> SessionSum {
    SessionSum { count, duration_ms: duration_ms.unsigned_abs() }
}

/// The plays (`p`) and stops (`s`) of a line like `p1 s5`, with their minutes.
fn scan_minutes(line: &str) -> Vec<(i64, i64)> {
    let edges = line.split(' ').map(|word| {
        let at_ms = word[1..].parse::<i64>().unwrap() * MINUTE;
        if word.starts_with('p') { Edge::Open(at_ms) } else { Edge::Close(at_ms) }
    });
    scan(edges.collect(), 12 * HOUR).into_iter().map(|(start, end)| (start / MINUTE, end / MINUTE)).collect()
}

#[test]
fn a_stop_closes_the_most_recent_open_play() {
    assert_eq!(scan_minutes("p1 p2 s3 s9"), [(2, 3), (1, 9)]);
    assert_eq!(scan_minutes("s9 s3 p2 p1"), [(2, 3), (1, 9)], "in whatever order");
    assert_eq!(scan_minutes("p1 s2 s3 p4"), [(1, 2)], "nothing to close, and never closed");
}

#[test]
fn stops_come_first_at_one_instant() {
    assert_eq!(scan_minutes("p1 p5 s5"), [(1, 5)]);
    assert_eq!(scan_minutes("p1 p5 s5 s5 s7"), [(1, 5), (5, 5)]);
    assert_eq!(scan_minutes("p5 p5 s5 s7"), [(5, 5), (5, 7)]);
}

#[test]
fn a_play_is_in_reach_up_to_the_longest_session() {
    assert_eq!(scan_minutes("p0 s720"), [(0, 720)]);
    assert_eq!(scan_minutes("p0 s721"), []);
    assert_eq!(scan_minutes("p0 p721 s721"), [(721, 721)], "the earlier one is too far back");
}

#[test]
fn an_id_counts_once_a_user() {
    let with_id = |user: &str, id: &str| Event { id: Some(id.into()), ..event(user, "play", NEW_YEAR) };
    let events = [with_id("a", "1"), with_id("a", "1"), with_id("b", "1"), with_id("a", "2"), with_id("a", "1")];
    assert_eq!(metrics(&events, &january())["2025-01-01"]["play"], 3);
    let events = [event("a", "play", NEW_YEAR), event("a", "play", NEW_YEAR)];
    assert_eq!(metrics(&events, &january())["2025-01-01"]["play"], 2, "without an id each one counts");
}

#[test]
fn buckets_are_local_and_both_ends_belong_to_the_range() {
    let at = |at_ms| metrics(&[event("a", "play", at_ms)], &january()).into_keys().next();
    assert_eq!(at(NEW_YEAR - 1), None);
    assert_eq!(at(NEW_YEAR).as_deref(), Some("2025-01-01"));
    assert_eq!(at(NEW_YEAR + 31 * 24 * HOUR - 1).as_deref(), Some("2025-01-31"));
    assert_eq!(at(NEW_YEAR + 31 * 24 * HOUR), None);

    let kathmandu = Query { timezone: Tz::Asia__Kathmandu, ..january() };
    let label = |group_by, at_ms| Query { group_by, ..kathmandu.clone() }.label(at_ms);
    assert_eq!(label(GroupBy::Day, NEW_YEAR - 345 * MINUTE).as_deref(), Some("2025-01-01"));
    assert_eq!(label(GroupBy::Day, NEW_YEAR - 345 * MINUTE - 1), None);
    assert_eq!(label(GroupBy::Hour, NEW_YEAR + 14 * MINUTE).as_deref(), Some("2025-01-01T05:00"));
    assert_eq!(label(GroupBy::Hour, NEW_YEAR + 15 * MINUTE).as_deref(), Some("2025-01-01T06:00"));
}

#[test]
fn weeks_and_months_carry_their_first_day() {
    let label = |group_by, weeks_from_monday, days: i64| {
        Query { group_by, weeks_from_monday, ..january() }.label(NEW_YEAR + days * 24 * HOUR).unwrap()
    };
    assert_eq!(label(GroupBy::Week, false, 0), "2024-12-29");
    assert_eq!(label(GroupBy::Week, true, 0), "2024-12-30");
    assert_eq!(label(GroupBy::Week, false, 4), "2025-01-05", "a Sunday");
    assert_eq!(label(GroupBy::Week, true, 4), "2024-12-30");
    assert_eq!(label(GroupBy::Month, false, 30), "2025-01-01");
}

#[test]
fn a_session_belongs_to_where_it_started() {
    let events = [
        event("a", "stop", NEW_YEAR + 25 * HOUR),
        event("a", "play", NEW_YEAR + 23 * HOUR),
        event("a", "login", NEW_YEAR),
        event("a", "logout", NEW_YEAR + 1_500),
        event("b", "stop", NEW_YEAR + 24 * HOUR),
    ];
    let all = sessions(&events, &rules(), &january());
    assert_eq!(all, Sessions::from([("2025-01-01".into(), sum(2, 2 * HOUR + 1_500))]));
    assert_eq!((all["2025-01-01"].total_s(), all["2025-01-01"].average_s()), (7_202, 3_601));
    let only = |events: &[&str]| Query { events: events.iter().map(|name| (*name).into()).collect(), ..january() };
    assert_eq!(sessions(&events, &rules(), &only(&["stop"]))["2025-01-01"], sum(1, 2 * HOUR));
    assert_eq!(sessions(&events, &rules(), &only(&["login", "else"]))["2025-01-01"], sum(1, 1_500));
    assert_eq!(sessions(&events, &rules(), &Query { user: Some("b".into()), ..january() }), Sessions::new());
}

mod forgetting {
    use super::*;
    use crate::expiry::answers;

    const DAY_S: u32 = 24 * 60 * 60;

    fn arrived(day: u32, event: Event) -> Event {
        Event { arrival_s: day * DAY_S, ..event }
    }

    /// Plays and sessions on the first of January, at the stream time of a day.
    fn at_day(events: &[Event], day: u32, query: &Query) -> (u64, u64) {
        let (counts, sessions) = answers(events, &rules(), 100 * DAY_S, day * DAY_S, query);
        (
            counts.get("2025-01-01").and_then(|names| names.get("play")).copied().unwrap_or(0),
            sessions.get("2025-01-01").map_or(0, |sum| sum.count),
        )
    }

    #[test]
    fn an_id_is_remembered_for_30_days() {
        let with_id = |day| arrived(day, Event { id: Some("1".into()), ..event("a", "play", NEW_YEAR) });
        assert_eq!(at_day(&[with_id(1), with_id(30)], 30, &january()), (1, 0));
        assert_eq!(at_day(&[with_id(1), with_id(31)], 31, &january()), (2, 0));
        assert_eq!(at_day(&[with_id(1), with_id(30), with_id(31)], 31, &january()), (2, 0), "from the first one on");
    }

    #[test]
    fn a_day_lives_its_retention_after_the_last_change() {
        let play = |day, user| arrived(day, event(user, "play", NEW_YEAR));
        let events = [play(1, "a"), play(50, "b")];
        let a = Query { user: Some("a".into()), ..january() };
        assert_eq!((at_day(&events, 100, &january()), at_day(&events, 100, &a)), ((2, 0), (1, 0)));
        assert_eq!((at_day(&events, 101, &january()), at_day(&events, 101, &a)), ((2, 0), (0, 0)));
        assert_eq!(at_day(&events, 150, &january()), (0, 0));
        assert_eq!(at_day(&[play(1, "a"), play(101, "a")], 101, &january()), (1, 0), "it starts anew");
    }

    #[test]
    fn an_edge_is_remembered_as_long_as_its_partner() {
        let play = |day, minute| arrived(day, event("a", "play", NEW_YEAR + minute * MINUTE));
        let stop = |day, minute| arrived(day, event("a", "stop", NEW_YEAR + minute * MINUTE));
        assert_eq!(at_day(&[play(1, 0), stop(30, 5)], 60, &january()), (1, 1));
        assert_eq!(at_day(&[play(1, 0), stop(31, 5)], 60, &january()), (1, 0), "the play is forgotten");
        assert_eq!(at_day(&[play(1, 0), stop(2, 9), stop(3, 5)], 60, &january()), (1, 1));
        let kept = [play(1, 0), stop(20, 9), stop(45, 5)];
        let (_, sums) = answers(&kept, &rules(), 100 * DAY_S, 60 * DAY_S, &january());
        assert_eq!(
            sums["2025-01-01"],
            sum(1, 5 * MINUTE),
            "the pair is remembered, and the earlier stop takes the play"
        );
        let forgotten = [play(1, 0), stop(20, 9), stop(50, 5)];
        let (_, sums) = answers(&forgotten, &rules(), 100 * DAY_S, 60 * DAY_S, &january());
        assert_eq!(sums["2025-01-01"], sum(1, 9 * MINUTE), "the session stays as it was");
    }
}
