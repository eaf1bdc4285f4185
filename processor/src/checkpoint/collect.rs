//! What no longer is of use in the object store: all checkpoints but the newest few, and files that none of these names.
//!
//! Another process may be uploading at the same time: files first, and what names them last. So a file that no manifest
//! names is left alone until it is older than a grace. Files are listed before manifests, so that whatever was
//! named before its listing is seen to be. One race is left: a process that stands still between listing and deleting,
//! while another begins to count on a file that has been unnamed for long. The list is good for a minute only, the other one
//! looks again after its manifest ([`super::upload`]), and a checkpoint without a file is passed over for the one before.

use super::area::{Area, CheckpointError};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use track_log::Offset;

/// How long after listing a file may be deleted.
const LIST_IS_GOOD_FOR: Duration = Duration::from_secs(60);
/// Files deleted between two looks at the time.
const DELETED_AT_ONCE: usize = 100;

/// What was removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(crate) manifests: usize,
    pub(crate) files: usize,
}

/// Removes all but the newest `kept` checkpoints, and the unnamed files that were there for `grace_ms` at `now_ms`.
pub(crate) async fn collect(
    area: &Area,
    kept: usize,
    now_ms: i64,
    grace_ms: i64,
) -> Result<Collected, CheckpointError> {
    let listed = Instant::now();
    let files = area.list_files().await?;
    let manifests = area.list_manifests().await?;
    let (mut named, mut readable) = (BTreeSet::new(), 0);
    let mut over: Vec<Offset> = Vec::new();
    for (&next_offset, &modified_ms) in manifests.iter().rev() {
        if readable == kept {
            over.push(next_offset);
            continue;
        }
        match area.read_manifest(next_offset).await {
            Ok(manifest) => {
                readable += 1;
                named.extend(manifest.files.into_iter().map(|file| file.hash));
            }
            // It takes nobody's place. Whoever wants to know what happened to it has until the end of the grace.
            Err(CheckpointError::Unusable(reason)) if now_ms - modified_ms >= grace_ms => {
                tracing::warn!(next_offset, reason, "a checkpoint that can't be used is removed");
                over.push(next_offset);
            }
            Err(CheckpointError::Unusable(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let unnamed =
        files.into_iter().filter(|(hash, file)| !named.contains(hash) && now_ms - file.modified_ms >= grace_ms);
    let unnamed: Vec<String> = unnamed.map(|(hash, _)| hash).collect();
    // What names a file goes first: a checkpoint that is there is whole.
    area.delete_manifests(&over).await?;
    let mut collected = Collected { manifests: over.len(), files: 0 };
    for hashes in unnamed.chunks(DELETED_AT_ONCE) {
        if listed.elapsed() > LIST_IS_GOOD_FOR {
            break;
        }
        area.delete_files(hashes).await?;
        collected.files += hashes.len();
    }
    Ok(collected)
}
