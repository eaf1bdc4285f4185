//! A checkpoint on its way: the files of a store at one moment, in a folder beside it, with the hash of each.

use super::area::CheckpointError;
use super::manifest::{Manifest, NamedFile};
use crate::state::snapshot::{self, Header};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use track_log::Offset;

/// A folder with a snapshot, which is removed with this.
pub(crate) struct Snapshot {
    folder: PathBuf,
    manifest: Manifest,
}

/// The hashes of tables that were seen before: their content never changes, and most of them are in every snapshot.
#[derive(Default)]
pub(crate) struct KnownHashes(BTreeMap<Table, String>);

/// What tells tables apart. A store that was folded again begins to number them anew.
type Table = (String, u64, SystemTime);

impl Snapshot {
    /// Reads what [`Store::snapshot`](crate::state::store::Store::snapshot) has left in `folder`; `None` where nobody
    /// wants it any more.
    pub(crate) fn read(
        folder: SnapshotFolder,
        known: &mut KnownHashes,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<Self>, CheckpointError> {
        let Header { identity, progress } =
            snapshot::read_header(&folder.0).map_err(|error| CheckpointError::Unusable(error.to_string()))?;
        let io = CheckpointError::io(&folder.0);
        let (mut files, mut seen) = (Vec::new(), BTreeMap::new());
        for entry in fs::read_dir(&folder.0).map_err(&io)? {
            if !is_wanted() {
                return Ok(None);
            }
            let entry = entry.map_err(&io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What RocksDB has to say to people, and its lock.
            if name.starts_with("LOG") || name == "LOCK" {
                continue;
            }
            let metadata = entry.metadata().map_err(&io)?;
            let table = (name.clone(), metadata.len(), metadata.modified().map_err(&io)?);
            let hash = match known.0.get(&table) {
                Some(hash) => hash.clone(),
                None => hash(&entry.path())?,
            };
            if name.ends_with(".sst") {
                seen.insert(table, hash.clone());
            }
            files.push(NamedFile { name, hash, bytes: metadata.len() });
        }
        known.0 = seen;
        files.sort();
        Ok(Some(Self { folder: folder.keep(), manifest: Manifest::new(identity, progress, files) }))
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn next_offset(&self) -> Offset {
        self.manifest.next_offset
    }

    pub(super) fn path(&self, file: &NamedFile) -> PathBuf {
        self.folder.join(&file.name)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// A folder for a snapshot, cleared for it and removed with this.
pub(crate) struct SnapshotFolder(PathBuf);

impl SnapshotFolder {
    /// That of the store in `store_folder`, with `name` to tell it from others.
    pub(crate) fn beside(store_folder: &Path, name: &str) -> Self {
        let folder = store_folder.with_extension(name);
        remove(&folder);
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for SnapshotFolder {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            remove(&self.0);
        }
    }
}

/// What can't be removed is in the way of the next one, which will say so.
fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "a checkpoint's folder can't be removed");
    }
}

fn hash(path: &Path) -> Result<String, CheckpointError> {
    let mut hasher = blake3::Hasher::new();
    let hashed = File::open(path).and_then(|file| hasher.update_reader(file).map(|hasher| hasher.finalize()));
    Ok(hashed.map_err(CheckpointError::io(path))?.to_hex().to_string())
}
