//! The session timelines that a batch touches: each loaded once, changed by many edges, stored once.

use crate::sessions::{self, Edge, RowId, Rules, SessionChange, Timeline, TimelineRows};
use crate::state::changes::Changes;
use crate::state::key::{Key, user_prefix};
use crate::state::store::{Store, StoreError};
use crate::state::ttl::{Life, Spans, Stamp, StreamSeconds, millis, stream_seconds};
use crate::state::{Damaged, Family, timelines};
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;

/// The timelines of one batch.
pub(crate) struct Timelines<'a> {
    store: &'a Store,
    rules: &'a Rules,
    spans: Spans,
    /// By user and pair.
    loaded: FxHashMap<Key, Timeline>,
    now: StreamSeconds,
}

impl<'a> Timelines<'a> {
    pub(crate) fn new(store: &'a Store, rules: &'a Rules, spans: Spans) -> Self {
        Self { store, rules, spans, loaded: FxHashMap::default(), now: 0 }
    }

    /// Inserts one edge into the timeline of a user and a pair, at the stream time `now`.
    pub(crate) fn insert(
        &mut self,
        changes: &mut Changes,
        user_id: &str,
        pair: u8,
        edge: Edge,
        now: StreamSeconds,
    ) -> Result<SessionChange, StoreError> {
        self.now = now;
        let mut prefix = user_prefix(user_id);
        prefix.push(pair);
        let mut rows = Rows { store: self.store, spans: self.spans, changes, prefix: &prefix, now };
        let timeline = match self.loaded.entry(prefix.clone()) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(gap) => gap.insert(Timeline::load(&mut rows)?),
        };
        timeline.insert(&mut rows, edge, millis(now), self.rules)
    }

    /// Hands every changed row to `changes`.
    pub(crate) fn store(self, changes: &mut Changes) {
        for (prefix, mut timeline) in self.loaded {
            let mut rows = Rows { store: self.store, spans: self.spans, changes, prefix: &prefix, now: self.now };
            timeline.store(&mut rows);
        }
    }
}

/// The rows of one timeline: as this batch has changed them, else as the store has them.
struct Rows<'a> {
    store: &'a Store,
    spans: Spans,
    changes: &'a mut Changes,
    prefix: &'a Key,
    now: StreamSeconds,
}

impl Rows<'_> {
    fn key(&self, row: RowId) -> Key {
        timelines::key(self.prefix, row)
    }
}

/// A row's value behind its stamp.
pub(crate) struct Row(Vec<u8>);

impl AsRef<[u8]> for Row {
    fn as_ref(&self) -> &[u8] {
        self.0.get(Stamp::BYTES..).unwrap_or_default()
    }
}

impl TimelineRows for Rows<'_> {
    type Row<'r>
        = Row
    where
        Self: 'r;
    type Error = StoreError;

    fn get(&mut self, row: RowId) -> Result<Option<Row>, StoreError> {
        let key = self.key(row);
        let value = match self.changes.timeline_row(&key) {
            Some(changed) => changed.map(<[u8]>::to_vec),
            None => self.store.get(Family::Timelines, &key)?,
        };
        let Some(value) = value else { return Ok(None) };
        let (touched, _) = Stamp::split(&value).ok_or(Damaged { kind: Family::Timelines.name() })?;
        let is_over = self.spans.is_over(Life::Arrival, touched, self.now);
        Ok((!is_over).then_some(Row(value)))
    }

    fn put(&mut self, row: RowId, value: Vec<u8>, last_touched_ms: i64) {
        let key = self.key(row);
        let mut stamped = Vec::with_capacity(Stamp::BYTES + value.len());
        Stamp::write(stream_seconds(last_touched_ms), &mut stamped);
        stamped.extend_from_slice(&value);
        self.changes.put_timeline_row(key, Some(stamped));
    }

    fn delete(&mut self, row: RowId) {
        let key = self.key(row);
        self.changes.put_timeline_row(key, None);
    }
}

impl From<sessions::Damaged> for StoreError {
    fn from(_: sessions::Damaged) -> Self {
        Self::Damaged(Damaged { kind: Family::Timelines.name() })
    }
}
