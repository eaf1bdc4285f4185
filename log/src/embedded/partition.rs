//! A partition as its readers see it: the segments there are and how far they are durable.

use super::queue::Queue;
use super::scan::Index;
use super::segment::START;
use super::{frame::Header, io_error, scan, segment};
use crate::{Bounds, LogError, Offset, Partition};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// One partition: the queue that its writer empties, and what is durable of it.
pub(super) struct PartitionLog {
    pub(super) number: Partition,
    pub(super) dir: PathBuf,
    pub(super) queue: Queue,
    durable: Mutex<Durable>,
    grown: Condvar,
}

struct Durable {
    /// Ascending by base; the last one is written to. Never empty.
    segments: VecDeque<Segment>,
    end: Offset,
    /// What lies before is wanted by nobody.
    forget_before: Offset,
    closed: bool,
}

struct Segment {
    base: Offset,
    /// How much of the file may be read.
    bytes: u64,
    /// The latest append time in it; none without a record.
    newest_ms: Option<i64>,
    /// Missing where the segment was there when the log was opened, until a reader looks for an offset in it.
    index: Option<Index>,
}

/// The writer's end of a partition as it was found: the file to go on with and how it is filled.
pub(super) struct Active {
    pub(super) file: File,
    pub(super) base: Offset,
    /// How much of the file is durable records.
    pub(super) bytes: u64,
    /// How long the file is: zeros follow the records.
    pub(super) allocated: u64,
}

/// Where a reader finds the record it wants.
pub(super) struct View {
    /// The segment's base.
    pub(super) base: Offset,
    /// How much of the segment may be read.
    pub(super) bytes: u64,
}

impl PartitionLog {
    /// Opens a partition whose folder is there, or where `make` makes it, and cuts a torn tail.
    pub(super) fn open(number: Partition, dir: PathBuf, make: bool) -> Result<(Self, Active), LogError> {
        if make {
            std::fs::create_dir_all(&dir).map_err(|e| io_error("make the folder", &dir, e))?;
        }
        let mut bases = segment::list(&dir)?;
        if bases.is_empty() {
            if !make {
                return Err(LogError::Corrupt(format!("{} has no segment", dir.display())));
            }
            let header = Header { partition: number, base: 0, newest_ms_before: i64::MIN };
            segment::create(&dir, header).map_err(|e| io_error("make a segment in", &dir, e))?;
            bases.push(0);
        }

        let mut segments = VecDeque::with_capacity(bases.len());
        for (i, base) in bases.iter().enumerate() {
            let path = segment::path(&dir, *base);
            let file = File::options().read(true).write(true).open(&path).map_err(|e| io_error("open", &path, e))?;
            let header = segment::read_header(&path, &file, number, *base)?;
            // A segment's header knows the latest append time of the one before.
            if let Some(Segment { newest_ms, .. }) = segments.back_mut() {
                *newest_ms = Some(header.newest_ms_before);
            }
            if i + 1 < bases.len() {
                let bytes = file.metadata().map_err(|e| io_error("read", &path, e))?.len();
                segments.push_back(Segment { base: *base, bytes, newest_ms: None, index: None });
                continue;
            }
            let contents = scan::last_segment(&path, &file, *base)?;
            let active = settle(&path, file, *base, &contents)?;
            let (bytes, newest_ms, index) = (contents.bytes, contents.newest_ms, Some(contents.index));
            segments.push_back(Segment { base: *base, bytes, newest_ms, index });
            let log = Self {
                number,
                dir,
                queue: Queue::new(contents.end),
                durable: Mutex::new(Durable { segments, end: contents.end, forget_before: 0, closed: false }),
                grown: Condvar::new(),
            };
            return Ok((log, active));
        }
        unreachable!("there is at least one segment, and the last one returns")
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.durable.lock().bounds()
    }

    /// Shows readers a group that is now durable in the active segment, which it fills up to `bytes`.
    pub(super) fn publish(&self, end: Offset, bytes: u64, newest_ms: i64, starts: &[(Offset, u64)]) {
        let mut durable = self.durable.lock();
        durable.end = end;
        let segment = durable.segments.back_mut().expect("never empty");
        if let Some(index) = &mut segment.index {
            for (offset, start) in starts {
                index.note(*offset, segment.bytes + start);
            }
        }
        segment.bytes = bytes;
        segment.newest_ms = segment.newest_ms.max(Some(newest_ms));
        drop(durable);
        self.grown.notify_all();
    }

    /// The latest append time in the active segment.
    pub(super) fn newest_ms(&self) -> Option<i64> {
        self.durable.lock().segments.back().expect("never empty").newest_ms
    }

    /// Goes on with a new, empty segment.
    pub(super) fn add_segment(&self, base: Offset) {
        let mut durable = self.durable.lock();
        durable.segments.push_back(Segment { base, bytes: START, newest_ms: None, index: Some(Index::default()) });
    }

