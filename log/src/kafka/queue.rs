//! From the thread that polls librdkafka to the reader of one partition: a bounded queue of chunks.

use super::chunk::Chunk;
use super::tail::Tail;
use crate::{LogError, Offset, PartitionReader, Record};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The queue of one partition.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    readable: Condvar,
    roomy: Condvar,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// Comes after what is queued.
    failure: Option<LogError>,
    closed: bool,
}

impl Queue {
    pub(super) fn push(&self, chunk: Chunk) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.bytes += chunk.bytes();
        state.chunks.push_back(chunk);
        self.readable.notify_one();
    }

    /// Bytes that wait to be read.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Waits until less than `bytes_max` wait to be read; false where that took longer than `wait`.
    pub(super) fn has_room(&self, bytes_max: usize, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let mut state = self.state.lock();
        while state.bytes >= bytes_max {
            if self.roomy.wait_until(&mut state, deadline).timed_out() {
                return state.bytes < bytes_max;
            }
        }
        true
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Lets the reader read what is queued, then fail.
    pub(super) fn fail(&self, failure: LogError) {
        self.state.lock().failure = Some(failure);
        self.readable.notify_one();
    }

    /// Lets the reader read nothing more, not even what is queued.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.chunks.clear();
        state.bytes = 0;
        self.readable.notify_one();
    }
}

/// Reads one partition of a group's.
pub(super) struct QueueReader {
    queue: Arc<Queue>,
    tail: Arc<Tail>,
    /// The chunk that is being read, out of the queue's lock.
    current: Chunk,
}

impl QueueReader {
    pub(super) fn new(queue: Arc<Queue>, tail: Arc<Tail>) -> Self {
        Self { queue, tail, current: Chunk::default() }
    }
}

impl Drop for QueueReader {
    /// Nobody reads it any more: nothing is kept for it, and nobody waits for it.
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl PartitionReader for QueueReader {
    fn read(&mut self, into: &mut Vec<Record>, records_max: usize, wait: Duration) -> Result<(), LogError> {
        let deadline = Instant::now() + wait;
        let (before, full) = (into.len(), into.len() + records_max);
        let mut state = self.queue.state.lock();
        loop {
            if state.closed {
                return Err(LogError::Closed);
            }
            if self.current.is_empty() {
                if let Some(chunk) = state.chunks.pop_front() {
                    state.bytes -= chunk.bytes();
                    self.current = chunk;
                    self.queue.roomy.notify_one();
                } else if into.len() > before {
                    return Ok(());
                } else if let Some(failure) = state.failure.take() {
                    state.closed = true;
                    return Err(failure);
                } else if self.queue.readable.wait_until(&mut state, deadline).timed_out() {
                    return Ok(());
                }
                continue;
            }
            parking_lot::MutexGuard::unlocked(&mut state, || {
                self.current.move_into(into, full - into.len());
            });
            if into.len() >= full {
                return Ok(());
            }
        }
    }

    fn log_end(&self) -> Offset {
        self.tail.end()
    }

    fn log_end_age(&self) -> Option<Duration> {
        self.tail.end_age()
    }
}
