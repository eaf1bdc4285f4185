//! The spool, before a log that does as the test says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "spool/folder.rs"]
mod folder;
#[path = "spool/forwarding.rs"]
mod forwarding;
#[path = "spool/intake.rs"]
mod intake;

use anyhow::ensure;
use futures::executor::block_on;
use futures::future::{self, BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use track_harness::poll::eventually;
use track_log::spool::{Config, Spool};
use track_log::{Accept as _, Accepted, Append, AppendError, NewRecord, Position};
use track_proto::event::{self, Event};

const PATIENCE: Duration = Duration::from_secs(30);
const BYTES_MAX: u64 = 1 << 30;

/// What the log does with the next append.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mood {
    Takes,
    /// Says so beforehand.
    Away,
    Fails(AppendError),
    /// Takes it, and says that it may not have.
    TakesAndFails,
    NeverAnswers,
    /// Fails for one user, and takes what comes without its events.
    Refuses(&'static str),
}

/// A log that remembers what it took.
struct Log {
    mood: Mutex<Mood>,
    /// How often it was asked to append, and how often not by who forwards.
    asked: Mutex<(usize, usize)>,
    taken: Mutex<Vec<NewRecord>>,
}

impl Log {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(mood), asked: Mutex::default(), taken: Mutex::default() })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// How often it was asked to append.
    fn asked(&self) -> usize {
        self.asked.lock().0
    }

    /// How often with events as they came.
    fn asked_straight(&self) -> usize {
        self.asked.lock().1
    }

    /// The events that it took, in order.
    fn events(&self) -> Vec<Event> {
        let taken = self.taken.lock();
        taken.iter().map(|record| event::decode(Some(&record.key), &record.value).unwrap()).collect()
    }

    /// Their ids.
    fn ids(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.event_id).collect()
    }

    fn wait_for(&self, records: usize) {
        eventually(PATIENCE, "the log has them", || {
            let taken = self.taken.lock().len();
            ensure!(taken >= records, "{taken} of {records}");
            Ok(())
        })
        .unwrap();
    }
}

impl Append for Log {
    fn partition_count(&self) -> u32 {
        2
    }

    fn append(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Vec<Position>, AppendError>> {
        {
            let mut asked = self.asked.lock();
            asked.0 += 1;
            asked.1 += usize::from(!records.iter().all(|record| event::counts_once(&record.value)));
        }
        let mood = self.mood.lock().clone();
        match mood {
            Mood::NeverAnswers => return future::pending().boxed(),
            Mood::Fails(error) => return future::err(error).boxed(),
            Mood::Away => return future::err(AppendError::NotAppended("nobody is there".to_owned())).boxed(),
            Mood::Refuses(user) if records.iter().any(|record| record.key == user) => {
                return future::err(AppendError::Unavailable("too few replicas".to_owned())).boxed();
            }
            Mood::Takes | Mood::TakesAndFails | Mood::Refuses(_) => {}
        }
        let mut taken = self.taken.lock();
        let first = taken.len() as u64;
        let positions = (first..).take(records.len()).map(|offset| Position { partition: 0, offset }).collect();
        taken.extend(records);
        match mood {
            Mood::TakesAndFails => future::err(AppendError::Unavailable("no answer".to_owned())).boxed(),
            _ => future::ok(positions).boxed(),
        }
    }

    fn check_ready(&self) -> Result<(), String> {
        if *self.mood.lock() == Mood::Away { Err("nobody is there".to_owned()) } else { Ok(()) }
    }
}

fn opened(dir: &Path) -> Spool {
    limited(dir, BYTES_MAX)
}

fn limited(dir: &Path, bytes_max: u64) -> Spool {
    Spool::open(Config { dir: dir.to_owned(), bytes_max }, Arc::new(|| 1_735_689_600_000)).unwrap()
}

/// A spool before a log that it has found to take appends.
fn connected(dir: &Path, log: &Arc<Log>) -> Spool {
    let spool = opened(dir);
    spool.connect(Arc::clone(log) as _);
    eventually(PATIENCE, "it goes straight to the log", || {
        ensure!(spool.check_ready() == Ok(None), "{:?}", spool.check_ready());
        Ok(())
    })
    .unwrap();
    spool
}

/// An event with this id, which a client chose or ingest.
fn record(id: &str, is_clients: bool) -> NewRecord {
    record_of("u", id, is_clients)
}

fn record_of(user: &'static str, id: &str, is_clients: bool) -> NewRecord {
    let event = Event {
        event_id: id.to_owned(),
        event: "play".to_owned(),
        user_id: user.to_owned(),
        timestamp_ms: 1_735_689_600_000,
        client_event_id: is_clients,
        ..Event::default()
    };
    NewRecord { key: user.into(), value: event::encode(&event) }
}

fn accept(spool: &Spool, records: Vec<NewRecord>) -> Result<Accepted, AppendError> {
    block_on(spool.accept(records))
}

/// Spools an event of ingest's own id.
fn spool_one(spool: &Spool, id: &str) {
    assert_eq!(accept(spool, vec![record(id, false)]), Ok(Accepted::Spooled));
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("partition-0000")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

/// Waits until nothing is left in the folder but an empty segment.
fn wait_empty(dir: &Path) {
    eventually(PATIENCE, "the spool is empty", || {
        let lengths: Vec<u64> = segments(dir).iter().map(|path| path.metadata().unwrap().len()).collect();
        ensure!(lengths == [40], "segments of {lengths:?} bytes");
        Ok(())
    })
    .unwrap();
}
