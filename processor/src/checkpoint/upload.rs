//! From a snapshot to a checkpoint in the object store: first the files that are not there, then the manifest.
//!
//! Files have the hash of their content for a name, so that a table is uploaded once however many checkpoints have it, and
//! whoever uploads it. Several processes may do so at a time: replicas, and an owner that does not know yet that it is
//! none any more. They share files and collect what is left over ([`super::collect`]), so a file may go away between
//! being seen and being named. Against that
//!
//! 1. a file is counted on only where the newest manifest names it, or where it is young: neither is collected soon;
//! 2. after the manifest is written, whatever is missing by then is uploaded again, while the snapshot is still there.

use super::area::{Area, CheckpointError, Uploaded};
use super::manifest::{Manifest, NamedFile};
use super::snapshot::Snapshot;
use fail::fail_point;
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use track_log::Offset;

/// Files on their way at the same time.
const FILES_AT_ONCE: usize = 2;

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is a checkpoint now.
    Written { files: usize, bytes: u64 },
    /// There is one already of this offset or one further ahead.
    Covered { by: Offset },
}

/// Makes a checkpoint of `snapshot`. `now_ms` is the time, and `grace_ms` how long an unnamed file is left alone.
pub(crate) async fn upload(
    area: &Area,
    snapshot: &Snapshot,
    now_ms: i64,
    grace_ms: i64,
) -> Result<Outcome, CheckpointError> {
    let manifest = snapshot.manifest();
    let newest = area.list_manifests().await?.last_key_value().map(|(next_offset, _)| *next_offset);
    let named = match newest {
        Some(newest) => named_by(area, newest).await?,
        None => None,
    };
    // One that can't be used covers nothing.
    if let (Some(by), Some(_)) = (newest.filter(|newest| *newest >= manifest.next_offset), &named) {
        return Ok(Outcome::Covered { by });
    }
    let named = named.unwrap_or_default();
    let there = area.list_files().await?;
    let can_count_on = |file: &&NamedFile| {
        let is_young = |uploaded: &Uploaded| now_ms - uploaded.modified_ms < grace_ms / 2;
        there
            .get(&file.hash)
            .is_some_and(|uploaded| uploaded.bytes == file.bytes && (named.contains(&file.hash) || is_young(uploaded)))
    };
    let missing = distinct(manifest.files.iter().filter(|file| !can_count_on(file)));
    upload_files(area, snapshot, &missing).await?;
    fail_point!("checkpoint-files-uploaded", |_| std::process::abort());
    area.write_manifest(manifest).await?;
    fail_point!("checkpoint-manifest-written", |_| std::process::abort());
    let there = area.list_files().await?;
    let lost = distinct(manifest.files.iter().filter(|file| !there.contains_key(&file.hash)));
    upload_files(area, snapshot, &lost).await?;
    let bytes = missing.iter().chain(&lost).map(|file| file.bytes).sum();
    Ok(Outcome::Written { files: missing.len() + lost.len(), bytes })
}

/// The files that a manifest names; `None` where it can't be used.
async fn named_by(area: &Area, next_offset: Offset) -> Result<Option<BTreeSet<String>>, CheckpointError> {
    match area.read_manifest(next_offset).await {
        Ok(Manifest { files, .. }) => Ok(Some(files.into_iter().map(|file| file.hash).collect())),
        Err(CheckpointError::Unusable(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each content once: files without any have the same.
fn distinct<'a>(files: impl Iterator<Item = &'a NamedFile>) -> Vec<&'a NamedFile> {
    files.map(|file| (&file.hash, file)).collect::<BTreeMap<_, _>>().into_values().collect()
}

async fn upload_files(area: &Area, snapshot: &Snapshot, files: &[&NamedFile]) -> Result<(), CheckpointError> {
    let uploads = files.iter().map(|file| {
        let path = snapshot.path(file);
        async move { area.upload(&path, file).await }
    });
    futures::stream::iter(uploads.collect::<Vec<_>>()).buffer_unordered(FILES_AT_ONCE).try_collect().await
}
