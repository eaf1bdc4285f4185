//! Reads a partition in order, from segment to segment, up to what is durable.

use super::io_error;
use super::partition::{PartitionLog, View};
use super::segment::{self, Cursor, Step};
use crate::{LogError, Offset, PartitionReader, Record};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// One read hands on no more than this and a record: what is read and not folded yet is in memory.
const READ_BYTES_MAX: usize = 8 << 20;

pub(super) struct Reader {
    partition: Arc<PartitionLog>,
    next: Offset,
    /// The segment with `next` and a cursor that stands there; none before the first read and after an error.
    place: Option<(Offset, Cursor)>,
    revoked: Arc<AtomicBool>,
}

impl Reader {
    /// `from` is judged at the first read.
    pub(super) fn new(partition: Arc<PartitionLog>, from: Offset, revoked: Arc<AtomicBool>) -> Self {
        Self { partition, next: from, place: None, revoked }
    }

    fn damaged(&self, view: &View, what: &str) -> LogError {
        let path = segment::path(&self.partition.dir, view.base);
        LogError::Corrupt(format!(
            "{}: the record of offset {} is {what}; restore the file from a copy, or move the log's folder away to begin anew",
            path.display(),
            self.next
        ))
    }

    /// A cursor at `next` in the segment of `view`; `None` where that has been dropped in the meantime.
    fn cursor(&mut self, view: &View) -> Result<Option<Cursor>, LogError> {
        match self.place.take() {
            Some((base, cursor)) if base == view.base => return Ok(Some(cursor)),
            _ => {}
        }
        let Some((file, start)) = self.partition.open_at(view, self.next)? else { return Ok(None) };
        let mut cursor = Cursor::new(file, start);
        let path = || segment::path(&self.partition.dir, view.base);
        if cursor.skip_to(self.next, view.bytes).map_err(|e| io_error("read", &path(), e))? {
            Ok(Some(cursor))
        } else {
            Err(self.damaged(view, "damaged, or one before it is"))
        }
    }
}

impl PartitionReader for Reader {
    fn read(&mut self, into: &mut Vec<Record>, records_max: usize, wait: Duration) -> Result<(), LogError> {
        let full = into.len().saturating_add(records_max);
        if into.len() == full {
            return Ok(());
        }
        // A wait too long to be an instant is one without an end.
        let deadline = Instant::now().checked_add(wait);
        loop {
            let Some(view) = self.partition.view(self.next, deadline, &self.revoked)? else { return Ok(()) };
            let Some(mut cursor) = self.cursor(&view)? else { continue };
            let before = self.next;
            let mut bytes = 0;
            while into.len() < full && bytes < READ_BYTES_MAX {
                let step = cursor
                    .next(view.bytes)
                    .map_err(|e| io_error("read", &segment::path(&self.partition.dir, view.base), e))?;
                match step {
                    Step::Record(record) if record.offset == self.next => {
                        bytes += record.key.as_ref().map_or(0, Bytes::len) + record.value.len();
                        into.push(record);
                        self.next += 1;
                    }
                    // What was read before the damage is good, and the next read meets the damage again.
                    Step::Record(_) | Step::Damaged if self.next > before => return Ok(()),
                    Step::Record(_) | Step::Damaged => return Err(self.damaged(&view, "damaged")),
                    Step::End => break,
                }
            }
            if self.next == before {
                return Err(self.damaged(&view, "missing"));
            }
            self.place = Some((view.base, cursor));
            return Ok(());
        }
    }

    fn log_end(&self) -> Offset {
        self.partition.bounds().end
    }

    fn log_end_age(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}
