//! Rows that are written together: all of them are seen, or none.

use super::Family;
use super::store::Store;
use rocksdb::{ColumnFamily, WriteBatch};

/// What is to be written to a store.
pub(crate) struct Batch<'s> {
    rows: WriteBatch,
    /// In the order of [`Family::ALL`]. A store finds its families by their names: once a batch, and not for each row.
    families: [&'s ColumnFamily; Family::ALL.len()],
    #[cfg(test)]
    store: &'s Store,
}

impl<'s> Batch<'s> {
    /// An empty one with room for so many bytes: one that has to grow leaves behind what it has outgrown.
    pub(super) fn new(store: &'s Store, room_bytes: usize) -> Self {
        Self {
            rows: WriteBatch::with_capacity_bytes(room_bytes),
            families: Family::ALL.map(|family| store.handle(family)),
            #[cfg(test)]
            store,
        }
    }

    /// Puts a row in.
    pub(crate) fn put(&mut self, family: Family, key: &[u8], value: &[u8]) {
        #[cfg(test)]
        self.store.count(0, 1);
        self.rows.put_cf(self.families[family as usize], key, value);
    }

    /// Takes a row away.
    pub(crate) fn delete(&mut self, family: Family, key: &[u8]) {
        #[cfg(test)]
        self.store.count(0, 1);
        self.rows.delete_cf(self.families[family as usize], key);
    }

    /// Puts in a row that lives for ever, of the family `default`.
    pub(crate) fn put_default(&mut self, key: &[u8], value: &[u8]) {
        self.rows.put(key, value);
    }

    /// What it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.size_in_bytes()
    }

    /// The rows, for RocksDB.
    pub(super) fn into_rows(self) -> WriteBatch {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_where_their_numbers_say() {
        assert!(Family::ALL.iter().enumerate().all(|(at, family)| *family as usize == at));
    }
}
