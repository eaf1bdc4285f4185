//! What a batch of records changes, gathered by row and written at once, together with the offset.
//!
//! Rows are added up here and the sums put as absolute values: a merge operator would hide rows from the compaction
//! filter and slow down reads (`docs/adr/0002-state.md`).

use super::counts::{self, Count};
use super::key::{InOrder, Key};
use super::progress::{self, Progress};
use super::quarters::{Quarters, Sums, write_sums};
use super::session_sums::{self, SessionSum};
use super::store::{Store, StoreError};
use super::stream_time::Moment;
use super::ttl::{Life, Spans, Stamp, StreamSeconds};
use super::{Damaged, Family};
use rocksdb::WriteBatch;
use rustc_hash::FxHashMap;

/// What is added to one day's row.
#[derive(Debug)]
struct Delta<S> {
    quarters: Quarters<S>,
    /// Stream time when the row was first changed.
    first: StreamSeconds,
    /// The row's life begins here anew.
    touched: StreamSeconds,
    /// What was added before the log was silent for longer than the retention. Whether that ended the row's life depends
    /// on what the store has.
    before_silence: Option<Box<Self>>,
}

type Deltas<S> = FxHashMap<Key, Delta<S>>;

/// The changes of one batch.
#[derive(Debug)]
pub(crate) struct Changes {
    spans: Spans,
    marks: FxHashMap<Key, StreamSeconds>,
    user_counts: Deltas<Count>,
    total_counts: Deltas<Count>,
    user_sessions: Deltas<SessionSum>,
    total_sessions: Deltas<SessionSum>,
    /// Rows as they are to be, with their stamp; `None` is taken away.
    timelines: FxHashMap<Key, Option<Vec<u8>>>,
}

impl Changes {
    pub(crate) fn new(spans: Spans) -> Self {
        Self {
            spans,
            marks: FxHashMap::default(),
            user_counts: FxHashMap::default(),
            total_counts: FxHashMap::default(),
            user_sessions: FxHashMap::default(),
            total_sessions: FxHashMap::default(),
            timelines: FxHashMap::default(),
        }
    }

    /// Counts one event of `user_id`.
    pub(crate) fn count(&mut self, user_id: &str, day: i32, quarter: u8, event: &str, at: Moment) {
        let spans = self.spans;
        add(&mut self.user_counts, counts::user_key(user_id, day, event), quarter, Count::ONE, at, spans);
        add(&mut self.total_counts, counts::total_key(day, event), quarter, Count::ONE, at, spans);
    }

    /// Puts sessions of `user_id` in, or takes them out where `sum` is negative.
    pub(crate) fn sessions(&mut self, user_id: &str, day: i32, quarter: u8, pair: u8, sum: SessionSum, at: Moment) {
        let spans = self.spans;
        add(&mut self.user_sessions, session_sums::user_key(user_id, day, pair), quarter, sum, at, spans);
        add(&mut self.total_sessions, session_sums::total_key(day, pair), quarter, sum, at, spans);
    }

    /// Remembers an event_id.
    pub(crate) fn mark(&mut self, key: Key, now: StreamSeconds) {
        self.marks.insert(key, now);
    }

    /// When this batch remembered an event_id.
    pub(crate) fn marked(&self, key: &[u8]) -> Option<StreamSeconds> {
        self.marks.get(key).copied()
    }

    /// Replaces a row of a timeline, stamp and all; `None` takes it away.
    pub(crate) fn put_timeline_row(&mut self, key: Key, row: Option<Vec<u8>>) {
        self.timelines.insert(key, row);
    }

    /// A row of a timeline as this batch has changed it.
    pub(crate) fn timeline_row(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.timelines.get(key).map(Option::as_deref)
    }

    /// Writes everything and `progress` in one batch.
    pub(crate) fn commit(self, store: &Store, progress: Progress) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let spans = self.spans;

        let mut value = Vec::new();
        for (key, touched) in InOrder::new(self.marks).iter() {
            value.clear();
            Stamp::write(*touched, &mut value);
            store.put(&mut batch, Family::Marks, key, &value);
        }
        for (key, row) in InOrder::new(self.timelines).iter() {
            match row {
                Some(row) => store.put(&mut batch, Family::Timelines, key, row),
                None => store.delete(&mut batch, Family::Timelines, key),
            }
        }
        put_days(store, &mut batch, Family::UserCounts, None, self.user_counts, spans)?;
        put_days(store, &mut batch, Family::QuarterCounts, Some(Family::DayCounts), self.total_counts, spans)?;
        put_days(store, &mut batch, Family::UserSessions, None, self.user_sessions, spans)?;
        put_days(store, &mut batch, Family::QuarterSessions, Some(Family::DaySessions), self.total_sessions, spans)?;

        batch.put(progress::KEY, progress.encode());
        store.write(batch)
    }
}

fn add<S: Sums>(deltas: &mut Deltas<S>, key: Key, quarter: u8, sums: S, at: Moment, spans: Spans) {
    let delta = deltas.entry(key).or_insert_with(|| Delta::new(at));
    if spans.is_over(Life::Retention, delta.touched, at.now) {
        delta.before_silence = Some(Box::new(std::mem::replace(delta, Delta::new(at))));
    }
    delta.quarters.add(quarter, sums);
    delta.touched = delta.touched.max(at.arrival);
}

impl<S: Sums> Delta<S> {
    fn new(at: Moment) -> Self {
        Self { quarters: Quarters::default(), first: at.now, touched: at.arrival, before_silence: None }
    }

    /// The row, and when it was last touched, after this was added to what was `stored`.
    fn add_to(&self, stored: Option<(StreamSeconds, Quarters<S>)>, spans: Spans) -> (StreamSeconds, Quarters<S>) {
        let before = match &self.before_silence {
            Some(delta) => Some(delta.add_to(stored, spans)),
            None => stored,
        };
        match before.filter(|(touched, _)| !spans.is_over(Life::Retention, *touched, self.first)) {
            Some((touched, mut quarters)) => {
                quarters.add_all(&self.quarters);
                (touched.max(self.touched), quarters)
            }
            None => (self.touched, self.quarters.clone()),
        }
    }
}

/// Adds the deltas to what the store has, by quarter in `family` and, where there is one, by day in `days`.
fn put_days<S: Sums>(
    store: &Store,
    batch: &mut WriteBatch,
    family: Family,
    days: Option<Family>,
    deltas: Deltas<S>,
    spans: Spans,
) -> Result<(), StoreError> {
    let deltas = InOrder::new(deltas);
    let stored = store.get_many(family, deltas.iter().map(|(key, _)| key.as_slice()))?;
    let damaged = Damaged { kind: family.name() };
    let mut value = Vec::new();
    for ((key, delta), stored) in deltas.iter().zip(stored) {
        let stored = stored.map(|stored| {
            let (touched, row) = Stamp::split(&stored)?;
            Some((touched, Quarters::decode(row)?))
        });
        let stored = stored.map(|row| row.ok_or_else(|| damaged.clone())).transpose()?;
        let (touched, quarters) = delta.add_to(stored, spans);
        // A row that was emptied stays for its life: with its stamp, it would depend on the batches.
        value.clear();
        Stamp::write(touched, &mut value);
        quarters.encode(&mut value);
        store.put(batch, family, key, &value);
        if let Some(days) = days {
            value.truncate(Stamp::BYTES);
            write_sums(quarters.total(), &mut value);
            store.put(batch, days, key, &value);
        }
    }
    Ok(())
}
