//! The thread that writes a partition: everything queued while the last sync ran goes to disk in the next write.
//!
//! Nothing is shown to readers or acknowledged before it is synced. When a write or a sync fails, the whole group is
//! refused and the file is cut back to what is durable. Then the thread tries, again and again, whether the disk takes
//! writes; until it does, appends are refused.

use super::frame::Header;
use super::partition::{Active, PartitionLog};
use super::queue::{Closing, Group};
use super::segment::{self, START};
use super::{io_error, scan};
use crate::{LogError, Offset};
use fail::fail_point;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_proto::clock::Clock;

/// The file is lengthened with zeros in steps of this size. A sync of a file whose length stays is several times
/// cheaper, since it writes no metadata.
const STEP_BYTES: u64 = 1 << 20;
/// Behind a group longer than this no zeros are written: groups of such length would have each byte written twice, and
/// metadata is little beside them.
const LONG_GROUP_BYTES: u64 = 64 << 10;
/// How long to wait before the disk is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// The file system keeps its pages in units of this size, or of a divisor of it.
const PAGE_BYTES: u64 = 4096;

/// What the writer goes by.
#[derive(Clone)]
pub(super) struct Limits {
    pub(super) segment_bytes_max: u64,
    pub(super) retention_ms: i64,
    pub(super) clock: Clock,
}

pub(super) struct Writer {
    partition: Arc<PartitionLog>,
    active: Active,
    /// The offset after the last durable record.
    end: Offset,
    limits: Limits,
    zeros: Vec<u8>,
    /// What the file holds is not known, since a sync or a cut failed.
    suspect: bool,
    /// The clock when it was last looked for what has expired.
    looked_at_ms: i64,
}

