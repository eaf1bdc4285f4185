//! Sessions: pairs the opens and closes of one user by event time, in whatever order they arrive.
//!
//! Each close takes the most recent open that is still open at its moment. At one instant closes come first: they take
//! opens of earlier instants; a close that finds none takes an open of its own instant; what is left stays open. An
//! open that is further back than [`Rules::duration_ms_max`], or forgotten, is not found.
//!
//! In the order in which an edge meets them:
//!
//! - [`timeline`]: the rows of one user and session pair, as a value: loaded, changed by many edges, stored once
//! - [`pairing`]: what one more edge changes: the chain of sessions that move over
//! - [`directory`]: which sealed chunk an edge is in, and which can be skipped unread
//! - [`chunk`]: a run of edges in order of time, and the searches within it
//! - [`row`]: what a row's bytes are
//!
//! Everything is a pure function of the edges and their arrivals, the rows included: how many edges are inserted
//! between one store and the next changes no byte of a row that is alive.

mod chunk;
mod directory;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod pairing;
mod row;
#[cfg(test)]
mod tests;
mod timeline;

pub(crate) use timeline::Timeline;

use smallvec::SmallVec;

/// What an event does to sessions. A close comes before an open of the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Close,
    Open,
}

impl Role {
    fn other(self) -> Self {
        match self {
            Self::Close => Self::Open,
            Self::Open => Self::Close,
        }
    }
}

/// An event that opens or closes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    /// The event's own time, in milliseconds since 1970 UTC.
    pub(crate) time_ms: i64,
    pub(crate) role: Role,
    /// What its life begins at, in milliseconds since 1970 UTC: stream time at its record, or ahead of that where the record's
    /// append time is not believed yet.
    pub(crate) arrival_ms: i64,
}

/// An open and the close that took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Session {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// What one edge did to the sessions of its user. No session stands in both lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionChange {
    pub(crate) removed: SmallVec<[Session; 2]>,
    pub(crate) added: SmallVec<[Session; 2]>,
    /// The latest arrival of an edge in `added`; 0 without any.
    pub(crate) youngest_arrival_ms: i64,
}

/// What bounds a session and a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// An open can be closed for so long, by event time.
    pub(crate) duration_ms_max: i64,
    /// An edge that is this old by arrival, and whose partner, where it has one, is too, is forgotten: it takes part in
    /// nothing any more. Its session stays counted.
    pub(crate) ttl_ms: i64,
    /// How many entries a row has before it is split, as far as instants let it.
    chunk_entries_max: usize,
    /// How many arrivals are told apart among edges of the same instant, role and partner's instant. From there on the
    /// youngest of them takes the newcomers in, and they live as long as the last of them.
    arrivals_max: usize,
}

impl Rules {
    pub(crate) fn new(duration_ms_max: i64, ttl_ms: i64) -> Self {
        Self { duration_ms_max, ttl_ms, chunk_entries_max: 128, arrivals_max: 64 }
    }

    /// Whether what was last touched at `touched_ms` is past its life.
    fn is_over(&self, touched_ms: i64, now_ms: i64) -> bool {
        now_ms.saturating_sub(touched_ms) >= self.ttl_ms
    }

    /// Whether a close at `close_ms` may take an open at `open_ms`.
    fn is_in_reach(&self, open_ms: i64, close_ms: i64) -> bool {
        close_ms.saturating_sub(open_ms) <= self.duration_ms_max
    }
}

/// Names a row of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RowId {
    /// The most recent edges: the one row that nearly every user has.
    Tail,
    /// The sealed chunks, and what a search needs to know of each.
    Directory,
    /// Earlier edges, from this instant on.
    Chunk(i64),
}

impl RowId {
    /// Appends the row's key: one byte for its kind; a chunk's instant follows big-endian with the sign flipped, so that
    /// keys order as rows do.
    pub(crate) fn write_key(self, key: &mut impl Extend<u8>) {
        match self {
            Self::Tail => key.extend([0]),
            Self::Directory => key.extend([1]),
            Self::Chunk(first_ms) => {
                key.extend([2]);
                key.extend((first_ms.cast_unsigned() ^ (1 << 63)).to_be_bytes());
            }
        }
    }

    /// The row behind [`RowId::write_key`].
    pub(crate) fn read_key(key: &[u8]) -> Option<Self> {
        match key {
            [0] => Some(Self::Tail),
            [1] => Some(Self::Directory),
            [2, first_ms @ ..] => {
                let first_ms = u64::from_be_bytes(first_ms.try_into().ok()?);
                Some(Self::Chunk((first_ms ^ (1 << 63)).cast_signed()))
            }
            _ => None,
        }
    }
}

/// Where the rows of one timeline are read from.
pub(crate) trait ReadRows {
    /// A row's value as it was put.
    type Row<'a>: AsRef<[u8]>
    where
        Self: 'a;
    /// Why a row could not be read.
    type Error: From<Damaged>;

    /// The row's value, `None` where there is none or where it is past its life.
    fn get(&mut self, row: RowId) -> Result<Option<Self::Row<'_>>, Self::Error>;
}

/// Where the rows of one timeline are written to.
pub(crate) trait WriteRows {
    /// Replaces a row. `last_touched_ms` is the arrival of its youngest edge, or partner of one: past
    /// [`Rules::ttl_ms`] from there on the row may go.
    fn put(&mut self, row: RowId, value: Vec<u8>, last_touched_ms: i64);

    fn delete(&mut self, row: RowId);
}

/// Rows that contradict their layout or each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session timeline is damaged: {0}")]
pub(crate) struct Damaged(&'static str);
