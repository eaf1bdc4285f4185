//! A model of how partitions change hands and how queries find them, small enough to look at every way it can go.
//!
//! Stateright takes each step that is possible in each state that can be reached: records come, partitions are given and
//! taken back, processors crash, freeze, stop and come back, lose their disks and take checkpoints, heartbeats are late,
//! connections break, and a query is asked in the midst of it. In every state the promises must hold.
//!
//! It says again, in few words, what the rooms do, and shares no code with them. In the order in which data meets it:
//! `folded` is a partition's state, `membership` and `processor` are the processor's side, `owners`, `ask` and `scatter`
//! the query service's. `system` is all of it at one moment, `action` what may happen then; `promises` says what must hold,
//! `sights` what must be seen, and `mutation` has the mistakes that the checks must find.
//!
//! Left out: what a fold computes, which is the oracle's business; batches, since a batch is several folds in one write; a
//! store that is damaged, since to a query that is a disk that was lost; a log that no longer reaches back far enough, which
//! is refused; several queries at a time, since none leaves a trace; and a query before any processor has spoken, which is a
//! 503 without numbers, as nobody knows them.

mod action;
mod ask;
mod folded;
mod membership;
mod mutation;
mod owners;
mod processor;
mod promises;
mod scatter;
mod sights;
mod system;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use mutation::Mutation;
pub use sights::Sight;
pub use system::System;

use stateright::{Model, Property};

/// A partition's number.
pub type Partition = usize;
/// A processor's number.
pub type ProcessorId = usize;
/// A group's number: a replica.
pub type Group = usize;

/// How many checkpoints of a partition are kept.
pub(crate) const CHECKPOINTS_KEPT: usize = 2;

/// What is looked at: how many of everything, and how much may go wrong.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How many partitions the log has.
    pub partitions: usize,
    /// How long each partition's log gets; one record is there from the start, and three are the most.
    pub records: usize,
    /// Each processor's group.
    pub groups: Vec<Group>,
    /// So many of the processors, the first ones, come back when they are down or frozen.
    pub coming_back: usize,
    /// How often each fault happens.
    pub chances: Chances,
    /// Whether who loses a partition goes on answering from it for a while. One that stops does so before its goodbye.
    pub is_warm: bool,
    /// Whether a query is asked.
    pub is_queried: bool,
    /// The mistake that is made, if any.
    pub mutation: Option<Mutation>,
    /// What must be seen.
    pub sights: Vec<Sight>,
}

/// How often, at most, something happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chances {
    /// A group takes a partition from a processor that is well.
    pub moves: u8,
    /// A processor stops cleanly.
    pub stops: u8,
    /// A process dies.
    pub crashes: u8,
    /// A machine dies, and its disk.
    pub lost_disks: u8,
    /// A process is frozen.
    pub freezes: u8,
    /// A connection breaks.
    pub cuts: u8,
    /// A checkpoint is taken.
    pub checkpoints: u8,
}

impl Chances {
    /// Whether it may yet make a difference what of a partition that is held is on disk.
    pub(crate) fn may_show_disk(&self) -> bool {
        self.crashes > 0 || self.lost_disks > 0 || self.checkpoints > 0
    }
}

impl Model for Cluster {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        vec![System::new(self)]
    }

    fn actions(&self, system: &System, actions: &mut Vec<Action>) {
        actions.extend(system.actions(self));
    }

    fn next_state(&self, system: &System, action: Action) -> Option<System> {
        let mut next = system.clone();
        next.act(self, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = promises::promises();
        if !self.is_queried {
            properties.push(promises::progress());
        }
        properties.extend(self.sights.iter().map(|sight| sight.property()));
        properties
    }
}
