//! The rows that are being worked on: each read once, changed in memory by many events, and written together with the
//! offset that they lead to. The log is the write-ahead log, so nothing is lost with what was not written.
//!
//! Rows stay here after they were written, for as long as there is memory: who was busy a moment ago will be again.
//! They are written as absolute values: a merge operator would hide rows from the compaction filter and slow down reads
//! (`docs/adr/0002-state.md`).
//!
//! In the order in which an event meets them:
//!
//! - [`names`]: the names of events, as numbers
//! - [`users`]: the users in memory, and who of them is let go; [`segments`] is the list they are in
//! - [`days`], [`totals`]: the rows by day, of one user and over all
//! - [`day_row`]: one of them, whole or only what is to be added
//! - [`rows`]: where session timelines find and leave their rows
//!
//! What comes next is fetched into the processor's cache meanwhile, by [`prefetch`].

mod day_row;
mod days;
mod names;
mod prefetch;
mod rows;
mod segments;
#[cfg(test)]
mod tests;
mod totals;
mod users;

pub(crate) use names::Name;
pub(crate) use users::UserIndex;

use super::batch::Batch;
use super::counts::Count;
use super::key::{Key, in_order};
use super::progress::{self, Progress};
use super::quarters::Sums;
use super::session_sums::SessionSum;
use super::store::{Store, StoreError};
use super::stream_time::Moment;
use super::ttl::{Spans, Stamp, StreamSeconds, millis};
use super::{Damaged, Family, timelines};
use crate::rules::SessionRules;
use crate::sessions::{self, Edge, RowId, SessionChange, Timeline};
use days::{Days, Place};
use hashbrown::HashMap;
use names::Names;
use rows::{BatchedRows, Row, StoredRows};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use totals::Totals;
use users::{User, Users};

/// How many names of events are kept in mind. Past that everything is let go of: they are no names but numbers.
const NAMES_MAX: usize = 65_536;

/// How many users are put into a batch at a time: each is looked at several times, and stays in the processor's cache meanwhile.
const USERS_AT_ONCE: usize = 256;

/// What a record that is folded and not written yet takes beside its user's rows, about: its event_id in the map, in order and
/// in the batch, and the rows that it leads to in the batch.
const GATHERED_RECORD_BYTES: usize = 320;

/// Memory for the working sets of a process, the same for each.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    bytes_max: usize,
    sharers: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

