//! However edges arrive, and however often they are stored meanwhile: the sessions are those of a scan over all of them.

use super::*;
use proptest::prelude::*;

/// Edges as they arrive, a moment apart.
fn edges(times: std::ops::Range<i64>, count: usize) -> impl Strategy<Value = Vec<Edge>> {
    let edge = (times, any::<bool>(), 0..3_i64);
    prop::collection::vec(edge, 0..count).prop_map(|edges| {
        let mut arrival_ms = 0;
        edges
            .into_iter()
            .map(|(time_ms, opens, step)| {
                arrival_ms += step;
                if opens { open(time_ms, arrival_ms) } else { close(time_ms, arrival_ms) }
            })
            .collect()
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    (0..40_i64, 1..6_usize, 1..4_usize)
        .prop_map(|(duration_ms_max, chunk, arrivals)| Rules::small(duration_ms_max, 1_000_000, chunk, arrivals))
}

/// Inserts one by one and holds each change against the scan.
fn check(edges: &[Edge], rules: &Rules) -> Result<(), TestCaseError> {
    let mut rows = Rows::default();
    let mut before = Vec::new();
    for (index, edge) in edges.iter().enumerate() {
        let change = rows.insert(*edge, rules);
        let after = sessions(&edges[..=index], rules.duration_ms_max);
        prop_assert_eq!(sorted(change), difference(&before, &after));
        before = after;
        let stored = rows.entries(edge.arrival_ms, rules);
        let count: u64 = stored.iter().map(|entry| entry.count).sum();
        prop_assert_eq!(count, index as u64 + 1, "every edge is stored");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn crowded_instants(edges in edges(0..8, 60), rules in rules()) {
        check(&edges, &rules)?;
    }

    #[test]
    fn sparse_instants(edges in edges(0..200, 60), mut rules in rules(), factor in 1..20_i64) {
        rules.duration_ms_max *= factor;
        check(&edges, &rules)?;
    }

    #[test]
    fn any_order_of_arrival_ends_the_same(
        (edges, shuffled) in edges(0..25, 60).prop_flat_map(|edges| (Just(edges.clone()), Just(edges).prop_shuffle())),
        rules in rules(),
    ) {
        let mut rows = Rows::default();
        let mut left: Vec<Session> = Vec::new();
        for edge in shuffled {
            let change = rows.insert(Edge { arrival_ms: 0, ..edge }, &rules);
            let count = left.len();
            left = without(&left, &change.removed);
            prop_assert_eq!(left.len() + change.removed.len(), count, "what is taken out was in");
            left.extend(change.added);
        }
        left.sort_unstable();
        prop_assert_eq!(left, sessions(&edges, rules.duration_ms_max));
    }

    #[test]
    fn storing_in_between_changes_no_byte(
        edges in edges(0..60, 80),
        stores in prop::collection::vec(any::<bool>(), 80),
        mut rules in rules(),
        ttl_ms in 1..120_i64,
    ) {
        rules.ttl_ms = ttl_ms;
        let (mut each, mut some, mut once) = (Rows::default(), Rows::default(), Rows::default());
        let mut in_memory = Timeline::load(&mut once).unwrap();
        let mut now_and_then = Timeline::load(&mut some).unwrap();
        for (edge, is_stored) in edges.iter().zip(stores) {
            each.expire(edge.arrival_ms, &rules);
            let change = each.insert(*edge, &rules);
            prop_assert_eq!(&in_memory.insert(&mut once, *edge, edge.arrival_ms, &rules).unwrap(), &change);
            prop_assert_eq!(&now_and_then.insert(&mut some, *edge, edge.arrival_ms, &rules).unwrap(), &change);
            if is_stored {
                now_and_then.store(&mut some);
            }
        }
        in_memory.store(&mut once);
        now_and_then.store(&mut some);
        let now_ms = edges.last().map_or(0, |edge| edge.arrival_ms);
        for rows in [&mut each, &mut some, &mut once] {
            rows.expire(now_ms, &rules);
        }
        prop_assert_eq!(&each.rows, &once.rows);
        prop_assert_eq!(&each.rows, &some.rows);
    }
}
