//! What must be counted: by name and UTC day over all users, and in full for a sample of users.

use super::events::{Event, PLAY, STOP};
use std::collections::{BTreeMap, BTreeSet};
use track_proto::calendar::utc_day;

/// The longest session that track pairs with its default settings, in milliseconds.
const SESSION_MS_MAX: i64 = 30 * 86_400_000;

/// How certain it is that an event is on the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was never sent.
    Unsent,
    /// It was answered as durable.
    Acknowledged,
    /// It was sent, and no answer said that it is durable.
    Unknown,
}

/// How often something must be counted at least, and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    /// What was acknowledged.
    pub(crate) least: u64,
    /// That, and what may be on the log all the same.
    pub(crate) most: u64,
}

/// Sessions of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DaySessions {
    pub(crate) count: u64,
    pub(crate) duration_ms: u64,
}

/// Events that were sent, added up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By UTC day and name.
    pub(crate) counts: BTreeMap<(i32, u8), Bounds>,
    sample: BTreeSet<u32>,
    /// The events of each user of the sample that has any: time and name.
    users: BTreeMap<u32, Vec<(i64, u8)>>,
    /// Users of whom something may or may not be on the log.
    uncertain: BTreeSet<u32>,
}

impl Tally {
    /// Follows so many users of all `users`, hot ones and rare ones.
    pub(crate) fn new(sample: u32, users: u32) -> Self {
        Self { sample: spread(sample, users), ..Self::default() }
    }

    /// Adds an event. One that was sent before adds nothing: an event_id counts once.
    pub(crate) fn add(&mut self, event: &Event, fate: Fate) {
        let user_is_followed = self.sample.contains(&event.user);
        match fate {
            Fate::Unsent => return,
            Fate::Unknown if user_is_followed => {
                self.uncertain.insert(event.user);
            }
            Fate::Unknown | Fate::Acknowledged => {}
        }
        if event.repeated {
            return;
        }
        let bounds = self.counts.entry((utc_day(event.timestamp_ms), event.name)).or_default();
        bounds.most += 1;
        bounds.least += u64::from(fate == Fate::Acknowledged);
        if user_is_followed {
            self.users.entry(event.user).or_default().push((event.timestamp_ms, event.name));
        }
    }

    /// First and last day with events; `None` where there are none.
    pub(crate) fn days(&self) -> Option<(i32, i32)> {
        Some((self.counts.first_key_value()?.0.0, self.counts.last_key_value()?.0.0))
    }

    /// The users of the sample of whom everything is known.
    pub(crate) fn known_users(&self) -> impl Iterator<Item = u32> + '_ {
        self.users.keys().copied().filter(|user| !self.uncertain.contains(user))
    }

    /// How often each event of a user of the sample happened, by day and name.
    pub(crate) fn user_counts(&self, user: u32) -> BTreeMap<(i32, u8), u64> {
        let mut counts = BTreeMap::new();
        for (time_ms, name) in self.users.get(&user).into_iter().flatten() {
            *counts.entry((utc_day(*time_ms), *name)).or_default() += 1;
        }
        counts
    }

    /// The sessions of a user of the sample, by the day they started.
    pub(crate) fn user_sessions(&self, user: u32) -> BTreeMap<i32, DaySessions> {
        let events = self.users.get(&user).cloned().unwrap_or_default();
        let mut days: BTreeMap<i32, DaySessions> = BTreeMap::new();
        for (start_ms, end_ms) in pair(events) {
            let day = days.entry(utc_day(start_ms)).or_default();
            day.count += 1;
            day.duration_ms += start_ms.abs_diff(end_ms);
        }
        days
    }
}

/// Sorted by time, each stop closes the latest play before it that is open; at one instant stops come first, one that
/// is left over closes a play of that instant, and what plays are left stay open.
fn pair(mut events: Vec<(i64, u8)>) -> Vec<(i64, i64)> {
    events.retain(|(_, name)| [PLAY, STOP].contains(name));
    events.sort_unstable();
    let (mut open, mut sessions) = (Vec::new(), Vec::new());
    for instant in events.chunk_by(|a, b| a.0 == b.0) {
        let now_ms = instant[0].0;
        let mut plays = instant.iter().filter(|(_, name)| *name == PLAY).count();
        let stops = instant.len() - plays;
        for _ in 0..stops {
            match open.pop_if(|start_ms| now_ms - *start_ms <= SESSION_MS_MAX) {
                Some(start_ms) => sessions.push((start_ms, now_ms)),
                None if plays > 0 => {
                    plays -= 1;
                    sessions.push((now_ms, now_ms));
                }
                None => {}
            }
        }
        open.extend(std::iter::repeat_n(now_ms, plays));
    }
    sessions
}

/// So many ranks up to `users`, the lower ones closer together.
fn spread(sample: u32, users: u32) -> BTreeSet<u32> {
    (0..sample)
        .map(|at| {
            let rank = f64::from(users).powf(f64::from(at) / f64::from(sample.max(2) - 1));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to a u32")]
            let rank = rank.round() as u32;
            rank.clamp(1, users)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(user: u32, timestamp_ms: i64, name: u8) -> Event {
        Event { user, name, timestamp_ms, id: None, repeated: false, detail: 0 }
    }

    fn paired(edges: &[(i64, u8)]) -> Vec<(i64, i64)> {
        pair(edges.to_vec())
    }

    #[test]
    fn a_stop_closes_the_latest_open_play() {
        assert_eq!(paired(&[(4, STOP), (1, PLAY), (3, STOP), (2, PLAY)]), [(2, 3), (1, 4)]);
        assert_eq!(paired(&[(1, STOP), (2, PLAY)]), []);
        assert_eq!(paired(&[(1, PLAY), (2, PLAY), (3, STOP), (4, 7)]), [(2, 3)]);
    }

    #[test]
    fn at_one_instant_stops_come_first() {
        assert_eq!(paired(&[(1, PLAY), (5, PLAY), (5, STOP), (6, STOP)]), [(1, 5), (5, 6)]);
        assert_eq!(paired(&[(5, PLAY), (5, STOP)]), [(5, 5)]);
    }

    #[test]
    fn a_play_too_far_back_stays_open() {
        assert_eq!(paired(&[(0, PLAY), (SESSION_MS_MAX, STOP)]), [(0, SESSION_MS_MAX)]);
        assert_eq!(paired(&[(0, PLAY), (SESSION_MS_MAX + 1, STOP)]), []);
    }

    #[test]
    fn what_is_not_acknowledged_widens_the_bounds() {
        let mut tally = Tally::new(10, 10);
        tally.add(&event(1, 0, PLAY), Fate::Acknowledged);
        tally.add(&event(2, 0, PLAY), Fate::Unknown);
        tally.add(&event(3, 0, PLAY), Fate::Unsent);
        tally.add(&Event { repeated: true, ..event(1, 0, PLAY) }, Fate::Acknowledged);
        assert_eq!(tally.counts, BTreeMap::from([((0, PLAY), Bounds { least: 1, most: 2 })]));
        assert_eq!(tally.known_users().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn the_sample_has_hot_and_rare_users() {
        let sample = spread(20, 1_000_000);
        assert!(sample.contains(&1) && sample.contains(&1_000_000));
        assert!(sample.iter().filter(|rank| **rank <= 1_000).count() >= 8);
    }
}