/// One working set's part of a budget, and what it takes of it.
#[derive(Debug)]
struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, sharers: Arc::default(), taken: Arc::default() }
    }

    fn share(&self) -> Share {
        self.sharers.fetch_add(1, Ordering::Relaxed);
        Share { budget: self.clone(), bytes: 0 }
    }

    /// What all of them took after their last writes.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Share {
    /// What one working set may take just now.
    fn bytes_max(&self) -> usize {
        self.budget.bytes_max / self.budget.sharers.load(Ordering::Relaxed).max(1)
    }

    fn take(&mut self, bytes: usize) {
        self.budget.taken.fetch_add(bytes, Ordering::Relaxed);
        self.budget.taken.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.take(0);
        self.budget.sharers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The rows of one partition that are being worked on. After an error it must not be used again: the store has
/// everything up to the last write.
#[derive(Debug)]
pub(crate) struct WorkingSet {
    spans: Spans,
    share: Share,
    names: Names,
    users: Users,
    total_counts: Totals<Count>,
    total_sessions: Totals<SessionSum>,
    /// Those that are new.
    marks: HashMap<Key, StreamSeconds>,
    /// What the last batch took: the next one is much like it.
    batch_bytes: usize,
}

impl WorkingSet {
    pub(crate) fn new(spans: Spans, budget: &Budget) -> Self {
        Self {
            spans,
            share: budget.share(),
            names: Names::default(),
            users: Users::default(),
            total_counts: Totals::default(),
            total_sessions: Totals::default(),
            marks: HashMap::default(),
            batch_bytes: 0,
        }
    }

    pub(crate) fn spans(&self) -> Spans {
        self.spans
    }

    /// How many records may be folded before what they led to is written: that takes no more than half as much memory as
    /// the rows may.
    pub(crate) fn gathered_records_max(&self) -> usize {
        self.share.bytes_max() / 2 / GATHERED_RECORD_BYTES
    }

    /// The user with this id. The index is void after the next write.
    pub(crate) fn user(&mut self, user_id: &str) -> UserIndex {
        self.users.find(user_id)
    }

    /// Begins to fetch into the processor's cache whose events come next: `later` themselves, and the rows of `soon`, who was
    /// `later` some calls ago.
    pub(crate) fn expect(&self, later: Option<UserIndex>, soon: Option<UserIndex>) {
        if let Some(later) = later {
            self.users.expect(later);
        }
        if let Some(soon) = soon {
            self.users.expect_rows(soon);
        }
    }

    /// Remembers an event_id.
    pub(crate) fn mark(&mut self, key: Key, now: StreamSeconds) {
        self.marks.insert(key, now);
    }

    /// When an event_id was remembered that is not written yet.
    pub(crate) fn marked(&self, key: &[u8]) -> Option<StreamSeconds> {
        self.marks.get(key).copied()
    }

    /// What stands for an event's name until the next write.
    pub(crate) fn name(&mut self, event: &str, rules: &SessionRules) -> Name {
        self.names.find(event, rules)
    }

    /// Counts one event of a user.
    pub(crate) fn count(&mut self, user: UserIndex, day: i32, quarter: u8, event: Name, at: Moment) {
        let place = Place { day, subject: event.index };
        self.users.change(user).counts.add(place, quarter, Count::ONE, at, self.spans);
        self.total_counts.add(place, quarter, Count::ONE, at, self.spans);
    }

    /// Puts sessions of a user in, or takes them out where `sum` is negative.
    pub(crate) fn sessions(&mut self, user: UserIndex, day: i32, quarter: u8, pair: u8, sum: SessionSum, at: Moment) {
        let place = Place { day, subject: pair.into() };
        self.users.change(user).sessions.get_or_insert_default().add(place, quarter, sum, at, self.spans);
        self.total_sessions.add(place, quarter, sum, at, self.spans);
    }

    /// Reads the timelines of `wanted` that are not in memory, in order, as they are at the stream time `now`.
    pub(crate) fn read_timelines(
        &mut self,
        store: &Store,
        wanted: impl Iterator<Item = (UserIndex, u8)>,
        now: StreamSeconds,
    ) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        for (index, pair) in wanted {
            let user = self.users.get(index);
            if user.timelines.iter().all(|(of, _)| *of != pair) {
                push_unread(&mut user.timelines, pair);
                missing.push((timelines::key(&rows::timeline_prefix(user.prefix(), pair), RowId::Tail), (index, pair)));
            }
        }
        let missing = in_order(missing);
        let stored = store.get_many(Family::Timelines, missing.iter().map(|(key, _)| key.as_slice()));
        for ((_, (index, pair)), stored) in missing.iter().zip(stored) {
            let row = stored?.map(|value| Row::alive(value, self.spans, now)).transpose()?.flatten();
            let timeline = Timeline::from_tail(row.as_ref().map(AsRef::as_ref))?;
            *timeline_of(&mut self.users.get(*index).timelines, *pair) = Some(timeline);
            self.users.measure(*index);
        }
        Ok(())
    }

    /// Inserts one edge into the timeline of a user and a pair, at the stream time `now`.
    pub(crate) fn insert_edge(
        &mut self,
        store: &Store,
        rules: &sessions::Rules,
        (index, pair): (UserIndex, u8),
        edge: Edge,
        now: StreamSeconds,
    ) -> Result<SessionChange, StoreError> {
        let spans = self.spans;
        let user = self.users.change(index);
        let mut rows = StoredRows { store, spans, prefix: rows::timeline_prefix(user.prefix(), pair), now };
        let timeline = match timeline_of(&mut user.timelines, pair) {
            Some(timeline) => timeline,
            unread => unread.insert(Timeline::load(&mut rows)?),
        };
        timeline.insert(&mut rows, edge, millis(now), rules)
    }

    /// Writes everything that has changed, and `progress`, in one batch.
    pub(crate) fn write(&mut self, store: &Store, progress: Progress) -> Result<(), StoreError> {
        let mut batch = store.batch(self.batch_bytes);
        let spans = self.spans;
        let mut value = Vec::new();
        for (key, touched) in in_order(self.marks.drain()) {
            value.clear();
            Stamp::write(touched, &mut value);
            batch.put(Family::Marks, &key, &value);
        }
        let changed = self.users.take_changed();
        let Self { users, names, .. } = self;
        let name = |subject| names.text(subject);
        for some in changed.chunks(USERS_AT_ONCE) {
            some.iter().for_each(|(_, index)| users.expect(*index));
            some.iter().for_each(|(_, index)| users.expect_rows(*index));
            write_days(users, some, store, &mut batch, Family::UserCounts, spans, |user| Some(&mut user.counts), name)?;
            write_days(
                users,
                some,
                store,
                &mut batch,
                Family::UserSessions,
                spans,
                |user| user.sessions.as_deref_mut(),
                pair,
            )?;
            for (prefix, index) in some {
                users.get(*index).write_timelines(prefix, &mut batch);
                users.settle(*index);
            }
        }
        let (counts, sessions) = (&mut self.total_counts, &mut self.total_sessions);
        let now = progress.stream_time;
        counts.write(store, &mut batch, (Family::QuarterCounts, Family::StretchCounts), spans, now, name)?;
        sessions.write(store, &mut batch, (Family::QuarterSessions, Family::StretchSessions), spans, now, pair)?;
        batch.put_default(progress::KEY, &progress.encode());
        self.batch_bytes = batch.bytes();
        store.write(batch)?;

        users.shrink_to(self.share.bytes_max());
        self.share.take(users.bytes());
        if self.names.len() > NAMES_MAX {
            *self = Self::new(spans, &self.share.budget.clone());
        }
        Ok(())
    }
}

