//! The topics on Kafka, and what each must be.

/// Every event, keyed by user. `LogAppendTime`, retention 30 days; its partition count is fixed when it is made.
pub const EVENTS: &str = "track.events";
/// Records of [`EVENTS`] that could not be folded, with the reason.
pub const DEAD_LETTER: &str = "track.dead-letter";
/// Which process owns which partitions. Compacted, one partition.
pub const OWNERS: &str = "track.owners";

/// How long an event stays on the log: 30 days.
pub const EVENTS_RETENTION_MS: i64 = 30 * 24 * 60 * 60 * 1000;
