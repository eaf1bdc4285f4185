//! A log in memory, and the service on it with a clock that stands still.

#![allow(dead_code, reason = "each test file uses a part of it")]

use futures::FutureExt as _;
use futures::future::{self, BoxFuture};
use std::sync::{Arc, Mutex};
use track_ingest::{Config, Ingest};
use track_log::{Append, AppendError, NewRecord, Position};
use track_proto::event::{self, Event};
use track_proto::partitioner::partition_for;

/// The server's time: 2025-06-01T12:00:00Z.
pub(crate) const NOW_MS: i64 = 1_748_779_200_000;
pub(crate) const PARTITIONS: u32 = 4;

/// What the log does with the next append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    Fails(AppendError),
    NeverAnswers,
}

pub(crate) struct MemoryLog {
    mood: Mood,
    /// The records of each append.
    pub(crate) appends: Mutex<Vec<Vec<NewRecord>>>,
}

impl MemoryLog {
    pub(crate) fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood, appends: Mutex::default() })
    }

    /// All events, in the order in which they were appended, each checked as the processor would.
    pub(crate) fn events(&self) -> Vec<Event> {
        let appends = self.appends.lock().unwrap();
        appends.iter().flatten().map(|record| event::decode(Some(&record.key), &record.value).unwrap()).collect()
    }
}

impl Append for MemoryLog {
    fn partition_count(&self) -> u32 {
        PARTITIONS
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Vec<Position>, AppendError>> {
        match &self.mood {
            Mood::NeverAnswers => return future::pending().boxed(),
            Mood::Fails(error) => return future::err(error.clone()).boxed(),
            Mood::Takes => {}
        }
        let mut appends = self.appends.lock().unwrap();
        let mut next = vec![0; PARTITIONS as usize];
        for record in appends.iter().flatten() {
            next[partition_for(&record.key, PARTITIONS) as usize] += 1;
        }
        let place = |record: &NewRecord| {
            let partition = partition_for(&record.key, PARTITIONS);
            let offset = next[partition as usize];
            next[partition as usize] += 1;
            Position { partition, offset }
        };
        let positions = records.iter().map(place).collect();
        appends.push(records);
        future::ok(positions).boxed()
    }

    fn check_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) fn ingest(log: &Arc<MemoryLog>, config: Config) -> Ingest {
    Ingest::new(config, Arc::clone(log) as _, Arc::new(|| NOW_MS))
}
