//! How far the fold is: written in the same batch as the state that it led to.
//!
//! Key `progress` of the family `default`; value: next offset (8), stream time in seconds (4), big-endian.

use super::Damaged;
use super::ttl::StreamSeconds;
use track_log::Offset;

/// The key.
pub(crate) const KEY: &[u8] = b"progress";

/// Everything before `next_offset` is in the state, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) next_offset: Offset,
    /// The largest append time folded.
    pub(crate) stream_time: StreamSeconds,
}

impl Progress {
    pub(crate) fn encode(self) -> [u8; 12] {
        let mut value = [0; 12];
        let (offset, time) = value.split_at_mut(8);
        offset.copy_from_slice(&self.next_offset.to_be_bytes());
        time.copy_from_slice(&self.stream_time.to_be_bytes());
        value
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Damaged> {
        let damaged = Damaged { kind: "progress" };
        let (offset, rest) = value.split_first_chunk::<8>().ok_or_else(|| damaged.clone())?;
        let time = rest.try_into().map_err(|_| damaged)?;
        Ok(Self { next_offset: Offset::from_be_bytes(*offset), stream_time: StreamSeconds::from_be_bytes(time) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn survives_its_encoding(next_offset: u64, stream_time: u32) {
            let progress = Progress { next_offset, stream_time };
            prop_assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
        }
    }

    #[test]
    fn another_length_is_damage() {
        assert!(Progress::decode(&[0; 11]).is_err());
        assert!(Progress::decode(&[0; 13]).is_err());
    }
}
