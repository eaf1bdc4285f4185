//! Everything in a store at one moment, to be read through while folding goes on.
//!
//! A snapshot does not keep compactions from dropping what is over by now and was not at its moment: only what an iterator
//! stands on stays. So the iterators of all families are opened together, at that moment.

use super::Family;
use super::progress::Progress;
use super::store::{Store, StoreError};
use super::view::View;
use rocksdb::DBRawIterator;
use std::ops::ControlFlow;

/// All rows with a time to live, by family.
pub(crate) struct Whole<'a> {
    store: &'a Store,
    progress: Progress,
    families: Vec<(Family, DBRawIterator<'a>)>,
}

impl<'a> Whole<'a> {
    pub(super) fn open(store: &'a Store, view: &'a View<'_>) -> Result<Self, StoreError> {
        let mut families = Family::ALL;
        families.sort_unstable_by_key(|family| family.name());
        let families = families.map(|family| (family, view.rows(family)));
        Ok(Self { store, progress: view.progress()?, families: families.into() })
    }

    /// How far the state was at this moment.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Calls `row` with family, key and value of every row until it breaks off: families in the order of their names, rows
    /// in that of their keys.
    pub(crate) fn read_through<B>(
        self,
        mut row: impl FnMut(Family, &[u8], &[u8]) -> Result<ControlFlow<B>, StoreError>,
    ) -> Result<ControlFlow<B>, StoreError> {
        for (family, mut rows) in self.families {
            while let Some((key, value)) = rows.item() {
                if let ControlFlow::Break(reason) = row(family, key, value)? {
                    return Ok(ControlFlow::Break(reason));
                }
                rows.next();
            }
            rows.status().map_err(|source| self.store.error(source))?;
        }
        Ok(ControlFlow::Continue(()))
    }
}
