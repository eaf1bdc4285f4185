//! Time as a value: whoever needs the wall clock is handed one, so that a test can hand another.

use std::sync::Arc;

/// Tells the wall-clock time, in milliseconds since 1970 UTC. The real one is made in the `track` command.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;
