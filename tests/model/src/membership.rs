//! The groups: which processor of each has a right to a partition, by generation.
//!
//! A group gives a partition to one member at a time, but whoever held it before need not have heard of that yet.

use crate::folded::Folded;
use crate::processor::Source;
use crate::system::System;
use crate::{Cluster, Group, Mutation, Partition, ProcessorId};

/// Counts up each time a partition changes hands within its group.
pub(crate) type Generation = u8;

/// Who has the right to a partition in one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Assignment {
    pub(crate) owner: Option<ProcessorId>,
    pub(crate) generation: Generation,
}

impl System {
    /// Gives a partition to a processor, which opens its store or takes a checkpoint.
    pub(crate) fn assign(
        &mut self,
        cluster: &Cluster,
        group: Group,
        partition: Partition,
        to: ProcessorId,
        from: Source,
    ) {
        let assignment = &mut self.assignments[group][partition];
        assignment.owner = Some(to);
        if cluster.mutation != Some(Mutation::RightGivenTwice) || assignment.generation == 0 {
            assignment.generation += 1;
        }
        let generation = assignment.generation;
        let checkpoint = match from {
            Source::Disk => None,
            Source::Checkpoint(place) => Some(self.checkpoints[partition][place]),
        };
        self.processors[to].take(partition, checkpoint, generation, self.log_ends[partition], cluster.mutation);
    }

    /// Where a new owner may take its state from. A checkpoint is taken where it is further than the disk; any of them, as
    /// those after it may be damaged, and none, as the object store may be away.
    pub(crate) fn sources(&self, partition: Partition, to: ProcessorId) -> Vec<Source> {
        let disk = self.processors[to].disk[partition];
        let further = |(place, checkpoint): (usize, &Folded)| {
            (checkpoint.next_offset > disk.next_offset).then_some(Source::Checkpoint(place))
        };
        let checkpoints = self.checkpoints[partition].iter().enumerate().filter_map(further);
        std::iter::once(Source::Disk).chain(checkpoints).collect()
    }

    /// Whether a processor holds a partition that is no longer its own.
    pub(crate) fn lingers(&self, cluster: &Cluster, processor: ProcessorId, partition: Partition) -> bool {
        let assignment = self.assignments[cluster.groups[processor]][partition];
        self.processors[processor].owned[partition]
            .is_some_and(|owned| assignment.owner != Some(processor) || assignment.generation != owned.generation)
    }

    /// Whether the group has reason to give an owner up: it is not heard of, or has come back as a new member.
    pub(crate) fn is_gone(&self, owner: ProcessorId, partition: Partition) -> bool {
        self.processors[owner].working_on(partition).is_none()
    }
}
