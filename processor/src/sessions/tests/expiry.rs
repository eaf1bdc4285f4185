//! What is forgotten takes part in nothing, and forgetting changes nothing else.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Drops what is forgotten: by the pairs of a scan over all that is not.
fn forget(edges: &mut Vec<Edge>, now_ms: i64, rules: &Rules) {
    let mut partners = vec![None; edges.len()];
    for (open, close) in scan(edges, rules.duration_ms_max) {
        (partners[open], partners[close]) = (Some(edges[close]), Some(edges[open]));
    }
    let is_over = |edge: &Edge| rules.is_over(edge.arrival_ms, now_ms);
    let mut partners = partners.into_iter();
    edges.retain(|edge| {
        let partner = partners.next().flatten();
        !(is_over(edge) && partner.as_ref().is_none_or(is_over))
    });
}

fn arrivals(
    times: std::ops::Range<i64>,
    step_ms: std::ops::Range<i64>,
    count: usize,
) -> impl Strategy<Value = Vec<Edge>> {
    prop::collection::vec((times, any::<bool>(), prop_oneof![3 => Just(0), 1 => step_ms]), 0..count).prop_map(|edges| {
        let mut arrival_ms = 0;
        edges
            .into_iter()
            .map(|(time_ms, opens, step_ms)| {
                arrival_ms += step_ms;
                if opens { open(time_ms, arrival_ms) } else { close(time_ms, arrival_ms) }
            })
            .collect()
    })
}

/// One half of a pair and its other, or an edge alone; ordered so that they can be counted.
type Half = (i64, Role, i64, Option<(i64, i64)>);

fn halves(entries: &[Entry]) -> Vec<Half> {
    let half = |entry: &Entry| {
        let partner = entry.partner.map(|partner| (partner.time_ms, partner.arrival_ms));
        (entry.edge.time_ms, entry.edge.role, entry.edge.arrival_ms, partner)
    };
    let mut halves: Vec<Half> = entries
        .iter()
        .flat_map(|entry| std::iter::repeat_n(half(entry), usize::try_from(entry.count).unwrap()))
        .collect();
    halves.sort_unstable();
    halves
}

fn edges_of(halves: &[Half]) -> Vec<(i64, Role, i64)> {
    halves.iter().map(|(time_ms, role, arrival_ms, _)| (*time_ms, *role, *arrival_ms)).collect()
}

fn sessions_of(halves: &[Half]) -> Vec<Session> {
    let opens = halves.iter().filter(|(_, role, ..)| *role == Role::Open);
    let session = |(start_ms, .., close): &Half| Some(Session { start_ms: *start_ms, end_ms: close.as_ref()?.0 });
    let mut sessions: Vec<Session> = opens.filter_map(session).collect();
    sessions.sort_unstable();
    sessions
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Where no two edges share instant and role, a scan says which edge is whose partner, and so which are forgotten.
    #[test]
    fn forgetting_first_and_scanning_all_gives_the_same(
        edges in arrivals(0..120, 1..25, 70),
        duration_ms_max in 1..120_i64,
        ttl_ms in 1..60_i64,
        chunk in 1..6_usize,
    ) {
        let rules = Rules::small(duration_ms_max, ttl_ms, chunk, 4);
        let mut seen = BTreeSet::new();
        let mut rows = Rows::default();
        let mut remembered: Vec<Edge> = Vec::new();
        for edge in edges.into_iter().filter(|edge| seen.insert((edge.time_ms, edge.role))) {
            rows.expire(edge.arrival_ms, &rules);
            forget(&mut remembered, edge.arrival_ms, &rules);
            let before = sessions(&remembered, duration_ms_max);
            remembered.push(edge);
            let after = sessions(&remembered, duration_ms_max);
            prop_assert_eq!(sorted(rows.insert(edge, &rules)), difference(&before, &after));
            let mut expected = remembered.clone();
            forget(&mut expected, edge.arrival_ms, &rules);
            let mut expected: Vec<_> = expected.iter().map(|edge| (edge.time_ms, edge.role, edge.arrival_ms)).collect();
            expected.sort_unstable();
            prop_assert_eq!(edges_of(&halves(&rows.entries(edge.arrival_ms, &rules))), expected);
        }
    }

    /// Where edges share instants, any of them may be the partner. Whichever it is: a session that stays keeps its edges, the
    /// change is that of a scan over what is remembered, and only old edges go.
    #[test]
    fn crowded_instants_forget_by_the_edge(
        edges in arrivals(0..10, 1..25, 70),
        duration_ms_max in 1..12_i64,
        ttl_ms in 1..60_i64,
        chunk in 1..6_usize,
    ) {
        let rules = Rules::small(duration_ms_max, ttl_ms, chunk, 1_000);
        let mut rows = Rows::default();
        for edge in edges {
            let now_ms = edge.arrival_ms;
            rows.expire(now_ms, &rules);
            let before = halves(&rows.entries(now_ms, &rules));
            let mut all: Vec<Edge> = edges_of(&before)
                .into_iter()
                .map(|(time_ms, role, arrival_ms)| Edge { time_ms, role, arrival_ms })
                .collect();
            let sessions_before = sessions(&all, duration_ms_max);
            prop_assert_eq!(&sessions_of(&before), &sessions_before, "what is stored is what a scan pairs");
            all.push(edge);
            let change = sorted(rows.insert(edge, &rules));
            prop_assert_eq!(&change, &difference(&sessions_before, &sessions(&all, duration_ms_max)));

            let after = halves(&rows.entries(now_ms, &rules));
            let mut all: Vec<_> = all.iter().map(|edge| (edge.time_ms, edge.role, edge.arrival_ms)).collect();
            all.sort_unstable();
            prop_assert!(without(&edges_of(&after), &all).is_empty(), "no edge out of nowhere");
            for (.., arrival_ms) in without(&all, &edges_of(&after)) {
                prop_assert!(rules.is_over(arrival_ms, now_ms), "only an old edge goes");
            }
            for (start_ms, role, _, partner) in without(&before, &after) {
                if let (Role::Open, Some((end_ms, _))) = (role, partner) {
                    prop_assert!(change.removed.contains(&Session { start_ms, end_ms }), "a session that stays keeps its edges");
                }
            }
        }
    }
}

#[test]
fn what_is_forgotten_leaves_the_rows() {
    let rules = Rules::small(100, 1_000, 4, 4);
    let mut rows = Rows::default();
    for time_ms in 0..200 {
        rows.insert(open(time_ms, 0), &rules);
    }
    assert!(rows.rows.len() > 40);
    rows.expire(999, &rules);
    assert!(rows.rows.len() > 40);
    rows.insert(open(500, 999), &rules);
    rows.insert(open(0, 1_000), &rules);
    assert_eq!(rows.entries(1_000, &rules).len(), 2);
    rows.expire(1_000, &rules);
    assert_eq!(rows.rows.keys().copied().collect::<Vec<_>>(), [RowId::Tail], "every other row is past its life");
}

#[test]
fn a_chunk_that_is_forgotten_is_struck_from_the_directory() {
    let rules = Rules::small(100, 1_000, 4, 4);
    let mut rows = Rows::default();
    for time_ms in 0..200 {
        rows.insert(open(time_ms, time_ms), &rules);
    }
    let length = |rows: &Rows| rows.rows[&RowId::Directory].0.len();
    let full = length(&rows);
    rows.expire(1_150, &rules);
    rows.insert(close(180, 1_150), &rules);
    assert!(length(&rows) < full / 3, "{} of {full}", length(&rows));
    assert_eq!(rows.entries(1_150, &rules).len(), 50, "opens of 151 to 199, and one close");
}
