//! A store at one moment, read by ranges of rows.

use super::progress::{self, Progress};
use super::store::{Store, StoreError};
use super::whole::Whole;
use super::{Damaged, Family};
use rocksdb::{DBRawIterator, ReadOptions, ReadTier, Snapshot};
use std::cell::Cell;

/// How many rows are read at hand: a thread that others need is gone for a millisecond or so.
const ROWS_AT_HAND_MAX: usize = 1_000;
/// How many rows take as long to read as one takes to find.
const ROWS_A_SCAN: usize = 16;

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

    /// As [`Store::view`], for a thread that must not wait for the disk: what would have to be read from there, and more than
    /// some rows, is an error.
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
        self.charge(ROWS_A_SCAN)?;
        let mut options = self.read_options();
        options.set_iterate_upper_bound(to);
        let mut rows: DBRawIterator<'_> = self.snapshot.raw_iterator_cf_opt(self.store.handle(family), options);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            self.charge(1)?;
            row(key, value)?;
            rows.next();
        }
        rows.status().map_err(|source| self.store.error(source))
    }

    fn charge(&self, rows: usize) -> Result<(), StoreError> {
        if let Some(left) = &self.rows_left {
            left.set(left.get().checked_sub(rows).ok_or(StoreError::NotAtHand)?);
        }
        Ok(())
    }

    fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if self.rows_left.is_some() {
            options.set_read_tier(ReadTier::BlockCache);
            // What was deleted and is passed over is no row.
            options.set_max_skippable_internal_keys(ROWS_AT_HAND_MAX as u64);
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
    use rocksdb::ErrorKind;
    use std::ops::Range;
    use std::path::Path;

    const FAMILY: Family = Family::Marks;
    /// Stamped with the end of time.
    const VALUE: [u8; 400] = [0xff; 400];

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

    fn key(row: usize) -> Vec<u8> {
        format!("{row:08}").into_bytes()
    }

    /// A block has a few dozen of them.
    fn fill(store: &Store, rows: usize) {
        let mut batch = store.batch(0);
        (0..rows).for_each(|row| batch.put(FAMILY, &key(row), &VALUE));
        store.write(batch).unwrap();
    }

    fn all() -> Range<Vec<u8>> {
        key(0)..vec![0xff]
    }

    fn scan(view: &View<'_>, keys: Range<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut rows = Vec::new();
        view.scan(FAMILY, &keys.start, &keys.end, |key, _| {
            rows.push(key.to_vec());
            Ok(())
        })?;
        Ok(rows)
    }

    fn is_elsewhere(error: &StoreError) -> bool {
        matches!(error, StoreError::Db { source, .. } if source.kind() == ErrorKind::Incomplete)
    }

    #[test]
    fn so_many_rows_and_no_more_are_at_hand() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        fill(&store, ROWS_AT_HAND_MAX - ROWS_A_SCAN);
        assert_eq!(scan(&store.view_at_hand(), all()).unwrap().len(), ROWS_AT_HAND_MAX - ROWS_A_SCAN);
        fill(&store, ROWS_AT_HAND_MAX - ROWS_A_SCAN + 1);
        assert!(matches!(scan(&store.view_at_hand(), all()), Err(StoreError::NotAtHand)));
        assert_eq!(scan(&store.view(), all()).unwrap().len(), ROWS_AT_HAND_MAX - ROWS_A_SCAN + 1);
    }

    #[test]
    fn a_scan_that_finds_nothing_is_paid_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let view = store.view_at_hand();
        let scans = (0..).take_while(|_| scan(&view, all()).is_ok()).count();
        assert_eq!(scans, ROWS_AT_HAND_MAX / ROWS_A_SCAN);
    }

    #[test]
    fn what_was_deleted_is_not_passed_over_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        fill(&store, 10 * ROWS_AT_HAND_MAX);
        let mut batch = store.batch(0);
        (0..10 * ROWS_AT_HAND_MAX - 1).for_each(|row| batch.delete(FAMILY, &key(row)));
        store.write(batch).unwrap();
        assert!(scan(&store.view_at_hand(), all()).is_err_and(|error| is_elsewhere(&error)));
        assert_eq!(scan(&store.view(), all()).unwrap(), [key(10 * ROWS_AT_HAND_MAX - 1)]);
    }

    /// Each row in some block of one table, some of which are in memory: what is at hand has no gap.
    #[test]
    fn what_is_on_disk_alone_is_at_hand_once_it_has_been_read() {
        const ROWS: usize = 800;
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        fill(&store, ROWS);
        store.flush().unwrap();
        drop(store);
        let store = open(folder.path());
        assert!(scan(&store.view_at_hand(), all()).is_err_and(|error| is_elsewhere(&error)));
        let middle = || key(300)..key(500);
        let read = scan(&store.view(), middle()).unwrap();
        assert_eq!(read, (300..500).map(key).collect::<Vec<_>>());
        assert_eq!(scan(&store.view_at_hand(), middle()).unwrap(), read);
        for elsewhere in [key(0)..key(500), key(300)..key(ROWS)] {
            assert!(scan(&store.view_at_hand(), elsewhere).is_err_and(|error| is_elsewhere(&error)));
        }
        let everything = scan(&store.view(), all()).unwrap();
        assert_eq!(scan(&store.view_at_hand(), all()).unwrap(), everything);
        assert_eq!(everything.len(), ROWS);
    }
}