/// Puts the changed rows by day of `changed`, who are in the order of their keys, into `batch`; those that were not read
/// before are read on the way, in order. `subject` gives the bytes behind the day.
#[allow(clippy::too_many_arguments, reason = "two calls, in one place")]
fn write_days<'n, S: Sums>(
    users: &mut Users,
    changed: &[(Key, UserIndex)],
    store: &Store,
    batch: &mut Batch<'_>,
    family: Family,
    spans: Spans,
    days_of: impl Fn(&mut User) -> Option<&mut Days<S>>,
    subject: impl Fn(u32) -> &'n [u8],
) -> Result<(), StoreError> {
    let key_of = |prefix: &Key, place: Place| {
        let mut key = prefix.clone();
        place.write_key(subject(place.subject), &mut key);
        key
    };
    let mut unread: Vec<Key> = Vec::new();
    for (prefix, index) in changed {
        let Some(days) = days_of(users.get(*index)) else { continue };
        days.sort_changed(&subject);
        unread.extend(days.changed().filter(|(_, row)| row.is_to_be_read()).map(|(place, _)| key_of(prefix, place)));
    }
    let mut stored = store.get_many(family, unread.iter().map(Key::as_slice));
    let mut value = Vec::new();
    for (prefix, index) in changed {
        let Some(days) = days_of(users.get(*index)) else { continue };
        days.try_for_each_changed(|place, row| {
            if row.is_to_be_read() {
                let stored = stored.next().transpose()?.flatten();
                row.complete(stored.as_deref(), spans).ok_or(Damaged { kind: family.name() })?;
            }
            row.write(&mut value);
            batch.put(family, &key_of(prefix, place), &value);
            Ok::<_, StoreError>(())
        })?;
    }
    Ok(())
}

/// What stands behind the day in a row of a session pair.
fn pair(subject: u32) -> &'static [u8] {
    static PAIRS: [u8; 256] = {
        let mut pairs = [0; 256];
        let mut pair = 0_u8;
        while pair < u8::MAX {
            pairs[pair as usize] = pair;
            pair += 1;
        }
        pairs
    };
    PAIRS.get(subject as usize..).and_then(|from| from.get(..1)).unwrap_or_default()
}

/// The place of a timeline, which is empty until it was read.
fn timeline_of(timelines: &mut Vec<(u8, Option<Timeline>)>, pair: u8) -> &mut Option<Timeline> {
    let place = timelines.iter().position(|(of, _)| *of == pair).unwrap_or_else(|| {
        push_unread(timelines, pair);
        timelines.len() - 1
    });
    &mut timelines[place].1
}

/// Most users have one timeline, and there are many users.
fn push_unread(timelines: &mut Vec<(u8, Option<Timeline>)>, pair: u8) {
    timelines.reserve_exact(1);
    timelines.push((pair, None));
}

impl User {
    fn write_timelines(&mut self, prefix: &Key, batch: &mut Batch<'_>) {
        for (pair, timeline) in &mut self.timelines {
            if let Some(timeline) = timeline {
                timeline.store(&mut BatchedRows { batch, prefix: rows::timeline_prefix(prefix.clone(), *pair) });
                timeline.keep_tail();
            }
        }
    }
}
