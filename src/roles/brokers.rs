//! Opening what needs brokers. They may start after us, or be away for a while.

use crate::process::Process;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use track_log::LogError;

const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Opens something on Kafka, again and again until the brokers answer. `None` where the process is told to stop before.
/// Until then the `room` is not ready.
///
/// # Errors
/// As [`open_meanwhile`].
pub(super) async fn open<T: Send + 'static>(
    process: &Process,
    room: &'static str,
    open: impl Fn() -> Result<T, LogError> + Clone + Send + 'static,
) -> Result<Option<T>, LogError> {
    process.readiness.wait(room, "connecting to Kafka");
    open_meanwhile(&process.stop, |reason| process.readiness.wait(room, reason), open).await
}

/// The same for who has something to do meanwhile: why it still waits is told to `explain`.
///
/// # Errors
/// [`LogError`] where waiting will not help: a topic or a property that is not as it must be.
pub(super) async fn open_meanwhile<T: Send + 'static>(
    stop: &CancellationToken,
    explain: impl Fn(String),
    open: impl Fn() -> Result<T, LogError> + Clone + Send + 'static,
) -> Result<Option<T>, LogError> {
    let mut reason_before = String::new();
    loop {
        let opened = tokio::task::spawn_blocking(open.clone());
        let opened = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            opened = opened => opened.unwrap_or_else(|panic| Err(LogError::Kafka(panic.to_string()))),
        };
        match opened {
            Ok(opened) => return Ok(Some(opened)),
            Err(error @ LogError::Kafka(_)) => {
                let reason = error.to_string();
                explain(reason.clone());
                // Said once; the admin listener goes on saying it.
                if reason != reason_before {
                    tracing::warn!("{reason}; trying again until it works");
                }
                reason_before = reason;
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}