impl Writer {
    pub(super) fn new(partition: Arc<PartitionLog>, active: Active, limits: Limits) -> Self {
        let end = partition.bounds().end;
        let zeros = vec![0; usize::try_from(STEP_BYTES).expect("a step fits into memory")];
        Self { partition, active, end, limits, zeros, suspect: false, looked_at_ms: i64::MIN }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // However this thread ends, nobody waits for it in vain.
        let _end = End(Arc::clone(&self.partition));
        let partition = Arc::clone(&self.partition);
        let check_every = retention_check_every(self.limits.retention_ms);
        let mut check_at = Instant::now();
        let mut group = Group::default();
        loop {
            if Instant::now() >= check_at {
                self.drop_expired();
                check_at = Instant::now() + check_every;
            }
            if let Err(error) = self.drop_forgotten() {
                self.refuse(&mut Group::default(), &error);
                if self.recover().is_err() {
                    return;
                }
            }
            match partition.queue.next_group(&mut group, check_at) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(Closing) => return,
            }
            match self.write(&group) {
                Ok(()) => group.done(&Ok(())),
                Err(error) => {
                    self.refuse(&mut group, &error);
                    if self.recover().is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Refuses a group and all that come after it, until it has recovered.
    fn refuse(&self, group: &mut Group, error: &LogError) {
        let trouble = error.to_string();
        tracing::error!(partition = self.partition.number, error = %trouble, "appends are refused");
        self.partition.queue.fail(group, self.end, &trouble);
    }

    /// Makes a group durable and shows it to readers.
    fn write(&mut self, group: &Group) -> Result<(), LogError> {
        let length = group.frames.len() as u64;
        if self.active.bytes > START && self.active.bytes + length > self.limits.segment_bytes_max {
            self.roll()?;
        }
        let path = segment::path(&self.partition.dir, self.active.base);
        let end = self.active.bytes + length;
        let file = &self.active.file;
        file.write_all_at(&group.frames, self.active.bytes).map_err(|e| io_error("write", &path, e))?;
        if length > LONG_GROUP_BYTES {
            self.active.allocated = self.active.allocated.max(end);
        } else if end > self.active.allocated {
            // Only to be quick: where it fails the next group is still tried.
            let ahead = end.next_multiple_of(STEP_BYTES).min(end.max(self.limits.segment_bytes_max)) - end;
            let zeros = &self.zeros[..usize::try_from(ahead).expect("less than a step")];
            self.active.allocated = if file.write_all_at(zeros, end).is_ok() { end + ahead } else { end };
        }
        file.sync_data().map_err(|e| {
            self.suspect = true;
            io_error("sync", &path, e)
        })?;
        fail_point!("log-synced", |_| std::process::abort());
        self.active.bytes = end;
        self.end = group.end;
        self.partition.publish(group.end, end, group.newest_ms, &group.starts);
        Ok(())
    }

    /// Ends the active segment at its last record and goes on in a new one.
    fn roll(&mut self) -> Result<(), LogError> {
        let path = segment::path(&self.partition.dir, self.active.base);
        let cut = self.active.file.set_len(self.active.bytes).and_then(|()| self.active.file.sync_all());
        cut.map_err(|e| {
            self.suspect = true;
            io_error("end", &path, e)
        })?;
        self.active.allocated = self.active.bytes;
        let header = Header {
            partition: self.partition.number,
            base: self.end,
            newest_ms_before: self.partition.newest_ms().unwrap_or(i64::MIN),
        };
        let file = segment::create(&self.partition.dir, header)
            .map_err(|e| io_error("make a segment in", &self.partition.dir, e))?;
        self.active = Active { file, base: self.end, bytes: START, allocated: START };
        self.partition.add_segment(self.end);
        Ok(())
    }

    /// Drops the segments whose newest record is older than the retention, by this look at the clock and by the one before:
    /// a clock that is ahead for a moment drops nothing.
    fn drop_expired(&mut self) {
        let now_ms = (self.limits.clock)();
        let before_ms = std::mem::replace(&mut self.looked_at_ms, now_ms);
        let oldest_ms = now_ms.min(before_ms).saturating_sub(self.limits.retention_ms);
        for base in self.partition.take_expired(oldest_ms) {
            // Where it can't be removed: kept until the log is opened again; then it is expired still.
            self.remove(base, "dropped a segment older than the retention");
        }
    }

    /// Drops the segments that nobody wants any more. The one that is written to makes room for an empty one first, where
    /// nobody wants anything of it.
    fn drop_forgotten(&mut self) -> Result<(), LogError> {
        // On a full disk the empty segment finds the room that these leave.
        self.remove_forgotten();
        if self.active.bytes > START && self.partition.is_forgotten() {
            self.roll()?;
            self.remove_forgotten();
        }
        Ok(())
    }

    fn remove_forgotten(&self) {
        for base in self.partition.take_forgotten() {
            self.remove(base, "dropped a segment that is not needed any more");
        }
    }

    fn remove(&self, base: Offset, why: &str) {
        let path = segment::path(&self.partition.dir, base);
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(segment = %path.display(), "{why}"),
            Err(error) => tracing::warn!(segment = %path.display(), %error, "could not remove a segment"),
        }
    }

    /// Tries until the file ends with what is durable and the disk takes writes again.
    fn recover(&mut self) -> Result<(), Closing> {
        let mut said = String::new();
        loop {
            // What nobody wants is in the way of the rest.
            match self.restore().and_then(|()| self.drop_forgotten()).and_then(|()| self.probe()) {
                Ok(()) => {
                    tracing::info!(partition = self.partition.number, "appends are taken again");
                    self.partition.queue.recovered();
                    return Ok(());
                }
                Err(error) => {
                    let now = error.to_string();
                    if now != said {
                        tracing::warn!(partition = self.partition.number, error = %now, "the disk takes no writes yet");
                        said = now;
                    }
                }
            }
            self.partition.queue.pause(Instant::now() + RETRY)?;
        }
    }

    /// Cuts the file back to what is durable.
    fn restore(&mut self) -> Result<(), LogError> {
        let path = segment::path(&self.partition.dir, self.active.base);
        let io = |e| io_error("restore", &path, e);
        if !self.suspect {
            self.suspect = true;
            self.active.file.set_len(self.active.bytes).map_err(io)?;
            self.active.allocated = self.active.bytes;
            self.suspect = false;
            return Ok(());
        }
        // After a failed sync the system may hold pages for clean that never reached the disk. Of the durable bytes,
        // only those that share a page with the lost ones can be among them: they are written once more.
        let file = File::options().read(true).write(true).open(&path).map_err(io)?;
        file.set_len(self.active.bytes).map_err(io)?;
        let contents = scan::last_segment(&path, &file, self.active.base)?;
        if (contents.end, contents.bytes) != (self.end, self.active.bytes) {
            let (found, end) = (contents.end, self.end);
            let path = path.display();
            return Err(LogError::Corrupt(format!("{path} ends at offset {found}, and {end} was acknowledged")));
        }
        let page = self.active.bytes - self.active.bytes % PAGE_BYTES;
        let mut shared = vec![0; usize::try_from(self.active.bytes - page).expect("less than a page")];
        file.read_exact_at(&mut shared, page).map_err(io)?;
        file.write_all_at(&shared, page).map_err(io)?;
        file.sync_all().map_err(io)?;
        self.active.file = file;
        self.active.allocated = self.active.bytes;
        self.suspect = false;
        Ok(())
    }

    /// Lengthens the file by a step: an append is likely to find room.
    fn probe(&mut self) -> Result<(), LogError> {
        let path = segment::path(&self.partition.dir, self.active.base);
        let Active { file, bytes, allocated, .. } = &mut self.active;
        if let Err(e) = file.write_all_at(&self.zeros, *bytes) {
            self.suspect = file.set_len(*bytes).is_err();
            return Err(io_error("write", &path, e));
        }
        *allocated = *bytes + STEP_BYTES;
        file.sync_data().map_err(|e| {
            self.suspect = true;
            io_error("sync", &path, e)
        })
    }
}

/// Often enough that a tenth of the retention is the most that anything stays too long, within reason.
fn retention_check_every(retention_ms: i64) -> Duration {
    let tenth_ms = u64::try_from(retention_ms / 10).unwrap_or(0);
    Duration::from_millis(tenth_ms).clamp(Duration::from_millis(100), Duration::from_secs(60))
}

/// The writer is gone: what is queued is refused, and readers are told when they have read all.
struct End(Arc<PartitionLog>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.queue.fail(&mut Group::default(), self.0.bounds().end, super::CLOSED);
        self.0.close_readers();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::queue::{Budget, Latch};
    use crate::{NewRecord, PartitionReader, Record};

    /// A writer without its thread, with two records on disk.
    fn writer(dir: &std::path::Path) -> Writer {
        let (partition, active) = PartitionLog::open(0, dir.join("partition-0000"), true).unwrap();
        let limits = Limits { segment_bytes_max: 1 << 30, retention_ms: 1_000, clock: Arc::new(|| 1) };
        let mut writer = Writer::new(Arc::new(partition), active, limits);
        let mut group = queued(&writer, &["first", "second"]);
        writer.write(&group).unwrap();
        group.done(&Ok(()));
        writer
    }

    fn queued(writer: &Writer, values: &[&'static str]) -> Group {
        let budget = Arc::new(Budget::new(1 << 20));
        let records: Vec<NewRecord> =
            values.iter().map(|value| NewRecord { key: "key".into(), value: (*value).into() }).collect();
        writer.partition.queue.push(records.iter(), 1, Latch::new(1).0, &budget, 0);
        let mut group = Group::default();
        assert!(writer.partition.queue.next_group(&mut group, Instant::now()).is_ok_and(|there| there));
        group
    }

    fn values(writer: &Writer) -> Vec<String> {
        let mut reader = crate::embedded::reader::Reader::new(Arc::clone(&writer.partition), 0, Arc::default());
        let mut records: Vec<Record> = Vec::new();
        reader.read(&mut records, 100, Duration::ZERO).unwrap();
        assert!(records.iter().map(|r| r.offset).eq(0..records.len() as u64));
        records.iter().map(|r| String::from_utf8(r.value.to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_a_failed_sync_left_behind_is_cut_and_its_offset_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        // The bytes are in the file, and the disk has said that it may not have them.
        let mut lost = queued(&writer, &["lost", "lost too"]);
        writer.active.file.write_all_at(&lost.frames, writer.active.bytes).unwrap();
        writer.suspect = true;
        writer.partition.queue.fail(&mut lost, writer.end, "the sync failed");
        assert!(writer.partition.queue.refusal().is_some());
        assert!(writer.recover().is_ok());
        assert_eq!(writer.partition.queue.refusal(), None);

        let group = queued(&writer, &["third"]);
        writer.write(&group).unwrap();
        assert_eq!(values(&writer), ["first", "second", "third"]);
        let path = segment::path(&writer.partition.dir, 0);
        let contents = scan::last_segment(&path, &File::open(&path).unwrap(), 0).unwrap();
        assert_eq!((contents.end, contents.torn_bytes), (3, 0));
    }

    #[test]
    fn a_file_that_lost_what_was_durable_takes_no_appends() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        writer.active.file.write_all_at(&[0; 8], writer.active.bytes - 8).unwrap();
        writer.suspect = true;
        assert!(matches!(writer.restore(), Err(LogError::Corrupt(_))));
        assert!(writer.suspect);
    }
}
