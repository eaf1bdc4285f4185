//! From a checkpoint to a store: the newest that is usable, checked file by file before anything here is changed.

use super::area::{Area, CheckpointError};
use super::manifest::Manifest;
use crate::state::identity::Identity;
use crate::state::memory::Memory;
use crate::state::snapshot::{self, Header};
use crate::state::store::Store;
use futures::{StreamExt as _, TryStreamExt as _};
use metrics::counter;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use track_log::{Offset, Partition};

/// Files on their way at the same time.
const FILES_AT_ONCE: usize = 4;
/// What a store is called while it is made, and what the one is called whose place it takes.
const MADE: &str = "restoring";
const REPLACED: &str = "replaced";

/// A store made from a checkpoint, which waits beside the place of the partition's own.
#[derive(Debug)]
pub(crate) struct Restored {
    folder: PathBuf,
    pub(crate) next_offset: Offset,
    /// When the log took the record before that.
    pub(crate) appended_ms: i64,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
}

/// What to look for.
pub(crate) struct Wanted<'a> {
    pub(crate) partition: Partition,
    pub(crate) identity: &'a Identity,
    /// Only what is further than this is of use.
    pub(crate) beyond: Offset,
    /// Where the log ends: a state beyond it was folded from another one.
    pub(crate) log_end: Offset,
    /// Read every row before the state is used: what was found damaged here may have been uploaded before that.
    pub(crate) reads_through: bool,
    pub(crate) memory: &'a Memory,
}

/// What keeps a checkpoint from being used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log is not the one that it was folded from.
    #[error("the checkpoint has everything before offset {next_offset}, and the log ends at {log_end}")]
    Ahead { next_offset: Offset, log_end: Offset },
}

/// Makes a store of the newest usable checkpoint, beside `store_folder`; `None` where no usable one is far enough. One that
/// can't be used is passed over for the one before.
pub(crate) async fn restore(
    area: &Area,
    store_folder: &Path,
    wanted: &Wanted<'_>,
) -> Result<Option<Restored>, RestoreError> {
    let mut tried = BTreeSet::new();
    let manifests = loop {
        // Looked at anew each time: while one was being fetched, newer ones may have taken the place of all that there were.
        let manifests = area.list_manifests().await?;
        let newest = manifests.keys().rev().find(|next_offset| !tried.contains(*next_offset));
        let Some(&next_offset) = newest.filter(|next_offset| **next_offset > wanted.beyond) else { break manifests };
        tried.insert(next_offset);
        match make(area, next_offset, store_folder, wanted).await {
            Ok(restored) => return Ok(Some(restored)),
            Err(RestoreError::Checkpoint(CheckpointError::Unusable(reason))) => {
                let partition = wanted.partition;
                counter!("track_checkpoint_unusable_total", "partition" => partition.to_string()).increment(1);
                tracing::warn!(partition, next_offset, reason, "a checkpoint can't be used, trying the one before");
            }
            Err(error) => return Err(error),
        }
    };
    if manifests.is_empty() && area.has_others().await? {
        let partition = wanted.partition;
        tracing::warn!(
            partition,
            "the checkpoints there are were made under other rules or by another version: not used"
        );
    }
    Ok(None)
}

async fn make(
    area: &Area,
    next_offset: Offset,
    store_folder: &Path,
    wanted: &Wanted<'_>,
) -> Result<Restored, RestoreError> {
    let began = Instant::now();
    let manifest = area.read_manifest(next_offset).await?;
    let unusable = |reason: String| CheckpointError::Unusable(reason);
    wanted.identity.check(manifest.identity.as_bytes()).map_err(|mismatch| unusable(mismatch.to_string()))?;
    if next_offset > wanted.log_end {
        return Err(RestoreError::Ahead { next_offset, log_end: wanted.log_end });
    }
    let (partition, files, bytes) = (wanted.partition, manifest.files.len(), manifest.bytes());
    tracing::info!(partition, next_offset, files, bytes, "fetching a checkpoint");
    let making = Making(store_folder.with_extension(MADE));
    let (folder, io) = (&making.0, CheckpointError::io(&making.0));
    remove_if_there(folder).and_then(|()| fs::create_dir_all(folder)).map_err(&io)?;
    download(area, &manifest, folder).await?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(&io)?;
    check(folder, &manifest, wanted).map_err(unusable)?;
    let folder = making.keep();
    Ok(Restored { folder, next_offset, appended_ms: manifest.appended_ms, bytes, took: began.elapsed() })
}

/// A folder that goes again where nothing comes of it: on a full disk it would keep the store beside it from going on.
struct Making(PathBuf);

impl Making {
    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty()
            && let Err(error) = remove_if_there(&self.0)
        {
            tracing::warn!(folder = %self.0.display(), %error, "what was fetched of a checkpoint can't be removed");
        }
    }
}

async fn download(area: &Area, manifest: &Manifest, folder: &Path) -> Result<(), CheckpointError> {
    let downloads = manifest.files.iter().map(|file| {
        let path = folder.join(&file.name);
        async move { area.download(file, &path).await }
    });
    futures::stream::iter(downloads.collect::<Vec<_>>()).buffer_unordered(FILES_AT_ONCE).try_collect().await
}

/// Whether the files are the state that the manifest says.
fn check(folder: &Path, manifest: &Manifest, wanted: &Wanted<'_>) -> Result<(), String> {
    let Header { identity, progress } = snapshot::read_header(folder).map_err(|error| error.to_string())?;
    if identity != manifest.identity || progress.next_offset != manifest.next_offset {
        return Err(format!("the manifest is not of this state, which is at offset {}", progress.next_offset));
    }
    if wanted.reads_through {
        read_through(folder, wanted.memory).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn read_through(folder: &Path, memory: &Memory) -> Result<(), crate::state::store::StoreError> {
    let (store, _) = Store::open_read_only(folder, memory)?;
    let view = store.view();
    let read: ControlFlow<()> = view.whole()?.read_through(|_, _, _| Ok(ControlFlow::Continue(())))?;
    debug_assert!(read.is_continue());
    Ok(())
}

impl Restored {
    /// Takes the place of the store in `store_folder`, which is closed, and removes that one.
    pub(crate) fn take_place(self, store_folder: &Path) -> std::io::Result<()> {
        let replaced = store_folder.with_extension(REPLACED);
        remove_if_there(&replaced)?;
        if store_folder.try_exists()? {
            fs::rename(store_folder, &replaced)?;
        }
        fs::rename(&self.folder, store_folder)?;
        if let Some(parent) = store_folder.parent() {
            File::open(parent)?.sync_all()?;
        }
        remove_if_there(&replaced)
    }
}

/// Puts in order what a crash has left beside the store's place: what was being made goes, what was being replaced comes back.
pub(crate) fn tidy(store_folder: &Path) -> std::io::Result<()> {
    remove_if_there(&store_folder.with_extension(MADE))?;
    let replaced = store_folder.with_extension(REPLACED);
    if replaced.try_exists()? && !store_folder.try_exists()? {
        return fs::rename(replaced, store_folder);
    }
    remove_if_there(&replaced)
}

fn remove_if_there(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
