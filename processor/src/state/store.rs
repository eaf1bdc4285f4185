//! One partition's RocksDB: how it is opened, read, written and flushed.
//!
//! RocksDB's own write-ahead log is off: the event log is the write-ahead log. Memtables of all families are flushed
//! together (`atomic_flush`), so that what a crash leaves is the state at some earlier offset, whole.

use super::batch::Batch;
use super::identity::{self, Identity, MadeWith};
use super::memory::Memory;
use super::options::{db_options, family_options, table_options};
use super::progress::{self, Progress};
use super::ttl::{DurableTime, Spans};
use super::{Damaged, Family};
use fail::fail_point;
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, FlushOptions, Options, WriteOptions};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many rows are read at once. RocksDB itself looks for 32 at a time.
const ROWS_AT_ONCE: usize = 256;

/// Why a store can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the store in {folder}: {source}", folder = .folder.display())]
    Db { folder: PathBuf, source: rocksdb::Error },
    #[error("the store in {folder}: {source}", folder = .folder.display())]
    Refused { folder: PathBuf, source: identity::Mismatch },
    #[error("the store in {folder} has lost {what}", folder = .folder.display())]
    Incomplete { folder: PathBuf, what: &'static str },
    #[error("more rows are asked for than are read at hand")]
    NotAtHand,
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// The state of one partition.
pub(crate) struct Store {
    pub(super) db: DB,
    folder: PathBuf,
    durable_time: DurableTime,
    write_options: WriteOptions,
    /// How many failed flushes and compactions are known of.
    background_errors: AtomicU64,
    #[cfg(test)]
    work: Work,
}

/// How many rows were asked for and written, for the proofs of what an event costs.
#[cfg(test)]
#[derive(Debug, Default)]
struct Work {
    rows_read: AtomicU64,
    rows_written: AtomicU64,
}

impl Store {
    /// Opens the store in `folder`, making it where there is none.
    pub(crate) fn open(folder: &Path, identity: &Identity, spans: Spans, memory: &Memory) -> Result<Self, StoreError> {
        // A store is made with its identity on disk. Where there are files of data, RocksDB must not make up for what is
        // missing beside them: it would be empty, and answered from.
        let is_made = has_data(folder);
        if is_made {
            expect_all_families(folder, identity)?;
        }
        let durable_time = DurableTime::default();
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, spans, &durable_time, memory))
        });
        let default = ColumnFamilyDescriptor::new("default", table_options(memory));
        let mut options = db_options(memory);
        options.create_if_missing(!is_made);
        options.create_missing_column_families(!is_made);
        let db = DB::open_cf_descriptors(&options, folder, std::iter::once(default).chain(families))
            .map_err(|source| StoreError::Db { folder: folder.into(), source })?;

        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let store = Self {
            db,
            folder: folder.into(),
            durable_time,
            write_options,
            background_errors: AtomicU64::new(0),
            #[cfg(test)]
            work: Work::default(),
        };
        match store.db.get(identity::KEY).map_err(|source| store.error(source))? {
            Some(found) => {
                identity.check(&found).map_err(|source| StoreError::Refused { folder: folder.into(), source })?;
            }
            None if is_made => return Err(StoreError::Incomplete { folder: folder.into(), what: "its identity" }),
            None => {
                let mut batch = store.batch(0);
                batch.put_default(identity::KEY, identity.encode().as_ref());
                store.write(batch)?;
                store.flush()?;
            }
        }
        store.durable_time.set(store.progress()?.map_or(0, |progress| progress.stream_time));
        Ok(store)
    }

    /// Opens the store in `folder` to be read alone, whatever it was made for, and says how long its rows live. Changes
    /// nothing in the folder.
    pub(crate) fn open_read_only(folder: &Path, memory: &Memory) -> Result<(Self, Spans), StoreError> {
        let mut options = table_options(memory);
        options.set_max_open_files(512);
        let open = |families: &[&str]| {
            let families = families.iter().map(|name| ColumnFamilyDescriptor::new(*name, table_options(memory)));
            let db = DB::open_cf_descriptors_read_only(&options, folder, families, false)
                .map_err(|source| StoreError::Db { folder: folder.into(), source })?;
            Ok::<_, StoreError>(Self {
                db,
                folder: folder.into(),
                durable_time: DurableTime::default(),
                write_options: WriteOptions::default(),
                background_errors: AtomicU64::new(0),
                #[cfg(test)]
                work: Work::default(),
            })
        };
        // Another format may have other families.
        let identity = open(&["default"])?;
        let found = identity.db.get(identity::KEY).map_err(|source| identity.error(source))?.unwrap_or_default();
        let made_with =
            MadeWith::read(&found).map_err(|source| StoreError::Refused { folder: folder.into(), source })?;
        drop(identity);
        let families: Vec<_> = std::iter::once("default").chain(Family::ALL.map(Family::name)).collect();
        Ok((open(&families)?, Spans { retention: made_with.retention_seconds }))
    }

    /// How far the state is; `None` where nothing has been folded yet.
    pub(crate) fn progress(&self) -> Result<Option<Progress>, StoreError> {
        let value = self.db.get_pinned(progress::KEY).map_err(|source| self.error(source))?;
        Ok(value.map(|value| Progress::decode(&value)).transpose()?)
    }

    /// Reads many rows of a family; `keys` are in order. A row that was read and not let go of yet keeps its block in
    /// memory, whether the cache has room for it or not: they come a few at a time.
    pub(crate) fn get_many<'k>(
        &self,
        family: Family,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> impl Iterator<Item = Result<Option<rocksdb::DBPinnableSlice<'_>>, StoreError>> {
        let family = self.handle(family);
        let mut keys = keys.into_iter();
        let some_rows = move || {
            let some: Vec<_> = keys.by_ref().take(ROWS_AT_ONCE).collect();
            #[cfg(test)]
            self.count(some.len() as u64, 0);
            (!some.is_empty()).then(|| self.db.batched_multi_get_cf(family, some, true))
        };
        std::iter::from_fn(some_rows).flatten().map(|row| row.map_err(|source| self.error(source)))
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        #[cfg(test)]
        self.count(1, 0);
        self.db.get_cf(self.handle(family), key).map_err(|source| self.error(source))
    }

    /// An empty batch with room for so many bytes.
    pub(crate) fn batch(&self, room_bytes: usize) -> Batch<'_> {
        Batch::new(self, room_bytes)
    }

    /// Makes `batch` visible, all of it at once. It is durable after the next [`Store::flush`], or folded again.
    pub(crate) fn write(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        self.db.write_opt(batch.into_rows(), &self.write_options).map_err(|source| self.error(source))
    }

    /// Brings everything written so far to disk.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        let written = self.progress()?;
        let families: Vec<&ColumnFamily> = std::iter::once("default")
            .chain(Family::ALL.map(Family::name))
            .filter_map(|name| self.db.cf_handle(name))
            .collect();
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|source| self.error(source))?;
        fail_point!("store-flushed", |_| std::process::abort());
        self.durable_time.set(written.map_or(0, |progress| progress.stream_time));
        Ok(())
    }

    /// Finds out about a flush or a compaction that has failed since the last time: RocksDB says why to the next write.
    pub(crate) fn check_background(&self) -> Result<(), StoreError> {
        let failed = self.db.property_int_value("rocksdb.background-errors").ok().flatten().unwrap_or(0);
        if self.background_errors.swap(failed, Ordering::Relaxed) < failed
            && let Some(identity) = self.db.get(identity::KEY).map_err(|source| self.error(source))?
        {
            let mut batch = self.batch(0);
            batch.put_default(identity::KEY, &identity);
            self.write(batch)?;
        }
        Ok(())
    }

    /// Bytes of the files on disk and of what is still in memory.
    pub(crate) fn bytes(&self) -> u64 {
        std::iter::once("default")
            .chain(Family::ALL.map(Family::name))
            .filter_map(|name| self.db.cf_handle(name))
            .flat_map(|family| {
                ["rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables"]
                    .map(|property| self.db.property_int_value_cf(family, property).ok().flatten().unwrap_or(0))
            })
            .sum()
    }

    /// Compacts every family now, as RocksDB does by itself sooner or later.
    #[cfg(test)]
    pub(crate) fn compact(&self) {
        for family in Family::ALL {
            self.db.compact_range_cf(self.handle(family), None::<&[u8]>, None::<&[u8]>);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self, rows_read: u64, rows_written: u64) {
        self.work.rows_read.fetch_add(rows_read, Ordering::Relaxed);
        self.work.rows_written.fetch_add(rows_written, Ordering::Relaxed);
    }

    /// Takes everything out, as if just made: to open a store is most of what a small test costs.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        let mut batch = rocksdb::WriteBatch::default();
        batch.delete(progress::KEY);
        for family in Family::ALL {
            for row in self.db.iterator_cf(self.handle(family), rocksdb::IteratorMode::Start) {
                batch.delete_cf(self.handle(family), row.expect("a readable store").0);
            }
        }
        self.db.write_opt(batch, &self.write_options).expect("a writable store");
        self.durable_time.reset();
    }

    /// Copies the files as a crash at this moment would leave them, while compactions go on.
    #[cfg(test)]
    pub(crate) fn copy_files_to(&self, folder: &Path) -> std::io::Result<()> {
        self.db.disable_file_deletions().expect("an open store");
        let list = || Ok::<_, std::io::Error>(std::fs::read_dir(&self.folder)?.map_while(Result::ok));
        let copy = |entry: std::fs::DirEntry| match std::fs::copy(entry.path(), folder.join(entry.file_name())) {
            // It was on its way out before: nothing needs it, or opening the copy would say so.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            copied => copied.map(drop),
        };
        let is_table = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "sst");
        // What says which tables there are comes first: all that it names are still there afterwards.
        list()?.filter(|entry| !is_table(entry) && entry.file_name() != "LOCK").try_for_each(copy)?;
        list()?.filter(is_table).try_for_each(copy)
    }

    /// How many rows were read and written so far.
    #[cfg(test)]
    pub(crate) fn work(&self) -> (u64, u64) {
        (self.work.rows_read.load(Ordering::Relaxed), self.work.rows_written.load(Ordering::Relaxed))
    }

    pub(super) fn handle(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("every family is opened with the store")
    }

    pub(super) fn error(&self, source: rocksdb::Error) -> StoreError {
        StoreError::Db { folder: self.folder.clone(), source }
    }
}

