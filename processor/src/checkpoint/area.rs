//! Where one partition's checkpoints are, for one set of rules, and what is there.
//!
//! `<root>/partition-0003/<identity>/manifests/<next offset>.json` and `<root>/partition-0003/<identity>/files/<hash>`,
//! where `<identity>` stands for format, partition count and rules: what was folded under others is never met here.

use super::manifest::{Manifest, ManifestError, NamedFile};
use crate::state::identity::Identity;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use metrics::counter;
use object_store::buffered::BufWriter;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use track_log::Offset;

/// How much of a file is on its way in one request.
const PART_BYTES: usize = 8 << 20;
/// Requests for parts of one file at the same time; each holds a part in memory.
const PARTS_AT_ONCE: usize = 2;
/// Enough of an identity's hash to tell all that there will ever be apart.
const IDENTITY_DIGITS: usize = 16;

/// What went wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// Nothing is known of what is there.
    #[error("the object store: {0}")]
    Away(object_store::Error),
    #[error("the object store has not answered within {0:?}")]
    Silent(Duration),
    /// It is there, and can't be used.
    #[error("{0}")]
    Unusable(String),
    #[error("{context}: {source}")]
    Io { context: String, source: std::io::Error },
}

impl From<object_store::Error> for CheckpointError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::Unusable(format!("{path} is not there")),
            error => Self::Away(error),
        }
    }
}

impl From<ManifestError> for CheckpointError {
    fn from(error: ManifestError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl CheckpointError {
    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { context: path.display().to_string(), source }
    }
}

/// An uploaded file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uploaded {
    pub(super) bytes: u64,
    /// When it was written, in milliseconds since 1970 UTC, by the clock of the object store.
    pub(super) modified_ms: i64,
}

/// What is there of one partition.
#[derive(Clone)]
pub(crate) struct Area {
    objects: Arc<dyn ObjectStore>,
    partition: ObjectPath,
    identity: String,
}

impl Area {
    pub(super) fn new(objects: Arc<dyn ObjectStore>, root: &ObjectPath, identity: &Identity) -> Self {
        let partition = root.clone().join(format!("partition-{:04}", identity.partition));
        let hash = blake3::hash(identity.encode().as_bytes()).to_hex();
        Self { objects, partition, identity: hash[..IDENTITY_DIGITS].to_owned() }
    }

    fn manifests(&self) -> ObjectPath {
        self.partition.clone().join(self.identity.as_str()).join("manifests")
    }

    fn files(&self) -> ObjectPath {
        self.partition.clone().join(self.identity.as_str()).join("files")
    }

    fn manifest(&self, next_offset: Offset) -> ObjectPath {
        self.manifests().join(format!("{next_offset:020}.json"))
    }

    fn file(&self, hash: &str) -> ObjectPath {
        self.files().join(hash)
    }

    /// Which checkpoints there are and when they were written: the newest is the last.
    pub(super) async fn list_manifests(&self) -> Result<BTreeMap<Offset, i64>, CheckpointError> {
        let found = self.objects.list(Some(&self.manifests()));
        let offset = |name: &str| name.strip_suffix(".json")?.parse().ok();
        let manifests = found.try_filter_map(|object| async move {
            Ok(object.location.filename().and_then(offset).map(|at| (at, object.last_modified.timestamp_millis())))
        });
        Ok(manifests.try_collect().await?)
    }

    /// Which files there are, by hash.
    pub(super) async fn list_files(&self) -> Result<BTreeMap<String, Uploaded>, CheckpointError> {
        let files = self.objects.list(Some(&self.files())).try_filter_map(|object| async move {
            let uploaded = Uploaded { bytes: object.size, modified_ms: object.last_modified.timestamp_millis() };
            Ok(object.location.filename().map(|hash| (hash.to_owned(), uploaded)))
        });
        Ok(files.try_collect().await?)
    }

