//! What is over vanishes at its second and nothing else does; a wild clock makes nothing vanish.

use super::cases;
use super::history::{NEW_YEAR_S, events, query, record, rules, tick};
use super::partition::Partition;
use crate::state::Family;
use crate::state::counts::Count;
use crate::state::stretches::Stretch;
use proptest::prelude::*;
use std::collections::BTreeSet;
use track_log::Record;
use track_oracle::{Event, Query, Rules, expiry};

const DAY_S: u32 = 24 * 60 * 60;
const RETENTION_S: u32 = 45 * DAY_S;
/// 2100-01-01.
const FAR_S: u32 = 4_102_444_800;

/// The records, and ticks between them, so that stream time passes by less than a day at a time and is believed.
struct Log(Vec<Record>);

impl Log {
    fn new() -> Self {
        let mut log = Self(Vec::new());
        // A log whose time is known.
        log.tick(NEW_YEAR_S - DAY_S);
        log.tick(NEW_YEAR_S - DAY_S / 2);
        log
    }

    fn tick(&mut self, second: u32) {
        self.0.push(tick(second, self.0.len() as u64));
    }

    fn pass_to(&mut self, second: u32) {
        let from = self.0.last().map_or(second, |last| u32::try_from(last.append_time_ms / 1000).unwrap());
        (from..second).step_by(DAY_S as usize).skip(1).for_each(|at| self.tick(at));
        self.tick(second);
    }

    fn push(&mut self, event: &Event) {
        self.pass_to(event.arrival_s);
        self.0.push(record(event, self.0.len() as u64));
    }
}

/// The events without a second play or stop of one user and instant: which of the two is forgotten first is not defined.
/// Nor have plays and stops ids: with one they would come a second time after 30 days.
fn without_ties(events: Vec<Event>) -> Vec<Event> {
    let mut seen = BTreeSet::new();
    let is_edge = |event: &Event| matches!(event.name.as_str(), "play" | "stop" | "login" | "logout");
    let mut is_first = |event: &Event| seen.insert((event.user.clone(), event.name.clone(), event.at_ms));
    events.into_iter().filter(|event| !is_edge(event) || (event.id.is_none() && is_first(event))).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_is_over_vanishes_from_answers_at_its_second(
        rules in rules(),
        events in events(60),
        silences in prop::collection::vec((any::<prop::sample::Index>(), 0..35 * DAY_S), 0..5),
        query in query(),
        looks in prop::collection::vec(0..120 * DAY_S, 3),
        batch in prop_oneof![Just(1), 1..200_usize],
        compacts in prop::bool::weighted(0.1),
    ) {
        let mut events = without_ties(events);
        prop_assume!(!events.is_empty());
        for (at, silence_s) in silences {
            let at = at.index(events.len());
            events[at..].iter_mut().for_each(|event| event.arrival_s += silence_s);
        }
        let mut log = Log::new();
        events.iter().for_each(|event| log.push(event));
        let partition = Partition::with_retention(&rules, RETENTION_S);
        partition.fold(&log.0, batch);
        let from_s = events.last().unwrap().arrival_s;
        let mut looks: Vec<u32> = looks.into_iter().map(|after_s| from_s + after_s).collect();
        // The very seconds at which the first and the last event are over, and those before.
        let ends = [events[0].arrival_s, from_s].map(|arrival_s| arrival_s + RETENTION_S);
        looks.extend(ends.iter().flat_map(|end_s| [end_s - 1, *end_s]).filter(|look_s| *look_s >= from_s));
        looks.sort_unstable();
        for now_s in looks {
            log.pass_to(now_s);
            partition.fold(&log.0, usize::MAX);
            prop_assert_eq!(partition.progress().stream_time, now_s);
            prop_assert_eq!(partition.answers(&query), expiry::answers(&events, &rules, RETENTION_S, now_s, &query));
        }
        // Compaction may take away what is over and nothing else, and a fold from the log's start ends with the same.
        let before = partition.live_rows();
        if compacts {
            partition.store().flush().unwrap();
            partition.store().slices().unwrap().iter().for_each(|slice| partition.store().sweep(slice));
        }
        prop_assert_eq!(&before, &partition.live_rows());
        let again = Partition::with_retention(&rules, RETENTION_S);
        again.fold(&log.0, usize::MAX);
        prop_assert_eq!(before, again.live_rows());
    }

    /// Whatever one record of a history says of the time, no answer changes.
    #[test]
    fn one_wild_append_time_changes_no_answer(
        rules in rules(),
        events in events(60),
        wild in any::<prop::sample::Index>(),
        wild_s in prop_oneof![Just(0), Just(FAR_S), Just(u32::MAX), NEW_YEAR_S..FAR_S],
        queries in prop::collection::vec(query(), 3),
        batch in prop_oneof![Just(1), 1..200_usize],
    ) {
        let mut disturbed = events.clone();
        disturbed[wild.index(events.len())].arrival_s = wild_s;
        let mut log = Log::new();
        for event in &disturbed {
            log.0.push(record(event, log.0.len() as u64));
        }
        let partition = Partition::with_retention(&rules, RETENTION_S);
        partition.fold(&log.0, batch);
        for query in &queries {
            let counts = track_oracle::metrics(&events, query);
            prop_assert_eq!(partition.answers(query), (counts, track_oracle::sessions(&events, &rules, query)));
        }
    }
}

