//! What waits to be written to a partition: frames, ready for the disk, and who waits for them.
//!
//! A record gets its offset here, and is encoded here, on the caller's thread, while the writer waits for the disk.

use super::frame;
use crate::{AppendError, NewRecord, Offset};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::oneshot;

/// How many bytes may wait in all partitions together.
pub(super) struct Budget {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: AtomicUsize::new(0) }
    }

    /// Takes `bytes` of it, if it has them. What is larger than all of it is let in alone, or it never would be.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let taken = |now: usize| (now == 0 || now.saturating_add(bytes) <= self.bytes_max).then(|| now + bytes);
        self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// One call of append, which waits for one or more partitions.
pub(super) struct Latch {
    state: Mutex<LatchState>,
}

struct LatchState {
    partitions_waiting: usize,
    error: Option<AppendError>,
    done: Option<oneshot::Sender<Result<(), AppendError>>>,
}

impl Latch {
    pub(super) fn new(partitions: usize) -> (Arc<Self>, oneshot::Receiver<Result<(), AppendError>>) {
        let (sender, receiver) = oneshot::channel();
        let state = LatchState { partitions_waiting: partitions, error: None, done: Some(sender) };
        (Arc::new(Self { state: Mutex::new(state) }), receiver)
    }

    fn partition_done(&self, result: Result<(), AppendError>) {
        let mut state = self.state.lock();
        state.partitions_waiting -= 1;
        if let Err(error) = result {
            state.error.get_or_insert(error);
        }
        if state.partitions_waiting == 0
            && let Some(done) = state.done.take()
        {
            let result = state.error.take().map_or(Ok(()), Err);
            drop(state);
            // Nobody listens where the caller gave up; the records are on the log all the same.
            let _ = done.send(result);
        }
    }
}

/// One call's share in a partition, which is told how it went just once.
struct Share {
    latch: Arc<Latch>,
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    fn done(self, result: Result<(), AppendError>) {
        self.budget.give_back(self.bytes);
        self.latch.partition_done(result);
    }
}

/// What goes to disk in one write.
#[derive(Default)]
pub(super) struct Group {
    pub(super) frames: Vec<u8>,
    /// The offset after its last record.
    pub(super) end: Offset,
    /// The latest append time in it.
    pub(super) newest_ms: i64,
    /// Where its frames begin, counted from the group's own beginning; one every so often.
    pub(super) starts: Vec<(Offset, u64)>,
    shares: Vec<Share>,
}

impl Group {
    pub(super) fn done(&mut self, result: &Result<(), AppendError>) {
        for share in self.shares.drain(..) {
            share.done(result.clone());
        }
    }
}

/// How far apart the entries of [`Group::starts`] are.
const STARTS_BYTES: usize = 64 << 10;
/// A buffer that grew beyond this is not kept.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// The queue of one partition.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    group: Group,
    group_begin: Offset,
    closing: bool,
    /// The writer has something else to do than to write.
    woken: bool,
    /// Why nothing can be appended at the moment.
    trouble: Option<String>,
}

impl State {
    fn refusal(&self) -> Option<AppendError> {
        match &self.trouble {
            Some(trouble) => Some(AppendError::Unavailable(trouble.clone())),
            None if self.closing => Some(AppendError::Unavailable(super::CLOSED.to_owned())),
            None => None,
        }
    }
}

impl Queue {
    pub(super) fn new(end: Offset) -> Self {
        let group = Group { end, newest_ms: i64::MIN, ..Group::default() };
        let state = State { group, group_begin: end, closing: false, woken: false, trouble: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Why an append would be refused now.
    pub(super) fn refusal(&self) -> Option<AppendError> {
        self.state.lock().refusal()
    }

    /// Queues records and tells the offset of the first. The latch is told when they are durable, or refused.
    pub(super) fn push<'a>(
        &self,
        records: impl Iterator<Item = &'a NewRecord>,
        now_ms: i64,
        latch: Arc<Latch>,
        budget: &Arc<Budget>,
        bytes: usize,
    ) -> Offset {
        let share = Share { latch, budget: Arc::clone(budget), bytes };
        let mut state = self.state.lock();
        if let Some(refusal) = state.refusal() {
            let end = state.group.end;
            drop(state);
            share.done(Err(refusal));
            return end;
        }
        let begin = state.group_begin;
        let group = &mut state.group;
        let first = group.end;
        group.newest_ms = group.newest_ms.max(now_ms);
        for record in records {
            let start = group.frames.len();
            if group.starts.last().is_none_or(|(_, last)| start as u64 >= last + STARTS_BYTES as u64) {
                group.starts.push((group.end, start as u64));
            }
            let place = u32::try_from(group.end - begin).unwrap_or(u32::MAX);
            frame::encode(&mut group.frames, group.end, now_ms, place, &record.key, &record.value);
            group.end += 1;
        }
        let was_empty = group.shares.is_empty();
        group.shares.push(share);
        if was_empty {
            self.changed.notify_one();
        }
        first
    }

    /// Waits until there is something to write and swaps it for `written`, whose buffers are used again.
    /// `Ok(false)` at the deadline or where it is woken, `Err` when nothing more will come.
    pub(super) fn next_group(&self, written: &mut Group, deadline: Instant) -> Result<bool, Closing> {
        let mut state = self.state.lock();
        while state.group.shares.is_empty() {
            if state.closing {
                return Err(Closing);
            }
            if std::mem::take(&mut state.woken) {
                return Ok(false);
            }
            if self.changed.wait_until(&mut state, deadline).timed_out() && state.group.shares.is_empty() {
                return Ok(false);
            }
        }
        let end = state.group.end;
        written.frames.clear();
        if written.frames.capacity() > BUFFER_BYTES_KEPT {
            written.frames = Vec::new();
        }
        written.starts.clear();
        (written.end, written.newest_ms) = (end, i64::MIN);
        std::mem::swap(&mut state.group, written);
        state.group_begin = end;
        Ok(true)
    }

    /// Waits until the deadline or until the log closes.
    pub(super) fn pause(&self, deadline: Instant) -> Result<(), Closing> {
        let mut state = self.state.lock();
        while !state.closing {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return Ok(());
            }
        }
        Err(Closing)
    }

    /// Refuses the group that could not be written, what was queued behind it, whose offsets go on from it, and
    /// everything to come until [`Queue::recovered`]. The next record gets the offset `end`.
    pub(super) fn fail(&self, group: &mut Group, end: Offset, trouble: &str) {
        let mut behind = {
            let mut state = self.state.lock();
            state.trouble = Some(trouble.to_owned());
            let fresh = Group { end, newest_ms: i64::MIN, ..Group::default() };
            state.group_begin = end;
            std::mem::replace(&mut state.group, fresh)
        };
        let error = Err(AppendError::Unavailable(trouble.to_owned()));
        group.done(&error);
        behind.done(&error);
    }

    pub(super) fn recovered(&self) {
        self.state.lock().trouble = None;
    }

    /// Has the writer look around.
    pub(super) fn wake(&self) {
        self.state.lock().woken = true;
        self.changed.notify_all();
    }

    /// Takes nothing more; what was taken is still written.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.changed.notify_all();
    }
}

/// The log is closing and all that was queued has been written.
pub(super) struct Closing;
