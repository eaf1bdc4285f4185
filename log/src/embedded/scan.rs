//! What a segment holds, read from its first frame to its last: where it ends, and whether that end is a torn write,
//! which is cut, or damage, which is refused.

use super::frame::{self, Decoded};
use super::io_error;
use super::segment::{Cursor, START, Step};
use crate::{LogError, Offset};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A disk writes a sector whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// How far apart the entries of an [`Index`] are.
const INDEX_BYTES: u64 = 64 << 10;

/// Where some of a segment's frames begin, so that finding an offset reads little.
#[derive(Debug, Default, Clone)]
pub(super) struct Index {
    entries: Vec<(Offset, u64)>,
}

impl Index {
    /// Notes a frame where it is far enough from the last one noted. Frames come in order.
    pub(super) fn note(&mut self, offset: Offset, position: u64) {
        if self.entries.last().is_none_or(|(_, last)| position >= last + INDEX_BYTES) {
            self.entries.push((offset, position));
        }
    }

    /// A frame's beginning from which it is not far to that of `offset`.
    pub(super) fn before(&self, offset: Offset) -> u64 {
        let after = self.entries.partition_point(|(noted, _)| *noted <= offset);
        after.checked_sub(1).map_or(START, |i| self.entries[i].1)
    }
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Contents {
    /// The offset after the last record.
    pub(super) end: Offset,
    /// Where the last frame ends.
    pub(super) bytes: u64,
    /// The append time of the last record, where there is one.
    pub(super) newest_ms: Option<i64>,
    pub(super) index: Index,
    /// How many bytes of a torn write lie behind the last frame; 0 where only zeros do.
    pub(super) torn_bytes: u64,
}

/// Reads the last segment of a partition.
pub(super) fn last_segment(path: &Path, file: &File, base: Offset) -> Result<Contents, LogError> {
    let io = |e| io_error("read", path, e);
    let length = file.metadata().map_err(io)?.len();
    let mut cursor = Cursor::new(file.try_clone().map_err(io)?, START);
    let mut contents = Contents { end: base, bytes: START, newest_ms: None, index: Index::default(), torn_bytes: 0 };
    loop {
        match cursor.next(length).map_err(io)? {
            Step::Record(record) if record.offset == contents.end => {
                contents.index.note(record.offset, contents.bytes);
                contents.end += 1;
                contents.bytes = cursor.position();
                contents.newest_ms = contents.newest_ms.max(Some(record.append_time_ms));
            }
            // The end may be one only because a sector with a frame's beginning was not written.
            Step::Record(_) | Step::Damaged | Step::End => break,
        }
    }
    contents.torn_bytes = torn_bytes(path, file, &contents, length)?;
    Ok(contents)
}

/// Where the frames of a segment are that is not written any more. Stops at damage: whoever reads so far reports it.
pub(super) fn index(file: File, limit: u64) -> std::io::Result<Index> {
    let (mut cursor, mut index, mut position) = (Cursor::new(file, START), Index::default(), START);
    while let Step::Record(record) = cursor.next(limit)? {
        index.note(record.offset, position);
        position = cursor.position();
    }
    Ok(index)
}

/// Judges what lies behind the last whole frame.
fn torn_bytes(path: &Path, file: &File, contents: &Contents, length: u64) -> Result<u64, LogError> {
    let mut rest = vec![0; usize::try_from(length.saturating_sub(contents.bytes)).expect("a segment fits into memory")];
    file.read_exact_at(&mut rest, contents.bytes).map_err(|e| io_error("read", path, e))?;
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else { return Ok(0) };
    let damaged = |found: Offset| {
        LogError::Corrupt(format!(
            "{}: the record of offset {} at byte {} is damaged, and that of offset {found} behind it is whole; \
             restore the file from a copy, or move the log's folder away to begin anew",
            path.display(),
            contents.end,
            contents.bytes
        ))
    };
    let mut at = 0;
    while at <= last {
        // The offset first: it rules out nearly every place without a checksum.
        let plausible = frame::offset_if_frame(&rest[at..])
            .is_some_and(|offset| offset >= contents.end && offset - contents.end <= rest.len() as u64);
        let Some(Decoded::Whole(frame)) = plausible.then(|| frame::decode(&rest[at..])) else {
            at += 1;
            continue;
        };
        // A later write began, so the one before it was durable. And within one write, only a sector that never
        // reached the disk, and so is still zero, explains a hole.
        let write_began_at = frame.offset.saturating_sub(u64::from(frame.place_in_write));
        if write_began_at > contents.end || !has_unwritten_sector(&rest[..at], contents.bytes) {
            return Err(damaged(frame.offset));
        }
        at += frame.length;
    }
    Ok(last as u64 + 1)
}

/// Whether a sector's share of `bytes`, which begin at `position` of the file, is all zeros.
fn has_unwritten_sector(bytes: &[u8], position: u64) -> bool {
    let to_boundary = usize::try_from(SECTOR_BYTES - position % SECTOR_BYTES).expect("at most a sector");
    let (first, others) = bytes.split_at(to_boundary.min(bytes.len()));
    let sector = usize::try_from(SECTOR_BYTES).expect("a sector fits");
    std::iter::once(first).chain(others.chunks(sector)).any(|share| !share.is_empty() && share.iter().all(|b| *b == 0))
}