    /// Takes out the oldest segments that are older than `oldest_ms`, but never the one written to. No segment is newer than
    /// one behind it: a single record from a clock that was ahead keeps its segment no longer than that one lives.
    /// No reader is sent there any more; the files are the caller's to remove, in this order.
    pub(super) fn take_expired(&self, oldest_ms: i64) -> Vec<Offset> {
        let mut durable = self.durable.lock();
        let mut expired = Vec::new();
        let is_old = |segment: &Segment| segment.newest_ms.is_some_and(|newest_ms| newest_ms < oldest_ms);
        let last_old = durable.segments.iter().rposition(is_old).map_or(0, |last| last + 1);
        while durable.segments.len() > 1 && expired.len() < last_old {
            expired.extend(durable.segments.pop_front().map(|segment| segment.base));
        }
        expired
    }

    /// Nobody wants the records before `before` any more.
    pub(super) fn forget(&self, before: Offset) {
        let mut durable = self.durable.lock();
        durable.forget_before = durable.forget_before.max(before);
    }

    /// Whether nobody wants any record that there is.
    pub(super) fn is_forgotten(&self) -> bool {
        let durable = self.durable.lock();
        durable.forget_before >= durable.end
    }

    /// Takes out the oldest segments that nobody wants, but never the one written to; as with
    /// [`PartitionLog::take_expired`] the files are the caller's.
    pub(super) fn take_forgotten(&self) -> Vec<Offset> {
        let mut durable = self.durable.lock();
        let mut forgotten = Vec::new();
        while durable.segments.get(1).is_some_and(|next| next.base <= durable.forget_before) {
            forgotten.extend(durable.segments.pop_front().map(|segment| segment.base));
        }
        forgotten
    }

    /// What its records take on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.durable.lock().segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Waits until the record at `next` may be read, and tells where it is; `None` at the deadline.
    pub(super) fn view(
        &self,
        next: Offset,
        deadline: Option<Instant>,
        revoked: &AtomicBool,
    ) -> Result<Option<View>, LogError> {
        let mut durable = self.durable.lock();
        loop {
            if revoked.load(Ordering::Acquire) {
                return Err(LogError::Closed);
            }
            let bounds = durable.bounds();
            if next < bounds.start || next > bounds.end {
                return Err(LogError::OutOfRange { partition: self.number, wanted: next, bounds });
            }
            if next < bounds.end {
                let after = durable.segments.partition_point(|segment| segment.base <= next);
                let segment = &durable.segments[after - 1];
                return Ok(Some(View { base: segment.base, bytes: segment.bytes }));
            }
            if durable.closed {
                return Err(LogError::Closed);
            }
            let timed_out = match deadline {
                Some(deadline) => self.grown.wait_until(&mut durable, deadline).timed_out(),
                None => {
                    self.grown.wait(&mut durable);
                    false
                }
            };
            if timed_out && durable.end == next && !durable.closed && !revoked.load(Ordering::Acquire) {
                return Ok(None);
            }
        }
    }

    /// Opens a segment for reading, and tells where a frame not far before that of `offset` begins.
    /// `None` where the segment has been dropped in the meantime.
    pub(super) fn open_at(&self, view: &View, offset: Offset) -> Result<Option<(File, u64)>, LogError> {
        let path = segment::path(&self.dir, view.base);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound && self.bounds().start > view.base => return Ok(None),
            Err(e) => return Err(io_error("open", &path, e)),
        };
        if offset == view.base {
            return Ok(Some((file, START)));
        }
        if let Some(start) =
            self.durable.lock().index_of(view.base).and_then(|index| index.as_ref()).map(|i| i.before(offset))
        {
            return Ok(Some((file, start)));
        }
        // Read once, without holding up the writer.
        let io = |e| io_error("read", &path, e);
        let index = scan::index(file.try_clone().map_err(io)?, view.bytes).map_err(io)?;
        let start = index.before(offset);
        if let Some(empty) = self.durable.lock().index_of(view.base) {
            empty.get_or_insert(index);
        }
        Ok(Some((file, start)))
    }

    /// Wakes the readers so that they look around.
    pub(super) fn wake(&self) {
        // Under the lock, so that no reader has looked and not yet begun to wait.
        let _durable = self.durable.lock();
        self.grown.notify_all();
    }

    /// Tells readers that nothing more comes.
    pub(super) fn close_readers(&self) {
        self.durable.lock().closed = true;
        self.grown.notify_all();
    }
}

impl Durable {
    fn bounds(&self) -> Bounds {
        Bounds { start: self.segments[0].base, end: self.end }
    }

    fn index_of(&mut self, base: Offset) -> Option<&mut Option<Index>> {
        let i = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        Some(&mut self.segments[i].index)
    }
}

/// Cuts a torn tail and makes sure that what was found is on disk: after a killed process it may be in memory only.
fn settle(path: &Path, file: File, base: Offset, contents: &scan::Contents) -> Result<Active, LogError> {
    let settle = || {
        if contents.torn_bytes > 0 {
            file.set_len(contents.bytes)?;
        }
        file.sync_all()?;
        Ok(file.metadata()?.len())
    };
    let allocated = settle().map_err(|e| io_error("sync", path, e))?;
    if contents.torn_bytes > 0 {
        tracing::warn!(
            segment = %path.display(), bytes = contents.torn_bytes, end = contents.end,
            "cut off the last write, which is not whole: torn when the process or the machine stopped before it was acknowledged, or damaged since"
        );
    }
    Ok(Active { file, base, bytes: contents.bytes, allocated })
}
