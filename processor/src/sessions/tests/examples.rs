//! The rules one by one, on the smallest timelines that show them.

use super::*;
use smallvec::smallvec;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn rules() -> Rules {
    Rules::new(30 * DAY, 30 * DAY)
}

/// The sessions that are left after these edges, in order, as (start, end).
fn after(edges: &[Edge], rules: &Rules) -> Vec<(i64, i64)> {
    let mut rows = Rows::default();
    let mut sessions = Vec::new();
    for edge in edges {
        let change = rows.insert(*edge, rules);
        sessions = without(&sessions, &change.removed);
        sessions.extend(change.added);
        sessions.sort_unstable();
    }
    sessions.into_iter().map(|Session { start_ms, end_ms }| (start_ms, end_ms)).collect()
}

#[test]
fn each_close_takes_the_most_recent_open() {
    let edges = [open(1, 0), open(2, 0), close(3, 0), close(4, 0)];
    assert_eq!(after(&edges, &rules()), [(1, 4), (2, 3)]);
}

#[test]
fn a_close_before_everything_and_an_open_never_closed_make_no_session() {
    assert_eq!(after(&[close(1, 0), open(2, 0)], &rules()), []);
}

#[test]
fn at_one_instant_closes_take_earlier_opens_first() {
    assert_eq!(after(&[open(1, 0), open(5, 0), close(5, 0)], &rules()), [(1, 5)]);
    assert_eq!(after(&[open(1, 0), open(5, 0), close(5, 0), close(5, 0)], &rules()), [(1, 5), (5, 5)]);
    assert_eq!(after(&[open(5, 0), close(5, 0)], &rules()), [(5, 5)]);
    assert_eq!(after(&[close(5, 0), open(5, 0)], &rules()), [(5, 5)]);
    assert_eq!(after(&[open(5, 0), close(5, 0), open(1, 0)], &rules()), [(1, 5)], "a late open takes the close over");
    assert_eq!(after(&[open(5, 0), close(5, 0), open(1, 0), close(7, 0)], &rules()), [(1, 5), (5, 7)]);
}

#[test]
fn a_late_close_passes_the_later_ones_on() {
    let mut rows = Rows::default();
    for edge in [open(1, 0), open(2, 0), close(5, 0), close(6, 0)] {
        rows.insert(edge, &rules());
    }
    let session = |start_ms, end_ms| Session { start_ms, end_ms };
    assert_eq!(
        sorted(rows.insert(close(3, 0), &rules())),
        SessionChange {
            removed: smallvec![session(1, 6), session(2, 5)],
            added: smallvec![session(1, 5), session(2, 3)],
            youngest_arrival_ms: 0,
        }
    );
}

#[test]
fn an_open_beyond_the_longest_duration_is_not_found() {
    let rules = Rules::new(10, 30 * DAY);
    assert_eq!(after(&[open(0, 0), close(10, 0)], &rules), [(0, 10)]);
    assert_eq!(after(&[open(0, 0), close(11, 0)], &rules), []);
    assert_eq!(after(&[open(0, 0), open(11, 0), close(11, 0)], &rules), [(11, 11)]);
    assert_eq!(after(&[open(0, 0), open(5, 0), close(9, 0), close(8, 0)], &rules), [(0, 9), (5, 8)]);
    assert_eq!(after(&[open(0, 0), open(5, 0), close(11, 0), close(8, 0)], &rules), [(5, 8)]);
}

#[test]
fn an_open_can_be_closed_until_it_is_thirty_days_old_by_arrival() {
    let rules = rules();
    assert_eq!(after(&[open(0, 0), close(5, 30 * DAY - 1)], &rules), [(0, 5)]);
    assert_eq!(after(&[open(0, 0), close(5, 30 * DAY)], &rules), []);
    assert_eq!(after(&[close(5, 0), open(0, 30 * DAY)], &rules), []);
}

#[test]
fn an_old_half_that_loses_its_partner_vanishes() {
    let rules = rules();
    let edges = [open(1, 0), close(9, 20 * DAY), close(5, 40 * DAY), close(7, 40 * DAY)];
    assert_eq!(after(&edges, &rules), [(1, 5)], "the younger close is loose from then on, and the third finds nothing");
    let edges = [close(9, 0), open(1, 20 * DAY), open(5, 40 * DAY), open(0, 40 * DAY), close(8, 40 * DAY)];
    assert_eq!(after(&edges, &rules), [(1, 9), (5, 8)]);
}

#[test]
fn a_session_whose_halves_are_both_old_is_left_alone() {
    let rules = rules();
    let edges = [open(1, 0), close(9, 0), close(5, 30 * DAY), open(3, 30 * DAY)];
    assert_eq!(after(&edges, &rules), [(1, 9), (3, 5)]);
}

#[test]
fn a_crowd_of_arrivals_lives_as_long_as_its_last() {
    let rules = Rules::small(1_000, 100, 128, 1);
    let opens = [open(0, 0), open(0, 5), close(3, 104)];
    assert_eq!(after(&opens, &rules), [(0, 3)]);
    let both = [open(0, 0), open(0, 5), close(3, 104), close(4, 104)];
    assert_eq!(after(&both, &rules), [(0, 3), (0, 4)], "the elder lives on with the younger");
    // The close of arrival 1 loses its open and joins the close of arrival 9, in sessions of the same two instants.
    let pairs = [open(3, 0), close(5, 1), open(0, 8), open(0, 8), close(5, 9), close(4, 10), close(1, 108)];
    assert_eq!(after(&pairs, &rules), [(0, 1), (0, 5), (3, 4)]);
    assert_eq!(after(&[&pairs[..6], &[close(1, 109)]].concat(), &rules), [(0, 5), (0, 5), (3, 4)]);
}

#[test]
fn times_at_the_ends_of_time_are_times() {
    let edges = [open(i64::MIN, 0), close(i64::MAX, 0), open(i64::MAX, 0), close(i64::MIN, 0)];
    assert_eq!(after(&edges, &rules()), [(i64::MIN, i64::MIN), (i64::MAX, i64::MAX)]);
    let unbounded = Rules::new(i64::MAX, i64::MAX);
    assert_eq!(after(&edges[..2], &unbounded), [(i64::MIN, i64::MAX)]);
}

#[test]
fn rows_that_contradict_each_other_are_an_error() {
    let rules = Rules::small(100, 100, 2, 4);
    let mut rows = Rows::default();
    for time_ms in 0..20 {
        rows.insert(open(time_ms, 0), &rules);
    }
    for lost in rows.rows.keys().copied().filter(|row| *row != RowId::Tail).collect::<Vec<_>>() {
        let mut rows = rows.clone();
        rows.rows.remove(&lost);
        let mut timeline = Timeline::load(&mut rows).unwrap();
        let result = (0..20).try_for_each(|time_ms| timeline.insert(&mut rows, close(time_ms, 0), 0, &rules).map(drop));
        assert!(matches!(result, Err(Damaged(_))), "without {lost:?}");
    }
}
