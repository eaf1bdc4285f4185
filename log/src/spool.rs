//! Keeps accepting while the log does not: records go to this machine's disk, durably, and to the log once it takes them
//! again, each of them once in effect.
//!
//! - [`Spool`]: what ingest appends to
//! - `intake`: which way each append goes, and how much the spool takes
//! - `switch`: whether the log takes appends, as far as is known
//! - `forward`: the thread that brings to the log what is spooled
//! - `place`: how far that has come, on disk
//! - `meters`: what is counted
//!
//! The spool is an embedded log of one partition: the key says where a record goes once it is forwarded. Why it is built so:
//! `docs/adr/0012-spool.md`.

mod forward;
mod intake;
mod meters;
mod place;
mod switch;

use crate::embedded::{self, EmbeddedLog};
use crate::{Accept, Accepted, Append, AppendError, LogError, NewRecord, ReadLog as _};
use forward::Forwarder;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use meters::Meters;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use switch::Switch;
use tokio::sync::oneshot;
use track_proto::clock::Clock;

/// How long closing waits for the round that is under way. One that is given up is forwarded again, and counts once.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Where the spool lies and how large it becomes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The spool's folder; made where there is none. One process at a time.
    pub dir: PathBuf,
    /// How much the records in it may take on disk.
    pub bytes_max: u64,
}

/// A log behind a spool. Dropped, it leaves in its folder what is not forwarded yet.
pub struct Spool {
    shared: Arc<Shared>,
    forwarder: Mutex<Option<Running>>,
}

/// The thread that forwards.
struct Running {
    thread: JoinHandle<()>,
    /// Has it give up the round that is under way.
    give_up: oneshot::Sender<()>,
}

struct Shared {
    config: Config,
    spooled: Arc<EmbeddedLog>,
    /// Bytes that are on their way into it.
    bytes_coming: AtomicU64,
    /// The first record that is not known to be forwarded.
    next: AtomicU64,
    /// Where records belong; missing until it could be opened.
    log: OnceLock<Arc<dyn Append>>,
    switch: Switch,
    meters: Meters,
    clock: Clock,
}

impl Spool {
    /// Opens the spool in `config.dir`, or makes one. Until [`Spool::connect`] all goes there. Counts go to the metrics
    /// recorder that is installed by now.
    ///
    /// # Errors
    /// [`LogError::Refused`] where another process holds the folder, or it is that of something else or of a newer format;
    /// [`LogError::Corrupt`] where records are damaged that were once durable; [`LogError::Io`].
    pub fn open(config: Config, clock: Clock) -> Result<Self, LogError> {
        place::claim(&config.dir)?;
        let log = embedded::Config {
            // What is not forwarded stays, however old.
            retention_ms: i64::MAX,
            segment_bytes_max: (config.bytes_max / 16).clamp(1 << 20, 128 << 20),
            ..embedded::Config::new(&config.dir, 1)
        };
        let spooled = EmbeddedLog::open(log, Arc::clone(&clock))?;
        let next = place::first(&config.dir, spooled.bounds(0)?)?;
        spooled.forget(0, next)?;
        let meters = Meters::new(config.bytes_max);
        let shared = Arc::new(Shared {
            config,
            spooled,
            bytes_coming: AtomicU64::new(0),
            next: AtomicU64::new(next),
            log: OnceLock::new(),
            switch: Switch::away("connecting to the log"),
            meters,
            clock,
        });
        if shared.waiting() > 0 {
            tracing::info!(dir = %shared.config.dir.display(), records = shared.waiting(), "the spool holds records of before");
        }
        let (give_up, given_up) = oneshot::channel();
        let forwarder = Forwarder::new(Arc::clone(&shared), given_up)?;
        let thread = std::thread::Builder::new().name("spool-forwarder".to_owned()).spawn(move || forwarder.run());
        let thread = thread.map_err(|source| LogError::Io { context: "start a thread".to_owned(), source })?;
        Ok(Self { shared, forwarder: Mutex::new(Some(Running { thread, give_up })) })
    }

    /// Here is the log: from now on records go there, as long as it takes them.
    pub fn connect(&self, log: Arc<dyn Append>) {
        // There is one; a second would be the same.
        let _ = self.shared.log.set(log);
        self.shared.switch.wake();
    }

    /// Why there is no log yet, for [`Spool::check_ready`].
    pub fn explain(&self, reason: String) {
        self.shared.switch.explain(reason);
    }

    /// Whether an append is likely to succeed now, with what an operator should know where it is.
    ///
    /// # Errors
    /// What stands in the way of both the log and the spool.
    pub fn check_ready(&self) -> Result<Option<String>, String> {
        let waiting = self.shared.waiting();
        match (self.shared.away(), self.shared.trouble()) {
            (Some(away), Some(trouble)) => Err(format!("{away}; and {trouble}")),
            (Some(away), None) => Ok(Some(format!("spooling: {away}; {waiting} records wait"))),
            (None, Some(trouble)) => Ok(Some(trouble)),
            (None, None) => Ok((waiting > 0).then(|| format!("forwarding: {waiting} records wait"))),
        }
    }

    /// Stops forwarding, and waits until that is done. What is left is forwarded after the next start.
    pub fn close(&self) {
        let Some(Running { thread, give_up }) = self.forwarder.lock().take() else { return };
        self.shared.switch.stop(CLOSE_WITHIN);
        drop(give_up);
        // One that panicked has said so.
        let _ = thread.join();
        let left = self.shared.waiting();
        if left > 0 {
            tracing::info!(records = left, "records stay in the spool for the next start");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Accept for Spool {
    fn accept(&self, records: Vec<NewRecord>) -> BoxFuture<'static, Result<Accepted, AppendError>> {
        let Some(log) = self.shared.taking() else { return self.shared.spool(records) };
        let shared = Arc::clone(&self.shared);
        let appended = log.append(records.clone());
        async move {
            match appended.await {
                Ok(positions) => Ok(Accepted::OnLog(positions)),
                Err(error) => shared.spool_instead(records, error).await,
            }
        }
        .boxed()
    }
}
