//! The log's folder: held by one process, and made for one partition count.
//!
//! `lock` is locked while a process has the log open. `log.meta` says, as text, the format's version and the
//! partition count; it is written when all partitions have been made. `partition-0003/` holds the segments of one.

use super::{io_error, label};
use crate::{LogError, Partition};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;
const META: &str = "log.meta";

/// The folder, locked until this is dropped.
pub(super) struct Folder {
    dir: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder where there is none, and locks it.
    pub(super) fn lock(dir: &Path) -> Result<Self, LogError> {
        std::fs::create_dir_all(dir).map_err(|e| io_error("make the folder", dir, e))?;
        let path = dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| io_error("open", &path, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(LogError::Refused(format!(
                "the log in {} is in use by another process: stop that one, or give this one a folder of its own",
                dir.display()
            ))),
            Err(TryLockError::Error(e)) => Err(io_error("lock", &path, e)),
        }
    }

    /// Where a partition's segments lie.
    pub(super) fn partition(&self, partition: Partition) -> PathBuf {
        self.dir.join(format!("partition-{partition:04}"))
    }

    /// The partitions that have a folder, from this number on.
    pub(super) fn partitions_from(&self, first: Partition) -> Result<Vec<Partition>, LogError> {
        let read = || -> std::io::Result<Vec<Partition>> {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&self.dir)? {
                let name = entry?.file_name();
                let number = name.to_str().and_then(|name| name.strip_prefix("partition-")?.parse::<Partition>().ok());
                found.extend(number.filter(|number| *number >= first));
            }
            Ok(found)
        };
        read().map_err(|e| io_error("read", &self.dir, e))
    }

    /// Whether the log has been made, with just this partition count.
    pub(super) fn check_meta(&self, partition_count: u32) -> Result<bool, LogError> {
        match read_meta(&self.dir)? {
            None => Ok(false),
            Some(made) if made == partition_count => Ok(true),
            Some(made) => Err(LogError::Refused(format!(
                "the log in {} was made with {made} partitions and can't have {partition_count}: \
                 start with {made} partitions, or with a folder of its own",
                self.dir.display()
            ))),
        }
    }

    /// Says that the log has been made.
    pub(super) fn write_meta(&self, partition_count: u32) -> Result<(), LogError> {
        label::write(&self.dir, META, ("track embedded log", VERSION), ("partitions", partition_count))?;
        // The folder's own name, where it has just been made.
        let sync_name = || sync_dir(&self.dir.canonicalize()?.join(".."));
        sync_name().map_err(|e| io_error("write", &self.dir.join(META), e))
    }
}

/// How many partitions the log in `dir` was made with; `None` where none has been made.
pub(super) fn read_meta(dir: &Path) -> Result<Option<u32>, LogError> {
    let Some(meta) = label::read(dir, META)? else { return Ok(None) };
    match meta.field("version")? {
        VERSION => meta.field("partitions").map(Some),
        version => Err(LogError::Refused(format!(
            "the log in {} has format version {version}, and this program knows version {VERSION}: \
             start the version of track that wrote it, or give this one a folder of its own",
            dir.display()
        ))),
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Not left to the closing of the file: a process that is being started at this moment has a copy of it, and
        // would hold the folder until it runs its own program.
        let _ = self.lock.unlock();
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
