//! Where a timeline in memory finds and leaves its rows.

use crate::sessions::{self, ReadRows, RowId, WriteRows};
use crate::state::batch::Batch;
use crate::state::key::Key;
use crate::state::store::{Store, StoreError};
use crate::state::ttl::{Life, Spans, Stamp, StreamSeconds, stream_seconds};
use crate::state::{Damaged, Family, timelines};

/// The rows of one timeline in the store.
pub(super) struct StoredRows<'a> {
    pub(super) store: &'a Store,
    pub(super) spans: Spans,
    pub(super) prefix: Key,
    pub(super) now: StreamSeconds,
}

/// A batch that the rows of one timeline are put into.
pub(super) struct BatchedRows<'a, 's> {
    pub(super) batch: &'a mut Batch<'s>,
    pub(super) prefix: Key,
}

/// A row's value behind its stamp.
pub(super) struct Row<V>(V);

impl<V: AsRef<[u8]>> Row<V> {
    /// The row with this value, `None` where its life is over.
    pub(super) fn alive(value: V, spans: Spans, now: StreamSeconds) -> Result<Option<Self>, Damaged> {
        let (touched, _) = Stamp::split(value.as_ref()).ok_or(Damaged { kind: Family::Timelines.name() })?;
        Ok((!spans.is_over(Life::Arrival, touched, now)).then_some(Self(value)))
    }
}

impl<V: AsRef<[u8]>> AsRef<[u8]> for Row<V> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().get(Stamp::BYTES..).unwrap_or_default()
    }
}

/// What the keys of a timeline's rows begin with.
pub(super) fn timeline_prefix(mut user_prefix: Key, pair: u8) -> Key {
    user_prefix.push(pair);
    user_prefix
}

impl ReadRows for StoredRows<'_> {
    type Row<'r>
        = Row<Vec<u8>>
    where
        Self: 'r;
    type Error = StoreError;

    fn get(&mut self, row: RowId) -> Result<Option<Row<Vec<u8>>>, StoreError> {
        let key = timelines::key(&self.prefix, row);
        let Some(value) = self.store.get(Family::Timelines, &key)? else { return Ok(None) };
        Ok(Row::alive(value, self.spans, self.now)?)
    }
}

impl WriteRows for BatchedRows<'_, '_> {
    fn put(&mut self, row: RowId, value: Vec<u8>, last_touched_ms: i64) {
        let key = timelines::key(&self.prefix, row);
        let mut stamped = Vec::with_capacity(Stamp::BYTES + value.len());
        Stamp::write(stream_seconds(last_touched_ms), &mut stamped);
        stamped.extend_from_slice(&value);
        self.batch.put(Family::Timelines, &key, &stamped);
    }

    fn delete(&mut self, row: RowId) {
        let key = timelines::key(&self.prefix, row);
        self.batch.delete(Family::Timelines, &key);
    }
}

impl From<sessions::Damaged> for StoreError {
    fn from(_: sessions::Damaged) -> Self {
        Self::Damaged(Damaged { kind: Family::Timelines.name() })
    }
}
