//! The rows over all users in memory: of days, which are added to, and of stretches, into which whole days are put.

use super::day_row::DayRow;
use super::days::Place;
use crate::state::batch::Batch;
use crate::state::key::{Key, push_day};
use crate::state::quarters::Sums;
use crate::state::store::{Store, StoreError};
use crate::state::stream_time::Moment;
use crate::state::stretches::{Stretch, stretch_of};
use crate::state::ttl::{Life, Spans, StreamSeconds};
use crate::state::{Damaged, Family};
use rustc_hash::FxHashMap;

/// How many rows of days are kept in memory from one write to the next: a month of a hundred events. Tests pass it with less.
const ROWS_MAX: usize = if cfg!(test) { 16 } else { 4_096 };

/// Rows of one kind, by day and subject, and by stretch and subject.
#[derive(Debug)]
pub(super) struct Totals<S> {
    rows: FxHashMap<Place, DayRow<S>>,
    changed: Vec<Place>,
    stretches: FxHashMap<StretchPlace, Stretch<S>>,
}

/// A stretch and what follows it in a row's key.
type StretchPlace = (i32, u32);

impl<S> Default for Totals<S> {
    fn default() -> Self {
        Self { rows: FxHashMap::default(), changed: Vec::new(), stretches: FxHashMap::default() }
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

    /// Puts what has changed into `batch`: by quarter in `quarters`, by day in `stretches`, from which goes what is over at `now`.
    /// `subject` gives the bytes of one.
    pub(super) fn write<'n>(
        &mut self,
        store: &Store,
        batch: &mut Batch<'_>,
        (quarters, stretches): (Family, Family),
        spans: Spans,
        now: StreamSeconds,
        subject: impl Fn(u32) -> &'n [u8],
    ) -> Result<(), StoreError> {
        self.changed.sort_unstable_by(|a, b| a.order(*b, &subject));
        self.write_quarters(store, batch, quarters, spans, &subject)?;
        self.write_stretches(
            store,
            batch,
            stretches,
            |touched| spans.is_over(Life::Retention, touched, now),
            &subject,
        )?;
        self.changed.clear();
        if self.rows.len() > ROWS_MAX {
            *self = Self::default();
        }
        Ok(())
    }

    fn write_quarters<'n>(
        &mut self,
        store: &Store,
        batch: &mut Batch<'_>,
        family: Family,
        spans: Spans,
        subject: impl Fn(u32) -> &'n [u8],
    ) -> Result<(), StoreError> {
        let Self { rows, changed, .. } = self;
        let keyed = |place: &Place| {
            let mut key = Key::new();
            place.write_key(subject(place.subject), &mut key);
            (*place, key)
        };
        let changed: Vec<_> = changed.iter().map(keyed).collect();
        let unread: Vec<_> =
            changed.iter().filter(|(place, _)| rows.get(place).is_some_and(DayRow::is_to_be_read)).collect();
        let stored = store.get_many(family, unread.iter().map(|(_, key)| key.as_slice()));
        for ((place, _), stored) in unread.iter().zip(stored) {
            let stored = stored?;
            let row = rows.get_mut(place).and_then(|row| row.complete(stored.as_deref(), spans));
            row.ok_or(Damaged { kind: family.name() })?;
        }
        let mut value = Vec::new();
        for (place, key) in &changed {
            if let Some(row) = rows.get_mut(place) {
                row.write(&mut value);
                batch.put(family, key, &value);
            }
        }
        Ok(())
    }

    /// After [`Totals::write_quarters`], when every changed row is whole.
    fn write_stretches<'n>(
        &mut self,
        store: &Store,
        batch: &mut Batch<'_>,
        family: Family,
        is_over: impl Fn(StreamSeconds) -> bool,
        subject: impl Fn(u32) -> &'n [u8],
    ) -> Result<(), StoreError> {
        let Self { rows, changed, stretches } = self;
        let keyed = |place: &Place| {
            let (stretch, _) = stretch_of(place.day);
            let mut key = Key::new();
            push_day(&mut key, stretch, subject(place.subject));
            (key, (stretch, place.subject))
        };
        let mut touched: Vec<(Key, StretchPlace)> = changed.iter().map(keyed).collect();
        touched.sort_unstable();
        touched.dedup();
        let unread: Vec<_> = touched.iter().filter(|(_, place)| !stretches.contains_key(place)).collect();
        let stored = store.get_many(family, unread.iter().map(|(key, _)| key.as_slice()));
        for ((_, place), stored) in unread.iter().zip(stored) {
            let stretch = match stored? {
                Some(value) => Stretch::read(&value).ok_or(Damaged { kind: family.name() })?,
                None => Stretch::default(),
            };
            stretches.insert(*place, stretch);
        }
        for place in changed.iter() {
            let (stretch, at) = stretch_of(place.day);
            if let (Some(row), Some(stretch)) = (rows.get(place), stretches.get_mut(&(stretch, place.subject))) {
                stretch.put(row.total(at));
            }
        }
        let mut value = Vec::new();
        for (key, place) in &touched {
            if let Some(stretch) = stretches.get_mut(place) {
                stretch.forget(&is_over);
                stretch.write(&mut value);
                batch.put(family, key, &value);
            }
        }
        Ok(())
    }
}
