//! A processor: its life, what is on its disk, and the partitions it holds.
//!
//! As in `processor/src/partition.rs`, a partition is restored once it has folded what the log held when it was taken.

use crate::folded::{Folded, Offset};
use crate::membership::Generation;
use crate::{Mutation, Partition};

/// A process on a machine with a disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Processor {
    pub(crate) life: Life,
    /// What is flushed, by partition. It outlives the process.
    pub(crate) disk: Vec<Folded>,
    /// By partition.
    pub(crate) owned: Vec<Option<Owned>>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    /// All that it should.
    Running,
    /// Nothing, and it answers nobody; it does not know, and will go on where it was.
    Frozen,
    /// It is gone.
    Down,
}

/// Whether a partition answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Not caught up yet.
    Restoring,
    /// It does.
    Serving,
    /// It is another's by now, and answers with what it has.
    Leaving,
}

/// Where a new owner's state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// What is on its disk: nothing, at the worst.
    Disk,
    /// The checkpoint of this place among those kept.
    Checkpoint(usize),
}

/// A partition that a processor holds, rightly or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owned {
    /// What is written: a crash takes it back to what is flushed.
    pub(crate) folded: Folded,
    pub(crate) stage: Stage,
    /// Where the log ended when the partition was taken.
    pub(crate) restored_at: Offset,
    /// By which right it is held.
    pub(crate) generation: Generation,
    pub(crate) is_from_checkpoint: bool,
}

impl Processor {
    pub(crate) fn new(partitions: usize) -> Self {
        Self { life: Life::Running, disk: vec![Folded::default(); partitions], owned: vec![None; partitions] }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.life == Life::Running
    }

    /// A partition that it has, which takes a process that runs.
    pub(crate) fn having(&self, partition: Partition) -> Option<&Owned> {
        self.owned[partition].as_ref().filter(|_| self.is_running())
    }

    /// One that it folds.
    pub(crate) fn working_on(&self, partition: Partition) -> Option<&Owned> {
        self.having(partition).filter(|owned| !owned.is_leaving())
    }

    /// Whether the group may give it a partition.
    pub(crate) fn may_take(&self, partition: Partition) -> bool {
        self.is_running() && self.working_on(partition).is_none()
    }

    /// Takes a partition whose log ends at `log_end` now; a checkpoint replaces what is on disk.
    pub(crate) fn take(
        &mut self,
        partition: Partition,
        checkpoint: Option<Folded>,
        generation: Generation,
        log_end: Offset,
        mutation: Option<Mutation>,
    ) {
        let folded = checkpoint.unwrap_or(self.disk[partition]);
        self.disk[partition] = folded;
        let stage = match mutation {
            Some(Mutation::ServedBeforeRestored) => Stage::Serving,
            _ => Stage::Restoring,
        };
        let is_from_checkpoint = checkpoint.is_some();
        self.owned[partition] = Some(Owned { folded, stage, restored_at: log_end, generation, is_from_checkpoint });
    }

    /// Drains a partition and lets go of it.
    pub(crate) fn close(&mut self, partition: Partition) {
        if let Some(owned) = self.owned[partition].take() {
            self.disk[partition] = owned.folded;
        }
    }

    /// Drains a partition, and lets go of it unless it answers and is to go on with that: `processor/src/leaving.rs`.
    pub(crate) fn leave(&mut self, partition: Partition, is_warm: bool) {
        match &mut self.owned[partition] {
            Some(owned) if is_warm && owned.answers() => {
                self.disk[partition] = owned.folded;
                owned.stage = Stage::Leaving;
            }
            _ => self.close(partition),
        }
    }

    pub(crate) fn flush(&mut self, partition: Partition, mutation: Option<Mutation>) {
        if let Some(owned) = &self.owned[partition] {
            self.disk[partition].flush(owned.folded, mutation);
        }
    }

    /// Makes alike what nobody can tell apart: where nothing is lost any more, whatever is written gets to disk.
    pub(crate) fn settle_disk(&mut self) {
        for (disk, owned) in self.disk.iter_mut().zip(&self.owned) {
            *disk = owned.map_or(*disk, |owned| owned.folded);
        }
    }

    /// Drains everything, and ends.
    pub(crate) fn stop(&mut self) {
        (0..self.owned.len()).for_each(|partition| self.close(partition));
        self.life = Life::Down;
    }

    /// Ends, and loses what is not flushed.
    pub(crate) fn crash(&mut self) {
        self.life = Life::Down;
        self.owned.fill(None);
    }

    /// Ends, and loses everything.
    pub(crate) fn lose_disk(&mut self) {
        self.crash();
        self.disk.fill(Folded::default());
    }
}

impl Owned {
    pub(crate) fn fold(&mut self) {
        self.folded.fold();
        self.look_at_end();
    }

    /// Serves from where the log ended when it was taken.
    pub(crate) fn look_at_end(&mut self) {
        if self.is_restored() {
            self.stage = Stage::Serving;
        }
    }

    pub(crate) fn is_restored(&self) -> bool {
        self.folded.next_offset >= self.restored_at
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.stage == Stage::Leaving
    }

    pub(crate) fn answers(&self) -> bool {
        self.is_serving() || self.is_leaving()
    }
}
