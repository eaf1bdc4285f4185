//! How far the fold is: written in the same batch as the state that it led to.
//!
//! Key `progress` of the family `default`; value: next offset (8), stream time in seconds (4), the append time that is
//! suspected to be wrong, in seconds, or 0 (4); big-endian.

use super::Damaged;
use super::stream_time::{Moment, StreamTime};
use super::ttl::{StreamSeconds, stream_seconds};
use track_log::{Offset, Record};

/// The key.
pub(crate) const KEY: &[u8] = b"progress";

/// Everything before `next_offset` is in the state, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    pub(crate) next_offset: Offset,
    /// What expiry goes by, as [`super::stream_time`] has it.
    pub(crate) stream_time: StreamSeconds,
    /// An append time far ahead of it, not believed yet.
    pub(crate) suspect: Option<StreamSeconds>,
}

impl Progress {
    /// The progress with one record more.
    pub(crate) fn after(self, record: &Record) -> Self {
        let time = StreamTime { now: self.stream_time, suspect: self.suspect };
        let StreamTime { now: stream_time, suspect } = time.after(stream_seconds(record.append_time_ms));
        Self { next_offset: record.offset + 1, stream_time, suspect }
    }

    /// The times of the record that this is the progress after.
    pub(crate) fn moment(self, record: &Record) -> Moment {
        let time = StreamTime { now: self.stream_time, suspect: self.suspect };
        time.moment(stream_seconds(record.append_time_ms))
    }

    pub(crate) fn encode(self) -> [u8; 16] {
        let mut value = [0; 16];
        let (offset, times) = value.split_at_mut(8);
        let (time, suspect) = times.split_at_mut(4);
        offset.copy_from_slice(&self.next_offset.to_be_bytes());
        time.copy_from_slice(&self.stream_time.to_be_bytes());
        suspect.copy_from_slice(&self.suspect.unwrap_or(0).to_be_bytes());
        value
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Damaged> {
        let damaged = Damaged { kind: "progress" };
        let (offset, rest) = value.split_first_chunk::<8>().ok_or_else(|| damaged.clone())?;
        let (time, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged.clone())?;
        let suspect = StreamSeconds::from_be_bytes(rest.try_into().map_err(|_| damaged)?);
        Ok(Self {
            next_offset: Offset::from_be_bytes(*offset),
            stream_time: StreamSeconds::from_be_bytes(*time),
            suspect: (suspect != 0).then_some(suspect),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn survives_its_encoding(next_offset: u64, stream_time: u32, suspect in prop::option::of(1_u32..)) {
            let progress = Progress { next_offset, stream_time, suspect };
            prop_assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
        }
    }

    #[test]
    fn another_length_is_damage() {
        assert!(Progress::decode(&[0; 15]).is_err());
        assert!(Progress::decode(&[0; 17]).is_err());
    }
}
