//! Everything at one moment: the log, the groups, the processors, the checkpoints, the board and a query.

use crate::folded::{Folded, Offset};
use crate::membership::Assignment;
use crate::owners::{Heard, Told};
use crate::processor::Processor;
use crate::scatter::Query;
use crate::{Chances, Cluster};

/// One state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct System {
    /// By partition.
    pub(crate) log_ends: Vec<Offset>,
    /// By group, then by partition.
    pub(crate) assignments: Vec<Vec<Assignment>>,
    pub(crate) processors: Vec<Processor>,
    /// By partition, those kept in the object store, in the order of their offsets.
    pub(crate) checkpoints: Vec<Vec<Folded>>,
    /// By processor, the message that is under way.
    pub(crate) board: Vec<Option<Told>>,
    /// By processor, what the query service has heard.
    pub(crate) table: Vec<Heard>,
    /// By partition, whether it was said to be served not long ago.
    pub(crate) was_served: Vec<bool>,
    /// Some processor has said how many partitions there are: nothing can be asked before.
    pub(crate) is_partition_count_known: bool,
    /// One is enough: no query leaves a trace.
    pub(crate) query: Option<Query>,
    /// What may yet go wrong.
    pub(crate) chances: Chances,
}

impl System {
    /// Nothing is assigned yet, and a record is on each partition's log.
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let processors = cluster.groups.len();
        let groups = cluster.groups.iter().max().map_or(0, |last| last + 1);
        Self {
            log_ends: vec![1; cluster.partitions],
            assignments: vec![vec![Assignment::default(); cluster.partitions]; groups],
            processors: vec![Processor::new(cluster.partitions); processors],
            checkpoints: vec![vec![]; cluster.partitions],
            board: vec![None; processors],
            table: vec![None; processors],
            was_served: vec![false; cluster.partitions],
            is_partition_count_known: false,
            query: None,
            chances: cluster.chances,
        }
    }

    /// Leaves of it what a query that is over is judged by.
    pub(crate) fn end(&mut self) {
        *self = Self {
            log_ends: std::mem::take(&mut self.log_ends),
            query: self.query.take(),
            assignments: vec![],
            processors: vec![],
            checkpoints: vec![],
            board: vec![],
            table: vec![],
            was_served: vec![],
            is_partition_count_known: true,
            chances: Chances::default(),
        };
    }
}