    /// Whether there are checkpoints of this partition that were made under other rules or by another version.
    pub(super) async fn has_others(&self) -> Result<bool, CheckpointError> {
        let found = self.objects.list_with_delimiter(Some(&self.partition)).await?;
        Ok(found.common_prefixes.iter().any(|prefix| prefix.filename() != Some(&self.identity)))
    }

    pub(super) async fn read_manifest(&self, next_offset: Offset) -> Result<Manifest, CheckpointError> {
        let bytes = self.objects.get(&self.manifest(next_offset)).await?.bytes().await?;
        let manifest = Manifest::decode(&bytes)?;
        if manifest.next_offset != next_offset {
            let reason = format!("the manifest is that of offset {}", manifest.next_offset);
            return Err(CheckpointError::Unusable(reason));
        }
        Ok(manifest)
    }

    pub(super) async fn write_manifest(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let bytes = PutPayload::from(manifest.encode()?);
        self.objects.put(&self.manifest(manifest.next_offset), bytes).await?;
        Ok(())
    }

    /// Uploads the file at `path`. It is there whole or not at all.
    pub(super) async fn upload(&self, path: &Path, file: &NamedFile) -> Result<(), CheckpointError> {
        let io = CheckpointError::io(path);
        let source = std::fs::File::open(path).map_err(&io)?;
        let mut writer = BufWriter::with_capacity(Arc::clone(&self.objects), self.file(&file.hash), PART_BYTES)
            .with_max_concurrency(PARTS_AT_ONCE);
        loop {
            let mut part = Vec::new();
            let read = (&source).take(PART_BYTES as u64).read_to_end(&mut part).map_err(&io)?;
            if read == 0 {
                break;
            }
            writer.put(Bytes::from(part)).await?;
        }
        // What it says comes from the object store and is an error of its own underneath.
        writer.shutdown().await.map_err(|error| {
            CheckpointError::Away(object_store::Error::Generic { store: "upload", source: Box::new(error) })
        })
    }

    /// Downloads a file to `path`, which must not be there yet, and brings it to disk. Its content is what its name says,
    /// or it is unusable.
    pub(super) async fn download(&self, file: &NamedFile, path: &Path) -> Result<(), CheckpointError> {
        let io = CheckpointError::io(path);
        let unusable = |what: &str| CheckpointError::Unusable(format!("{} ({}) {what}", file.name, file.hash));
        let location = self.file(&file.hash);
        if self.objects.head(&location).await?.size != file.bytes {
            return Err(unusable("has another size"));
        }
        let mut target = std::fs::File::create_new(path).map_err(&io)?;
        let mut hasher = blake3::Hasher::new();
        let mut from = 0;
        while from < file.bytes {
            let to = file.bytes.min(from + PART_BYTES as u64);
            let part = self.objects.get_range(&location, from..to).await?;
            hasher.update(&part);
            target.write_all(&part).map_err(&io)?;
            counter!("track_restored_bytes_total").increment(to - from);
            from = to;
        }
        if hasher.finalize().to_hex().as_str() != file.hash {
            return Err(unusable("has another content"));
        }
        target.sync_all().map_err(&io)
    }

    pub(super) async fn delete_manifests(&self, offsets: &[Offset]) -> Result<(), CheckpointError> {
        self.delete(offsets.iter().map(|offset| self.manifest(*offset)).collect()).await
    }

    pub(super) async fn delete_files(&self, hashes: &[String]) -> Result<(), CheckpointError> {
        self.delete(hashes.iter().map(|hash| self.file(hash)).collect()).await
    }

    async fn delete(&self, locations: Vec<ObjectPath>) -> Result<(), CheckpointError> {
        let locations = futures::stream::iter(locations.into_iter().map(Ok)).boxed();
        let mut deleted = self.objects.delete_stream(locations);
        while let Some(outcome) = deleted.next().await {
            match outcome {
                // Another was quicker.
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(CheckpointError::Away(error)),
            }
        }
        Ok(())
    }
}
