//! What an edge costs in rows read and written through fold and store, for a user with a long history.

use super::history::{NEW_YEAR_S, records};
use super::partition::Partition;
use track_oracle::{Event, Rules};

const MINUTE_MS: i64 = 60_000;

fn event(name: &str, at_ms: i64) -> Event {
    let at_ms = i64::from(NEW_YEAR_S) * 1000 + at_ms;
    Event { user: "ann".into(), name: name.into(), at_ms, id: None, arrival_s: NEW_YEAR_S }
}

/// Rows read and written by each of `added`, folded one by one behind 50,000 sessions.
fn cost_of(added: &[Event]) -> Vec<(u64, u64)> {
    let rules = Rules { pairs: vec![("play".into(), "stop".into())], session_ms_max: 12 * 60 * MINUTE_MS };
    let session = |n: i64| [event("play", n * MINUTE_MS), event("stop", n * MINUTE_MS + MINUTE_MS / 2)];
    let mut events: Vec<Event> = (0..50_000).flat_map(session).collect();
    events.extend_from_slice(added);
    let log = records(&events);
    let partition = Partition::new(&rules);
    partition.fold(&log[..100_000], 10_000);
    partition.store().flush().unwrap();
    let cost = |record| {
        let before = partition.store().work();
        partition.fold_some(std::slice::from_ref(record), usize::MAX);
        let after = partition.store().work();
        (after.0 - before.0, after.1 - before.1)
    };
    log[100_000..].iter().map(cost).collect()
}

#[test]
fn an_edge_in_order_costs_the_same_however_long_the_history() {
    let added = (50_000..51_000).flat_map(|n| [event("play", n * MINUTE_MS), event("stop", n * MINUTE_MS + 1)]);
    let costs = cost_of(&added.collect::<Vec<_>>());
    // The tail, the counts of the user, the day and its stretch; for a stop their sessions too; the directory now and then. Stretches
    // are in memory.
    let reads_max = costs.iter().map(|(reads, _)| *reads).max();
    assert!(reads_max <= Some(6), "{reads_max:?}");
    let (reads, writes) = costs.iter().fold((0, 0), |(reads, writes), cost| (reads + cost.0, writes + cost.1));
    assert!(reads <= 2_000 * 4 + 2_000 / 90, "{reads} reads");
    assert!(writes <= 2_000 * 13 / 2 + 2_000 / 30, "{writes} writes");
}

#[test]
fn a_late_edge_costs_what_it_changes() {
    let added = [
        event("stop", 25_000 * MINUTE_MS + 1),
        event("play", 10_000 * MINUTE_MS - 1),
        event("stop", 40_000 * MINUTE_MS - 2),
        event("play", -MINUTE_MS),
    ];
    for (index, (reads, writes)) in cost_of(&added).into_iter().enumerate() {
        // The tail, the directory, two chunks; two counts; the sessions of two days at most.
        assert!(reads <= 10, "{reads} reads by {index}");
        assert!(writes <= 14, "{writes} writes by {index}");
    }
}
