//! The rows by day of one user in memory.

use super::day_row::DayRow;
use super::prefetch::prefetch;
use crate::state::key::{Key, push_day};
use crate::state::quarters::Sums;
use crate::state::stream_time::Moment;
use crate::state::ttl::Spans;
use smallvec::SmallVec;
use std::cmp::Ordering;

/// How many rows are kept from one write to the next: they are looked through for each event.
const ROWS_MAX: usize = 2_000;

/// A day and what follows it in a row's key: the index of a name, or a session pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) day: i32,
    pub(super) subject: u32,
}

/// Some of a user's rows of one kind, in the order in which they came.
#[derive(Debug)]
pub(super) struct Days<S> {
    places: Vec<Place>,
    rows: Vec<DayRow<S>>,
    /// Which rows, in no order.
    changed: SmallVec<[u32; 4]>,
    /// Bytes that rows have beside their own size, as of the last write.
    spilled_bytes: usize,
}

impl<S> Default for Days<S> {
    fn default() -> Self {
        Self { places: Vec::new(), rows: Vec::new(), changed: SmallVec::new(), spilled_bytes: 0 }
    }
}

impl<S: Sums> Days<S> {
    /// Adds to a quarter of the row at `place`.
    pub(super) fn add(&mut self, place: Place, quarter: u8, sums: S, at: Moment, spans: Spans) {
        // The day that came last is the one that most events are of.
        let index = self.places.iter().rposition(|known| *known == place).unwrap_or_else(|| self.push(place, at));
        let row = &mut self.rows[index];
        if !row.is_changed() {
            self.changed.push(u32::try_from(index).expect("a user has no more rows than fit in memory"));
        }
        row.add(quarter, sums, at, spans);
    }

    /// Has the row that came last fetched into the cache.
    pub(super) fn expect(&self) {
        if let (Some(place), Some(row)) = (self.places.last(), self.rows.last()) {
            prefetch(place);
            prefetch(row);
        }
    }

    fn push(&mut self, place: Place, at: Moment) -> usize {
        // Most users have a row or two, and there are many users.
        if self.rows.len() < 4 {
            self.places.reserve_exact(1);
            self.rows.reserve_exact(1);
        }
        self.places.push(place);
        self.rows.push(DayRow::unread(at));
        self.rows.len() - 1
    }

    /// Puts the changed rows in the order of their keys, where `subject` gives the bytes of one.
    pub(super) fn sort_changed<'n>(&mut self, subject: impl Fn(u32) -> &'n [u8]) {
        let Self { places, changed, .. } = self;
        changed.sort_unstable_by(|a, b| places[*a as usize].order(places[*b as usize], &subject));
    }

    pub(super) fn changed(&self) -> impl Iterator<Item = (Place, &DayRow<S>)> {
        self.changed.iter().map(|index| (self.places[*index as usize], &self.rows[*index as usize]))
    }

    pub(super) fn try_for_each_changed<E>(
        &mut self,
        mut work: impl FnMut(Place, &mut DayRow<S>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.changed.iter().try_for_each(|index| work(self.places[*index as usize], &mut self.rows[*index as usize]))
    }

    /// Takes notice that everything is as in the batch that is written next.
    pub(super) fn settle(&mut self) {
        for index in std::mem::take(&mut self.changed) {
            let row = &mut self.rows[index as usize];
            self.spilled_bytes = (self.spilled_bytes + row.heap_bytes()).saturating_sub(row.settle());
        }
        if self.rows.len() > ROWS_MAX {
            *self = Self::default();
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>() + self.rows.capacity() * size_of::<DayRow<S>>() + self.spilled_bytes
    }
}

impl Place {
    /// The order of the keys, where `subject` gives the bytes of one.
    pub(super) fn order<'n>(self, other: Self, subject: impl Fn(u32) -> &'n [u8]) -> Ordering {
        self.day.cmp(&other.day).then_with(|| subject(self.subject).cmp(subject(other.subject)))
    }

    /// Appends the day and `subject` to a key.
    pub(super) fn write_key(self, subject: &[u8], key: &mut Key) {
        push_day(key, self.day, subject);
    }
}
