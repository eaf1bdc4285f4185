//! A long history costs no more than what an edge changes in it: counted in rows, on timelines that do their worst.

use super::*;

const MINUTE: i64 = 60_000;

fn rules() -> Rules {
    Rules::new(i64::MAX, i64::MAX)
}

/// The rows of these edges, inserted at once.
fn history(edges: impl IntoIterator<Item = Edge>) -> Rows {
    let mut rows = Rows::default();
    let mut timeline = Timeline::load(&mut rows).unwrap();
    for edge in edges {
        timeline.insert(&mut rows, edge, 0, &rules()).unwrap();
    }
    timeline.store(&mut rows);
    rows
}

/// 50,000 sessions of half a minute, one a minute.
fn siblings() -> Rows {
    history((0..50_000).flat_map(|index| [open(index * MINUTE, 0), close(index * MINUTE + MINUTE / 2, 0)]))
}

fn opens(count: i64) -> Rows {
    history((0..count).map(|index| open(index * MINUTE, 0)))
}

#[test]
fn edges_in_order_read_the_tail_alone() {
    let mut rows = siblings();
    let (mut reads, mut writes, mut most) = (0, 0, 0);
    for index in 50_000..51_000 {
        for edge in [open(index * MINUTE, 0), close(index * MINUTE + 1, 0)] {
            let (_, edge_reads, edge_writes) = rows.insert_counted(edge, &rules());
            (reads, writes, most) = (reads + edge_reads, writes + edge_writes, most.max(edge_reads));
        }
    }
    assert!(most <= 2, "the tail, and the directory where the tail is sealed: {most}");
    assert!(reads <= 2_000 + 2_000 / 90, "{reads}");
    assert!(writes <= 2_000 + 2 * 2_000 / 90, "{writes}");
}

#[test]
fn a_close_that_finds_nothing_reads_the_tail_alone() {
    let mut rows = siblings();
    let (change, reads, writes) = rows.insert_counted(close(50_000 * MINUTE, 0), &rules());
    assert_eq!((change, reads, writes), (SessionChange::default(), 1, 1));
}

#[test]
fn opens_never_closed_are_closed_one_after_the_other() {
    let mut rows = opens(100_000);
    let mut most = 0;
    for index in 0..1_000 {
        let (change, reads, _) = rows.insert_counted(close((100_000 + index) * MINUTE, 0), &rules());
        let session = Session { start_ms: (99_999 - index) * MINUTE, end_ms: (100_000 + index) * MINUTE };
        assert_eq!((change.removed.as_slice(), change.added.as_slice()), (&[][..], &[session][..]));
        most = most.max(reads);
    }
    assert!(most <= 3, "tail, directory and the partner's chunk: {most}");
}

#[test]
fn nested_sessions_close_in_turn() {
    let mut rows = opens(50_000);
    let mut timeline = Timeline::load(&mut rows).unwrap();
    for index in 0..50_000 {
        let change = timeline.insert(&mut rows, close((50_000 + index) * MINUTE, 0), 0, &rules()).unwrap();
        assert_eq!(change.added[0].start_ms, (49_999 - index) * MINUTE);
    }
    timeline.store(&mut rows);
    let chunks = rows.rows.len();
    assert!(chunks <= 100_000 / 90, "{chunks}");
    assert!(rows.reads <= chunks + 1, "each row is read once: {}", rows.reads);

    // In the middle of the nest everything outside moves over; right at its end and its beginning next to nothing does.
    let (change, reads, writes) = rows.insert_counted(close(49_999 * MINUTE + 1, 0), &rules());
    assert_eq!((change.removed.len(), change.added.len()), (50_000, 50_000));
    assert!(reads <= chunks && writes <= chunks + 2, "{reads} {writes} of {chunks}");
    let (change, reads, _) = rows.insert_counted(open(-1, 0), &rules());
    assert_eq!((change.removed.len(), change.added.len()), (0, 1), "the close that the first one left loose");
    assert!(reads <= 4, "{reads}");
    let (change, reads, _) = rows.insert_counted(close(1, 0), &rules());
    assert_eq!((change.removed.len(), change.added.len()), (2, 2));
    assert!(reads <= 5, "{reads}");
}

#[test]
fn an_edge_before_a_long_history_of_siblings_reads_its_chunk() {
    let mut rows = siblings();
    for (edge, sessions) in [
        (open(-MINUTE, 0), 0),
        (close(-1, 0), 1),
        (close(-2 * MINUTE, 0), 0),
        (open(25_000 * MINUTE - 1, 0), 0),
        (close(25_000 * MINUTE + 1, 0), 2),
        (close(25_000 * MINUTE - 2, 0), 0),
    ] {
        let (change, reads, writes) = rows.insert_counted(edge, &rules());
        assert_eq!(change.added.len(), sessions, "{edge:?}");
        assert!(reads <= 4, "tail, directory, its chunk and one more: {reads} for {edge:?}");
        assert!(writes <= 5, "{writes} for {edge:?}");
    }
}

#[test]
fn a_history_that_arrives_backwards_is_as_cheap() {
    let edges = (0..20_000).rev().flat_map(|index| [close(index * MINUTE + 1, 0), open(index * MINUTE, 0)]);
    let mut rows = history(edges);
    assert!(rows.rows.len() <= 40_000 / 60, "{}", rows.rows.len());
    let (_, reads, writes) = rows.insert_counted(close(-1, 0), &rules());
    assert!(reads <= 3 && writes <= 5, "{reads} {writes}");
}

#[test]
fn an_instant_of_any_number_of_edges_is_one_small_row() {
    let mut rows = history((0..100_000).map(|index| open(0, index)));
    assert!(rows.rows[&RowId::Tail].0.len() <= 64 * 10);
    let mut timeline = Timeline::load(&mut rows).unwrap();
    for index in 0..100_000 {
        let change = timeline.insert(&mut rows, close(0, 100_000 + index), 0, &rules()).unwrap();
        assert_eq!(change.added.as_slice(), [Session { start_ms: 0, end_ms: 0 }]);
    }
    timeline.store(&mut rows);
    let entries = rows.entries(200_000, &rules());
    assert!(entries.len() <= 4 * 64, "{}", entries.len());
    assert_eq!(entries.iter().map(|entry| entry.count).sum::<u64>(), 200_000);
}

#[test]
fn many_sessions_that_end_at_one_instant_are_found_one_by_one() {
    let mut rows = opens(5_000);
    let mut timeline = Timeline::load(&mut rows).unwrap();
    for index in 0..5_000 {
        let change = timeline.insert(&mut rows, close(5_000 * MINUTE, 0), 0, &rules()).unwrap();
        assert_eq!(change.added[0].start_ms, (4_999 - index) * MINUTE);
    }
    let change = timeline.insert(&mut rows, open(-1, 0), 0, &rules()).unwrap();
    assert_eq!((change.removed.len(), change.added.len()), (0, 0), "no close is left over");
    let change = timeline.insert(&mut rows, open(2_500 * MINUTE + 1, 0), 0, &rules()).unwrap();
    assert_eq!((change.removed.len(), change.added.len()), (1, 1), "the furthest loses its close");
    timeline.store(&mut rows);
    assert_eq!(rows.entries(0, &rules()).len(), 10_002);
}
