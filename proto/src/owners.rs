//! What those who speak and those who listen on [`crate::topics::OWNERS`] agree on.

use std::time::Duration;

/// How often a processor tells of itself where nothing has changed.
pub const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Who has said nothing for so long is not counted on. The query service counts only time in which others have spoken.
pub const SILENT_AFTER: Duration = Duration::from_secs(5);
