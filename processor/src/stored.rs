//! The states in the folder of a processor that is not running: read, and never changed.

use crate::digest::{self, StateDigest};
use crate::membership;
use crate::state::memory::Memory;
use crate::state::store::{Store, StoreError};
use crate::state::ttl::Spans;
use crate::state::whole::Whole;
use crate::{OpenError, StoredError};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use track_log::{Offset, Partition};
use track_proto::v1::RowHashes;

/// For the blocks of one store that is read from end to end: none is read twice.
const MEMORY_BYTES: usize = 32 << 20;

/// What a folder of states holds. Nobody else can open the folder meanwhile.
pub struct StoredStates {
    folder: PathBuf,
    partitions: Vec<Partition>,
    /// Held open: the lock on the folder lives as long as it.
    _lock: File,
}

impl StoredStates {
    /// Takes the folder of a processor, or that of a track with all roles, whose states are in `state` inside it.
    ///
    /// # Errors
    /// [`StoredError`] where there are no states in it, or a running process has it.
    pub fn open(data_dir: &Path) -> Result<Self, StoredError> {
        let inside = data_dir.join("state");
        let folder = if inside.is_dir() { inside } else { data_dir.to_owned() };
        let partitions = partitions_in(&folder)?;
        let lock = membership::lock(&folder).map_err(|error| match error {
            OpenError::InUse(folder) => StoredError::InUse(folder),
            error => StoredError::Folder { folder: folder.clone(), reason: error.to_string() },
        })?;
        Ok(Self { folder, partitions, _lock: lock })
    }

    /// The partitions that have a state here, in order.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// How far a partition's state is: it has every record before this offset.
    ///
    /// # Errors
    /// As [`StoredStates::digest`].
    pub fn next_offset(&self, partition: Partition) -> Result<Offset, StoredError> {
        self.look(partition, |whole, _| Ok(whole.progress().next_offset))
    }

    /// The digest of a partition's state.
    ///
    /// # Errors
    /// [`StoredError`] where it has none here, or one that can't be read.
    pub fn digest(&self, partition: Partition) -> Result<StateDigest, StoredError> {
        let digest = self.look(partition, |whole, spans| digest::digest(whole, partition, spans, || true))?;
        // It was wanted to the end.
        digest.ok_or(StoredError::NoState { folder: self.folder.clone(), partition })
    }

    /// Hands every live row of a partition to `send`, in order of family and key, until it breaks off.
    ///
    /// # Errors
    /// As [`StoredStates::digest`].
    pub fn hash_rows(
        &self,
        partition: Partition,
        send: impl FnMut(RowHashes) -> ControlFlow<()>,
    ) -> Result<(), StoredError> {
        self.look(partition, |whole, spans| digest::hash_rows(whole, spans, None, send))
    }

    fn look<T>(
        &self,
        partition: Partition,
        work: impl FnOnce(Whole<'_>, Spans) -> Result<T, StoreError>,
    ) -> Result<T, StoredError> {
        if !self.partitions.contains(&partition) {
            return Err(StoredError::NoState { folder: self.folder.clone(), partition });
        }
        let folder = membership::partition_folder(&self.folder, partition);
        let unreadable = |error: StoreError| StoredError::Store { partition, reason: error.to_string() };
        let (store, spans) = Store::open_read_only(&folder, &Memory::new(MEMORY_BYTES)).map_err(unreadable)?;
        let view = store.view();
        view.whole().and_then(|whole| work(whole, spans)).map_err(unreadable)
    }
}

fn partitions_in(folder: &Path) -> Result<Vec<Partition>, StoredError> {
    let unreadable =
        |error: std::io::Error| StoredError::Folder { folder: folder.to_owned(), reason: error.to_string() };
    let mut partitions = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        partitions.extend(name.to_str().and_then(membership::partition_of_folder));
    }
    if partitions.is_empty() {
        return Err(StoredError::Empty(folder.to_owned()));
    }
    partitions.sort_unstable();
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::identity::{FORMAT_VERSION, Identity, KEY};
    use rocksdb::WriteBatch;

    /// A folder with the empty store of partition 7.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            partition: 7,
            partition_count: 8,
            session_pairs: Vec::new(),
            session_duration_ms_max: 1,
            retention_seconds: 86_400,
        };
        let folder = membership::partition_folder(&dir.path().join("state"), 7);
        std::fs::create_dir_all(&folder).unwrap();
        let spans = Spans { retention: identity.retention_seconds };
        drop(Store::open(&folder, &identity, spans, &Memory::new(MEMORY_BYTES)).unwrap());
        dir
    }

    fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
    }

    #[test]
    fn both_folders_are_taken_and_the_store_is_not_changed() {
        let dir = folder();
        let store = membership::partition_folder(&dir.path().join("state"), 7);
        let before = files(&store);
        for data_dir in [dir.path().to_owned(), dir.path().join("state")] {
            let states = StoredStates::open(&data_dir).unwrap();
            assert_eq!(states.partitions(), [7]);
            let digest = states.digest(7).unwrap();
            assert_eq!((digest.partition, digest.next_offset, digest.rows), (7, 0, 0));
            assert_eq!(states.next_offset(7).unwrap(), 0);
            let refusal = states.digest(6).unwrap_err().to_string();
            assert!(refusal.contains("no state of partition 6"), "{refusal}");
        }
        assert_eq!(files(&store), before);
    }

    #[test]
    fn a_folder_in_use_and_one_without_states_are_refused_with_what_to_do() {
        let dir = folder();
        let held = membership::lock(&dir.path().join("state")).unwrap();
        let refusal = StoredStates::open(dir.path()).err().unwrap().to_string();
        assert!(refusal.contains("in use") && refusal.contains("GET /digest"), "{refusal}");
        drop(held);
        StoredStates::open(dir.path()).unwrap();

        let empty = tempfile::tempdir().unwrap();
        let refusal = StoredStates::open(empty.path()).err().unwrap().to_string();
        assert!(refusal.contains("no state in the folder"), "{refusal}");
        assert!(files(empty.path()).is_empty(), "nothing was left there");
        let missing = StoredStates::open(&empty.path().join("no")).err().unwrap().to_string();
        assert!(missing.contains("/no:"), "{missing}");
    }

    #[test]
    fn another_format_is_refused() {
        let dir = folder();
        let store = membership::partition_folder(&dir.path().join("state"), 7);
        let db = rocksdb::DB::list_cf(&rocksdb::Options::default(), &store).unwrap();
        let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), &store, db).unwrap();
        let mut batch = WriteBatch::default();
        batch.put(KEY, "format 99\npartition 7");
        db.write(batch).unwrap();
        drop(db);
        let refusal = StoredStates::open(dir.path()).unwrap().digest(7).unwrap_err().to_string();
        assert!(refusal.contains("format 99") && refusal.contains(&format!("format {FORMAT_VERSION}")), "{refusal}");
    }
}
