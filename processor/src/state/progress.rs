//! How far the fold is: written in the same batch as the state that it led to.
//!
//! Key `progress` of the family `default`; value: next offset (8), stream time in seconds (4), the append time that is
//! suspected to be wrong, in seconds, or 0 (4), when the log took the record before that offset, in milliseconds (8); big-endian.

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
    /// When the log took the record before `next_offset`, in milliseconds since 1970 UTC; 0 before the first. With the offset it
    /// names the log: no other one took a record there at that moment.
    pub(crate) appended_ms: i64,
}

impl Progress {
    /// The progress with one record more.
    pub(crate) fn after(self, record: &Record) -> Self {
        let time = StreamTime { now: self.stream_time, suspect: self.suspect };
        let StreamTime { now: stream_time, suspect } = time.after(stream_seconds(record.append_time_ms));
        Self { next_offset: record.offset + 1, stream_time, suspect, appended_ms: record.append_time_ms }
    }

    /// The times of the record that this is the progress after.
    pub(crate) fn moment(self, record: &Record) -> Moment {
        let time = StreamTime { now: self.stream_time, suspect: self.suspect };
        time.moment(stream_seconds(record.append_time_ms))
    }

    pub(crate) fn encode(self) -> [u8; 24] {
        let mut value = [0; 24];
        let (offset, times) = value.split_at_mut(8);
        let (time, times) = times.split_at_mut(4);
        let (suspect, appended) = times.split_at_mut(4);
        offset.copy_from_slice(&self.next_offset.to_be_bytes());
        time.copy_from_slice(&self.stream_time.to_be_bytes());
        suspect.copy_from_slice(&self.suspect.unwrap_or(0).to_be_bytes());
        appended.copy_from_slice(&self.appended_ms.to_be_bytes());
        value
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self, Damaged> {
        let damaged = Damaged { kind: "progress" };
        let (offset, rest) = value.split_first_chunk::<8>().ok_or_else(|| damaged.clone())?;
        let (time, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged.clone())?;
        let (suspect, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged.clone())?;
        let suspect = StreamSeconds::from_be_bytes(*suspect);
        Ok(Self {
            next_offset: Offset::from_be_bytes(*offset),
            stream_time: StreamSeconds::from_be_bytes(*time),
            suspect: (suspect != 0).then_some(suspect),
            appended_ms: i64::from_be_bytes(rest.try_into().map_err(|_| damaged)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn survives_its_encoding(next_offset: u64, stream_time: u32, suspect in prop::option::of(1_u32..), appended_ms: i64) {
            let progress = Progress { next_offset, stream_time, suspect, appended_ms };
            prop_assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
        }
    }

    #[test]
    fn another_length_is_damage() {
        assert!(Progress::decode(&[0; 23]).is_err());
        assert!(Progress::decode(&[0; 25]).is_err());
    }
}
