//! Which way an append goes: to the log, or to the spool for as much as that may hold.

use super::Shared;
use crate::embedded::frame_length;
use crate::{Accepted, Append, AppendError, NewRecord, ReadLog as _};
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use track_proto::event;

/// Room for the largest request of a single event: with less the spool is as good as full.
const ROOM_BYTES: u64 = 64 << 10;

impl Shared {
    /// The log, where it takes appends.
    pub(super) fn taking(&self) -> Option<&Arc<dyn Append>> {
        if self.switch.is_away() {
            return None;
        }
        let log = self.log.get()?;
        match log.check_ready() {
            Ok(()) => Some(log),
            Err(reason) => {
                self.switch.turn_away(reason);
                None
            }
        }
    }

    /// Spools what the log did not take, where it can't count twice.
    pub(super) async fn spool_instead(
        self: Arc<Self>,
        records: Vec<NewRecord>,
        error: AppendError,
    ) -> Result<Accepted, AppendError> {
        match &error {
            // It works, and has enough to do for now.
            AppendError::Busy => {}
            AppendError::NotAppended(reason) => self.switch.turn_away(reason.clone()),
            AppendError::Unavailable(reason) => {
                self.switch.turn_away(reason.clone());
                // It may be there all the same, and there no id of ours is remembered: only a client's makes it count once.
                if !records.iter().all(|record| event::counts_once(&record.value)) {
                    return Err(error);
                }
            }
        }
        self.spool(records).await
    }

    /// Makes records durable in the spool.
    pub(super) fn spool(
        self: &Arc<Self>,
        records: Vec<NewRecord>,
    ) -> BoxFuture<'static, Result<Accepted, AppendError>> {
        if let Some(broken) = self.switch.broken() {
            return ready(Err(AppendError::NotAppended(broken))).boxed();
        }
        let bytes = records.iter().map(|record| frame_length(&record.key, &record.value) as u64).sum();
        let Some(coming) = Coming::take(self, bytes) else {
            return ready(Err(AppendError::NotAppended(self.is_full()))).boxed();
        };
        let count = records.len() as u64;
        let appended = self.spooled.append(records);
        async move {
            appended.await?;
            let shared = &coming.shared;
            shared.meters.spooled.increment(count);
            if let Some(reason) = shared.switch.begin_spooling() {
                let dir = shared.config.dir.display();
                tracing::warn!(%dir, "events are spooled until the log takes them again: {reason}");
            }
            Ok(Accepted::Spooled)
        }
        .boxed()
    }

    /// How many records wait to be forwarded.
    pub(super) fn waiting(&self) -> u64 {
        let end = self.spooled.bounds(0).map_or(0, |bounds| bounds.end);
        end.saturating_sub(self.next.load(Ordering::Acquire))
    }

    /// Why the log takes no appends, as far as is known.
    pub(super) fn away(&self) -> Option<String> {
        let log = || match self.log.get() {
            Some(log) => log.check_ready().err(),
            None => Some("the log is not there yet".to_owned()),
        };
        self.switch.reason().or_else(log)
    }

    /// Why the spool would take nothing now.
    pub(super) fn trouble(&self) -> Option<String> {
        let disk = || self.spooled.check_ready().err().map(|error| format!("the spool: {error}"));
        let full = || (self.spooled.bytes() + ROOM_BYTES > self.config.bytes_max).then(|| self.is_full());
        self.switch.broken().or_else(disk).or_else(full)
    }

    fn is_full(&self) -> String {
        let (dir, bytes_max) = (self.config.dir.display(), self.config.bytes_max);
        format!("the spool in {dir} is full: it may hold {bytes_max} bytes")
    }
}

/// Bytes on their way into the spool, which count until they are there or come to nothing.
struct Coming {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Coming {
    /// `None` where there is no room for them.
    fn take(shared: &Arc<Shared>, bytes: u64) -> Option<Self> {
        let before = shared.bytes_coming.fetch_add(bytes, Ordering::AcqRel);
        // From here on what is taken is given back.
        let coming = Self { shared: Arc::clone(shared), bytes };
        (shared.spooled.bytes() + before + bytes <= shared.config.bytes_max).then_some(coming)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.shared.bytes_coming.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}
