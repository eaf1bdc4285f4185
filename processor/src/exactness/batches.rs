//! How records are cut into batches, and where a fold is stopped, changes no byte of a row that is alive.

use super::cases;
use super::history::{NEW_YEAR_S, events, records, rules, tick};
use super::partition::{Partition, check_totals};
use proptest::prelude::*;
use std::collections::BTreeSet;
use track_log::Record;
use track_oracle::Event;

/// What a test does next.
#[derive(Debug, Clone)]
enum Step {
    /// Folds up to so many records, and ends early after so many plays and stops.
    Fold(usize, usize),
    Flush,
    /// Everything is on disk.
    Reopen,
    /// Only what was flushed is.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fold = (prop_oneof![Just(1), 1..60_usize], prop_oneof![Just(usize::MAX), 1..20_usize]);
    let step = prop_oneof![
        12 => fold.prop_map(|(records, moved)| Step::Fold(records, moved)),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..24)
}

/// Append times of all sorts: as they were, far ahead for a moment, for a while, after a silence of weeks or years.
fn append_times(events: &mut [Event], leaps: &[(prop::sample::Index, u32, bool)]) {
    for (at, leap_s, stays) in leaps {
        let at = at.index(events.len());
        let end = if *stays { events.len() } else { at + 1 };
        for event in &mut events[at..end] {
            event.arrival_s = event.arrival_s.saturating_add(*leap_s);
        }
    }
}

fn take(partition: &mut Partition, log: &[Record], step: &Step) {
    match step {
        Step::Fold(count, moved) => {
            let next = usize::try_from(partition.progress().next_offset).unwrap();
            let end = log.len().min(next + count);
            if next < end {
                partition.fold_some(&log[next..end], *moved);
            }
        }
        Step::Flush => partition.store().flush().unwrap(),
        Step::Reopen => partition.reopen(),
        Step::Crash => partition.crash(),
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn two_folds_of_one_log_have_the_same_bytes(
        rules in rules(),
        mut events in events(120),
        leaps in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![3_600..90 * 86_400_u32, 350 * 86_400..500 * 86_400_u32, Just(u32::MAX)], any::<bool>()),
            0..4,
        ),
        garbage in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        steps in steps(),
    ) {
        append_times(&mut events, &leaps);
        let mut log = records(&events);
        let garbage: BTreeSet<_> = garbage.iter().map(|at| at.index(log.len())).collect();
        for at in &garbage {
            log[*at] = tick(events[*at].arrival_s, log[*at].offset);
        }
        let at_once = Partition::new(&rules);
        at_once.fold(&log, usize::MAX);
        let mut cut = Partition::new(&rules);
        // That it begins with nothing is on disk.
        cut.store().flush().unwrap();
        for step in &steps {
            take(&mut cut, &log, step);
        }
        cut.fold(&log, 1);
        prop_assert_eq!(at_once.progress(), cut.progress());
        prop_assert_eq!(at_once.live_rows(), cut.live_rows());
        check_totals(&cut.live_rows().1);
        let garbage: BTreeSet<_> = garbage.iter().map(|at| log[*at].offset).collect();
        prop_assert_eq!((at_once.dead(), cut.dead()), (garbage.clone(), garbage));
    }
}

#[test]
fn a_crash_takes_the_offset_back_with_the_state() {
    let rules = track_oracle::Rules { pairs: vec![("play".into(), "stop".into())], session_ms_max: 1 };
    let event = Event { user: "ann".into(), name: "like".into(), at_ms: 0, id: None, arrival_s: NEW_YEAR_S };
    let log = records(&[event.clone(), event]);
    let mut partition = Partition::new(&rules);
    partition.fold_some(&log[..1], usize::MAX);
    partition.store().flush().unwrap();
    partition.fold_some(&log[1..], usize::MAX);
    assert_eq!(partition.progress().next_offset, 2);
    partition.crash();
    assert_eq!(partition.progress().next_offset, 1);
    partition.fold(&log, 1);
    partition.reopen();
    assert_eq!(partition.progress().next_offset, 2);
}

#[test]
fn a_batch_of_many_users_has_the_rows_of_each() {
    let rules = track_oracle::Rules { pairs: vec![("play".into(), "stop".into())], session_ms_max: 3_600_000 };
    // No two users alike: by time, by how often, by what was there before.
    let of_all = |name: &'static str, round: u32| {
        let users =
            (0..1_000_u32).map(|user| user * 7_919 % 1_000).filter(move |user| !(user + round).is_multiple_of(5));
        users.flat_map(move |user| {
            let times = 1 + (user + round) % 3;
            (0..times).map(move |time| Event {
                user: format!("user-{user}"),
                name: name.into(),
                at_ms: i64::from(NEW_YEAR_S) * 1000 + i64::from(round * 60_000 + time * 900_000 + user),
                id: user.is_multiple_of(2).then(|| format!("{name}-{}-{time}", round / 2)),
                arrival_s: NEW_YEAR_S + round,
            })
        })
    };
    let rounds = [("play", 0), ("stop", 1), ("play", 2), ("stop", 3), ("like", 4), ("like", 5)];
    let batches: Vec<Vec<Event>> = rounds.iter().map(|(name, round)| of_all(name, *round).collect()).collect();
    let log = records(&batches.concat());
    let mut at_once = Partition::new(&rules);
    let mut end = 0;
    for batch in &batches {
        end += batch.len();
        at_once.fold(&log[..end], usize::MAX);
        // From here on every row is in a table, and nobody is in memory.
        at_once.reopen();
    }
    let one_by_one = Partition::new(&rules);
    one_by_one.fold(&log, 1);
    assert_eq!(at_once.live_rows(), one_by_one.live_rows());
}
