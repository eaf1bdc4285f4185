//! The digest of a state: 32 bytes that two states share where they are equal, and practically never otherwise.
//!
//! It is BLAKE3 over the stream time (4 bytes) and then every live row: length and bytes of the family's name, of the key and
//! of the value, each length in 8 bytes, everything big-endian; families in the order of their names, rows in that of their
//! keys. Rows, and days in rows of many, past their life are left out, whether they were taken away yet or not, and so is what says
//! how the state was made: two folds of one log prefix have one digest, however they were batched, flushed and compacted.

use crate::reach::as_of;
use crate::state::counts::Count;
use crate::state::session_sums::SessionSum;
use crate::state::store::StoreError;
use crate::state::stretches;
use crate::state::ttl::{Spans, Stamp};
use crate::state::whole::Whole;
use crate::state::{Damaged, Family};
use std::fmt;
use std::ops::ControlFlow;
use track_log::{Offset, Partition};
use track_proto::v1::{AsOf, RowHash, RowHashes};

/// How many bytes of keys and hashes one message carries, about.
const MESSAGE_BYTES: usize = 64 * 1024;
/// How many rows are read before somebody is asked again whether they are still wanted.
const ASKED_EVERY_ROWS: u64 = 1_000;

/// What a partition's state is at an offset, in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDigest {
    /// Which partition.
    pub partition: Partition,
    /// Every record before this offset is in the state, and nothing else.
    pub next_offset: Offset,
    /// What expiry goes by at that offset, in seconds since 1970 UTC; 0 while it is not known yet.
    pub stream_time_s: u32,
    /// How many rows are alive.
    pub rows: u64,
    /// Equal where stream time and all live rows are.
    pub digest: [u8; 32],
}

impl StateDigest {
    /// What the state includes, of a log that ends at `log_end_offset`.
    pub(crate) fn as_of(&self, log_end_offset: Offset) -> AsOf {
        AsOf {
            next_offset: self.next_offset,
            stream_time_ms: i64::from(self.stream_time_s) * 1000,
            log_end_offset,
            complete_to_ms: 0,
        }
    }

    /// The digest, in 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.digest).to_hex().to_string()
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, next_offset, stream_time_s, rows, .. } = self;
        let digest = self.hex();
        write!(
            f,
            "partition={partition} next_offset={next_offset} stream_time={stream_time_s} rows={rows} digest={digest}"
        )
    }
}

/// The digest of everything in `whole`; `None` where `is_wanted` says no before it is done.
pub(crate) fn digest(
    whole: Whole<'_>,
    partition: Partition,
    spans: Spans,
    is_wanted: impl Fn() -> bool,
) -> Result<Option<StateDigest>, StoreError> {
    let progress = whole.progress();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&progress.stream_time.to_be_bytes());
    let mut rows = 0_u64;
    let read = live_rows(whole, spans, |family, key, value| {
        for part in [family.name().as_bytes(), key, value] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        rows += 1;
        if rows.is_multiple_of(ASKED_EVERY_ROWS) && !is_wanted() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(read.is_continue().then(|| StateDigest {
        partition,
        next_offset: progress.next_offset,
        stream_time_s: progress.stream_time,
        rows,
        digest: hasher.finalize().into(),
    }))
}

/// Hands every live row of `whole` to `send`, in the digest's order: its key, and the hash of its value. Ends early where
/// `send` breaks off.
pub(crate) fn hash_rows(
    whole: Whole<'_>,
    spans: Spans,
    log_end: Option<Offset>,
    mut send: impl FnMut(RowHashes) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let progress = whole.progress();
    let as_of = as_of(progress, log_end.unwrap_or(progress.next_offset), 0);
    let (mut hashes, mut bytes) = (Vec::new(), 0);
    let read = live_rows(whole, spans, |family, key, value| {
        let hash = blake3::hash(value).as_bytes().to_vec();
        bytes += key.len() + hash.len();
        hashes.push(RowHash { family: family.name().into(), key: key.to_vec().into(), hash: hash.into() });
        if bytes < MESSAGE_BYTES {
            return ControlFlow::Continue(());
        }
        bytes = 0;
        send(RowHashes { as_of: Some(as_of), rows: std::mem::take(&mut hashes), last: false })
    })?;
    if read.is_continue() {
        // Nobody to send to is nobody to tell.
        let _ = send(RowHashes { as_of: Some(as_of), rows: hashes, last: true });
    }
    Ok(())
}

/// Calls `row` with every row that is alive, in the digest's order, and what is alive in it.
pub(crate) fn live_rows(
    whole: Whole<'_>,
    spans: Spans,
    mut row: impl FnMut(Family, &[u8], &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreError> {
    let now = whole.progress().stream_time;
    whole.read_through(|family, key, value| {
        let damaged = Damaged { kind: family.name() };
        let is_over = |touched| spans.is_over(family.life(), touched, now);
        let (touched, _) = Stamp::split(value).ok_or_else(|| damaged.clone())?;
        if is_over(touched) {
            return Ok(ControlFlow::Continue(()));
        }
        let of_days = match family {
            Family::StretchCounts => stretches::alive::<Count>(value, is_over),
            Family::StretchSessions => stretches::alive::<SessionSum>(value, is_over),
            _ => return Ok(row(family, key, value)),
        };
        Ok(row(family, key, &of_days.ok_or(damaged)?))
    })
}

#[cfg(test)]
mod tests;
