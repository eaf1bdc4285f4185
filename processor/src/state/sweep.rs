//! Takes what is over off the disk without being asked: each family is compacted through its filter, a slice of keys at a
//! time, once stream time has moved on by [`SWEEP_SECONDS`] since it was last done.
//!
//! RocksDB's own periodic compaction goes by the wall clock, and so does nothing for a log that is folded anew, and
//! rewrites for nothing where the log is quiet.
//!
//! Key `swept` of the family `default`; value: the stream time (4) of the last sweep, big-endian. It says what was done to
//! the files and is no part of the state.

use super::store::{Store, StoreError};
use super::ttl::StreamSeconds;
use super::{Damaged, Family};
use rocksdb::{BottommostLevelCompaction, CompactOptions};

/// The key.
const KEY: &[u8] = b"swept";
/// How much stream time passes between two sweeps: a week, so that a row that is over stays for a week at most.
const SWEEP_SECONDS: u32 = 7 * 24 * 60 * 60;
/// How much is compacted between two looks at whether to stop, about.
const SLICE_BYTES: usize = 64 << 20;

/// A run of keys of one family; without an end it goes to the last one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    family: Family,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
}

impl Store {
    /// The stream time of the last sweep, 0 before the first.
    fn swept(&self) -> Result<StreamSeconds, StoreError> {
        let Some(value) = self.db.get(KEY).map_err(|source| self.error(source))? else { return Ok(0) };
        let time = value.as_slice().try_into().map_err(|_| Damaged { kind: "swept" })?;
        Ok(StreamSeconds::from_be_bytes(time))
    }

    /// Whether files are to be looked through at the stream time `now`.
    pub(crate) fn is_sweep_due(&self, now: StreamSeconds) -> Result<bool, StoreError> {
        Ok(now >= self.swept()?.saturating_add(SWEEP_SECONDS))
    }

    /// Remembers that everything was looked through at the stream time `now`.
    pub(crate) fn remember_sweep(&self, now: StreamSeconds) -> Result<(), StoreError> {
        let mut batch = self.batch(0);
        batch.put_default(KEY, &now.to_be_bytes());
        self.write(batch)
    }

    /// What there is to be looked through.
    pub(crate) fn slices(&self) -> Result<Vec<Slice>, StoreError> {
        let mut files = self.db.live_files().map_err(|source| self.error(source))?;
        files.sort_by(|a, b| a.start_key.cmp(&b.start_key));
        let of_family = |family: Family| {
            let files = files.iter().filter(|file| file.column_family_name == family.name());
            cut(family, files.filter_map(|file| Some((file.start_key.as_deref()?, file.size))))
        };
        Ok(Family::ALL.into_iter().flat_map(of_family).collect())
    }

    /// Compacts one slice, next to whatever else is done with the store.
    pub(crate) fn sweep(&self, slice: &Slice) {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        let (family, from) = (self.handle(slice.family), Some(slice.from.as_slice()));
        self.db.compact_range_cf_opt(family, from, slice.to.as_deref(), &options);
    }
}

/// Slices of about [`SLICE_BYTES`] of files given by their first keys, in order, and their sizes.
fn cut<'a>(family: Family, files: impl Iterator<Item = (&'a [u8], usize)>) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    let mut bytes = 0;
    for (first_key, size) in files {
        if slices.is_empty() || bytes >= SLICE_BYTES {
            if let Some(last) = slices.last_mut() {
                last.to = Some(first_key.to_vec());
            }
            slices.push(Slice { family, from: first_key.to_vec(), to: None });
            bytes = 0;
        }
        bytes += size;
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_leave_no_gap() {
        let files: [(&[u8], usize); 4] = [(b"a", 1), (b"b", SLICE_BYTES), (b"c", SLICE_BYTES), (b"d", 1)];
        let slice = |from: &[u8], to: Option<&[u8]>| Slice {
            family: Family::Marks,
            from: from.to_vec(),
            to: to.map(<[u8]>::to_vec),
        };
        let expected = [slice(b"a", Some(b"c")), slice(b"c", Some(b"d")), slice(b"d", None)];
        assert_eq!(cut(Family::Marks, files.into_iter()), expected);
        assert_eq!(cut(Family::Marks, std::iter::empty()), []);
    }
}
