//! What a partition knows, in one RocksDB of its own. This page is the key space; a kind's own page has its layout.
//!
//! | family | kind | key | value | lives |
//! |---|---|---|---|---|
//! | `default` | [`progress`] | `progress` | next offset, stream time, suspected append time, last append time | for ever |
//! | `default` | [`sweep`] | `swept` | stream time of the last sweep | for ever |
//! | `default` | [`identity`] | `identity` | format, partition, rules | for ever |
//! | `marks` | [`marks`] | user, event_id | | 30 days after arrival |
//! | `timelines` | [`timelines`] | user, pair, row | session edges | 30 days after the last arrival |
//! | `user-counts` | [`counts`] | user, UTC day, event | count by quarter | retention after the last event |
//! | `stretch-counts` | [`counts`] | stretch, event | count by UTC day | each day: retention after its last event |
//! | `quarter-counts` | [`counts`] | UTC day, event | count by quarter | retention after the last event |
//! | `user-sessions` | [`session_sums`] | user, UTC day, pair | count and duration by quarter | retention after the last change |
//! | `stretch-sessions` | [`session_sums`] | stretch, pair | count and duration by UTC day | each day: retention after its last change |
//! | `quarter-sessions` | [`session_sums`] | UTC day, pair | count and duration by quarter | retention after the last change |
//!
//! A UTC day is a row and the quarters of its hours stand inside it, so that they expire together: an answer in one time
//! zone never has what the same answer in another has lost. A stretch is 32 such days in one row, each with a stamp of its
//! own. Everything but the `default` family begins its value with the [`ttl::Stamp`] of the last change; the reader and the
//! compaction filter judge a row by it alone, and the reader the days of a stretch by theirs.
//!
//! Keys are big-endian and order as what they stand for. A user or a name ends with a NUL, which neither may contain.
//! Family names are stable: one is never reused for another meaning, and a change of any layout here is a new
//! [`identity::FORMAT_VERSION`]. Retired: `day-counts`, `day-sessions` (format 3).

mod batch;
pub(crate) mod counts;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod marks;
pub(crate) mod memory;
mod options;
pub(crate) mod progress;
pub(crate) mod quarters;
pub(crate) mod session_sums;
pub(crate) mod snapshot;
pub(crate) mod store;
pub(crate) mod stream_time;
pub(crate) mod stretches;
pub(crate) mod sweep;
pub(crate) mod timelines;
pub(crate) mod ttl;
pub(crate) mod view;
pub(crate) mod whole;
pub(crate) mod working_set;

/// A column family with a time to live; `default` is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    Marks,
    Timelines,
    UserCounts,
    StretchCounts,
    QuarterCounts,
    UserSessions,
    StretchSessions,
    QuarterSessions,
}

impl Family {
    pub(crate) const ALL: [Self; 8] = [
        Self::Marks,
        Self::Timelines,
        Self::UserCounts,
        Self::StretchCounts,
        Self::QuarterCounts,
        Self::UserSessions,
        Self::StretchSessions,
        Self::QuarterSessions,
    ];

    /// The name on disk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Marks => "marks",
            Self::Timelines => "timelines",
            Self::UserCounts => "user-counts",
            Self::StretchCounts => "stretch-counts",
            Self::QuarterCounts => "quarter-counts",
            Self::UserSessions => "user-sessions",
            Self::StretchSessions => "stretch-sessions",
            Self::QuarterSessions => "quarter-sessions",
        }
    }

    /// Whether its keys begin with a user: there are as many of them as users make, where the others have a few a day.
    pub(crate) const fn is_by_user(self) -> bool {
        match self {
            Self::Marks | Self::Timelines | Self::UserCounts | Self::UserSessions => true,
            Self::StretchCounts | Self::QuarterCounts | Self::StretchSessions | Self::QuarterSessions => false,
        }
    }

    /// How long a row lives after its stamp.
    pub(crate) const fn life(self) -> ttl::Life {
        match self {
            Self::Marks | Self::Timelines => ttl::Life::Arrival,
            Self::UserCounts
            | Self::StretchCounts
            | Self::QuarterCounts
            | Self::UserSessions
            | Self::StretchSessions
            | Self::QuarterSessions => ttl::Life::Retention,
        }
    }
}

/// A row that is not what was written there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state is damaged: a row of {kind} can't be read")]
pub(crate) struct Damaged {
    /// Which kind of row.
    pub(crate) kind: &'static str,
}
