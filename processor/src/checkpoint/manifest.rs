//! What a checkpoint consists of: JSON that is written after all the files it names, and sealed with a checksum.

use crate::state::progress::Progress;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::Path;
use track_log::Offset;

/// The version of this page, and of where things are in an [`Area`](super::area::Area). Raised with each change.
const FORMAT: u32 = 1;

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NamedFile {
    /// Its name in the store's folder.
    pub(crate) name: String,
    /// BLAKE3 of its content in hexadecimal, which is its name among the uploaded files.
    pub(crate) hash: String,
    /// Its size.
    pub(crate) bytes: u64,
}

/// A checkpoint: the state of one partition at one offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// What the store says it was made for, to the letter.
    pub(crate) identity: String,
    /// The state has every record before this one.
    pub(crate) next_offset: Offset,
    /// The stream time there, in seconds since 1970 UTC.
    pub(crate) stream_time: u32,
    /// When the log took the record before `next_offset`, in milliseconds since 1970 UTC: which log it was.
    pub(crate) appended_ms: i64,
    pub(crate) files: Vec<NamedFile>,
}

/// Why a manifest is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the manifest can't be read: {0}")]
    Unreadable(String),
    #[error("the manifest is not what was written: its checksum is another")]
    Checksum,
    #[error("the manifest has format {0}, and this version reads format {FORMAT}")]
    Format(u32),
    #[error("the manifest names a file \"{0}\", which is no name of a file")]
    FileName(String),
}

/// The manifest as it is stored, with the BLAKE3 of its own text.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
    checksum: String,
}

/// What every format says of itself.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl Manifest {
    pub(crate) fn new(identity: String, progress: Progress, files: Vec<NamedFile>) -> Self {
        let Progress { next_offset, stream_time, appended_ms, .. } = progress;
        Self { format: FORMAT, identity, next_offset, stream_time, appended_ms, files }
    }

    /// The bytes of all files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let unreadable = |error: serde_json::Error| ManifestError::Unreadable(error.to_string());
        let manifest = serde_json::value::to_raw_value(self).map_err(unreadable)?;
        let checksum = checksum(&manifest);
        serde_json::to_vec_pretty(&Sealed { manifest: &manifest, checksum }).map_err(unreadable)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let unreadable = |error: serde_json::Error| ManifestError::Unreadable(error.to_string());
        let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
        if checksum(sealed.manifest) != sealed.checksum {
            return Err(ManifestError::Checksum);
        }
        let AnyFormat { format } = serde_json::from_str(sealed.manifest.get()).map_err(unreadable)?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        let manifest: Self = serde_json::from_str(sealed.manifest.get()).map_err(unreadable)?;
        // Whoever can write there must not be able to write outside the store's folder here.
        match manifest.files.iter().find(|file| Path::new(&file.name).file_name() != Some(file.name.as_ref())) {
            Some(file) => Err(ManifestError::FileName(file.name.clone())),
            None => Ok(manifest),
        }
    }
}

fn checksum(manifest: &RawValue) -> String {
    blake3::hash(manifest.get().as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest(name: &str) -> Manifest {
        let progress =
            Progress { next_offset: 7, stream_time: 1_735_689_600, suspect: None, appended_ms: 1_735_689_600_123 };
        let file = NamedFile { name: name.into(), hash: "00".repeat(32), bytes: 12 };
        Manifest::new("format 2\npartition 3".into(), progress, vec![file])
    }

    #[test]
    fn survives_its_encoding() {
        let manifest = manifest("000012.sst");
        assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), change in 1_u8..) {
            let whole = manifest("000012.sst");
            let mut bytes = whole.encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            // White space between the two parts may become other white space.
            prop_assert!(Manifest::decode(&bytes).is_err() || Manifest::decode(&bytes) == Ok(whole));
        }

        #[test]
        fn a_half_is_no_manifest(length in 0..300_usize) {
            let bytes = manifest("000012.sst").encode().unwrap();
            prop_assume!(length < bytes.len());
            prop_assert!(Manifest::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn another_format_is_refused_by_its_number() {
        let other = Manifest { format: 99, ..manifest("a") };
        assert_eq!(Manifest::decode(&other.encode().unwrap()), Err(ManifestError::Format(99)));
    }

    #[test]
    fn no_file_is_written_outside_the_folder() {
        for name in ["", ".", "..", "../a", "/etc/a", "a/b", "a/"] {
            let refused = Manifest::decode(&manifest(name).encode().unwrap());
            assert_eq!(refused, Err(ManifestError::FileName(name.into())));
        }
    }
}
