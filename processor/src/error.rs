//! What can go wrong, for an operator to read. What a client may see of it is decided in [`crate::serve`].

use crate::checkpoint::CheckpointLocation;
use crate::rules::PairsError;
use crate::state::store::StoreError;
use std::path::PathBuf;
use tokio::sync::mpsc;
use track_log::{LogError, Offset, Partition};

/// Why a processor can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder.
    #[error("the data folder {} is in use by another process; give each its own", .0.display())]
    InUse(PathBuf),
    /// The folder can't be made or locked.
    #[error("the data folder {folder}: {source}", folder = .folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The session pairs can't be told apart.
    #[error(transparent)]
    Pairs(#[from] PairsError),
    /// Counts would be over before a late event could still change them.
    #[error("the retention must be at least 30 days")]
    Retention,
    /// Checkpoints can't be kept there.
    #[error("the checkpoints in {location}: {reason}")]
    Checkpoints {
        /// Where they should be.
        location: CheckpointLocation,
        /// What stands in the way.
        reason: String,
    },
}

/// Why the state of a partition can't be looked at. What it says may be shown to whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Another process has it, or none.
    #[error("partition {partition} is not here")]
    NotHere {
        /// Which partition.
        partition: Partition,
    },
    /// It is going away just now.
    #[error("partition {partition} is moving")]
    Moving {
        /// Which partition.
        partition: Partition,
    },
    /// It has folded records from the wanted offset on: ask for one further ahead.
    #[error("partition {partition} is past offset {at_offset}: it is at {next_offset}")]
    Passed {
        /// Which partition.
        partition: Partition,
        /// Where it was wanted.
        at_offset: Offset,
        /// Where it is.
        next_offset: Offset,
    },
    /// It did not come to the wanted offset in time.
    #[error("partition {partition} has not come to offset {at_offset} yet: it is at {next_offset}")]
    NotReached {
        /// Which partition.
        partition: Partition,
        /// Where it was wanted.
        at_offset: Offset,
        /// Where it is.
        next_offset: Offset,
    },
    /// The store is damaged; the log of this process says how.
    #[error("the state of partition {partition} can't be read")]
    Unreadable {
        /// Which partition.
        partition: Partition,
    },
}

/// Why a stored state can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// A running processor has the folder.
    #[error(
        "the data folder {folder} is in use by a running process: stop that one first, or ask it: \
         GET /digest on its admin listener, and track verify with the url of its gRPC listener",
        folder = .0.display()
    )]
    InUse(PathBuf),
    /// The folder can't be read or locked.
    #[error("the folder {folder}: {reason}", folder = .folder.display())]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The folder is not a processor's, or nothing was ever folded in it.
    #[error(
        "no state in the folder {folder}: name the --data-dir of a processor or of a track with all roles",
        folder = .0.display()
    )]
    Empty(PathBuf),
    /// Another processor has this partition.
    #[error("no state of partition {partition} in the folder {folder}", folder = .folder.display())]
    NoState {
        /// Which folder.
        folder: PathBuf,
        /// Which partition.
        partition: Partition,
    },
    /// The store was made by another version of track, or it is damaged.
    #[error("partition {partition}: {reason}")]
    Store {
        /// Which partition.
        partition: Partition,
        /// What RocksDB or the registry said.
        reason: String,
    },
}

/// Why a processor gave up.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// The log can't be read.
    #[error("partition {partition}: {source}")]
    Log {
        /// Which partition.
        partition: Partition,
        /// What the log said.
        source: LogError,
    },
    /// The group could not be joined.
    #[error("joining the other processors: {0}")]
    Join(LogError),
    /// The store can't be used: it was made for something else.
    #[error("partition {partition}: {reason}")]
    Store {
        /// Which partition.
        partition: Partition,
        /// What RocksDB or the registry said.
        reason: String,
    },
    /// The log no longer has what the store is missing: an answer would be too low.
    #[error(
        "partition {partition}: the store has everything before offset {next_offset}, and the log begins at {log_start}: \
         {missing} events would be missing from every answer. Restore a store that reaches further, \
         or start once with --accept-truncated-log to count on without them",
        missing = .log_start - .next_offset
    )]
    Truncated {
        /// Which partition.
        partition: Partition,
        /// Where the store would go on.
        next_offset: Offset,
        /// The oldest record of the log.
        log_start: Offset,
    },
    /// The store is damaged, and the log no longer has all that it was folded from: an answer would be too low.
    #[error(
        "partition {partition}: the store in {folder} is damaged ({reason}), and the log begins at offset {log_start}: \
         what came before it can't be folded again. The folder is left as it is. Put a sound copy in its place, \
         or start once with --accept-truncated-log to have it set aside and what the log still has folded",
        folder = .folder.display()
    )]
    DamagedAndTruncated {
        /// Which partition.
        partition: Partition,
        /// Where the damaged store stands.
        folder: PathBuf,
        /// What RocksDB or the registry said.
        reason: String,
        /// The oldest record of the log.
        log_start: Offset,
    },
    /// The store is ahead of the log: it was folded from another one, or the log has lost its end.
    #[error(
        "partition {partition}: the store has everything before offset {next_offset}, and the log ends at {log_end}: \
         this is not the log it was folded from. Point it to that log, or remove the store to have this one folded"
    )]
    Ahead {
        /// Which partition.
        partition: Partition,
        /// Where the store would go on.
        next_offset: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
    /// A checkpoint is ahead of the log: it was made of a state that was folded from another one, or the log has lost its end.
    #[error(
        "partition {partition}: the checkpoint in {location} has everything before offset {next_offset}, and the log ends at \
         {log_end}: this is not the log it was folded from. Point track to that log, give it another place for checkpoints, \
         or remove these"
    )]
    CheckpointAhead {
        /// Which partition.
        partition: Partition,
        /// Where the checkpoints are.
        location: CheckpointLocation,
        /// Where the checkpoint would go on.
        next_offset: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
}

impl ProcessorError {
    /// What a reader's error means for the store that wants to go on from there.
    pub(crate) fn reading(partition: Partition, source: LogError) -> Self {
        match source {
            LogError::OutOfRange { wanted, bounds, .. } if wanted < bounds.start => {
                Self::Truncated { partition, next_offset: wanted, log_start: bounds.start }
            }
            LogError::OutOfRange { wanted, bounds, .. } => {
                Self::Ahead { partition, next_offset: wanted, log_end: bounds.end }
            }
            source => Self::Log { partition, source },
        }
    }

    pub(crate) fn store(partition: Partition, error: impl Into<StoreError>) -> Self {
        Self::Store { partition, reason: error.into().to_string() }
    }
}

/// Where whoever can't go on with a partition says so; the processor ends with the first of them.
#[derive(Clone)]
pub(crate) struct Failures(mpsc::UnboundedSender<ProcessorError>);

impl Failures {
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<ProcessorError>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    pub(crate) fn report(&self, failure: ProcessorError) {
        tracing::error!(error = %failure, "a partition can't go on");
        // The receiver is gone only where the processor has ended already, and the log has the failure.
        let _ = self.0.send(failure);
    }
}
