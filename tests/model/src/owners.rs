//! The board, and what the query service makes of it: `src/roles/owners.rs` and `query-api/src/owners.rs`.
//!
//! A message may take as long as it likes. Those of one processor stay in order: one is under way at a time.

use crate::folded::Offset;
use crate::system::System;
use crate::{Cluster, Mutation, Partition, ProcessorId};

/// What a processor says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    /// By partition, how far it is where it serves it.
    Serving(Vec<Option<Offset>>),
    /// It stops.
    Goodbye,
}

/// By partition, how far a processor has said that it is where it serves it. Who has been silent for too long has said
/// nothing.
pub(crate) type Heard = Option<Vec<Option<Offset>>>;

impl System {
    /// What a processor has to say now; nothing where that makes no difference. Being there makes one to who waits for it,
    /// and an offset where it decides between two.
    pub(crate) fn news_of(&self, cluster: &Cluster, processor: ProcessorId) -> Option<Told> {
        let serves = |partition| {
            let owned = self.processors[processor].having(partition)?;
            let is_told = owned.answers() && cluster.mutation != Some(Mutation::ServingNotTold);
            is_told.then_some(owned.folded.next_offset)
        };
        let serving: Vec<_> = (0..cluster.partitions).map(serves).collect();
        let is_known = self.table[processor].as_ref().is_some_and(|heard| {
            heard.iter().zip(&serving).enumerate().all(|(partition, (before, now))| {
                before.is_some() == now.is_some() && (before == now || self.candidates(partition).len() < 2)
            })
        });
        let is_waited_for = self.query.as_ref().is_some_and(|query| query.waits_for(processor));
        (!is_known || is_waited_for).then_some(Told::Serving(serving))
    }

    /// Takes in what is under way from a processor, and lets those who ask know that there is news.
    pub(crate) fn hear(&mut self, processor: ProcessorId) {
        match self.board[processor].take() {
            Some(Told::Serving(serving)) => {
                for (partition, _) in serving.iter().enumerate().filter(|(_, serving)| serving.is_some()) {
                    self.was_served[partition] = true;
                }
                self.table[processor] = Some(serving);
                self.is_partition_count_known = true;
                self.ask_again(Some(processor));
            }
            Some(Told::Goodbye) => {
                self.table[processor] = None;
                self.ask_again(None);
            }
            None => {}
        }
    }

    /// What a processor said last no longer counts.
    pub(crate) fn forget(&mut self, processor: ProcessorId) {
        self.table[processor] = None;
        for partition in 0..self.was_served.len() {
            self.was_served[partition] &= !self.candidates(partition).is_empty();
        }
    }

    /// Those that say that they serve a partition, the freshest first.
    pub(crate) fn candidates(&self, partition: Partition) -> Vec<ProcessorId> {
        let serves = |(processor, heard): (ProcessorId, &Heard)| {
            heard.as_ref()?[partition].map(|next_offset| (next_offset, processor))
        };
        let mut candidates: Vec<_> = self.table.iter().enumerate().filter_map(serves).collect();
        candidates.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        candidates.into_iter().map(|(_, processor)| processor).collect()
    }
}
