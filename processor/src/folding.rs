//! What a partition's thread does while its store is well: read → fold → write → tell.

use crate::error::ProcessorError;
use crate::fold::{self, Dead, Folded};
use crate::letter;
use crate::partition::{Halt, Owned};
use crate::reclaim::Reclaim;
use crate::state::progress::Progress;
use crate::state::store::Store;
use crate::state::working_set::WorkingSet;
use fail::fail_point;
use metrics::counter;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_log::{LogError, PartitionReader, Record};

/// Records read and decoded at once.
const BATCH_RECORDS_MAX: usize = 10_000;
/// How long one batch may fold before the rest of it waits: a stop waits no longer. One user's disordered edges can move
/// thousands of sessions each.
const BATCH_WORK_MAX: Duration = Duration::from_millis(500);
/// How many edges are inserted, and sessions moved by them, between two looks at the clock and at whether to stop: two looks take as
/// long as a good part of an ordinary edge.
const MOVES_PER_LOOK: usize = 64;
/// As long as so many records wait on the log, what they lead to is gathered: the more of them go into one write, the
/// more of them are added up in memory. Whoever is this far behind is not up to date by any measure.
const BACKLOG_RECORDS_MIN: u64 = 1_000;
/// How many records are gathered at most, where memory has room for them.
const GATHERED_RECORDS_MAX: usize = 50_000;
/// How long what is folded may wait to be written, and so to be seen.
const GATHER_FOR_MAX: Duration = Duration::from_millis(200);
/// How soon after a write the next may begin where the fold is up to date. A write costs much beside its rows, and rows over all users
/// are in each of them: single events that come by the thousand are folded together, and one after a silence at once.
const WRITE_INTERVAL_MIN: Duration = Duration::from_millis(2);
/// How long a read waits where the log is quiet; also how soon a stop is noticed.
const READ_WAIT: Duration = Duration::from_millis(100);
/// How much folding a crash may cost.
const FLUSH_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before a dead letter is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One partition being folded, from an opened store on until it is stopped or fails.
pub(crate) struct Folding<'a> {
    owned: &'a Arc<Owned>,
    reader: Box<dyn PartitionReader>,
    working: WorkingSet,
    /// How far `working` is.
    folded: Progress,
    gathered: Option<Gathered>,
    last_write: Option<Instant>,
    flush: FlushTimer,
}

/// What is in the working set and not written yet.
struct Gathered {
    since: Instant,
    records: usize,
    events: u64,
    duplicates: u64,
}

impl<'a> Folding<'a> {
    pub(crate) fn new(owned: &'a Arc<Owned>, reader: Box<dyn PartitionReader>) -> Self {
        Self {
            owned,
            reader,
            working: owned.working_set(),
            folded: owned.progress(),
            gathered: None,
            last_write: None,
            flush: FlushTimer::new(),
        }
    }

    pub(crate) fn run_until_stopped(mut self) -> Result<(), Halt> {
        let mut records = Vec::new();
        let mut reclaim = Reclaim::default();
        while !self.owned.is_stopped() {
            if let Some(error) = self.owned.take_trouble() {
                return Err(Halt::Store(error));
            }
            records.clear();
            self.rest();
            let wait = if self.gathered.is_some() { Duration::ZERO } else { READ_WAIT };
            match self.reader.read(&mut records, BATCH_RECORDS_MAX, wait) {
                Ok(()) => {}
                Err(LogError::Closed) => break,
                Err(source) => return Err(ProcessorError::reading(self.owned.partition, source).into()),
            }
            let mut rest = records.as_slice();
            while !rest.is_empty() && !self.owned.is_stopped() {
                let batch = &rest[..self.serve_pins(rest)?];
                let Some(consumed) = self.fold_batch(batch)? else { return Ok(()) };
                let (consumed, more) = rest.split_at(consumed);
                if self.is_write_due(!more.is_empty()) {
                    self.write()?;
                }
                self.owned.tell_reach(&*self.reader, consumed.last());
                rest = more;
            }
            if records.is_empty() {
                self.write()?;
                // Where nothing is written, nothing says that a compaction has failed.
                self.owned.with_store(Store::check_background)?;
                self.serve_pins(&[])?;
                self.owned.tell_reach(&*self.reader, None);
            }
            let is_sweep_due = reclaim.is_due(self.owned)?;
            if self.flush.is_due() || is_sweep_due {
                self.owned.with_store(Store::flush)?;
                self.flush = FlushTimer::new();
            }
            if is_sweep_due {
                reclaim.begin(self.owned)?;
            }
        }
        self.write()
    }

    /// Where the fold is up to date and has just written, lets some more come for the next write.
    fn rest(&self) {
        let waiting = self.reader.log_end().saturating_sub(self.folded.next_offset);
        let since_write = self.last_write.map(|at| at.elapsed());
        if let Some(rest) = rest(self.gathered.is_some(), waiting, since_write) {
            self.owned.wait_stopped(rest);
        }
    }

    /// Lets those look who want to see the state as it is now, and says how many of `coming` may be folded at once.
    fn serve_pins(&mut self, coming: &[Record]) -> Result<usize, Halt> {
        let owned = self.owned;
        if owned.pins().is_empty() {
            return Ok(coming.len());
        }
        self.write()?;
        Ok(owned.pins().serve(self.folded.next_offset, coming))
    }

