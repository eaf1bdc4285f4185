//! A store at one moment, read by ranges of rows.

use super::progress::{self, Progress};
use super::store::{Store, StoreError};
use super::whole::Whole;
use super::{Damaged, Family};
use rocksdb::{DBRawIterator, ReadOptions, ReadTier, Snapshot};
use std::cell::Cell;

/// How many rows are read at hand: a thread that others need is gone for a millisecond at most.
const ROWS_AT_HAND_MAX: usize = 1_000;

/// A moment of a store.
pub(crate) struct View<'a> {
    store: &'a Store,
    snapshot: Snapshot<'a>,
    /// How many rows may still be read, where only what is at hand is to be.
    rows_left: Option<Cell<usize>>,
}

impl Store {
    /// Everything as it is now, unmoved by what is written from here on.
    pub(crate) fn view(&self) -> View<'_> {
        View { store: self, snapshot: self.db.snapshot(), rows_left: None }
    }

    /// As [`Store::view`], for a thread that must not wait: what would have to be read from the disk, and more than some rows,
    /// is an error.
    pub(crate) fn view_at_hand(&self) -> View<'_> {
        View { rows_left: Some(Cell::new(ROWS_AT_HAND_MAX)), ..self.view() }
    }
}

impl View<'_> {
    /// How far the state was at this moment.
    pub(crate) fn progress(&self) -> Result<Progress, StoreError> {
        let value = self.snapshot.get_pinned_opt(progress::KEY, self.read_options());
        let value = value.map_err(|source| self.store.error(source))?;
        Ok(value.map(|value| Progress::decode(&value)).transpose()?.unwrap_or_default())
    }

    /// Calls `row` with key and value of every row from `from` up to and without `to`, in order.
    pub(crate) fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        mut row: impl FnMut(&[u8], &[u8]) -> Result<(), Damaged>,
    ) -> Result<(), StoreError> {
        let mut options = self.read_options();
        options.set_iterate_upper_bound(to);
        let mut rows: DBRawIterator<'_> = self.snapshot.raw_iterator_cf_opt(self.store.handle(family), options);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if let Some(left) = &self.rows_left {
                left.set(left.get().checked_sub(1).ok_or(StoreError::NotAtHand)?);
            }
            row(key, value)?;
            rows.next();
        }
        rows.status().map_err(|source| self.store.error(source))
    }

    fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if self.rows_left.is_some() {
            options.set_read_tier(ReadTier::BlockCache);
        }
        options
    }

    /// Everything, to be read through.
    pub(crate) fn whole(&self) -> Result<Whole<'_>, StoreError> {
        Whole::open(self.store, self)
    }

    /// The rows of a family from the first on. Leaves the block cache to those who come back to what they read.
    pub(super) fn rows(&self, family: Family) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut rows = self.snapshot.raw_iterator_cf_opt(self.store.handle(family), options);
        rows.seek_to_first();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::identity::Identity;
    use crate::state::memory::Memory;
    use crate::state::ttl::Spans;
    use std::path::Path;

    const FAMILY: Family = Family::Marks;

    fn open(folder: &Path) -> Store {
        let spans = Spans { retention: 400 * 86_400 };
        let identity = Identity {
            partition: 0,
            partition_count: 1,
            session_pairs: Vec::new(),
            session_duration_ms_max: 1,
            retention_seconds: spans.retention,
        };
        Store::open(folder, &identity, spans, &Memory::new(64 << 20)).unwrap()
    }

    fn fill(store: &Store, rows: usize) {
        let mut batch = store.batch(0);
        (0..rows).for_each(|row| batch.put(FAMILY, format!("{row:08}").as_bytes(), &u32::MAX.to_be_bytes()));
        store.write(batch).unwrap();
    }

    fn scan(view: &View<'_>) -> Result<usize, StoreError> {
        let mut rows = 0;
        view.scan(FAMILY, &[], &[0xff], |_, _| {
            rows += 1;
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn so_many_rows_and_no_more_are_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        fill(&store, ROWS_AT_HAND_MAX);
        assert_eq!(scan(&store.view_at_hand()).unwrap(), ROWS_AT_HAND_MAX);
        fill(&store, ROWS_AT_HAND_MAX + 1);
        assert!(matches!(scan(&store.view_at_hand()), Err(StoreError::NotAtHand)));
        assert_eq!(scan(&store.view()).unwrap(), ROWS_AT_HAND_MAX + 1);
    }

    #[test]
    fn what_is_on_disk_alone_is_at_hand_once_it_has_been_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        fill(&store, 10);
        store.flush().unwrap();
        drop(store);
        let store = open(folder.path());
        assert!(matches!(scan(&store.view_at_hand()), Err(StoreError::Db { .. })));
        assert_eq!(scan(&store.view()).unwrap(), 10);
        assert_eq!(scan(&store.view_at_hand()).unwrap(), 10);
    }
}
