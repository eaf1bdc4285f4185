//! The oracle with a memory that ends: what is answered at a moment of stream time.
//!
//! It goes over the events one by one and does at each what is naive: forget, scan all that is remembered, compare with
//! the scan before. For small inputs. Where a user has two plays, or two stops, at one instant, which of them is
//! forgotten first is not for the oracle to say: keep them apart.

use crate::{Counts, Edge, Event, Query, Rules, Sessions, scan};
use std::collections::BTreeMap;

/// How long ids and edges are remembered after they arrived: 30 days.
const ARRIVAL_S: u32 = 30 * 24 * 60 * 60;

/// What one UTC day holds of one thing, of one user or of all, quarter by quarter, and when that last changed: it is
/// answered until `retention_s` later.
#[derive(Default)]
struct Day<T> {
    quarters: BTreeMap<i64, T>,
    changed_s: u32,
}

impl<T: Default> Day<T> {
    /// The quarter of `at_ms`, to be changed now; of a day that was over, nothing is left.
    fn change(&mut self, at_ms: i64, now_s: u32, retention_s: u32) -> &mut T {
        if is_over(self.changed_s, retention_s, now_s) {
            self.quarters.clear();
        }
        self.changed_s = now_s;
        self.quarters.entry(at_ms.div_euclid(15 * 60 * 1000)).or_default()
    }
}

/// The rows: of a user or (`None`) of all, by UTC day and by name or pair.
type Days<T> = BTreeMap<(Option<String>, i64, String), Day<T>>;

/// A play or stop of one user and pair that is remembered.
#[derive(Clone, Copy)]
struct Remembered {
    edge: Edge,
    arrival_s: u32,
}

/// How many sessions there are more or less, and how much longer they are together.
#[derive(Default, Clone, Copy)]
struct Change {
    count: i64,
    duration_ms: i64,
}

/// What `events`, all of them arrived, have left at the stream time `now_s`, with days that live `retention_s`.
#[must_use]
pub fn answers(events: &[Event], rules: &Rules, retention_s: u32, now_s: u32, query: &Query) -> (Counts, Sessions) {
    let mut ids: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut counts: Days<u64> = Days::new();
    let mut sums: Days<Change> = Days::new();
    let mut edges: BTreeMap<(&str, usize), Vec<Remembered>> = BTreeMap::new();
    for event in events {
        let (user, now) = (event.user.as_str(), event.arrival_s);
        if let Some(id) = &event.id {
            if ids.get(&(user, id)).is_some_and(|first_s| !is_over(*first_s, ARRIVAL_S, now)) {
                continue;
            }
            ids.insert((user, id), now);
        }
        for key in rows(user, event.at_ms, &event.name) {
            *counts.entry(key).or_default().change(event.at_ms, now, retention_s) += 1;
        }
        for (pair, (open, close)) in rules.pairs.iter().enumerate() {
            let edge = match &event.name {
                name if name == open => Edge::Open(event.at_ms),
                name if name == close => Edge::Close(event.at_ms),
                _ => continue,
            };
            let remembered = edges.entry((user, pair)).or_default();
            forget(remembered, now, rules);
            let before = sessions(remembered, rules);
            remembered.push(Remembered { edge, arrival_s: now });
            let after = sessions(remembered, rules);
            let gone = less(&before, &after).into_iter().map(|session| (session, -1));
            let new = less(&after, &before).into_iter().map(|session| (session, 1));
            for ((start_ms, end_ms), sign) in gone.chain(new) {
                for key in rows(user, start_ms, open) {
                    let sum = sums.entry(key).or_default().change(start_ms, now, retention_s);
                    sum.count += sign;
                    sum.duration_ms += sign * (end_ms - start_ms);
                }
            }
        }
    }
    (answer_counts(&counts, retention_s, now_s, query), answer_sessions(&sums, rules, retention_s, now_s, query))
}

fn answer_counts(days: &Days<u64>, retention_s: u32, now_s: u32, query: &Query) -> Counts {
    let mut answer = Counts::new();
    for ((_, _, name), at_ms, count) in alive(days, retention_s, now_s, query) {
        if query.names(&[name])
            && let Some(label) = query.label(at_ms)
        {
            *answer.entry(label).or_default().entry(name.clone()).or_default() += count;
        }
    }
    answer
}

fn answer_sessions(days: &Days<Change>, rules: &Rules, retention_s: u32, now_s: u32, query: &Query) -> Sessions {
    let mut answer = Sessions::new();
    for ((_, _, open), at_ms, sum) in alive(days, retention_s, now_s, query) {
        let asked = rules.pairs.iter().any(|pair| pair.0 == *open && query.names(&[&pair.0, &pair.1]));
        if asked
            && sum.count > 0
            && let Some(label) = query.label(at_ms)
        {
            let row = answer.entry(label).or_default();
            row.count += sum.count.unsigned_abs();
            row.duration_ms += sum.duration_ms.unsigned_abs();
        }
    }
    answer
}

/// The two rows that something of `user` at `at_ms` stands in: the user's and that of all.
fn rows(user: &str, at_ms: i64, what: &str) -> [(Option<String>, i64, String); 2] {
    [Some(user.to_owned()), None].map(|user| (user, at_ms.div_euclid(24 * 60 * 60 * 1000), what.to_owned()))
}

/// The quarters of the user asked for, or of all, in days that are not over, each with its first instant.
fn alive<'a, T: Copy>(
    days: &'a Days<T>,
    retention_s: u32,
    now_s: u32,
    query: &'a Query,
) -> impl Iterator<Item = (&'a (Option<String>, i64, String), i64, T)> {
    days.iter()
        .filter(move |((user, ..), day)| *user == query.user && !is_over(day.changed_s, retention_s, now_s))
        .flat_map(|(key, day)| day.quarters.iter().map(move |(quarter, value)| (key, quarter * 15 * 60 * 1000, *value)))
}

/// Drops the edges that are over and whose partner, where they have one, is over too.
fn forget(edges: &mut Vec<Remembered>, now_s: u32, rules: &Rules) {
    let mut lives: Vec<u32> = edges.iter().map(|edge| edge.arrival_s).collect();
    let find = |edge: Edge| edges.iter().position(|other| other.edge == edge);
    for (start_ms, end_ms) in sessions(edges, rules) {
        if let (Some(open), Some(close)) = (find(Edge::Open(start_ms)), find(Edge::Close(end_ms))) {
            let later_s = edges[open].arrival_s.max(edges[close].arrival_s);
            (lives[open], lives[close]) = (later_s, later_s);
        }
    }
    let mut lives = lives.into_iter();
    edges.retain(|_| lives.next().is_some_and(|later_s| !is_over(later_s, ARRIVAL_S, now_s)));
}

fn sessions(edges: &[Remembered], rules: &Rules) -> Vec<(i64, i64)> {
    scan(edges.iter().map(|edge| edge.edge).collect(), rules.session_ms_max)
}

/// What is in `these` and not in `those`.
fn less(these: &[(i64, i64)], those: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut rest = those.to_vec();
    let mut less = Vec::new();
    for session in these {
        match rest.iter().position(|other| other == session) {
            Some(found) => drop(rest.swap_remove(found)),
            None => less.push(*session),
        }
    }
    less
}

/// Whether what was touched at `touched_s` and lives `life_s` is over.
fn is_over(touched_s: u32, life_s: u32, now_s: u32) -> bool {
    now_s >= touched_s.saturating_add(life_s)
}
