//! What must be seen to happen: a promise that is kept because nothing ever happens is worth nothing.

use crate::Cluster;
use crate::ask::Way;
use crate::promises::{answers, response};
use crate::scatter::Response;
use crate::system::System;
use stateright::Property;

/// Something that happens on some way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Those asked had all failed, and another has spoken up since.
    AnsweredOnRetry,
    /// While another was still being asked.
    AnsweredWhileHedged,
    /// By an owner that is not the first one.
    AnsweredAfterHandOver,
    /// By an owner whose state comes from a checkpoint.
    AnsweredFromCheckpoint,
    /// By one that had lost the partition and did not know: a prefix all the same.
    AnsweredByOldOwner,
    /// By one that was leaving the partition.
    AnsweredByLeaving,
    /// With all that the log had when it was asked.
    AnsweredWithPosition,
    /// 503 with numbers.
    Unavailable,
    /// Some partitions' answers, and the numbers of the others.
    Partial,
}

impl Sight {
    pub(crate) fn property(self) -> Property<Cluster> {
        match self {
            Self::AnsweredOnRetry => Property::sometimes("answered on retry", |_, system: &System| {
                answers(system).any(|answer| answer.way == Way::Retried)
            }),
            Self::AnsweredWhileHedged => Property::sometimes("answered while hedged", |_, system: &System| {
                answers(system).any(|answer| answer.way == Way::Hedged)
            }),
            Self::AnsweredAfterHandOver => Property::sometimes("answered after a hand-over", |_, system: &System| {
                answers(system).any(|answer| answer.owned.generation > 1)
            }),
            Self::AnsweredFromCheckpoint => Property::sometimes("answered from a checkpoint", |_, system: &System| {
                answers(system).any(|answer| answer.owned.is_from_checkpoint)
            }),
            Self::AnsweredByOldOwner => Property::sometimes("answered by an old owner", |_, system: &System| {
                answers(system).any(|answer| answer.is_from_old_owner)
            }),
            Self::AnsweredByLeaving => Property::sometimes("answered by who leaves", |_, system: &System| {
                answers(system).any(|answer| answer.owned.is_leaving())
            }),
            Self::AnsweredWithPosition => Property::sometimes("answered with a position", |_, system: &System| {
                let position = |partition: usize| system.query.as_ref()?.min_offsets[partition];
                answers(system).any(|answer| position(answer.partition).is_some())
            }),
            Self::Unavailable => Property::sometimes("503 with numbers", |cluster, system: &System| {
                matches!(response(cluster, system, false), Some(Response::Unavailable(_)))
            }),
            Self::Partial => Property::sometimes(
                "a partial answer",
                |cluster, system: &System| matches!(response(cluster, system, true), Some(Response::Partial(answers, _)) if !answers.is_empty()),
            ),
        }
    }
}
