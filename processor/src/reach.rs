//! How far a partition is, and whether it answers: what its thread tells those who wait for it.

use crate::state::progress::Progress;
use track_log::Offset;
use track_proto::v1;

/// How far a partition is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    pub(crate) progress: Progress,
    pub(crate) log_end: Offset,
    /// When the log last said that this is its end, by the wall clock; 0 before the first time.
    pub(crate) looked_ms: i64,
    pub(crate) stage: Stage,
}

/// Whether a partition answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not caught up yet.
    Restoring,
    Serving,
    /// The store has failed: nobody may hold on to it.
    Mending,
    /// No longer ours: it goes no further here, and answers with what it has.
    Leaving,
    /// No longer ours, and closed.
    Closed,
}

impl Stage {
    /// What still reads all of the state should come to an end.
    pub(crate) fn is_going(self) -> bool {
        matches!(self, Self::Mending | Self::Leaving | Self::Closed)
    }

    pub(crate) fn answers(self) -> bool {
        matches!(self, Self::Serving | Self::Leaving)
    }

    pub(crate) fn told(self) -> v1::PartitionState {
        match self {
            Self::Serving => v1::PartitionState::Serving,
            Self::Leaving => v1::PartitionState::Leaving,
            Self::Restoring | Self::Mending | Self::Closed => v1::PartitionState::Restoring,
        }
    }
}

impl Reach {
    /// Nothing is known but how far the store is.
    pub(crate) fn new(progress: Progress) -> Self {
        Self { progress, log_end: progress.next_offset, looked_ms: 0, stage: Stage::Restoring }
    }

    pub(crate) fn change(&mut self, from: &[Stage], to: Stage) {
        if from.contains(&self.stage) {
            self.stage = to;
        }
    }

    /// Its store has failed: one that is ours comes back.
    pub(crate) fn stop_answering(&mut self) {
        self.change(&[Stage::Serving], Stage::Restoring);
        self.change(&[Stage::Leaving], Stage::Closed);
    }

    /// It is to be folded no further: what answers may go on to.
    pub(crate) fn leave(&mut self) {
        self.stage = if self.stage == Stage::Serving { Stage::Leaving } else { Stage::Closed };
    }

    /// What a question that is asked now includes at the least.
    pub(crate) fn completeness(&self) -> Completeness {
        Completeness { log_end: self.log_end, looked_ms: self.looked_ms }
    }

    pub(crate) fn as_of(&self) -> v1::AsOf {
        self.completeness().as_of(self.progress)
    }
}

/// Where a partition was when a question came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completeness {
    log_end: Offset,
    looked_ms: i64,
}

impl Completeness {
    /// What an answer at `progress`, which is no earlier, includes.
    pub(crate) fn as_of(self, progress: Progress) -> v1::AsOf {
        as_of(progress, self.log_end, self.complete_to_ms(progress))
    }

    /// Everything that the log took before this moment is in it; 0 where that is not known.
    fn complete_to_ms(self, progress: Progress) -> i64 {
        if progress.next_offset >= self.log_end {
            self.looked_ms.max(progress.appended_ms)
        } else {
            progress.appended_ms
        }
    }
}

/// What an answer at `progress` includes.
pub(crate) fn as_of(progress: Progress, log_end_offset: Offset, complete_to_ms: i64) -> v1::AsOf {
    v1::AsOf {
        next_offset: progress.next_offset,
        stream_time_ms: i64::from(progress.stream_time) * 1000,
        log_end_offset,
        complete_to_ms,
    }
}