fn event(name: &str, minute: i64, arrival_s: u32) -> Event {
    let at_ms = i64::from(NEW_YEAR_S) * 1000 + minute * 60_000;
    Event { user: "ann".into(), name: name.into(), at_ms, id: None, arrival_s }
}

fn play_stop() -> Rules {
    Rules { pairs: vec![("play".into(), "stop".into())], session_ms_max: 30 * i64::from(DAY_S) * 1000 }
}

fn new_year() -> Query {
    Query::days("2025-01-01".parse().unwrap(), "2025-01-01".parse().unwrap())
}

#[test]
fn what_comes_in_the_first_moments_after_a_long_silence_is_kept() {
    let partition = Partition::with_retention(&play_stop(), RETENTION_S);
    let silence_end_s = NEW_YEAR_S + 500 * DAY_S;
    let id = |event: Event| Event { id: Some("1".into()), ..event };
    let mut log = Log::new();
    log.push(&event("old", 0, NEW_YEAR_S));
    for (name, minute, after_s) in [("play", 0, 0), ("like", 1, 0), ("like", 1, 7_200), ("stop", 5, 7_200)] {
        let event = event(name, minute, silence_end_s + after_s);
        let event = if name == "like" { id(event) } else { event };
        log.0.push(record(&event, log.0.len() as u64));
    }
    partition.fold(&log.0, 1);
    assert_eq!(partition.progress().stream_time, silence_end_s + 7_200);
    let (counts, sessions) = partition.answers(&new_year());
    let counts: Vec<_> = counts["2025-01-01"].iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, [("like", 1), ("play", 1), ("stop", 1)], "what is old is over, and an id counts once");
    assert_eq!(sessions["2025-01-01"].count, 1, "the play from before time was believed is still open");
}

#[test]
fn a_day_that_is_over_is_off_the_row_that_it_shared() {
    let partition = Partition::with_retention(&play_stop(), RETENTION_S);
    let days_in_row = |partition: &Partition| {
        let mut rows = Vec::new();
        let row = |_: &[u8], value: &[u8]| {
            rows.push(Stretch::<Count>::read(value).unwrap().len());
            Ok(())
        };
        partition.store().view().scan(Family::StretchCounts, &[], &[0xff; 64], row).unwrap();
        rows
    };
    let mut log = Log::new();
    log.push(&event("like", 0, NEW_YEAR_S));
    log.push(&event("like", 24 * 60, NEW_YEAR_S + 1));
    partition.fold(&log.0, 1);
    assert_eq!(days_in_row(&partition), [2]);
    // Of the two days, whose retention ends within a second, the first is over when a third comes.
    log.push(&event("like", 2 * 24 * 60, NEW_YEAR_S + RETENTION_S));
    partition.fold(&log.0, 1);
    assert_eq!(days_in_row(&partition), [2]);
    let days = Query::days("2025-01-01".parse().unwrap(), "2025-01-03".parse().unwrap());
    let dates: Vec<_> = partition.metrics(&days).into_keys().collect();
    assert_eq!(dates, ["2025-01-02", "2025-01-03"]);
}