/// Whether `folder` has files of data. A folder that can't be looked into is RocksDB's to judge.
fn has_data(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.into_iter().any(|file| Path::new(&file.file_name()).extension().is_some_and(|extension| extension == "sst"))
}

/// Another format may have other families, which is for the identity to say; a store of this one has all of ours.
fn expect_all_families(folder: &Path, identity: &Identity) -> Result<(), StoreError> {
    let incomplete = |what| StoreError::Incomplete { folder: folder.into(), what };
    let failed = |source| StoreError::Db { folder: folder.into(), source };
    if !folder.join("CURRENT").exists() {
        return Err(incomplete("its file CURRENT"));
    }
    let options = Options::default();
    let found: BTreeSet<_> = DB::list_cf(&options, folder).map_err(failed)?.into_iter().collect();
    let wanted = std::iter::once("default").chain(Family::ALL.map(Family::name));
    if found == wanted.map(str::to_owned).collect() {
        return Ok(());
    }
    let db = DB::open_cf_for_read_only(&options, folder, ["default"], false).map_err(failed)?;
    if let Some(said) = db.get(identity::KEY).map_err(failed)? {
        identity.check(&said).map_err(|source| StoreError::Refused { folder: folder.into(), source })?;
    }
    Err(incomplete("some of its column families"))
}
