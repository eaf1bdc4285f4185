//! The append: one for each request, however many events it has.

use crate::Shared;
use crate::error::Refusal;
use fail::fail_point;
use std::time::Instant;
use tokio::time::timeout;
use track_log::{Accepted, AppendError, NewRecord};

/// Appends `records`, and returns once they are durable, with where they are on the log if they are there already.
///
/// # Errors
/// [`Refusal::Append`] or [`Refusal::AppendTimeout`]: then the client must be told that they may not be.
pub(crate) async fn publish(ingest: &Shared, records: Vec<NewRecord>) -> Result<Accepted, Refusal> {
    let events = records.len() as u64;
    let started = Instant::now();
    match timeout(ingest.request_timeout, ingest.log.accept(records)).await {
        Ok(Ok(accepted)) => {
            fail_point!("ingest-appended", |_| std::process::abort());
            ingest.meters.appended_within(started.elapsed());
            ingest.meters.accept(events);
            Ok(accepted)
        }
        Ok(Err(error)) => {
            match &error {
                // Expected under load, and counted.
                AppendError::Busy => tracing::debug!(events, "the log's queue is full"),
                AppendError::NotAppended(_) | AppendError::Unavailable(_) => {
                    tracing::warn!(events, %error, "events were not logged");
                }
            }
            Err(Refusal::Append { error, events })
        }
        Err(_) => {
            let timeout_ms = ingest.request_timeout.as_millis();
            tracing::warn!(events, timeout_ms, "events were not logged in time");
            Err(Refusal::AppendTimeout { events })
        }
    }
}
