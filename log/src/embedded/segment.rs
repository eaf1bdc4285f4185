//! A segment's file: its name, its making, and a cursor over its frames.

use super::folder::sync_dir;
use super::frame::{self, Decoded, FRAME_BYTES, HEADER_BYTES, Header, NotAHeader};
use super::io_error;
use crate::{LogError, Offset, Record};
use bytes::{Buf, Bytes, BytesMut};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read at a time.
const CHUNK_BYTES: u64 = 256 << 10;
/// Where the first frame begins.
pub(super) const START: u64 = HEADER_BYTES as u64;
/// Where a segment is still being made.
const DRAFT: &str = "segment.tmp";

/// The file of the segment that begins with `base`.
pub(super) fn path(dir: &Path, base: Offset) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// The base offsets of the segments in a partition's folder, ascending. Clears away what a crash left half made.
pub(super) fn list(dir: &Path) -> Result<Vec<Offset>, LogError> {
    let read = || -> io::Result<Vec<Offset>> {
        let mut bases = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name == DRAFT {
                std::fs::remove_file(dir.join(name))?;
            }
            bases.extend(name.strip_suffix(".log").and_then(|base| base.parse::<Offset>().ok()));
        }
        bases.sort_unstable();
        Ok(bases)
    };
    read().map_err(|e| io_error("list", dir, e))
}

/// Makes an empty segment, durable by name and header: one that has a name has a whole header.
pub(super) fn create(dir: &Path, header: Header) -> io::Result<File> {
    let draft = dir.join(DRAFT);
    let make = || {
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&draft)?;
        file.write_all(&header.encode())?;
        file.sync_all()?;
        std::fs::rename(&draft, path(dir, header.base))?;
        sync_dir(dir)?;
        Ok(file)
    };
    make().inspect_err(|_| {
        // Whichever name it has got so far; nothing has been written to it.
        let _ = std::fs::remove_file(&draft);
        let _ = std::fs::remove_file(path(dir, header.base));
    })
}

/// The header of a segment that is expected to belong to `partition` and begin with `base`.
pub(super) fn read_header(path: &Path, file: &File, partition: u32, base: Offset) -> Result<Header, LogError> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => LogError::Corrupt(format!("{} ends within its header", path.display())),
        _ => io_error("read", path, e),
    })?;
    match Header::decode(&bytes) {
        Ok(header) if header.partition == partition && header.base == base => Ok(header),
        Ok(header) => Err(LogError::Corrupt(format!(
            "{} is the segment of partition {} from offset {}: it was moved or renamed",
            path.display(),
            header.partition,
            header.base
        ))),
        Err(NotAHeader::Damaged) => Err(LogError::Corrupt(format!("{} has no valid header", path.display()))),
        Err(NotAHeader::Version(version)) => Err(LogError::Refused(format!(
            "{} has format version {version}, and this program knows version {}: start the version of track that wrote it",
            path.display(),
            frame::VERSION
        ))),
    }
}

/// Goes over the frames of a segment, a chunk at a time. Keys and values are slices of the chunk.
pub(super) struct Cursor {
    file: File,
    /// Where the next frame begins, which is where `chunk` begins.
    position: u64,
    chunk: Bytes,
}

/// What a [`Cursor`] met.
pub(super) enum Step {
    Record(Record),
    /// The limit, or the zeros behind the last record.
    End,
    /// Not a frame.
    Damaged,
}

impl Cursor {
    pub(super) fn new(file: File, position: u64) -> Self {
        Self { file, position, chunk: Bytes::new() }
    }

    /// Where the next frame begins, or the end, or the damage.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next frame that ends at or before `limit`.
    pub(super) fn next(&mut self, limit: u64) -> io::Result<Step> {
        loop {
            let available = limit.saturating_sub(self.position);
            match frame::decode(&self.chunk) {
                _ if available == 0 => return Ok(Step::End),
                Decoded::Whole(frame) => {
                    let bytes = self.chunk.split_to(frame.length);
                    self.position += frame.length as u64;
                    let (key, value) = (FRAME_BYTES, FRAME_BYTES + frame.key_length);
                    let record = Record {
                        offset: frame.offset,
                        append_time_ms: frame.append_time_ms,
                        key: Some(bytes.slice(key..value)),
                        value: bytes.slice(value..),
                    };
                    return Ok(Step::Record(record));
                }
                Decoded::End => return Ok(Step::End),
                Decoded::Damaged => return Ok(Step::Damaged),
                Decoded::Short(length) => {
                    let length = length as u64;
                    if length > available {
                        // Fewer bytes than a frame's beginning: the end if they are zeros.
                        let zeros = available < 8 && self.chunk_of(available)?.iter().all(|byte| *byte == 0);
                        return Ok(if zeros { Step::End } else { Step::Damaged });
                    }
                    self.chunk = self.chunk_of(available.min(CHUNK_BYTES.max(length)))?;
                }
            }
        }
    }

    fn chunk_of(&self, bytes: u64) -> io::Result<Bytes> {
        let mut chunk = BytesMut::zeroed(usize::try_from(bytes).expect("a chunk or a frame fits into memory"));
        self.file.read_exact_at(&mut chunk, self.position)?;
        Ok(chunk.freeze())
    }

    /// Goes on until the next frame is that of `offset`. `false` where the frames end or are damaged before.
    pub(super) fn skip_to(&mut self, offset: Offset, limit: u64) -> io::Result<bool> {
        loop {
            match frame::decode(&self.chunk) {
                Decoded::Whole(frame) if frame.offset == offset => return Ok(true),
                Decoded::Whole(frame) => {
                    self.chunk.advance(frame.length);
                    self.position += frame.length as u64;
                }
                _ => {
                    let position = self.position;
                    match self.next(limit)? {
                        Step::Record(record) if record.offset == offset => {
                            // Read once more by whoever wants it.
                            (self.position, self.chunk) = (position, Bytes::new());
                            return Ok(true);
                        }
                        Step::Record(_) => {}
                        Step::End | Step::Damaged => return Ok(false),
                    }
                }
            }
        }
    }
}
