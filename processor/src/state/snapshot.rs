//! A store as it was at one moment, in a folder of its own: RocksDB makes it of hard links, in milliseconds.

use super::identity;
use super::progress::{self, Progress};
use super::store::{Store, StoreError};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Options};
use std::path::Path;

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it was made for, as [`Identity::encode`](super::identity::Identity::encode) has it.
    pub(crate) identity: String,
    pub(crate) progress: Progress,
}

impl Store {
    /// Makes a snapshot in `folder`, which must not be there yet and has to be on the same disk. What is still in memory is
    /// flushed first, as in [`Store::flush`]; folding goes on meanwhile.
    pub(crate) fn snapshot(&self, folder: &Path) -> Result<(), StoreError> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder))
            .map_err(|source| self.error(source))
    }
}

/// Reads what the store in `folder` says of itself. Changes nothing there, and does not look at its other families.
pub(crate) fn read_header(folder: &Path) -> Result<Header, StoreError> {
    let failed = |source| StoreError::Db { folder: folder.into(), source };
    let db = DB::open_cf_for_read_only(&Options::default(), folder, ["default"], false).map_err(failed)?;
    let said = db.get(identity::KEY).map_err(failed)?;
    let said = said.ok_or_else(|| StoreError::Incomplete { folder: folder.into(), what: "its identity" })?;
    let progress = db.get(progress::KEY).map_err(failed)?;
    let progress = progress.map(|value| Progress::decode(&value)).transpose()?.unwrap_or_default();
    Ok(Header { identity: String::from_utf8_lossy(&said).into_owned(), progress })
}
