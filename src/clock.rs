//! The wall clock: the one place that reads it. Everyone else is handed this value, and a test hands another.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use track_proto::clock::Clock;

/// The system's clock. One that stands before 1970 reads as 1970.
#[allow(clippy::disallowed_methods, reason = "the edge: time becomes a value here")]
pub(crate) fn system() -> Clock {
    Arc::new(|| {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    })
}