    /// Folds as many of `records` as there is time for, and says how many. `None` where the partition was stopped while
    /// dead letters could not be written: what is gathered must not be written either, and whoever comes next folds it.
    fn fold_batch(&mut self, records: &[Record]) -> Result<Option<usize>, Halt> {
        let (owned, working, before) = (self.owned, &mut self.working, self.folded);
        let began = Instant::now();
        let since_look = Cell::new(0);
        let has_time = |sessions_moved: usize| {
            since_look.set(since_look.get() + 1 + sessions_moved);
            if since_look.get() < MOVES_PER_LOOK {
                return true;
            }
            since_look.set(0);
            began.elapsed() < BATCH_WORK_MAX && !owned.is_stopped()
        };
        let Folded { progress, events, duplicates, dead, consumed } = owned.with_store(|store| {
            fold::fold(working, store, owned.rules(), owned.session_rules(), before, records, has_time)
        })?;
        if !self.bury(&dead, records) {
            return Ok(None);
        }
        if !dead.is_empty() {
            fail_point!("dead-letters-appended", |_| std::process::abort());
        }
        self.folded = progress;
        let gathered = self.gathered.get_or_insert(Gathered { since: began, records: 0, events: 0, duplicates: 0 });
        gathered.records += consumed;
        gathered.events += events;
        gathered.duplicates += duplicates;
        Ok(Some(consumed))
    }

    fn is_write_due(&self, has_read_more: bool) -> bool {
        self.gathered.as_ref().is_some_and(|gathered| {
            let waiting = self.reader.log_end().saturating_sub(self.folded.next_offset);
            let is_behind = has_read_more || waiting >= BACKLOG_RECORDS_MIN;
            let records_max = GATHERED_RECORDS_MAX.min(self.working.gathered_records_max());
            !is_behind || gathered.records >= records_max || gathered.since.elapsed() >= GATHER_FOR_MAX
        })
    }

    /// Writes what is gathered, for everybody to see.
    fn write(&mut self) -> Result<(), Halt> {
        let Some(Gathered { events, duplicates, .. }) = self.gathered.take() else { return Ok(()) };
        fail_point!("fold-built", |_| std::process::abort());
        let (working, folded) = (&mut self.working, self.folded);
        self.owned.with_store(|store| working.write(store, folded))?;
        fail_point!("fold-written", |_| std::process::abort());
        self.flush.has_written();
        self.last_write = Some(Instant::now());
        counter!("track_events_folded_total").increment(events);
        counter!("track_events_duplicate_total").increment(duplicates);
        self.owned.advance(self.folded);
        Ok(())
    }

    /// Puts what could not be folded on the dead-letter log, before the offset moves past it. False where the partition
    /// was stopped before that worked.
    fn bury(&self, dead: &[Dead], records: &[Record]) -> bool {
        if dead.is_empty() {
            return true;
        }
        let partition = self.owned.partition;
        let letter = |dead: &Dead| letter::write(partition, &records[dead.index], &dead.reason);
        let letters: Vec<_> = dead.iter().map(letter).collect();
        loop {
            match futures::executor::block_on(self.owned.dead_letters().append(letters.clone())) {
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(partition, %error, "dead letters could not be written, trying again");
                    if self.owned.wait_stopped(RETRY_AFTER) {
                        return false;
                    }
                }
            }
        }
        for dead in dead {
            let offset = records[dead.index].offset;
            tracing::warn!(partition, offset, reason = %dead.reason, "dead letter");
            counter!("track_dead_letters_total", "reason" => dead.kind()).increment(1);
        }
        true
    }
}

/// How long more records may come before what `waiting` there are is read; `None` where they are not to be waited for.
fn rest(has_gathered: bool, waiting: u64, since_write: Option<Duration>) -> Option<Duration> {
    let is_behind = has_gathered || waiting >= BACKLOG_RECORDS_MIN;
    WRITE_INTERVAL_MIN.checked_sub(since_write?).filter(|rest| !is_behind && !rest.is_zero())
}

/// When the store is flushed: some time after the first write that is not on disk.
struct FlushTimer(Option<Instant>);

impl FlushTimer {
    fn new() -> Self {
        Self(None)
    }

    fn has_written(&mut self) {
        self.0.get_or_insert_with(|| Instant::now() + FLUSH_EVERY);
    }

    fn is_due(&self) -> bool {
        fail_point!("flush-due", |_| self.0.is_some());
        self.0.is_some_and(|due| Instant::now() >= due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_rests_between_writes_unless_it_is_behind() {
        let just_now = Some(WRITE_INTERVAL_MIN / 4);
        assert_eq!(rest(false, 0, just_now), Some(WRITE_INTERVAL_MIN * 3 / 4));
        assert_eq!(rest(false, BACKLOG_RECORDS_MIN - 1, just_now), Some(WRITE_INTERVAL_MIN * 3 / 4));
        assert_eq!(rest(false, BACKLOG_RECORDS_MIN, just_now), None);
        assert_eq!(rest(true, 0, just_now), None);
        assert_eq!(rest(false, 0, Some(WRITE_INTERVAL_MIN)), None);
        assert_eq!(rest(false, 0, Some(Duration::from_secs(9))), None);
        assert_eq!(rest(false, 0, None), None);
    }
}
