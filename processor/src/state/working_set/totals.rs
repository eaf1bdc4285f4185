//! The rows over all users in memory.

use super::day_row::DayRow;
use super::days::Place;
use crate::state::key::Key;
use crate::state::quarters::Sums;
use crate::state::store::{Store, StoreError};
use crate::state::stream_time::Moment;
use crate::state::ttl::Spans;
use crate::state::{Damaged, Family};
use rocksdb::WriteBatch;
use rustc_hash::FxHashMap;

/// How many rows are kept in memory from one write to the next: a month of a hundred events.
const ROWS_MAX: usize = 4_096;

/// Rows of one kind, by day and subject.
#[derive(Debug)]
pub(super) struct Totals<S> {
    rows: FxHashMap<Place, DayRow<S>>,
    changed: Vec<Place>,
}

impl<S> Default for Totals<S> {
    fn default() -> Self {
        Self { rows: FxHashMap::default(), changed: Vec::new() }
    }
}

impl<S: Sums> Totals<S> {
    pub(super) fn add(&mut self, place: Place, quarter: u8, sums: S, at: Moment, spans: Spans) {
        let row = self.rows.entry(place).or_insert_with(|| DayRow::unread(at));
        if !row.is_changed() {
            self.changed.push(place);
        }
        row.add(quarter, sums, at, spans);
    }

    /// Puts what has changed into `batch`: by quarter in `quarters`, by day in `days`. `subject` gives the bytes of one.
    pub(super) fn write<'n>(
        &mut self,
        store: &Store,
        batch: &mut WriteBatch,
        (quarters, days): (Family, Family),
        spans: Spans,
        subject: impl Fn(u32) -> &'n [u8],
    ) -> Result<(), StoreError> {
        let Self { rows, changed } = self;
        changed.sort_unstable_by(|a, b| a.order(*b, &subject));
        let keyed = |place: &Place| {
            let mut key = Key::new();
            place.write_key(subject(place.subject), &mut key);
            (*place, key)
        };
        let changed: Vec<_> = changed.drain(..).map(|place| keyed(&place)).collect();
        let unread: Vec<_> =
            changed.iter().filter(|(place, _)| rows.get(place).is_some_and(DayRow::is_to_be_read)).collect();
        let stored = store.get_many(quarters, unread.iter().map(|(_, key)| key.as_slice()));
        for ((place, _), stored) in unread.iter().zip(stored) {
            let stored = stored?;
            let row = rows.get_mut(place).and_then(|row| row.complete(stored.as_deref(), spans));
            row.ok_or(Damaged { kind: quarters.name() })?;
        }
        let mut value = Vec::new();
        for (place, key) in &changed {
            if let Some(row) = rows.get_mut(place) {
                row.write(&mut value);
                store.put(batch, quarters, key, &value);
                row.write_total(&mut value);
                store.put(batch, days, key, &value);
            }
        }
        if rows.len() > ROWS_MAX {
            rows.clear();
        }
        Ok(())
    }
}
