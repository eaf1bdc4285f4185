//! The thread that brings to the log what is spooled: some MiB at a time, in order, and each round remembered before the next.
//!
//! A crash between the log's acknowledgement and the remembering has the round appended once more. So every record goes out
//! as one that counts once, by the id that ingest gave it where its client gave none.

use super::switch::Stopping;
use super::{Shared, place};
use crate::{Append, AppendError, LogError, NewRecord, Offset, Partition, PartitionReader, ReadLog as _, Record};
use fail::fail_point;
use futures::executor::block_on;
use futures::future::{Either, join_all, select};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use track_proto::event;
use track_proto::partitioner::partition_for;

/// How many records go out together; a reader hands on 8 MiB of them at most.
const ROUND_RECORDS_MAX: usize = 10_000;
/// How long to wait before the log is tried again, and between two looks at what is measured.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Forwarder {
    shared: Arc<Shared>,
    reader: Box<dyn PartitionReader>,
    /// What of the round is still to go out, read already; empty where nothing waits.
    round: Vec<Record>,
    /// The offset behind the round's last record.
    round_end: Offset,
    given_up: oneshot::Receiver<()>,
    /// How many have gone out since the spool was last empty.
    records_forwarded: u64,
}

/// What came of an attempt.
enum Came {
    /// A round is on the log.
    Through,
    /// There was none, and the log would take it.
    Nothing,
    /// The log takes nothing now.
    Refusal,
}

impl Forwarder {
    /// Goes on where forwarding has come to. It ends early when `given_up` says so.
    pub(super) fn new(shared: Arc<Shared>, given_up: oneshot::Receiver<()>) -> Result<Self, LogError> {
        let reader = shared.spooled.reader(0, shared.next.load(Ordering::Acquire))?;
        Ok(Self { shared, reader, round: Vec::new(), round_end: 0, given_up, records_forwarded: 0 })
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        // However this thread ends, nobody waits for it in vain.
        let _end = End(Arc::clone(&self.shared));
        let shared = Arc::clone(&self.shared);
        loop {
            if let Err(error) = self.load() {
                tracing::error!(%error, "the spool can't be read: what is in it is not forwarded, and nothing more is spooled");
                shared.switch.break_down(format!("the spool can't be read: {error}"));
                return;
            }
            self.measure();
            let waited = match shared.log.get().map(|log| self.attempt(log.as_ref())) {
                Some(Ok(Came::Through)) => Ok(()),
                Some(Ok(Came::Nothing)) | None => shared.switch.wait(AGAIN_AFTER),
                Some(Ok(Came::Refusal)) => shared.switch.pause(AGAIN_AFTER),
                Some(Err(Stopping)) => Err(Stopping),
            };
            if waited.is_err() || shared.switch.is_stopping() {
                return;
            }
        }
    }

    /// Reads the next round where there is none.
    fn load(&mut self) -> Result<(), LogError> {
        if self.round.is_empty() {
            self.reader.read(&mut self.round, ROUND_RECORDS_MAX, Duration::ZERO)?;
            self.round_end = self.round.last().map_or(0, |record| record.offset + 1);
        }
        Ok(())
    }

    /// Forwards a round, or finds with nothing to forward whether the log takes appends.
    fn attempt(&mut self, log: &dyn Append) -> Result<Came, Stopping> {
        // Who turned away knows more than the log says of itself: that is asked a moment later.
        if self.shared.switch.take_just_turned() {
            return Ok(Came::Refusal);
        }
        if let Err(reason) = log.check_ready() {
            return Ok(self.turned_away(reason));
        }
        let has_round = !self.round.is_empty();
        if has_round {
            let appended = match block_on(select(pin!(append_by_partition(log, &self.round)), &mut self.given_up)) {
                Either::Left((appended, _)) => appended,
                Either::Right(_) => return Err(Stopping),
            };
            match self.keep_failed(appended) {
                None => self.forwarded(),
                Some(AppendError::Busy) => return Ok(Came::Refusal),
                Some(AppendError::NotAppended(reason) | AppendError::Unavailable(reason)) => {
                    return Ok(self.turned_away(reason));
                }
            }
        }
        if self.shared.switch.turn_back() {
            tracing::info!(waiting = self.shared.waiting(), "the log takes events again, nothing more is spooled");
        }
        Ok(if has_round { Came::Through } else { Came::Nothing })
    }

    /// Leaves in the round what is not on the log yet, and says why, if anything is.
    fn keep_failed(&mut self, appended: Vec<Appended>) -> Option<AppendError> {
        let mut failed = Vec::new();
        let mut reason = None;
        for Appended { places, outcome } in appended {
            if let Err(error) = outcome {
                failed.extend(places);
                reason.get_or_insert(error);
            }
        }
        if reason.is_some() {
            failed.sort_unstable();
            self.round = failed.into_iter().map(|place| self.round[place].clone()).collect();
        }
        reason
    }

    /// The log does not take appends; that is known here.
    fn turned_away(&self, reason: String) -> Came {
        self.shared.switch.turn_away(reason);
        self.shared.switch.take_just_turned();
        Came::Refusal
    }

    /// The round is on the log: remembers that, and lets go of what is not needed any more.
    fn forwarded(&mut self) {
        fail_point!("spool-forwarded", |_| std::process::abort());
        let (shared, next) = (&self.shared, self.round_end);
        let records = next.saturating_sub(shared.next.load(Ordering::Acquire));
        self.round.clear();
        if let Err(error) = place::write(&shared.config.dir, next) {
            // After a crash it would be forwarded again, and count once; where the segment is gone by then, not even that.
            tracing::warn!(%error, "how far the spool is forwarded could not be written down");
        }
        fail_point!("spool-remembered", |_| std::process::abort());
        shared.next.store(next, Ordering::Release);
        // There is this partition.
        let _ = shared.spooled.forget(0, next);
        shared.meters.forwarded.increment(records);
        self.records_forwarded += records;
        if shared.waiting() == 0 {
            tracing::info!(records = self.records_forwarded, "all that was spooled is on the log");
            self.records_forwarded = 0;
        }
    }

    fn measure(&self) {
        let Shared { meters, spooled, clock, .. } = &*self.shared;
        let oldest_ms = self.round.first().map(|record| record.append_time_ms);
        let age_ms = oldest_ms.map_or(0, |oldest_ms| clock().saturating_sub(oldest_ms).max(0));
        meters.tell(self.shared.waiting(), spooled.bytes(), Duration::from_millis(age_ms.unsigned_abs()));
    }
}

/// What came of the records of one partition, and which of the round they are.
struct Appended {
    places: Vec<usize>,
    outcome: Result<(), AppendError>,
}

/// Appends a round with one append for each partition: one that takes nothing has the others' records sent no second time.
async fn append_by_partition(log: &dyn Append, round: &[Record]) -> Vec<Appended> {
    let mut by_partition: BTreeMap<Partition, (Vec<usize>, Vec<NewRecord>)> = BTreeMap::new();
    for (place, record) in round.iter().enumerate() {
        let key = record.key.clone().unwrap_or_default();
        let (places, records) = by_partition.entry(partition_for(&key, log.partition_count())).or_default();
        places.push(place);
        records.push(NewRecord { key, value: event::made_to_count_once(&record.value) });
    }
    let appends = by_partition.into_values().map(|(places, records)| {
        let appending = log.append(records);
        async move { Appended { places, outcome: appending.await.map(|_| ()) } }
    });
    join_all(appends).await
}

/// Tells that the thread has ended.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.switch.stopped();
    }
}
